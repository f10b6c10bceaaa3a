"""How sure a number is: intervals over subjects, paired tests, and which methods are tied.

Conventions
-----------
The unit of resampling is the subject: images of one person are not independent. A bootstrap draw takes as many
subjects as there are, with replacement, keeps all images of each, and recomputes every metric from per-subject sums;
no pixel is needed. Intervals are the 2.5 and 97.5 percentiles of the draws. Fewer than MIN_SUBJECTS subjects: no
interval, and a note that says so. Everything is deterministic by seed, whatever the number of processors.

Two methods are compared on the same subjects: the difference of their subject means, its bootstrap interval, and a
sign-flip permutation test (exact up to EXACT_SUBJECTS subjects). Several comparisons are corrected after Holm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import compiled
from fnbench.metrics import (
    AUC_LIMITS,
    BIN,
    BINS,
    IMAGE_METRICS,
    QUANTILES,
    THRESHOLDS,
    UNIT,
    Tally,
    acc,
    average,
    image_metrics,
)

MIN_SUBJECTS = 10
DRAWS = 10_000
EXACT_SUBJECTS = 16
DOMINANT_SHARE = 0.25
"""A subject above this share of pixels or images is worth a warning."""
SIGNIFICANCE = 0.05

Interval = tuple[float, float]

_CHUNK = 500  # draws worked on together
_POOLED = ("n", "total", "squares", *(f"auc{limit}" for limit in AUC_LIMITS), "gradient_n", "gradient_total")


@dataclass(frozen=True, slots=True, eq=False)
class SubjectSums:
    """What a bootstrap needs of each subject.

    subjects: their names, sorted.
    linear: (S, F) float64: pooled sums, then count and sum of each image metric over the subject's images, the sum
        of squared image means, then count and value of each subject mean, and the squared subject mean.
    histogram: (S, BINS) float64 whole numbers: errors per bin.
    """

    subjects: tuple[str, ...]
    linear: NDArray[np.float64]
    histogram: NDArray[np.float64]


def subject_sums(tallies: Sequence[Tally], subjects: Sequence[str]) -> SubjectSums:
    """Per-subject sums of a result; one tally and one subject name per image, in any order."""
    names = sorted(set(subjects))
    members: dict[str, list[int]] = {name: [] for name in names}
    for index, subject in enumerate(subjects):
        members[subject].append(index)
    images = [image_metrics(one) for one in tallies]
    rows, histograms = [], []
    for name in names:
        own = [tallies[index] for index in members[name]]
        values = [images[index] for index in members[name]]
        means = [average(value[metric] for value in values) for metric in IMAGE_METRICS]
        rows.append(
            [
                *_pooled_row(own),
                *(sum(value[metric] == value[metric] for value in values) for metric in IMAGE_METRICS),
                *(mean * sum(value[metric] == value[metric] for value in values) if mean == mean else 0.0
                  for metric, mean in zip(IMAGE_METRICS, means, strict=True)),
                len(own) * average(value["mean"] ** 2 for value in values),
                *(float(mean == mean) for mean in means),
                *(mean if mean == mean else 0.0 for mean in means),
                means[0] ** 2,
            ]
        )  # fmt: skip
        histograms.append(np.sum([one.histogram for one in own], axis=0))
    return SubjectSums(tuple(names), np.array(rows, np.float64), np.array(histograms, np.float64))


def intervals(sums: SubjectSums, *, seed: int = 0, draws: int = DRAWS) -> dict[str, Interval]:
    """95 % intervals of every metric; empty below MIN_SUBJECTS subjects (``interval_note`` says why)."""
    if interval_note(len(sums.subjects)):
        return {}
    return _percentiles([_statistics(*drawn) for drawn in _resamples([sums], seed, draws)])


def difference_intervals(
    first: SubjectSums, second: SubjectSums, *, seed: int = 0, draws: int = DRAWS
) -> dict[str, Interval]:
    """95 % intervals of first minus second for every metric, both drawn with the same subjects."""
    if first.subjects != second.subjects:
        raise ValueError("a paired comparison needs the same subjects on both sides")
    if interval_note(len(first.subjects)):
        return {}
    found = []
    for linear, histogram, other_linear, other_histogram in _resamples([first, second], seed, draws):
        ours, theirs = _statistics(linear, histogram), _statistics(other_linear, other_histogram)
        found.append({name: ours[name] - theirs[name] for name in ours})
    return _percentiles(found)


def ratio_intervals(
    sums: NDArray[np.float64], counts: NDArray[np.float64], *, seed: int = 0, draws: int = DRAWS
) -> NDArray[np.float64]:
    """95 % intervals of sum / count, columns resampled together.

    sums, counts: (S, F) per subject.
    Returns (F, 2); NaN below MIN_SUBJECTS subjects, and where a column has no counts. Draws in which a column has no
    counts are left out of its percentiles.
    """
    subjects, columns = sums.shape
    if interval_note(subjects):
        return np.full((columns, 2), np.nan)
    both = np.concatenate([sums, counts], axis=1)
    parts = [_weighted(weights, both) for weights in _weights(subjects, seed, draws)]
    drawn = np.concatenate(parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = drawn[:, :columns] / drawn[:, columns:]
    filled = np.isfinite(ratios).any(axis=0)
    found = np.full((columns, 2), np.nan)
    if filled.any():
        found[filled] = np.nanpercentile(ratios[:, filled], [2.5, 97.5], axis=0).T
    return found


def interval_note(subjects: int) -> str:
    """Why there is no interval, or an empty text when there is one.

    >>> interval_note(3)
    'no interval: 3 subjects, at least 10 are needed'
    """
    return f"no interval: {subjects} subjects, at least {MIN_SUBJECTS} are needed" if subjects < MIN_SUBJECTS else ""


def dominant_subject(subjects: Sequence[str], counts: Sequence[int]) -> tuple[str, float]:
    """The subject with the largest share of ``counts`` (pixels or images, one per sample), and that share."""
    sums: dict[str, int] = {}
    for subject, count in zip(subjects, counts, strict=True):
        sums[subject] = sums.get(subject, 0) + count
    name = max(sorted(sums), key=lambda subject: sums[subject])
    return name, sums[name] / max(1, sum(sums.values()))


@dataclass(frozen=True, slots=True)
class Paired:
    """A paired comparison over subjects: negative differences favour the first when smaller is better.

    difference: mean over subjects of first minus second.  interval: 95 %, None below MIN_SUBJECTS subjects.
    p: two-sided sign-flip permutation p, uncorrected.  lower, higher, equal: subjects by sign of the difference.
    """

    difference: float
    interval: Interval | None
    p: float
    lower: int
    higher: int
    equal: int


def paired(first: Mapping[str, float], second: Mapping[str, float], *, seed: int = 0, draws: int = DRAWS) -> Paired:
    """Compare two methods by one number per subject.

    first, second: subject -> value; the same subjects. Raises ValueError otherwise.
    """
    differences = _differences(first, second)
    interval = None
    if not interval_note(len(differences)):
        low, high = ratio_intervals(differences[:, None], np.ones((len(differences), 1)), seed=seed, draws=draws)[0]
        interval = (float(low), float(high))
    signs = np.sign(differences)
    return Paired(
        average(differences.tolist()),
        interval,
        sign_flip(differences, seed=seed, draws=draws),
        int((signs < 0).sum()),
        int((signs > 0).sum()),
        int((signs == 0).sum()),
    )


def sign_flip(differences: NDArray[np.float64], *, seed: int = 0, draws: int = DRAWS) -> float:
    """Two-sided p of "the sign of each difference is a coin toss", by permutation of signs.

    differences: (S,) one per subject.
    Exact over all 2**S patterns up to EXACT_SUBJECTS subjects, else ``draws`` random ones with the observed added.

    >>> sign_flip(np.array([1.0, 1.0, 1.0]))
    0.25
    """
    count = len(differences)
    observed = abs(differences.sum()) * (1 - 1e-12)  # equal sums must count as equal in spite of rounding
    if count <= EXACT_SUBJECTS:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        sums = np.abs((1.0 - 2.0 * patterns) @ differences)
        return float(np.count_nonzero(sums >= observed) / len(sums))
    rng = np.random.default_rng(seed)
    signs = 1.0 - 2.0 * rng.integers(0, 2, (draws, count))
    return float((1 + np.count_nonzero(np.abs(signs @ differences) >= observed)) / (1 + draws))


def holm(p_values: Sequence[float]) -> list[float]:
    """Family-wise corrected p values after Holm (1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for position, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = highest
    return corrected


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a method stands on a board.

    group: tie group, 1 is the leader's.  best_rank, worst_rank: ranks that the tests do not exclude.
    p_leader: corrected p of the comparison with the leader of its group; 1 for the leader itself.
    """

    name: str
    group: int
    best_rank: int
    worst_rank: int
    p_leader: float


def standings(values: Mapping[str, Mapping[str, float]], *, seed: int = 0, draws: int = DRAWS) -> list[Standing]:
    """Tie groups of methods measured on the same subjects, best (smallest mean) first.

    values: method -> subject -> error. All pairs are tested by sign flips and corrected together after Holm. A
    method joins the group of the current leader unless its corrected p against that leader is below SIGNIFICANCE.
    """
    order = sorted(values, key=lambda name: (average(values[name].values()), name))
    pairs = list(combinations(order, 2))
    corrected = holm([paired_p(values[one], values[other], seed, draws) for one, other in pairs])
    p = dict(zip(pairs, corrected, strict=True))
    found: list[Standing] = []
    leader, group = "", 0
    for position, name in enumerate(order):
        if not leader or p[leader, name] < SIGNIFICANCE:
            leader, group = name, group + 1
        better = sum(p[other, name] < SIGNIFICANCE for other in order[:position])
        worse = sum(p[name, other] < SIGNIFICANCE for other in order[position + 1 :])
        found.append(Standing(name, group, 1 + better, len(order) - worse, 1.0 if leader == name else p[leader, name]))
    return found


def paired_p(first: Mapping[str, float], second: Mapping[str, float], seed: int = 0, draws: int = DRAWS) -> float:
    """The uncorrected sign-flip p of two methods, one number per subject each."""
    return sign_flip(_differences(first, second), seed=seed, draws=draws)


def _differences(first: Mapping[str, float], second: Mapping[str, float]) -> NDArray[np.float64]:
    if set(first) != set(second):
        odd = len(set(first) ^ set(second))
        raise ValueError(f"a paired comparison needs the same subjects; {odd} are on one side")
    return np.array([first[name] - second[name] for name in sorted(first)], np.float64)


def _pooled_row(tallies: Sequence[Tally]) -> list[float]:
    return [
        sum(one.n for one in tallies),
        sum(one.total for one in tallies) / UNIT,
        sum(one.squares for one in tallies) / UNIT**2,
        *(sum(one.shortfall[index] for one in tallies) / (limit * UNIT) for index, limit in enumerate(AUC_LIMITS)),
        sum(one.gradient_n for one in tallies),
        sum(one.gradient_total for one in tallies) / UNIT,
    ]


def _statistics(linear: NDArray[np.float64], histogram: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every metric of (D, F) resampled sums and (D, BINS) resampled histograms, as (D,) arrays."""
    width = len(IMAGE_METRICS)
    pooled = dict(zip(_POOLED, linear.T, strict=False))
    blocks = np.split(linear[:, len(_POOLED) :], np.cumsum([width, width, 1, width, width]), axis=1)
    image_counts, image_totals, image_squares, subject_counts, subject_totals, subject_squares = blocks
    n = pooled["n"]
    cumulated = np.cumsum(histogram, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {"mean_px": pooled["total"] / n, "rmse_px": np.sqrt(pooled["squares"] / n)}
        found["std_px"] = np.sqrt(np.maximum(0, pooled["squares"] / n - found["mean_px"] ** 2))
        found |= {f"{name}_px": _binned_quantile(cumulated, n, share) for name, share in QUANTILES.items()}
        found |= {f"{acc(t)}_px": 100 * cumulated[:, int(t / BIN) - 1] / n for t in THRESHOLDS}
        found |= {f"auc{limit}_px": 100 * pooled[f"auc{limit}"] / n for limit in AUC_LIMITS}
        found["grad_l1_px"] = pooled["gradient_total"] / pooled["gradient_n"]
        for family, counts, totals, squares in (
            ("img", image_counts, image_totals, image_squares),
            ("sub", subject_counts, subject_totals, subject_squares),
        ):
            means = totals / counts
            found |= {f"{name}_{family}": means[:, index] for index, name in enumerate(IMAGE_METRICS)}
            found[f"std_{family}"] = np.sqrt(np.maximum(0, squares[:, 0] / counts[:, 0] - means[:, 0] ** 2))
    return found


def _binned_quantile(cumulated: NDArray[np.float64], n: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    # Within a bin of 0.25 degrees the errors are taken as evenly spread; an interval needs no more.
    rank = share * n
    index = np.minimum((cumulated < rank[:, None]).sum(axis=1), BINS - 1)
    rows = np.arange(len(n))
    below = np.where(index > 0, cumulated[rows, index - 1], 0.0)
    inside = cumulated[rows, index] - below
    quantile: NDArray[np.float64] = BIN * (index + np.where(inside > 0, (rank - below) / np.maximum(inside, 1), 0.0))
    return quantile


def _percentiles(chunks: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, Interval]:
    found = {}
    for name in chunks[0]:
        values = np.concatenate([chunk[name] for chunk in chunks])
        values = values[np.isfinite(values)]
        if len(values):
            low, high = np.percentile(values, [2.5, 97.5])
            found[name] = (float(low), float(high))
    return found


def _weights(subjects: int, seed: int, draws: int) -> Iterator[NDArray[np.float64]]:
    """(D, S) how often each subject is in each draw, in chunks."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _CHUNK):
        count = min(_CHUNK, draws - start)
        drawn = rng.integers(0, subjects, (count, subjects)) + subjects * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * subjects).reshape(count, subjects).astype(np.float64)


def _resamples(sides: Sequence[SubjectSums], seed: int, draws: int) -> Iterator[list[NDArray[np.float64]]]:
    for weights in _weights(len(sides[0].subjects), seed, draws):
        chunk: list[NDArray[np.float64]] = []
        for side in sides:
            # The histograms are whole numbers, exact in float64 in any order, so a matrix product may be used.
            chunk += [_weighted(weights, side.linear), weights @ side.histogram]
        yield chunk


@compiled
def _weighted(weights: Any, values: Any) -> Any:  # (D, S), (S, F) -> (D, F)
    # Added in one fixed order: a matrix product would depend on the number of threads in its last bits.
    draws, subjects = weights.shape
    columns = values.shape[1]
    sums = np.zeros((draws, columns))
    for d in range(draws):
        for s in range(subjects):
            weight = weights[d, s]
            if weight != 0.0:
                for f in range(columns):
                    sums[d, f] += weight * values[s, f]
    return sums
