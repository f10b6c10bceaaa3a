"""From photographs to light: linear intensities, and exposures moved onto each other.

Conventions: exposures are (K, H, W) float32 linear intensities in [0, 1]; shifts are (K, 2) pixels (down, right) that
move an exposure onto the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)
_WHITENING = 0.8  # of the cross-power spectrum: 1 listens to noise, 0 to the few strongest waves


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
    """What stays the same when the light moves: fine structure at equal contrast, without shadows and borders.

    exposure: (H, W) linear intensity. Shading is smooth and goes with the coarse band of the logarithm; brows, eyes,
    lips and skin texture stay. Attached and cast shadows, whose edges move with the light, are left out.
    """
    from scipy.ndimage import gaussian_filter

    logarithm = np.log(np.asarray(exposure, np.float64) + 0.02)
    fine = gaussian_filter(logarithm, 1.0) - gaussian_filter(logarithm, 4.0)
    fine /= np.sqrt(gaussian_filter(fine**2, 8.0) + 1e-3)
    lit = gaussian_filter((exposure > 0.05).astype(np.float64), 3.0) > 0.98
    height, width = exposure.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    return np.asarray(fine * gaussian_filter(lit.astype(np.float64), 2.0) * window, np.float64)


def shift_onto(reference: NDArray[np.float64], moving: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The shift (down, right) in pixels, at most ``reach`` each way, that moves one detail image onto another.

    Both (H, W), from ``detail``. The peak of a partly whitened cross-correlation, refined by a parabola.
    """
    spectrum = np.fft.rfft2(reference) * np.conj(np.fft.rfft2(moving))
    spectrum /= np.abs(spectrum) ** _WHITENING + 1e-12
    correlation = np.fft.irfft2(spectrum, reference.shape)
    near = np.roll(correlation, (reach + 1, reach + 1), (0, 1))[: 2 * reach + 3, : 2 * reach + 3]
    peak = np.unravel_index(near[1:-1, 1:-1].argmax(), (2 * reach + 1, 2 * reach + 1))
    row, column = int(peak[0]) + 1, int(peak[1]) + 1
    offset = (_vertex(near[row - 1 : row + 2, column]), _vertex(near[row, column - 1 : column + 2]))
    return np.array([row - reach - 1 + offset[0], column - reach - 1 + offset[1]])


def shifts_between(exposures: Sequence[NDArray[np.floating]], reach: int) -> tuple[NDArray[np.float64], float]:
    """Shifts that move each exposure onto the first, from all pairs.

    exposures: K images (H, W), linear; cut to the face, since a background stands still while a subject walks.
    reach: largest shift in pixels that is looked for.
    Returns (K, 2) pixels (down, right), the first zero, and the largest disagreement of a pair with them in pixels:
    above about one, the exposures could not be registered.
    """
    details = [detail(exposure) for exposure in exposures]
    reach = min(reach, min(details[0].shape) // 2 - 2)
    count = len(details)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    measured = np.array([shift_onto(details[i], details[j], reach) for i, j in pairs])
    system = np.zeros((len(pairs), count))  # shift_j - shift_i = measured, with shift_0 = 0
    for row, (i, j) in enumerate(pairs):
        system[row, i], system[row, j] = -1.0, 1.0
    solution = np.linalg.lstsq(system[:, 1:], measured, rcond=None)[0]
    shifts = np.vstack([np.zeros(2), solution])
    return shifts, float(np.abs(system @ shifts - measured).max())


def _vertex(values: NDArray[np.float64]) -> float:
    """Position of the vertex of a parabola through three values around a peak, in -0.5 to 0.5."""
    before, at, after = map(float, values)
    curvature = before - 2 * at + after
    return 0.0 if curvature >= 0 else max(-0.5, min(0.5, 0.5 * (before - after) / curvature))


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
