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

Order of work
-------------
The rules above hold whatever is drawn first, so speed alone decides. Triangles whose box holds no pixel centre are
left out, which takes whole numbers only. Those that turn their front to the camera come first: they hide nearly all
others of a closed surface. Of the rest those are drawn that nothing nearer hides in the whole of their box.

``Raster`` and ``RasterNumpy`` run the same operations in the same order and give the same indices bit for bit.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.compiled import AVAILABLE, compiled, inlined
from fnbench.errors import MissingDependencyError
from fnbench.types import Scan, Visibility

NEAR = 1e-3
"""Least visible depth in millimetres."""
_TOGETHER = 512
"""Triangles that are looked at together: their corners stay in the nearest cache from step to step."""


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
        self._screen, self._cells = np.empty((0, 3)), np.empty((0, 4), np.int32)
        self._boxes = np.empty((0, 5), np.int32)
        self._keys = np.empty(0)

    def visibility(self, scan: Scan, camera: Camera) -> Visibility:
        """Index of the triangle that each pixel centre sees.

        scan: positions in millimetres, in the frame that ``camera.world_to_camera`` starts from.
        Returns (camera.height, camera.width) indices, -1 = nothing.
        """
        vertices = np.ascontiguousarray(scan.vertices, np.float64)
        faces = np.ascontiguousarray(scan.faces, np.int32).view(np.uint32)  # unsigned: numba need not look for -1
        if len(self._screen) < len(vertices):
            self._screen, self._cells = np.empty((len(vertices), 3)), np.empty((len(vertices), 4), np.int32)
        if len(self._boxes) < len(faces):
            self._boxes = np.empty((len(faces), 5), np.int32)
        if len(self._keys) < camera.width * camera.height:
            self._keys = np.empty(camera.width * camera.height)
        lens, orthographic = lens_of(camera), camera.orthographic
        seen = np.empty((camera.height, camera.width), np.int32)
        _project(vertices, lens, orthographic, self._screen)
        _find_cells(self._screen, len(vertices), orthographic, camera.width, camera.height, self._cells)
        _draw(faces, vertices, self._screen, self._cells, lens, orthographic, self._boxes, self._keys, seen)
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
def _wins(key: float, face: int, held: float, holder: int) -> bool:
    """Whether a triangle takes a pixel from its holder (-1: nobody, and ``held`` means nothing).

    ``&`` and ``|`` where ``and`` and ``or`` would do, here and below: a jump that cannot be foreseen costs more.
    """
    return (holder < 0) | (key > held) | ((key == held) & (face < holder))


