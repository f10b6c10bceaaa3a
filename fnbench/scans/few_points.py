"""All 68 landmarks from a few marked ones: the pose of a template head that carries them along.

Some datasets mark only a handful of points (eye corners, nose, mouth corners, chin), while the field's crop needs
the box of all 68. A scaled orthographic camera is fitted to the marked points; the other landmarks are the
template's, seen through that camera. They are estimates: good for a box and a hull, not for measuring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GOOD = 0.1  # misses relative to the extent of the points; beyond it a turned start is tried as well


@dataclass(frozen=True, slots=True, eq=False)
class FittedLandmarks:
    """68 landmarks, of which some were marked by a person and the rest follow from a template.

    points: (68, 2) float32 pixel x, y; the marked ones exactly as marked.
    marked: (68,) bool.
    residual: root mean square distance of the template to the marked points, relative to the larger side of
        their box.
    linear: (3, 3) scale times rotation from the template's frame (right, up, out) to pixels (right, up, out).
    shift: (2,) pixels (right, up) that is added then; the image's first row is at zero, up is negative below it.
    """

    points: NDArray[np.float32]
    marked: NDArray[np.bool_]
    residual: float
    linear: NDArray[np.float64]
    shift: NDArray[np.float64]

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3) from the template's frame to the canonical camera frame."""
        rotation: NDArray[np.float64] = self.linear / np.cbrt(np.linalg.det(self.linear))
        return rotation

    def normals(
        self, vertices: NDArray[np.floating], normals: NDArray[np.floating], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Roughly what normals the template has behind each pixel: its nearest vertex per cell of the picture.

        vertices, normals: (V, 3) of the template.
        Returns (H, W, 3) canonical unit normals, NaN where no vertex falls.
        """
        placed = np.asarray(vertices, np.float64) @ self.linear.T
        turned = np.asarray(normals, np.float64) @ self.rotation.T
        cell = max(1.0, float(np.ptp(self.points[:, 1])) / 24)
        rows = (-(placed[:, 1] + self.shift[1]) / cell).astype(np.int64)
        columns = ((placed[:, 0] + self.shift[0]) / cell).astype(np.int64)
        grid = int(shape[0] / cell) + 1, int(shape[1] / cell) + 1
        seen = (rows >= 0) & (rows < grid[0]) & (columns >= 0) & (columns < grid[1]) & (turned[:, 2] > 0)
        order = np.flatnonzero(seen)[np.argsort(placed[seen, 2], kind="stable")]  # the foremost is written last
        coarse = np.full((*grid, 3), np.nan)
        coarse[rows[order], columns[order]] = turned[order]
        at = [
            np.minimum(((np.arange(n) + 0.5) / cell).astype(np.int64), m - 1) for n, m in zip(shape, grid, strict=True)
        ]
        return coarse[np.ix_(*at)]


def fit_landmarks(
    marked: NDArray[np.floating], indices: NDArray[np.integer], template: NDArray[np.floating]
) -> FittedLandmarks:
    """Fill up a few marked landmarks.

    marked: (M, 2) pixel x, y, M at least 4; rows with NaN are ignored.
    indices: (M,) which of the 68 landmarks each one is.
    template: (68, 3) landmarks of a frontal head; right, up, out; any unit.
    """
    known = np.isfinite(marked).all(axis=1)
    seen = np.asarray(marked, np.float64)[known] * [1.0, -1.0]  # y up, as the template
    points = np.asarray(template, np.float64)[indices[known]]
    size = float(np.ptp(seen, axis=0).max())
    linear = _scaled_rotation(points - points.mean(axis=0), seen - seen.mean(axis=0))
    shift = seen.mean(axis=0) - linear[:2] @ points.mean(axis=0)
    fitted = (np.asarray(template, np.float64) @ linear[:2].T + shift) * [1.0, -1.0]
    off = fitted[indices[known]] - np.asarray(marked, np.float64)[known]
    fitted[indices[known]] = np.asarray(marked)[known]
    flags = np.zeros(68, bool)
    flags[indices[known]] = True
    return FittedLandmarks(
        fitted.astype(np.float32),
        flags,
        float(np.sqrt((off**2).sum(axis=1).mean()) / size),
        linear,
        shift,
    )


def _scaled_rotation(points: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) scale times rotation whose first two rows best map centred points (M, 3) to centred pixels (M, 2)."""
    # The points of a face lie nearly in a plane, so a free affine fit guesses its depth column badly:
    # start from the best in-plane similarity and refine scale and rotation vector on the pixels.
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    start = np.sqrt((seen**2).sum() / (points[:, :2] ** 2).sum())

    def misses(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        turned = Rotation.from_rotvec(parameters[:3]).as_matrix()[:2] @ points.T
        return np.asarray((np.exp(parameters[3]) * turned.T - seen).ravel() / start, np.float64)

    best = least_squares(misses, [0.0, 0.0, 0.0, np.log(start)], method="lm")
    for yaw in (-50.0, 50.0) if 2 * best.cost > _GOOD**2 * (points[:, :2] ** 2).sum() else ():
        best = min(
            best,
            least_squares(misses, [0.0, np.radians(yaw), 0.0, np.log(start)], method="lm"),
            key=lambda fit: float(fit.cost),
        )
    return np.asarray(np.exp(best.x[3]) * Rotation.from_rotvec(best.x[:3]).as_matrix(), np.float64)
