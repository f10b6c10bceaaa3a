"""ICT-3DRFE under invented names: nobody outside knows the real ones."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, lit, reencode, truncate

CAPTURES = ("person01/neutral", "person01/smile", "person02/neutral")
FIRST = Path(CAPTURES[0])
SIZE = (72, 60)


@lru_cache
def obj_text() -> str:
    """The analytic face as a grid of quads in centimetres, textured."""
    depth, _, mask = lit.face(*SIZE)
    rows, columns = SIZE
    x, y = np.meshgrid(np.arange(columns) - columns / 2, rows / 2 - np.arange(rows))
    points = np.stack([x, y, depth], -1).reshape(-1, 3) * 0.3
    lines = [f"v {a:.4f} {b:.4f} {c:.4f}" for a, b, c in points]
    lines += [f"vt {(k % columns) / columns:.4f} {1 - (k // columns) / rows:.4f}" for k in range(rows * columns)]
    whole = mask[:-1, :-1] & mask[1:, :-1] & mask[:-1, 1:] & mask[1:, 1:]
    for r, c in zip(*np.nonzero(whole), strict=True):
        corners = [r * columns + c + 1, (r + 1) * columns + c + 1, (r + 1) * columns + c + 2, r * columns + c + 2]
        lines.append("f " + " ".join(f"{k}/{k}" for k in corners))
    return "\n".join(lines) + "\n"


def write(root: Path) -> None:
    _, normals, mask = lit.face(*SIZE)
    coded = np.where(mask[..., None], np.rint(127.5 * (normals + 1)), 0).astype(np.uint8)
    for seed, name in enumerate(CAPTURES):
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "face_mesh.obj").write_text(obj_text())
        albedo = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
        for role in ("diffuse_albedo", "specular_albedo"):
            Image.fromarray(albedo).save(folder / f"{role}.png")
        for role in ("diffuse_normal", "specular_normal"):
            Image.fromarray(coded).save(folder / f"{role}.png")


def _upper(root: Path) -> None:
    (root / FIRST / "face_mesh.obj").rename(root / FIRST / "FACE_MESH.OBJ")
    (root / FIRST / "diffuse_albedo.png").rename(root / FIRST / "Diffuse_Albedo.PNG")


def _setting(text: str):
    return lambda root: (root / "fnbench.toml").write_text(text)


NORMALS = 'truth = "specular_normal"\nnormal_frame = "{}"\n'
VARIANTS = {
    "extra files": Variant(extra_files),
    "mixed case": Variant(_upper),
    "truth is a picture": Variant(_setting(NORMALS.format("opengl"))),
    "no pictures": Variant(lambda root: [path.unlink() for path in root.rglob("*.png")]),
    "two meshes": Variant(
        lambda root: shutil.copy(root / FIRST / "face_mesh.obj", root / FIRST / "other.obj"),
        r"2 files could be the mesh \(face_mesh.obj, other.obj\)", CAPTURES[0],
    ),
    "two albedos": Variant(
        lambda root: shutil.copy(root / FIRST / "diffuse_albedo.png", root / FIRST / "albedo_diffuse_2.png"),
        "2 files could be the diffuse_albedo", CAPTURES[0],
    ),
    "axes not declared": Variant(_setting('truth = "specular_normal"\n'), "normal_frame is ''"),
    "wrong axes declared": Variant(_setting(NORMALS.format("opencv")), "face the camera when read as opencv"),
    "unknown setting": Variant(_setting('meshes = "x"\n'), "unknown setting 'meshes'"),
    "pattern as text": Variant(_setting('mesh = "*.obj"\n'), r"setting mesh is '\*.obj', expected a list"),
    "unknown truth": Variant(_setting('truth = "sharp"\n'), "truth is 'sharp'"),
    "mesh cut off": Variant(lambda root: truncate(root / FIRST / "face_mesh.obj", 0.3), r"face_mesh\.obj", CAPTURES[0]),
    "mesh empty": Variant(lambda root: empty(root / FIRST / "face_mesh.obj"), r"face_mesh\.obj", CAPTURES[0]),
    "albedo re-encoded": Variant(
        lambda root: reencode(root / FIRST / "diffuse_albedo.png"), r"diffuse_albedo\.png: ", CAPTURES[0]
    ),
}  # fmt: skip
