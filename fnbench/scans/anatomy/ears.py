"""The ears: rim, bowl, inner fold, lobe and tragus."""

from __future__ import annotations

import numpy as np

from fnbench.scans.identity import Shape
from fnbench.scans.implicit import Jet, Point, ellipsoid, norm, rotation, shifted, subtraction, turned, union

CENTRE = (79.5, -18.0, -68.0)


def ears(f: Jet, q: Point, shape: Shape) -> Jet:
    """q: mirrored canonical."""
    who = shape.identity
    size = 1.0 + 0.05 * who.ear_size
    # local axes: u backwards along the ear, v up, w away from the head
    out = 26.0 + 5.0 * who.ear_angle
    rows = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]) @ rotation(y=out) @ rotation(x=9.0)
    e = tuple(part / size for part in turned(shifted(q, CENTRE), rows))
    u, v, w = e
    around = norm(u * (1 / 15.5), (v - 2.0) * (1 / 26.0))
    rim = norm((around - 1.0) * 17.0, w - 3.5) - 3.0
    plate = ellipsoid((u, v, w), (-1, -2, 0.0), (14.5, 28, 4.5))
    g = union(plate, rim, 4)
    lobe = ellipsoid((u, v, w), (-6.5, -25, 2), (8, 9, 4.2))
    g = union(g, lobe, 7)
    fold = norm((norm((u + 1) * (1 / 8.5), (v - 0) * (1 / 17.0)) - 1.0) * 10.0, w - 3.5) - 2.0
    g = union(g, fold, 3.5)
    bowl = ellipsoid((u, v, w), (-4, -5, 5.5), (7.5, 12, 7.5))
    g = subtraction(g, bowl, 3)
    tragus = ellipsoid((u, v, w), (-12.0, -7, 3), (4, 6, 4))
    g = union(g, tragus, 4)
    base = ellipsoid((u, v, w), (-9, -4, -10), (9, 24, 11))
    g = union(g, base, 8)
    return union(f, g * size, 6)
