"""The record of one evaluation: what was measured, on which data, under which protocol, and how sure it is.

A record is two files in one folder, both written whole or not at all:

``<model>.json``             everything below but the samples
``<model>.samples.parquet``  one row per sample: exact integer sums, so that every aggregate is recomputable

Keys of the JSON
----------------
record                  "fnbench-record/1"
model                   name of the estimator, or of the submitted predictions
dataset, split, gt_kind as the data file names them
protocol, protocol_version, mask, metric_version   records that differ in one of these are never compared
data_hash               content hash of the data file (its samples, not its compression)
split_hash              hash of the sorted ids that were to be scored
mask_hash               hash of the pixels that counted, over all samples
weights_sha256          of the weights file, or null
metrics                 name -> number; every metric of ``fnbench.metrics`` in the families _px, _img, _sub
intervals               name -> [low, high], 95 % over subjects; empty below ten subjects
interval_note           why there is no interval, or ""
counts                  images (scored), images_in_split, images_missing (scored as 180 degrees), subjects, pixels,
                        pixels_nonfinite, pixels_zero, pixels_off_unit, pixels_missing
coverage                images and pixels: shares that had a usable prediction
breakdowns              rows {breakdown, bin, pixels, images, subjects, metrics, intervals}; no metrics without pixels
findings                rows {code, verdict, text}: what was scored or warned about
provenance              fnbench version and commit, settings, model, data file, environment, timings
started, finished       UTC, ISO 8601
samples                 {file, sha256} of the Parquet file

Columns of the Parquet file
---------------------------
id, subject, capture; missing (bool); mask_sha256, prediction_sha256 ("" when missing)
n, nonfinite, zero, off_unit, total, squares_high, squares_low, largest, shortfall30, shortfall45, gradient_n,
gradient_total          integers of ``fnbench.metrics.Tally``; squares = squares_high * 2**32 + squares_low
histogram               list of 720 counts, 0.25 degrees each
mean, median, q25 ... , rmse, std, acc@5 ... , auc30, auc45, grad_l1      of the image, derived from the integers
yaw, pitch, expression, light                                             bins of the sample
group_n, group_total, group_below                                         sums per pixel group of the protocol (see
                        ``fnbench.protocol.PIXEL_GROUPS``); group_below has one count per group and threshold
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fnbench import catalog
from fnbench.errors import InvalidRecordError
from fnbench.files import replacing, write_text
from fnbench.metrics import (
    AUC_LIMITS,
    FAMILIES,
    IMAGE_METRICS,
    METRIC_VERSION,
    QUANTILES,
    THRESHOLDS,
    UNIT,
    Tally,
    acc,
    image_metrics,
    summary,
)

if TYPE_CHECKING:
    import pandas

SCHEMA = "fnbench-record/1"
IDENTITY = (
    *("dataset", "split", "gt_kind", "protocol", "protocol_version", "mask", "metric_version"),
    *("data_hash", "split_hash", "mask_hash"),
)
"""Fields that must agree before two records may stand in one table."""
_SHOWN = (
    *("mean", "median", "rmse", "std"),
    *("acc@5", "acc@7.5", "acc@11.25", "acc@20", "acc@22.5", "acc@25", "acc@30", "auc30", "grad_l1"),
)
_TOLERANCE = 1e-6
_TEXTS = (
    *("model", "dataset", "split", "gt_kind", "protocol", "mask", "metric_version", "data_hash", "split_hash"),
    *("mask_hash", "interval_note", "started", "finished"),
)
_MAPPINGS = ("metrics", "intervals", "counts", "coverage", "provenance", "samples")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a reader of the result must know.

    code: number of the failure mode ("FM-08"), or empty.
    verdict: SCORE (counted as worst), WARN, or, before a result exists, STOP.
    ids: every sample concerned; the text names ten at most, and only the text goes into a record.
    """

    code: str
    verdict: str
    text: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verdict} {self.code}: {self.text}" if self.code else f"{self.verdict}: {self.text}"


