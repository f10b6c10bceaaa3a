"""Stirling / ESRC 3D faces: textured scans of about 135 people, neutral and with expressions.

Facts: datasets/stirling/card.toml. Files are named ``F1001_1.obj`` in many spellings and folders. The seven points of a
``.lnd`` file of the FG2018 challenge, when one lies anywhere below the root, are used to check the unit; they are too
few to place a crop, so the face is located on the scan.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import given_root, nothing_found, read_text, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.scans.read import read_scan
from fnbench.types import Capture

FRONT = (0.0, 0.0, 1.0)
POINTS = 7
"""Right eye outer and inner, left eye inner and outer, nose bottom, mouth corners."""
EYE_CORNERS_MM = (70.0, 115.0)
"""Plausible distance of the outer eye corners; median 90.8 mm in the challenge's files."""
_NAME = re.compile(r"([FM]\d{4})[_-]?(.*)\.obj", re.IGNORECASE)


class Stirling:
    """Scans as ``F1001/1``, ``F1001/1_NH``.

    root: any folder above the OBJ files.
    """

    name: ClassVar[str] = "stirling"

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def capture_ids(self) -> Sequence[str]:
        return sorted(_listing(given_root(self.name, self.root))[0])

    def load(self, capture_id: str) -> Capture:
        scans, points = _listing(given_root(self.name, self.root))
        if capture_id not in scans:
            raise unknown_capture(self.name, capture_id, scans)
        subject, _, shown = capture_id.partition("/")
        attributes: dict[str, Any] = {"expression": shown}
        if capture_id in points:
            corners = np.linalg.norm(np.subtract(*read_lnd(points[capture_id])[[0, 3]]))
            if not EYE_CORNERS_MM[0] <= corners <= EYE_CORNERS_MM[1]:
                raise InvalidDataError(
                    f"{points[capture_id]}: the outer eye corners are {corners:.4g} mm apart, expected "
                    f"{EYE_CORNERS_MM[0]:.0f} to {EYE_CORNERS_MM[1]:.0f}. Another unit, or points of another file?"
                )
            attributes["outer_eye_corners_mm"] = round(float(corners), 2)
        scan = read_scan(scans[capture_id], unit="mm", front=FRONT)
        return Capture(id=capture_id, subject=subject, scan=replace(scan, name=capture_id), attributes=attributes)


def read_lnd(path: Path) -> NDArray[np.float64]:
    """The seven points of a ``.lnd`` file, lines ``index x y z``: (7, 3) in the frame of the scan."""
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    try:
        points = np.array([[float(word) for word in row] for row in rows if len(row) == 4])
    except ValueError as error:
        raise InvalidDataError(f"{path}: {error}; expected lines of index x y z. Copy it again.") from error
    if len(points) != len(rows) or points.shape != (POINTS, 4) or not np.isfinite(points).all():
        raise InvalidDataError(
            f"{path}: {len(rows)} lines, {len(points)} of them with index x y z; expected {POINTS}. Copy it again."
        )
    return points[np.argsort(points[:, 0], kind="stable"), 1:]


@lru_cache(maxsize=8)
def _listing(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Scans and point files by capture id."""
    scans: dict[str, Path] = {}
    points: dict[str, Path] = {}
    for folder, subfolders, files in os.walk(root):
        subfolders.sort()
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            match = _NAME.fullmatch(f"{stem}.obj")
            if match is None or suffix.lower() not in (".obj", ".lnd"):
                continue
            capture_id = f"{match[1].upper()}/{match[2].upper() or 'N'}"
            found = scans if suffix.lower() == ".obj" else points
            if capture_id in found:
                raise InvalidDataError(
                    f"{Path(folder) / file}: {capture_id} also lies in {found[capture_id]}. Remove one of the two."
                )
            found[capture_id] = Path(folder) / file
    if not scans:
        raise nothing_found(Stirling.name, root, f"{root}/.../F1001_1.obj")
    return scans, points
