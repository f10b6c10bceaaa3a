"""From records to the tables and curves of a page. Numbers come from the records; what crosses two divisions (region
by yaw) is added up again from the per-sample sums, with intervals over subjects as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidRecordError
from fnbench.metrics import AUC_LIMITS, BIN, IMAGE_METRICS, QUANTILES, THRESHOLDS, UNIT, acc
from fnbench.protocol import FACING, PIXEL_GROUPS, REGION, SENSITIVITY, protocol_named
from fnbench.record import EvalResult
from fnbench.report import words
from fnbench.report.content import Cell, Column, Curve, Heat, Line, Model, Row, Strip
from fnbench.statistics import ratio_intervals

if TYPE_CHECKING:
    import pandas

HEADLINE = (
    *("mean_sub", "mean_img", "mean_px", "median_px"),
    *(f"{acc(threshold)}_px" for threshold in (20, 25, 30)),
)
"""Metrics of the headline table; the protocol's own headline comes first."""
FAMILIES = {"px": "over all pixels", "img": "mean over images", "sub": "mean over subjects"}
CURVE = np.arange(0, 45.01, 0.5)
"""Degrees at which the cumulative curve is drawn."""
_HELP = {
    "mean": "mean angular error",
    "std": "standard deviation of the error",
    "rmse": "root of the mean squared error",
    "median": "median error",
    **{name: f"{share:.0%} of the errors are smaller" for name, share in QUANTILES.items() if name != "median"},
    **{acc(t): f"share of errors below {t:g} degrees" for t in THRESHOLDS},
    **{f"auc{limit}": f"area under the cumulative curve up to {limit} degrees" for limit in AUC_LIMITS},
    "grad_l1": "normal gradient error: fine detail",
}
_SHADES = (2, 5, 8, 12, 16, 21, 27, 35)
"""Degrees at which the background of a breakdown cell gets stronger, the same in every report."""
TARGET_FLOOR = 0.004
"""Degrees that no octahedral target of a data file is off by (``fnbench.octahedral``)."""
WIDE = 7
"""A breakdown with more columns stands below the others, over the whole width."""
SAMPLE_DIVISIONS = ("yaw", "expression", "light")


def samples_of(record: EvalResult) -> pandas.DataFrame:
    """The per-sample rows of a record; InvalidRecordError when the table is not there."""
    if record.samples is None:
        raise InvalidRecordError(
            f"Record of {record.model} on {record.dataset}: the per-sample table is missing, and curves, subjects and "
            "samples need it. Copy the .samples.parquet file beside the .json file."
        )
    return record.samples


def headline_metrics(record: EvalResult) -> tuple[str, ...]:
    """The metrics of the headline table, the protocol's own first."""
    first = protocol_named(record.protocol).headline
    return (first, *(name for name in HEADLINE if name != first))


def headline_columns(record: EvalResult) -> list[Column]:
    """Headings of the headline table."""
    metrics = [
        Column(name, _help(name), words.unit_of(name), "descending" if words.unit_of(name) == "%" else "ascending")
        for name in headline_metrics(record)
    ]
    return [
        Column("rank", "ranks that the paired tests do not exclude", first="ascending"),
        Column("model", text=True, first="ascending"),
        *metrics,
        Column("tie group", "methods that the paired tests cannot tell apart share a group", first="ascending"),
        Column("coverage", "images that had a prediction; pixels whose prediction was usable", "images, pixels"),
        Column("floor", "error that the coding of the target or of the predictions causes by itself", "degrees"),
    ]


def headline_row(record: EvalResult, model: Model, standing: Mapping[str, Any]) -> Row:
    """One model in the headline table.

    standing: ``rank``, ``rank_low``, ``rank_high`` and ``tie_group``; empty when nothing was ranked.
    """
    ranks = words.NOTHING
    if standing:
        low, high = standing["rank_low"], standing["rank_high"]
        ranks = str(low) if low == high else f"{low}\u2013{high}"
    cells = [
        Cell("rank", ranks, str(standing.get("rank", ""))),
        Cell("model", record.model),
        *(_metric_cell(record, name, spread=True) for name in headline_metrics(record)),
        Cell("tie_group", str(standing.get("tie_group", words.NOTHING)), str(standing.get("tie_group", ""))),
        Cell(
            "coverage",
            words.share(record.coverage["images"]),
            repr(float(record.coverage["images"])),
            words.share(record.coverage["pixels"]),
        ),
        Cell("floor", *quantisation_floor(record)),
    ]
    tags = []
    if record.provenance.get("model", {}).get("untrained"):
        tags.append("untrained")
    if record.partial:
        tags.append("partial")
    return Row(model, cells, tags)


