"""Ray casting with Intel Embree: an independent check of the rasteriser (extra ``embree``).

Embree calculates in float32, so the scan is moved to the origin first and rays start just before it. Always robust
mode: without it rays slip through shared edges and report the far side of the head, up to 156 degrees off.
Exact maps come from the triangle index in ``shade``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.errors import MissingDependencyError
from fnbench.render.raster import NEAR
from fnbench.types import Scan, Visibility


class Embree:
    """Embree renderer; keeps the search tree of the scan it saw last."""

    name = "embree"

    def __init__(self) -> None:
        try:
            import embreex.mesh_construction
            import embreex.rtcore_scene
        except ImportError as error:
            raise MissingDependencyError(
                f"The embree renderer needs embreex, which cannot be imported ({error}). "
                "Install it with: pip install 'fnbench[embree]'"
            ) from error
        self._embreex = embreex
        self._scan: Scan | None = None
        self._scene: Any = None
        self._centre = np.zeros(3)
        self._radius = 0.0

    def visibility(self, scan: Scan, camera: Camera) -> Visibility:
        """Index of the triangle that each pixel centre sees: (camera.height, camera.width), -1 = nothing."""
        if scan is not self._scan:
            self._load(scan)
        start = max(NEAR, float(-camera.to_camera(self._centre[None])[0, 2]) - self._radius * _scale(camera))
        origins, directions = _rays(camera, start)
        hits = self._scene.run((origins - self._centre).astype(np.float32), directions.astype(np.float32))
        return Visibility(np.asarray(hits, np.int32).reshape(camera.height, camera.width))

    def _load(self, scan: Scan) -> None:
        self._centre = (scan.vertices.min(0) + scan.vertices.max(0)) / 2
        vertices = np.asarray(scan.vertices - self._centre, np.float32)
        self._radius = float(np.linalg.norm(vertices, axis=1).max())
        self._scene = self._embreex.rtcore_scene.EmbreeScene(robust=True)
        self._embreex.mesh_construction.TriangleMesh(self._scene, vertices, np.ascontiguousarray(scan.faces, np.int32))
        self._scan = scan


def _scale(camera: Camera) -> float:
    """Camera millimetres per world unit."""
    return float(np.cbrt(np.linalg.det(camera.world_to_camera[:3, :3])))


def _rays(camera: Camera, start: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World origins and directions (height * width, 3) of the rays through the pixel centres, row by row.

    start: depth in millimetres at which the rays begin.
    """
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    v = (rows.ravel() - camera.K[1, 2]) / camera.K[1, 1]
    u = (columns.ravel() - camera.K[0, 2] - camera.K[0, 1] * v) / camera.K[0, 0]
    plane = np.stack([u, -v, np.zeros_like(u)], axis=1)
    forward = np.array([0.0, 0.0, -1.0])
    directions = np.broadcast_to(forward, plane.shape) if camera.orthographic else plane + forward
    origins = start * forward + (plane if camera.orthographic else start * plane)
    to_world = np.linalg.inv(camera.world_to_camera[:3, :3])
    return (origins - camera.world_to_camera[:3, 3]) @ to_world.T, directions @ to_world.T
