"""Headspace: two subjects, colours on the vertices, landmarks as vertex numbers from 1, one with cameras."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, truncate
from fakes.nphm import ball

CAPTURES = ["00001", "01519"]
STAMP = "131022110536"
CENTRE = np.array([30.0, 20, 1200])
TKA = """%M
1 0 0
0 -1 0
0 0 -1
%X 30 %Y 20 %Z 1200
%f 50
%K -0.00001
%K2 0
%x 0.05 %y 0.05
%a 210 %b 260
%is 400 500
"""


@lru_cache(maxsize=1)
def landmarks() -> np.ndarray:
    """Vertex numbers, from 1: outer eye corners 90 mm apart."""
    vertices = ball().vertices
    wanted = np.random.default_rng(0).normal(0, 25, (68, 2))
    wanted[36], wanted[45] = (-45, 30), (45, 30)
    front = np.where(vertices[:, 2] > 0, 0, 1e6)
    return np.array([np.argmin(((vertices[:, :2] - point) ** 2).sum(1) + front) for point in wanted]) + 1


def mesh_text() -> str:
    mesh = ball()
    lines = ["v {:.5f} {:.5f} {:.5f} 180 140 120".format(*vertex) for vertex in mesh.vertices.tolist()]
    return "\n".join(["mtllib a.mtl", *lines, *("f {} {} {}".format(*(face + 1)) for face in mesh.faces)]) + "\n"


def write(root: Path) -> None:
    for subject in CAPTURES:
        folder = root / "headspaceOnline" / "subjects" / subject
        folder.mkdir(parents=True)
        (folder / f"{STAMP}.obj").write_text(mesh_text())
        (folder / f"ldmks{STAMP}.txt").write_text("\n".join(map(str, [*landmarks(), 7, 8])) + "\n")
        (folder / f"person{subject}.txt").write_text("age:34\nbeardDescriptor:none\nsecret:yes\n")
    pods = root / "headspacePngTka" / "subjects" / CAPTURES[0] / STAMP
    pods.mkdir(parents=True)
    for pod in ("1A", "1C", "2C"):
        Image.new("RGB", (400, 500), (120, 110, 100)).save(pods / f"{pod}.png")
    (pods / "calib_1C.tka").write_text(TKA)


def one(root: Path, name: str) -> Path:
    return root / "headspaceOnline" / "subjects" / "01519" / name


def _second_mesh(root: Path) -> None:
    one(root, "131022110999.obj").write_text(mesh_text())


VARIANTS = {
    "extra files": Variant(extra_files),
    "subjects as root": Variant(lambda root: (root / "headspaceOnline" / "subjects").rename(root / "subjects")),
    "no person": Variant(lambda root: one(root, "person01519.txt").unlink()),
    "no landmarks": Variant(lambda root: one(root, f"ldmks{STAMP}.txt").unlink(), "found none", "01519"),
    "67 landmarks": Variant(
        lambda root: one(root, f"ldmks{STAMP}.txt").write_text("\n".join(map(str, landmarks()[:67]))),
        "67 numbers .*expected 68",
        "01519",
    ),
    "landmarks from zero": Variant(
        lambda root: one(root, f"ldmks{STAMP}.txt").write_text("\n".join(["0", *map(str, landmarks()[1:])])),
        "from 0 to",
        "01519",
    ),
    "landmarks of another scan": Variant(
        lambda root: one(root, f"ldmks{STAMP}.txt").write_text("1\n" * 68), "outer eye corners are 0 mm", "01519"
    ),
    "truncated": Variant(lambda root: truncate(one(root, f"{STAMP}.obj"), 0.2), r"\.obj", "01519"),
    "empty": Variant(lambda root: empty(one(root, f"{STAMP}.obj")), "the file is empty", "01519"),
    "two scans": Variant(_second_mesh, "expected one .obj, found 131022110536.obj, 131022110999.obj", "01519"),
}
