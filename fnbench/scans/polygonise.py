"""Triangles from an implicit field: marching cubes where the surface is, Newton steps onto the zero set.

The grid is rectilinear, so its steps may be fine where detail is and coarse elsewhere. It is refined from coarse to
fine: a block of cells whose centre is further from the surface than the block reaches holds no surface and keeps
one sign for all its corners, so that only a narrow band is ever evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fnbench.scans.implicit import Array, Field, evaluate

_SLOPE = 1.1
"""Bound of |gradient| assumed where a block is skipped; where it is too low, the signs show it and the band grows."""
_STEP = 0.5
"""A Newton step is at most this share of the local grid step: a vertex never leaves its cell's neighbourhood."""
_CONVERGED = 0.02
"""Vertices that were nearer to the surface than this (millimetres) need no further step after the one they took."""

_CORNERS = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(1, 8, 3)


def polygonise(
    surface: Field, axes: Sequence[Array], *, levels: int = 3, steps: int = 4
) -> tuple[Array, NDArray[np.int32]]:
    """Mesh the zero set of a field on a rectilinear grid.

    surface: negative inside.  axes: increasing coordinates of the grid along x, y and z, in millimetres.
    levels: how often the coarse grid is halved.  steps: most Newton steps that move a vertex onto the zero set.
    Returns vertices (V, 3) float64 and faces (F, 3) int32, counter-clockwise seen from outside.
    """
    from skimage.measure import marching_cubes

    grid = [_padded(axis, 2**levels) for axis in axes]
    values, near = _band(surface, grid, levels)
    vertices, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call] # scikit-image has no types here
        values, 0.0, mask=near, allow_degenerate=False
    )
    vertices, faces = _largest(vertices, faces)
    index = np.asarray(vertices, np.float64)
    points = np.stack([np.interp(index[:, k], np.arange(len(grid[k])), grid[k]) for k in range(3)], axis=1)
    reach = np.stack([np.interp(index[:, k], np.arange(len(grid[k])), np.gradient(grid[k])) for k in range(3)], axis=1)
    moving = np.arange(len(points))
    for _ in range(steps):
        move, off = _newton(surface, points[moving], _STEP * reach[moving].min(axis=1))
        points[moving] += move
        moving = moving[off > _CONVERGED]
    return points, np.ascontiguousarray(faces, dtype=np.int32)  # its winding already faces outwards here


def graded(knots: Sequence[tuple[float, float]]) -> Array:
    """Grid coordinates whose step varies linearly between knots.

    knots: (coordinate, step) in increasing order of the coordinate.

    >>> graded([(0.0, 1.0), (3.0, 1.0)])
    array([0., 1., 2., 3.])
    """
    at, step = np.array(knots).T
    fine = np.linspace(at[0], at[-1], 4096)
    count = np.concatenate([[0.0], np.cumsum(np.diff(fine) / np.interp((fine[1:] + fine[:-1]) / 2, at, step))])
    whole = max(round(float(count[-1])), 1)
    return np.asarray(np.interp(np.arange(whole + 1), count * (whole / count[-1]), fine), np.float64)


def _largest(vertices: Array, faces: NDArray[np.int32]) -> tuple[Array, NDArray[np.int32]]:
    """The connected part with the most vertices; closed bubbles inside the head go."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = (faces[:, :2].ravel(), faces[:, 1:].ravel())
    links = coo_matrix((np.ones(len(ends[0]), bool), ends), shape=(len(vertices), len(vertices)))
    count, part = connected_components(links, directed=False)
    if count == 1:
        return vertices, faces
    keep = part == np.bincount(part).argmax()
    number = np.cumsum(keep) - 1
    return vertices[keep], number[faces[keep[faces[:, 0]]]]


def _newton(surface: Field, points: Array, limit: Array) -> tuple[Array, Array]:
    """Moves (N, 3) towards the zero set, and how far (N,) the points were from it to first order."""
    values, gradients = evaluate(surface, points, gradient=True)
    squared = np.maximum((gradients**2).sum(axis=1), 1e-6)
    distance = np.abs(values) / np.sqrt(squared)
    size = np.sign(values) * np.minimum(distance, limit) / np.sqrt(squared)
    return -gradients * size[:, None], distance


def _padded(axis: Array, block: int) -> Array:
    """The axis lengthened to a multiple of ``block`` points."""
    missing = -len(axis) % block
    return np.concatenate([axis, axis[-1] + (axis[-1] - axis[-2]) * np.arange(1, missing + 1)])


def _band(surface: Field, grid: list[Array], levels: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Field values on the grid, exact next to the surface and of the right sign elsewhere; (X, Y, Z) both."""
    block = 2**levels
    shape = tuple(len(axis) for axis in grid)
    values, known = np.empty(shape, np.float32), np.zeros(shape, bool)
    corners = (np.arange(0, size, block) for size in shape)
    cells = np.stack(np.meshgrid(*corners, indexing="ij"), -1).reshape(-1, 3)
    while True:
        low = np.stack([grid[k][cells[:, k]] for k in range(3)], axis=1)
        high = np.stack([grid[k][np.minimum(cells[:, k] + block, shape[k] - 1)] for k in range(3)], axis=1)
        found, _ = evaluate(surface, (low + high) / 2)
        far = np.abs(found) > _SLOPE * np.linalg.norm(high - low, axis=1) / 2
        _fill(values, cells[far], block, found[far])
        cells = cells[~far]
        if block == 2:
            break
        block //= 2
        cells = (cells[:, None] + block * _CORNERS).reshape(-1, 3)
    known[tuple((cells[:, None] + _CORNERS).reshape(-1, 3).T)] = True
    wanted = known.copy()
    while wanted.any():
        index = np.nonzero(wanted)
        points = np.stack([grid[k][index[k]] for k in range(3)], axis=1)
        values[index] = evaluate(surface, points)[0]
        known |= wanted
        wanted = _crossed(values) & ~known
    return values, known


def _crossed(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Grid points (X, Y, Z) that are a corner of a cell in which the sign changes."""
    inside = values < 0
    some, every = inside, inside
    for axis in range(3):
        low, high = (slice(None),) * axis + (slice(-1),), (slice(None),) * axis + (slice(1, None),)
        some, every = some[low] | some[high], every[low] & every[high]
    corners = np.zeros(values.shape, bool)
    corners[:-1, :-1, :-1] = some & ~every
    for axis in range(3):
        low, high = (slice(None),) * axis + (slice(-1),), (slice(None),) * axis + (slice(1, None),)
        shifted = corners.copy()
        shifted[high] |= corners[low]
        corners = shifted
    return corners


def _fill(values: NDArray[np.float32], cells: NDArray[np.int_], block: int, found: Array) -> None:
    step = np.arange(block)
    index = np.ix_(step, step, step)
    x, y, z = (cells[:, axis, None, None, None] + index[axis][None] for axis in range(3))
    values[x, y, z] = found[:, None, None, None]
