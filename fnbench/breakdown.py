"""Where a model is good and where it is not: numbers per region, angle, distance to the edge, pose, expression, light.

Everything comes from the per-sample rows; no pixel is needed. The parts of one breakdown recombine to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fnbench import statistics
from fnbench.metrics import BIN, THRESHOLDS, UNIT, acc
from fnbench.protocol import PIXEL_GROUPS, SAMPLE_BREAKDOWNS

if TYPE_CHECKING:
    import pandas


def breakdowns(table: pandas.DataFrame, *, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of numbers per region, facing angle, edge distance, mask, yaw, pitch, expression and light.

    table: per-sample rows. Each row of the answer has pixels, images, subjects, metrics and intervals; a bin without
    pixels has no metrics.
    """
    n = np.stack(table["group_n"].to_list()).astype(np.float64)
    total = np.stack(table["group_total"].to_list()).astype(np.float64) / UNIT
    below = np.stack(table["group_below"].to_list()).reshape(*n.shape, len(THRESHOLDS)).astype(np.float64)
    names = [tuple(group.split(": ")) if ": " in group else ("mask sensitivity", group) for group in PIXEL_GROUPS]
    whole = (table["n"].to_numpy(np.float64), table["total"].to_numpy(np.float64) / UNIT)
    thresholds = [_below(table, threshold) for threshold in THRESHOLDS]
    for breakdown in SAMPLE_BREAKDOWNS:
        values = table[breakdown]
        for value in sorted(values.unique()):
            member = (values == value).to_numpy(np.float64)
            names.append((breakdown, str(value)))
            n = np.column_stack([n, whole[0] * member])
            total = np.column_stack([total, whole[1] * member])
            share = np.stack([counted * member for counted in thresholds], axis=-1)
            below = np.concatenate([below, share[:, None]], axis=1)
    return _breakdown_rows(names, n, total, below, table["subject"].to_numpy(), seed)


def _breakdown_rows(
    names: Sequence[tuple[str, ...]],
    n: NDArray[np.float64],
    total: NDArray[np.float64],
    below: NDArray[np.float64],
    subjects: NDArray[Any],
    seed: int,
) -> list[dict[str, Any]]:
    present = n > 0
    means = np.divide(total, n, out=np.zeros_like(total), where=present)
    by_subject = {subject: np.flatnonzero(subjects == subject) for subject in sorted(set(subjects))}

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([values[rows].sum(axis=0) for rows in by_subject.values()])

    images = summed(present.astype(np.float64))
    seen = images > 0
    subject_means = np.divide(summed(means), images, out=np.zeros_like(images), where=seen)
    columns: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
        "mean_px": (summed(total), summed(n)),
        **{f"{acc(t)}_px": (100 * summed(below[..., k]), summed(n)) for k, t in enumerate(THRESHOLDS)},
        "mean_img": (summed(means), images),
        "mean_sub": (subject_means, seen.astype(np.float64)),
    }
    ranges = {name: statistics.ratio_intervals(*pair, seed=seed) for name, pair in columns.items()}
    found = []
    for index, name in enumerate(names):
        filled = bool(present[:, index].any())
        numbers = {
            key: float(upper[:, index].sum() / lower[:, index].sum())
            for key, (upper, lower) in columns.items()
            if filled
        }
        bounds = {
            key: tuple(values[index].tolist())
            for key, values in ranges.items()
            if filled and np.isfinite(values[index]).all()
        }
        found.append(
            {
                "breakdown": name[0],
                "bin": name[1],
                "pixels": int(n[:, index].sum()),
                "images": int(present[:, index].sum()),
                "subjects": int(seen[:, index].sum()),
                "metrics": numbers,
                "intervals": bounds,
            }
        )
    return found


def _below(table: pandas.DataFrame, threshold: float) -> NDArray[np.float64]:
    histogram = np.stack(table["histogram"].to_list())
    return np.asarray(histogram[:, : int(threshold / BIN)].sum(axis=1), np.float64)
