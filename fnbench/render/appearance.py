"""Pictures of scans that have no photographs: albedo, light with shadows, background and a camera.

Albedo comes from the scan's texture, else its vertex colours, else procedural skin painted from the landmarks.
Light is a second-order ambient environment and one to three distant lights with cast shadows; skin scatters red light
further than blue. Everything drawn stands in the picture's attributes, so that results can be broken down by it.
Directions are in the canonical camera frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from fnbench.camera import Camera
from fnbench.errors import InvalidSettingError
from fnbench.render.backends import Renderer, renderer
from fnbench.render.background import BACKGROUNDS, sample_background
from fnbench.render.light import (
    SETUPS,
    Image,
    Lighting,
    ambient_irradiance,
    arriving,
    camera_points,
    millimetres_per_pixel,
    occlusion,
    sample_lighting,
    shadow,
    world_points,
)
from fnbench.render.occluder import sample_occluder
from fnbench.render.sensor import Sensor, decode, develop, sample_sensor
from fnbench.render.shade import SurfaceMaps
from fnbench.render.skin import face_frame, paint, sample_person
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan, Visibility


@dataclass(frozen=True, slots=True)
class Settings:
    """What may vary in a picture.

    lights: names of light setups to choose from.  backgrounds: kinds to choose from.
    shadows, occlusion, scattering, specular: switch parts of the light model.
    sensor: camera effects (exposure, blur, noise, compression); without them a plain sRGB picture.
    occluders: share of pictures with something before the face; the normals stay those of the face, so it is for
        training only.
    """

    lights: tuple[str, ...] = SETUPS
    backgrounds: tuple[str, ...] = BACKGROUNDS
    shadows: bool = True
    occlusion: bool = True
    scattering: bool = True
    specular: bool = True
    sensor: bool = True
    occluders: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.occluders <= 1:
            raise InvalidSettingError(f"appearance: occluders is {self.occluders}, expected a share from 0 to 1.")
        for name, known in (("lights", SETUPS), ("backgrounds", BACKGROUNDS)):
            chosen = tuple(getattr(self, name))
            object.__setattr__(self, name, chosen)
            if not chosen or not set(chosen) <= set(known):
                raise InvalidSettingError(f"appearance: {name} {list(chosen)}, expected some of {', '.join(known)}.")


def settings_from(options: Mapping[str, Any]) -> Settings:
    """Settings from plain values; InvalidSettingError names an unknown key."""
    known = [item.name for item in fields(Settings)]
    for key in options:
        if key not in known:
            raise InvalidSettingError(f"appearance: there is no setting {key!r}. Known: {', '.join(known)}.")
    return Settings(**dict(options))


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A rendered picture: image (H, W, 3) uint8 sRGB, and what was drawn for it as plain values."""

    image: NDArray[np.uint8]
    attributes: Mapping[str, Any]


def picture(
    scan: Scan,
    maps: SurfaceMaps,
    camera: Camera,
    rng: np.random.Generator,
    *,
    visibility: Visibility | None = None,
    landmarks: NDArray[np.float64] | None = None,
    person: np.random.Generator | None = None,
    settings: Settings | None = None,
    backend: Renderer | None = None,
) -> Picture:
    """A picture of a scan as its maps show it.

    maps, visibility: of this scan and camera; visibility is rendered again when not given and needed.
    rng: draws light, background and camera.  person: draws the complexion, so that it can be the same in all
        pictures of a person; from ``rng`` when not given.
    landmarks: (68, 3) in scan coordinates for procedural skin, or None for plain skin.
    """
    settings = settings or Settings()
    backend = backend or renderer()
    lighting = sample_lighting(rng, settings.lights)
    kind, behind = sample_background(rng, maps.mask.shape, settings.backgrounds)
    sensor = sample_sensor(rng) if settings.sensor else Sensor()
    seen = camera_points(maps, camera)
    albedo, gloss, source = _albedo(scan, maps, camera, person or rng, seen, visibility, landmarks, backend)
    light = radiance(scan, maps, camera, lighting, settings, (seen, albedo, gloss), backend)
    linear, before = _occluded(_composed(light, behind, maps.mask), settings.occluders, rng)
    return Picture(
        develop(linear * _metered(light, maps.mask), sensor, rng),
        {**lighting.attributes, "background": kind, "albedo": source, "occluder": before},
    )


