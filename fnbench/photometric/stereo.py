"""Photometric stereo: normals of a still, matt surface from K exposures under K known distant lights.

Conventions
-----------
Lambert: I_k = rho max(0, n . l_k). Exposures are (K, H, W) linear intensities, directions (K, 3) unit vectors towards
the lights; normals come back in the axes of the directions. ``residual`` is the root mean square of
I_k - rho max(0, n . l_k) over all K lights, the excluded ones included, relative to the brightest I_k: how far a pixel
is from Lambert, so hair, eyes, highlights and cast shadows stand out in it.

Skin is not matt and a nose casts shadows, so each pixel chooses the observations it trusts:

shadow     an observation below ``SHADOW`` of the pixel's brightest carries no direction;
saturation an observation at the top of the range carries none either;
highlight  four observations of three unknowns leave one equation; when it is violated, the brightest observation goes
           if it is brighter than the others predict, the darkest if it is darker than they predict.

With more lights there is more to decide by: observations are reweighted by their own residuals (Cauchy weights).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHADOW = 0.12
"""An observation below this share of the pixel's brightest one is a shadow."""
OUTLIER = 0.03
"""Violation of Lambert, relative to the brightest observation, above which one observation is excluded."""
SATURATED = 0.985
"""Linear intensity from which an observation counts as clipped."""
MIN_SIGNAL = 0.04
"""Smallest brightest intensity of a pixel that has a normal."""
MIN_FACING = 0.05
"""Smallest z of a normal that is kept: below it the surface is seen edge on."""

_ROUNDS = 8  # of reweighting of each kind, with more than four lights


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """What photometric stereo knows of a picture.

    normals: (H, W, 3) float32 unit vectors inside ``mask``, zero elsewhere; axes of the light directions.
    mask: (H, W) bool, True where at least three trusted observations give a normal that faces the camera.
    albedo: (H, W) float32 reflectance times light strength.
    residual: (H, W) float32 relative departure from Lambert, see the module docstring; NaN without signal.
    used: (K, H, W) bool, the observations that were trusted.
    """

    normals: NDArray[np.float32]
    mask: NDArray[np.bool_]
    albedo: NDArray[np.float32]
    residual: NDArray[np.float32]
    used: NDArray[np.bool_]


