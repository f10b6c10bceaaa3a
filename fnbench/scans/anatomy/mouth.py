"""Lips, mouth line, the open mouth with teeth and tongue, and the groove under the nose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fnbench.scans.anatomy.skull import corner_shift, with_jaw
from fnbench.scans.identity import Shape
from fnbench.scans.implicit import (
    Jet,
    Point,
    bump,
    clamp,
    ellipsoid,
    falloff,
    intersection,
    norm,
    root,
    square,
    subtraction,
    union,
)

LINE = -70.0
"""Height of the closed mouth line at the centre."""


@dataclass(frozen=True, slots=True)
class Mouth:
    """Curves of the lips as polynomials in s = x / half.

    half: half width.  corner: height of the corners over the centre.
    back: how far the corners lie behind the centre.
    drop, recede: how far the open jaw carries the centre of the lower lip down and back.
    upper, lower: half heights of the lips.  front: how far they are pushed out.
    """

    half: float
    corner: float
    back: float
    drop: float
    recede: float
    upper: float
    lower: float
    front: float


def mouth_of(shape: Shape) -> Mouth:
    """The mouth of a shape."""
    who, act = shape.identity, shape.expression
    shift = corner_shift(shape)
    centre = np.array([[0.0, LINE - 5.0, 28.0]])
    opened = (with_jaw(centre, shape) - centre)[0]
    thin = 1.0 - 0.16 * max(act.smile, 0.0)
    out = 0.7 * who.lip_projection + 4.5 * act.pucker
    return Mouth(
        half=26.0 + float(shift[0]),
        corner=-1.5 + float(shift[1]),
        back=11.5 - float(shift[2]) + out,
        drop=-float(opened[1]),
        recede=-float(opened[2]),
        upper=(4.8 + 0.75 * who.upper_lip) * thin + 0.6 * act.pucker,
        lower=(5.2 + 0.75 * who.lower_lip) * thin + 0.6 * act.pucker,
        front=out,
    )


def mouth(f: Jet, p: Point, shape: Shape) -> Jet:
    """p: canonical."""
    who = shape.identity
    m = mouth_of(shape)
    x, y, z = p
    deep = 1.0 + 0.35 * who.philtrum
    f = f + 1.1 * deep * bump(p, (0, -56, 31), (4.6, 8.5, 9))
    f = f - 0.5 * deep * bump(p, (6.3, -57, 31), (4.2, 8, 9)) - 0.5 * deep * bump(p, (-6.3, -57, 31), (4.2, 8, 9))
    inner = clamp(x, -m.half, m.half, 5.0)
    beyond = x - inner
    s2 = square(inner * (1.0 / m.half))
    arch = m.back * s2
    line = m.corner * s2 + LINE
    open_share = 1.0 - 0.5 * (s2 + square(s2))
    above = 1.0 - 0.5 * s2 - 0.2 * square(s2)
    below = 1.0 - 0.74 * s2
    bow = falloff(square(x * (1 / 8.0)))
    upper = norm(y - (line + m.upper * above - 0.7 * bow + 0.2), z - (29.2 + m.front - arch), beyond) - m.upper * above
    centre = line - m.lower * below - m.drop * open_share
    # An open lip hangs steeply at its ends: dividing by the slope turns the vertical offset into a distance.
    slope = (inner / m.half) * (1.0 + 2.0 * s2) * (m.drop / m.half)
    across = (y - centre) / root(square(slope) + 1.0)
    lower = norm(across, z - (27.2 + m.front - arch - m.recede * open_share), beyond) - m.lower * below
    f = union(f, union(upper, lower, 2.4), 3.6)
    return _opening(f, p, m, (line, arch, open_share, beyond))


def _opening(f: Jet, p: Point, m: Mouth, curves: tuple[Jet, Jet, Jet, Jet]) -> Jet:
    x, y, z = p
    line, arch, open_share, beyond = curves
    # closed: a line 3 mm deep; open: a cavity
    gap = falloff(
        square(beyond * (1 / 4.0)) + square((y - line) * (1 / 2.6)) + square((z - 25.5 - m.front + arch) * (1 / 9.0))
    )
    f = f + 1.6 * gap
    f = f + 0.8 * bump((x * x_sign(x), y, z), (m.half + 3.0, LINE + m.corner - 0.5, 28.0 - m.back), (8, 8, 12))
    if m.drop < 0.5:
        return f
    slit = intersection(y - line + 0.4, line - m.drop * open_share - y + 0.4, 1.5)
    depth = (8.0 + 0.5 * m.front - arch * 0.8) - z
    cavity = intersection(intersection(slit, depth, 4.0), norm(beyond) - 0.5, 2.0)
    f = subtraction(f, cavity, 2.2)
    teeth = ellipsoid(p, (0, -66.0, -4.0), (23.0, 9.5, 26.0))
    tongue = ellipsoid(p, (0, LINE - m.drop - 6.0, -6.0 - m.recede), (20.0, 9.0, 26.0))
    return union(f, union(teeth, tongue, 1.0), 1.0)


def x_sign(x: Jet) -> Jet:
    """Sign of x, constant on each side."""
    return x.map(np.sign(x.value), 0.0)
