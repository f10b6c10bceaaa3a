"""The octahedral code: exact at the axes, 0.0037 degrees everywhere else."""

from __future__ import annotations

import numpy as np
import pytest

from fnbench import octahedral


def directions(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.einsum("...i,...i", a, b)))


def test_no_direction_moves_by_more_than_0_0038_degrees():
    normals = directions(1_000_000, seed=0).reshape(1000, 1000, 3)
    error = angles(octahedral.decode(octahedral.encode(normals)).astype(np.float64), normals)
    assert error.max() < 0.0038
    assert 0.0012 < error.mean() < 0.0014


def test_the_axes_and_zero_are_exact():
    axes = np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))])[None]
    np.testing.assert_array_equal(octahedral.decode(octahedral.encode(axes)), axes)
    assert octahedral.encode(axes)[:, 0, -1].tolist() == [octahedral.EMPTY, octahedral.EMPTY]


def test_nan_is_no_normal():
    normals = np.full((1, 1, 3), np.nan)
    assert (octahedral.encode(normals) == octahedral.EMPTY).all()
    assert (octahedral.encode_numpy(normals, np.ones((1, 1), bool)) == octahedral.EMPTY).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_compiled_and_the_numpy_code_agree_to_the_bit(dtype):
    normals = directions(200_000, seed=1).reshape(400, 500, 3).astype(dtype)
    normals[:3] = 0
    mask = np.random.default_rng(2).random((400, 500)) < 0.7
    planes = octahedral.encode(normals, mask)
    np.testing.assert_array_equal(planes, octahedral.encode_numpy(normals, mask))
    assert ((planes[0] == octahedral.EMPTY) == ~(mask & normals.any(axis=-1))).all()
    np.testing.assert_allclose(octahedral.decode(planes), octahedral.decode_numpy(planes), atol=6e-8)


def test_outside_a_mask_there_is_no_normal():
    planes = octahedral.encode(directions(600, seed=3).reshape(20, 30, 3))
    mask = np.random.default_rng(4).random((20, 30)) < 0.5
    found = octahedral.decode(planes, mask)
    np.testing.assert_array_equal(found[mask], octahedral.decode(planes)[mask])
    assert not found[~mask].any()


def test_codes_of_visible_normals_do_not_change_when_encoded_again():
    normals = directions(100_000, seed=2).reshape(200, 500, 3)
    normals[..., 2] = np.abs(normals[..., 2])  # on the border of the square, z < 0, two codes mean one normal
    planes = octahedral.encode(normals)
    np.testing.assert_array_equal(octahedral.encode(octahedral.decode(planes)), planes)
