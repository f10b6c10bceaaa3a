"""Samples of a sphere: normals in closed form, made in a millisecond."""

from __future__ import annotations

from typing import Any

import numpy as np

from fnbench.camera import Camera, look_at
from fnbench.types import NormalMap, Sample

RADIUS = 40.0
ATTRIBUTES = {
    "dataset": "spheres",
    "gt_kind": "synthetic",
    "protocol": "orthographic sphere, no crop",
    "settings": {"size": 32, "views": [[0, 0]]},
}


def sphere_sample(name: str = "s000/0", size: int = 32, seed: int = 0, **changes: Any) -> Sample:
    """An orthographic sphere, its analytic normals and depth, and a picture of noise."""
    rng = np.random.default_rng(seed)
    scale = size / 100
    K = np.array([[scale, 0, size / 2], [0, scale, size / 2], [0, 0, 1]])
    camera = Camera(K, look_at(np.zeros(3), 500.0), size, size, orthographic=True)
    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x, y = (columns - size / 2) / scale / RADIUS, -(rows - size / 2) / scale / RADIUS
    mask = x * x + y * y < 1
    z = np.sqrt(np.where(mask, 1 - x * x - y * y, 0))
    normals = np.where(mask[..., None], np.stack([x, y, z], -1), 0).astype(np.float32)
    values: dict[str, Any] = {
        "id": name,
        "capture": name.split("/")[0],
        "subject": name.split("/")[0],
        "split": "test",
        "image": rng.integers(0, 256, (size, size, 3), np.uint8),
        "target": NormalMap(normals, mask),
        "region": np.where(mask, rng.integers(0, 8, (size, size)), 0).astype(np.uint8),
        "camera": camera,
        "landmarks": rng.uniform(0, size, (68, 2)).astype(np.float32),
        "depth": np.where(mask, 500 - RADIUS * z, np.nan).astype(np.float32),
        "attributes": {"yaw": 0.0, "pitch": 0.0, "expression": "neutral"},
    }
    return Sample(**{**values, **changes})


def sphere_samples(count: int, size: int = 32, **changes: Any) -> list[Sample]:
    """``count`` samples of different content, one subject each."""
    return [sphere_sample(f"s{index:03d}/0", size, seed=index, **changes) for index in range(count)]
