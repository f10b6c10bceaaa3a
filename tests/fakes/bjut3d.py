"""BJUT-3D under invented names, in every format that is read: nobody outside knows the real ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from fakes import Variant, empty, extra_files, lit, reencode, truncate

CAPTURES = ("a/F0001", "a/M0002", "b/F0003", "b/M0004")
SIZE = (48, 40)


@lru_cache
def surface() -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) millimetres and (F, 3): the analytic face."""
    depth, _, mask = lit.face(*SIZE)
    rows, columns = SIZE
    x, y = np.meshgrid(np.arange(columns) - columns / 2, rows / 2 - np.arange(rows))
    points = np.stack([x, y, depth], -1).reshape(-1, 3) * 4.0
    r, c = np.nonzero(mask[:-1, :-1] & mask[1:, :-1] & mask[:-1, 1:] & mask[1:, 1:])
    a = r * columns + c
    quads = np.stack([a, a + columns, a + columns + 1, a + 1], axis=1)
    return points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def obj(points: np.ndarray, faces: np.ndarray) -> str:
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in points]
    return "\n".join(lines + [f"f {a} {b} {c}" for a, b, c in faces + 1]) + "\n"


def ply(points: np.ndarray, faces: np.ndarray) -> bytes:
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    table = np.zeros(len(faces), [("count", "u1"), ("index", "<i4", 3)])
    table["count"], table["index"] = 3, faces
    return header.encode() + points.astype("<f4").tobytes() + table.tobytes()


def wrl(points: np.ndarray, faces: np.ndarray) -> str:
    coordinates = ",\n".join(f"{x:.4f} {y:.4f} {z:.4f}" for x, y, z in points)
    polygons = ",\n".join(f"{a}, {b}, {c}, -1" for a, b, c in faces)
    return (
        "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet {\n"
        f"coord Coordinate {{ point [\n{coordinates}\n] }}\ncoordIndex [\n{polygons}\n]\n}} }}\n"
    )


def write(root: Path) -> None:
    points, faces = surface()
    (root / "a").mkdir()
    (root / "b").mkdir()
    (root / "a/F0001.obj").write_text(obj(points, faces))
    (root / "a/M0002.ply").write_bytes(ply(points, faces))
    (root / "b/F0003.wrl").write_text(wrl(points, faces))
    grey = np.full((len(points), 3), 128, np.uint8)
    np.savez(root / "b/M0004.npz", vertices=points, faces=faces, colors=grey)


def _turned(root: Path) -> None:
    points, faces = surface()
    turned = points[:, [0, 2, 1]] * [1, -1, 1]  # x right, -z... out becomes -y, up becomes z
    for path in root.rglob("*.*"):
        path.unlink()
    for name in CAPTURES:
        np.savez(root / f"{name}.npz", vertices=turned, faces=faces)
    (root / "fnbench.toml").write_text('axes = "+x +z -y"\nsubject = "([FM]\\\\d+)"\n')


def _npz(**arrays: np.ndarray):
    return lambda root: np.savez(root / "b/M0004.npz", **arrays)


def _setting(text: str):
    return lambda root: (root / "fnbench.toml").write_text(text)


POINTS, FACES = surface()
VARIANTS = {
    "extra files": Variant(extra_files),
    "upper case": Variant(lambda root: (root / "a/F0001.obj").rename(root / "a/F0001.OBJ")),
    "other axes": Variant(_turned),
    "wound inwards": Variant(_npz(vertices=POINTS, faces=FACES[:, ::-1])),
    "points alone": Variant(_npz(vertices=POINTS), r"M0004\.npz: points without triangles", CAPTURES[3]),
    "pickled": Variant(
        _npz(vertices=np.array({"x": 1}, dtype=object)), r"M0004\.npz: not a plain NPZ archive", CAPTURES[3]
    ),
    "faces beyond the vertices": Variant(
        _npz(vertices=POINTS[:100], faces=FACES), r"M0004\.npz: a face names vertices", CAPTURES[3]
    ),
    "half a micrometre": Variant(
        _npz(vertices=POINTS * 1e-9, faces=FACES), r"M0004\.npz: its longest side is", CAPTURES[3]
    ),
    "archive cut off": Variant(lambda root: truncate(root / "b/M0004.npz"), r"M0004\.npz: ", CAPTURES[3]),
    "vrml cut off": Variant(lambda root: truncate(root / "b/F0003.wrl"), r"F0003\.wrl: ends inside", CAPTURES[2]),
    "vrml empty": Variant(lambda root: empty(root / "b/F0003.wrl"), r"F0003\.wrl: ", CAPTURES[2]),
    "ply re-encoded": Variant(lambda root: reencode(root / "a/M0002.ply"), r"M0002\.ply", CAPTURES[1]),
    "axes that mirror": Variant(_setting('axes = "-x +y +z"'), "mirror the face"),
    "axes in words": Variant(_setting('axes = "right up out"'), "expected three signed axes"),
    "subject finds nobody": Variant(_setting('subject = "(Q+)"'), "finds nobody in '[ab]/[FM]"),
    "subject is no expression": Variant(_setting('subject = "("'), "is no regular expression"),
}
