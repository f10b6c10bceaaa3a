"""Maps inside a page: whole numbers, compressed without loss, read back by the page exactly as they were written.

Conventions
-----------
A page prints normals with ``NORMAL_DIGITS`` decimals and errors with ``ERROR_DIGITS``. It holds just these digits as
integers, so what the pointer reads is the number in the file, rounded once. Zero normals and negative errors mean
"nothing here".

Every row of a plane is predicted from its neighbours (the filter that leaves least), residuals are folded into
unsigned 16 bit, low bytes and high bytes are kept apart, and the whole is deflated and written in base64. The third
component of a normal is predicted from the first two instead. ``maps.js`` is the reader in the page, ``unpacked``
the one in Python.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

NORMAL_DIGITS = 3
ERROR_DIGITS = 1
_ONE = 10**NORMAL_DIGITS


def normal_planes(normals: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Normals as the digits a page prints.

    normals: (H, W, 3); vectors without a direction (not finite, or zero) become zero.  mask: (H, W) bool.
    Returns (3, H, W) int32: x, y, z in thousandths, zero outside ``mask``.

    >>> normal_planes(np.array([[[0.0, 0.6, 0.8]]]), np.array([[True]])).ravel().tolist()
    [0, 600, 800]
    """
    known = mask & np.isfinite(normals).all(axis=-1)
    vectors = np.where(known[..., None], normals, 0).astype(np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    planes: NDArray[np.int32] = np.rint(np.moveaxis(unit, -1, 0) * _ONE).astype(np.int32)
    return planes


def error_plane(degrees: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(1, H, W) int32 errors in tenths of a degree, -1 outside ``mask``."""
    return np.where(mask, np.rint(np.nan_to_num(degrees) * 10**ERROR_DIGITS), -1).astype(np.int32)[None]


def packed(planes: NDArray[np.integer], *, normals: bool = False) -> str:
    """Base64 text of (P, H, W) integers within 15 bits.

    normals: planes 0 to 2 are the components of unit vectors from ``normal_planes``.
    """
    values = planes.astype(np.int32)
    if normals:
        values = np.concatenate([values[:2], values[2:3] - _third(values), values[3:]])
    left, above, corner = (np.zeros_like(values) for _ in range(3))
    left[:, :, 1:] = values[:, :, :-1]
    above[:, 1:] = values[:, :-1]
    corner[:, 1:, 1:] = values[:, :-1, :-1]
    residuals = np.stack([values, values - left, values - above, values - left - above + corner])
    best = np.abs(residuals).sum(axis=-1).argmin(axis=0)  # (P, H): one filter per row
    chosen = np.take_along_axis(residuals, best[None, ..., None], axis=0)[0]
    folded = ((chosen << 1) ^ (chosen >> 31)).astype(np.uint16)
    raw = best.astype(np.uint8).tobytes() + (folded & 255).astype(np.uint8).tobytes()
    # Residuals repeat in runs or not at all: looking for runs alone is as small as level 9 and 25 times faster.
    deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    data = deflate.compress(raw + (folded >> 8).astype(np.uint8).tobytes()) + deflate.flush()
    return base64.b64encode(data).decode("ascii")


def unpacked(text: str, shape: tuple[int, int, int], *, normals: bool = False) -> NDArray[np.int32]:
    """The (P, H, W) integers of a base64 text; the reader in the page does the same."""
    planes, height, width = shape
    raw = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).astype(np.int32)
    filters, rest = raw[: planes * height].reshape(planes, height), raw[planes * height :]
    low, high = rest.reshape(2, planes, height, width)
    folded = low | high << 8
    values = (folded >> 1) ^ -(folded & 1)
    for plane in range(planes):
        for row in range(height):
            # Undone as sums along the row: filters 1 and 3 are differences from the left neighbour.
            kind = filters[plane, row]
            line = np.cumsum(values[plane, row]) if kind & 1 else values[plane, row]
            above = values[plane, row - 1] if kind & 2 and row else 0
            values[plane, row] = line + above
    if normals:
        values[2] += _third(values)[0]
    return values


def _third(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """(1, H, W) the size of z that x and y leave, in thousandths; zero where both are zero."""
    x, y = values[0], values[1]
    rest = np.rint(np.sqrt(np.maximum(_ONE * _ONE - x * x - y * y, 0.0)))
    return np.where((x == 0) & (y == 0), 0, rest).astype(np.int32)[None]
