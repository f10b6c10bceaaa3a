"""Noise is the same wherever and however it is looked at."""

from __future__ import annotations

import numpy as np

from fnbench.render.noise import Noise, _interpolated, _interpolated_plainly


def test_the_compiled_and_the_plain_noise_agree():
    rng = np.random.default_rng(0)
    lattice = rng.standard_normal((32, 32, 32)).astype(np.float32)
    points = rng.uniform(-100, 100, (2000, 3))
    points[:5] = [[0, 0, 0], [31.999, 5, 5], [-1, -32, 32], [1e4, 0.5, -1e4], [31.5, 31.5, 31.5]]
    np.testing.assert_allclose(
        _interpolated(lattice, points), _interpolated_plainly(lattice, points), atol=2e-6, rtol=1e-5
    )


def test_noise_repeats_after_its_lattice_and_is_about_standard():
    noise = Noise(np.random.default_rng(1))
    points = np.random.default_rng(2).uniform(0, 300, (20000, 3))
    values = noise(points, 10.0)
    np.testing.assert_allclose(noise(points + 320.0, 10.0), values, atol=1e-4)
    assert abs(float(values.mean())) < 0.15
    assert 0.7 < float(values.std()) < 1.4
