"""NPHM and MonoNPHM (Giebenhain et al., CVPR 2023 and 2024): real head scans in a FLAME-aligned frame.

Facts: datasets/nphm/card.toml. ``<person>/<expression>/scan.ply`` is the scan; registrations beside it are template
fits and not read. Stored coordinates are FLAME's, in metres, times 4: x right, y up, z out. With the similarity of
the same folder (``raw_mm = (v - t) R / s``) the scan gets its true size; without, FLAME's scale is taken.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from fnbench.adapters.contract import given_root, nothing_found, read_bytes, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.scans.read import read_scan
from fnbench.types import Capture

FLAME_MM = 250.0
"""Millimetres per stored unit when no similarity is given: FLAME metres times 4."""
FRONT = (0.0, 0.0, 1.0)
_NUMBER = re.compile(r"\d{3,}")


class Nphm:
    """Scans as ``<person>/<expression>``.

    root: the folder with the numbered person folders.
    """

    name: ClassVar[str] = "nphm"

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def capture_ids(self) -> Sequence[str]:
        root = given_root(self.name, self.root)
        found = [
            f"{scan.parent.parent.name}/{scan.parent.name}"
            for scan in root.glob("*/*/scan.ply")
            if _NUMBER.fullmatch(scan.parent.name) and _NUMBER.fullmatch(scan.parent.parent.name)
        ]
        if not found:
            raise nothing_found(self.name, root, f"{root}/<person>/<expression>/scan.ply, such as 017/000/scan.ply")
        return sorted(found)

    def load(self, capture_id: str) -> Capture:
        person, _, expression = capture_id.partition("/")
        folder = given_root(self.name, self.root) / person / expression
        if not re.fullmatch(r"\d{3,}/\d{3,}", capture_id) or not (folder / "scan.ply").is_file():
            raise unknown_capture(self.name, capture_id, self.capture_ids())
        scale = _scale(folder / "s.npy")
        scan = read_scan(folder / "scan.ply", unit=FLAME_MM if scale is None else 1 / scale, front=FRONT)
        notes = () if scale is not None else ("no s.npy: the size is FLAME's, not the person's",)
        return Capture(
            id=capture_id,
            subject=person,
            scan=replace(scan, name=capture_id, notes=(*scan.notes, *notes)),
            attributes={"expression": expression, "size": "flame" if scale is None else "measured"},
        )


def _scale(path: Path) -> float | None:
    """Stored units per raw millimetre; None when the folder has no similarity."""
    if not path.is_file():
        return None
    try:
        value = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidDataError(f"{path}: not a plain NumPy array ({error}). Copy it again.") from error
    if value.size != 1 or not np.isfinite(value).all() or not value.item() > 0:
        raise InvalidDataError(f"{path}: shape {value.shape}, expected one positive number, the scale. Copy it again.")
    return float(value.item())
