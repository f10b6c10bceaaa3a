"""Records become ranked tables, one per dataset.

Rules
-----
Rows of one table agree in everything that decides what was measured (``record.IDENTITY``): data, split, protocol,
mask, metric version. Anything else is refused with the fields that differ. A partial result is never ranked.
Rows are sorted by the protocol's headline metric, then by name; ranks that the paired tests cannot tell apart share a
tie group (``statistics.standings``). Reported numbers stand below, without a rank, in columns of their own whose
names end in ``_reported``, because nobody knows how they were put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnbench import catalog
from fnbench.cards import card_names, contamination, load_card
from fnbench.errors import InvalidRecordError
from fnbench.files import write_text
from fnbench.metrics import THRESHOLDS, acc
from fnbench.protocol import protocol_named
from fnbench.record import EvalResult, differing
from fnbench.statistics import standings

if TYPE_CHECKING:
    import pandas

METRICS = (
    *("mean_px", "mean_img", "std_img", "mean_sub", "std_sub", "median_px", "rmse_px"),
    *(f"{acc(threshold)}_px" for threshold in THRESHOLDS),
    *(f"{acc(threshold)}_img" for threshold in (20, 25, 30)),
    *("auc30_px", "auc45_px", "grad_l1_px"),
)
"""Measured columns, in order; definitions in fnbench.metrics."""
REPORTED = ("mean", "std", "median", "acc5", "acc11_25", "acc20", "acc22_5", "acc25", "acc30")
"""Columns of leaderboard/reported/<dataset>.csv that hold numbers."""
COLUMNS = (
    *("rank", "model", "kind", "rank_low", "rank_high", "tie_group", "headline", "interval_low", "interval_high"),
    *METRICS,
    *("coverage_images", "coverage_pixels", "images", "subjects", "pixels"),
    *("split", "gt_kind", "protocol", "mask", "metric_version", "training_data", "contamination", "untrained"),
    *("data_hash", "weights_sha256", "version"),
    *(f"{name}_reported" for name in REPORTED),
    *("year", "finetuned_on_dataset", "source", "caveat"),
)
_DIGITS = 4


def boards(
    records: Iterable[EvalResult], protocol: str | None = None, reported: Path | None = None
) -> dict[str, pandas.DataFrame]:
    """One ranked table per dataset, by name, with COLUMNS.

    protocol: take only records of this protocol (its id); all must agree otherwise.
    reported: folder of reported numbers, the shipped one by default.
    Raises InvalidRecordError when records of a dataset cannot stand in one table, are partial, or share a name.
    """
    import pandas

    chosen = [record for record in records if protocol is None or record.protocol == protocol]
    if not chosen:
        raise InvalidRecordError(
            "No records to rank"
            + (f" under protocol {protocol!r}." if protocol else ".")
            + " Write some with fnbench eval."
        )
    found = {}
    for dataset in sorted({record.dataset for record in chosen}):
        rows = [
            *measured_rows([record for record in chosen if record.dataset == dataset]),
            *reported_rows(dataset, reported or catalog.folder("leaderboard") / "reported"),
        ]
        found[dataset] = pandas.DataFrame(rows, columns=list(COLUMNS))
    return found


def write_boards(boards: Mapping[str, pandas.DataFrame], out: Path) -> list[Path]:
    """Write ``<dataset>.csv`` for each table; returns the paths. Equal records give equal bytes."""
    paths = []
    for dataset, table in boards.items():
        path = out / f"{dataset}.csv"
        whole = [column for column in table if table[column].map(lambda value: isinstance(value, int)).any()]
        text = table.astype(dict.fromkeys(whole, "Int64")).to_csv(index=False, lineterminator="\n")
        write_text(path, text)
        paths.append(path)
    return paths


def measured_rows(records: Sequence[EvalResult]) -> list[dict[str, Any]]:
    """Rows of one dataset's records, best first."""
    _check_comparable(records)
    headline = protocol_named(records[0].protocol).headline
    ranked = sorted(records, key=lambda record: (record.metrics[headline], record.model))
    metric = headline.rsplit("_", 1)[0]
    stands = {stand.name: stand for stand in standings({one.model: one.subject_values(metric) for one in ranked})}
    return [
        {
            "rank": position,
            "rank_low": stands[record.model].best_rank,
            "rank_high": stands[record.model].worst_rank,
            "tie_group": stands[record.model].group,
            "headline": headline,
            **_measured(record, headline),
        }
        for position, record in enumerate(ranked, 1)
    ]


def reported_rows(dataset: str, folder: Path) -> list[dict[str, Any]]:
    """Rows of numbers that others have printed for a dataset, in the order of the file; [] when there are none."""
    import pandas

    path = folder / f"{dataset}.csv"
    if not path.is_file():
        return []
    table = pandas.read_csv(path)
    return [
        {
            "model": row["method"],
            "kind": "reported",
            **{f"{name}_reported": row[name] for name in REPORTED if not pandas.isna(row[name])},
            **{name: row[name] for name in ("finetuned_on_dataset", "source", "caveat") if not pandas.isna(row[name])},
            **({} if pandas.isna(row["year"]) else {"year": int(row["year"])}),
        }
        for row in table.to_dict("records")
    ]


def _measured(record: EvalResult, headline: str) -> dict[str, Any]:
    model = record.provenance.get("model", {})
    low, high = record.intervals.get(headline, (None, None))
    known = record.dataset in card_names()
    return {
        "model": record.model,
        "kind": "measured",
        "interval_low": _rounded(low),
        "interval_high": _rounded(high),
        **{name: _rounded(record.metrics[name]) for name in METRICS},
        "coverage_images": _rounded(record.coverage["images"]),
        "coverage_pixels": _rounded(record.coverage["pixels"]),
        **{name: record.counts[name] for name in ("images", "subjects", "pixels")},
        "split": record.split,
        "gt_kind": record.gt_kind,
        "protocol": f"{record.protocol} v{record.protocol_version}",
        **{name: getattr(record, name) for name in ("mask", "metric_version", "data_hash", "weights_sha256")},
        "training_data": _words(model.get("training_data")),
        "contamination": contamination(model.get("training_data"), load_card(record.dataset)) if known else "unknown",
        "untrained": bool(model.get("untrained")),
        "version": record.provenance.get("fnbench", {}).get("version"),
    }


def _check_comparable(records: Sequence[EvalResult]) -> None:
    first = records[0]
    for record in records[1:]:
        fields = differing(first, record)
        if fields:
            raise InvalidRecordError(
                f"{first.model} and {record.model} on {record.dataset} cannot stand in one table: {'; '.join(fields)}. "
                "Choose one protocol with --protocol, or keep the records in separate folders.",
                code="FM-49",
            )
    for record in records:
        if record.partial:
            raise InvalidRecordError(
                f"{record.model} on {record.dataset}: {record.counts['images']} of {record.counts['images_in_split']} "
                "images were scored. A partial result is not ranked; evaluate the whole split.",
                code="FM-50",
            )
    names = [record.model for record in records]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidRecordError(
            f"{', '.join(twice)}: more than one record on {first.dataset}. Give each its own name with eval --name, "
            "or remove one."
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), _DIGITS)


def _words(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return "; ".join(map(str, value))
