"""The nose: bridge, tip, wings, columella and nostrils."""

from __future__ import annotations

from fnbench.scans.identity import Shape
from fnbench.scans.implicit import Jet, Point, bump, ellipsoid, rotation, round_cone, subtraction, union


def nose(f: Jet, p: Point, q: Point, shape: Shape) -> Jet:
    """p: canonical, q: mirrored."""
    who, act = shape.identity, shape.expression
    out = 1.8 * who.nose_projection
    up = 1.3 * who.nose_turn + 1.2 * act.wrinkle
    top = 14.0 + 1.3 * who.nose_bridge
    size = 10.0 + 0.6 * who.nose_tip
    bridge = round_cone(p, (0, 8, top), (0, -32 + up, 35.0 + out), (8.0, 9.2))
    f = union(f, bridge, 12)
    f = f - (0.9 + 0.9 * who.nose_hump) * bump(p, (0, -10, 28 + 0.3 * out), (10, 14, 14))
    tip = ellipsoid(p, (0, -35.5 + up, 36.0 + out), (size, 0.95 * size, size))
    f = union(f, tip, 7)
    wide = 1.0 * who.nose_width + 0.8 * max(act.smile, 0.0) + 1.0 * act.wrinkle
    wing = ellipsoid(q, (11.0 + wide, -40.5 + 0.8 * up, 27.5 + 0.4 * out), (6.4, 7.0, 9.2), rotation(y=-20))
    f = union(f, wing, 5.5)
    columella = round_cone(p, (0, -42 + up, 37 + out), (0, -49, 27), (4.6, 5.0))
    f = union(f, columella, 5)
    nostril = ellipsoid(q, (6.6 + 0.5 * wide, -48.2 + 0.8 * up, 30.5 + 0.6 * out), (3.0, 4.2, 6.2), rotation(y=14))
    f = subtraction(f, nostril, 2.6)
    return f + 1.3 * bump(q, (19.5 + wide, -40 + up, 21), (5.0, 10, 14))