@dataclass(frozen=True, slots=True, eq=False)
class EvalResult:
    """One model on one split under one protocol; the fields are those of the module docstring.

    samples: pandas.DataFrame with one row per sample, or None when only the JSON is at hand.
    Raises InvalidRecordError when the numbers contradict each other.
    """

    model: str
    dataset: str
    split: str
    gt_kind: str
    protocol: str
    protocol_version: int
    mask: str
    data_hash: str
    split_hash: str
    mask_hash: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    counts: Mapping[str, int]
    coverage: Mapping[str, float]
    provenance: Mapping[str, Any]
    samples: pandas.DataFrame | None = field(repr=False)
    weights_sha256: str | None = None
    metric_version: str = METRIC_VERSION
    interval_note: str = ""
    breakdowns: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    findings: tuple[Finding, ...] = ()
    started: str = ""
    finished: str = ""

    def __post_init__(self) -> None:
        problems = [*contradictions(self.metrics), *_count_problems(self.counts)]
        if self.samples is not None:
            problems += _sample_problems(self.metrics, self.counts, self.samples)
        if problems:
            more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
            raise InvalidRecordError(
                f"Record of {self.model} on {self.dataset}: impossible numbers: {'; '.join(problems[:3])}{more}. "
                "Evaluate again; a record is never edited by hand.",
                code="FM-57",
            )

    @property
    def partial(self) -> bool:
        """True when not every sample of the split was scored; such a result is never ranked."""
        return self.counts["images"] < self.counts["images_in_split"]

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that must agree before two records may be compared, by name."""
        return {name: getattr(self, name) for name in IDENTITY}

    def text(self) -> str:
        """The headline in plain text: all three families side by side, coverage and findings beside them."""
        counts, coverage = self.counts, self.coverage
        lines = [
            f"{self.model} on {self.dataset}/{self.split}, {self.protocol} v{self.protocol_version}, mask {self.mask}",
            f"{counts['images']} of {counts['images_in_split']} images, {counts['subjects']} subjects, "
            f"{counts['pixels']} pixels; coverage {coverage['images']:.1%} of images, "
            f"{coverage['pixels']:.2%} of pixels",
            f"{'':12}{'pooled _px':>22}{'per image _img':>22}{'per subject _sub':>22}",
        ]
        for name in _SHOWN:
            cells = "".join(f"{self._cell(f'{name}_{family}'):>22}" for family in FAMILIES)
            lines.append(f"{name:12}{cells}".rstrip())
        return "\n".join([*lines, *(str(finding) for finding in self.findings)])

    def _cell(self, name: str) -> str:
        value = f"{self.metrics[name]:.2f}"
        if name not in self.intervals:
            return value
        low, high = self.intervals[name]
        return f"{value} [{low:.2f}, {high:.2f}]"

    def subject_values(self, metric: str = "mean") -> dict[str, float]:
        """subject -> mean over its images of an image metric (``mean``, ``acc@20``, ...)."""
        if self.samples is None:
            raise InvalidRecordError(
                f"Record of {self.model} on {self.dataset}: the per-sample table is missing; copy the .samples.parquet "
                "file beside the .json file."
            )
        groups = self.samples.groupby("subject")[metric]
        return {str(subject): math.fsum(values) / len(values) for subject, values in groups}


def contradictions(metrics: Mapping[str, float]) -> list[str]:
    """The rules that a set of metrics breaks, in words; empty when the numbers can be true.

    metrics: names with suffix; families may be absent, as in reported results.
    """
    found = [f"{name} is {value}" for name, value in metrics.items() if not _possible(name, value)]
    if found:
        return found
    for family in FAMILIES:
        one = {name.removesuffix(f"_{family}"): value for name, value in metrics.items() if name.endswith(f"_{family}")}
        found += [f"{text} ({family})" for text in (*_orders(one), *(_pooled_rules(one) if family == "px" else ()))]
    return found


def smallest_std(mean: float, shares: Mapping[float, float]) -> float:
    """The smallest standard deviation that a mean and accuracies allow; infinite when no distribution has both.

    mean: degrees.  shares: threshold in degrees -> percent below it.

    >>> round(smallest_std(12.0, {20: 80.0}), 2)
    4.0
    """
    edges = [0.0, *sorted(shares), 180.0]
    cumulated = [0.0, *(shares[threshold] / 100 for threshold in sorted(shares)), 1.0]
    weights = np.diff(cumulated)
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    if not weights @ low - _TOLERANCE <= mean <= weights @ high + _TOLERANCE:
        return math.inf
    # Every part sits as near to one common value as its interval allows; bisect for the value with the right mean.
    below, above = 0.0, 180.0
    for _ in range(60):
        middle = (below + above) / 2
        if weights @ np.clip(middle, low, high) < mean:
            below = middle
        else:
            above = middle
    values = np.clip(above, low, high)
    return float(np.sqrt(max(0.0, weights @ (values - mean) ** 2)))


def write_record(result: EvalResult, folder: Path) -> Path:
    """Write ``<model>.samples.parquet`` and then ``<model>.json``; returns the path of the JSON."""
    if result.samples is None:
        raise InvalidRecordError(f"Record of {result.model}: no per-sample rows to write.")
    name = file_name(result.model)
    table = folder / f"{name}.samples.parquet"
    with replacing(table) as temporary:
        _write_samples(result.samples, temporary)
        digest = _sha256(temporary)
    path = folder / f"{name}.json"
    write_text(path, json.dumps(_as_json(result, {"file": table.name, "sha256": digest}), indent=1) + "\n")
    return path


def read_record(path: Path) -> EvalResult:
    """Read and check a record; InvalidRecordError says what is wrong with it.

    The per-sample table is read when it lies beside the JSON; it must be the one that the JSON names.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRecordError(f"{path}: cannot be read as a record ({error}). Evaluate again.") from None
    if not isinstance(data, dict) or data.get("record") != SCHEMA:
        found = data.get("record") if isinstance(data, dict) else type(data).__name__
        raise InvalidRecordError(f"{path}: record schema {found!r}, expected {SCHEMA!r}.")
    problems = _shape_problems(data)
    if problems:
        raise InvalidRecordError(f"{path}: {'; '.join(problems)}. Evaluate again; a record is never edited by hand.")
    try:
        return _from_json(data, _samples_beside(path, data["samples"]))
    except InvalidRecordError as error:
        raise InvalidRecordError(f"{path}: {error}", error.code) from None


