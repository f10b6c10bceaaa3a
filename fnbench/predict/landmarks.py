"""Landmarks and boxes that somebody gives for a photograph, instead of having its faces looked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import read_text
from fnbench.adapters.w300 import read_pts
from fnbench.camera import CropBox
from fnbench.errors import InvalidDataError, InvalidSettingError

COUNT = 68
SUFFIXES = (".pts", ".txt", ".csv")


def read_points(path: Path) -> NDArray[np.float64]:
    """(N, 68, 2) pixel x, y of the N faces in a file, the first pixel's centre at 0.5.

    path: ``.pts`` as 300-W writes it, or 68 lines "x y" (commas or spaces) per face.
    Raises DatasetNotFoundError, InvalidDataError.
    """
    text = read_text(path)
    if path.suffix.lower() == ".pts":
        return np.asarray(read_pts(text, str(path)), np.float64)[None]
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    try:
        points = np.array([[float(word) for word in row] for row in rows], np.float64)
    except ValueError as error:
        raise InvalidDataError(f"{path}: {error}; expected 68 lines of x y for each face.") from error
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or len(points) % COUNT:
        raise InvalidDataError(
            f"{path}: {len(rows)} lines, expected 68 of x y for each face, in pixels of the photograph. "
            "Other sets of points enclose another part of the face: give the square itself with --box x,y,side."
        )
    if not np.isfinite(points).all():
        raise InvalidDataError(f"{path}: a point is NaN or infinite; expected 68 points in pixels.")
    return points.reshape(-1, COUNT, 2)


def points_file(given: Path, photograph: Path, *, alone: bool) -> Path:
    """The landmarks file of one photograph.

    given: the file itself when the photograph is ``alone``, or a folder with ``<name>.pts``, ``.txt`` or ``.csv``.
    """
    if given.is_dir():
        candidates = [given / f"{photograph.stem}{suffix}" for suffix in SUFFIXES]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise InvalidDataError(f"{photograph}: no landmarks {candidates[0].name} (or .txt, .csv) in {given}.")
        return found
    if not alone:
        raise InvalidSettingError(
            f"--landmarks {given} is one file, but there are several photographs; give a folder with one file for each."
        )
    return given


def read_box(text: str) -> CropBox:
    """The square that ``x,y,side`` names: left, top and side in pixels.

    >>> read_box("120,80,256")
    CropBox(x=120.0, y=80.0, side=256.0)
    """
    try:
        x, y, side = (float(word) for word in text.split(","))
    except ValueError:
        x = y = side = float("nan")
    if not (np.isfinite([x, y, side]).all() and side >= 1):
        raise InvalidSettingError(
            f"--box is {text!r}, expected x,y,side: the left and top corner of a square in pixels and its side, "
            "like 120,80,256."
        )
    return CropBox(x, y, side)