def _metered(light: Image, mask: NDArray[np.bool_]) -> np.float32:
    """Exposure of a camera that meters the head: most of the way to a mean of 0.22; dark skin stays darker."""
    mean = float(light[mask].mean()) if mask.any() else 0.22
    return np.float32(np.clip((0.22 / max(mean, 1e-4)) ** 0.6, 0.4, 4.0))


def _occluded(linear: Image, often: float, rng: np.random.Generator) -> tuple[Image, str]:
    """The picture with something before it in a share of cases, and its name ("none" otherwise)."""
    if not often or rng.uniform() >= often:
        return linear, "none"
    name, share, colour = sample_occluder(rng, linear.shape[:2])
    level = float(np.mean(linear)) / max(float(np.mean(colour)), 1e-3) * float(rng.uniform(0.4, 1.6))
    return np.asarray(linear * (1 - share[..., None]) + share[..., None] * colour * level, np.float32), name


def _composed(light: Image, behind: Image, mask: NDArray[np.bool_]) -> Image:
    """The head before its background, with a border as soft as a pixel: a sharp mask would show as stairs."""
    share = mask.astype(np.float32)
    soft = gaussian_filter(share, 0.6)[..., None]
    around = np.maximum(gaussian_filter(share, 1.0), 1e-3)[..., None]
    spread = gaussian_filter(light * share[..., None], (1.0, 1.0, 0)) / around
    return np.asarray(soft * np.where(mask[..., None], light, spread) + (1 - soft) * behind, np.float32)


def image(scan: Scan, maps: SurfaceMaps, camera: Camera, rng: np.random.Generator, **options: Any) -> NDArray[np.uint8]:
    """The image of ``picture`` alone: (H, W, 3) uint8 sRGB."""
    return picture(scan, maps, camera, rng, **options).image


def _albedo(
    scan: Scan,
    maps: SurfaceMaps,
    camera: Camera,
    rng: np.random.Generator,
    seen: Image,
    visibility: Visibility | None,
    landmarks: NDArray[np.float64] | None,
    backend: Renderer,
) -> tuple[Image, Image, str]:
    """Linear reflectance (H, W, 3), gloss (H, W, 2) of skin and of wet eyes, and where they come from."""
    gloss = np.zeros((*maps.mask.shape, 2), np.float32)
    gloss[..., 0] = 0.4
    if scan.texture is not None and maps.uv is not None:
        return sampled(scan.texture, maps.uv, maps.mask), gloss, "texture"
    if scan.colors is not None:
        faces = (visibility or backend.visibility(scan, camera)).faces
        corners = decode(scan.colors)[scan.faces[np.maximum(faces, 0)]]
        mixed = np.einsum("hwk,hwkc->hwc", maps.weights, corners).astype(np.float32)
        return mixed, gloss, "vertex colours"
    person = sample_person(rng)
    points = world_points(seen, camera)[maps.mask].astype(np.float64)
    frame = None if landmarks is None else face_frame(landmarks)
    colour, shine = (
        paint(person, frame(points), frame(landmarks))
        if frame and landmarks is not None
        else paint(person, points, None)
    )
    albedo = np.zeros((*maps.mask.shape, 3), np.float32)
    albedo[maps.mask], gloss[maps.mask] = colour, shine
    return albedo, gloss, "procedural skin"


