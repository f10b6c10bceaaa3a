"""Facial regions on any scan: the built-in head's regions, carried over by 68 landmarks.

Rule
----
1. A similarity lays the known landmarks of the scan on those of the built-in mean head.
2. A smooth deformation (thin-plate spline, lightly smoothed) of the inner landmarks takes up the rest: proportions and
   expression. The outline (1-7, 9-15) is left out, because annotators place it freely along the jaw.
3. Every vertex so carried into the canonical head gets the region that the built-in head has there; vertices that
   end further than ``REACH`` from its surface (hair, clothes, noise) get none.

The residual says how well the carried scan lies on the built-in head; it belongs into the attributes of every sample
that uses the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError
from fnbench.scans import head
from fnbench.scans.anatomy.points import regions
from fnbench.scans.implicit import evaluate
from fnbench.types import Scan

REACH = 15.0
"""Largest distance in mm of a labelled vertex from the built-in head, after the deformation."""

_USED = np.array([0, 8, 16, *range(17, 68)])
_FEWEST = 12
_SMOOTHING = 2.0
_AROUND = 160.0
"""Vertices further than this from the tip of the nose are not looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Regions of a scan.

    labels: (V,) uint8, see ``fnbench.types.REGIONS``; 0 off the face.
    residual: median distance in mm of the labelled vertices from the built-in head.
    used: how many landmarks carried the regions over.
    canonical: (V, 3) where the vertices come to lie in the canonical built-in head, in mm.
    """

    labels: NDArray[np.uint8]
    residual: float
    used: int
    canonical: NDArray[np.float64]

    @property
    def attributes(self) -> dict[str, Any]:
        """What is stored with every sample, in JSON types."""
        return {
            "region_source": f"built-in head by {self.used} landmarks",
            "region_residual_mm": round(self.residual, 3),
        }


def label_regions(scan: Scan, landmarks: NDArray[np.floating]) -> Labelled:
    """Facial regions of a scan.

    landmarks: (68, 3) in scan coordinates, iBUG order, NaN where unknown; at least 12 of those that are used.
    """
    points, template = np.asarray(landmarks, np.float64)[_USED], _template()[_USED]
    known = np.isfinite(points).all(axis=1)
    if known.sum() < _FEWEST:
        raise InvalidDataError(
            f"{scan.name}: {int(known.sum())} landmarks are known, expected at least {_FEWEST} to carry facial "
            f"regions over; give landmarks, or let the face be located."
        )
    carried = _carried(scan.vertices, points[known], template[known])
    labels, residual = regions_at(carried)
    return Labelled(labels, residual, int(known.sum()), carried)


def regions_at(canonical: NDArray[np.float64]) -> tuple[NDArray[np.uint8], float]:
    """Facial regions (N,) of points (N, 3) in the canonical built-in head, 0 off the face; and their residual in mm."""
    labels = np.zeros(len(canonical), np.uint8)
    near = np.flatnonzero(np.linalg.norm(canonical - _template()[30], axis=1) < _AROUND)
    distance = np.abs(evaluate(head.surface(head.Shape()), canonical[near])[0])
    found = regions(canonical[near], head.Shape())
    found[distance > REACH] = 0
    labels[near] = found
    return labels, float(np.median(distance[found > 0])) if found.any() else float("inf")


@lru_cache(maxsize=1)
def _template() -> NDArray[np.float64]:
    return head.landmarks(head.Shape())


def _carried(
    vertices: NDArray[np.float64], points: NDArray[np.float64], template: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Vertices (V, 3) in the canonical head: the spline that takes ``points`` to ``template`` (both (N, 3))."""
    from scipy.interpolate import RBFInterpolator

    linear, shift = _similarity(points, template)
    laid, moved = points @ linear.T + shift, vertices @ linear.T + shift
    spline = RBFInterpolator(laid, template - laid, kernel="thin_plate_spline", smoothing=_SMOOTHING, degree=1)
    # Far from all landmarks a spline runs away linearly: let its pull fade there.
    gap = np.linalg.norm(moved - np.clip(moved, laid.min(axis=0), laid.max(axis=0)), axis=1)
    offset = spline(moved) * np.clip(1.0 - gap / 60.0, 0.0, 1.0)[:, None]
    return np.asarray(moved + offset, np.float64)


def _similarity(
    points: NDArray[np.float64], template: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The linear map (3, 3), a rotation times a scale, and the shift that lay points on the template (Umeyama 1991)."""
    a, b = points - points.mean(axis=0), template - template.mean(axis=0)
    u, size, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.linalg.det(u @ vt)])
    linear = (u @ sign @ vt) * float((size * np.diag(sign)).sum() / (a * a).sum())
    return linear, template.mean(axis=0) - linear @ points.mean(axis=0)
