"""MICC Florence 2D/3D (Bagdanov et al., 2011): textured 3dMD scans of 53 people.

Facts: datasets/florence/card.toml. Each subject has two frontal scans and one from each side, every scan in a folder
of its own with an OBJ named by a time stamp. There are no landmarks and no cameras. The face is located on the scan
(``fnbench.render.locate``) unless somebody put 68 points beside it (``<stamp>.ljson`` or ``.pts``). The photographs
come out of the texture: a 3dMD texture holds the uncropped pictures, so its coordinates are the camera projection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import given_root, nothing_found, unknown_capture
from fnbench.errors import DatasetNotFoundError, InvalidDataError
from fnbench.files import printable
from fnbench.scans.atlas import atlas_photographs
from fnbench.scans.landmarks import SUFFIXES, eye_distance, read_landmarks
from fnbench.scans.read import read_scan
from fnbench.types import Capture

FRONT = (0.0, 0.0, 1.0)
"""Direction out of the face in the scans' axes, before the head's own pitch (-17 degrees in the median)."""
FRONTAL = ("frontal1", "frontal2")
SIDES = ("sidel", "sider")
EYE_CORNERS_MM = (70.0, 115.0)
"""Plausible distance of the outer eye corners; median 90.0 mm in the published landmark files."""

_SUBJECT = re.compile(r"subject_\d{2}", re.IGNORECASE)
_DEPTH = 3


class Florence:
    """Scans as ``subject_01/frontal1``.

    root: the folder that holds ``subject_01`` ... ``subject_53``, or one up to three levels above it.
    views: which folders under ``Model`` count. The side scans are not registered to the frontal ones and
        show half a face; ``AllViews`` lists them too. A subject without any of the wanted frontal scans is listed
        with the other one.
    """

    name: ClassVar[str] = "florence"

    def __init__(self, root: Path | None, *, views: Sequence[str] = FRONTAL) -> None:
        self.root, self.views = root, tuple(views)

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._folders())

    def load(self, capture_id: str) -> Capture:
        folders = self._folders()
        if capture_id not in folders:
            raise unknown_capture(self.name, capture_id, folders)
        subject, _, view = capture_id.partition("/")
        scans = _scans(folders[capture_id], capture_id)
        scan = read_scan(scans[0], unit="mm", front=FRONT)
        attributes: dict[str, Any] = {"view": view, "scan_file": printable(scans[0].name)}
        if len(scans) > 1:
            attributes["ignored_scans"] = [printable(path.name) for path in scans[1:]]
            scan = replace(scan, notes=(*scan.notes, f"{len(scans)} scans in one folder, the first by name taken"))
        if scan.notes:
            attributes["scan_notes"] = list(scan.notes)
        scan = replace(scan, name=capture_id)
        return Capture(
            id=capture_id,
            subject=subject,
            scan=scan,
            landmarks=_landmarks(scans[0]),
            photographs=None if scan.texture is None else partial(atlas_photographs, scan),
            attributes=attributes,
        )

    def _folders(self) -> dict[str, Path]:
        """Capture id -> folder of its OBJ (or where it should be), from names alone."""
        root = given_root(self.name, self.root)
        found: dict[str, Path] = {}
        for subject in _subjects(root):
            model = _child(subject, "model")
            present = _children(model) if model is not None else {}
            views = [view for view in self.views if view in present]
            if not any(view in FRONTAL for view in views) and any(view in FRONTAL for view in self.views):
                views += [view for view in FRONTAL if view in present][:1]
            if not views:  # never drop a person silently: loading says what is missing
                views, present = [self.views[0]], {self.views[0]: (model or subject / "Model") / self.views[0]}
            for view in views:
                folder = _child(present[view], "obj") or present[view] / "obj"
                found.setdefault(f"{subject.name.lower()}/{view}", folder)
        if not found:
            raise nothing_found(self.name, root, f"{root}/subject_01/Model/frontal1/obj/*.obj")
        return found


class AllViews(Florence):
    """Florence with its side scans: ``fnbench render-gt fnbench.adapters.florence:AllViews ...``."""

    def __init__(self, root: Path | None) -> None:
        super().__init__(root, views=FRONTAL + SIDES)


def _subjects(root: Path) -> list[Path]:
    """The subject folders nearest below the root, sorted by number."""
    level = [root]
    for _ in range(_DEPTH + 1):
        children = sorted(path for folder in level for path in _children(folder).values())
        found = [path for path in children if _SUBJECT.fullmatch(path.name)]
        if found:
            return sorted(found, key=lambda path: path.name.lower())
        level = [path for path in children if not path.is_symlink()]
    return []


def _children(folder: Path) -> dict[str, Path]:
    """The folders in a folder by lower-case name: copies differ in case."""
    found = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    return {path.name.lower(): path for path in found if path.is_dir()}


def _child(folder: Path, name: str) -> Path | None:
    return _children(folder).get(name)


def _scans(folder: Path, capture_id: str) -> list[Path]:
    """The OBJ files of one capture, by name; one is expected, and a VRML twin lies elsewhere."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    scans = [path for path in files if path.suffix.lower() == ".obj" and path.is_file() and path.name[0] != "."]
    if not scans:
        raise DatasetNotFoundError(
            f"florence: {capture_id} has no scan: expected one .obj in {folder}. Copy the folder again."
        )
    return scans


def _landmarks(scan: Path) -> NDArray[np.float64] | None:
    """68 points that lie beside a scan under its name, checked by the distance of the eyes."""
    for path in sorted(scan.parent.iterdir()):
        if path.stem.lower() == scan.stem.lower() and path.suffix.lower() in SUFFIXES:
            points = read_landmarks(path)
            corners = eye_distance(points)
            if not EYE_CORNERS_MM[0] <= corners <= EYE_CORNERS_MM[1]:
                raise InvalidDataError(
                    f"{path}: the outer eye corners are {corners:.4g} mm apart, expected {EYE_CORNERS_MM[0]:.0f} to "
                    f"{EYE_CORNERS_MM[1]:.0f}. Another unit, another order, or points of another scan?"
                )
            return points
    return None
