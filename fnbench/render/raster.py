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
The rules above hold whatever is drawn first, so speed alone decides. Triangles are prepared ``_TOGETHER`` at a time by
loops without a branch, one number of all of them beside the other: vector instructions do that, and no jump is guessed
wrong. Those whose box holds no pixel centre are left out. Those that turn their front to the camera are drawn at once:
they hide nearly all others of a closed surface. Of the rest those are drawn that nothing nearer hides in the whole of
their box; the least key of each tile of pixels tells that of nearly all.

``Raster`` and ``RasterNumpy`` run the same operations in the same order and give the same indices bit for bit.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.compiled import AVAILABLE, compiled
from fnbench.errors import MissingDependencyError
from fnbench.types import Scan, Visibility

NEAR = 1e-3
"""Least visible depth in millimetres."""
_TOGETHER = 128
"""Triangles that are prepared together: their numbers stay in the nearest cache from step to step."""
_AX, _AY, _AK, _BX, _BY, _BK, _CX, _CY, _CK = (np.uintp(row * _TOGETHER) for row in range(9))
"""Where the corners of triangles begin in ``planes``: pixel x, y and depth key. Unsigned, as indices below are, so that
numba need not look for -1."""
_ABX, _ABY, _ACX, _ACY, _BCX, _BCY, _SLOPE_X, _SLOPE_Y, _LEAST, _MOST = (
    np.uintp(row * _TOGETHER) for row in range(5, 15)
)
"""What replaces them there, after x, y and key of a and x and y of b: edges, slopes of the key, and its bounds."""
_FACE, _LEFT, _RIGHT, _TOP, _BOTTOM, _KIND, _DRAWN = (np.uintp(row * _TOGETHER) for row in range(7))
"""Where they begin in ``boxes``: index, first and last column, first and last row, kind; and what is to be drawn."""
_UNSEEN, _FRONT, _BACK, _CROSSING = (np.int32(kind) for kind in range(4))
_TILE = 8
"""Pixels along the side of a tile."""
_LANES = 8
"""Pixels of a row that are tried together: as many as the widest vectors hold."""


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
        self._screen, self._keys = np.empty((0, 3)), np.empty(0)
        self._planes, self._boxes = np.empty(15 * _TOGETHER), np.empty(7 * _TOGETHER, np.int32)
        self._backs, self._tops = np.empty((0, 5), np.int32), np.empty(0)

    def visibility(self, scan: Scan, camera: Camera) -> Visibility:
        """Index of the triangle that each pixel centre sees.

        scan: positions in millimetres, in the frame that ``camera.world_to_camera`` starts from.
        Returns (camera.height, camera.width) indices, -1 = nothing.
        """
        vertices = np.ascontiguousarray(scan.vertices, np.float64)
        faces = np.ascontiguousarray(scan.faces, np.int32).view(np.uint32)
        width, height, pixels = camera.width, camera.height, camera.width * camera.height
        if len(self._screen) < len(vertices):
            self._screen = np.empty((len(vertices), 3))
        if len(self._tops) <= len(faces):
            self._backs, self._tops = np.empty((len(faces) + 1, 5), np.int32), np.empty(len(faces) + 1)
        if len(self._keys) < pixels + _LANES:
            self._keys = np.empty(pixels + _LANES)
        seen = np.empty(pixels + _LANES, np.int32)
        lens, orthographic = lens_of(camera), camera.orthographic
        _project(vertices, lens, orthographic, self._screen)
        _draw(
            faces,
            vertices,
            self._screen,
            lens,
            orthographic,
            self._planes,
            self._boxes,
            self._backs,
            self._tops,
            self._keys,
            seen,
            width,
            height,
        )
        return Visibility(seen[:pixels].reshape(height, width))


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
def in_camera(wx: float, wy: float, wz: float, m: NDArray[np.float64]) -> tuple[float, float, float]:
    """Camera x, y and depth of a point; m begins with world_to_camera row by row, as ``lens_of`` gives it."""
    x = ((m[0] * wx + m[1] * wy) + m[2] * wz) + m[3]
    y = ((m[4] * wx + m[5] * wy) + m[6] * wz) + m[7]
    return x, y, -(((m[8] * wx + m[9] * wy) + m[10] * wz) + m[11])


