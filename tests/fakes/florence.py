"""MICC Florence: three people meshed from the built-in head, off-centre, looking 17 degrees down, seen by two cameras.

subject_01 has a jpg that holds the two uncropped photographs, subject_02 a material that names a missing bmp, in
upper-case folders, and two .obj in one folder, subject_03 no texture at all and no frontal2.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, truncate, web_page
from fnbench.camera import Camera, look_at
from fnbench.scans import head

CAPTURES = [
    "subject_01/frontal1", "subject_01/frontal2", "subject_02/frontal1", "subject_02/frontal2", "subject_03/frontal1",
]  # fmt: skip
PITCH = -17.0
NOSE = np.array([9.0, -65.0, 85.0])
"""Where the tip of the nose is in the public landmark files, in the median."""
SIZE = (300, 400)
"""Width and height of each photograph in the texture."""


def turn() -> np.ndarray:
    """World from face: a head that looks down by PITCH."""
    a = np.radians(-PITCH)
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


@lru_cache(maxsize=3)
def person(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and landmarks of a subject in scan coordinates."""
    shape = head.Shape(head.sample_identity(np.random.default_rng(100 + seed)))
    scan, points = head.mesh(shape, 5.0), head.landmarks(shape)
    shift = NOSE - turn() @ points[30]
    return scan.vertices @ turn().T + shift, scan.faces, points @ turn().T + shift


def cameras() -> list[Camera]:
    """Two three-quarter views from the distance of a real system."""
    K = np.array([[1700.0, 0, SIZE[0] / 2 + 8], [0, 1700, SIZE[1] / 2 - 11], [0, 0, 1]])
    return [Camera(K, look_at(NOSE - [0, 0, 80], 1500, yaw=yaw), *SIZE) for yaw in (-25, 25)]


