"""Meshes whose shape is known in closed form, and what a camera sees of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.types import Scan

Array = NDArray[np.float64]


def sphere(subdivisions: int, radius: float = 100.0) -> Scan:
    """An octahedron subdivided on the sphere: 8 * 4**subdivisions faces."""
    directions = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(subdivisions):
        edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middle = len(directions) + inverse.reshape(-1, 3)
        half = directions[unique].mean(1)
        directions = np.concatenate([directions, half / np.linalg.norm(half, axis=1, keepdims=True)])
        a, b, c, ab, bc, ca = *faces.T, *middle.T
        faces = np.concatenate([np.stack(t, -1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return Scan(radius * directions, faces.astype(np.int32), name=f"sphere of {len(faces)} faces")


def bumpy_head(triangles: int) -> Scan:
    """A closed head-sized surface with a nose, sockets, ears and bumps of two frequencies; faces in coherent order.

    triangles: roughly how many; the nearest number that a cube of square grids gives.
    """
    n = max(1, round(np.sqrt(triangles / 12)))
    directions, faces = cube_sphere(n)
    x, y, z = directions.T
    radius = 1 + 0.02 * np.sin(9 * x) * np.sin(8 * y) * np.sin(7 * z)
    radius += 0.004 * np.sin(47 * x + 1) * np.sin(53 * y) * np.sin(43 * z + 2)
    for (dx, dy, dz), height, width in (
        ((0, -0.1, 1), 0.22, 0.16),
        ((0.35, 0.2, 0.9), -0.07, 0.17),
        ((-0.35, 0.2, 0.9), -0.07, 0.17),
        ((1, 0, -0.1), 0.12, 0.14),
        ((-1, 0, -0.1), 0.12, 0.14),
    ):
        spot = np.array([dx, dy, dz]) / np.linalg.norm([dx, dy, dz])
        radius += height * np.exp((directions @ spot - 1) / width**2)
    vertices = directions * radius[:, None] * [78.0, 110.0, 95.0]
    return Scan(vertices, faces, name=f"bumpy head of {len(faces)} faces")


def shuffled(scan: Scan, seed: int = 0) -> Scan:
    """The same surface with faces and vertices in random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scan.vertices))
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return Scan(scan.vertices[order], place[scan.faces][rng.permutation(len(scan.faces))], name=f"shuffled {scan.name}")


def cube_sphere(n: int) -> tuple[Array, NDArray[np.int32]]:
    """Directions and faces of a cube of six n x n grids blown up to the unit sphere, without seams."""
    i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    grid = np.stack([2 * i - n, 2 * j - n, np.full_like(i, n)], -1).reshape(-1, 3)
    cell = np.arange((n + 1) * (n + 1)).reshape(n + 1, n + 1)
    a, b, c, d = cell[:-1, :-1], cell[1:, :-1], cell[:-1, 1:], cell[1:, 1:]
    pair = np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], 2).reshape(-1, 3)
    x, y, z = np.eye(3, dtype=int)
    sides = [np.stack(rows, 1) for rows in ((x, y, z), (-x, y, -z), (y, z, x), (-y, z, -x), (z, x, y), (-z, x, -y))]
    points = np.concatenate([grid @ side.T for side in sides])
    faces = np.concatenate([pair + k * len(grid) for k in range(6)])
    _, first, inverse = np.unique(points, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # vertices stay in the order in which the faces meet them
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    even = np.tan(np.pi / 4 * points[first[order]] / n)  # cells of about the same angle
    return even / np.linalg.norm(even, axis=1, keepdims=True), place[inverse.ravel()[faces]].astype(np.int32)


def degrees_between(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array:
    """Angle between vectors (..., 3) in degrees."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.asarray(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1))))


def back_project(view: Camera, depth: NDArray[np.floating]) -> Array:
    """(H, W, 3) points in camera coordinates of a depth map."""
    columns, rows = np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5)
    v = (rows - view.K[1, 2]) / view.K[1, 1]
    u = (columns - view.K[0, 2] - view.K[0, 1] * v) / view.K[0, 0]
    scale = 1.0 if view.orthographic else np.asarray(depth, np.float64)
    return np.stack([u * scale, -v * scale, -np.asarray(depth, np.float64)], axis=-1)


def sphere_seen(view: Camera, radius: float = 100.0) -> tuple[Array, Array]:
    """Normals (canonical, NaN outside) and depths of a sphere around the world's origin, in closed form."""
    one = back_project(view, np.ones((view.height, view.width)))
    forward = np.array([0.0, 0.0, -1.0])
    direction = np.broadcast_to(forward, one.shape) if view.orthographic else one
    origin = one - forward if view.orthographic else np.zeros_like(one)
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    centre = view.to_camera(np.zeros((1, 3)))[0]
    along = ((centre - origin) * direction).sum(-1)
    with np.errstate(invalid="ignore"):
        t = along - np.sqrt(radius**2 - ((centre - origin) ** 2).sum(-1) + along**2)
    hit = origin + t[..., None] * direction
    return (hit - centre) / radius, -hit[..., 2]
