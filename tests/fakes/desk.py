"""What somebody has on the desk who follows the guide for photographs: photographs, a mesh, a camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fnbench.camera import Camera, camera_from_json
from fnbench.scans.write import write_scan
from fnbench.types import Scan

FACE = (225, 134, 56)
"""Middle and half the side of the square around the face of scikit-image's portrait, in pixels."""


def write(folder: Path, camera: str) -> None:
    """Write ``photo.jpg``, ``holiday/beach.jpg``, ``camera.json`` (this text) and ``coarse.obj``."""
    from skimage.data import astronaut

    (folder / "holiday").mkdir()
    for path in (folder / "photo.jpg", folder / "holiday" / "beach.jpg"):
        Image.fromarray(astronaut()).save(path, quality=95)
    (folder / "camera.json").write_text(camera)
    write_scan(folder / "coarse.obj", bulge(camera_from_json(camera, "guide").camera(512, 512)))


def bulge(camera: Camera) -> Scan:
    """A bulge that covers the face of the portrait, in the world's origin before a frontal camera at one metre."""
    x, y, half = FACE
    grid = np.linspace(-1, 1, 20)
    u, v = (values.ravel() for values in np.meshgrid(grid, grid))
    per_pixel = 1000 / camera.K[0, 0]
    right, up = (x - camera.K[0, 2] + half * u) * per_pixel, (camera.K[1, 2] - y - half * v) * per_pixel
    vertices = np.stack([right, up, 12 * np.sqrt(1 - 0.45 * (u * u + v * v))], axis=-1)
    cell = np.arange(400).reshape(20, 20)
    a, b, c, d = (part.ravel() for part in (cell[:-1, :-1], cell[:-1, 1:], cell[1:, :-1], cell[1:, 1:]))
    return Scan(vertices, np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).astype(np.int32))