@lru_cache(maxsize=6)
def obj_text(seed: int, scale: float = 1.0) -> str:
    """The scan as a 3dMD system writes it: ``v``, ``vt`` by projection into the camera that sees a face best."""
    vertices, faces, _ = person(seed)
    normals = np.cross(*(vertices[faces[:, k]] - vertices[faces[:, 0]] for k in (1, 2)))
    best = np.argmax([normals @ (camera.centre - NOSE) for camera in cameras()], axis=0)
    uv = np.concatenate(
        [
            (camera.project(vertices)[0] + [number * SIZE[0], 0]) / [2 * SIZE[0], SIZE[1]]
            for number, camera in enumerate(cameras())
        ]
    )
    lines = ["v {:.5f} {:.5f} {:.5f}".format(*row) for row in (vertices * scale).tolist()]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in uv.tolist()]
    corners = np.stack([faces + 1, faces + 1 + (best * len(vertices))[:, None]], -1).reshape(-1, 6)
    lines += ["f {}/{} {}/{} {}/{}".format(*row) for row in corners.tolist()]
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=1)
def texture() -> bytes:
    """A jpg with the two photographs side by side: skin tones that differ."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : 2 * SIZE[0]]
    red = np.where(columns < SIZE[0], 200, 160) + 20 * np.sin(rows / 9)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([red, red * 0.8, red * 0.7], -1).astype(np.uint8)).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def write(root: Path) -> None:
    _scan(root / "subject_01/Model/frontal1/obj/110920150452.obj", 1, "newmtl face\nmap_Kd 110920150452.jpg\n")
    (root / "subject_01/Model/frontal1/obj/110920150452.jpg").write_bytes(texture())
    _scan(root / "subject_01/Model/frontal2/obj/110920150505.obj", 1, None)
    _scan(root / "subject_01/Model/sidel/obj/110920150513.obj", 1, None)
    _scan(root / "Subject_02/model/FRONTAL1/OBJ/110921110609.OBJ", 2, "newmtl face\nmap_Kd 110921110609.bmp\n")
    _scan(root / "Subject_02/model/FRONTAL2/OBJ/110921110622.obj", 2, None)
    _scan(root / "Subject_02/model/FRONTAL2/OBJ/110921110655.obj", 2, None)
    _scan(root / "subject_03/Model/frontal1/obj/110929160821.obj", 3, None)
    for path in list(root.rglob("*.[oO][bB][jJ]")):
        if path.is_file():
            twin = path.parent.parent / "vrml"
            twin.mkdir(exist_ok=True)
            (twin / f"{path.stem}.wrl").write_text("#VRML V2.0 utf8\n")
    for subject in ("subject_01", "Subject_02", "subject_03"):
        (root / subject / "Video").mkdir()


def _scan(path: Path, seed: int, material: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head_line = "" if material is None else f"mtllib {path.stem}.mtl\nusemtl face\n"
    path.write_text(head_line + obj_text(seed))
    if material is not None:
        path.with_suffix(".mtl").write_text(material)


FIRST = "subject_01/Model/frontal1/obj/110920150452.obj"
LAST = "subject_03/Model/frontal1/obj/110929160821.obj"


def _nan(root: Path) -> None:
    lines = (root / LAST).read_text().split("\n")
    lines[7] = "v nan 0 0"
    (root / LAST).write_text("\n".join(lines))


def _nest(root: Path) -> None:
    children = list(root.iterdir())
    (root / "FlorenceFace/Original").mkdir(parents=True)
    for path in children:
        path.rename(root / "FlorenceFace/Original" / path.name)


def _turn_axes(root: Path) -> None:
    lines = (root / LAST).read_text().split("\n")
    for number, line in enumerate(lines):
        if line.startswith("v "):
            x, y, z = line.split()[1:]
            lines[number] = f"v {x} {-float(z)} {y}"
    (root / LAST).write_text("\n".join(lines))


def _points(root: Path, scale: float = 1.0, count: int = 68) -> None:
    rows = "\n".join(" ".join(f"{v * scale:.3f}" for v in row) for row in person(3)[2][:count])
    (root / LAST).with_suffix(".pts").write_text(f"version: 1\nn_points: {count}\n{{\n{rows}\n}}\n")


VARIANTS = {
    "extra files": Variant(extra_files),
    "one level deeper": Variant(_nest),
    "other axes": Variant(_turn_axes),
    "symlink loop": Variant(lambda root: (root / "subject_01/Video/loop").symlink_to(root)),
    "points beside the scan": Variant(_points),
    "no texture beside its material": Variant(lambda root: (root / FIRST).with_suffix(".jpg").unlink()),
    "no material": Variant(lambda root: (root / FIRST).with_suffix(".mtl").unlink()),
    "points in metres": Variant(
        lambda root: _points(root, 0.001), "outer eye corners are 0.09", "subject_03/frontal1"
    ),
    "sixty points": Variant(lambda root: _points(root, 1, 60), r"shape \(60, 3\)", "subject_03/frontal1"),
    "metres": Variant(
        lambda root: (root / LAST).write_text(obj_text(3, 0.001)),
        r"110929160821\.obj: .*expected 100 to 750 mm.*give unit=m", "subject_03/frontal1",
    ),
    "nan": Variant(_nan, r"110929160821\.obj, line 8: .*NaN", "subject_03/frontal1"),
    "truncated": Variant(lambda root: truncate(root / LAST, 0.8), r"110929160821\.obj, line", "subject_03/frontal1"),
    "empty": Variant(lambda root: empty(root / LAST), "the file is empty", "subject_03/frontal1"),
    "web page": Variant(lambda root: web_page(root / LAST), "a web page", "subject_03/frontal1"),
    "damaged texture": Variant(
        lambda root: truncate((root / FIRST).with_suffix(".jpg"), 0.3), r"110920150452\.jpg", "subject_01/frontal1"
    ),
    "texture of size zero": Variant(
        lambda root: empty((root / FIRST).with_suffix(".jpg")), r"110920150452\.jpg", "subject_01/frontal1"
    ),
    "scan gone": Variant(
        lambda root: (root / LAST).unlink(), "subject_03/frontal1 has no scan: expected one .obj in",
        "subject_03/frontal1",
    ),
}  # fmt: skip
