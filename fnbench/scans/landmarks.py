"""Facial landmarks on scans: the frame they span, and moving a template's landmarks onto a scan.

All lists have 68 points in the iBUG order (0-16 jaw from image left to right, 17-26 brows, 27-35 nose, 36-47 eyes,
48-67 mouth); unknown points are NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError

RIGID = (*range(27, 36), 36, 39, 42, 45)
"""Points that expressions hardly move: the nose and the eye corners."""

_FEWEST = 4


def face_frame(landmarks: NDArray[np.floating], template: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotation whose rows are the face's right (image right), up and out directions in the world of the landmarks.

    landmarks: (68, 3), NaN where unknown.  template: (68, 3) in the canonical frame (x right, y up, z out).
    The best similarity from template to landmarks over the points that expressions hardly move, or over all
    known points when fewer than four of those are known.

    >>> points = np.random.default_rng(0).normal(size=(68, 3))
    >>> face_frame(points[:, [0, 2, 1]] * [1, -1, 1], points).round(6) + 0
    array([[ 1.,  0.,  0.],
           [ 0.,  0.,  1.],
           [ 0., -1.,  0.]])
    """
    known = np.isfinite(landmarks).all(axis=1)
    rigid = known & np.isin(np.arange(len(landmarks)), RIGID)
    use = rigid if rigid.sum() >= _FEWEST else known
    if use.sum() < _FEWEST:
        raise InvalidDataError(
            f"{int(known.sum())} landmarks are known, expected at least {_FEWEST} to tell where a face looks."
        )
    a, b = np.asarray(template, np.float64)[use], np.asarray(landmarks, np.float64)[use]
    u, _, vt = np.linalg.svd((b - b.mean(axis=0)).T @ (a - a.mean(axis=0)))
    turn = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt  # world <- face
    return np.asarray(turn.T, np.float64)


def head_pose(frame: NDArray[np.float64]) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a face in a world with x right, y up, z out.

    Yaw is positive when the face looks to the image right, pitch when it looks up, roll when its right side (image
    right) is raised.
    """
    right, _, out = frame
    yaw, pitch = np.arctan2(out[0], out[2]), np.arcsin(np.clip(out[1], -1, 1))
    level = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    roll = np.arctan2(right @ np.cross(out, level), right @ level)
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def eye_distance(landmarks: NDArray[np.floating]) -> float:
    """Distance between the outer eye corners in mm, NaN when one is unknown; about 90 mm in adults."""
    return float(np.linalg.norm(landmarks[36] - landmarks[45]))