@compiled
def _draw_crossing(
    face: int,
    corners: NDArray[np.uint32],
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
                if 0.0 < key < 1.0 / NEAR and _wins(key, face, keys[row * width + column], seen[row, column]):
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
def _find_cells(
    screen: NDArray[np.float64], count: int, orthographic: bool, width: int, height: int, cells: NDArray[np.int32]
) -> None:
    """First pixel centre right of each vertex, last one left of it, first below, last above, within the image or just
    beyond it; the whole image for a vertex behind a perspective camera."""
    lowest, highest = (-np.inf, np.inf) if orthographic else (0.0, 1.0 / NEAR)
    right, bottom = width - 0.5, height - 0.5
    for i in range(count):
        x, y, key = screen[i, 0] - 0.5, screen[i, 1] - 0.5, screen[i, 2]
        x, y = x if x > -0.5 else -0.5, y if y > -0.5 else -0.5  # unlike min and max these take NaN too
        x, y = x if x < right else right, y if y < bottom else bottom
        before = (key > lowest) & (key < highest)
        cells[i, 0] = np.int32(np.ceil(x) if before else 0.0)
        cells[i, 1] = np.int32(np.floor(x) if before else width - 1.0)
        cells[i, 2] = np.int32(np.ceil(y) if before else 0.0)
        cells[i, 3] = np.int32(np.floor(y) if before else height - 1.0)


@compiled
def _draw(
    faces: NDArray[np.uint32],
    vertices: NDArray[np.float64],
    screen: NDArray[np.float64],
    cells: NDArray[np.int32],
    lens: NDArray[np.float64],
    orthographic: bool,
    boxes: NDArray[np.int32],
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
) -> None:
    seen[:] = -1
    flat, width = seen.reshape(-1), seen.shape[1]  # once: views of arrays are dear in a loop
    lowest, highest = (-np.inf, -NEAR) if orthographic else (0.0, 1.0 / NEAR)
    later = 0
    for start in range(0, len(faces), _TOGETHER):
        found = _find_boxes(faces, start, min(start + _TOGETHER, len(faces)), cells, boxes, later)
        for i in range(later, found):
            face = boxes[i, 0]
            a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
            ak, bk, ck = screen[a, 2], screen[b, 2], screen[c, 2]
            least, most = min(ak, bk, ck), max(ak, bk, ck)
            if not (least > lowest and most < highest):
                if not orthographic:
                    _draw_crossing(face, faces[face], vertices, screen, lens, keys, seen)
                    continue
                if least >= highest:
                    continue
            falling = (screen[b, 0] - screen[a, 0]) * (screen[c, 1] - screen[a, 1])
            rising = (screen[b, 1] - screen[a, 1]) * (screen[c, 0] - screen[a, 0])
            if falling > rising:  # clockwise, as rows run downwards: the back
                for k in range(5):
                    boxes[later, k] = boxes[i, k]
                later += 1
            else:
                _paint(a, b, c, screen, boxes, i, highest, keys, flat, width)
    for i in range(later):
        face = boxes[i, 0]
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if not _hidden(max(screen[a, 2], screen[b, 2], screen[c, 2]), boxes, i, keys, flat, width):
            _paint(a, b, c, screen, boxes, i, highest, keys, flat, width)


@compiled
def _find_boxes(
    faces: NDArray[np.uint32], start: int, stop: int, cells: NDArray[np.int32], boxes: NDArray[np.int32], found: int
) -> int:
    """Append those of some triangles whose box holds a pixel centre: index, first and last column, first and last row.

    Returns how many boxes there are then.
    """
    for face in range(start, stop):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        left, right = min(cells[a, 0], cells[b, 0], cells[c, 0]), max(cells[a, 1], cells[b, 1], cells[c, 1])
        top, bottom = min(cells[a, 2], cells[b, 2], cells[c, 2]), max(cells[a, 3], cells[b, 3], cells[c, 3])
        boxes[found, 0] = face
        boxes[found, 1] = left
        boxes[found, 2] = right
        boxes[found, 3] = top
        boxes[found, 4] = bottom
        found += (left <= right) & (top <= bottom)  # else the next one is written over it
    return found


@compiled
def _hidden(
    most: float, boxes: NDArray[np.int32], i: int, keys: NDArray[np.float64], seen: NDArray[np.int32], width: int
) -> bool:
    """Whether all pixels of a box show something nearer than a key. seen: flat."""
    for row in range(boxes[i, 3], boxes[i, 4] + 1):
        for column in range(boxes[i, 1], boxes[i, 2] + 1):
            pixel = np.uintp(row * width + column)
            if (keys[pixel] <= most) | (seen[pixel] < 0):
                return False
    return True


@inlined
def _paint(
    a: int,
    b: int,
    c: int,
    screen: NDArray[np.float64],
    boxes: NDArray[np.int32],
    i: int,
    highest: float,
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
    width: int,
) -> None:
    """Give the triangle a b c the pixels of its box that it holds and wins. seen: flat."""
    ax, ay, ak = screen[a, 0], screen[a, 1], screen[a, 2]
    bx, by, bk = screen[b, 0], screen[b, 1], screen[b, 2]
    cx, cy, ck = screen[c, 0], screen[c, 1], screen[c, 2]
    least, most = min(ak, bk, ck), max(ak, bk, ck)
    if bx < ax or (bx == ax and by < ay):
        ax, ay, ak, bx, by, bk = bx, by, bk, ax, ay, ak
    if cx < bx or (cx == bx and cy < by):
        bx, by, bk, cx, cy, ck = cx, cy, ck, bx, by, bk
        if bx < ax or (bx == ax and by < ay):
            ax, ay, ak, bx, by, bk = bx, by, bk, ax, ay, ak
    abx, aby, acx, acy, bcx, bcy = bx - ax, by - ay, cx - ax, cy - ay, cx - bx, cy - by
    area = abx * acy - aby * acx
    if area == 0.0:
        return
    abk, ack = bk - ak, ck - ak
    slope_x, slope_y = (abk * acy - ack * aby) / area, (ack * abx - abk * acx) / area
    if area < 0.0:
        abx, aby, acx, acy, bcx, bcy = -abx, -aby, -acx, -acy, -bcx, -bcy
    face, left, right = boxes[i, 0], boxes[i, 1], boxes[i, 2]
    column, row = left, boxes[i, 3]
    # One loop: two would end when nobody can foresee it, and be vectorised for lengths that boxes never have.
    for _ in range((right - left + 1) * (boxes[i, 4] - row + 1)):
        pax, pbx, pay, pby = column + 0.5 - ax, column + 0.5 - bx, row + 0.5 - ay, row + 0.5 - by
        inside = (abx * pay - aby * pax >= 0.0) & (bcx * pby - bcy * pbx >= 0.0) & (acx * pay - acy * pax <= 0.0)
        key = min(max((ak + slope_y * pay) + slope_x * pax, least), most)
        pixel = np.uintp(row * width + column)
        held, holder = keys[pixel], seen[pixel]
        wins = inside & (key < highest) & _wins(key, face, held, holder)
        keys[pixel] = key if wins else held
        seen[pixel] = face if wins else holder
        column += 1
        over = column > right
        column = left if over else column
        row += over
