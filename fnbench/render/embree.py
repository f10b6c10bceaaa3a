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
        hits = self._scene.run(*_rays(camera, start, self._centre))
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


def _rays(camera: Camera, start: float, centre: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Origins and directions (height * width, 3) of the rays through the pixel centres, row by row.

    start: depth in millimetres at which the rays begin.  centre: world position that the origins are relative to.
    """
    K, to_world = camera.K, np.linalg.inv(camera.world_to_camera[:3, :3])
    v = (np.arange(camera.height) + 0.5 - K[1, 2]) / K[1, 1]
    u = (np.arange(camera.width) + 0.5 - K[0, 2]) / K[0, 0]
    right, up, forward = to_world[:, 0], to_world[:, 1], -to_world[:, 2]
    # A point of the plane at depth 1 is a sum of a part of its column and a part of its row, skew included.
    of_column, of_row = u[:, None] * right, v[:, None] * (-up - K[0, 1] / K[0, 0] * right)
    first = start * forward - to_world @ camera.world_to_camera[:3, 3] - centre
    if camera.orthographic:
        return _outer_sum(of_column, of_row + first), _outer_sum(0 * of_column, 0 * of_row + forward)
    return _outer_sum(start * of_column, start * of_row + first), _outer_sum(of_column, of_row + forward)


def _outer_sum(of_column: NDArray[np.float64], of_row: NDArray[np.float64]) -> NDArray[np.float32]:
    """(rows * columns, 3) sums of every (columns, 3) with every (rows, 3) vector, rounded once."""
    total = np.empty((len(of_row), len(of_column), 3), np.float32)
    for axis in range(3):  # long inner loops: five times faster than adding triples
        np.add(of_column[:, axis], of_row[:, axis, None], out=total[..., axis], casting="same_kind")
    return total.reshape(-1, 3)
