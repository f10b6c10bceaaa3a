"""What stands behind a rendered head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

BACKGROUNDS = ("plain", "gradient", "blobs", "clutter")


def sample_background(
    rng: np.random.Generator, size: tuple[int, int], kinds: tuple[str, ...] = BACKGROUNDS
) -> tuple[str, NDArray[np.float32]]:
    """Kind and linear RGB picture (H, W, 3) of a random background of ``size`` (H, W)."""
    kind = kinds[int(rng.integers(len(kinds)))]
    base = _colour(rng)
    if kind == "plain":
        return kind, np.broadcast_to(base, (*size, 3)).astype(np.float32)
    if kind == "gradient":
        return kind, _gradient(rng, size, base)
    if kind == "blobs":
        return kind, _blobs(rng, size, base)
    return kind, _clutter(rng, size, base)


def _colour(rng: np.random.Generator) -> NDArray[np.float32]:
    grey = float(rng.uniform(0.02, 0.75))
    return np.asarray(np.clip(grey * np.exp(rng.normal(0, 0.28, 3)), 0.005, 0.95), np.float32)


def _gradient(rng: np.random.Generator, size: tuple[int, int], base: NDArray[np.float32]) -> NDArray[np.float32]:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    share = np.clip(0.5 + 0.35 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)[..., None].astype(np.float32)
    return np.asarray(base * (1 - share) + np.float32(rng.uniform(0.3, 1.5)) * base * share, np.float32)


def _blobs(rng: np.random.Generator, size: tuple[int, int], base: NDArray[np.float32]) -> NDArray[np.float32]:
    cells = int(rng.integers(3, 9))
    coarse = np.exp(rng.normal(0, 0.5, (cells, cells, 1)) + rng.normal(0, 0.2, (cells, cells, 3)))
    picture = zoom(coarse, (size[0] / cells, size[1] / cells, 1), order=3, mode="nearest")[: size[0], : size[1]]
    return np.asarray(np.clip(base * picture, 0, 1.2), np.float32)


def _clutter(rng: np.random.Generator, size: tuple[int, int], base: NDArray[np.float32]) -> NDArray[np.float32]:
    picture = np.broadcast_to(base, (*size, 3)).astype(np.float32).copy()
    for _ in range(int(rng.integers(4, 16))):
        low = rng.uniform(-0.2, 1.0, 2) * size
        extent = rng.uniform(0.08, 0.7, 2) * size
        rows = slice(max(int(low[0]), 0), max(int(low[0] + extent[0]), 0))
        columns = slice(max(int(low[1]), 0), max(int(low[1] + extent[1]), 0))
        picture[rows, columns] = _colour(rng)
    blur = float(rng.uniform(1.0, 0.05 * size[0] + 1.0))
    return np.asarray(gaussian_filter(picture, (blur, blur, 0)), np.float32)
