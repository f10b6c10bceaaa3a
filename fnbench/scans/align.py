"""Similarity alignment of the template head to a scan by trimmed point-to-plane ICP.

Points of the template's face look for the nearest point of the scan whose normal agrees. Matches on the border of the
scan, too far away, or among the worst are left out (they are hair, glasses, holes); each step solves a small linear
system for rotation, translation and one scale. Scale is held near 1 by a prior, because the unit of a scan is known
and a free scale lets the template shrink into any flat spot.

The cost of a fit counts every template point: those without a match cost ``WORST`` millimetres, so a fit that
explains little cannot win by explaining it well.

Source: Chen and Medioni 1992 (point to plane); Chetverikov et al. 2005 (trimmed ICP).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan

WORST = 10.0
"""Cost in millimetres of a template point that finds no match."""

_SCALE_SPREAD = 0.2
_FACING = 0.4
_KEPT = 0.9
_FEWEST = 12
_TARGET_POINTS = 60_000
_NEIGHBOURHOODS = (40.0, 30.0, 25.0, 20.0)
_ROUNDS = 8
_INERTIA = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Points of the template that look for the scan.

    points, normals: (N, 3) in the template's frame.  weights: (N,) how much each one counts.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A scan made ready for nearest-point queries.

    points, normals: (N, 3), a subset of the vertices of a dense scan.
    border: (N,) bool, on an open edge of the mesh.  tree: over the points.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    border: NDArray[np.bool_]
    tree: cKDTree


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Where the template lies in a scan: scan point = scale * rotation @ template point + shift.

    rotation: (3, 3).  shift: (3,) mm.
    cost: weighted mean over the template points, in mm; points without a match count WORST.
    residual: weighted mean point-to-plane distance of the matched points, in mm.
    coverage: weighted share of the template points that found a match.
    """

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]
    scale: float = 1.0
    cost: float = np.inf
    residual: float = np.inf
    coverage: float = 0.0

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Template points (N, 3) in scan coordinates."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift, np.float64)


def surface(scan: Scan, normals: NDArray[np.float64] | None = None) -> Surface:
    """Prepare a scan as the target of alignments; normals: (V, 3) if they are known already."""
    normals = vertex_normals(scan.vertices, scan.faces) if normals is None else normals
    used = np.unique(scan.faces)
    if len(used) > _TARGET_POINTS:
        used = np.random.default_rng(0).choice(used, _TARGET_POINTS, replace=False)
    points = scan.vertices[used]
    return Surface(points, normals[used], _on_border(scan)[used], cKDTree(points))


def icp(
    patch: Patch, target: Surface, start: Alignment, *, reach: tuple[float, ...], free_scale: bool = False
) -> Alignment:
    """Improve an alignment.

    reach: largest distance of a match in mm, one per iteration; falling values anneal.
    free_scale: let the scale move too, held by its prior.
    """
    now = start
    for limit in reach:
        distance, matched, nearest = _match(now.apply(patch.points), patch.normals @ now.rotation.T, target, limit)
        if matched.sum() < _FEWEST:
            break
        pick = matched & (distance <= np.quantile(distance[matched], _KEPT))
        now = _step(now, patch, pick, target.points[nearest[pick]], target.normals[nearest[pick]], free_scale)
    return assess(patch, target, now)


def assess(patch: Patch, target: Surface, fit: Alignment, worst: float = WORST) -> Alignment:
    """The alignment with its cost, residual and coverage; worst: reach of a match, and cost of a point without one."""
    cost, matched = costs(patch, target, fit, worst)
    residual = float(np.average(cost[matched], weights=patch.weights[matched])) if matched.any() else np.inf
    coverage = float(np.average(matched, weights=patch.weights))
    return Alignment(
        fit.rotation, fit.shift, fit.scale, float(np.average(cost, weights=patch.weights)), residual, coverage
    )


