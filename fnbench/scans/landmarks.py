"""Facial landmarks on scans: reading them, how the head is turned, and how far the eyes are apart.

All lists have 68 points in the iBUG order (0-16 jaw from image left to right, 17-26 brows, 27-35 nose, 36-47 eyes,
48-67 mouth); unknown points are NaN.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError

COUNT = 68
SUFFIXES = (".ljson", ".pts")
"""Files with 68 points in 3D that ``read_landmarks`` opens."""
_MENPO_PARTS = ("chin", "leyebrow", "reyebrow", "nose", "leye", "reye", "mouth")
"""Labels of menpo3d's 3D files in the iBUG order of their points; there, "l" is the image's left."""


def read_landmarks(path: Path) -> NDArray[np.float64]:
    """(68, 3) points of a ``.ljson`` (menpo) or ``.pts`` file, in the coordinates of the file, NaN where unknown.

    The labels of an ``.ljson`` decide the order when they name the parts of a face; else the points are taken as
    they come. InvalidDataError when there are not 68 points with three coordinates.
    """
    try:
        text = path.read_text(encoding="utf-8")
        points = _ljson(text) if path.suffix.lower() == ".ljson" else _pts(text)
    except OSError as error:
        raise InvalidDataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise InvalidDataError(
            f"{path}: not a landmark file ({type(error).__name__}: {error}), expected 68 points x y z; copy it again."
        ) from error
    if points.shape != (COUNT, 3):
        raise InvalidDataError(
            f"{path}: landmarks of shape {points.shape}, expected (68, 3): points in the coordinates of the scan."
        )
    return points


def _ljson(text: str) -> NDArray[np.float64]:
    data = json.loads(text)
    groups = data.get("groups") if isinstance(data, dict) else None
    group = next(iter(groups.values())) if isinstance(groups, dict) else data
    points = np.array([[np.nan if v is None else float(v) for v in p] for p in group["landmarks"]["points"]])
    masks = {label["label"]: label["mask"] for label in group.get("labels", ())}
    if all(part in masks for part in _MENPO_PARTS):
        points = points[[index for part in _MENPO_PARTS for index in masks[part]]]
    return points


def _pts(text: str) -> NDArray[np.float64]:
    inside = re.search(r"\{(.*)\}", text, re.DOTALL)
    rows = (inside[1] if inside else text).split("\n")
    return np.array([[float(word) for word in row.replace(",", " ").split()] for row in rows if row.strip()])


def head_pose(frame: NDArray[np.float64]) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a face in a world with x right, y up, z out.

    frame: (3, 3), rows are the face's right (image right), up and out directions.
    Yaw is positive when the face looks to the image right, pitch when it looks up, roll when its right side (image
    right) is raised.

    >>> head_pose(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))  # looks at the sky
    (0.0, 90.0, 0.0)
    """
    right, _, out = frame
    yaw, pitch = np.arctan2(out[0], out[2]), np.arcsin(np.clip(out[1], -1, 1))
    level = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    roll = np.arctan2(right @ np.cross(out, level), right @ level)
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def eye_distance(landmarks: NDArray[np.floating]) -> float:
    """Distance between the outer eye corners in mm, NaN when one is unknown; about 90 mm in adults."""
    return float(np.linalg.norm(landmarks[36] - landmarks[45]))
