"""Triangles from an implicit field: marching cubes where the surface is, Newton steps onto the zero set.

The grid is refined from coarse to fine: a block of cells whose centre is further from the surface than the block
reaches holds no surface and keeps one sign for all its corners, so that only a narrow band is ever evaluated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.scans.implicit import Array, Field, evaluate, project

_SLOPE = 1.6
"""Upper bound of |gradient| assumed when a block is skipped; checked by the tests of the head."""


def polygonise(
    surface: Field, low: Array, high: Array, spacing: float, *, levels: int = 3, steps: int = 2
) -> tuple[Array, NDArray[np.int32]]:
    """Mesh the zero set of a field inside a box.

    surface: negative inside.  low, high: (3,) corners in millimetres.  spacing: grid step in millimetres.
    levels: how often the coarse grid is halved.  steps: Newton steps that move the vertices onto the zero set.
    Returns vertices (V, 3) float64 and faces (F, 3) int32, counter-clockwise seen from outside.
    """
    from skimage.measure import marching_cubes

    values, near = _band(surface, low, high, spacing, levels)
    vertices, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call] # scikit-image has no types here
        values, 0.0, mask=near, allow_degenerate=False
    )
    points = project(surface, low + spacing * vertices.astype(np.float64), steps)
    return points, np.ascontiguousarray(faces, dtype=np.int32)  # its default winding already faces outwards here


def _band(surface: Field, low: Array, high: Array, spacing: float, levels: int) -> tuple[Array, NDArray[np.bool_]]:
    """Field values on the grid, exact next to the surface and of the right sign elsewhere; (X, Y, Z) both."""
    block = 2**levels
    counts = np.ceil((high - low) / spacing / block).astype(int)
    shape = tuple(counts * block)
    values = np.empty(shape, np.float32)
    near = np.zeros(shape, bool)
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), -1).reshape(-1, 3) * block
    while block > 1:
        centres = low + spacing * (cells + (block - 1) / 2)
        found, _ = evaluate(surface, centres)
        reach = _SLOPE * spacing * ((block + 1) / 2) * np.sqrt(3)
        far = np.abs(found) > reach
        _fill(values, cells[far], block, found[far])
        block //= 2
        offsets = block * np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(1, 8, 3)
        cells = (cells[~far][:, None] + offsets).reshape(-1, 3)
    found, _ = evaluate(surface, low + spacing * cells)
    values[tuple(cells.T)] = found
    near[tuple(cells.T)] = True
    return values, near


def _fill(values: NDArray[np.float32], cells: NDArray[np.int_], block: int, found: Array) -> None:
    step = np.arange(block)
    index = np.ix_(step, step, step)
    x, y, z = (cells[:, axis, None, None, None] + index[axis][None] for axis in range(3))
    values[x, y, z] = found[:, None, None, None]