def shipped_records() -> Path:
    """The folder of the records that come with this version; InvalidRecordError when there are none."""
    path = catalog.folder("leaderboard") / "records"
    if not path.is_dir():
        raise InvalidRecordError("No records come with this version. Give a folder of your own with --records.")
    return path


def read_records(folder: Path) -> list[EvalResult]:
    """All records below a folder, in the order of their paths; InvalidRecordError when there is none."""
    return [read_record(path) for path in record_paths(folder)]


def record_paths(folder: Path) -> list[Path]:
    """The files of all records below a folder, sorted; InvalidRecordError when there is none."""
    paths = sorted(path for path in folder.rglob("*.json") if _is_record(path))
    if not paths:
        raise InvalidRecordError(f"{folder}: no records found. Write some with: fnbench eval ... --out {folder}")
    return paths


def tallies(samples: pandas.DataFrame) -> list[Tally]:
    """The exact sums of each row of a per-sample table."""
    plain = ("n", "nonfinite", "zero", "off_unit", "total", "largest", "gradient_n", "gradient_total")
    return [
        Tally(
            **{name: int(row[name]) for name in plain},
            squares=(int(row["squares_high"]) << 32) + int(row["squares_low"]),
            shortfall=tuple(int(row[f"shortfall{limit}"]) for limit in AUC_LIMITS),
            quantiles=tuple(float(row[name]) for name in QUANTILES),
            histogram=np.asarray(row["histogram"]),  # as stored: half the memory of int64
        )
        for row in samples.to_dict("records")
    ]


def tally_columns(one: Tally) -> dict[str, Any]:
    """The columns of a per-sample row that come from its tally."""
    return {
        "n": one.n,
        "nonfinite": one.nonfinite,
        "zero": one.zero,
        "off_unit": one.off_unit,
        "total": one.total,
        "squares_high": one.squares >> 32,
        "squares_low": one.squares & 0xFFFFFFFF,
        "largest": one.largest,
        **{f"shortfall{limit}": value for limit, value in zip(AUC_LIMITS, one.shortfall, strict=True)},
        "gradient_n": one.gradient_n,
        "gradient_total": one.gradient_total,
        "histogram": one.histogram.astype(np.uint32),
        **image_metrics(one),
    }


def file_name(model: str) -> str:
    """A file name for a model: everything but letters, digits, dot, dash and underscore becomes a dash.

    >>> file_name("my model/v2")
    'my-model-v2'
    """
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in model).strip(".")
    return safe or "model"


def _possible(name: str, value: float) -> bool:
    base = name.rsplit("_", 1)[0]
    if base == "grad_l1":
        return value != value or 0 <= value <= 8
    limit = 100 if base.startswith(("acc@", "auc")) else 180
    return 0 <= value <= limit


def _orders(one: Mapping[str, float]) -> list[str]:
    """Rules of one family: accuracies rise with the threshold, quantiles with the share, the mean is below the rmse."""
    found = []
    rising = (
        [acc(threshold) for threshold in THRESHOLDS],
        list(QUANTILES),
        ["mean", "rmse"],
        [f"auc{limit}" for limit in AUC_LIMITS],
    )
    for names in rising:
        present = [name for name in names if name in one]
        for first, second in pairwise(present):
            if one[first] > one[second] + _TOLERANCE:
                found.append(f"{first} {one[first]:.6g} is above {second} {one[second]:.6g}")
    return found


