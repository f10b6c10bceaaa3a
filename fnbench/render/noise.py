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

    def spots(self, points: NDArray[np.floating], cell: float) -> NDArray[np.float32]:
        """(N,) between 0 and 1: one soft round spot of random place, size and strength per cube of side ``cell``."""
        scaled = np.asarray(points, np.float64) / cell
        home = np.floor(scaled - 0.5).astype(int)
        found = np.zeros(len(scaled), np.float32)
        for offset in np.ndindex(2, 2, 2):
            key = (home + offset) % _SIDE
            x, y, z = key.T
            jitter = np.stack([self._lattice[x, y, z], self._lattice[y, z, x], self._lattice[z, x, y]], axis=1)
            centre = home + offset + 0.5 + np.clip(0.16 * jitter, -0.3, 0.3)
            size = 0.14 + 0.05 * np.abs(self._lattice[z, y, x])
            distance = np.linalg.norm(scaled - centre, axis=1) / size
            strength = np.clip(0.5 + 0.5 * self._lattice[y, x, z], 0, 1)
            found = np.maximum(found, strength * np.clip(1.6 - 1.2 * distance, 0, 1))
        return np.asarray(found, np.float32)

    def layers(self, points: NDArray[np.floating], wavelength: float, count: int = 3) -> NDArray[np.float32]:
        """Several octaves, each half as long and half as strong."""
        total = self(points, wavelength)
        for octave in range(1, count):
            total = total + 0.5**octave * self(np.asarray(points) + 17.3 * octave, wavelength / 2**octave)
        return total
