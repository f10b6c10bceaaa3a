"""The parametric head: its gradient, its mesh, its landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from fnbench.scans import head
from fnbench.scans.implicit import evaluate


def shape_of(seed: int, expression: str = "neutral") -> head.Shape:
    return head.Shape(head.sample_identity(np.random.default_rng(seed)), head.EXPRESSIONS[expression])


@pytest.fixture(scope="module")
def mean_mesh():
    return head.mesh(head.Shape(), 2.0)


@pytest.mark.parametrize(("seed", "expression"), list(enumerate(head.EXPRESSIONS)))
def test_the_gradient_is_the_limit_of_the_difference_quotient(seed, expression):
    shape = shape_of(seed, expression)
    field = head.surface(shape)
    rng = np.random.default_rng(seed)
    points = head.landmarks(shape).repeat(20, axis=0) + rng.uniform(-2, 2, (1360, 3))
    _, gradient = evaluate(field, points, gradient=True)
    step = 1e-5
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step
        quotient = (evaluate(field, points + shift)[0] - evaluate(field, points - shift)[0]) / (2 * step)
        np.testing.assert_allclose(gradient[:, axis], quotient, atol=2e-4)


def test_values_are_the_same_with_and_without_gradient():
    points = np.random.default_rng(0).uniform(-120, 120, (5000, 3))
    field = head.surface(shape_of(3, "grin"))
    np.testing.assert_allclose(evaluate(field, points)[0], evaluate(field, points, gradient=True)[0], rtol=0, atol=1e-9)


def test_the_mesh_lies_on_the_surface_and_winds_outwards(mean_mesh):
    values, _ = evaluate(head.surface(head.Shape()), mean_mesh.vertices)
    assert np.quantile(np.abs(values), 0.999) < 0.01
    corners = mean_mesh.vertices[mean_mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = head.normals_at(head.Shape(), corners.mean(axis=1))
    agreement = np.einsum("ij,ij->i", across, outward) > 0
    assert agreement.mean() > 0.999


def test_proportions_are_those_of_a_face():
    points = head.landmarks(head.Shape())
    assert 84 < points[45, 0] - points[36, 0] < 96
    tip = points[30]
    assert abs(tip[0]) < 0.1
    assert tip[2] == points[:, 2].max()
    assert 105 < points[27, 1] - points[8, 1] < 125
