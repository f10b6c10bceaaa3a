"""The default renderer: which triangle does each pixel centre see, in float64, without any system library.

Rules
-----
Pixel centres lie at integer + 0.5. A pixel belongs to a triangle when its centre lies inside or on an edge. Each
triangle's vertices are sorted by their position on the screen, so an edge is evaluated from the same end,
with the same bits, by all triangles that share it, also where a file repeats the vertex: neighbours
never leave a crack between them. The nearest triangle wins; at exactly equal depth the lower index.
Back faces are drawn like front faces. Triangles without area on the screen are not drawn. Nothing nearer than ``NEAR``
is seen; triangles that reach behind a perspective camera are cut there exactly, in homogeneous coordinates.

The depth key is 1 / depth (perspective) or -depth (orthographic): linear on the screen, greater is nearer.

``Raster`` and ``RasterNumpy`` run the same operations in the same order and give the same indices bit for bit.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.compiled import AVAILABLE, compiled
from fnbench.errors import MissingDependencyError
from fnbench.types import Scan, Visibility

NEAR = 1e-3
"""Least visible depth in millimetres."""


class Raster:
    """Compiled z-buffer rasteriser.

    Its buffers are kept from call to call, so an instance serves one thread at a time; make one per thread.
    """

    name = "raster"

    def __init__(self) -> None:
        if not AVAILABLE:
            raise MissingDependencyError(
                "The raster renderer needs numba, which cannot be imported here. "
                "Install numba, or use the numpy renderer: same result, some 25 times slower."
            )
        self._screen = np.empty((0, 3))
        self._keys = np.empty(0)

    def visibility(self, scan: Scan, camera: Camera) -> Visibility:
        """Index of the triangle that each pixel centre sees.

        scan: positions in millimetres, in the frame that ``camera.world_to_camera`` starts from.
        Returns (camera.height, camera.width) indices, -1 = nothing.
        """
        vertices = np.ascontiguousarray(scan.vertices, np.float64)
        faces = np.ascontiguousarray(scan.faces, np.int32)
        if len(self._screen) < len(vertices):
            self._screen = np.empty((len(vertices), 3))
        if len(self._keys) < camera.width * camera.height:
            self._keys = np.empty(camera.width * camera.height)
        lens = lens_of(camera)
        seen = np.empty((camera.height, camera.width), np.int32)
        _project(vertices, lens, camera.orthographic, self._screen)
        _draw(faces, vertices, self._screen, lens, camera.orthographic, self._keys, seen)
        return Visibility(seen)


def lens_of(camera: Camera) -> NDArray[np.float64]:
    """(17,) numbers of a camera for the loops: world_to_camera row by row (12), then fx, skew, cx, fy, cy."""
    K = camera.K
    intrinsics = [K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2]]
    return np.concatenate([np.asarray(camera.world_to_camera[:3], np.float64).ravel(), intrinsics])


def key_range(orthographic: bool) -> tuple[float, float]:
    """Open interval of the depth keys of what lies before the camera."""
    return (-np.inf, -NEAR) if orthographic else (0.0, 1 / NEAR)


Pixels = TypeVar("Pixels", float, NDArray[np.float64])
"""One pixel in the compiled path, many at once in the plain one."""

Corner = tuple[float, float, float, float, float, bool]
"""A vertex as pixel x * depth, pixel y * depth, depth (finite everywhere), pixel x, pixel y, and whether it lies before
the camera, where alone the pixel means something."""


@compiled
def corner_of(point: NDArray[np.float64], pixel: NDArray[np.float64], lens: NDArray[np.float64]) -> Corner:
    """A vertex (3,) with its row (3,) of the projected vertices."""
    m = lens
    x = ((m[0] * point[0] + m[1] * point[1]) + m[2] * point[2]) + m[3]
    y = ((m[4] * point[0] + m[5] * point[1]) + m[6] * point[2]) + m[7]
    depth = -(((m[8] * point[0] + m[9] * point[1]) + m[10] * point[2]) + m[11])
    u, v = (m[12] * x - m[13] * y) + m[14] * depth, m[16] * depth - m[15] * y
    return u, v, depth, pixel[0], pixel[1], 0.0 < pixel[2] < 1.0 / NEAR


@compiled
def side(px: Pixels, py: Pixels, a: Corner, b: Corner) -> Pixels:
    """Side of the pixel on the edge a b, with the same bits for all triangles that share the edge.

    Where both ends lie before the camera this is the value that ``_draw`` finds for whole triangles.
    """
    if a[5] and b[5]:
        if b[3] < a[3] or (b[3] == a[3] and b[4] < a[4]):
            return -((a[3] - b[3]) * (py - b[4]) - (a[4] - b[4]) * (px - b[3]))
        return (b[3] - a[3]) * (py - a[4]) - (b[4] - a[4]) * (px - a[3])
    if (b[0], b[1], b[2]) < (a[0], a[1], a[2]):
        return -((b[0] - px * b[2]) * (a[1] - py * a[2]) - (b[1] - py * b[2]) * (a[0] - px * a[2]))
    return (a[0] - px * a[2]) * (b[1] - py * b[2]) - (a[1] - py * a[2]) * (b[0] - px * b[2])


@compiled
def volume(a: Corner, b: Corner, c: Corner) -> float:
    """Six times the signed volume of the tetrahedron eye, a, b, c in homogeneous pixels."""
    return a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])


@compiled
def inverse_depth(px: Pixels, py: Pixels, a: Corner, b: Corner, c: Corner, six_volumes: float) -> Pixels:
    """1 / depth of the plane a b c at a pixel."""
    au, av = a[0] - px * a[2], a[1] - py * a[2]
    bu, bv = b[0] - px * b[2], b[1] - py * b[2]
    cu, cv = c[0] - px * c[2], c[1] - py * c[2]
    return (((au * bv - av * bu) + (bu * cv - bv * cu)) + (cu * av - cv * au)) / six_volumes


@compiled
def reach(a: Corner, b: Corner, c: Corner, width: int, height: int) -> tuple[int, int, int, int]:
    """First and last column, first and last row that the part before the camera can touch, one pixel wider."""
    left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
    for p, q in ((a, b), (b, c), (c, a)):
        if p[5]:
            left, right, top, bottom = min(left, p[3]), max(right, p[3]), min(top, p[4]), max(bottom, p[4])
        if p[5] != q[5]:
            share = (NEAR - p[2]) / (q[2] - p[2])
            x, y = (p[0] + share * (q[0] - p[0])) / NEAR, (p[1] + share * (q[1] - p[1])) / NEAR
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    return (
        int(min(max(left - 1.5, 0.0), width)),
        int(max(min(right + 0.5, width - 1.0), -1.0)),
        int(min(max(top - 1.5, 0.0), height)),
        int(max(min(bottom + 0.5, height - 1.0), -1.0)),
    )


@compiled
def ordered(a: Corner, b: Corner, c: Corner) -> tuple[Corner, Corner, Corner]:
    """The corners in an order that does not depend on how the file lists them."""
    if (b[0], b[1], b[2]) < (a[0], a[1], a[2]):
        a, b = b, a
    if (c[0], c[1], c[2]) < (b[0], b[1], b[2]):
        b, c = c, b
    if (b[0], b[1], b[2]) < (a[0], a[1], a[2]):
        a, b = b, a
    return a, b, c


@compiled
def _draw_crossing(
    face: int,
    corners: NDArray[np.int32],
    vertices: NDArray[np.float64],
    screen: NDArray[np.float64],
    lens: NDArray[np.float64],
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
) -> None:
    """Draw a triangle that reaches behind a perspective camera."""
    a, b, c = ordered(
        corner_of(vertices[corners[0]], screen[corners[0]], lens),
        corner_of(vertices[corners[1]], screen[corners[1]], lens),
        corner_of(vertices[corners[2]], screen[corners[2]], lens),
    )
    height, width = seen.shape
    six_volumes = volume(a, b, c)
    if six_volumes == 0.0 or not (a[5] or b[5] or c[5]):
        return
    left, right, top, bottom = reach(a, b, c, width, height)
    sign = 1.0 if six_volumes > 0.0 else -1.0
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            px, py = column + 0.5, row + 0.5
            if (
                sign * side(px, py, a, b) >= 0.0
                and sign * side(px, py, b, c) >= 0.0
                and sign * side(px, py, c, a) >= 0.0
            ):
                key = inverse_depth(px, py, a, b, c, six_volumes)
                if 0.0 < key < 1.0 / NEAR and key > keys[row * width + column]:
                    keys[row * width + column] = key
                    seen[row, column] = face


@compiled
def _project(
    vertices: NDArray[np.float64], lens: NDArray[np.float64], orthographic: bool, screen: NDArray[np.float64]
) -> None:
    """Pixel x, y and depth key of each vertex into ``screen``; x and y mean nothing behind a perspective camera."""
    m = lens
    for i in range(len(vertices)):
        wx, wy, wz = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x = ((m[0] * wx + m[1] * wy) + m[2] * wz) + m[3]
        y = ((m[4] * wx + m[5] * wy) + m[6] * wz) + m[7]
        key = ((m[8] * wx + m[9] * wy) + m[10] * wz) + m[11]
        if not orthographic:
            key = 1.0 / -key
            x = x * key
            y = y * key
        screen[i, 0] = (m[12] * x - m[13] * y) + m[14]
        screen[i, 1] = m[16] - m[15] * y
        screen[i, 2] = key


@compiled
def _draw(
    faces: NDArray[np.int32],
    vertices: NDArray[np.float64],
    screen: NDArray[np.float64],
    lens: NDArray[np.float64],
    orthographic: bool,
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
) -> None:
    height, width = seen.shape
    keys[: width * height] = -np.inf
    seen[:] = -1
    lowest, highest = (-np.inf, -NEAR) if orthographic else (0.0, 1.0 / NEAR)
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ak, bk, ck = screen[a, 2], screen[b, 2], screen[c, 2]
        least, most = min(ak, bk, ck), max(ak, bk, ck)
        if not (least > lowest and most < highest):
            if orthographic:
                if least >= highest:
                    continue
            else:
                _draw_crossing(face, faces[face], vertices, screen, lens, keys, seen)
                continue
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        left, right = max(ceil(min(ax, bx, cx) - 0.5), 0.0), min(floor(max(ax, bx, cx) - 0.5), width - 1.0)
        top, bottom = max(ceil(min(ay, by, cy) - 0.5), 0.0), min(floor(max(ay, by, cy) - 0.5), height - 1.0)
        if left > right or top > bottom:
            continue
        if bx < ax or (bx == ax and by < ay):
            ax, ay, ak, bx, by, bk = bx, by, bk, ax, ay, ak
        if cx < bx or (cx == bx and cy < by):
            bx, by, bk, cx, cy, ck = cx, cy, ck, bx, by, bk
            if bx < ax or (bx == ax and by < ay):
                ax, ay, ak, bx, by, bk = bx, by, bk, ax, ay, ak
        abx, aby, acx, acy, bcx, bcy = bx - ax, by - ay, cx - ax, cy - ay, cx - bx, cy - by
        area = abx * acy - aby * acx
        if area == 0.0:
            continue
        abk, ack = bk - ak, ck - ak
        slope_x, slope_y = (abk * acy - ack * aby) / area, (ack * abx - abk * acx) / area
        if area < 0.0:
            abx, aby, acx, acy, bcx, bcy = -abx, -aby, -acx, -acy, -bcx, -bcy
        for row in range(int(top), int(bottom) + 1):
            pay, pby = row + 0.5 - ay, row + 0.5 - by
            ab_row, ac_row, bc_row, key_row = abx * pay, acx * pay, bcx * pby, ak + slope_y * pay
            for column in range(int(left), int(right) + 1):
                pax, pbx = column + 0.5 - ax, column + 0.5 - bx
                if ab_row - aby * pax >= 0.0 and bc_row - bcy * pbx >= 0.0 and ac_row - acy * pax <= 0.0:
                    key = min(max(key_row + slope_x * pax, least), most)
                    if key > keys[row * width + column] and key < highest:
                        keys[row * width + column] = key
                        seen[row, column] = face