def quantisation_floor(record: EvalResult) -> tuple[str, str, str]:
    """The floor as printed, as sorted, and what it is: that of saved predictions, else that of the targets."""
    declared = record.provenance.get("model", {}).get("quantisation_floor")
    if isinstance(declared, Mapping) and declared.get("mean", 0) > TARGET_FLOOR:
        mean, worst = (float(declared[name]) for name in ("mean", "worst"))
        return f"{mean:.2f}", repr(mean), f"worst {worst:.2f}"
    return f"< {TARGET_FLOOR}", repr(TARGET_FLOOR), "of the targets"


def all_numbers(records: Sequence[EvalResult]) -> list[Line]:
    """Every metric in the three families, one line per metric."""
    return [
        Line(
            name,
            [_metric_cell(record, f"{name}_{family}") for record in records for family in FAMILIES],
            words.unit_of(name),
        )
        for name in IMAGE_METRICS
    ]


def sensitivity(records: Sequence[EvalResult]) -> list[Line]:
    """Mean error of the same predictions under every mask, from the records."""
    found = []
    for name in SENSITIVITY:
        rows = [breakdown_row(record, "mask sensitivity", name) for record in records]
        if any(row is not None and row["pixels"] for row in rows):
            found.append(Line(name, [_breakdown_cell(row) for row in rows]))
    return found


def breakdown_row(record: EvalResult, breakdown: str, name: str) -> Mapping[str, Any] | None:
    """One row of a record's breakdowns, or None."""
    for row in record.breakdowns:
        if row["breakdown"] == breakdown and row["bin"] == name:
            return row
    return None


def curve(record: EvalResult, model: Model) -> Curve:
    """Cumulative error over all pixels, with the 95 % band over subjects when there are enough."""
    rows = samples_of(record)
    counts = np.cumsum(np.stack(rows["histogram"].to_list()).astype(np.int64), axis=1)
    below = np.concatenate([np.zeros((len(rows), 1), np.int64), counts], axis=1)[:, (CURVE / BIN).astype(int)]
    pixels = rows["n"].to_numpy(np.int64)
    share = 100 * below.sum(axis=0) / pixels.sum()
    by_subject = _by_subject(rows, np.column_stack([100 * below, pixels]).astype(np.float64))
    sums, whole = by_subject[:, :-1], by_subject[:, -1:]
    bounds = ratio_intervals(sums, np.broadcast_to(whole, sums.shape).copy(), seed=_seed(record))
    known = bool(np.isfinite(bounds).any())
    return Curve(model, share, bounds[:, 0] if known else None, bounds[:, 1] if known else None)


def strip(record: EvalResult, model: Model) -> Strip:
    """Mean error of each subject."""
    rows = samples_of(record)
    values = record.subject_values("mean")
    images = rows["subject"].astype(str).value_counts()
    names = sorted(values)
    return Strip(
        model,
        names,
        [values[name] for name in names],
        [int(images[name]) for name in names],
        record.metrics["mean_sub"],
        record.intervals.get("mean_sub"),
    )


def heats(record: EvalResult) -> list[Heat]:
    """Region against yaw, expression, light and facing angle; mean error over the pixels of each cell."""
    rows = samples_of(record)
    n = np.stack(rows["group_n"].to_list()).astype(np.float64)
    total = np.stack(rows["group_total"].to_list()).astype(np.float64) / UNIT
    whole_n, whole_total = rows["n"].to_numpy(np.float64), rows["total"].to_numpy(np.float64) / UNIT
    names, places = _partition(REGION.name, REGION.bins)
    pixel_n = np.column_stack([whole_n, n[:, places]])
    pixel_total = np.column_stack([whole_total, total[:, places]])
    found = []
    for division in SAMPLE_DIVISIONS:
        bins = [str(value) for value in sorted(rows[division].unique(), key=_bin_order)]
        if bins == ["unknown"]:
            continue
        members = [np.ones(len(rows)), *((rows[division] == name).to_numpy(np.float64) for name in bins)]
        found.append(
            _heat(record, f"Region by {division}", ["all", *bins], ["all", *names], members, pixel_n, pixel_total)
        )
    facing, places = _partition(FACING.name, FACING.bins)
    members = [np.ones(len(rows)), *((rows["yaw"] == name).to_numpy(np.float64) for name in _yaws(rows))]
    pixel_n = np.column_stack([whole_n, n[:, places]])
    pixel_total = np.column_stack([whole_total, total[:, places]])
    title = "Facing angle by yaw" if len(members) > 1 else "Facing angle"
    found.append(_heat(record, title, ["all", *_yaws(rows)], ["all", *facing], members, pixel_n, pixel_total))
    return sorted(found, key=lambda heat: len(heat.columns) > WIDE)


