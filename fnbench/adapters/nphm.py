"""NPHM and MonoNPHM (Giebenhain et al., CVPR 2023 and 2024): real head scans in a FLAME-aligned frame.

Facts: datasets/nphm/card.toml. ``<person>/<expression>/scan.ply`` is the scan. Stored coordinates are FLAME's, in
metres, times 4: x right, y up, z out. With the similarity of the same folder (``raw_mm = (v - t) R / s``) the scan gets
its true size; without, FLAME's scale is taken.

``flame.ply`` beside it is a fit of the FLAME template, and no truth. Its vertices are the same places of every face:
landmarks and regions are found on the first one, and carried to the scans that the others lie on.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from fnbench.adapters.contract import given_root, nothing_found, read_bytes, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.scans.read import read_scan
from fnbench.types import Capture, Scan, Topology

FLAME_MM = 250.0
"""Millimetres per stored unit when no similarity is given: FLAME metres times 4."""
FRONT = (0.0, 0.0, 1.0)
TEMPLATE = "flame.ply"
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
            f"{scan.parent.parent.name}/{scan.parent.name}" for scan in root.glob("*/*/scan.ply") if _is_capture(scan)
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
        scan = read_scan(folder / "scan.ply", unit=_unit(scale), front=FRONT)
        notes = () if scale is not None else ("no s.npy: the size is FLAME's, not the person's",)
        return Capture(
            id=capture_id,
            subject=person,
            scan=replace(scan, name=capture_id, notes=(*scan.notes, *notes)),
            topology=self._topology(folder),
            attributes={"expression": expression, "size": "flame" if scale is None else "measured"},
        )

    def _topology(self, folder: Path) -> Topology | None:
        """The FLAME fit of a folder, and the first one of the copy, which stands for all; None without one."""
        if not (folder / TEMPLATE).is_file():
            return None
        return Topology(_template(folder), partial(_reference, given_root(self.name, self.root)))


@lru_cache(maxsize=4)
def _template(folder: Path) -> Scan:
    # Lips and lids of the template touch on purpose: equal positions are not one vertex.
    scan = read_scan(folder / TEMPLATE, unit=_unit(_scale(folder / "s.npy")), front=FRONT, weld=False)
    return replace(scan, name=f"{folder.parent.name}/{folder.name}")


@lru_cache(maxsize=2)
def _first(root: Path) -> Path:
    """The first folder with a FLAME fit."""
    return min(path.parent for path in root.glob(f"*/*/{TEMPLATE}") if _is_capture(path))


def _reference(root: Path) -> Capture:
    folder = _first(root)
    scan = _template(folder)
    return Capture(scan.name, folder.parent.name, scan=scan)


def _is_capture(file: Path) -> bool:
    return all(_NUMBER.fullmatch(folder.name) for folder in (file.parent, file.parent.parent))


def _unit(scale: float | None) -> float:
    """Millimetres per stored unit."""
    return FLAME_MM if scale is None else 1 / scale


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
