"""From the world to canonical head coordinates: proportions of the person as smooth, invertible stretches."""

from __future__ import annotations

import numpy as np

from fnbench.scans.identity import Identity
from fnbench.scans.implicit import Array, Point, coordinates, ramp, smooth_abs

_SEGMENTS = {
    "midface_length": (-6.0, -46.0, 2.6),
    "lip_length": (-48.0, -82.0, 1.5),
    "chin_length": (-80.0, -114.0, 2.6),
}
"""Where along y a length parameter stretches the face: from, to, millimetres per standard deviation."""


def canonical(p: Point, who: Identity) -> Point:
    """World point -> canonical point of the mean proportions."""
    x, y, z = p
    x = x + 0.6 * who.lean * ramp((-y - 5.0) / 75.0) - 0.3 * who.lean
    y = y - 0.006 * who.tilt * x
    for name, (start, end, millimetres) in _SEGMENTS.items():
        amount = millimetres * float(getattr(who, name))
        y = y + amount * ramp((start - y) / (start - end))
    # The face widens in the plane of its front; the ears and the back of the head follow head_width.
    wide = 1.0 + 0.022 * who.face_width
    back = 1.0 + 0.022 * who.head_width
    share = ramp((z + 70.0) / 70.0)
    x = x * (share * (1.0 / wide - 1.0 / back) + 1.0 / back)
    z = z + 2.2 * who.head_length * ramp((-z - 30.0) / 140.0)
    return x, y, z


def to_world(points: Array, who: Identity) -> Array:
    """Canonical points (N, 3) -> world points, by fixed-point iteration of the inverse warp (a contraction)."""
    found = np.array(points, np.float64)
    for _ in range(30):
        there = np.stack([part.value for part in canonical(coordinates(found, False), who)], axis=1)
        found = found + (points - there)
    return found


def mirrored(p: Point) -> Point:
    """Both halves of the head onto one: x becomes sqrt(x^2 + 1.5^2)."""
    return smooth_abs(p[0], 1.5), p[1], p[2]
