"""BU-3DFE (Yin et al., FG 2006): 100 people, neutral and six expressions in four strengths, as VRML face meshes.

Facts: datasets/bu3dfe/card.toml. ``<ID>/<ID>_<EX><LV><ETH>_F3D.wrl`` is the cropped face with its texture
``..._F3D.bmp``; ``_RAW`` meshes and ``.pse`` pose files are not read. The 83 points of ``.bnd`` are not in the order of
the 68 landmarks and are checked only; the face is located on the mesh.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from fnbench.adapters.contract import given_root, nothing_found, read_text, settings, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.scans.read import read_scan
from fnbench.types import Capture

POINTS = 83
EXPRESSIONS = {
    "NE": "neutral", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "SA": "sadness", "SU": "surprise",
}  # fmt: skip
_NAME = re.compile(r"([FM]\d{4})_([A-Z]{2})(\d{2})([A-Z]{2})_F3D\.wrl", re.IGNORECASE)


class Bu3dfe:
    """Cropped face meshes as ``F0001/F0001_AN01WH``.

    root: the folder of the person folders, or one above it.

    The unit and the direction out of the face are settings (card, or ``fnbench.toml`` in the folder).
    """

    name: ClassVar[str] = "bu3dfe"

    def __init__(self, root: Path | None) -> None:
        self.root = root
        chosen = settings(self.name, root)
        self._unit: str = chosen["unit"]
        self._front = tuple(float(value) for value in chosen["front"])

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._files())

    def load(self, capture_id: str) -> Capture:
        files = self._files()
        if capture_id not in files:
            raise unknown_capture(self.name, capture_id, files)
        path = files[capture_id]
        match = _NAME.fullmatch(path.name)
        code, level = (match[2].upper(), int(match[3])) if match else ("", 0)
        _check_points(path.with_suffix(".bnd"))
        return Capture(
            id=capture_id,
            subject=capture_id.split("/")[0],
            scan=replace(read_scan(path, unit=self._unit, front=self._front), name=capture_id),
            attributes={"expression": EXPRESSIONS.get(code, code.lower()), "strength": level},
        )

    def _files(self) -> dict[str, Path]:
        root = given_root(self.name, self.root)
        found = {}
        for pattern in ("*.[wW][rR][lL]", "*/*.[wW][rR][lL]", "*/*/*.[wW][rR][lL]"):
            for path in root.glob(pattern):
                if match := _NAME.fullmatch(path.name):
                    found[f"{match[1].upper()}/{path.stem.rsplit('_', 1)[0]}"] = path
        if not found:
            raise nothing_found(self.name, root, f"{root}/F0001/F0001_NE00WH_F3D.wrl")
        return found


def _check_points(path: Path) -> None:
    """A marked-point file that is there must be whole; a copy without any is as good."""
    if not path.is_file():
        return
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != 4), None)
    if wrong is not None or len(rows) != POINTS:
        found = f"line {wrong} has {len(rows[wrong - 1])} entries" if wrong else f"{len(rows)} points"
        raise InvalidDataError(f"{path}: {found}, expected {POINTS} lines of index x y z. Copy it again.")
