"""Facial landmarks on scans: how the head is turned, and how far the eyes are apart.

All lists have 68 points in the iBUG order (0-16 jaw from image left to right, 17-26 brows, 27-35 nose, 36-47 eyes,
48-67 mouth); unknown points are NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
