"""Implicit surfaces whose gradient travels with the value, in closed form.

Conventions
-----------
A field is negative inside, positive outside, about one per millimetre near the surface. Fields are written once,
as arithmetic on ``Jet`` coordinates: a jet holds the value at N points and, when asked for, its exact gradient,
which the product, quotient and chain rules carry along. No difference quotient anywhere.

Every blend is twice continuously differentiable (cubic smooth minimum, bumps (1 - q)^3 of compact support), so
that the normals of a blended surface are continuous and its curvature has no jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Vector = Sequence[float] | Array


class Jet:
    """A scalar field at N points.

    value: (N,) float64.  gradient: (3, N) float64 with respect to the world point, or None when not asked for.
    """

    __array_ufunc__ = None  # so that array * jet is ours, not numpy's
    __slots__ = ("gradient", "value")

    def __init__(self, value: Array, gradient: Array | None = None) -> None:
        self.value = value
        self.gradient = gradient

    def map(self, value: Array, slope: Array | float) -> Jet:
        """The jet of g(self), given g and g' at this value."""
        return Jet(value, None if self.gradient is None else self.gradient * slope)

    def __add__(self, other: Jet | float) -> Jet:
        if isinstance(other, Jet):
            if self.gradient is None or other.gradient is None:
                return Jet(self.value + other.value)
            return Jet(self.value + other.value, self.gradient + other.gradient)
        return Jet(self.value + other, self.gradient)

    def __neg__(self) -> Jet:
        return self.map(-self.value, -1.0)

    def __sub__(self, other: Jet | float) -> Jet:
        if isinstance(other, Jet):
            if self.gradient is None or other.gradient is None:
                return Jet(self.value - other.value)
            return Jet(self.value - other.value, self.gradient - other.gradient)
        return Jet(self.value - other, self.gradient)

    def __rsub__(self, other: float) -> Jet:
        return self.map(other - self.value, -1.0)

    def __mul__(self, other: Jet | float) -> Jet:
        if isinstance(other, Jet):
            value = self.value * other.value
            if self.gradient is None or other.gradient is None:
                return Jet(value)
            return Jet(value, self.gradient * other.value + other.gradient * self.value)
        return self.map(self.value * other, other)

    def __truediv__(self, other: Jet | float) -> Jet:
        if isinstance(other, Jet):
            return self * other.map(1.0 / other.value, -1.0 / other.value**2)
        return self.map(self.value / other, 1.0 / other)

    def take(self, index: NDArray[np.int_]) -> Jet:
        """The jet at some of the points."""
        return Jet(self.value[index], None if self.gradient is None else self.gradient[:, index])

    def put(self, index: NDArray[np.int_], other: Jet) -> Jet:
        """This jet with the values of ``other`` at some of the points."""
        value = self.value.copy()
        value[index] = other.value
        if self.gradient is None or other.gradient is None:
            return Jet(value)
        gradient = self.gradient.copy()
        gradient[:, index] = other.gradient
        return Jet(value, gradient)

    __radd__ = __add__
    __rmul__ = __mul__


Point = tuple[Jet, Jet, Jet]
"""Coordinates of N points as jets."""


def coordinates(points: Array, gradient: bool) -> Point:
    """Points (N, 3) as jets of x, y, z, with the identity as Jacobian when the gradient is wanted."""
    found = []
    for axis in range(3):
        unit = None
        if gradient:
            unit = np.zeros((3, len(points)))
            unit[axis] = 1.0
        found.append(Jet(np.ascontiguousarray(points[:, axis]), unit))
    return found[0], found[1], found[2]


def square(a: Jet) -> Jet:
    """a^2."""
    return a.map(a.value * a.value, 2.0 * a.value)


def root(a: Jet) -> Jet:
    """Square root, kept away from zero so that the gradient stays finite at the centre of a primitive."""
    value = np.sqrt(np.maximum(a.value, 1e-12))
    return a.map(value, 0.5 / value)


def sine(a: Jet) -> Jet:
    """sin(a), a in radians."""
    return a.map(np.sin(a.value), np.cos(a.value))


