"""A parametric human head as an implicit surface, whose normals are known in closed form.

The head is the zero set of a field in millimetres (negative inside): smooth unions and soft displacements of simple
forms, see ``fnbench/scans/anatomy``. The gradient is propagated analytically with the value, so ``normals_at`` is
exact up to rounding. World frame: x to the image right (the subject's left), y up, z out of the face; the origin lies
midway between the eyeballs.

>>> shape = Shape(sample_identity(np.random.default_rng(0)), EXPRESSIONS["smile"])
>>> landmarks(shape).shape
(68, 3)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fnbench.scans.anatomy.ears import ears
from fnbench.scans.anatomy.eyes import eyes
from fnbench.scans.anatomy.mouth import mouth
from fnbench.scans.anatomy.nose import nose
from fnbench.scans.anatomy.points import canonical_landmarks, outward, regions
from fnbench.scans.anatomy.skull import face, skull
from fnbench.scans.anatomy.warp import canonical, mirrored, to_world
from fnbench.scans.identity import EXPRESSIONS, Expression, Identity, Shape, sample_identity
from fnbench.scans.implicit import Array, Field, Jet, Point, coordinates, crossing, evaluate, within
from fnbench.types import Scan

__all__ = [
    "EXPRESSIONS",
    "Expression",
    "Identity",
    "Shape",
    "landmarks",
    "mesh",
    "normals_at",
    "sample_identity",
    "surface",
    "template",
]

SPACING = 1.0
"""Grid step of a mesh in millimetres unless another is asked for."""
_REACH = 12.0
"""How far before and behind its expected place a landmark is looked for, in millimetres."""
_FRONT = ((0.0, -20.0, 0.0), (118.0, 155.0, 90.0))


def surface(shape: Shape) -> Field:
    """The field of a head: world coordinates in, negative inside, about one per millimetre at the surface."""

    def field(world: Point) -> Jet:
        p = canonical(world, shape.identity)
        q = mirrored(p)
        f = skull(p, q, shape)
        f = within(p, *_FRONT, f, lambda g, a: _front(g, a, shape))
        return within(q, (84, -18, -72), (32, 48, 40), f, lambda g, a: ears(g, a, shape))

    return field


def mesh(shape: Shape, spacing: float = SPACING) -> Scan:
    """The head as triangles, with facial regions.

    spacing: grid step in millimetres. Vertices lie on the zero set; faces wind outwards; open below the neck.
    """
    from fnbench.scans.polygonise import polygonise

    vertices, faces = polygonise(surface(shape), _grid(spacing))
    return Scan(vertices, faces, labels=regions(_canonical(vertices, shape), shape), name="synthetic head")


def normals_at(shape: Shape, points: Array) -> Array:
    """Exact outward unit normals (N, 3) of the surface through points (N, 3): the gradient at unit length."""
    _, gradient = evaluate(surface(shape), points, gradient=True)
    return np.asarray(gradient / np.linalg.norm(gradient, axis=1, keepdims=True), np.float64)


def landmarks(shape: Shape) -> Array:
    """(68, 3) landmarks on the surface, iBUG order, world millimetres."""
    guesses = canonical_landmarks(shape)
    inside = to_world(guesses - _REACH * outward(guesses), shape.identity)
    outside = to_world(guesses + _REACH * outward(guesses), shape.identity)
    return crossing(surface(shape), outside, inside)


@lru_cache(maxsize=1)
def template() -> tuple[Scan, Array]:
    """The mean person with a neutral face, at 3 mm, and its landmarks (68, 3): the template for alignment."""
    return mesh(Shape(), 3.0), landmarks(Shape())


def _grid(spacing: float) -> tuple[Array, Array, Array]:
    """Grid lines: steps of ``spacing`` in the face, 1.6 times that in the ears, 3 times at the back of the head."""
    from fnbench.scans.polygonise import graded

    fine, middle, coarse = spacing, 1.6 * spacing, 3.0 * spacing
    x = graded(
        [
            (-112, coarse),
            (-95, middle),
            (-70, middle),
            (-58, fine),
            (58, fine),
            (70, middle),
            (95, middle),
            (112, coarse),
        ]
    )
    y = graded([(-155, coarse), (-128, coarse), (-110, fine), (30, fine), (55, coarse), (130, coarse)])
    z = graded([(-195, coarse), (-110, coarse), (-90, middle), (-40, middle), (-15, fine), (75, fine)])
    return x, y, z


def _canonical(points: Array, shape: Shape) -> Array:
    return np.stack([part.value for part in canonical(coordinates(points, False), shape.identity)], axis=1)


def _front(f: Jet, p: Point, shape: Shape) -> Jet:
    q = mirrored(p)
    f = face(f, p, q, shape)
    f = within(p, (0, -20, 30), (34, 52, 42), f, lambda g, a: nose(g, a, mirrored(a), shape))
    f = within(p, (0, -75, 12), (52, 50, 45), f, lambda g, a: mouth(g, a, shape))
    return within(q, (32, 0, 8), (26, 24, 28), f, lambda g, a: eyes(g, a, shape))
