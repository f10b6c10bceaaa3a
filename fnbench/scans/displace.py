"""Detail on a template: triangles split until a displacement map can move them along the normals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan


def subdivided(scan: Scan) -> Scan:
    """Every triangle split in four at the middles of its edges; positions and texture coordinates alike.

    The surface does not change. Region labels and colours are dropped: new vertices have none of their own.
    """
    vertices, faces = _split(scan.vertices, scan.faces)
    if scan.uv is None or scan.uv_faces is None:
        return replace(scan, vertices=vertices, faces=faces, colors=None, labels=None)
    uv, uv_faces = _split(scan.uv, scan.uv_faces)
    return replace(scan, vertices=vertices, faces=faces, uv=uv, uv_faces=uv_faces, colors=None, labels=None)


def displaced(scan: Scan, heights: NDArray[np.floating]) -> Scan:
    """A scan whose vertices are moved along their normals by a map in its texture space.

    heights: (h, w) millimetres outwards, first row at v = 1; sampled bilinearly. A vertex with several texture
        coordinates (a seam) moves by their mean, so that the surface stays closed.
    Raises ValueError when the scan has no texture coordinates.
    """
    if scan.uv is None or scan.uv_faces is None:
        raise ValueError("a displacement map needs texture coordinates")
    corners = _sampled(heights, scan.uv[scan.uv_faces.ravel()])
    total = np.bincount(scan.faces.ravel(), corners, len(scan.vertices))
    count = np.bincount(scan.faces.ravel(), minlength=len(scan.vertices))
    move = total / np.maximum(count, 1)
    normals = vertex_normals(scan.vertices, scan.faces)
    return replace(scan, vertices=scan.vertices + move[:, None] * normals)


def _split(points: NDArray[np.float64], faces: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1).astype(np.int64)
    unique, inverse = np.unique(edges[:, 0] * len(points) + edges[:, 1], return_inverse=True)
    first, second = np.divmod(unique, len(points))
    middles = (points[first] + points[second]) / 2
    ab, bc, ca = (inverse.reshape(-1, 3) + len(points)).T
    a, b, c = faces.T
    new = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], 1).reshape(-1, 3)
    return np.concatenate([points, middles]), new.astype(np.int32)


def _sampled(heights: NDArray[np.floating], uv: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import map_coordinates

    rows = (1 - uv[:, 1]) * heights.shape[0] - 0.5
    columns = uv[:, 0] * heights.shape[1] - 0.5
    found = map_coordinates(np.asarray(heights, np.float64), [rows, columns], order=1, mode="nearest")
    return np.asarray(found, np.float64)