@compiled
def corner_of(point: NDArray[np.float64], pixel: NDArray[np.float64], lens: NDArray[np.float64]) -> Corner:
    """A vertex (3,) with its row (3,) of the projected vertices."""
    m = lens
    x, y, depth = in_camera(point[0], point[1], point[2], m)
    u, v = (m[12] * x - m[13] * y) + m[14] * depth, m[16] * depth - m[15] * y
    return u, v, depth, pixel[0], pixel[1], 0.0 < pixel[2] < 1.0 / NEAR


@compiled
def side(px: Pixels, py: Pixels, a: Corner, b: Corner) -> Pixels:
    """Side of the pixel on the edge a b, with the same bits for all triangles that share the edge.

    Where both ends lie before the camera this is the value that ``_paint`` finds for whole triangles.
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
    width: int,
    height: int,
) -> None:
    """Draw a triangle that reaches behind a perspective camera."""
    a, b, c = ordered(
        corner_of(vertices[corners[0]], screen[corners[0]], lens),
        corner_of(vertices[corners[1]], screen[corners[1]], lens),
        corner_of(vertices[corners[2]], screen[corners[2]], lens),
    )
    six_volumes = volume(a, b, c)
    if six_volumes == 0.0:
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
                pixel = row * width + column
                if 0.0 < key < 1.0 / NEAR and _wins(key, face, keys[pixel], seen[pixel]):
                    keys[pixel] = key
                    seen[pixel] = face


@compiled
def _project(
    vertices: NDArray[np.float64], lens: NDArray[np.float64], orthographic: bool, screen: NDArray[np.float64]
) -> None:
    """Pixel x, y and depth key of each vertex into ``screen``; x and y mean nothing behind a perspective camera."""
    m = lens
    for i in range(len(vertices)):
        x, y, depth = in_camera(vertices[i, 0], vertices[i, 1], vertices[i, 2], m)
        key = -depth
        if not orthographic:
            key = 1.0 / depth
            x = x * key
            y = y * key
        screen[i, 0] = (m[12] * x - m[13] * y) + m[14]
        screen[i, 1] = m[16] - m[15] * y
        screen[i, 2] = key


@compiled
def _draw(
    faces: NDArray[np.uint32],
    vertices: NDArray[np.float64],
    screen: NDArray[np.float64],
    lens: NDArray[np.float64],
    orthographic: bool,
    planes: NDArray[np.float64],
    boxes: NDArray[np.int32],
    backs: NDArray[np.int32],
    tops: NDArray[np.float64],
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
    width: int,
    height: int,
) -> None:
    """Draw all triangles into ``seen`` and ``keys``, which are flat and ``_LANES`` longer than the picture."""
    seen[:] = -1
    found = 0
    for start in range(0, len(faces), _TOGETHER):
        count = min(_TOGETHER, len(faces) - start)
        for i in range(np.uintp(count)):
            boxes[_FACE + i] = start + i
        _prepare(faces, screen, orthographic, width, height, count, planes, boxes)
        fronts = np.uintp(0)
        for i in range(np.uintp(count)):
            face, kind = boxes[_FACE + i], boxes[_KIND + i]
            if kind == _CROSSING:
                _draw_crossing(face, faces[face], vertices, screen, lens, keys, seen, width, height)
            boxes[_DRAWN + fronts] = i
            fronts += np.uintp(kind == _FRONT)  # else the next one is written over it
            backs[found, 0] = face
            backs[found, 1] = boxes[_LEFT + i]
            backs[found, 2] = boxes[_RIGHT + i]
            backs[found, 3] = boxes[_TOP + i]
            backs[found, 4] = boxes[_BOTTOM + i]
            tops[found] = planes[_MOST + i]
            found += kind == _BACK
        _paint(planes, boxes, int(fronts), orthographic, keys, seen, width)
    if found > 0:
        floors = _floors(keys, seen, width, height)
        for start in range(0, found, _TOGETHER):
            stop = min(start + _TOGETHER, found)
            count = _find_shown(backs, tops, start, stop, floors, keys, seen, width, boxes)
            _prepare(faces, screen, orthographic, width, height, count, planes, boxes)
            _paint(planes, boxes, count, orthographic, keys, seen, width)


@compiled
def _prepare(
    faces: NDArray[np.uint32],
    screen: NDArray[np.float64],
    orthographic: bool,
    width: int,
    height: int,
    count: int,
    planes: NDArray[np.float64],
    boxes: NDArray[np.int32],
) -> None:
    """From the indices of some triangles in ``boxes`` all that is needed to draw them, in ``boxes`` and ``planes``."""
    for i in range(np.uintp(count)):
        face = np.uintp(boxes[_FACE + i])
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        planes[_AX + i] = screen[a, 0]
        planes[_AY + i] = screen[a, 1]
        planes[_AK + i] = screen[a, 2]
        planes[_BX + i] = screen[b, 0]
        planes[_BY + i] = screen[b, 1]
        planes[_BK + i] = screen[b, 2]
        planes[_CX + i] = screen[c, 0]
        planes[_CY + i] = screen[c, 1]
        planes[_CK + i] = screen[c, 2]
    lowest, highest = (-np.inf, -NEAR) if orthographic else (0.0, 1.0 / NEAR)
    for i in range(np.uintp(count)):
        ax, ay, ak = planes[_AX + i], planes[_AY + i], planes[_AK + i]
        bx, by, bk = planes[_BX + i], planes[_BY + i], planes[_BK + i]
        cx, cy, ck = planes[_CX + i], planes[_CY + i], planes[_CK + i]
        least, most = min(min(ak, bk), ck), max(max(ak, bk), ck)
        left, right = max(min(min(ax, bx), cx) - 0.5, 0.0), min(max(max(ax, bx), cx) - 0.5, width - 1.0)
        top, bottom = max(min(min(ay, by), cy) - 0.5, 0.0), min(max(max(ay, by), cy) - 0.5, height - 1.0)
        left, right, top, bottom = np.ceil(left), np.floor(right), np.ceil(top), np.floor(bottom)
        whole = (least > lowest) & (most < highest)
        a_before, b_before = (ak > lowest) & (ak < highest), (bk > lowest) & (bk < highest)
        before = a_before | b_before | ((ck > lowest) & (ck < highest))
        back = (bx - ax) * (cy - ay) > (by - ay) * (cx - ax)  # clockwise, as rows run downwards
        kind = (_BACK if back else _FRONT) if before & (left <= right) & (top <= bottom) else _UNSEEN
        boxes[_LEFT + i] = np.int32(left)
        boxes[_RIGHT + i] = np.int32(right)
        boxes[_TOP + i] = np.int32(top)
        boxes[_BOTTOM + i] = np.int32(bottom)
        boxes[_KIND + i] = _CROSSING if before & (not whole) & (not orthographic) else kind
        ax, ay, ak, bx, by, bk = _in_order(ax, ay, ak, bx, by, bk)
        bx, by, bk, cx, cy, ck = _in_order(bx, by, bk, cx, cy, ck)
        ax, ay, ak, bx, by, bk = _in_order(ax, ay, ak, bx, by, bk)
        abx, aby, acx, acy, bcx, bcy = bx - ax, by - ay, cx - ax, cy - ay, cx - bx, cy - by
        abk, ack = bk - ak, ck - ak
        area = abx * acy - aby * acx
        sign = 1.0 if area > 0.0 else (-1.0 if area < 0.0 else np.nan)  # without area no pixel lies inside
        planes[_AX + i] = ax
        planes[_AY + i] = ay
        planes[_AK + i] = ak
        planes[_BX + i] = bx
        planes[_BY + i] = by
        planes[_ABX + i] = sign * abx
        planes[_ABY + i] = sign * aby
        planes[_ACX + i] = sign * acx
        planes[_ACY + i] = sign * acy
        planes[_BCX + i] = sign * bcx
        planes[_BCY + i] = sign * bcy
        planes[_SLOPE_X + i] = (abk * acy - ack * aby) / area
        planes[_SLOPE_Y + i] = (ack * abx - abk * acx) / area
        planes[_LEAST + i] = least
        planes[_MOST + i] = most


@compiled
def _in_order(
    ax: float, ay: float, ak: float, bx: float, by: float, bk: float
) -> tuple[float, float, float, float, float, float]:
    """Two corners by their position on the screen."""
    swap = (bx < ax) | ((bx == ax) & (by < ay))
    return (
        bx if swap else ax,
        by if swap else ay,
        bk if swap else ak,
        ax if swap else bx,
        ay if swap else by,
        ak if swap else bk,
    )


@compiled
def _paint(
    planes: NDArray[np.float64],
    boxes: NDArray[np.int32],
    count: int,
    orthographic: bool,
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
    width: int,
) -> None:
    """Give each of the listed triangles the pixels of its box that it holds and wins.

    Rows are walked in whole blocks of ``_LANES``, which spares a loop for the rest. The blocks of a row are the same
    for all triangles: what one has just written the next reads back in one piece, without waiting for memory. What lies
    outside the box (also in the next row, or behind the picture) is written back as it was.
    """
    highest = -NEAR if orthographic else 1.0 / NEAR
    for place in range(np.uintp(count)):
        i = np.uintp(boxes[_DRAWN + place])
        ax, ay, ak, bx, by = planes[_AX + i], planes[_AY + i], planes[_AK + i], planes[_BX + i], planes[_BY + i]
        abx, aby, acx, acy = planes[_ABX + i], planes[_ABY + i], planes[_ACX + i], planes[_ACY + i]
        bcx, bcy, slope_x, slope_y = planes[_BCX + i], planes[_BCY + i], planes[_SLOPE_X + i], planes[_SLOPE_Y + i]
        least, most = planes[_LEAST + i], planes[_MOST + i]
        face, left, right = boxes[_FACE + i], boxes[_LEFT + i], boxes[_RIGHT + i]
        begin = left - left % _LANES
        steps = (right - begin + _LANES) // _LANES * _LANES
        for row in range(boxes[_TOP + i], boxes[_BOTTOM + i] + 1):
            pay, pby = row + 0.5 - ay, row + 0.5 - by
            ab, bc, ac, key_at_a = abx * pay, bcx * pby, acx * pay, ak + slope_y * pay
            first = np.uintp(row * width + begin)
            for k in range(steps):
                column = np.int32(begin + k)  # of 32 bits: all processors make floats of many at a time
                px = np.float64(column) + 0.5
                pax, pbx = px - ax, px - bx
                inside = (ab - aby * pax >= 0.0) & (bc - bcy * pbx >= 0.0) & (ac - acy * pax <= 0.0)
                key = min(max(key_at_a + slope_x * pax, least), most)
                pixel = first + np.uintp(k)
                held, holder = keys[pixel], seen[pixel]
                wins = inside & (column >= left) & (column <= right) & (key < highest) & _wins(key, face, held, holder)
                keys[pixel] = key if wins else held
                seen[pixel] = face if wins else holder


@compiled
def _floors(keys: NDArray[np.float64], seen: NDArray[np.int32], width: int, height: int) -> NDArray[np.float64]:
    """Least key of each tile of the picture; -inf where one of its pixels shows nothing."""
    floors = np.empty(((height + _TILE - 1) // _TILE, (width + _TILE - 1) // _TILE))
    line = np.empty(width)
    for tile_row in range(floors.shape[0]):
        line[:] = np.inf
        for row in range(tile_row * _TILE, min((tile_row + 1) * _TILE, height)):
            for column in range(width):
                pixel = np.uintp(row * width + column)
                line[column] = min(line[column], keys[pixel] if seen[pixel] >= 0 else -np.inf)
        for tile in range(floors.shape[1]):
            least = np.inf
            for column in range(tile * _TILE, min((tile + 1) * _TILE, width)):
                least = min(least, line[column])
            floors[tile_row, tile] = least
    return floors


@compiled
def _find_shown(
    backs: NDArray[np.int32],
    tops: NDArray[np.float64],
    start: int,
    stop: int,
    floors: NDArray[np.float64],
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
    width: int,
    boxes: NDArray[np.int32],
) -> int:
    """List those of some triangles in whose box a pixel shows nothing nearer; how many there are."""
    shown = np.uintp(0)
    for i in range(start, stop):
        left, right, top, bottom, most = backs[i, 1], backs[i, 2], backs[i, 3], backs[i, 4], tops[i]
        x0, x1 = np.uintp(left) // np.uintp(_TILE), np.uintp(right) // np.uintp(_TILE)
        y0, y1 = np.uintp(top) // np.uintp(_TILE), np.uintp(bottom) // np.uintp(_TILE)
        floor = min(min(floors[y0, x0], floors[y0, x1]), min(floors[y1, x0], floors[y1, x1]))
        hidden = (right - left <= _TILE) & (bottom - top <= _TILE) & (floor > most)  # the four tiles are all
        row, column = top, left
        while not hidden and row <= bottom:
            pixel = np.uintp(row * width + column)
            if (keys[pixel] <= most) | (seen[pixel] < 0):
                break
            column += 1
            over = column > right
            column = left if over else column
            row += over
        boxes[_FACE + shown] = backs[i, 0]
        boxes[_DRAWN + shown] = shown
        shown += np.uintp((not hidden) & (row <= bottom))
    return int(shown)
