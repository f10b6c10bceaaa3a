"""The rasteriser of raster.py in plain numpy, for machines where numba has no wheel.

Every product, sum and comparison is the one of ``fnbench.render.raster`` in the same order, so both give the same
triangle for every pixel. Some 5 to 40 times slower, and some 100 MB of working memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.compiled import interpreted
from fnbench.render import raster
from fnbench.types import Scan, Visibility

_PAIRS = 1 << 20
"""Pairs of a triangle and a pixel that are looked at together; bounds the memory."""

_corner_of, _ordered, _reach = (
    interpreted(raster.corner_of),
    interpreted(raster.ordered),
    interpreted(raster.reach),
)
_volume, _side, _inverse_depth = (
    interpreted(raster.volume),
    interpreted(raster.side),
    interpreted(raster.inverse_depth),
)


class RasterNumpy:
    """Z-buffer rasteriser without compiled code; the result equals that of ``Raster`` bit for bit."""

    name = "numpy"

    def visibility(self, scan: Scan, camera: Camera) -> Visibility:
        """Index of the triangle that each pixel centre sees: (camera.height, camera.width), -1 = nothing."""
        keys = np.full(camera.width * camera.height, -np.inf)
        seen = np.full(camera.width * camera.height, -1, np.int32)
        vertices = np.asarray(scan.vertices, np.float64)
        lens = raster.lens_of(camera)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            screen = _project(vertices, lens, camera.orthographic)
            _draw(scan.faces, screen, camera, keys, seen)
            if not camera.orthographic:
                _draw_crossing(scan.faces, vertices, screen, lens, camera, keys, seen)
        return Visibility(seen.reshape(camera.height, camera.width))


def _project(vertices: NDArray[np.float64], m: NDArray[np.float64], orthographic: bool) -> NDArray[np.float64]:
    wx, wy, wz = vertices.T
    x = ((m[0] * wx + m[1] * wy) + m[2] * wz) + m[3]
    y = ((m[4] * wx + m[5] * wy) + m[6] * wz) + m[7]
    key = ((m[8] * wx + m[9] * wy) + m[10] * wz) + m[11]
    if not orthographic:
        key = 1.0 / -key
        x, y = x * key, y * key
    return np.stack([(m[12] * x - m[13] * y) + m[14], m[16] - m[15] * y, key], axis=1)


def _draw(
    faces: NDArray[np.int32],
    screen: NDArray[np.float64],
    camera: Camera,
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
) -> None:
    """Draw the triangles that lie before the camera as a whole, and orthographic ones that cross it."""
    lowest, highest = raster.key_range(camera.orthographic)
    corner_keys = screen[faces, 2]
    least, most = corner_keys.min(1), corner_keys.max(1)
    whole = (least < highest) if camera.orthographic else (least > lowest) & (most < highest)
    corners = screen[faces[whole], :2]
    low, high = corners.min(1), corners.max(1)
    limits = np.array([camera.width, camera.height]) - 1.0
    first = np.maximum(np.ceil(low - 0.5), 0.0)
    last = np.minimum(np.floor(high - 0.5), limits)
    touched = (first <= last).all(1)
    index = np.flatnonzero(whole)[touched]
    first, last = first[touched].astype(np.int64), last[touched].astype(np.int64)

    a, b, c = _sorted_corners(screen[faces[index]])
    ab, ac, bc = b - a, c - a, c - b
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    slope_x = (ab[:, 2] * ac[:, 1] - ac[:, 2] * ab[:, 1]) / area
    slope_y = (ac[:, 2] * ab[:, 0] - ab[:, 2] * ac[:, 0]) / area
    sign = np.where(area < 0.0, -1.0, 1.0)
    drawn = np.flatnonzero(area != 0.0)
    pixels = (last - first + 1).prod(1)
    for part in _parts(drawn, pixels):
        owner, column, row = _pairs(part, first, last)
        pax, pay = column + 0.5 - a[owner, 0], row + 0.5 - a[owner, 1]
        pbx, pby = column + 0.5 - b[owner, 0], row + 0.5 - b[owner, 1]
        s = sign[owner]
        inside = (
            (s * (ab[owner, 0] * pay - ab[owner, 1] * pax) >= 0.0)
            & (s * (bc[owner, 0] * pby - bc[owner, 1] * pbx) >= 0.0)
            & (s * (ac[owner, 0] * pay - ac[owner, 1] * pax) <= 0.0)
        )
        key = (a[owner, 2] + slope_y[owner] * pay) + slope_x[owner] * pax
        face = index[owner]
        key = np.minimum(np.maximum(key, least[face]), most[face])
        inside &= key < highest
        _keep_nearest((row * camera.width + column)[inside], key[inside], face[inside], keys, seen)


def _draw_crossing(
    faces: NDArray[np.int32],
    vertices: NDArray[np.float64],
    screen: NDArray[np.float64],
    lens: NDArray[np.float64],
    camera: Camera,
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
) -> None:
    """Draw the triangles that reach behind a perspective camera, one by one."""
    before = (screen[:, 2] > 0.0) & (screen[:, 2] < 1.0 / raster.NEAR)
    count = before[faces].sum(1)
    for face in np.flatnonzero((count > 0) & (count < 3)):
        a, b, c = _ordered(*(_corner_of(vertices[i], screen[i], lens) for i in faces[face]))
        six_volumes = _volume(a, b, c)
        if six_volumes == 0.0:
            continue
        left, right, top, bottom = _reach(a, b, c, camera.width, camera.height)
        row, column = (grid.ravel() for grid in np.mgrid[top : bottom + 1, left : right + 1])
        px, py = column + 0.5, row + 0.5
        key = _inverse_depth(px, py, a, b, c, six_volumes)
        inside = (key > 0.0) & (key < 1.0 / raster.NEAR)
        for start, end in ((a, b), (b, c), (c, a)):
            inside &= np.copysign(1.0, six_volumes) * _side(px, py, start, end) >= 0.0
        pixel = (row * camera.width + column)[inside]
        _keep_nearest(pixel, key[inside], np.full(len(pixel), face), keys, seen)


def _sorted_corners(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """(F, 3, 3) corners x, y, key as three (F, 3) arrays, sorted by x, then y, as ``raster`` sorts them."""
    a, b, c = (corners[:, i].copy() for i in range(3))
    for p, q in ((a, b), (b, c), (a, b)):
        swap = (q[:, 0] < p[:, 0]) | ((q[:, 0] == p[:, 0]) & (q[:, 1] < p[:, 1]))
        p[swap], q[swap] = q[swap], p[swap]
    return a, b, c


def _parts(drawn: NDArray[np.int64], pixels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The triangles in consecutive parts of at most ``_PAIRS`` candidate pixels (or one triangle)."""
    part = np.cumsum(pixels[drawn]) // _PAIRS
    return np.split(drawn, np.flatnonzero(np.diff(part)) + 1) if len(drawn) else []


