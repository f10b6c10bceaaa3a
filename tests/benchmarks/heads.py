"""Heads of any number and fineness with a photograph each, for benchmarks: no light is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fnbench.camera import Camera, look_at
from fnbench.types import Capture, Photograph
from tests.meshes import bumpy_head


class Heads:
    """Bumpy heads that differ in size; landmarks are 68 points of the front."""

    name: ClassVar[str] = "heads"

    def __init__(self, captures: int, triangles: int) -> None:
        self.captures = captures
        self.triangles = triangles

    def capture_ids(self) -> Sequence[str]:
        return [f"h{number:05d}" for number in range(self.captures)]

    def load(self, capture_id: str) -> Capture:
        number = int(capture_id[1:])
        scan = bumpy_head(self.triangles)
        rng = np.random.default_rng(number)
        landmarks = np.column_stack([rng.uniform(-50, 50, 68), rng.uniform(-70, 50, 68), rng.uniform(70, 95, 68)])
        landmarks[[30, 36, 45]] = [0, -10, 110], [-45, 20, 70], [45, 20, 70]
        K = np.array([[2500.0, 0, 500], [0, 2500, 500], [0, 0, 1]])
        camera = Camera(K, look_at(np.zeros(3), 1500.0, yaw=20), 1000, 1000)
        small = rng.integers(0, 256, (125, 125, 3), np.uint8)
        image = np.ascontiguousarray(small.repeat(8, axis=0).repeat(8, axis=1))
        photographs = (Photograph(image, "right", camera),)
        return Capture(capture_id, capture_id, scan=scan, landmarks=landmarks, photographs=lambda: photographs)
