"""Angular error between normals, and the numbers a leaderboard reports.

Conventions
-----------
Normals are (..., 3) vectors in one frame; their lengths do not matter to the angle, but are checked. Errors are
degrees in [0, 180]. Masks are True where a pixel counts. Thresholds are strict (``<``), shares are percent, standard
deviations divide by N. A vector that is not finite, or shorter than ``NO_DIRECTION``, has no direction: inside the
mask it counts 180 degrees and is counted. Names end in the way images are put together, because the answers differ:

    _px    pooled: one number over the pixels of all images
    _img   one number per image, then their mean (``std_img`` is the spread of the per-image means)
    _sub   the per-image numbers averaged within each subject, then over subjects (``std_sub`` likewise)

Metrics
-------
mean, rmse, std      of the angular error, in degrees
median, q25 ... q99  exact quantiles, with linear interpolation between neighbouring errors
acc@T                share, in percent, whose error is strictly below T degrees
auc30, auc45         mean of max(0, 1 - error / T), in percent: the area under the cumulative error curve up to T
grad_l1              mean of |Du p - Du t| + |Dv p - Dv t| over pixels whose right, lower and lower right neighbours
                     are valid too: Euclidean norms of forward differences of the unit normals. Sees the fine detail
                     that a mean angle is blind to. A prediction without a direction counts 8 around it, the most.

Exactness
---------
An error is computed in float64 as atan2(|p x t|, p . t) and kept as an integer count of 2**-23 degrees, rounded
down. Sums of integers do not depend on order, so neither batch size nor the number of processes changes a bit, and a
strict threshold at a multiple of 2**-23 degrees is decided as the float would decide it. What rounding down costs,
1.2e-7 degrees at most, is a tenth of what a float32 normal carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import compiled
from fnbench.errors import InvalidDataError
from fnbench.types import UNIT_TOLERANCE as TARGET_TOLERANCE

METRIC_VERSION = "1"
"""Raised when a definition changes; a leaderboard does not mix versions."""
THRESHOLDS = (5.0, 7.5, 10.0, 11.25, 20.0, 22.5, 25.0, 30.0)
"""Degrees: the face papers use 20, 25, 30; the scene papers 5, 7.5, 11.25, 22.5, 30."""
QUANTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9, "q95": 0.95, "q99": 0.99}
AUC_LIMITS = (30, 45)
UNIT = 2**23
"""Integer steps per degree."""
WORST = 180 * UNIT
BIN = 0.25
"""Degrees per bin of a sample's histogram; every threshold is an edge."""
BINS = 720
NO_DIRECTION = 0.01
"""A shorter vector has no direction: 8-bit grey, the usual code of "invalid", decodes to a length of 0.007."""
UNIT_TOLERANCE = 0.05
"""A predicted length further from 1 is counted as off unit."""

_BLOCK = 1024  # pixels worked on together, so that they stay in the first cache
_BIN_STEPS = int(BIN * UNIT)
# atan(t) / t as a polynomial in t * t for |t| < tan(22.5 degrees), minimax, error below 1e-15.
_ATAN = (
    0.999999999999999,
    -0.3333333333322143,
    0.19999999978392646,
    -0.1428571266168377,
    0.11111048853718136,
    -0.09089529955963203,
    0.07673535421854269,
    -0.06505982928361508,
    0.05024761991068078,
    -0.025316477823864782,
)
_BIN_SHIFT = 21  # fixed >> _BIN_SHIFT is the bin: BIN * UNIT == 2**21
_FIRST_ABOVE = np.searchsorted(np.array(THRESHOLDS) / BIN, np.arange(BINS + 1), side="right").astype(np.int8)
"""For each bin, the first of THRESHOLDS above its errors; their number when there is none."""
_TAN_22_5 = 0.41421356237309503
_DEGREES = 57.29577951308232


