"""Repairs that every mesh gets: one vertex per position, no faces without area, one winding, outwards.

Vertex indices are never changed, only what faces refer to: landmark lists and part ranges stay valid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import AVAILABLE, compiled

_VIEW_CELLS = 96
_CHAIN = 128
"""Edges looked at per vertex: a damaged mesh may hang all its faces on one."""


def weld(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Faces that refer to the first vertex of each position.

    A format that stores one vertex per (position, texture coordinate) pair splits the surface along texture
    seams; smooth normals would crease there.
    """
    whole = np.ascontiguousarray(vertices + 0.0)  # -0.0 becomes 0.0
    if AVAILABLE:
        first: NDArray[np.int32] = _first_of_position(whole)
    else:
        _, index, inverse = np.unique(whole, axis=0, return_index=True, return_inverse=True)
        first = index[inverse.ravel()].astype(np.int32)
    return first[faces]


def with_area(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(F,) True where a face has three corners and an area; the rest has no normal."""
    keep: NDArray[np.bool_] = _with_area(vertices, faces)
    return keep


def against_neighbours(faces: NDArray[np.int32], vertices: int) -> NDArray[np.bool_] | None:
    """(F,) True where a face is wound against the majority of the surface it hangs together with; None when none is.

    Neighbours run along a shared edge in opposite directions. Edges of more than two faces say nothing.
    """
    first, after = _outgoing(faces, vertices)
    if not _runs_twice(faces, first, after):
        return None
    turned: NDArray[np.bool_] = _turned(faces, first, after)
    return turned if turned.any() else None


def outward_share(vertices: NDArray[np.float64], faces: NDArray[np.int32], front: NDArray[np.float64]) -> float:
    """Share of the visible surface, seen from ``front`` without culling, whose faces are wound towards the viewer.

    front: (3,) direction from the scan to the viewer. A point per face stands for it in a coarse depth grid, so
    that only the nearest surface votes: testing culled faces would accept an inward-wound face, whose far side is
    seen from within.
    """
    front = front / np.linalg.norm(front)
    helper = np.eye(3)[np.abs(front).argmin()]
    right = np.cross(helper, front)
    right /= np.linalg.norm(right)
    up = np.cross(front, right)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.cross(b - a, c - a) @ front
    centre = (a + b + c) / 3
    plane = np.stack([centre @ right, centre @ up], -1)
    low, side = plane.min(axis=0), max(float(np.ptp(plane, axis=0).max()), 1e-12)
    cells = int(np.clip(np.sqrt(len(faces) / 6), 4, _VIEW_CELLS))
    column, row = np.minimum(((plane - low) / side * cells).astype(np.int64), cells - 1).T
    nearest = np.full(cells * cells, -np.inf)
    depth = centre @ front
    cell = row * cells + column
    np.maximum.at(nearest, cell, depth)
    votes = depth >= nearest[cell] - side / cells  # within one cell's side of the nearest: the visible layer
    weight = np.abs(area[votes])
    total = float(weight.sum())
    return float(weight[area[votes] > 0].sum() / total) if total > 0 else 0.5


def bulge(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> float:
    """Mean outwardness in -1..1: do the faces point away from the centre of the surface?

    Tells the winding where no front is known. Positive for a closed mesh or a face shell that is wound outwards.
    """
    total = _moments(vertices, faces)
    if total[0] == 0:
        return 0.0
    centre = total[1:4] / total[0]
    return float(_outwardness(vertices, faces, centre))


@compiled
def _first_of_position(vertices: NDArray[np.float64]) -> NDArray[np.int32]:
    """(V,) int32: index of the first vertex with exactly the same three numbers (open addressing hash table)."""
    size = 16
    while size < 2 * len(vertices):
        size *= 2
    table = np.full(size, -1, np.int32)
    first = np.empty(len(vertices), np.int32)
    bits = vertices.view(np.uint64)
    for v in range(len(vertices)):
        x, y, z = bits[v, 0], bits[v, 1], bits[v, 2]
        key = x * np.uint64(0x9E3779B97F4A7C15) ^ y * np.uint64(0xC2B2AE3D27D4EB4F) ^ z * np.uint64(0x165667B19E3779F9)
        key ^= key >> np.uint64(29)
        key *= np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(32)
        slot = np.int64(key & np.uint64(size - 1))
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = v
                first[v] = v
                break
            if bits[other, 0] == x and bits[other, 1] == y and bits[other, 2] == z:
                first[v] = other
                break
            slot = (slot + 1) & (size - 1)
    return first


@compiled
def _outgoing(faces: NDArray[np.int32], vertices: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Chains of the directed edges that leave each vertex: first (V,) and after (3 F,), -1 ends a chain.

    Edge 3 f + k runs from corner k of face f to the next corner.
    """
    first, after = np.full(vertices, -1, np.int32), np.empty(3 * len(faces), np.int32)
    for f in range(len(faces)):
        for k in range(3):
            after[3 * f + k] = first[faces[f, k]]
            first[faces[f, k]] = 3 * f + k
    return first, after


@compiled
def _runs_twice(faces: NDArray[np.int32], first: NDArray[np.int32], after: NDArray[np.int32]) -> bool:
    """Whether two faces run along an edge in the same direction."""
    for f in range(len(faces)):
        for k in range(3):
            other = after[3 * f + k]
            for _ in range(_CHAIN):
                if other < 0:
                    break
                if faces[other // 3, (other % 3 + 1) % 3] == faces[f, (k + 1) % 3]:
                    return True
                other = after[other]
    return False


@compiled
def _across(
    faces: NDArray[np.int32], first: NDArray[np.int32], after: NDArray[np.int32], f: int, k: int
) -> tuple[int, bool]:
    """The one other face at edge k of face f, and whether it runs the same way; -1 at borders and crowded edges."""
    a, b = faces[f, k], faces[f, (k + 1) % 3]
    found, same, count = -1, False, 0
    edge = first[a]
    for _ in range(_CHAIN):
        if edge < 0:
            break
        g = edge // 3
        if g != f and faces[g, (edge - 3 * g + 1) % 3] == b:
            found, same, count = g, True, count + 1
        edge = after[edge]
    edge = first[b]
    for _ in range(_CHAIN):
        if edge < 0:
            break
        g = edge // 3
        if g != f and faces[g, (edge - 3 * g + 1) % 3] == a:
            found, same, count = g, False, count + 1
        edge = after[edge]
    return (found if count == 1 else -1), same


@compiled
def _turned(faces: NDArray[np.int32], first: NDArray[np.int32], after: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(F,) which faces to turn so that neighbours agree, the fewer ones in each piece of the surface."""
    turned, seen = np.zeros(len(faces), np.bool_), np.zeros(len(faces), np.bool_)
    queue = np.empty(len(faces), np.int64)
    for start in range(len(faces)):
        if seen[start]:
            continue
        seen[start] = True
        queue[0] = start
        reached, at, against = 1, 0, 0
        while at < reached:
            f = queue[at]
            at += 1
            against += turned[f]
            for k in range(3):
                g, same = _across(faces, first, after, f, k)
                if g >= 0 and not seen[g]:
                    seen[g] = True
                    turned[g] = turned[f] != same
                    queue[reached] = g
                    reached += 1
        if 2 * against > reached:
            for at in range(reached):
                turned[queue[at]] = not turned[queue[at]]
    return turned


@compiled
def _cross(vertices: NDArray[np.float64], a: int, b: int, c: int) -> tuple[float, float, float]:
    """Twice the area vector of a triangle, in scalars: small arrays would cost more than the arithmetic."""
    ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
    vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@compiled
def _with_area(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    keep = np.empty(len(faces), np.bool_)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y, z = _cross(vertices, a, b, c)
        keep[f] = a != b and b != c and a != c and x * x + y * y + z * z > 0
    return keep


@compiled
def _moments(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Area, and area times centre, summed over the faces."""
    total = np.zeros(4)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y, z = _cross(vertices, a, b, c)
        size = np.sqrt(x * x + y * y + z * z)
        total[0] += size
        for k in range(3):
            total[1 + k] += size * (vertices[a, k] + vertices[b, k] + vertices[c, k]) / 3
    return total


@compiled
def _outwardness(vertices: NDArray[np.float64], faces: NDArray[np.int32], centre: NDArray[np.float64]) -> float:
    """Mean cosine between face normals and the direction away from ``centre``, weighted by area and distance."""
    along = reach = 0.0
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        n = _cross(vertices, a, b, c)
        dot = size = arm = 0.0
        for k in range(3):
            d = (vertices[a, k] + vertices[b, k] + vertices[c, k]) / 3 - centre[k]
            dot += n[k] * d
            size += n[k] * n[k]
            arm += d * d
        along += dot
        reach += np.sqrt(size * arm)
    return along / reach if reach > 0 else 0.0
