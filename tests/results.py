"""Stores and results for the tests of evaluation: spheres, and models whose error is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera, look_at
from fnbench.evaluate import evaluate
from fnbench.record import EvalResult
from fnbench.store import Store, write_samples
from fnbench.types import NormalMap, Sample
from tests.spheres import ATTRIBUTES, RADIUS, sphere_sample


def sphere_store(path: Path, subjects: int = 3, images: int = 2, size: int = 32, **changes: Any) -> Store:
    """A store of spheres, ``images`` per subject; all samples differ in their images and regions."""
    samples = []
    for index in range(subjects * images):
        name = f"s{index // images:03d}/{index % images}"
        attributes = {"yaw": 20.0 * (index % images), "pitch": 0.0, "expression": ("neutral", "smile")[index % 2]}
        samples.append(sphere_sample(name, size, seed=index, **{"attributes": attributes, **changes}))
    return Store(write_samples(path, samples, ATTRIBUTES))


def landmarks_of(size: int, factor: float = 1.2) -> NDArray[np.float32]:
    """68 landmarks on a circle whose box is the image side divided by ``factor``."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    box = 2 * np.abs(ring).max()
    return (size / 2 + ring * size / factor / box).astype(np.float32)


def sphere_normals(size: int) -> NDArray[np.float32]:
    """(H, W, 3) normals of the sphere of tests.spheres, (0, 0, 1) outside."""
    scale = size / 100
    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x, y = (columns - size / 2) / scale / RADIUS, -(rows - size / 2) / scale / RADIUS
    inside = x * x + y * y < 1
    z = np.sqrt(np.where(inside, 1 - x * x - y * y, 0))
    normals = np.where(inside[..., None], np.stack([x, y, z], -1), [0, 0, 1])
    return normals.astype(np.float32)


def turned(normals: NDArray[np.floating], degrees: float) -> NDArray[np.float32]:
    """Normals turned by an angle about an axis perpendicular to each, so that every error is that angle."""
    n = np.asarray(normals, np.float64)
    helper = np.where(np.abs(n[..., :1]) < 0.9, [1.0, 0, 0], [0, 1.0, 0])
    tangent = np.cross(n, helper)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    angle = np.radians(degrees)
    return (np.cos(angle) * n + np.sin(angle) * tangent).astype(np.float32)


class Turned:
    """A model that knows the sphere and errs by exactly ``degrees``; the image's mean decides a little jitter."""

    provenance: Mapping[str, Any] = {"licence": "MIT", "training_data": "none", "untrained": False}

    def __init__(self, degrees: float = 10.0, jitter: float = 0.0, name: str = "turned") -> None:
        self.name = name
        self.degrees = degrees
        self.jitter = jitter

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) images to normals; the error grows with the brightness of the image."""
        normals = sphere_normals(images.shape[1])
        return np.stack(
            [turned(normals, self.degrees + self.jitter * 100 * abs(float(image.mean()) - 0.5)) for image in images]
        )


def sphere_result(folder: Path, degrees: float = 10.0, subjects: int = 12, **settings: Any) -> EvalResult:
    """A result of ``Turned`` on spheres."""
    with sphere_store(folder / f"spheres-{subjects}.h5", subjects) as store:
        return evaluate(Turned(degrees, 0.5, f"turned-{degrees:g}"), store, **settings)


def predicted_maps(store: Store, degrees: float = 10.0) -> dict[str, NDArray[np.float32]]:
    """id -> a map that errs by ``degrees`` everywhere."""
    return {name: turned(sphere_normals(store.size[0]), degrees) for name in store.ids}


def with_sample(path: Path, samples: list[Sample]) -> Store:
    """A store of these samples."""
    return Store(write_samples(path, samples, ATTRIBUTES))


def bumpy_normals(size: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Normals and mask of a face-like height field without symmetry: half an ellipsoid with bumps of its own."""
    rng = np.random.default_rng(seed)
    columns, rows = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    x, y = 2 * columns - 1, 1 - 2 * rows
    inside = (x / 0.75) ** 2 + (y / 0.95) ** 2 < 0.97
    height = 0.9 * np.sqrt(np.maximum(1 - (x / 0.75) ** 2 - (y / 0.95) ** 2, 0.01))
    for _ in range(12):
        cx, cy, width = rng.uniform(-0.5, 0.5), rng.uniform(-0.7, 0.7), rng.uniform(0.08, 0.25)
        height += rng.uniform(-0.12, 0.2) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / width**2)
    dy, dx = np.gradient(height, 2 / size)
    normals = np.stack([-dx, dy, np.ones_like(dx)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(inside[..., None], normals, [0, 0, 1]).astype(np.float32), inside


def bumpy_sample(name: str, size: int = 64, seed: int = 0, yaw: float = 0.0, **changes: Any) -> Sample:
    """A sample of ``bumpy_normals`` whose camera stands at ``yaw``."""
    normals, mask = bumpy_normals(size, seed)
    K = np.array([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1.0]])
    camera = Camera(K, look_at(np.zeros(3), 10.0, yaw=yaw), size, size, orthographic=True)
    target = NormalMap(np.where(mask[..., None], normals, 0).astype(np.float32), mask)
    shown = np.where(mask[..., None], normals * 100 + 128, 60).astype(np.uint8)
    attributes = {"yaw": yaw, "pitch": 0.0, "expression": "neutral"}
    values: dict[str, Any] = {
        "image": shown,
        "target": target,
        "camera": camera,
        "depth": None,
        "region": mask.astype(np.uint8),
        "attributes": attributes,
    }
    return sphere_sample(name, size, seed=seed, **{**values, **changes})


def bumpy_store(path: Path, count: int = 12, size: int = 64, yaws: tuple[float, ...] = (0.0,)) -> Store:
    """One bumpy face per subject, cameras going round ``yaws``."""
    samples = [bumpy_sample(f"p{i:03d}", size, seed=i, yaw=yaws[i % len(yaws)]) for i in range(count)]
    return with_sample(path, samples)


def imperfect(normals: NDArray[np.floating], degrees: float, seed: int, smooth: float = 4.0) -> NDArray[np.float32]:
    """Normals with an error of about ``degrees`` that is smooth over some pixels, as a model's is."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=normals.shape)
    if smooth:
        noise = gaussian_filter(noise, (smooth, smooth, 0))
        noise /= noise.std()
    vectors = normals + np.tan(np.radians(degrees)) * 0.8 * noise
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def good_predictions(store: Store, degrees: float = 10.0, smooth: float = 4.0) -> dict[str, NDArray[np.float32]]:
    """id -> a believable prediction of a bumpy store: right frame, an error of about ``degrees``."""
    return {
        name: imperfect(bumpy_normals(store.size[0], index)[0], degrees, seed=index, smooth=smooth)
        for index, name in enumerate(store.ids)
    }


def save_maps(folder: Path, maps: Mapping[str, NDArray[Any]]) -> Path:
    """Write maps as <id>.npy, folders included."""
    for name, values in maps.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
    return folder