def _pairs(
    triangles: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Triangle, column and row of every pixel in the boxes first..last of the triangles."""
    columns, rows = (last[triangles] - first[triangles] + 1).T
    pixels = columns * rows
    owner = np.repeat(triangles, pixels)
    inner = np.arange(len(owner)) - np.repeat(np.cumsum(pixels) - pixels, pixels)
    row, column = np.divmod(inner, np.repeat(columns, pixels))
    return owner, first[owner, 0] + column, first[owner, 1] + row


def _keep_nearest(
    pixel: NDArray[np.int64],
    key: NDArray[np.float64],
    face: NDArray[np.int64],
    keys: NDArray[np.float64],
    seen: NDArray[np.int32],
) -> None:
    """Put the triangles that are nearer than what the buffers hold into them; ties go to the lower index."""
    order = np.lexsort((face, -key, pixel))
    pixel, key, face = pixel[order], key[order], face[order]
    best = np.ones(len(pixel), bool)
    best[1:] = pixel[1:] != pixel[:-1]
    pixel, key, face = pixel[best], key[best], face[best]
    nearer = (key > keys[pixel]) | ((key == keys[pixel]) & (face < seen[pixel]))
    keys[pixel[nearer]] = key[nearer]
    seen[pixel[nearer]] = face[nearer]