def acc(threshold: float) -> str:
    """The name of an accuracy: ``acc@11.25``."""
    return f"acc@{threshold:g}"


IMAGE_METRICS = (
    "mean",
    *QUANTILES,
    "rmse",
    "std",
    *(acc(threshold) for threshold in THRESHOLDS),
    *(f"auc{limit}" for limit in AUC_LIMITS),
    "grad_l1",
)
"""Names of the numbers of one image, without a family's suffix."""
FAMILIES = ("px", "img", "sub")


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Angular errors of the pixels of one image that count.

    fixed: (K,) int32 errors in steps of 1/UNIT degrees, in row order of the mask.
    nonfinite, zero: pixels without a direction, by kind; both count 180 degrees.
    off_unit: pixels whose predicted length is further than UNIT_TOLERANCE from 1, those without direction excluded.
    """

    fixed: NDArray[np.int32]
    nonfinite: int = 0
    zero: int = 0
    off_unit: int = 0

    @property
    def degrees(self) -> NDArray[np.float64]:
        """(K,) float64 errors in degrees."""
        return self.fixed / UNIT


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Exact sums over the errors of one image: everything a table needs, in a few kilobytes.

    n: pixels that count.  nonfinite, zero, off_unit: see Errors.
    total, squares: sums of the fixed errors and of their squares.  largest: the largest fixed error.
    shortfall: for each of AUC_LIMITS, the sum of max(0, T - error) in fixed steps.
    quantiles: exact QUANTILES in degrees.
    histogram: (BINS,) whole numbers, errors per BIN degrees; 180 falls into the last.
    gradient_n, gradient_total: pixels with a full 2x2 support, and the sum of their gradient errors in 1/UNIT.
    """

    n: int
    nonfinite: int
    zero: int
    off_unit: int
    total: int
    squares: int
    largest: int
    shortfall: tuple[int, ...]
    quantiles: tuple[float, ...]
    histogram: NDArray[np.integer]
    gradient_n: int = 0
    gradient_total: int = 0


