"""Bosphorus: a bump on a 20 x 16 grid with a background frame; two people, three scans."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from fakes import Variant, empty, extra_files, reencode, truncate, web_page

CAPTURES = ["bs000/bs000_E_ANGER_0", "bs000/bs000_N_N_0", "bs104/bs104_YR_R10_0"]
ROWS, COLUMNS = 20, 16
NOTHING = -1e9


def grid() -> np.ndarray:
    """(20, 16, 3) millimetres, top row first: an ellipsoid bump, z to the sensor; the frame is not measured."""
    x, y = np.meshgrid(np.linspace(-70, 70, COLUMNS), np.linspace(95, -95, ROWS))
    z = 60 * np.sqrt(np.clip(1 - (x / 90) ** 2 - (y / 120) ** 2, 0, None))
    points = np.stack([x, y, z], -1)
    points[[0, -1]] = NOTHING
    points[:, [0, -1]] = NOTHING
    return points


def bnt(points: np.ndarray, count: int | None = None, name: bytes = b"bs000.png", length: int | None = None) -> bytes:
    rows, columns, _ = points.shape
    blocks = np.concatenate([np.moveaxis(points[::-1], -1, 0), np.zeros((2, rows, columns))])
    header = struct.pack("<HHdH", rows, columns, NOTHING, len(name) if length is None else length) + name
    return header + struct.pack("<I", 5 * rows * columns if count is None else count) + blocks.astype("<f8").tobytes()


def write(root: Path) -> None:
    for capture in CAPTURES:
        path = root / "BosphorusDB" / f"{capture}.bnt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bnt(grid()))
        path.with_suffix(".lm3").write_text("# landmarks\n0\n")


def one(root: Path) -> Path:
    return root / "BosphorusDB" / "bs000" / "bs000_N_N_0.bnt"


VARIANTS = {
    "extra files": Variant(extra_files),
    "upper case": Variant(lambda root: one(root).rename(one(root).with_suffix(".BNT"))),
    "truncated": Variant(lambda root: truncate(one(root)), r"points need", CAPTURES[1]),
    "header only": Variant(
        lambda root: one(root).write_bytes(bnt(grid())[:10]), "too short for its header", CAPTURES[1]
    ),
    "wrong count": Variant(
        lambda root: one(root).write_bytes(bnt(grid(), count=ROWS * COLUMNS)), "expected five per point", CAPTURES[1]
    ),
    "endless name": Variant(
        lambda root: one(root).write_bytes(bnt(grid(), length=60000)), "too short for its header", CAPTURES[1]
    ),
    "re-encoded": Variant(lambda root: reencode(one(root)), r"bnt: ", CAPTURES[1]),
    "empty": Variant(lambda root: empty(one(root)), "the file is empty", CAPTURES[1]),
    "web page": Variant(lambda root: web_page(one(root)), "web page", CAPTURES[1]),
    "metres": Variant(
        lambda root: one(root).write_bytes(bnt(np.where(grid() == NOTHING, NOTHING, grid() / 1000))),
        "expected 60 to 400 for a face",
        CAPTURES[1],
    ),
    "nothing measured": Variant(
        lambda root: one(root).write_bytes(bnt(np.full((ROWS, COLUMNS, 3), NOTHING))), "0 measured points", CAPTURES[1]
    ),
}
