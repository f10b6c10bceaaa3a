"""Light on a rendered face: second-order ambient light, directional lights with cast shadows, soft occlusion.

Directions are unit vectors in the canonical camera frame (x right, y up, z to the viewer), pointing to the light.
Radiance is linear RGB; an ambient light of 1 on white skin gives 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from fnbench.camera import Camera
from fnbench.render.backends import Renderer
from fnbench.render.shade import SurfaceMaps, surface_maps
from fnbench.types import Scan

Image = NDArray[np.float32]

SETUPS = ("studio", "daylight", "window", "side", "overhead", "ring", "back", "mixed")
"""Names of the light setups that ``sample_lighting`` chooses from."""

_BANDS = (np.pi, 2 * np.pi / 3, 2 * np.pi / 3, 2 * np.pi / 3) + (np.pi / 4,) * 5
"""How a Lambertian surface attenuates each spherical-harmonic coefficient (Ramamoorthi and Hanrahan 2001)."""


@dataclass(frozen=True, slots=True)
class Light:
    """A lamp, or a light as distant as the sun.

    direction: unit vector from the middle of the picture's surface to the light.
    colour: linear RGB irradiance there, on a surface that faces it.
    softness: blur of its shadow in millimetres.
    distance: from the middle of the surface in millimetres; infinite for parallel light.
    """

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    softness: float
    distance: float = float("inf")

    @property
    def attributes(self) -> dict[str, Any]:
        """Plain values; distance_mm is None for parallel light."""
        near = None if np.isinf(self.distance) else round(self.distance, 1)
        return {"direction": list(self.direction), "colour": list(self.colour), "distance_mm": near}


@dataclass(frozen=True, slots=True, eq=False)
class Lighting:
    """All light of one picture.

    setup: one of ``SETUPS``.  lights: distant lights.
    ambient: (9, 3) radiance coefficients of the real spherical harmonics.
    """

    setup: str
    ambient: NDArray[np.float64]
    lights: tuple[Light, ...]

    @property
    def attributes(self) -> dict[str, Any]:
        """Plain values to store with a sample."""
        return {
            "light": self.setup,
            "lights": [light.attributes for light in self.lights],
            "ambient": np.round(self.ambient, 4).tolist(),
        }


def harmonics(n: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., 9) real spherical harmonics up to order 2 at unit vectors (..., 3)."""
    x, y, z = (np.asarray(n[..., axis], np.float64) for axis in range(3))
    one = np.ones_like(x)
    return np.stack(
        [
            0.282095 * one, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z,
            0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y),
        ],
        axis=-1,
    )  # fmt: skip


def ambient_irradiance(lighting: Lighting, normals: NDArray[np.floating]) -> Image:
    """(..., 3) irradiance / pi of the ambient light on unit normals (..., 3), never negative."""
    weights = np.asarray(_BANDS)[:, None] * lighting.ambient / np.pi
    return np.maximum(harmonics(normals) @ weights, 0.0).astype(np.float32)


def sample_lighting(rng: np.random.Generator, setups: tuple[str, ...] = SETUPS) -> Lighting:
    """A random light setup.

    setups: names to choose from.
    """
    setup = setups[int(rng.integers(len(setups)))]
    side = float(rng.choice([-1.0, 1.0]))
    warm = _tint(float(rng.uniform(-1, 1)))
    cool = _tint(float(rng.uniform(-1, 1)))
    key, fill, sky = _SETUPS[setup](rng, side)
    lights = [_light(rng, angles, power, warm) for angles, power in key]
    lights += [_light(rng, angles, power, cool) for angles, power in fill]
    return Lighting(setup, _environment(rng, sky, cool), tuple(lights))


def arriving(light: Light, points: Image) -> tuple[Image, Image]:
    """Unit direction to the light (H, W, 3), and its strength (H, W) relative to the middle of the surface.

    points: (H, W, 3) camera-frame positions, NaN outside.
    """
    out = np.asarray(light.direction, np.float32)
    if np.isinf(light.distance):
        return np.broadcast_to(out, points.shape), np.ones(points.shape[:2], np.float32)
    to = middle(points) + np.float32(light.distance) * out - points
    squared = np.maximum(np.einsum("ijk,ijk->ij", to, to), 1.0)
    return np.nan_to_num(to / np.sqrt(squared)[..., None]), np.nan_to_num(light.distance**2 / squared)