def angular_error(predicted: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angle between corresponding vectors, in degrees.

    Uses atan2(|p x t|, p . t) in float64: arccos loses up to 0.03 degrees near zero in float32, which is the
    region a good model is judged in.

    predicted, target: (..., 3) in the same frame, any positive length.
    Returns (...) float64 in [0, 180]; 180 where either has no direction.

    >>> angular_error(np.array([0.0, 0, 1]), np.array([0.0, 1, 0]))
    array(90.)
    """
    first, second = np.broadcast_arrays(predicted, target)
    if first.shape[-1:] != (3,):
        raise ValueError(f"expected vectors (..., 3), got {predicted.shape} and {target.shape}")
    out = np.empty(first.shape[:-1])
    _angles(_rows(first), _rows(second), out.reshape(-1))
    return out


def errors(predicted: NDArray[np.floating], target: NDArray[np.floating], mask: NDArray[np.bool_]) -> Errors:
    """Angular errors of one image inside a mask.

    predicted, target: (H, W, 3) in the same frame.  mask: (H, W) bool.
    Raises InvalidDataError when a target inside the mask is not of unit length: that is a fault of the dataset.
    """
    if predicted.shape != target.shape or predicted.shape != (*mask.shape, 3):
        raise ValueError(
            f"predicted {predicted.shape}, target {target.shape} and mask {mask.shape} do not fit; "
            "expected (H, W, 3) twice and (H, W)"
        )
    flat = np.ascontiguousarray(mask, np.bool_).reshape(-1)
    fixed = np.empty(np.count_nonzero(flat), np.int32)
    nonfinite, zero, off_unit, invalid = _errors(_rows(predicted), _rows(target), flat, fixed)
    if invalid:
        raise InvalidDataError(invalid_target(invalid, len(fixed)))
    return Errors(fixed, nonfinite, zero, off_unit)


def invalid_target(invalid: int, count: int) -> str:
    """What to say about targets inside the mask that are no unit normals."""
    return (
        f"{invalid} of {count} target normals inside the mask are zero, NaN or not of unit length; "
        "expected a unit normal wherever the mask is set. Correct the mask or the target."
    )


def worst_errors(count: int) -> Errors:
    """The errors of a missing prediction: 180 degrees at each of ``count`` pixels."""
    return Errors(np.full(count, WORST, np.int32))


def gradient_error(
    predicted: NDArray[np.floating], target: NDArray[np.floating], mask: NDArray[np.bool_]
) -> tuple[int, int]:
    """Pixels with a valid 2x2 support, and the sum of their gradient errors in steps of 1/UNIT.

    predicted, target: (H, W, 3) in the same frame; normalised here, no direction becomes the zero vector.
    mask: (H, W) bool.
    """
    height, width = mask.shape
    rows = (_rows(predicted).reshape(height, width, 3), _rows(target).reshape(height, width, 3))
    count, total = _gradient(*rows, np.ascontiguousarray(mask, np.bool_))
    return int(count), int(total)


def tally(found: Errors, gradient: tuple[int, int] = (0, 0)) -> Tally:
    """Exact sums, histogram and quantiles of one image's errors; the image must have a pixel that counts."""
    n = len(found.fixed)
    if n == 0:
        raise ValueError("an image without a pixel that counts has no error; exclude it by name")
    limits = np.array([limit * UNIT for limit in AUC_LIMITS], np.int64)
    fine = np.zeros(180 * _FINE + 1, np.int64)
    total, high, low, largest, *shortfall = _sums(found.fixed, limits, fine)
    histogram = fine[:-1].reshape(BINS, -1).sum(axis=1)
    histogram[-1] += fine[-1]
    ranks, weights = quantile_ranks(n)
    return Tally(
        n,
        found.nonfinite,
        found.zero,
        found.off_unit,
        total,
        (high << 32) + low,
        largest,
        tuple(shortfall),
        interpolated(_order_statistics(found.fixed, fine, ranks), weights),
        histogram,
        *gradient,
    )


@dataclass(frozen=True, slots=True, eq=False)
class GroupSums:
    """Exact sums over groups of pixels of one image.

    n, total: (G,) int64 pixels and sum of fixed errors.  below: (G, T) int64 errors below each of THRESHOLDS.
    """

    n: NDArray[np.int64]
    total: NDArray[np.int64]
    below: NDArray[np.int64]


def group_sums(fixed: NDArray[np.int32], labels: NDArray[np.uint8], groups: int) -> GroupSums:
    """Sums per label; fixed, labels: (K,), labels below ``groups``."""
    n, total = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    first = np.zeros((groups, len(THRESHOLDS) + 1), np.int64)
    _grouped(fixed, labels, _FIRST_ABOVE, n, total, first)
    return GroupSums(n, total, np.cumsum(first[:, :-1], axis=1))


def image_metrics(one: Tally) -> dict[str, float]:
    """The numbers of one image by name, degrees and percent; ``grad_l1`` is NaN without a 2x2 support."""
    return _metrics([one], dict(zip(QUANTILES, one.quantiles, strict=True)))


def summary(
    tallies: Sequence[Tally], subjects: Sequence[str], pooled_quantiles: Mapping[str, float]
) -> dict[str, float]:
    """All metrics of a set of images in the three families, independent of the order of the images.

    tallies, subjects: one per image.  pooled_quantiles: QUANTILES over the pixels of all images (fnbench.quantiles).
    Returns names with suffix ``_px``, ``_img`` or ``_sub``.
    """
    pooled = {f"{name}_px": value for name, value in _metrics(tallies, pooled_quantiles).items()}
    images = [image_metrics(one) for one in tallies]
    groups: dict[str, list[int]] = {}
    for index, subject in enumerate(subjects):
        groups.setdefault(subject, []).append(index)
    averaged: dict[str, float] = {}
    for name in IMAGE_METRICS:
        source = "mean" if name == "std" else name
        values = [image[source] for image in images]
        means = [average([values[index] for index in members]) for members in groups.values()]
        put_together = spread if name == "std" else average
        averaged[f"{name}_img"] = put_together(values)
        averaged[f"{name}_sub"] = put_together(means)
    return pooled | averaged


def average(values: Iterable[float]) -> float:
    """Correctly rounded mean of the finite values, whatever their order; NaN when there is none."""
    finite = [value for value in values if value == value]
    return fsum(finite) / len(finite) if finite else float("nan")


def spread(values: Iterable[float]) -> float:
    """Standard deviation (divided by N) of the finite values, whatever their order."""
    finite = [value for value in values if value == value]
    centre = average(finite)
    return sqrt(average((value - centre) ** 2 for value in finite)) if finite else float("nan")


def quantile_ranks(n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(Q, 2) ranks of the neighbours of each of QUANTILES among n values, and (Q,) weight of the upper.

    The "linear" rule of numpy.
    """
    position = np.array([share * (n - 1) for share in QUANTILES.values()])
    lower = np.floor(position).astype(np.int64)
    return np.stack([lower, np.minimum(lower + 1, n - 1)], axis=1), position - lower


def interpolated(pairs: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[float, ...]:
    """Degrees between (Q, 2) fixed errors, (Q,) weights on the upper."""
    return tuple(
        float((low + weight * (high - low)) / UNIT)
        for (low, high), weight in zip(pairs.tolist(), weights.tolist(), strict=True)
    )


def pooled_sums(tallies: Sequence[Tally]) -> tuple[int, int, int]:
    """Pixels, sum of fixed errors, sum of their squares over all images, as exact integers."""
    return sum(one.n for one in tallies), sum(one.total for one in tallies), sum(one.squares for one in tallies)


def _metrics(tallies: Sequence[Tally], quantiles: Mapping[str, float]) -> dict[str, float]:
    n, total, squares = pooled_sums(tallies)
    histogram = np.sum([one.histogram for one in tallies], axis=0)
    cumulated = np.cumsum(histogram)
    found = {"mean": total / (n * UNIT)}
    found |= {name: quantiles[name] for name in QUANTILES}
    found["rmse"] = sqrt(squares / n) / UNIT
    found["std"] = sqrt(n * squares - total * total) / (n * UNIT)
    for threshold in THRESHOLDS:
        found[acc(threshold)] = 100 * int(cumulated[int(threshold / BIN) - 1]) / n
    for position, limit in enumerate(AUC_LIMITS):
        found[f"auc{limit}"] = 100 * sum(one.shortfall[position] for one in tallies) / (n * limit * UNIT)
    support = sum(one.gradient_n for one in tallies)
    gradient = sum(one.gradient_total for one in tallies)
    found["grad_l1"] = gradient / (support * UNIT) if support else float("nan")
    return found


def _rows(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    kind = vectors.dtype if vectors.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(vectors, kind).reshape(-1, 3)


def _order_statistics(fixed: NDArray[np.int32], fine: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The errors at ``ranks`` (of any shape) of the sorted errors, found through their fine histogram."""
    cumulated = np.cumsum(fine)
    bins = np.searchsorted(cumulated, ranks, side="right")
    wanted = np.zeros(len(fine), np.bool_)
    wanted[bins] = True
    # Bins ascend, so one sort of the gathered errors holds every wanted bin as one run.
    gathered = np.sort(_in_bins(fixed, wanted, int(fine[wanted].sum())))
    skipped = cumulated - np.cumsum(np.where(wanted, fine, 0))
    found: NDArray[np.int64] = gathered[ranks - skipped[bins]].astype(np.int64)
    return found


_FINE = 64  # fine bins per degree, while an image's quantiles are looked for
_FINE_SHIFT = 17  # fixed >> _FINE_SHIFT is the fine bin: UNIT / _FINE == 2**17


@compiled
def degree_between(x: Any, y: Any, z: Any, u: Any, v: Any, w: Any) -> Any:
    """Degrees between the vectors (x, y, z) and (u, v, w): float64 scalars, for the inside of compiled loops."""
    # Single roundings and no fused multiply-add: cross products of equal vectors are exactly zero, and the torch
    # accumulator repeats these operations bit for bit.
    a = y * w - z * v
    b = z * u - x * w
    c = x * v - y * u
    sine = np.sqrt(a * a + b * b + c * c)
    cosine = x * u + y * v + z * w
    size = abs(cosine)
    steep = sine > size
    low = size if steep else sine
    high = sine if steep else size
    folded = low > _TAN_22_5 * high
    t = (low - high if folded else low) / (low + high if folded else high)
    s = t * t
    p = _ATAN[9]
    p = p * s + _ATAN[8]
    p = p * s + _ATAN[7]
    p = p * s + _ATAN[6]
    p = p * s + _ATAN[5]
    p = p * s + _ATAN[4]
    p = p * s + _ATAN[3]
    p = p * s + _ATAN[2]
    p = p * s + _ATAN[1]
    p = p * s + _ATAN[0]
    degree = p * t * _DEGREES
    degree = degree + 45.0 if folded else degree
    degree = 90.0 - degree if steep else degree
    return 180.0 - degree if cosine < 0.0 else degree


@compiled
def _angles(predicted: Any, target: Any, out: Any) -> Any:  # (N, 3), (N, 3), (N,)
    for i in range(out.size):
        x, y, z = np.float64(predicted[i, 0]), np.float64(predicted[i, 1]), np.float64(predicted[i, 2])
        u, v, w = np.float64(target[i, 0]), np.float64(target[i, 1]), np.float64(target[i, 2])
        length = x * x + y * y + z * z
        other = u * u + v * v + w * w
        known = min(length, other) >= NO_DIRECTION * NO_DIRECTION and max(length, other) < np.inf
        out[i] = degree_between(x, y, z, u, v, w) if known else 180.0


@compiled
def _errors(predicted: Any, target: Any, mask: Any, fixed: Any) -> Any:  # (N, 3), (N, 3), (N,), (K,)
    # In blocks: collect the pixels that count, then straight-line arithmetic that vectorises.
    p = np.empty((3, _BLOCK))
    t = np.empty((3, _BLOCK))
    length = np.empty(_BLOCK)
    target_length = np.empty(_BLOCK)
    x, y, z = p[0], p[1], p[2]
    u, v, w = t[0], t[1], t[2]
    shortest = NO_DIRECTION * NO_DIRECTION
    least = (1.0 - UNIT_TOLERANCE) ** 2
    most = (1.0 + UNIT_TOLERANCE) ** 2
    target_least = (1.0 - TARGET_TOLERANCE) ** 2
    target_most = (1.0 + TARGET_TOLERANCE) ** 2
    nonfinite, zero, odd, invalid = 0, 0, 0, 0
    i = 0
    done = 0
    while i < mask.size:
        k = 0
        while i < mask.size and k < _BLOCK:
            x[k] = predicted[i, 0]
            y[k] = predicted[i, 1]
            z[k] = predicted[i, 2]
            u[k] = target[i, 0]
            v[k] = target[i, 1]
            w[k] = target[i, 2]
            k += mask[i]
            i += 1
        for j in range(k):
            degree = degree_between(x[j], y[j], z[j], u[j], v[j], w[j])
            square = x[j] * x[j] + y[j] * y[j] + z[j] * z[j]
            length[j] = square
            target_length[j] = u[j] * u[j] + v[j] * v[j] + w[j] * w[j]
            degree = degree if square >= shortest else 180.0
            degree = degree if square < np.inf else 180.0
            fixed[done + j] = np.int32(degree * UNIT)
        for j in range(k):
            square = length[j]
            odd += 0 if (square > least) & (square < most) else 1
            zero += 1 if square < shortest else 0
            nonfinite += 0 if square < np.inf else 1
            invalid += 0 if (target_length[j] > target_least) & (target_length[j] < target_most) else 1
        done += k
    return nonfinite, zero, odd - zero - nonfinite, invalid


@compiled
def _sums(fixed: Any, limits: Any, fine: Any) -> Any:  # (K,) int32, (2,) int64, fine bins int64
    total, high, low = np.int64(0), np.int64(0), np.int64(0)
    largest, short, long = np.int64(0), np.int64(0), np.int64(0)
    first, second = limits[0], limits[1]
    for j in range(fixed.size):
        error = np.int64(fixed[j])
        square = error * error
        total += error
        low += square & 0xFFFFFFFF
        high += square >> 32
        largest = error if error > largest else largest
        short += first - error if error < first else np.int64(0)
        long += second - error if error < second else np.int64(0)
    for j in range(fixed.size):
        fine[fixed[j] >> _FINE_SHIFT] += 1
    return total, high, low, largest, short, long


@compiled
def _in_bins(fixed: Any, wanted: Any, count: Any) -> Any:  # (K,) int32, (B,) bool
    found = np.empty(count + 1, np.int32)  # one spare: the next candidate is written before it is judged
    k = 0
    for j in range(fixed.size):
        found[k] = fixed[j]
        k += wanted[fixed[j] >> _FINE_SHIFT]
    return found[:count]


@compiled
def _grouped(fixed: Any, labels: Any, first_above: Any, n: Any, total: Any, first: Any) -> Any:  # (K,), (K,), ...
    for j in range(fixed.size):
        group = labels[j]
        error = fixed[j]
        n[group] += 1
        total[group] += error
        first[group, first_above[error >> _BIN_SHIFT]] += 1


@compiled
def _normalised(vector: Any, out: Any) -> Any:  # (3,), (3,)
    x, y, z = np.float64(vector[0]), np.float64(vector[1]), np.float64(vector[2])
    length = np.sqrt(x * x + y * y + z * z)
    known = length >= NO_DIRECTION and length < np.inf
    scale = 1.0 / length if known else 0.0
    out[0] = x * scale if known else 0.0
    out[1] = y * scale if known else 0.0
    out[2] = z * scale if known else 0.0
    return known


@compiled
def _gradient(predicted: Any, target: Any, mask: Any) -> Any:  # (H, W, 3), (H, W, 3), (H, W)
    height, width = mask.shape
    # Differences of the unit normals of two rows: D p - D t = D (p - t).
    upper = np.zeros((width, 3))
    lower = np.zeros((width, 3))
    upper_known = np.zeros(width, np.bool_)
    lower_known = np.zeros(width, np.bool_)
    p = np.empty(3)
    t = np.empty(3)
    count = 0
    total = np.int64(0)
    for r in range(height):
        upper, lower = lower, upper
        upper_known, lower_known = lower_known, upper_known
        for c in range(width):
            if mask[r, c]:
                lower_known[c] = _normalised(predicted[r, c], p)
                _normalised(target[r, c], t)
                for k in range(3):
                    lower[c, k] = p[k] - t[k]
        if r == 0:
            continue
        for c in range(width - 1):
            if mask[r - 1, c] & mask[r - 1, c + 1] & mask[r, c] & mask[r, c + 1]:
                across, down = 0.0, 0.0
                for k in range(3):
                    across += (upper[c + 1, k] - upper[c, k]) ** 2
                    down += (lower[c, k] - upper[c, k]) ** 2
                known = upper_known[c] & upper_known[c + 1] & lower_known[c] & lower_known[c + 1]
                count += 1
                total += np.int64((np.sqrt(across) + np.sqrt(down) if known else 8.0) * UNIT)
    return count, total
