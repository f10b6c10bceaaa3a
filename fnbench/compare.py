"""Two records on the same samples: the paired difference, how sure it is, and who wins where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fnbench.errors import InvalidRecordError
from fnbench.metrics import THRESHOLDS, acc
from fnbench.protocol import PIXEL_GROUPS, REGION
from fnbench.record import EvalResult, differing, tallies
from fnbench.statistics import (
    Interval,
    Paired,
    difference_intervals,
    holm,
    interval_note,
    paired,
    subject_sums,
)

if TYPE_CHECKING:
    import pandas

SHOWN = (
    *("mean_px", "mean_img", "mean_sub", "median_px", "rmse_px", "std_img"),
    *(f"{acc(threshold)}_px" for threshold in THRESHOLDS),
    *("auc30_px", "grad_l1_px"),
)
"""Metrics of a comparison."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """First minus second.

    differences: metric -> value; intervals: metric -> 95 % over subjects, both drawn with the same subjects.
    overall: per-subject mean errors compared.  regions: the same inside each facial region; ``p`` is corrected over the
    regions after Holm.  note: why there are no intervals, or "".
    """

    first: str
    second: str
    differences: Mapping[str, float]
    intervals: Mapping[str, Interval]
    overall: Paired
    regions: Mapping[str, Paired]
    note: str

    def text(self) -> str:
        """For a terminal: differences, the verdict, wins per subject and region."""
        lines = [f"{self.first} minus {self.second}", *(f"  {self._line(name)}" for name in SHOWN), ""]
        lines.append(self._verdict())
        lines.append(f"{'':14}{'better':>8}{'worse':>8}{'equal':>8}   difference of subject means, p")
        for name, found in {"whole face": self.overall, **self.regions}.items():
            lines.append(
                f"{name:14}{found.lower:8}{found.higher:8}{found.equal:8}   {found.difference:+.2f}"
                f"{_bounds(found.interval)}, p {found.p:.4f}"
            )
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def _line(self, name: str) -> str:
        return f"{name:14}{self.differences[name]:+8.3f}{_bounds(self.intervals.get(name))}"

    def _verdict(self) -> str:
        better, worse = (self.first, self.second) if self.overall.difference < 0 else (self.second, self.first)
        if self.overall.p < 0.05:
            return f"{better} has the smaller error: p {self.overall.p:.4f} by sign flips over subjects."
        return (
            f"No difference between {better} and {worse} is shown: p {self.overall.p:.4f} by sign flips over subjects."
        )


def compare(first: EvalResult, second: EvalResult, *, seed: int = 0) -> Comparison:
    """Compare two records sample by sample.

    Raises InvalidRecordError when they were not measured on the same samples under the same protocol.
    """
    different = differing(first, second)
    if different:
        raise InvalidRecordError(
            f"{first.model} and {second.model} cannot be compared: {'; '.join(different)}. Evaluate both on the same "
            "file under the same protocol.",
            code="FM-49",
        )
    tables = [_ordered(result) for result in (first, second)]
    sums = [subject_sums(tallies(table), [str(name) for name in table["subject"]]) for table in tables]
    regions = _regions(*tables, seed=seed)
    corrected = holm([found.p for found in regions.values()])
    return Comparison(
        first.model,
        second.model,
        {name: first.metrics[name] - second.metrics[name] for name in SHOWN},
        {name: pair for name, pair in difference_intervals(*sums, seed=seed).items() if name in SHOWN},
        paired(first.subject_values(), second.subject_values(), seed=seed),
        {
            name: Paired(found.difference, found.interval, p, found.lower, found.higher, found.equal)
            for (name, found), p in zip(regions.items(), corrected, strict=True)
        },
        interval_note(first.counts["subjects"]),
    )


def _ordered(result: EvalResult) -> pandas.DataFrame:
    if result.samples is None:
        raise InvalidRecordError(
            f"Record of {result.model}: the per-sample table is missing; copy the .samples.parquet file beside it."
        )
    return result.samples.sort_values("id", ignore_index=True)


def _regions(first: pandas.DataFrame, second: pandas.DataFrame, *, seed: int) -> dict[str, Paired]:
    """Per facial region, the subjects' mean errors compared; regions without pixels are left out."""
    found = {}
    for name in REGION.bins[1:]:
        column = PIXEL_GROUPS.index(f"{REGION.name}: {name}")
        values = [_subject_means(table, column) for table in (first, second)]
        if values[0]:
            found[name] = paired(*values, seed=seed)
    return found


def _subject_means(table: pandas.DataFrame, column: int) -> dict[str, float]:
    n = np.stack(table["group_n"].to_list())[:, column]
    total = np.stack(table["group_total"].to_list())[:, column]
    filled = table.loc[n > 0, ["subject"]].assign(mean=total[n > 0] / n[n > 0])
    return {str(subject): float(value) for subject, value in filled.groupby("subject")["mean"].mean().items()}


def _bounds(interval: Interval | None) -> str:
    return "" if interval is None else f" [{interval[0]:+.3f}, {interval[1]:+.3f}]"