def _yaws(rows: pandas.DataFrame) -> list[str]:
    bins = [str(value) for value in sorted(rows["yaw"].unique(), key=_bin_order)]
    return [] if bins == ["unknown"] else bins


def _partition(name: str, bins: Sequence[str]) -> tuple[list[str], list[int]]:
    """Printed names and places of one division of pixels among the groups of a sample's row."""
    printed = ["unlabelled" if each == "none" else each for each in bins]
    return printed, [PIXEL_GROUPS.index(f"{name}: {each}") for each in bins]


def _heat(
    record: EvalResult,
    title: str,
    columns: Sequence[str],
    lines: Sequence[str],
    members: Sequence[NDArray[np.float64]],
    n: NDArray[np.float64],
    total: NDArray[np.float64],
) -> Heat:
    """Cells of lines by columns.

    members: per column, (N,) 1 where a sample belongs.  n, total: (N, L) pixels and error sums per line.
    """
    member = np.stack(members, axis=1)  # (N, C)
    pixels, errors = (np.einsum("nl,nc->nlc", each, member).reshape(len(member), -1) for each in (n, total))
    rows = samples_of(record)
    sums, counts = _by_subject(rows, errors), _by_subject(rows, pixels)
    bounds = ratio_intervals(sums, counts, seed=_seed(record))
    images = (pixels > 0).sum(axis=0)
    found = []
    for line, name in enumerate(lines):
        cells = []
        for column in range(len(columns)):
            at = line * len(columns) + column
            cells.append(_heat_cell(sums[:, at].sum(), counts[:, at], int(images[at]), bounds[at]))
        if any(cell.shade != "none" for cell in cells):
            found.append(Line(name, cells))
    return Heat(title, columns, found)


def _heat_cell(total: float, pixels: NDArray[np.float64], images: int, bounds: NDArray[np.float64]) -> Cell:
    count = int(pixels.sum())
    if not count:
        return Cell("mean_px", "no data", shade="none")
    value = total / count
    sizes = (
        words.plural(count, "pixel"),
        words.plural(images, "image"),
        words.plural(int((pixels > 0).sum()), "subject"),
    )
    known = (float(bounds[0]), float(bounds[1])) if np.isfinite(bounds).all() else None
    title = f"mean_px {words.number('mean_px', value)}" + (f" ({words.interval('mean_px', known)})" if known else "")
    shade = f"h{int(np.searchsorted(_SHADES, value, side='right'))}"
    return Cell("mean_px", f"{value:.1f}", repr(float(value)), title=f"{title}; {', '.join(sizes)}", shade=shade)


def _metric_cell(record: EvalResult, name: str, *, spread: bool = False) -> Cell:
    value = record.metrics[name]
    small = words.interval(name, record.intervals.get(name))
    text = words.number(name, value)
    if spread and name in ("mean_img", "mean_sub"):
        text += f" \u00b1 {words.number(name, record.metrics[name.replace('mean', 'std')])}"
    return Cell(name, text, repr(float(value)) if value == value else "", small)


def _breakdown_cell(row: Mapping[str, Any] | None) -> Cell:
    if row is None or not row["pixels"]:
        return Cell("mean_px", "no data")
    bounds = row["intervals"].get("mean_px")
    value = row["metrics"]["mean_px"]
    small = words.interval("mean_px", tuple(bounds) if bounds else None)
    return Cell("mean_px", words.number("mean_px", value), repr(float(value)), small)


def _help(name: str) -> str:
    base, family = name.rsplit("_", 1)
    return f"{_HELP[base]}, {FAMILIES[family]}"


def _by_subject(rows: pandas.DataFrame, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, F) sums of (N, F) values over the samples of each subject."""
    subjects, places = np.unique(rows["subject"].to_numpy(str), return_inverse=True)
    found = np.zeros((len(subjects), values.shape[1]))
    np.add.at(found, places, values)
    return found


def _bin_order(name: str) -> tuple[int, float, str]:
    """Bins of numbers by their lower end, names after them, "unknown" last."""
    digits = name.lstrip(">").split("-")[0].rstrip("°").split(" ")[0]
    if name == "unknown":
        return 2, 0.0, name
    return (0, float(digits) + 0.5 * name.startswith(">"), name) if _is_number(digits) else (1, 0.0, name)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _seed(record: EvalResult) -> int:
    return int(record.provenance.get("statistics", {}).get("seed", 0))