def middle(points: Image) -> NDArray[np.float32]:
    """(3,) mean of the visible positions (H, W, 3)."""
    known = points[np.isfinite(points[..., 0])]
    return np.asarray(known.mean(axis=0) if len(known) else np.zeros(3), np.float32)


def shadow(
    scan: Scan, normals: NDArray[np.float64], renderer: Renderer, light: Light, camera: Camera, points: Image
) -> Image:
    """(H, W) share of a light that reaches each pixel.

    points: (H, W, 3) world positions, NaN outside.  normals: (V, 3) of the scan, for its depth map.
    """
    eye = _light_camera(scan, camera.rotation.T @ np.asarray(light.direction), light.distance, middle(points))
    depth = surface_maps(scan, normals, eye, renderer.visibility(scan, eye)).depth
    flat = points.reshape(-1, 3).astype(np.float64)
    known = np.isfinite(flat[:, 0])
    pixel, distance = eye.project(flat[known])
    blocked = np.where(np.isfinite(depth), depth, np.inf)
    lit = np.zeros(int(known.sum()), np.float32)
    per_mm = eye.K[0, 0] if eye.orthographic else eye.K[0, 0] / float(np.median(distance)) if len(distance) else 1.0
    radius = light.softness * per_mm * 0.5
    offsets = [(0.0, 0.0), (1.0, 0.3), (-0.3, 1.0), (-1.0, -0.3), (0.3, -1.0), (0.5, -0.5), (-0.5, 0.5)]
    for dx, dy in offsets:
        at = np.stack([pixel[:, 1] - 0.5 + radius * dy, pixel[:, 0] - 0.5 + radius * dx])
        nearest = map_coordinates(blocked, at, order=0, mode="constant", cval=np.inf)
        lit += (nearest > distance - 2.0 - 0.4 * light.softness).astype(np.float32)
    share = np.zeros(len(flat), np.float32)
    share[known] = lit / len(offsets)
    return share.reshape(points.shape[:2])


def occlusion(maps: SurfaceMaps, points: Image, radius: float = 22.0) -> Image:
    """(H, W) share of the surroundings that each pixel sees, from the visible surface alone.

    points: (H, W, 3) camera-frame positions, NaN outside.  radius: reach in millimetres.
    Neighbours above the tangent plane darken (McGuire et al. 2011, "The alchemy screen-space ambient obscurance").
    """
    step = millimetres_per_pixel(points)
    filled = np.where(maps.mask[..., None], points, np.float32(1e6))
    total = np.zeros(maps.mask.shape, np.float32)
    count = 0
    for share, turns in ((0.12, 6), (0.35, 8), (0.75, 10)):
        for k in range(turns):
            angle = 2 * np.pi * (k + 0.37 * turns) / turns
            reach = radius * share / step
            dx, dy = round(reach * np.cos(angle)), round(reach * np.sin(angle))
            away = np.roll(filled, (dy, dx), axis=(0, 1)) - points
            squared = np.einsum("ijk,ijk->ij", away, away) + 1e-3
            above = np.einsum("ijk,ijk->ij", away, maps.normals) - 0.06 * np.sqrt(squared)
            near = squared < (1.6 * radius) ** 2
            total += np.where(near & maps.mask, np.maximum(above, 0) / np.sqrt(squared), 0)
            count += 1
    open_ = np.where(maps.mask, np.clip(1.0 - 1.9 * total / count, 0.0, 1.0), 1.0)
    return np.asarray(gaussian_filter(open_, 0.8), np.float32)


def camera_points(maps: SurfaceMaps, camera: Camera) -> Image:
    """(H, W, 3) camera-frame positions of the visible surface in millimetres, NaN outside."""
    K = camera.K
    v = (np.arange(camera.height)[:, None] + 0.5 - K[1, 2]) / K[1, 1]
    u = (np.arange(camera.width)[None] + 0.5 - K[0, 2] - K[0, 1] * v) / K[0, 0]
    scale = np.where(np.isfinite(maps.depth), 1.0, np.nan) if camera.orthographic else maps.depth
    return np.stack([u * scale, -v * scale, -maps.depth], axis=-1).astype(np.float32)


def world_points(points: Image, camera: Camera) -> Image:
    """Camera-frame positions (H, W, 3) in world coordinates."""
    inverse = np.linalg.inv(camera.world_to_camera)
    return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3], np.float32)


