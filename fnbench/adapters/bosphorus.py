"""Bosphorus (Savran et al., 2008): 105 people, 4666 single-view range scans as ``.bnt`` grids, with photographs.

Facts: datasets/bosphorus/card.toml. A ``.bnt`` holds x, y, z in millimetres on a grid whose first row is the bottom
one, with a marker far behind the face where nothing was measured. The grid becomes triangles; those that bridge a
depth jump are dropped. Single view: the sides of the nose and everything behind it are missing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import axes_matrix, given_root, nothing_found, read_bytes, settings, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.types import Capture, Scan

LONGEST_EDGE = 4.0
"""An edge longer than this many median spacings bridges a depth jump."""
HEAD_MM = (60.0, 400.0)
"""Plausible longest side of the measured face in millimetres."""
KINDS = {
    "N": "neutral", "E": "emotion", "LFAU": "lower action unit", "UFAU": "upper action unit",
    "CAU": "combined action units", "YR": "yaw", "PR": "pitch", "CR": "yaw and pitch", "O": "occlusion",
}  # fmt: skip
_NAME = re.compile(r"(bs\d{3})_([A-Z]+)_(.+)\.bnt", re.IGNORECASE)


class Bosphorus:
    """Range scans as ``bs000/bs000_N_N_0``.

    root: the folder ``BosphorusDB`` or one above it.

    The axes of the files are a setting (card, or ``fnbench.toml`` in the folder).
    """

    name: ClassVar[str] = "bosphorus"

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._axes = axes_matrix(self.name, settings(self.name, root)["axes"])

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._files())

    def load(self, capture_id: str) -> Capture:
        files = self._files()
        if capture_id not in files:
            raise unknown_capture(self.name, capture_id, files)
        path = files[capture_id]
        match = _NAME.fullmatch(path.name)
        kind = match[2].upper() if match else ""
        grid = read_bnt(path) @ self._axes.T
        return Capture(
            id=capture_id,
            subject=capture_id.split("/")[0],
            scan=_mesh(grid, capture_id),
            attributes={"expression": path.stem.split("_", 1)[1], "kind": KINDS.get(kind, kind.lower())},
        )

    def _files(self) -> dict[str, Path]:
        root = given_root(self.name, self.root)
        found = {}
        for pattern in ("*.[bB][nN][tT]", "*/*.[bB][nN][tT]", "*/*/*.[bB][nN][tT]"):
            for path in root.glob(pattern):
                if match := _NAME.fullmatch(path.name):
                    found[f"{match[1].lower()}/{path.stem}"] = path
        if not found:
            raise nothing_found(self.name, root, f"{root}/BosphorusDB/bs000/bs000_N_N_0.bnt")
        return found


def read_bnt(path: Path) -> NDArray[np.float64]:
    """The range grid of a ``.bnt``: (rows, columns, 3) x, y, z in millimetres, top row first, NaN where not measured.

    Layout, little-endian: uint16 rows, uint16 columns, float64 marker of "nothing", uint16 length and that many bytes
    of an image name, uint32 5 * rows * columns, then five blocks of float64: x, y, z, u, v; the bottom row first.
    """
    content = read_bytes(path)
    try:
        rows, columns, nothing, length = struct.unpack_from("<HHdH", content)
        (count,) = struct.unpack_from("<I", content, 14 + length)
    except struct.error:
        raise InvalidDataError(f"{path}: {len(content)} bytes, too short for its header. Copy it again.") from None
    if rows < 2 or columns < 2 or count != 5 * rows * columns or not np.isfinite(nothing):
        raise InvalidDataError(
            f"{path}: its header says {rows} x {columns} points and {count} values, expected five per point. "
            "Not a .bnt, or re-encoded as text; copy it again."
        )
    start = 18 + length
    if len(content) < start + 8 * count:
        raise InvalidDataError(
            f"{path}: {len(content)} bytes, but {rows} x {columns} points need {start + 8 * count}. Copy it again."
        )
    blocks = np.frombuffer(content, "<f8", count, start).reshape(5, rows, columns)
    grid = np.moveaxis(blocks[:3, ::-1], 0, -1).copy()
    grid[~(grid[..., 2] > nothing + 1e-3 * abs(nothing) + 1)] = np.nan
    return grid


def _mesh(grid: NDArray[np.float64], name: str) -> Scan:
    known: NDArray[np.bool_] = np.asarray(np.isfinite(grid).all(axis=-1))
    if known.sum() < 3:
        raise InvalidDataError(f"{name}: {int(known.sum())} measured points, expected a face. Copy it again.")
    extent = float(np.ptp(grid[known], axis=0).max())
    if not HEAD_MM[0] <= extent <= HEAD_MM[1]:
        raise InvalidDataError(
            f"{name}: its longest side is {extent:.4g} mm, expected {HEAD_MM[0]:.0f} to {HEAD_MM[1]:.0f} for a face. "
            "Is the file in another unit?"
        )
    number = np.cumsum(known).reshape(known.shape) - 1
    top_left, bottom_left = number[:-1, :-1], number[1:, :-1]
    top_right, bottom_right = number[:-1, 1:], number[1:, 1:]
    here = [known[:-1, :-1], known[1:, :-1], known[:-1, 1:], known[1:, 1:]]
    # Rows run down and columns right, x right and y up: these orders are counter-clockwise seen from the sensor.
    first = np.stack([top_left, bottom_left, bottom_right], -1)[here[0] & here[1] & here[3]]
    second = np.stack([top_left, bottom_right, top_right], -1)[here[0] & here[3] & here[2]]
    faces = np.concatenate([first, second])
    vertices = grid[known]
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=-1)
    kept = faces[edges.max(axis=1) < LONGEST_EDGE * np.median(edges)]
    dropped = len(faces) - len(kept)
    notes = (f"{dropped} triangles across depth jumps left out",) if dropped else ()
    return Scan(vertices=vertices, faces=kept.astype(np.int32), name=name, notes=notes)
