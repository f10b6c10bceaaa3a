"""From photographs to light: linear intensities, and exposures moved onto each other.

Conventions: exposures are (K, H, W) float32 linear intensities in [0, 1]; shifts are (K, 2) pixels (down, right) that
move an exposure onto the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)
_UPSAMPLING = 10  # shifts to a tenth of a pixel; finer is below what shading lets phase correlation see


def linear_intensity(image: NDArray[np.uint8], gamma: float) -> NDArray[np.float32]:
    """Grey linear intensity of an 8-bit image.

    image: (H, W, 3) or (H, W) uint8.
    gamma: exponent that undoes the camera's coding; 1 when the files are linear, 2.2 for display-coded ones.
    Returns (H, W) float32 in [0, 1]; the mean of the linearised channels.
    """
    table = (np.arange(256) / 255.0) ** gamma
    linear: NDArray[np.float32] = table.astype(np.float32)[image]
    return linear.mean(axis=2, dtype=np.float32) if linear.ndim == 3 else linear


def detail(exposure: NDArray[np.floating]) -> NDArray[np.float64]:
    """What stays the same when the light moves: fine structure of the logarithm, windowed towards the border.

    exposure: (H, W) linear intensity. Shading is smooth and goes with the coarse band; brows, eyes and lips stay.
    """
    from scipy.ndimage import gaussian_filter

    logarithm = np.log(np.asarray(exposure, np.float64) + 0.02)
    fine = gaussian_filter(logarithm, 1.0) - gaussian_filter(logarithm, 4.0)
    height, width = exposure.shape
    return np.asarray(fine * np.hanning(height)[:, None] * np.hanning(width), np.float64)


def shifts_between(exposures: Sequence[NDArray[np.floating]]) -> tuple[NDArray[np.float64], float]:
    """Shifts that move each exposure onto the mean position, from all pairs.

    exposures: K images (H, W), linear.
    Returns (K, 2) pixels (down, right) relative to the first exposure, and the largest disagreement of a pair
    with them in pixels: large means that at least one pair could not be registered.
    """
    from skimage.registration import phase_cross_correlation

    details = [detail(exposure) for exposure in exposures]
    count = len(details)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    correlate: Any = phase_cross_correlation  # scikit-image ships no types
    measured = np.array([correlate(details[i], details[j], upsample_factor=_UPSAMPLING)[0] for i, j in pairs])
    # measured moves j onto i: shift_j - shift_i = measured, with shift_0 = 0
    system = np.zeros((len(pairs), count))
    for row, (i, j) in enumerate(pairs):
        system[row, i], system[row, j] = -1.0, 1.0
    solution = np.linalg.lstsq(system[:, 1:], measured, rcond=None)[0]
    shifts = np.vstack([np.zeros(2), solution])
    return shifts, float(np.abs(system @ shifts - measured).max())


def shifted(image: NDArray[_Pixel], shift: NDArray[np.floating]) -> NDArray[_Pixel]:
    """An image moved by (down, right) pixels, bilinear; what comes in from outside repeats the border.

    image: (H, W) or (H, W, C), float or uint8; returns the same type.
    """
    from scipy.ndimage import shift as move

    if not np.any(shift):
        return image
    offset = (*map(float, shift), *(0.0,) * (image.ndim - 2))
    moved = move(image.astype(np.float32), offset, order=1, mode="nearest")
    return np.asarray(np.rint(moved) if image.dtype == np.uint8 else moved, image.dtype)