def _pooled_rules(one: Mapping[str, float]) -> list[str]:
    """Rules between mean, spread, median and accuracies of one pool of pixels."""
    found = []
    shares = {threshold: one[acc(threshold)] for threshold in THRESHOLDS if acc(threshold) in one}
    median = one.get("median")
    for threshold, share in shares.items():
        if median is not None and (
            (share > 50 + _TOLERANCE and median > threshold + _TOLERANCE)
            or (share < 50 - _TOLERANCE and median < threshold - _TOLERANCE)
        ):
            found.append(f"median {median:.6g} contradicts {acc(threshold)} of {share:.6g} %")
    if "mean" in one:
        bound = smallest_std(one["mean"], shares)
        if bound == math.inf:
            found.append(f"no errors have the mean {one['mean']:.6g} and these accuracies")
        elif "std" in one and one["std"] < bound - 1e-3:
            found.append(f"std {one['std']:.6g} is below {bound:.6g}, the least that mean and accuracies allow")
    if {"mean", "std", "rmse"} <= set(one) and abs(math.hypot(one["mean"], one["std"]) - one["rmse"]) > _TOLERANCE:
        found.append(f"rmse {one['rmse']:.6g} is not the root of mean^2 + std^2")
    return found


def _count_problems(counts: Mapping[str, int]) -> list[str]:
    found = [f"{name} is {value}" for name, value in counts.items() if value < 0]
    rules = (
        ("images_missing", "images"),
        ("images", "images_in_split"),
        ("subjects", "images"),
        ("images", "pixels"),
        ("pixels_nonfinite", "pixels"),
        ("pixels_missing", "pixels"),
    )
    return found + [
        f"{small} {counts[small]} is above {large} {counts[large]}"
        for small, large in rules
        if counts[small] > counts[large]
    ]


def _sample_problems(metrics: Mapping[str, float], counts: Mapping[str, int], samples: pandas.DataFrame) -> list[str]:
    found = []
    rows = tallies(samples)
    ids = list(samples["id"])
    if len(set(ids)) != len(ids):
        found.append(f"{len(ids) - len(set(ids))} sample ids occur more than once")
    sums = {
        "images": len(rows),
        "subjects": samples["subject"].nunique(),
        "images_missing": int(samples["missing"].sum()),
        "pixels": sum(row.n for row in rows),
        "pixels_nonfinite": sum(row.nonfinite for row in rows),
        "pixels_zero": sum(row.zero for row in rows),
        "pixels_off_unit": sum(row.off_unit for row in rows),
    }
    found += [f"{name} is {counts[name]}, the samples add up to {value}" for name, value in sums.items()
              if counts[name] != value]  # fmt: skip
    found += [f"sample {name}: histogram of {row.histogram.sum()} pixels, n is {row.n}"
              for name, row in zip(ids, rows, strict=True) if row.histogram.sum() != row.n]  # fmt: skip
    if found or not rows:
        return found
    pooled = {name: metrics[f"{name}_px"] for name in QUANTILES if f"{name}_px" in metrics}
    if len(pooled) < len(QUANTILES):
        return [*found, "pooled quantiles are missing"]
    found += _quantile_problems(pooled, np.sum([row.histogram for row in rows], axis=0))
    expected = summary(rows, list(samples["subject"]), pooled)
    for name, value in expected.items():
        given = metrics.get(name, math.nan)
        if not (abs(given - value) <= _TOLERANCE or (given != given and value != value)):
            found.append(f"{name} is {given:.9g}, the samples give {value:.9g}")
    means = [image_metrics(row)["mean"] for row in rows]
    if not min(means) - _TOLERANCE <= metrics["mean_px"] <= max(means) + _TOLERANCE:
        found.append(f"mean_px {metrics['mean_px']:.6g} is outside the per-image range")
    largest = max(row.largest for row in rows) / UNIT
    if metrics["q99_px"] > largest + _TOLERANCE:
        found.append(f"q99_px {metrics['q99_px']:.6g} is above the largest error {largest:.6g}")
    return found


