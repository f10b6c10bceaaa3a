"""Eyeballs, lids, their creases and the corners of the eye."""

from __future__ import annotations

from dataclasses import dataclass

from fnbench.scans.identity import Shape
from fnbench.scans.implicit import (
    Jet,
    Point,
    ellipsoid,
    falloff,
    intersection,
    rotation,
    square,
    subtraction,
    turned,
    union,
)

BALL = 12.4
"""Radius of the eyeball."""
TURN = 10.0
"""The opening faces this many degrees outwards, as the face curves back there."""


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye, on the image right; its twin is mirrored.

    x: of the centre.  half: half width of the opening.
    tilt: rise of the outer corner per unit t = (x - centre) / half.
    upper, lower: height of the lids over the line of the corners.  crease: depth of the fold of the upper lid.
    """

    x: float
    half: float
    tilt: float
    upper: float
    lower: float
    crease: float


def eye_of(shape: Shape) -> Eye:
    """The eye of a shape."""
    who, act = shape.identity, shape.expression
    open_ = 1.0 + 0.08 * who.eye_opening
    upper = 5.9 * open_ - 1.2 * act.squint
    lower = 4.2 * open_ - 2.2 * act.squint - 0.6 * max(act.smile, 0.0)
    closing = act.lids * (upper + lower) * 1.05
    return Eye(
        x=31.5 + 1.3 * who.eye_spacing,
        half=14.4 + 0.25 * who.eye_opening,
        tilt=0.9 + 0.7 * who.eye_tilt,
        upper=upper - 0.92 * closing,
        lower=lower - 0.08 * closing,
        crease=max(1.0 + 0.5 * who.lid_fold, 0.0),
    )


def eyes(f: Jet, q: Point, shape: Shape) -> Jet:
    """q: mirrored canonical."""
    e = eye_of(shape)
    m, y, z = q
    u = m - e.x
    local = turned((u, y, z), rotation(y=TURN).T)
    ball = ellipsoid(local, (0, 0, 0), (16.5, BALL, BALL))
    lid = ellipsoid(local, (0, -0.4, 0), (18.0, BALL + 1.7, BALL + 1.9))
    f = union(f, lid, 5.0)
    t = u * (1.0 / e.half)
    t2 = square(t)
    line = e.tilt * t - 1.9
    arch = 1.0 - t2
    upper = line + (e.upper - 0.9 * t) * arch
    lower = line - (e.lower + 0.8 * t) * arch
    fold = upper + 3.6 + 1.6 * square(1.0 - t2 * 0.5)
    f = f + e.crease * falloff(square((y - fold) * (1 / 3.2)) + square(u * (1 / 18.0)) + square((z - 9.0) * (1 / 12.0)))
    opening = intersection(y - upper, lower - y, 1.2)
    f = subtraction(f, intersection(opening, -z, 2.0), 2.6)
    f = union(f, ball, 2.0)
    corner = ellipsoid((u, y, z), (-0.9 * e.half, -1.9 - 0.9 * e.tilt, 7.2), (3.6, 2.0, 3.6))
    return union(f, corner, 2.4)
