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
    f = ellipsoid(p, (0, 20, -74), (78, 89, 96 + 0.4 * who.forehead_slope))
    midface = ellipsoid(p, (0, -40, -48), (73 + 1.2 * who.cheekbones, 74, 65))
    f = union(f, midface, 20)
    pj, qj = on_jaw(p, shape), on_jaw(q, shape)
    wide = 2.4 * who.jaw_width
    gonion = (47 + wide, -70, -34)
    jaw = round_cone(qj, gonion, (14 + 0.3 * wide, -93, 2), (17, 16))
    f = union(f, jaw, 24)
    chin = ellipsoid(pj, (0, -97, 8.5 + 1.5 * who.chin_projection), (20 + 1.6 * who.chin_width, 16.5, 17))
    f = union(f, chin, 16)
    neck = round_cone(p, (0, -90, -82), (0, -220, -98), (50 + 2 * who.neck_width, 57 + 2.5 * who.neck_width))
    return union(f, neck, 24)


def face(f: Jet, p: Point, q: Point, shape: Shape) -> Jet:
    """Soft forms of the front: brow ridge, sockets, cheeks, muzzle, chin."""
    who, act = shape.identity, shape.expression
    pj, qj = on_jaw(p, shape), on_jaw(q, shape)
    muzzle = ellipsoid(p, (0, -62, 4 + 0.8 * who.lip_projection), (30, 24, 27))
    f = union(f, muzzle, 22)
    lower = ellipsoid(pj, (0, -76, 4 + 0.6 * who.lip_projection), (28, 18, 23))
    f = union(f, lower, 20)
    # cheekbone, then the soft cheek below it
    f = f - (4.0 + 1.2 * who.cheekbones) * bump(q, (52, -20, -4), (32, 24, 36))
    full = 4.5 + 1.8 * who.cheek_fullness - 0.8 * who.age
    f = f - full * bump(q, (42, -58, -2), (34, 40, 40))
    f = f - 7.0 * act.puff * bump(q, (44, -64, 0), (34, 36, 40)) - 3.0 * act.puff * bump(p, (0, -58, 30), (26, 12, 24))
    # temples
    f = f + 2.5 * bump(q, (80, 22, -14), (26, 40, 40))
    # forehead and brow ridge
    f = f + 1.5 * who.forehead_slope * bump(p, (0, 70, 2), (70, 50, 50))
    lift = 5.5 * max(act.brows, 0.0) + 4.0 * min(act.brows, 0.0)
    inward = 3.0 * max(-act.brows, 0.0)
    ridge_height = 2.6 + 0.9 * who.brow_ridge
    f = f - ridge_height * bump(q, (30 - inward, 19 + lift, 16), (32, 13, 30))
    f = f - (1.2 + 0.6 * who.brow_ridge) * bump(q, (50, 15 + 0.6 * lift, 2), (18, 15, 24))
    f = f - 1.0 * bump(p, (0, 20 + 0.5 * lift, 22), (16, 13, 20))
    if act.brows < 0:  # the two folds between drawn-down brows
        f = f - 1.6 * act.brows * ridge(q, (5.5, 14, 23), (7.5, 27, 22), 4.0)
    if act.brows > 0:  # folds of the raised forehead
        for height in (36.0, 46.0, 56.0):
            f = f + 0.55 * act.brows * bump(p, (0, height, 18), (42, 3.6, 30))
            f = f - 0.45 * act.brows * bump(p, (0, height - 5, 18), (42, 4.6, 30))
    # eye sockets
    deep = 5.0 + 1.1 * who.eye_depth
    f = f + deep * bump(q, (31, 0, 16), (26, 19, 30))
    f = f + (4.0 + 0.5 * who.eye_depth) * bump(q, (16.5, 1, 15), (13, 14, 22))
    f = f + 1.5 * bump(q, (33, -12, 12), (20, 8, 18))
    # furrow under the lip, cheek folds
    f = f + (4.0 + 0.6 * who.age) * bump(pj, (0, -88.5, 26), (30, 8.5, 20))
    fold = 0.6 + 0.5 * max(who.age, -1.0) + 2.0 * max(act.smile, 0.0) + 0.8 * act.wrinkle
    corner = corner_shift(shape)
    start, end = (20.0, -38, 19), (33.0 + corner[0], -68 + corner[1], 13 + corner[2])
    f = f + fold * ridge(q, start, end, 6.5)
    raised = 3.2 * max(act.smile, 0.0) + 1.0 * act.squint + 1.5 * act.wrinkle
    f = f - (raised + 0.4 * fold) * bump(q, (40, -36, 12), (22, 19, 26))
    del qj
    return f


def corner_shift(shape: Shape) -> Array:
    """(3,) how expressions move the corner of the mouth on the image right."""
    act, who = shape.expression, shape.identity
    smile, sad, jaw = max(act.smile, 0.0), max(-act.smile, 0.0), max(act.jaw, 0.0)
    return np.array(
        [
            1.3 * who.mouth_width + 5.0 * smile - 8.5 * act.pucker - 3.0 * jaw + 0.5 * sad,
            6.5 * smile - 4.5 * sad - 7.0 * jaw,
            -3.5 * smile + 4.0 * act.pucker - 3.0 * jaw,
        ]
    )
