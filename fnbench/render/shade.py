"""From triangle indices to exact maps: the one step that all renderers share.

Each pixel centre's ray is cut with the plane of its triangle in float64, whatever precision the renderer had; the
barycentric weights are those on the surface, not on the screen, so they are correct under perspective. Normals,
depth and texture coordinates follow from them.

A back face that is visible (an open scan seen from behind) carries its interpolated normal like any other and
has ``facing`` False; leaving it out of a mask is the pipeline's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.compiled import AVAILABLE, compiled
from fnbench.render.raster import in_camera, lens_of
from fnbench.types import UNIT_TOLERANCE, Scan, Visibility

_VANISHED = 1e-9
"""An interpolated normal shorter than this has no direction."""
_NOTHING = 1e-300
"""A triangle smaller than this on the screen has no inside; dividing by less would overflow."""
_SLACK = 0.1
"""How far a weight may fall below zero in normals and depth: a renderer of less precision names the triangle beside the
pixel now and then, and its plane, continued, is closer to the truth than its edge, unless it is very thin."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMaps:
    """What the camera sees at each pixel centre.

    normals: (H, W, 3) float32 unit vectors, canonical frame, zero outside.
    depth: (H, W) float32 millimetres along the optical axis, NaN outside.
    weights: (H, W, 3) float32 barycentric weights of the triangle's vertices on the surface, zero outside.
    uv: (H, W, 2) float32 texture coordinates, v upwards, NaN outside; None when the scan has none.
    facing: (H, W) bool, True where the triangle's front side is visible.
    mask: (H, W) bool, True where a triangle is visible.
    """

    normals: NDArray[np.float32]
    depth: NDArray[np.float32]
    weights: NDArray[np.float32]
    uv: NDArray[np.float32] | None
    facing: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = self.mask.shape
        fits = (
            self.normals.shape == (*shape, 3)
            and self.weights.shape == (*shape, 3)
            and self.depth.shape == shape
            and self.facing.shape == shape
            and (self.uv is None or self.uv.shape == (*shape, 2))
        )
        if not fits:
            raise ValueError(f"surface maps do not fit the mask of shape {shape}")
        off = _off_unit(np.ascontiguousarray(self.normals, np.float32), self.mask) if AVAILABLE else self._off_unit()
        if off:
            raise ValueError(f"{off} of {int(self.mask.sum())} visible normals are not unit length")

    def _off_unit(self) -> int:
        length = np.linalg.norm(self.normals[self.mask], axis=-1)
        return int(np.count_nonzero(~(np.abs(length - 1) <= UNIT_TOLERANCE)))


def surface_maps(
    scan: Scan, vertex_normals: NDArray[np.float64], camera: Camera, visibility: Visibility
) -> SurfaceMaps:
    """Normals, depth, weights and texture coordinates at every pixel centre.

    scan, camera: as given to the renderer that made ``visibility``.
    vertex_normals: (V, 3) in the frame of the scan. Where the interpolated normal vanishes, the pixel
        takes the normal of its triangle.
    """
    shape = (camera.height, camera.width)
    if visibility.faces.shape != shape:
        raise ValueError(f"visibility {visibility.faces.shape} does not fit the camera {shape}")
    if len(vertex_normals) != len(scan.vertices):
        raise ValueError(f"{len(vertex_normals)} normals for {len(scan.vertices)} vertices")
    arrays = (
        np.ascontiguousarray(scan.vertices, np.float64),
        np.ascontiguousarray(scan.faces, np.int32),
        np.ascontiguousarray(vertex_normals, np.float64),
        np.ascontiguousarray(scan.uv if scan.uv is not None else np.empty((0, 2)), np.float64),
        np.ascontiguousarray(scan.uv_faces if scan.uv_faces is not None else np.empty((0, 3)), np.int32),
        np.concatenate([lens_of(camera), np.asarray(camera.rotation, np.float64).ravel()]),
        camera.orthographic,
        np.ascontiguousarray(visibility.faces),
    )
    normals, depth, weights, uv, facing, mask = _shade(*arrays) if AVAILABLE else _shade_numpy(*arrays)
    return SurfaceMaps(normals, depth, weights, uv if scan.uv is not None else None, facing, mask)


_Maps = tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.bool_],
    NDArray[np.bool_],
]


_TOGETHER = 128
"""Pixels that are shaded together, by a loop without a branch that vector instructions do."""
_PX, _PY, _A, _B, _C, _NA, _NB, _NC = (np.uintp(row * _TOGETHER) for row in (0, 1, 2, 5, 8, 11, 14, 17))
"""Where they begin in ``work``: pixel centres, corners and vertex normals (three rows each)."""
_NORMAL, _WEIGHT, _DEPTH, _TOTAL = (np.uintp(row * _TOGETHER) for row in (2, 5, 8, 9))
"""What replaces the corners there; the total says which side is seen, and is 0 where nothing is known."""
_Y, _Z = np.uintp(_TOGETHER), np.uintp(2 * _TOGETHER)
"""From the first row of a vector to the others."""