def millimetres_per_pixel(points: Image) -> float:
    across = np.abs(np.diff(points[..., 0], axis=1))
    found = np.nanmedian(across) if np.isfinite(across).any() else 1.0
    return max(float(found), 1e-3)


def _light_camera(
    scan: Scan, direction: NDArray[np.float64], distance: float, target: NDArray[np.floating], size: int = 384
) -> Camera:
    """What the light sees: parallel rays onto the whole scan, or a lamp's view of what lies around ``target``."""
    low, high = scan.vertices.min(axis=0), scan.vertices.max(axis=0)
    centre, reach = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    out = direction / np.linalg.norm(direction)
    side = np.cross([0.0, 1.0, 0.0] if abs(out[1]) < 0.9 else [1.0, 0.0, 0.0], out)
    side /= np.linalg.norm(side)
    far = np.isinf(distance)
    eye = centre + 2 * reach * out if far else np.asarray(target, np.float64) + distance * out
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([side, np.cross(out, side), out])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    focal = size / (2 * reach) if far else size * distance / (2 * min(reach, 160.0))
    return Camera(np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]]), matrix, size, size, bool(far))


def _tint(warmth: float) -> NDArray[np.float64]:
    """Linear RGB of a light from cool (-1) to warm (1), of mean 1."""
    colour = np.array([1.0 + 0.22 * warmth, 1.0 + 0.02 * warmth, 1.0 - 0.24 * warmth])
    return np.asarray(colour / colour.mean(), np.float64)


def _light(rng: np.random.Generator, angles: tuple[float, float], power: float, tint: NDArray[np.float64]) -> Light:
    azimuth, height = np.radians(np.asarray(angles) + rng.normal(0, 6, 2))
    out = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height))
    colour = power * tint * rng.uniform(0.85, 1.15)
    return Light(
        (float(out[0]), float(out[1]), float(out[2])),
        (float(colour[0]), float(colour[1]), float(colour[2])),
        float(rng.uniform(1.0, 5.0)),
        float(rng.uniform(350.0, 1200.0)) if rng.uniform() < 0.3 else float("inf"),
    )


_Lamps = list[tuple[tuple[float, float], float]]


def _studio(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    return [((40 * side, 32), 0.75)], [((-50 * side, 10), 0.22)], 0.28


def _daylight(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    return [((side * float(rng.uniform(15, 75)), float(rng.uniform(25, 60))), 0.85)], [], 0.4


def _window(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    return [((62 * side, 12), 0.6), ((48 * side, 22), 0.25)], [], 0.25


def _side(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    return [((82 * side, 8), 0.85)], [((-35 * side, 5), 0.1)], 0.2


def _overhead(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    return [((12 * side, 62), 0.75)], [((0, -10), 0.1)], 0.3


def _ring(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    return [((4 * side, 6), 0.7)], [], 0.25


def _back(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    return [((135 * side, 30), 1.0)], [((-20 * side, 20), 0.35)], 0.35


def _mixed(rng: np.random.Generator, side: float) -> tuple[_Lamps, _Lamps, float]:
    angles = [(float(rng.uniform(-100, 100)), float(rng.uniform(-25, 70))) for _ in range(int(rng.integers(1, 4)))]
    powers = [float(rng.uniform(0.15, 0.7)) for _ in angles]
    return list(zip(angles[:1], powers[:1], strict=True)), list(zip(angles[1:], powers[1:], strict=True)), 0.3


_SETUPS = {
    "studio": _studio, "daylight": _daylight, "window": _window, "side": _side, "overhead": _overhead,
    "ring": _ring, "back": _back, "mixed": _mixed,
}  # fmt: skip


def _environment(rng: np.random.Generator, level: float, tint: NDArray[np.float64]) -> NDArray[np.float64]:
    """(9, 3) ambient radiance: sky from above, ground from below, and some colour from anywhere."""
    level *= float(rng.uniform(0.75, 1.3))
    coefficients = np.zeros((9, 3))
    coefficients[0] = level / 0.282095 * tint
    coefficients[1] = level * float(rng.uniform(0.1, 0.6)) * tint / 0.488603
    coefficients[1:4] += level * rng.normal(0, 0.18, (3, 3)) + level * rng.normal(0, 0.35, (3, 1))
    coefficients[4:] = level * rng.normal(0, 0.12, (5, 1)) + level * rng.normal(0, 0.06, (5, 3))
    return coefficients