def smooth_abs(a: Jet, width: float) -> Jet:
    """sqrt(a^2 + width^2): |a| with a rounded corner."""
    return root(square(a) + width * width)


def clamp(a: Jet, low: float, high: float, width: float) -> Jet:
    """a between low and high, with corners rounded over ``width``."""
    upper = _fold(a - low, width) + low
    return high - _fold(high - upper, width)


def ramp(a: Jet) -> Jet:
    """0 below 0, 1 above 1, the quintic 6t^5 - 15t^4 + 10t^3 between (twice differentiable)."""
    t = np.clip(a.value, 0.0, 1.0)
    return a.map(t**3 * (t * (6 * t - 15) + 10), 30 * t**2 * (t - 1) ** 2)


def _fold(a: Jet, width: float) -> Jet:
    # max(a, 0), C2: -smin(-a, 0)
    h = np.maximum(width - np.abs(a.value), 0) / width
    value = np.maximum(a.value, 0) + h**3 * width / 6
    return a.map(value, (a.value > 0) - np.sign(a.value) * h**2 / 2 + (a.value == 0) * 0.5)


def union(a: Jet, b: Jet, blend: float) -> Jet:
    """Smooth minimum: exactly min(a, b) where they differ by more than ``blend`` millimetres."""
    difference = a.value - b.value
    h = np.maximum(blend - np.abs(difference), 0) * (1.0 / blend)
    value = np.minimum(a.value, b.value) - h * h * h * (blend / 6)
    if a.gradient is None or b.gradient is None:
        return Jet(value)
    half = 0.5 * h * h
    share = np.where(difference < 0, 1.0 - half, half)  # of a in the blend
    return Jet(value, b.gradient + share * (a.gradient - b.gradient))


def intersection(a: Jet, b: Jet, blend: float) -> Jet:
    """Smooth maximum."""
    return -union(-a, -b, blend)


def subtraction(a: Jet, b: Jet, blend: float) -> Jet:
    """a without b."""
    return -union(-a, b, blend)


def shifted(p: Point, centre: Vector) -> Point:
    """Coordinates relative to ``centre``."""
    return p[0] - float(centre[0]), p[1] - float(centre[1]), p[2] - float(centre[2])


def turned(p: Point, rows: Array) -> Point:
    """Coordinates along the rows of a (3, 3) rotation."""
    x, y, z = p
    return tuple(float(r[0]) * x + float(r[1]) * y + float(r[2]) * z for r in rows)  # type: ignore[return-value] # three rows


def rotation(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """(3, 3) rotation by degrees about x, then y, then z; its transpose takes coordinates back."""
    a, b, c = np.radians([x, y, z])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx, np.float64)


def norm(*parts: Jet) -> Jet:
    """Euclidean length of the parts."""
    total = square(parts[0])
    for part in parts[1:]:
        total = total + square(part)
    return root(total)


def sphere(p: Point, centre: Vector, radius: float) -> Jet:
    """Signed distance to a sphere."""
    return norm(*shifted(p, centre)) - radius


def ellipsoid(p: Point, centre: Vector, radii: Vector, rows: Array | None = None) -> Jet:
    """Distance-like field of an ellipsoid: (|q| - 1) times the radius in the direction of the point.

    With q = p / radii and d = |p|, the surface lies at d / |q| along the ray, so d - d / |q| is the exact radial
    distance; unlike (|q| - 1) * min(radii) it has about unit slope all around a flat ellipsoid.
    """
    local = shifted(p, centre)
    if rows is not None:
        local = turned(local, rows)
    scaled = norm(*(part / float(radius) for part, radius in zip(local, radii, strict=True)))
    return norm(*local) * (1.0 - one_over(scaled))


def one_over(a: Jet) -> Jet:
    """1 / a."""
    value = 1.0 / a.value
    return a.map(value, -value * value)


