"""Skull, jaw, chin, cheeks, brow and neck: the forms that the features sit on."""

from __future__ import annotations

import numpy as np

from fnbench.scans.identity import Shape
from fnbench.scans.implicit import (
    Array,
    Jet,
    Point,
    bump,
    ellipsoid,
    ridge,
    rotation,
    round_cone,
    shifted,
    turned,
    union,
)

HINGE = (0.0, -10.0, -60.0)
"""Axis of the jaw joint (y, z matter)."""


def jaw_angle(shape: Shape) -> float:
    """Rotation of the lower jaw in degrees; 13 when fully open."""
    return 13.0 * max(shape.expression.jaw, 0.0)


def jaw_motion(shape: Shape) -> tuple[Array, Array]:
    """Rotation (3, 3) and shift (3,) of the jaw about its hinge: it turns down and glides forward."""
    return rotation(x=jaw_angle(shape)), np.array([0.0, -2.0, 7.0]) * max(shape.expression.jaw, 0.0)


def on_jaw(p: Point, shape: Shape) -> Point:
    """Points in the coordinates of the closed jaw."""
    if shape.expression.jaw <= 0:
        return p
    turn, shift = jaw_motion(shape)
    x, y, z = turned(shifted(p, np.asarray(HINGE) + shift), turn.T)
    return x, y + HINGE[1], z + HINGE[2]


def with_jaw(points: Array, shape: Shape) -> Array:
    """Where points (N, 3) of the closed jaw are when it opens."""
    turn, shift = jaw_motion(shape)
    return np.asarray((points - HINGE) @ turn.T + HINGE + shift, np.float64)


def skull(p: Point, q: Point, shape: Shape) -> Jet:
    """Cranium, midface, jaw, chin and neck. p: canonical, q: mirrored."""
    who = shape.identity
    f = ellipsoid(p, (0, 20, -74), (77.5, 89, 96 + 0.4 * who.forehead_slope))
    midface = ellipsoid(p, (0, -36, -50), (71 + 1.2 * who.cheekbones, 72, 68))
    f = union(f, midface, 22)
    pj, qj = on_jaw(p, shape), on_jaw(q, shape)
    wide = 3.0 * who.jaw_width
    gonion = (45 + wide, -66, -37)
    jaw = round_cone(qj, gonion, (19 + 0.3 * wide, -94, 0.5), (16, 17))
    f = union(f, jaw, 26)
    chin = ellipsoid(pj, (0, -97, 8.5 + 1.9 * who.chin_projection), (18 + 2.0 * who.chin_width, 17, 17.5))
    f = union(f, chin, 18)
    thick = 2.0 * who.neck_width
    neck = round_cone(p, (0, -80, -77), (0, -220, -96), (47 + thick, 57 + thick))
    return union(f, neck, 30)


def face(f: Jet, p: Point, q: Point, shape: Shape) -> Jet:
    """Soft forms of the front: muzzle, cheeks, brow ridge, sockets, folds."""
    who = shape.identity
    pj = on_jaw(p, shape)
    muzzle = ellipsoid(p, (0, -62, 3 + 0.8 * who.lip_projection), (30, 24, 27))
    f = union(f, muzzle, 22)
    lower = ellipsoid(pj, (0, -76, 3.5 + 0.6 * who.lip_projection), (28, 18, 23))
    f = union(f, lower, 20)
    f = _cheeks(f, q, shape)
    f = _brow(f, p, q, shape)
    deep = 5.0 + 1.3 * who.eye_depth
    f = f + deep * bump(q, (31, 0, 16), (24, 18, 30))
    f = f + (3.6 + 0.5 * who.eye_depth) * bump(q, (17, 1, 15), (12, 14, 22))
    f = f + 1.2 * bump(q, (33, -13, 12), (20, 8, 18))
    # furrow between lip and chin
    return f + (3.4 + 0.5 * who.age) * bump(pj, (0, -88.0, 26), (34, 10.5, 22))


def _cheeks(f: Jet, q: Point, shape: Shape) -> Jet:
    who, act = shape.identity, shape.expression
    f = f - (5.0 + 1.4 * who.cheekbones) * bump(q, (52, -21, -6), (32, 27, 38))
    f = f - 3.0 * bump(q, (64, -24, -28), (26, 32, 32))
    f = f - 2.6 * bump(q, (38, -32, 10), (26, 24, 28))
    full = 4.0 + 2.4 * who.cheek_fullness - 0.7 * who.age
    f = f - full * bump(q, (40, -60, -2), (34, 38, 40))
    f = f - 7.0 * act.puff * bump(q, (42, -64, 0), (34, 36, 40))
    f = f - 2.5 * act.puff * bump(q, (10, -56, 30), (26, 13, 24))
    fold = 0.25 + 0.3 * max(who.age, -0.8) + 1.5 * max(act.smile, 0.0) + 0.7 * act.wrinkle
    corner = corner_shift(shape)
    end = (34.0 + corner[0], -70 + corner[1], 12 + corner[2])
    f = f + fold * ridge(q, (21.0, -37, 20), end, 9.0)
    raised = 3.2 * max(act.smile, 0.0) + 1.0 * act.squint + 1.5 * act.wrinkle + 0.5 * fold
    return f - raised * bump(q, (39, -36, 12), (21, 20, 26))


def _brow(f: Jet, p: Point, q: Point, shape: Shape) -> Jet:
    who, act = shape.identity, shape.expression
    f = f + (3.5 + 0.4 * who.age) * bump(q, (80, 24, -14), (26, 38, 40))  # temples
    f = f - 1.5 * bump(q, (38, 48, 0), (30, 30, 40))
    f = f - 2.2 * bump(q, (42, 24, 8), (26, 18, 30))
    f = f + 1.5 * who.forehead_slope * bump(p, (0, 70, 2), (70, 50, 50))
    lift, inward = brow_lift(shape), 3.0 * max(-act.brows, 0.0)
    f = f - (2.8 + 1.2 * who.brow_ridge) * bump(q, (29 - inward, 19 + lift, 16), (32, 14, 30))
    f = f - (4.0 + 0.6 * who.brow_ridge) * bump(q, (50, 12 + 0.6 * lift, 2), (19, 19, 26))
    f = f - 1.0 * bump(p, (0, 20 + 0.5 * lift, 22), (16, 13, 20))
    if act.brows < 0:  # the two folds between drawn-down brows
        f = f - 0.9 * act.brows * ridge(q, (5.5, 13, 23), (8.0, 25, 22), 6.0)
    if act.brows > 0:  # folds of the raised forehead
        for height in (36.0, 46.0, 56.0):
            f = f + 0.55 * act.brows * bump(p, (0, height, 18), (42, 3.6, 30))
            f = f - 0.45 * act.brows * bump(p, (0, height - 5, 18), (42, 4.6, 30))
    return f


def brow_lift(shape: Shape) -> float:
    """How far the brows move up, in millimetres."""
    brows = shape.expression.brows
    return 5.5 * max(brows, 0.0) + 4.0 * min(brows, 0.0)


def corner_shift(shape: Shape) -> Array:
    """(3,) how expressions move the corner of the mouth on the image right."""
    act, who = shape.expression, shape.identity
    smile, sad, jaw = max(act.smile, 0.0), max(-act.smile, 0.0), max(act.jaw, 0.0)
    return np.array(
        [
            1.8 * who.mouth_width + 5.0 * smile - 8.5 * act.pucker - 3.0 * jaw + 0.5 * sad,
            6.5 * smile - 4.5 * sad - 7.0 * jaw,
            -3.5 * smile + 4.0 * act.pucker - 3.0 * jaw,
        ]
    )