def _quantile_problems(quantiles: Mapping[str, float], histogram: np.ndarray[Any, Any]) -> list[str]:
    """Pooled quantiles need all pixels; the histogram still says which bins they lie in."""
    cumulated = np.cumsum(histogram)
    n = int(cumulated[-1])
    found = []
    for name, share in QUANTILES.items():
        rank = share * (n - 1)
        low = int(np.searchsorted(cumulated, math.floor(rank), side="right")) * 0.25
        high = (int(np.searchsorted(cumulated, min(math.ceil(rank), n - 1), side="right")) + 1) * 0.25
        if not low - _TOLERANCE <= quantiles[name] <= high + _TOLERANCE:
            found.append(f"{name}_px is {quantiles[name]:.6g}, the histograms say {low:g} to {high:g}")
    return found


def _as_json(result: EvalResult, samples: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = _plain(
        {
            "record": SCHEMA,
            **{name: getattr(result, name) for name in ("model", "weights_sha256", *IDENTITY)},
            **{name: getattr(result, name) for name in ("metrics", "intervals", "interval_note", "counts", "coverage")},
            "breakdowns": list(result.breakdowns),
            "findings": [{"code": f.code, "verdict": f.verdict, "text": f.text} for f in result.findings],
            **{name: getattr(result, name) for name in ("provenance", "started", "finished")},
            "samples": dict(samples),
        }
    )
    return fields


def _plain(value: Any) -> Any:
    """JSON values only: numpy scalars become numbers, NaN becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _shape_problems(data: Mapping[str, Any]) -> list[str]:
    found = [f"{name} is missing" for name in (*_TEXTS, *_MAPPINGS, "protocol_version") if name not in data]
    found += [f"{name} is no text" for name in _TEXTS if name in data and not isinstance(data[name], str)]
    found += [f"{name} is no mapping" for name in _MAPPINGS if name in data and not isinstance(data[name], Mapping)]
    if found:
        return found
    numbers = {f"{name}_{family}" for name in IMAGE_METRICS for family in FAMILIES}
    found += [f"metric {name} is missing" for name in sorted(numbers - set(data["metrics"]))]
    found += [f"metric {name} is {value!r}" for name, value in data["metrics"].items()
              if not (isinstance(value, int | float) or (value is None and name.startswith("grad_l1")))]  # fmt: skip
    found += [f"count {name} is missing" for name in _COUNTS if not isinstance(data["counts"].get(name), int)]
    return found


_COUNTS = (
    *("images", "images_in_split", "images_missing", "subjects", "pixels", "pixels_nonfinite", "pixels_zero"),
    *("pixels_off_unit", "pixels_missing"),
)


def _from_json(data: Mapping[str, Any], samples: pandas.DataFrame | None) -> EvalResult:
    names = ("model", "weights_sha256", *IDENTITY, "interval_note", "counts", "coverage", "provenance")
    fields: dict[str, Any] = {name: data.get(name) for name in (*names, "started", "finished")}
    fields["metrics"] = {name: math.nan if value is None else float(value) for name, value in data["metrics"].items()}
    fields["intervals"] = {name: (float(low), float(high)) for name, (low, high) in data["intervals"].items()}
    fields["breakdowns"] = tuple(data.get("breakdowns", ()))
    fields["findings"] = tuple(Finding(**finding) for finding in data.get("findings", ()))
    return EvalResult(samples=samples, **fields)


def _samples_beside(path: Path, named: Mapping[str, str]) -> pandas.DataFrame | None:
    import pandas

    table = path.parent / Path(str(named.get("file", ""))).name
    if not table.is_file():
        return None
    if _sha256(table) != named.get("sha256"):
        raise InvalidRecordError(
            f"{table.name} is not the table that was written with this record (sha256 {_sha256(table)[:12]}, expected "
            f"{str(named.get('sha256'))[:12]}). Copy both files of one evaluation."
        )
    return pandas.read_parquet(table)


def _write_samples(samples: pandas.DataFrame, path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    lists = {"histogram": pyarrow.uint32(), "group_n": pyarrow.int64(), "group_total": pyarrow.int64(),
             "group_below": pyarrow.int64()}  # fmt: skip
    columns = {
        name: pyarrow.array(list(samples[name]), pyarrow.list_(lists[name]) if name in lists else None)
        for name in samples.columns
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")


def _is_record(path: Path) -> bool:
    try:
        return f'"record": "{SCHEMA}"' in path.read_text(encoding="utf-8")[:200]
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def text_hash(lines: Iterable[str]) -> str:
    """sha256 over lines of text, each ended by a line feed."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def differing(first: EvalResult, second: EvalResult, names: Sequence[str] = IDENTITY) -> list[str]:
    """The fields in which two records may not differ but do: "protocol: face-2020 and fnbench-1"."""
    return [
        f"{name}: {getattr(first, name)} and {getattr(second, name)}"
        for name in names
        if getattr(first, name) != getattr(second, name)
    ]