def sampled(texture: NDArray[np.uint8], uv: NDArray[np.float32], mask: NDArray[np.bool_]) -> Image:
    """Linear colour (H, W, 3) of a texture at uv (H, W, 2), v upwards; zero outside the mask.

    The texture is averaged down to about one texel per pixel first, so that it does not alias.
    """
    size = np.array([texture.shape[1], texture.shape[0]], np.float64)
    steps = np.linalg.norm(np.diff(uv, axis=1) * size, axis=-1)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    texels = float(np.median(steps)) if steps.size else 1.0
    level = max(int(texels / 1.5), 1)
    linear = decode(texture)
    if level > 1:
        rows, columns = texture.shape[0] // level * level, texture.shape[1] // level * level
        linear = linear[:rows, :columns].reshape(rows // level, level, columns // level, level, 3).mean(axis=(1, 3))
    height, width = linear.shape[:2]
    at = np.stack([(1 - uv[mask][:, 1]) * height - 0.5, uv[mask][:, 0] * width - 0.5])
    found = np.zeros((*mask.shape, 3), np.float32)
    found[mask] = np.stack([map_coordinates(linear[..., c], at, order=1, mode="nearest") for c in range(3)], axis=-1)
    return found


def radiance(
    scan: Scan,
    maps: SurfaceMaps,
    camera: Camera,
    lighting: Lighting,
    settings: Settings,
    surface: tuple[Image, Image, Image],
    backend: Renderer,
) -> Image:
    """Linear light (H, W, 3) that leaves the surface towards the camera."""
    seen, albedo, gloss = surface
    open_ = occlusion(maps, seen) if settings.occlusion else np.ones(maps.mask.shape, np.float32)
    diffuse = ambient_irradiance(lighting, maps.normals) * open_[..., None]
    view = -np.nan_to_num(seen / np.linalg.norm(seen, axis=-1, keepdims=True))
    mirrored = 0.25 * ambient_irradiance(lighting, maps.normals) * open_[..., None]
    shine = mirrored * (_fresnel(maps.normals, view) * gloss.sum(axis=-1))[..., None]
    points = world_points(seen, camera)
    normals = vertex_normals(scan.vertices, scan.faces) if settings.shadows else np.empty((0, 3))
    for light in lighting.lights:
        out, strength = arriving(light, seen)
        facing = np.maximum(np.einsum("ijk,ijk->ij", maps.normals, out), 0)
        reach = shadow(scan, normals, backend, light, camera, points) if settings.shadows else np.float32(1)
        arrived = (facing * strength * reach)[..., None] * np.asarray(light.colour, np.float32)
        diffuse = diffuse + arrived
        shine = shine + arrived * (_lobes(maps.normals, view, out) * gloss).sum(axis=-1, keepdims=True)
    if settings.scattering:
        diffuse = _scattered(diffuse, maps.mask, seen)
    specular = shine if settings.specular else np.float32(0)
    return np.asarray(albedo * diffuse + specular, np.float32)


def _fresnel(normals: Image, view: Image) -> Image:
    facing = np.clip(np.einsum("ijk,ijk->ij", normals, view), 0, 1)
    # Rough skin mirrors less at grazing angles than a smooth surface (Lagarde 2011, with a roughness of 0.6): the full
    # term draws a bright line along every outline of a dark face.
    return np.asarray(0.04 + 0.36 * (1 - facing) ** 5, np.float32)


def _lobes(normals: Image, view: Image, out: Image) -> Image:
    """(H, W, 2) Blinn-Phong reflection per unit irradiance: two lobes of skin together, and the glint of a wet eye."""
    half = view + out
    half = half / np.maximum(np.linalg.norm(half, axis=-1, keepdims=True), 1e-6)
    along = np.clip(np.einsum("ijk,ijk->ij", normals, half), 0, 1)
    skin = 0.028 * (8 + 12) / 8 * along**12 + 0.028 * (8 + 48) / 16 * along**48
    return np.stack([skin, 0.03 * (8 + 400) / 8 * along**400], axis=-1).astype(np.float32)


def _scattered(diffuse: Image, mask: NDArray[np.bool_], seen: Image) -> Image:
    """Irradiance blurred inside the mask, red further than green than blue."""
    step = millimetres_per_pixel(seen)
    weight = mask.astype(np.float32)
    spread = np.empty_like(diffuse)
    for channel, width in enumerate((1.8, 0.7, 0.4)):
        sigma = width / step
        norm = np.maximum(gaussian_filter(weight, sigma), 1e-4)
        spread[..., channel] = gaussian_filter(diffuse[..., channel] * weight, sigma) / norm
    return spread