def photometric_stereo(exposures: NDArray[np.floating], directions: NDArray[np.floating]) -> Recovered:
    """Normals, albedo and quality of every pixel.

    exposures: (K, H, W) linear intensities in [0, 1], K at least 3.
    directions: (K, 3) unit vectors towards the lights.
    """
    count, height, width = exposures.shape
    if directions.shape != (count, 3) or count < 3:
        raise ValueError(f"{count} exposures and directions {directions.shape}; expected K >= 3 and (K, 3)")
    intensity = exposures.reshape(count, -1).astype(np.float64)
    lights = np.asarray(directions, np.float64)
    # With many lights one highlight must not declare all others shadows; of four, the brightest is needed.
    top = intensity.max(axis=0) if count <= 4 else np.quantile(intensity, 0.75, axis=0)
    trusted = (intensity >= SHADOW * top) & (intensity < SATURATED)
    enough = trusted.sum(axis=0) >= 3
    used = trusted.copy()
    if count > 4:
        scaled, weights = _reweighted(intensity, lights, trusted)
        used &= weights > 0.1
    else:
        if count == 4:
            used &= ~_outlier_of_four(intensity, lights, top, trusted)
        scaled = solve_subsets(intensity, lights, used)
    albedo = np.linalg.norm(scaled, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        normals = scaled / albedo
        predicted = np.maximum(lights @ scaled, 0)
        residual = np.sqrt(np.mean((intensity - predicted) ** 2, axis=0)) / top
    mask = enough & (top >= MIN_SIGNAL) & np.isfinite(normals).all(axis=0) & (normals[2] > MIN_FACING)
    return Recovered(
        normals=np.where(mask, normals, 0).T.reshape(height, width, 3).astype(np.float32),
        mask=mask.reshape(height, width),
        albedo=albedo.reshape(height, width).astype(np.float32),
        residual=residual.reshape(height, width).astype(np.float32),
        used=used.reshape(count, height, width),
    )


def solve_subsets(
    intensity: NDArray[np.float64], directions: NDArray[np.float64], used: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Least squares per pixel over the observations it uses; one small inverse per subset of lights that occurs.

    intensity: (K, N).  directions: (K, 3).  used: (K, N) bool, K at most 8.
    Returns (3, N) normals times albedo; zero where fewer than three observations are used.
    """
    subset = np.packbits(used, axis=0)[0]
    scaled = np.zeros((3, intensity.shape[1]))
    for code in np.unique(subset):
        pixels = np.flatnonzero(subset == code)
        lights = np.flatnonzero(used[:, pixels[0]])
        if len(lights) >= 3 and np.linalg.matrix_rank(directions[lights], tol=1e-4) == 3:
            scaled[:, pixels] = np.linalg.pinv(directions[lights]) @ intensity[np.ix_(lights, pixels)]
    return scaled


def solve(
    intensity: NDArray[np.float64], directions: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted least squares per pixel.

    intensity, weights: (K, N).  directions: (K, 3).
    Returns (3, N) normals times albedo; zero where the weights leave fewer than three directions.
    """
    normal_matrix = np.einsum("kn,ki,kj->nij", weights, directions, directions, optimize=True)
    right = np.einsum("kn,ki,kn->ni", weights, directions, intensity, optimize=True)
    solvable = np.linalg.det(normal_matrix) > 1e-9
    scaled = np.zeros((3, len(right)))
    scaled[:, solvable] = np.linalg.solve(normal_matrix[solvable], right[solvable][..., None])[..., 0].T
    return scaled


def _outlier_of_four(
    intensity: NDArray[np.float64],
    directions: NDArray[np.float64],
    top: NDArray[np.float64],
    trusted: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """(4, N) bool: the one observation per pixel that breaks Lambert, where there is one.

    Four directions in space have one linear relation c (sum of c_k l_k = 0), so c . I = 0 for a matt surface. Its
    violation divided by c_k is the excess of observation k over what the other three predict.
    """
    relation = np.linalg.svd(directions.T)[2][3]
    violation = relation @ intensity
    with np.errstate(divide="ignore"):
        excess = violation / np.where(np.abs(relation) < 0.1, np.inf, relation)[:, None]  # weak lever: no verdict
    broken = trusted.all(axis=0) & (np.abs(violation) / np.abs(relation).max() > OUTLIER * top)
    pixels = np.arange(intensity.shape[1])
    brightest, darkest = intensity.argmax(axis=0), intensity.argmin(axis=0)
    too_bright = broken & (excess[brightest, pixels] > 0)
    too_dark = broken & ~too_bright & (excess[darkest, pixels] < 0)
    outlier = np.zeros(intensity.shape, bool)
    outlier[brightest[too_bright], pixels[too_bright]] = True
    outlier[darkest[too_dark], pixels[too_dark]] = True
    return outlier


def _reweighted(
    intensity: NDArray[np.float64], directions: NDArray[np.float64], trusted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares reweighted by its residuals: (3, N) solution and (K, N) Cauchy weights in [0, 1]."""
    weights = trusted.astype(np.float64)
    for _ in range(_ROUNDS):  # least absolute errors first: a start that a few highlights cannot pull away
        error = np.abs(intensity - directions @ solve(intensity, directions, weights))
        weights = trusted / np.maximum(error, 1e-3)
    for _ in range(_ROUNDS):
        error = np.abs(intensity - directions @ solve(intensity, directions, weights))
        masked = np.where(trusted, error, np.nan)
        with np.errstate(all="ignore"):
            scale = 2.0 * 1.4826 * _median(masked) + 1e-6
        weights = trusted / (1.0 + (error / scale) ** 2)
    return solve(intensity, directions, weights), weights


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over the first axis without NaN; 0 where nothing is left."""
    ordered = np.sort(values, axis=0)  # NaN sorts last
    count = np.isfinite(values).sum(axis=0)
    index = np.maximum(count - 1, 0) // 2
    median: NDArray[np.float64] = np.nan_to_num(ordered[index, np.arange(values.shape[1])], nan=0.0)
    return median
