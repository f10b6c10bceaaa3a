"""What is found on one mesh of a topology holds for all of them: landmarks and regions at the same vertices.

A template that was fitted to many people (FLAME, FaceWarehouse, FaceScape, ...) has each vertex at the same place of
every face. One mesh, the reference, is searched; every other one takes over where its landmarks lie on the triangles
and in which region a vertex is. Vertex lists of such templates are licensed and stay with their owners: none is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fnbench.errors import InvalidDataError
from fnbench.scans.align import closest
from fnbench.scans.regions import REACH, Labelled, label_regions, regions_at
from fnbench.types import Scan

SHARED = 0.99
"""Smallest share of their triangles that two meshes of one topology have in common: those without area are not read."""
_AMONG = 3
"""How many vertices of a template tell where a point of the scan beside them is."""


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Landmarks and regions in terms of the vertices of a topology.

    reference: the mesh they were found on.
    corners: (68, 3) vertices around each landmark.  weights: (68, 3) their shares, NaN where it is not known.
    regions: of the vertices; None when too few landmarks are known.
    """

    reference: Scan
    corners: NDArray[np.int64]
    weights: NDArray[np.float64]
    regions: Labelled | None

    def landmarks(self, mesh: Scan) -> NDArray[np.float64]:
        """(68, 3) landmarks of another mesh of the topology, NaN where unknown."""
        return np.asarray(np.einsum("nkc,nk->nc", mesh.vertices[self.corners], self.weights), np.float64)


def anatomy(reference: Scan, landmarks: NDArray[np.floating]) -> Anatomy:
    """The anatomy of a topology from one of its meshes and the (68, 3) landmarks of that mesh."""
    points = np.asarray(landmarks, np.float64)
    known = np.isfinite(points).all(axis=1)
    corners, weights = np.zeros((len(points), 3), np.int64), np.full((len(points), 3), np.nan)
    feet, faces = closest(points[known], reference)
    corners[known] = reference.faces[faces]
    weights[known] = _shares(feet, *(reference.vertices[corners[known][:, k]] for k in range(3)))
    try:
        regions = label_regions(reference, points)
    except InvalidDataError:  # too few landmarks
        regions = None
    return Anatomy(reference, corners, weights, regions)


def same_topology(one: Scan, other: Scan) -> bool:
    """Whether two meshes have the same vertices in the same triangles, but for a few without area in one of them."""
    if len(one.vertices) != len(other.vertices):
        return False
    if np.array_equal(one.faces, other.faces):
        return True
    first, second = (np.unique(_keys(mesh)) for mesh in (one, other))
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared >= SHARED * max(len(first), len(second))


def distance_to(scan: Scan, mesh: Scan, regions: Labelled) -> float:
    """Median distance in mm from the face of a template to the nearest vertex of the scan it was fitted to."""
    tree = cKDTree(scan.vertices[np.unique(scan.faces)])
    return float(np.median(tree.query(mesh.vertices[regions.labels > 0])[0]))


def regions_beside(scan: Scan, mesh: Scan, regions: Labelled) -> NDArray[np.uint8]:
    """(V,) facial regions of a scan from a template that lies on it.

    A vertex of the scan lies in the built-in head where the nearest vertices of the template do, by the inverse square
    of their distances; so borders are as smooth as the scan, and a vertex of the template keeps its own region.
    """
    used = np.unique(mesh.faces)
    gap, nearest = cKDTree(mesh.vertices[used]).query(scan.vertices, k=_AMONG, distance_upper_bound=REACH)
    near = np.isfinite(gap).all(axis=1)
    shares = 1.0 / np.maximum(gap[near], 1e-9) ** 2
    shares /= shares.sum(axis=1, keepdims=True)
    labels = np.zeros(len(scan.vertices), np.uint8)
    labels[near], _ = regions_at(np.einsum("nkc,nk->nc", regions.canonical[used[nearest[near]]], shares))
    return labels


def _keys(mesh: Scan) -> NDArray[np.int64]:
    """(F,) one number per triangle, whatever its first corner and its winding."""
    corners = np.sort(mesh.faces, axis=1).astype(np.int64)
    # Two numbers below 2^21 and a third fit 63 bits; larger meshes collide rarely and equally on both sides.
    return np.asarray((corners[:, 0] << 42) ^ (corners[:, 1] << 21) ^ corners[:, 2])


def _shares(
    points: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, 3) barycentric coordinates of points (N, 3) that lie on their triangles."""
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    area = np.maximum(uu * vv - uv * uv, 1e-300)
    s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    return np.stack([1 - s - t, s, t], axis=1)
