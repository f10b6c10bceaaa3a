"""Unit normals in two 16-bit planes: the octahedral map, exact at the axes.

Conventions
-----------
A normal is projected on the octahedron |x| + |y| + |z| = 1 and unfolded into the square [-1, 1]^2; both
coordinates are rounded to 65535 levels (codes 0 ... 65534), so that 0 and +-1 are codes of their own. The
largest error is 0.0037 degrees. Code 65535 in both planes says that there is no normal: zero vectors are
written as it, and come back as zero vectors.

Cigolle et al., "Survey of Efficient Representations for Independent Unit Vectors", JCGT 3(2), 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import AVAILABLE, compiled

STEPS = 65534
"""Quantisation steps; one less than the levels."""
EMPTY = 65535
"""Code of a pixel without a normal."""


def encode(normals: NDArray[np.floating], mask: NDArray[np.bool_] | None = None) -> NDArray[np.uint16]:
    """Octahedral codes of a normal map.

    normals: (H, W, 3) vectors of any positive length; zero where there is no normal. NaN counts as zero.
    mask: (H, W), True where a normal shall be written; everywhere when not given.
    Returns (2, H, W) uint16 in [0, 65534], 65535 where there is no normal.

    >>> encode(np.array([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])).tolist()
    [[[32767, 65534, 65535]], [[32767, 32767, 65535]]]
    """
    known = np.ones(normals.shape[:2], bool) if mask is None else np.ascontiguousarray(mask, bool)
    if not AVAILABLE:
        return encode_numpy(normals, known)
    planes = np.empty((2, *known.shape), np.uint16)
    _encode(np.ascontiguousarray(normals), known, planes)
    return planes


def decode(planes: NDArray[np.uint16], mask: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """The normals of octahedral codes.

    planes: (2, H, W) uint16.  mask: (H, W), True where normals are wanted; everywhere when not given.
    Returns (H, W, 3) float32 unit vectors, zero where both codes are 65535, and outside the mask.

    >>> decode(np.array([[[32767, 65535]], [[32767, 65535]]], np.uint16)).tolist()
    [[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]]
    """
    wanted = np.ones(planes.shape[1:], bool) if mask is None else np.ascontiguousarray(mask, bool)
    if not AVAILABLE:
        return np.where(wanted[..., None], decode_numpy(planes), np.float32(0))
    normals = np.empty((*planes.shape[1:], 3), np.float32)
    _decode(np.ascontiguousarray(planes), wanted, normals)
    return normals


def encode_numpy(normals: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """``encode`` without numba; the same codes."""
    x, y, z = np.moveaxis(np.asarray(normals, np.float64), -1, 0)
    size = np.abs(x) + np.abs(y) + np.abs(z)
    known = mask & (size > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = x / size, y / size
        below = z < 0
        folded = (1 - np.abs(v)) * np.where(u >= 0, 1.0, -1.0), (1 - np.abs(u)) * np.where(v >= 0, 1.0, -1.0)
        codes = np.rint((np.where(below, folded, (u, v)) * 0.5 + 0.5) * STEPS)
    planes: NDArray[np.uint16] = np.where(known, codes, EMPTY).astype(np.uint16)
    return planes


def decode_numpy(planes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """``decode`` without numba; equal up to the last bit of float32."""
    u, v = planes / np.float64(STEPS) * 2 - 1
    z = 1 - np.abs(u) - np.abs(v)
    fold = np.maximum(-z, 0)
    x, y = u - np.where(u >= 0, fold, -fold), v - np.where(v >= 0, fold, -fold)
    normals = np.stack([x, y, z], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[(planes == EMPTY).all(axis=0)] = 0
    return normals.astype(np.float32)


@compiled
def _encode(normals: NDArray[np.floating], mask: NDArray[np.bool_], planes: NDArray[np.uint16]) -> None:
    for row in range(normals.shape[0]):
        for column in range(normals.shape[1]):
            x = np.float64(normals[row, column, 0])
            y = np.float64(normals[row, column, 1])
            z = np.float64(normals[row, column, 2])
            size = abs(x) + abs(y) + abs(z)
            if not (mask[row, column] and size > 0):
                planes[0, row, column] = EMPTY
                planes[1, row, column] = EMPTY
                continue
            u, v = x / size, y / size
            if z < 0:
                u, v = (1 - abs(v)) * (1.0 if u >= 0 else -1.0), (1 - abs(u)) * (1.0 if v >= 0 else -1.0)
            planes[0, row, column] = np.uint16(np.rint((u * 0.5 + 0.5) * STEPS))
            planes[1, row, column] = np.uint16(np.rint((v * 0.5 + 0.5) * STEPS))


@compiled
def _decode(planes: NDArray[np.uint16], mask: NDArray[np.bool_], normals: NDArray[np.float32]) -> None:
    for row in range(normals.shape[0]):
        for column in range(normals.shape[1]):
            a, b = planes[0, row, column], planes[1, row, column]
            if not mask[row, column] or (a == EMPTY and b == EMPTY):
                normals[row, column] = 0
                continue
            u, v = a / STEPS * 2 - 1, b / STEPS * 2 - 1
            z = 1 - abs(u) - abs(v)
            fold = max(-z, 0.0)
            x = u - (fold if u >= 0 else -fold)
            y = v - (fold if v >= 0 else -fold)
            length = np.sqrt(x * x + y * y + z * z)
            normals[row, column, 0] = x / length
            normals[row, column, 1] = y / length
            normals[row, column, 2] = z / length
