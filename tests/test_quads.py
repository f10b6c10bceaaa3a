"""Catmull-Clark subdivision: what holds for every mesh, and what the paper says of a cube."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnbench.scans.quads import catmull_clark, triangles

CUBE = np.array([[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]])
CORNERS = np.array([[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])


def sheet(wide: int, high: int) -> np.ndarray:
    """(F, 4) quads of a grid of wide x high vertices."""
    corner = np.add.outer(np.arange(high - 1) * wide, np.arange(wide - 1)).ravel()
    return np.stack([corner, corner + 1, corner + wide + 1, corner + wide], 1)


def test_a_cube_becomes_the_shape_of_the_paper():
    matrix, quads = catmull_clark(CUBE, 8)
    new = matrix @ CORNERS
    assert new.shape == (8 + 12 + 6, 3)
    assert quads.shape == (24, 4)
    np.testing.assert_allclose(np.abs(new[:8]), 5 / 9)  # (Q + 2 R) / 3 with Q = 1/3, R = 2/3 in each axis
    np.testing.assert_allclose(np.sort(np.abs(new[8:20]), axis=1), np.tile([0, 0.75, 0.75], (12, 1)))
    np.testing.assert_allclose(np.linalg.norm(new[20:], axis=1), 1)


def test_the_new_mesh_is_closed_and_turns_the_same_way():
    matrix, quads = catmull_clark(CUBE, 8)
    new = matrix @ CORNERS
    directed = {(a, b) for quad in quads for a, b in zip(quad, np.roll(quad, -1), strict=True)}
    assert len(directed) == 4 * len(quads)
    assert {(b, a) for a, b in directed} == directed
    a, b, c = (new[triangles(quads)[:, k]] for k in range(3))
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), (a + b + c) / 3) > 0).all()


def test_borders_follow_the_b_spline_of_their_edges():
    matrix, _ = catmull_clark(sheet(4, 3), 12)
    points = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0)), -1).reshape(-1, 2) ** 2
    new = matrix @ points
    np.testing.assert_allclose(new[1], (points[0] + 6 * points[1] + points[2]) / 8)


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_it_commutes_with_affine_maps_and_every_point_is_a_mean(wide, high, seed):
    rng = np.random.default_rng(seed)
    quads, count = sheet(wide, high), wide * high
    matrix, finer = catmull_clark(quads, count)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert finer.min() == 0
    assert finer.max() == matrix.shape[0] - 1
    points, map_, shift = rng.normal(size=(count, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    np.testing.assert_allclose(matrix @ (points @ map_ + shift), matrix @ points @ map_ + shift, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_quads_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    quads = sheet(4, 4)
    shuffled = np.stack([np.roll(quad, rng.integers(4)) for quad in rng.permutation(quads)])
    points = rng.normal(size=(16, 3))
    one, other = (np.sort((catmull_clark(q, 16)[0] @ points).round(9), axis=0) for q in (quads, shuffled))
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_a_vertex_of_no_quad_stays():
    matrix, _ = catmull_clark(CUBE, 9)
    np.testing.assert_allclose(matrix[8].toarray()[0], np.eye(9)[8])


@pytest.mark.parametrize("quads", [CUBE, sheet(3, 5)])
def test_triangles_cover_the_quads(quads):
    assert triangles(quads).shape == (2 * len(quads), 3)
