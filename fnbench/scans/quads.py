"""Catmull-Clark subdivision of quadrilateral meshes, as a matrix: coarse modelling meshes become smooth surfaces.

E. Catmull, J. Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes", Computer-Aided Design
10 (6), 1978. The step is linear in the vertices, so one sparse matrix per topology serves every shape of it. Borders
follow the cubic B-spline of their edges (T. DeRose, M. Kass, T. Truong, SIGGRAPH 1998).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array, vstack

from fnbench.scans.edges import edges_of


def catmull_clark(quads: NDArray[np.integer], count: int) -> tuple[csr_matrix, NDArray[np.int32]]:
    """One step for a mesh of ``count`` vertices and (F, 4) quads.

    Returns the (count + E + F, count) matrix from old to new vertices - moved vertices, one per edge, one per face, in
    this order - and the (4 F, 4) new quads. A vertex that no quad uses stays where it is.
    """
    corner = np.asarray(quads, np.int64)
    edges, of_face = edges_of(corner)
    faces = _means(corner, count)
    middles = _means(edges, count)
    inside = np.bincount(of_face.ravel(), minlength=len(edges)) > 1

    beside = csr_matrix(
        (np.full(of_face.size, 0.5), (of_face.ravel(), np.repeat(np.arange(len(quads)), 4))),
        shape=(len(edges), len(quads)),
    )
    half = diags_array(np.where(inside, 0.5, 0.0))
    on_edges = half @ (middles + beside @ faces) + diags_array(np.where(inside, 0.0, 1.0)) @ middles

    moved = _moved(corner, edges, inside, (faces, middles), count)
    edge, face = count + of_face, (count + len(edges) + np.arange(len(quads)))[:, None]
    parts = [
        np.stack([corner[:, k], edge[:, k], face[:, 0], edge[:, k - 1]], axis=1) for k in range(4)
    ]  # edge k runs from corner k to the next
    return csr_matrix(vstack([moved, on_edges, faces])), np.concatenate(parts).astype(np.int32)


def triangles(quads: NDArray[np.integer]) -> NDArray[np.int32]:
    """(2 F, 3) triangles of (F, 4) quads."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def _means(polygons: NDArray[np.int64], count: int) -> csr_matrix:
    """(P, count) matrix that averages the corners of each polygon."""
    rows = np.repeat(np.arange(len(polygons)), polygons.shape[1])
    share = np.full(polygons.size, 1 / polygons.shape[1])
    return csr_matrix((share, (rows, polygons.ravel())), shape=(len(polygons), count))


def _moved(
    quads: NDArray[np.int64],
    edges: NDArray[np.int64],
    inside: NDArray[np.bool_],
    averages: tuple[csr_matrix, csr_matrix],
    count: int,
) -> csr_matrix:
    """(count, count) matrix of where the old vertices go."""
    faces, middles = averages
    around = _means(quads, count).T.sign()  # (count, F): which faces touch a vertex
    valence = np.asarray(around.sum(axis=1)).ravel()
    touching = _means(edges, count).T.sign()
    borders = np.zeros(count)
    np.add.at(borders, edges[~inside].ravel(), 1)
    free = (borders == 0) & (valence > 0)
    n = np.maximum(valence, 1)
    # Inside: (Q + 2 R + (n - 3) S) / n.  On a border: three quarters of itself, an eighth of each neighbour there.
    interior = (
        diags_array(np.where(free, 1 / n**2, 0.0)) @ around @ faces
        + diags_array(np.where(free, 2 / n**2, 0.0)) @ touching @ middles
        + diags_array(np.where(free, (n - 3) / n, 0.0))
    )
    rim = edges[~inside]
    beside = csr_matrix(
        (np.full(rim.size, 0.125), (rim.ravel(), rim[:, ::-1].ravel())),
        shape=(count, count),
    )
    smooth = (borders == 2).astype(float)
    stays = np.where(free, 0.0, np.where(borders == 2, 0.75, 1.0))
    return csr_matrix(interior + diags_array(smooth) @ beside + diags_array(stays))
