"""Smooth random fields in space, the same wherever they are looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

_SIDE = 32


class Noise:
    """Periodic value noise: a random lattice, smoothly interpolated. Values have about mean 0 and deviation 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._lattice = rng.standard_normal((_SIDE, _SIDE, _SIDE)).astype(np.float32)

    def __call__(self, points: NDArray[np.floating], wavelength: float | NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) values at points (N, 3).

        wavelength: size of the features in the unit of the points; one number or three, one per axis.
        """
        scaled = np.asarray(points, np.float64) / wavelength
        whole = np.floor(scaled)
        t = scaled - whole
        position = whole + t * t * (3 - 2 * t)
        found = map_coordinates(self._lattice, np.mod(position, _SIDE).T, order=1, mode="grid-wrap", prefilter=False)
        return np.asarray(1.6 * found, np.float32)

    def layers(self, points: NDArray[np.floating], wavelength: float, count: int = 3) -> NDArray[np.float32]:
        """Several octaves, each half as long and half as strong."""
        total = self(points, wavelength)
        for octave in range(1, count):
            total = total + 0.5**octave * self(np.asarray(points) + 17.3 * octave, wavelength / 2**octave)
        return total