@compiled
def _shade(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    vertex_normals: NDArray[np.float64],
    uv: NDArray[np.float64],
    uv_faces: NDArray[np.int32],
    m: NDArray[np.float64],
    orthographic: bool,
    seen: NDArray[np.int32],
) -> _Maps:
    """The maps, a stretch of a row at a time. m: (26,) ``lens_of`` of the camera, then its rotation row by row."""
    height, width = seen.shape
    normals, depth = np.zeros((height, width, 3), np.float32), np.full((height, width), np.nan, np.float32)
    weights, facing = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.bool_)
    mask = np.zeros((height, width), np.bool_)
    textured = len(uv) > 0
    texture = np.full((height, width, 2) if textured else (0, 0, 2), np.nan, np.float32)
    work, columns = np.empty(20 * _TOGETHER), np.empty(_TOGETHER, np.int32)
    for row in range(height):
        start = 0
        while start < width:
            start, count = _gather(vertices, faces, vertex_normals, seen, row, start, columns, work)
            _interpolate(count, m, orthographic, work)
            for n in range(count):
                column, i = columns[n], np.uintp(n)
                total = work[_TOTAL + i]
                if total == 0.0:
                    continue
                mask[row, column] = True
                facing[row, column] = total < 0.0  # the area; rows run downwards, so that of a front face is negative
                depth[row, column] = work[_DEPTH + i]
                normals[row, column, 0] = work[_NORMAL + i]
                normals[row, column, 1] = work[_NORMAL + _Y + i]
                normals[row, column, 2] = work[_NORMAL + _Z + i]
                a, b, c = work[_WEIGHT + i], work[_WEIGHT + _Y + i], work[_WEIGHT + _Z + i]
                weights[row, column, 0] = a
                weights[row, column, 1] = b
                weights[row, column, 2] = c
                if textured:
                    face = seen[row, column]
                    p, q, r = uv_faces[face, 0], uv_faces[face, 1], uv_faces[face, 2]
                    texture[row, column, 0] = (a * uv[p, 0] + b * uv[q, 0]) + c * uv[r, 0]
                    texture[row, column, 1] = (a * uv[p, 1] + b * uv[q, 1]) + c * uv[r, 1]
    return normals, depth, weights, texture, facing, mask


@compiled
def _gather(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    vertex_normals: NDArray[np.float64],
    seen: NDArray[np.int32],
    row: int,
    start: int,
    columns: NDArray[np.int32],
    work: NDArray[np.float64],
) -> tuple[int, int]:
    """The next pixels of a row that show something, with their corners: where it goes on, and how many they are."""
    found = np.uintp(0)
    while start < seen.shape[1] and found < np.uintp(_TOGETHER):
        face = seen[row, start]
        if face >= 0:
            columns[found] = start
            work[_PX + found] = start + 0.5
            work[_PY + found] = row + 0.5
            corners = np.uintp(faces[face, 0]), np.uintp(faces[face, 1]), np.uintp(faces[face, 2])
            for axis in range(3):
                place = np.uintp(axis * _TOGETHER) + found
                work[_A + place] = vertices[corners[0], axis]
                work[_B + place] = vertices[corners[1], axis]
                work[_C + place] = vertices[corners[2], axis]
                work[_NA + place] = vertex_normals[corners[0], axis]
                work[_NB + place] = vertex_normals[corners[1], axis]
                work[_NC + place] = vertex_normals[corners[2], axis]
            found += np.uintp(1)
        start += 1
    return start, int(found)


@compiled
def _corner(
    wx: float, wy: float, wz: float, m: NDArray[np.float64], orthographic: bool
) -> tuple[float, float, float, float]:
    """A vertex as pixel x * w, pixel y * w, w and depth, where w is the depth, or 1 without perspective."""
    x, y, depth = in_camera(wx, wy, wz, m)
    w = 1.0 if orthographic else depth
    return (m[12] * x - m[13] * y) + m[14] * w, m[16] * w - m[15] * y, w, depth


