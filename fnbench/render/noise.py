"""Smooth random fields in space, the same wherever they are looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fnbench.compiled import AVAILABLE, compiled

_SIDE = 32
_GAIN = 1.6
"""Brings interpolated values back to about deviation 1."""


class Noise:
    """Periodic value noise: a random lattice, smoothly interpolated. Values have about mean 0 and deviation 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._lattice = rng.standard_normal((_SIDE, _SIDE, _SIDE)).astype(np.float32)

    def __call__(self, points: NDArray[np.floating], wavelength: float | NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) values at points (N, 3).

        wavelength: size of the features in the unit of the points; one number or three, one per axis.
        """
        scaled = np.asarray(points, np.float64) / wavelength
        return _interpolated(self._lattice, scaled) if AVAILABLE else _interpolated_plainly(self._lattice, scaled)

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


@compiled
def _interpolated(lattice: NDArray[np.float32], scaled: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N,) values at (N, 3) lattice positions."""
    found = np.empty(len(scaled), np.float32)
    near, far = np.empty(3, np.int64), np.empty(3, np.int64)
    share = np.empty(3, np.float64)
    for n in range(len(scaled)):
        for axis in range(3):
            whole = np.floor(scaled[n, axis])
            t = scaled[n, axis] - whole
            share[axis] = t * t * (3 - 2 * t)
            near[axis] = int(whole) % _SIDE
            far[axis] = (near[axis] + 1) % _SIDE
        total = 0.0
        for corner in range(8):
            x = far[0] if corner & 4 else near[0]
            y = far[1] if corner & 2 else near[1]
            z = far[2] if corner & 1 else near[2]
            weight = (share[0] if corner & 4 else 1 - share[0]) * (share[1] if corner & 2 else 1 - share[1])
            total += weight * (share[2] if corner & 1 else 1 - share[2]) * lattice[x, y, z]
        found[n] = _GAIN * total
    return found


def _interpolated_plainly(lattice: NDArray[np.float32], scaled: NDArray[np.float64]) -> NDArray[np.float32]:
    """The same without a compiler, to the last few bits."""
    whole = np.floor(scaled)
    t = scaled - whole
    position = whole + t * t * (3 - 2 * t)
    found = map_coordinates(lattice, np.mod(position, _SIDE).T, order=1, mode="grid-wrap", prefilter=False)
    return np.asarray(_GAIN * found, np.float32)
