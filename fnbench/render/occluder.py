"""Things before a face: hands, cloth, cards and hair, as flat shapes in the picture; only for training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Share = NDArray[np.float32]


def sample_occluder(rng: np.random.Generator, size: tuple[int, int]) -> tuple[str, Share, NDArray[np.float32]]:
    """A random shape: its name, how much of each pixel (H, W) it covers, and its linear colour (H, W, 3)."""
    name = str(rng.choice(sorted(_SHAPES)))
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    distance = _SHAPES[name](rng, x, y)
    share = gaussian_filter(np.clip(0.5 - distance * size[0] / 4, 0, 1), float(rng.uniform(0.4, 1.6)))
    return name, share.astype(np.float32), _cloth(rng, size)


def _cloth(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    colour = np.clip(rng.uniform(0.03, 0.6) * np.exp(rng.normal(0, 0.35, 3)), 0.01, 0.9)
    grain = gaussian_filter(rng.standard_normal(size), float(rng.uniform(1, 8)))
    shade = gaussian_filter(rng.standard_normal(size), size[0] / 6)
    pattern = 1 + 0.25 * shade / max(float(shade.std()), 1e-6) + 0.08 * grain / max(float(grain.std()), 1e-6)
    return np.asarray(np.clip(pattern, 0.2, 2.0)[..., None] * colour, np.float32)


def _card(rng: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A straight edge with a side and an end."""
    angle = rng.uniform(0, 2 * np.pi)
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    near, side = rng.uniform(0.15, 0.8), rng.uniform(0.2, 0.7)
    return np.asarray(np.maximum(near - u, np.abs(v - rng.uniform(-0.4, 0.4)) - side), np.float64)


def _hand(rng: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two to four round bars side by side that come in from the border."""
    angle = rng.uniform(0, 2 * np.pi)
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    width, near, middle = rng.uniform(0.09, 0.15), rng.uniform(0.1, 0.6), rng.uniform(-0.3, 0.3)
    best = np.full(x.shape, 9.0)
    for finger in range(int(rng.integers(2, 5))):
        end = near + rng.uniform(-0.1, 0.15)
        across = v - middle - 2.05 * width * (finger - 1.5)
        best = np.minimum(best, np.hypot(across, np.minimum(u - end, 0)) - width)
    return best


def _strands(rng: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Locks of hair that hang in from above."""
    best = np.full(x.shape, 9.0)
    for _ in range(int(rng.integers(3, 9))):
        start, lean, bend = rng.uniform(-1, 1), rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.3)
        length, width = rng.uniform(0.3, 1.2), rng.uniform(0.01, 0.06)
        t = (y + 1) / length
        lock = np.abs(x - start - lean * t - bend * t**2) - width * np.clip(1.2 - t, 0, 1)
        best = np.minimum(best, np.where(t < 1.2, lock, 9.0))
    return best


def _blob(rng: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A round thing of any place and size, such as a microphone or a cup."""
    centre, radii = rng.uniform(-0.9, 0.9, 2), rng.uniform(0.1, 0.4, 2)
    return np.asarray((np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1]) - 1) * radii.min(), np.float64)


_Shape = Callable[[np.random.Generator, NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
_SHAPES: dict[str, _Shape] = {"card": _card, "hand": _hand, "strands": _strands, "blob": _blob}
