"""Known surfaces under known lights: photographs whose normals are exact, for photometric stereo.

A surface is a height map with its normals; lights are distant. Cast shadows are found by walking over the height map
towards the light, highlights are Blinn-Phong and white, noise is Gaussian before the rounding to 8 bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIGHTS = np.radians([[38.0, 45.0], [36.0, 135.0], [40.0, 225.0], [37.0, 315.0]])
"""Zenith and azimuth of four lights around the camera, canonical axes; no two alike, as in a real rig."""


def directions(angles: NDArray[np.float64] = LIGHTS) -> NDArray[np.float64]:
    """(K, 3) unit vectors towards the lights, canonical axes."""
    zenith, azimuth = angles.T
    return np.stack([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], axis=-1)


def face(height: int = 240, width: int = 200) -> tuple[NDArray, NDArray, NDArray]:
    """A half-ellipsoid with a nose, and its exact normals.

    Returns depth (H, W) towards the viewer in pixels, normals (H, W, 3) canonical, mask (H, W).
    """
    a, b, c = 0.40 * width, 0.45 * height, 0.42 * width
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = columns - width / 2, height / 2 - rows
    inside = 1 - (x / a) ** 2 - (y / b) ** 2
    mask = inside > 0.06  # a rim that is seen edge on has no light to measure
    root = np.sqrt(np.maximum(inside, 0.06))
    depth, dx, dy = c * root, -c * x / a**2 / root, -c * y / b**2 / root
    for top, x0, y0, sx, sy in nose_eyes_and_mouth(a, b):
        bump = top * np.exp(-(((x - x0) / sx) ** 2) / 2 - (((y - y0) / sy) ** 2) / 2)
        depth, dx, dy = depth + bump, dx - bump * (x - x0) / sx**2, dy - bump * (y - y0) / sy**2
    normals = np.stack([-dx, -dy, np.ones_like(dx)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(mask, depth, 0.0), np.where(mask[..., None], normals, 0.0), mask


def nose_eyes_and_mouth(a: float, b: float) -> list[tuple[float, float, float, float, float]]:
    """Height, centre x, y and widths of Gaussian bumps, in pixels."""
    return [
        (0.34 * a, 0.0, -0.10 * b, 0.12 * a, 0.17 * b),
        (-0.08 * a, -0.36 * a, 0.20 * b, 0.14 * a, 0.08 * b),
        (-0.08 * a, 0.36 * a, 0.20 * b, 0.14 * a, 0.08 * b),
        (0.07 * a, 0.0, -0.48 * b, 0.22 * a, 0.06 * b),
    ]


def points(height: int = 240, width: int = 200) -> NDArray[np.float64]:
    """(11, 2) pixel x, y of the marked points of ``face``, from image left to right."""
    a, b = 0.40 * width, 0.45 * height
    relative = np.array(
        [
            (-0.54, 0.20), (-0.20, 0.19), (0.0, 0.22), (0.20, 0.19), (0.54, 0.20),
            (-0.17, -0.22), (0.0, -0.12), (0.17, -0.22), (-0.28, -0.48), (0.28, -0.48), (0.0, -0.86),
        ]
    )  # fmt: skip
    return np.stack([width / 2 + a * relative[:, 0], height / 2 - b * relative[:, 1]], axis=-1)


def skin(shape: tuple[int, int], seed: int = 0) -> NDArray[np.float64]:
    """(H, W, 3) albedo in [0, 1]: a skin colour with blotches, so that exposures can be registered."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    fine, coarse = (gaussian_filter(rng.standard_normal(shape), sigma) * sigma for sigma in (1.5, 8.0))
    return np.clip(0.8 + 0.08 * fine + 0.08 * coarse, 0.3, 1.0)[..., None] * np.array([0.95, 0.72, 0.6])


def cast_shadow(depth: NDArray, mask: NDArray, direction: NDArray, steps: int = 160) -> NDArray:
    """(H, W) bool: the surface stands in its own way to the light."""
    from scipy.ndimage import map_coordinates

    rows, columns = np.nonzero(mask)
    floor = np.where(mask, depth, -1e6)
    along = np.hypot(*direction[:2])
    blocked = np.zeros(len(rows), bool)
    for distance in np.arange(1.5, steps, 1.0):
        at = [rows - distance * direction[1] / along, columns + distance * direction[0] / along]
        height = map_coordinates(floor, at, order=0, mode="constant", cval=-1e6)
        blocked |= height > depth[rows, columns] + distance * direction[2] / along + 0.3
    shadow = np.zeros(mask.shape, bool)
    shadow[rows, columns] = blocked
    return shadow


def photographs(
    depth: NDArray,
    normals: NDArray,
    mask: NDArray,
    lights: NDArray,
    albedo: NDArray,
    *,
    cast: bool = True,
    specular: float = 0.0,
    noise: float = 0.0,
    gamma: float = 1.0,
    seed: int = 0,
) -> list[NDArray[np.uint8]]:
    """K photographs (H, W, 3) uint8 under K distant lights.

    specular: strength of white Blinn-Phong highlights (exponent 20).  noise: standard deviation in 8-bit steps.
    gamma: exponent of the camera's coding, 1 = linear.
    """
    rng = np.random.default_rng(seed)
    taken = []
    for direction in lights:
        lambert = np.maximum(normals @ direction, 0)
        half = direction + np.array([0.0, 0.0, 1.0])
        half /= np.linalg.norm(half)
        shine = specular * np.maximum(normals @ half, 0) ** 20 * (lambert > 0)
        lit = mask & ~cast_shadow(depth, mask, direction) if cast else mask
        linear = (0.75 * albedo * lambert[..., None] + shine[..., None]) * lit[..., None]
        linear += noise / 255 * rng.standard_normal(linear.shape)
        taken.append(np.rint(255 * np.clip(linear, 0, 1) ** (1 / gamma)).astype(np.uint8))
    return taken