@compiled
def _interpolate(count: int, m: NDArray[np.float64], orthographic: bool, work: NDArray[np.float64]) -> None:
    """Normal, weights, depth and total of some pixels from what was gathered for them."""
    for i in range(np.uintp(count)):
        ax, ay, az = work[_A + i], work[_A + _Y + i], work[_A + _Z + i]
        bx, by, bz = work[_B + i], work[_B + _Y + i], work[_B + _Z + i]
        cx, cy, cz = work[_C + i], work[_C + _Y + i], work[_C + _Z + i]
        au, av, aw, a_depth = _corner(ax, ay, az, m, orthographic)
        bu, bv, bw, b_depth = _corner(bx, by, bz, m, orthographic)
        cu, cv, cw, c_depth = _corner(cx, cy, cz, m, orthographic)
        # Seen from the pixel, so that the products below are small and lose nothing.
        px, py = work[_PX + i], work[_PY + i]
        au, av, bu, bv, cu, cv = au - px * aw, av - py * aw, bu - px * bw, bv - py * bw, cu - px * cw, cv - py * cw
        a, b, c = bu * cv - bv * cu, cu * av - cv * au, au * bv - av * bu
        total = (a + b) + c
        share = 1.0 / total
        a, b, c = a * share, b * share, c * share
        least = min(min(a, b), c)
        a, b, c = _at_least(-_SLACK, least, a, b, c)
        nx = (a * work[_NA + i] + b * work[_NB + i]) + c * work[_NC + i]
        ny = (a * work[_NA + _Y + i] + b * work[_NB + _Y + i]) + c * work[_NC + _Y + i]
        nz = (a * work[_NA + _Z + i] + b * work[_NB + _Z + i]) + c * work[_NC + _Z + i]
        vanished = not sqrt((nx * nx + ny * ny) + nz * nz) > _VANISHED
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx = uy * vz - uz * vy if vanished else nx
        ny = uz * vx - ux * vz if vanished else ny
        nz = ux * vy - uy * vx if vanished else nz
        length = sqrt((nx * nx + ny * ny) + nz * nz)
        share = 1.0 / length
        nx, ny, nz = nx * share, ny * share, nz * share
        work[_NORMAL + i] = (m[17] * nx + m[18] * ny) + m[19] * nz
        work[_NORMAL + _Y + i] = (m[20] * nx + m[21] * ny) + m[22] * nz
        work[_NORMAL + _Z + i] = (m[23] * nx + m[24] * ny) + m[25] * nz
        work[_DEPTH + i] = (a * a_depth + b * b_depth) + c * c_depth
        work[_TOTAL + i] = total if (abs(total) > _NOTHING) & (length != 0.0) else 0.0
        a, b, c = _at_least(0.0, least, a, b, c)
        work[_WEIGHT + i] = a
        work[_WEIGHT + _Y + i] = b
        work[_WEIGHT + _Z + i] = c


@compiled
def _at_least(lowest: float, least: float, a: float, b: float, c: float) -> tuple[float, float, float]:
    """Weights of which none is below a bound, as they are where the least of them is not."""
    x, y, z = max(a, lowest), max(b, lowest), max(c, lowest)
    share = 1.0 / ((x + y) + z)
    below = least < lowest
    return x * share if below else a, y * share if below else b, z * share if below else c


def _shade_numpy(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    vertex_normals: NDArray[np.float64],
    uv: NDArray[np.float64],
    uv_faces: NDArray[np.int32],
    m: NDArray[np.float64],
    orthographic: bool,
    seen: NDArray[np.int32],
) -> _Maps:
    """The same step without numba."""
    row, column = np.nonzero(seen >= 0)
    face = seen[row, column]
    corners = vertices[faces[face]]  # (P, 3, 3)
    camera = corners @ m[:12].reshape(3, 4)[:, :3].T + m[[3, 7, 11]]
    corner_depth = -camera[..., 2]
    w = np.ones_like(corner_depth) if orthographic else corner_depth
    u = m[12] * camera[..., 0] - m[13] * camera[..., 1] + (m[14] - (column[:, None] + 0.5)) * w
    v = -m[15] * camera[..., 1] + (m[16] - (row[:, None] + 0.5)) * w
    after, before = [1, 2, 0], [2, 0, 1]
    opposite = u[:, after] * v[:, before] - v[:, after] * u[:, before]
    total = opposite.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.maximum(opposite / total, -_SLACK)
        weights /= weights.sum(1, keepdims=True)
        normal = np.einsum("pc,pcx->px", weights, vertex_normals[faces[face]])
        vanished = ~(np.linalg.norm(normal, axis=1) > _VANISHED)
        normal[vanished] = np.cross(
            corners[vanished, 1] - corners[vanished, 0], corners[vanished, 2] - corners[vanished, 0]
        )
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        normal = normal / length @ m[17:].reshape(3, 3).T
    known = (length[:, 0] > 0) & (np.abs(total[:, 0]) > _NOTHING)
    row, column, face, weights = row[known], column[known], face[known], weights[known]

    def spread(values: NDArray[np.floating], empty: float) -> NDArray[np.float32]:
        grid = np.full((*seen.shape, *values.shape[1:]), empty, np.float32)
        grid[row, column] = values
        return grid

    facing, mask = np.zeros(seen.shape, bool), np.zeros(seen.shape, bool)
    facing[row, column], mask[row, column] = total[known, 0] < 0, True
    depth = spread((weights * corner_depth[known]).sum(1), np.nan)
    weights = np.maximum(weights, 0.0)
    weights /= weights.sum(1, keepdims=True)
    texture = np.empty((0, 0, 2), np.float32)
    if len(uv):
        texture = spread(np.einsum("pc,pcx->px", weights, uv[uv_faces[face]]), np.nan)
    return spread(normal[known], 0.0), depth, spread(weights, 0.0), texture, facing, mask


@compiled
def _off_unit(normals: NDArray[np.float32], mask: NDArray[np.bool_]) -> int:
    """How many normals inside the mask are not of length 1."""
    off = 0
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if mask[row, column]:
                x, y, z = normals[row, column, 0], normals[row, column, 1], normals[row, column, 2]
                if not abs(sqrt(x * x + y * y + z * z) - 1.0) <= UNIT_TOLERANCE:
                    off += 1
    return off