def round_cone(p: Point, start: Vector, end: Vector, radii: tuple[float, float]) -> Jet:
    """A capsule whose radius goes linearly from ``radii[0]`` at ``start`` to ``radii[1]`` at ``end``."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = b - a
    x, y, z = shifted(p, a)
    along = (float(axis[0]) * x + float(axis[1]) * y + float(axis[2]) * z) / float(axis @ axis)
    t = clamp(along, 0.0, 1.0, 0.15)
    rest = (x - float(axis[0]) * t, y - float(axis[1]) * t, z - float(axis[2]) * t)
    return norm(*rest) - (t * (radii[1] - radii[0]) + radii[0])


def bump(p: Point, centre: Vector, radii: Vector, rows: Array | None = None) -> Jet:
    """(1 - q)^3 with q = |p / radii|^2, zero outside the ellipsoid: a soft weight between 0 and 1."""
    local = shifted(p, centre)
    if rows is not None:
        local = turned(local, rows)
    total = square(local[0] / float(radii[0]))
    for part, radius in zip(local[1:], radii[1:], strict=True):
        total = total + square(part / float(radius))
    return falloff(total)


def ridge(p: Point, start: Vector, end: Vector, width: float) -> Jet:
    """(1 - q)^3 with q the squared distance to a segment in units of ``width``: a soft line."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = b - a
    x, y, z = shifted(p, a)
    t = clamp((float(axis[0]) * x + float(axis[1]) * y + float(axis[2]) * z) / float(axis @ axis), 0.0, 1.0, 0.2)
    rest = (x - float(axis[0]) * t, y - float(axis[1]) * t, z - float(axis[2]) * t)
    return falloff((square(rest[0]) + square(rest[1]) + square(rest[2])) * (1.0 / width**2))


def falloff(q: Jet) -> Jet:
    """(1 - q)^3 below 1, zero above."""
    left = np.maximum(1.0 - q.value, 0.0)
    return q.map(left**3, -3.0 * left * left)


def within(p: Point, centre: Vector, radii: Vector, f: Jet, feature: Callable[[Jet, Point], Jet]) -> Jet:
    """Apply a feature only inside an ellipsoid, where alone it changes the surface; saves most of the work.

    The ellipsoid must be so large that near the surface the feature has died out at its border.
    """
    q = sum(((part.value - c) / r) ** 2 for part, c, r in zip(p, centre, radii, strict=True))
    index = np.flatnonzero(q < 1.0)
    if index.size == 0:
        return f
    if index.size == len(f.value):
        return feature(f, p)
    x, y, z = (part.take(index) for part in p)
    return f.put(index, feature(f.take(index), (x, y, z)))


Field = Callable[[Point], Jet]
"""A surface: coordinates in, signed field out."""


def evaluate(surface: Field, points: Array, *, gradient: bool = False, chunk: int = 8192) -> tuple[Array, Array]:
    """Values (N,) and gradients (N, 3) of a field; gradients are empty (0, 3) unless asked for.

    points: (N, 3). Worked through in chunks that stay in the processor's cache.
    """
    values = np.empty(len(points))
    gradients = np.empty((len(points) if gradient else 0, 3))
    for start in range(0, len(points), chunk):
        part = slice(start, start + chunk)
        jet = surface(coordinates(points[part], gradient))
        values[part] = jet.value
        if jet.gradient is not None:
            gradients[part] = jet.gradient.T
    return values, gradients


def crossing(surface: Field, outside: Array, inside: Array, samples: int = 49, halvings: int = 18) -> Array:
    """Where the segments from ``outside`` (N, 3) to ``inside`` (N, 3) first enter the surface.

    A segment that never enters gives its point of least field value.
    """
    t = np.linspace(0.0, 1.0, samples)
    line = outside[:, None] + t[:, None] * (inside - outside)[:, None]
    values = evaluate(surface, line.reshape(-1, 3))[0].reshape(len(outside), samples)
    entered = values < 0
    first = np.where(entered.any(axis=1), entered.argmax(axis=1), values.argmin(axis=1))
    low, high = t[np.maximum(first - 1, 0)], t[first]
    for _ in range(halvings):
        middle = (low + high) / 2
        below = evaluate(surface, outside + middle[:, None] * (inside - outside))[0] < 0
        low, high = np.where(below, low, middle), np.where(below, middle, high)
    return np.asarray(outside + high[:, None] * (inside - outside), np.float64)
