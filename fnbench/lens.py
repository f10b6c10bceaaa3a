"""Lens distortion is taken out of the photograph, so that every camera of fnbench is a pinhole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST = 0.15
"""Largest shift by the lens at a corner of the photograph, as a share of its distance from the principal point."""


def corner_shift(K: NDArray[np.float64], size: tuple[int, int], coefficients: NDArray[np.float64]) -> float:
    """By which share of its distance from the principal point radial distortion moves the farthest corner.

    size: (width, height).  coefficients: as for ``undistorted``. Real lenses stay below ``LARGEST``; coefficients
    that were read in another unit are mostly off by the square of a focal length.
    """
    k1, k2, _, _, k3 = np.concatenate([np.ravel(coefficients), np.zeros(5)])[:5]
    corners = np.array([(x, y) for x in (0.0, size[0]) for y in (0.0, size[1])])
    r2 = float((((corners - K[:2, 2]) / np.diag(K)[:2]) ** 2).sum(axis=1).max())
    return float(abs(r2 * (k1 + r2 * (k2 + r2 * k3))))


def undistorted(
    image: NDArray[np.uint8], K: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The photograph as the pinhole camera ``K`` would have taken it.

    image: (H, W, 3) uint8.  K: (3, 3) in pixels, pixel centres at integer + 0.5.
    coefficients: up to five of k1, k2, p1, p2, k3 (Brown's model, the order of OpenCV); all zero returns the
        image itself. Pixels that the lens did not see become black.
    """
    k1, k2, p1, p2, k3 = np.concatenate([np.ravel(coefficients), np.zeros(5)])[:5]
    if not any((k1, k2, p1, p2, k3)):
        return image
    from scipy.ndimage import map_coordinates

    columns, rows = np.meshgrid(np.arange(image.shape[1]) + 0.5, np.arange(image.shape[0]) + 0.5)
    y = (rows - K[1, 2]) / K[1, 1]
    x = (columns - K[0, 2] - K[0, 1] * y) / K[0, 0]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    source = np.stack([K[1, 1] * yd + K[1, 2] - 0.5, K[0, 0] * xd + K[0, 1] * yd + K[0, 2] - 0.5])
    planes = [map_coordinates(image[..., k].astype(np.float32), source, order=1) for k in range(3)]
    straight: NDArray[np.uint8] = np.rint(np.stack(planes, -1)).astype(np.uint8)
    return straight
