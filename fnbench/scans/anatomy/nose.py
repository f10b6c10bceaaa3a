"""The nose: bridge, tip, wings, columella and nostrils."""

from __future__ import annotations

from fnbench.scans.identity import Shape
from fnbench.scans.implicit import Jet, Point, bump, ellipsoid, ridge, rotation, round_cone, subtraction, union


def nose(f: Jet, p: Point, q: Point, shape: Shape) -> Jet:
    """p: canonical, q: mirrored."""
    who, act = shape.identity, shape.expression
    out = 2.3 * who.nose_projection
    up = 1.7 * who.nose_turn + 1.2 * act.wrinkle
    top = 15.0 + 1.3 * who.nose_bridge
    size = 9.0 + 0.7 * who.nose_tip
    bridge = round_cone(p, (0, 7, top), (0, -31 + up, 34.5 + out), (5.2, 9.5))
    f = union(f, bridge, 13)
    f = f - (0.4 + 1.0 * who.nose_hump) * bump(p, (0, -11, 28 + 0.3 * out), (10, 14, 14))
    tip = ellipsoid(p, (0, -35.0 + up, 37.0 + out), (size, 0.95 * size, size))
    f = union(f, tip, 9)
    wide = 1.2 * who.nose_width + 0.8 * max(act.smile, 0.0) + 1.0 * act.wrinkle
    wing = ellipsoid(q, (10.2 + wide, -37.9 + 0.8 * up, 27.6 + 0.4 * out), (6.6, 7.3, 10.0), rotation(y=-24))
    f = union(f, wing, 12)
    columella = round_cone(p, (0, -42 + up, 38 + out), (0, -49, 28), (4.0, 4.4))
    f = union(f, columella, 5)
    nostril = ellipsoid(q, (6.4 + 0.5 * wide, -47.4 + 0.8 * up, 31.0 + 0.6 * out), (2.9, 4.0, 6.0), rotation(y=16))
    f = subtraction(f, nostril, 2.6)
    start, end = (13.5 + wide, -31 + up, 27), (18.6 + wide, -46 + 0.8 * up, 21)
    return f + 0.7 * ridge(q, start, end, 5.0)
