"""Taking lens distortion out: a straight edge that the lens bent is straight again."""

from __future__ import annotations

import numpy as np

from fnbench.lens import undistorted

K = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])


def test_no_distortion_returns_the_photograph():
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    assert undistorted(image, K, np.zeros(5)) is image


def test_a_bent_line_becomes_straight():
    coefficients = np.array([-0.25, 0.05, 0.001, -0.002, 0.01])
    # the image of the plane x = 0.35 (in units of the focal length) through the distorting lens, drawn finely
    y = np.linspace(-0.36, 0.36, 4000)
    x = np.full_like(y, 0.35)
    r2 = x * x + y * y
    radial = 1 + r2 * (-0.25 + r2 * (0.05 + r2 * 0.01))
    xd = x * radial + 2 * 0.001 * x * y - 0.002 * (r2 + 2 * x * x)
    yd = y * radial + 0.001 * (r2 + 2 * y * y) - 2 * 0.002 * x * y
    columns, rows = 300 * xd + 160, 300 * yd + 120
    assert np.ptp(columns) > 3
    image = np.zeros((240, 320, 3))
    weight = np.exp(
        -(((np.arange(320) + 0.5)[None] - np.interp(np.arange(240) + 0.5, rows, columns)[:, None]) ** 2) / 2
    )
    image += 255 * weight[..., None]
    straight = undistorted(image.round().astype(np.uint8), K, coefficients)[20:220, :, 0].astype(float)
    centre = (straight * (np.arange(320) + 0.5)).sum(1) / straight.sum(1)
    np.testing.assert_allclose(centre, 300 * 0.35 + 160, atol=0.15)
