"""Cameras recovered from a texture atlas that holds uncropped photographs.

A 3dMD system stores the photographs of its colour cameras side by side and uses them as texture. The texture
coordinates are then the camera projection itself, and every (position, texture coordinate) pair is an exact
correspondence between scan and photograph: enough to recover each camera, and with it real photographs whose normals
are known.

Steps
-----
1. Charts (connected pieces of the texture map) vote: a direct linear transform with normalised coordinates on random
   samples of one chart, then all pairs that it explains; repeat on what is left.
2. Each camera is refined on pixels (soft L1) over the charts that it explains.
3. The projection is decomposed into K, R, t. Pixels that do not fit, an unnatural K, or charts that no camera
   explains are refused with the numbers: most atlases are packed charts and hold no camera.
4. The atlas is divided into the smallest even grid that puts each camera into a cell of its own.

Pixels have their origin at the corner of the atlas: x = u W, y = (1 - v) H, like everywhere in fnbench.
Source: Hartley and Zisserman, Multiple View Geometry, chapters 4 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from fnbench.camera import Camera
from fnbench.errors import InvalidDataError
from fnbench.types import Photograph, Scan

MEDIAN_PIXELS = 1.0
"""Largest median reprojection error, in pixels of a texture 2000 pixels wide (scaled with its longer side)."""
EXPLAINED = 0.8
"""Smallest share of the texture coordinates that the cameras must explain together."""

_MIN_PAIRS = 100
_MAX_CAMERAS = 6
_DRAWS = 60
_CHARTS = 6
_GROWTH = 3
_SAMPLE = 8
_REFINED_PAIRS = 4000


class _Pinhole(NamedTuple):
    """K (3, 3), R (3, 3), t (3,) in the OpenCV frame."""

    K: NDArray[np.float64]
    R: NDArray[np.float64]
    t: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class AtlasPhotograph:
    """One photograph inside a texture atlas.

    image: (h, w, 3) uint8, cut out of the texture.
    camera: perspective, world frame of the scan, pixels of the photograph (not of the atlas).
    box: left, top, right, bottom of the photograph in atlas pixels.
    pairs: texture coordinates it explains.  median_px, p90_px: their reprojection error.
    """

    image: NDArray[np.uint8]
    camera: Camera
    box: tuple[int, int, int, int]
    pairs: int
    median_px: float
    p90_px: float


def recover_cameras(scan: Scan, seed: int = 0) -> tuple[AtlasPhotograph, ...]:
    """The photographs in a scan's texture, from left to right and top to bottom.

    seed: of the random samples.
    InvalidDataError with the reason when the texture is not made of uncropped photographs.
    """
    if scan.texture is None or scan.uv is None or scan.uv_faces is None:
        raise InvalidDataError(f"{scan.name}: no texture, so no photograph to recover; render the images instead.")
    size = np.array([scan.texture.shape[1], scan.texture.shape[0]], np.float64)
    points, pixels, charts = _pairs(scan, scan.uv, scan.uv_faces, size)
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
    if spread[0] < 0.01 * spread[2]:
        raise InvalidDataError(f"{scan.name}: its points lie in one plane, which fits any camera; render the images.")
    limit = MEDIAN_PIXELS * max(1.0, size.max() / 2000)
    groups = _groups(points, pixels, charts, 3 * limit, np.random.default_rng(seed), scan.name)
    fits = [_fit(points[pick], pixels[pick], limit, scan.name) for pick in groups]
    cells = _cells([pixels[pick] for pick in groups], size, scan.name)
    found = [
        _photograph(fit, cell, points[pick], pixels[pick], scan.texture, scan.name)
        for fit, cell, pick in zip(fits, cells, groups, strict=True)
    ]
    return tuple(sorted(found, key=lambda photo: (photo.box[1], photo.box[0])))


def atlas_photographs(scan: Scan) -> tuple[Photograph, ...]:
    """The photographs in a scan's texture as a capture hands them out: ``camera1``, ``camera2``, ...

    Raises InvalidDataError like ``recover_cameras``. The fit's error goes along as attributes.
    """
    return tuple(
        Photograph(
            photo.image,
            f"camera{number}",
            photo.camera,
            attributes={
                "camera": f"camera{number}",
                "camera_source": "texture atlas",
                "reprojection_median_px": round(photo.median_px, 3),
                "reprojection_p90_px": round(photo.p90_px, 3),
            },
        )
        for number, photo in enumerate(recover_cameras(scan), start=1)
    )


def _pairs(
    scan: Scan, coordinates: NDArray[np.float64], uv_faces: NDArray[np.int32], size: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Distinct (position, pixel) pairs and the chart of each: (N, 3), (N, 2), (N,)."""
    both = np.unique(np.stack([scan.faces.ravel(), uv_faces.ravel()], -1), axis=0)
    edges = np.concatenate([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges), np.int8), edges.T), shape=(len(coordinates), len(coordinates)))
    _, chart = connected_components(graph, directed=False)
    uv = coordinates[both[:, 1]]
    pixels = np.stack([uv[:, 0], 1 - uv[:, 1]], -1) * size
    return scan.vertices[both[:, 0]], pixels, chart[both[:, 1]]