def costs(
    patch: Patch, target: Surface, fit: Alignment, worst: float = WORST
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Per template point: point-to-plane distance in mm, ``worst`` without a match; and whether it found one."""
    distance, matched, _ = _match(fit.apply(patch.points), patch.normals @ fit.rotation.T, target, worst)
    return np.where(matched, np.minimum(distance, worst), worst), matched


def _match(
    moved: NDArray[np.float64], turned: NDArray[np.float64], target: Surface, limit: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Point-to-plane distance, whether it is a match, and the nearest target point, per moved point."""
    gap, nearest = target.tree.query(moved, distance_upper_bound=4 * limit)
    found = np.isfinite(gap)
    nearest = np.where(found, nearest, 0)
    offset = moved - target.points[nearest]
    distance = np.abs((offset * target.normals[nearest]).sum(axis=1))
    agree = (turned * target.normals[nearest]).sum(axis=1) > _FACING
    # Distance along the surface may reach half an edge of a coarse scan; across it, the limit counts.
    return distance, found & agree & ~target.border[nearest] & (distance < limit) & (gap < 2 * limit), nearest


def _step(
    now: Alignment,
    patch: Patch,
    pick: NDArray[np.bool_],
    onto: NDArray[np.float64],
    normals: NDArray[np.float64],
    free_scale: bool,
) -> Alignment:
    """One linearised weighted least-squares step: rotation about the centre, shift, and logarithm of the scale."""
    points, share = patch.points[pick], (patch.weights[pick] / patch.weights[pick].sum())[:, None]
    moved, middle = now.apply(points), (points * share).sum(axis=0)
    centre = (moved * share).sum(axis=0)
    gap = ((onto - moved) * normals).sum(axis=1)
    growth = ((moved - centre) * normals).sum(axis=1)
    rows = np.column_stack([np.cross(moved - centre, normals), normals, growth])
    system, wanted = (rows * share).T @ rows, (rows * share).T @ gap
    system[6, 6] += 1 / _SCALE_SPREAD**2  # one spread of scale weighs as much as one millimetre everywhere
    wanted[6] -= np.log(now.scale) / _SCALE_SPREAD**2
    if not free_scale:
        system, wanted = system[:6, :6], wanted[:6]
    solution = np.zeros(7)
    solution[: len(wanted)] = np.linalg.solve(system + 1e-9 * np.trace(system) * np.eye(len(wanted)), wanted)
    angle = solution[:3] * min(1.0, 0.3 / max(float(np.linalg.norm(solution[:3])), 1e-12))
    rotation = Rotation.from_rotvec(angle).as_matrix() @ now.rotation
    scale = now.scale * float(np.exp(np.clip(solution[6], -0.05, 0.05)))
    return Alignment(rotation, centre + solution[3:6] - scale * rotation @ middle, scale)


def deform(patch: Patch, guests: NDArray[np.float64], target: Surface, fit: Alignment) -> NDArray[np.float64]:
    """Move ``guests`` (M, 3) of the template into the scan as the template's surface is drawn onto it.

    The offsets to the scan are averaged over ever smaller neighbourhoods, so that proportions follow the person while
    neighbours stay neighbours: 40 mm first (the length of the face), 20 mm at the end (the width of a mouth corner).
    """
    points, turned = patch.points, patch.normals @ fit.rotation.T
    here, moved = fit.apply(points), fit.apply(guests)
    for width in _NEIGHBOURHOODS:
        among = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / (2 * width**2))
        upon = np.exp(-((guests[:, None] - points[None]) ** 2).sum(-1) / (2 * width**2))
        for _ in range(_ROUNDS):
            _, matched, nearest = _match(here, turned, target, 1.5 * WORST)
            along = target.normals[nearest]
            offset = ((target.points[nearest] - here) * along).sum(axis=1, keepdims=True) * along * matched[:, None]
            votes = matched.astype(np.float64)
            here = here + (among @ offset) / (among @ votes + _INERTIA)[:, None]
            moved = moved + (upon @ offset) / (upon @ votes + _INERTIA)[:, None]
    return np.asarray(moved, np.float64)


def closest_points(points: NDArray[np.float64], scan: Scan, candidates: int = 12) -> NDArray[np.float64]:
    """The nearest points of the mesh to (N, 3) points: on the triangles around the nearest vertices."""
    return closest(points, scan, candidates)[0]


def closest(
    points: NDArray[np.float64], scan: Scan, candidates: int = 12
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The nearest points (N, 3) of the mesh to points (N, 3), and the faces (N,) they lie on."""
    used = np.unique(scan.faces)
    _, near = cKDTree(scan.vertices[used]).query(points, k=min(candidates, len(used)))
    near = used[np.atleast_2d(near).reshape(len(points), -1)]
    order = np.argsort(scan.faces.ravel(), kind="stable")
    owners = order // 3
    starts = np.searchsorted(scan.faces.ravel()[order], np.arange(len(scan.vertices) + 1))
    found, on = np.empty((len(points), 3)), np.empty(len(points), np.int64)
    for i, point in enumerate(points):
        faces = np.unique(np.concatenate([owners[starts[v] : starts[v + 1]] for v in near[i]]))
        feet = _feet(point, *(scan.vertices[scan.faces[faces, k]] for k in range(3)))
        best = ((feet - point) ** 2).sum(axis=1).argmin()
        found[i], on[i] = feet[best], faces[best]
    return found, on


def _feet(
    p: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Nearest point of each triangle to p: the foot inside, else the nearest on its edges."""
    u, v, w = b - a, c - a, p - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    area = np.maximum(uu * vv - uv * uv, 1e-300)
    s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    inside = (s >= 0) & (t >= 0) & (s + t <= 1)
    best = a + np.clip(s, 0, 1)[:, None] * u + np.clip(t, 0, 1)[:, None] * v
    best[~inside] = np.inf
    distance = np.where(inside, ((best - p) ** 2).sum(1), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        edge = end - start
        length = np.maximum((edge * edge).sum(1), 1e-300)
        foot = start + np.clip(((p - start) * edge).sum(1) / length, 0, 1)[:, None] * edge
        gap = ((foot - p) ** 2).sum(1)
        nearer = gap < distance
        best[nearer], distance[nearer] = foot[nearer], gap[nearer]
    return np.asarray(best, np.float64)


def _on_border(scan: Scan) -> NDArray[np.bool_]:
    """(V,) True for vertices on an edge that only one face has."""
    edges = np.sort(np.concatenate([scan.faces[:, [0, 1]], scan.faces[:, [1, 2]], scan.faces[:, [2, 0]]]), axis=1)
    key = edges[:, 0].astype(np.int64) * len(scan.vertices) + edges[:, 1]
    values, counts = np.unique(key, return_counts=True)
    open_edges = values[counts == 1]
    border = np.zeros(len(scan.vertices), np.bool_)
    border[open_edges // len(scan.vertices)] = True
    border[open_edges % len(scan.vertices)] = True
    return border
