"""Vertex normals of triangle meshes.

Each face adds its unit normal to its three vertices, weighted by its angle at the vertex (Thürmer and
Wüthrich 1998): unlike area weights this does not depend on how a flat part is cut into triangles. Normals belong to
positions, so a seam in the texture coordinates cannot crease them.
"""

from __future__ import annotations

from math import atan2, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import AVAILABLE, compiled

_FLAT = 1e-20
"""A face is degenerate when (2 area)^2 is below this share of (longest edge)^4: its normal is rounding noise."""


def vertex_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Angle-weighted unit normals of the vertices.

    vertices: (V, 3) positions.
    faces: (F, 3) position indices, counter-clockwise seen from outside.
    Returns (V, 3) float64 unit vectors in the frame of the vertices; zero where no face with an area
    meets the vertex, or where its faces cancel.

    >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    >>> vertex_normals(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32))[0]
    array([0., 0., 1.])
    """
    vertices = np.ascontiguousarray(vertices, np.float64)
    faces = np.ascontiguousarray(faces, np.int32)
    return _accumulate(vertices, faces) if AVAILABLE else _accumulate_numpy(vertices, faces)


@compiled
def _accumulate(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    normals = np.zeros((len(vertices), 3))
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        square = nx * nx + ny * ny + nz * nz
        uu, vv, uv = ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, ux * vx + uy * vy + uz * vz
        longest = max(uu, vv, uu + vv - 2 * uv)
        if not square > _FLAT * longest * longest:
            continue
        double_area = sqrt(square)
        nx, ny, nz = nx / double_area, ny / double_area, nz / double_area
        at_a, at_b = atan2(double_area, uv), atan2(double_area, uu - uv)
        at_c = pi - at_a - at_b  # no angle is below 1e-10 here
        normals[a, 0] += at_a * nx
        normals[a, 1] += at_a * ny
        normals[a, 2] += at_a * nz
        normals[b, 0] += at_b * nx
        normals[b, 1] += at_b * ny
        normals[b, 2] += at_b * nz
        normals[c, 0] += at_c * nx
        normals[c, 1] += at_c * ny
        normals[c, 2] += at_c * nz
    for vertex in range(len(normals)):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        length = sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[vertex, 0] = x / length
            normals[vertex, 1] = y / length
            normals[vertex, 2] = z / length
    return normals


def _accumulate_numpy(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    u, v = (vertices[faces[:, corner]] - vertices[faces[:, 0]] for corner in (1, 2))
    normal = np.cross(u, v)
    square = (normal * normal).sum(1)
    uu, vv, uv = (u * u).sum(1), (v * v).sum(1), (u * v).sum(1)
    longest = np.maximum(np.maximum(uu, vv), uu + vv - 2 * uv)
    kept = square > _FLAT * longest * longest
    double_area = np.sqrt(square[kept])
    unit = normal[kept] / double_area[:, None]
    normals = np.zeros((len(vertices), 3))
    for corner, adjacent in enumerate((uv, uu - uv, vv - uv)):
        weighted = np.arctan2(double_area, adjacent[kept])[:, None] * unit
        index = faces[kept, corner]
        for axis in range(3):
            normals[:, axis] += np.bincount(index, weighted[:, axis], minlength=len(vertices))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.where(length > 0, length, 1.0)
    return normals