def _groups(
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    charts: NDArray[np.int32],
    limit: float,
    rng: np.random.Generator,
    name: str,
) -> list[NDArray[np.bool_]]:
    """Masks over the pairs, one per camera: the charts that one projection explains."""
    free = np.ones(len(points), np.bool_)
    groups: list[NDArray[np.bool_]] = []
    while free.sum() >= max(_MIN_PAIRS, 0.05 * len(points)) and len(groups) < _MAX_CAMERAS:
        inliers = _consensus(points, pixels, charts, free, limit, rng)
        if inliers.sum() < max(_MIN_PAIRS, 0.05 * len(points)):
            break
        share = np.bincount(charts, inliers) / np.maximum(np.bincount(charts, free), 1)
        group = free & (share[charts] > 0.5)
        if not group.any():
            break
        groups.append(group)
        free &= ~group
    explained = 1 - free.mean()
    if not groups or explained < EXPLAINED:
        raise InvalidDataError(
            f"{name}: {len(groups)} cameras explain {explained:.0%} of its texture coordinates, expected at least "
            f"{EXPLAINED:.0%}; the texture is not made of uncropped photographs: render the images instead."
        )
    return groups


def _consensus(
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    charts: NDArray[np.int32],
    free: NDArray[np.bool_],
    limit: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """The largest set of free pairs that one projection of a random sample of one chart explains."""
    best = np.zeros(len(points), np.bool_)
    counts = np.bincount(charts[free])
    largest = [chart for chart in np.argsort(-counts)[:_CHARTS] if counts[chart] >= 2 * _SAMPLE]
    members = [np.flatnonzero(free & (charts == chart)) for chart in largest]
    for draw in range(_DRAWS if members else 0):
        sample = rng.choice(members[draw % len(members)], _SAMPLE, replace=False)
        inliers = free & (_error(_dlt(points[sample], pixels[sample]), points, pixels) < limit)
        for _ in range(_GROWTH):  # eight noisy pairs reach only their surroundings: let what they explain speak
            if inliers.sum() < 2 * _SAMPLE:
                break
            inliers = free & (_error(_dlt(points[inliers], pixels[inliers]), points, pixels) < limit)
        if inliers.sum() > best.sum():
            best = inliers
    return best


def _dlt(points: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 4) projection by the direct linear transform, both sides moved and scaled to unit spread first."""
    to3, to2 = _normaliser(points), _normaliser(pixels)
    x = np.column_stack([points, np.ones(len(points))]) @ to3.T
    u, v, _ = (np.column_stack([pixels, np.ones(len(pixels))]) @ to2.T).T
    zero = np.zeros_like(x)
    rows = np.concatenate([np.hstack([x, zero, -u[:, None] * x]), np.hstack([zero, x, -v[:, None] * x])])
    _, vectors = np.linalg.eigh(rows.T @ rows)
    return np.asarray(np.linalg.inv(to2) @ vectors[:, 0].reshape(3, 4) @ to3, np.float64)


def _normaliser(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = values.shape[1]
    centre = values.mean(axis=0)
    spread = max(float(np.sqrt(((values - centre) ** 2).sum(axis=1)).mean()), 1e-12)
    matrix = np.eye(size + 1)
    matrix[:size, :size] *= np.sqrt(size) / spread
    matrix[:size, size] = -centre * np.sqrt(size) / spread
    return matrix


def _error(
    projection: NDArray[np.float64], points: NDArray[np.float64], pixels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) reprojection error in pixels, infinite where a point falls on the camera plane."""
    moved = points @ projection[:, :3].T + projection[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.linalg.norm(moved[:, :2] / moved[:, 2:] - pixels, axis=1)
    return np.where(np.isfinite(error), error, np.inf)


def _fit(points: NDArray[np.float64], pixels: NDArray[np.float64], limit: float, name: str) -> _Pinhole:
    """The camera of one group, refined on pixels."""
    projection = _dlt(points, pixels)
    for _ in range(5):
        near = _error(projection, points, pixels) < 3 * limit
        if near.sum() < _MIN_PAIRS:
            break
        projection = _dlt(points[near], pixels[near])
    first = _decompose(projection, points)
    _check_natural(first, points, pixels, name)
    refined = _refined(first, points, pixels, limit)
    _check_natural(refined, points, pixels, name)
    return refined


def _decompose(projection: NDArray[np.float64], points: NDArray[np.float64]) -> _Pinhole:
    """K, R, t by RQ factorisation; the overall sign is the one with the points before the camera."""
    depth = points @ projection[2, :3] + projection[2, 3]
    projection = projection if np.median(depth) > 0 else -projection
    reverse = np.eye(3)[::-1]
    q, r = np.linalg.qr((reverse @ projection[:, :3]).T)
    K, R = reverse @ r.T @ reverse, reverse @ q.T
    signs = np.diag(np.where(np.diag(K) < 0, -1.0, 1.0))
    K, R = K @ signs, signs @ R
    t = np.linalg.solve(K, projection[:, 3])
    return _Pinhole(K / K[2, 2], R, t)


def _refined(first: _Pinhole, points: NDArray[np.float64], pixels: NDArray[np.float64], limit: float) -> _Pinhole:
    """Least squares on pixels with a soft L1 loss, over K (5 numbers), the rotation and the position."""
    step = max(1, len(points) // _REFINED_PAIRS)
    x, y = points[::step], pixels[::step]
    K, R, t = first

    def unpacked(p: NDArray[np.float64]) -> _Pinhole:
        k = np.array([[p[0], p[1], p[2]], [0, p[3], p[4]], [0, 0, 1.0]])
        return _Pinhole(k, Rotation.from_rotvec(p[5:8]).as_matrix() @ R, p[8:11])

    def residuals(p: NDArray[np.float64]) -> NDArray[np.float64]:
        k, r, shift = unpacked(p)
        moved = (x @ r.T + shift) @ k.T
        return np.asarray((moved[:, :2] / moved[:, 2:] - y).ravel(), np.float64)

    start = np.array([K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2], 0, 0, 0, *t])
    scale = np.array([K[0, 0], 10, K[0, 0], K[1, 1], K[1, 1], 1, 1, 1, *[np.linalg.norm(t)] * 3])
    fitted = least_squares(residuals, start, loss="soft_l1", f_scale=0.3 * limit, x_scale=scale * 1e-3, max_nfev=200)
    return unpacked(fitted.x)


def _check_natural(fit: _Pinhole, points: NDArray[np.float64], pixels: NDArray[np.float64], name: str) -> None:
    """Refuse a projection that no camera before a face has."""
    K, R, t = fit
    extent = float(np.ptp(pixels, axis=0).max())
    depth = points @ R[2] + t[2]
    problems = [
        (np.linalg.det(R) < 0, "it mirrors the scan"),
        (abs(K[0, 0] / K[1, 1] - 1) > 0.05, f"fx/fy is {K[0, 0] / K[1, 1]:.3f}, expected 0.95 to 1.05"),
        (abs(K[0, 1]) > 0.02 * K[0, 0], f"skew is {K[0, 1] / K[0, 0]:.3f} of the focal length, expected below 0.02"),
        (not extent < K[0, 0] < 100 * extent, f"focal length is {K[0, 0]:.0f} px for a face of {extent:.0f} px"),
        (depth.min() <= 0, "points of the scan lie behind it"),
    ]
    for wrong, what in problems:
        if wrong:
            raise InvalidDataError(
                f"{name}: the texture coordinates do not follow a real camera ({what}); render the images instead."
            )


def _cells(groups: list[NDArray[np.float64]], size: NDArray[np.float64], name: str) -> list[tuple[int, int, int, int]]:
    """The cell of each group in the smallest even grid that separates them all."""
    grids = sorted(product(range(1, 9), repeat=2), key=lambda rc: (rc[0] * rc[1], abs(rc[0] - rc[1])))
    for rows, columns in grids:
        step = size / (columns, rows)
        cells = []
        for pixels in groups:
            inside = np.clip(np.floor(pixels / step), 0, (columns - 1, rows - 1)).astype(int)
            corner = np.median(inside, axis=0).astype(int)
            if (inside != corner).any(axis=1).mean() > 0.005:  # a stray texture coordinate moves no border
                break
            left, top = np.rint(corner * step).astype(int)
            right, bottom = np.rint((corner + 1) * step).astype(int)
            cells.append((int(left), int(top), int(right), int(bottom)))
        if len(set(cells)) == len(groups):
            return cells
    raise InvalidDataError(
        f"{name}: {len(groups)} cameras found, but no even grid separates their photographs; render the images instead."
    )


def _photograph(
    fit: _Pinhole,
    box: tuple[int, int, int, int],
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    texture: NDArray[np.uint8],
    name: str,
) -> AtlasPhotograph:
    K, R, t = fit
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    shifted = K.copy()
    shifted[:2, 2] -= (left, top)
    error = _error(K @ np.column_stack([R, t]), points, pixels)
    median, p90 = float(np.median(error)), float(np.quantile(error, 0.9))
    limit = MEDIAN_PIXELS * max(1.0, max(width, height) / 2000)
    if median > limit:
        raise InvalidDataError(
            f"{name}: the recovered camera misses by {median:.2f} px in the median (90 % below {p90:.2f}), "
            f"expected at most {limit:.2f}; render the images instead."
        )
    share = shifted[:2, 2] / (width, height)
    if not ((share > 0.1) & (share < 0.9)).all():
        raise InvalidDataError(
            f"{name}: the optical axis of a recovered camera meets its photograph at {share[0]:.2f}, {share[1]:.2f} of "
            "its sides, expected near the middle; the photograph was cropped: render the images instead."
        )
    camera = Camera.from_opencv(shifted, np.column_stack([R, t]), width, height)
    image = np.ascontiguousarray(texture[top:bottom, left:right])
    return AtlasPhotograph(image, camera, box, len(points), median, p90)
