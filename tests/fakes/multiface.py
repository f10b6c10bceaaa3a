"""Multiface: two sequences, two frames, two cameras; the shape is invented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, truncate
from fakes.nphm import ball

SEQUENCES = ("m--20180227--0000--6795937--GHS", "m--20190529--1004--5067077--GHS")
CAPTURES = [f"{sequence}/E001_Neutral/{frame}" for sequence in SEQUENCES for frame in ("000102", "000105")]
K = np.array([[700.0, 0, 160], [0, 700, 200], [0, 0, 1]])
OUT_OF_MESH = np.array([[1.0, 0, 0, 5], [0, -1, 0, -7], [0, 0, -1, 1000]])
"""Mesh to world: the world of the fake is that of an OpenCV camera one metre before the face."""


def krt() -> str:
    blocks = []
    for name, shift, distortion in (("400002", 0, "0 0 0 0 0"), ("400030", 40, "-0.05 0.01 0 0 0")):
        extrinsics = np.hstack([np.eye(3), [[shift], [0], [0]]])
        rows = ["{:.6f} {:.6f} {:.6f}".format(*row) for row in K]
        rows += [distortion, *("{:.6f} {:.6f} {:.6f} {:.6f}".format(*row) for row in extrinsics)]
        blocks.append("\n".join([name, *rows]))
    return "\n\n".join(blocks) + "\n"


def write(root: Path) -> None:
    for sequence in SEQUENCES:
        folder = root / sequence
        meshes = folder / "tracked_mesh" / "E001_Neutral"
        meshes.mkdir(parents=True)
        (folder / "KRT").write_text(krt())
        for frame in ("000102", "000105"):
            ball().export(meshes / f"{frame}.obj")
            text = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in OUT_OF_MESH)
            (meshes / f"{frame}_transform.txt").write_text(text + "\n")
            for camera in ("400002", "400030"):
                path = folder / "images" / "E001_Neutral" / camera / f"{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (320, 400), (150, 120, 110)).save(path)


def mesh(root: Path) -> Path:
    return root / SEQUENCES[0] / "tracked_mesh" / "E001_Neutral" / "000105.obj"


def _rename(path: Path, name: str) -> None:
    path.rename(path.with_name(name))


def _far_away(root: Path) -> None:
    path = mesh(root).with_name("000105_transform.txt")
    path.write_text("1 0 0 9000\n0 -1 0 0\n0 0 -1 1000\n")


VARIANTS = {
    "extra files": Variant(extra_files),
    "no photographs": Variant(
        lambda root: [path.unlink() for path in (root / SEQUENCES[0] / "images").rglob("000105.png")]
    ),
    "truncated mesh": Variant(lambda root: truncate(mesh(root), 0.3), r"000105\.obj", CAPTURES[1]),
    "empty mesh": Variant(lambda root: empty(mesh(root)), "the file is empty", CAPTURES[1]),
}
"""What goes wrong with cameras shows when photographs are read; tests/test_multiface.py has it."""

CAMERA_FAULTS = {
    "no transform": (lambda root: mesh(root).with_name("000105_transform.txt").unlink(), "this file is missing"),
    "short transform": (lambda root: mesh(root).with_name("000105_transform.txt").write_text("1 2 3"), "3 numbers"),
    "no KRT": (lambda root: (root / SEQUENCES[0] / "KRT").unlink(), "KRT: this file is missing"),
    "short KRT": (lambda root: truncate(root / SEQUENCES[0] / "KRT"), "expected"),
    "other camera": (
        lambda root: (root / SEQUENCES[0] / "KRT").write_text(krt().replace("400030", "400031")),
        "KRT has no camera '400030'",
    ),
    "other convention": (_far_away, "of the mesh projects into the photograph"),
}
