"""The leaderboard that people read: Markdown for a README, and one offline page that sorts and filters.

Tables come from the same records and the same ranking as the CSV files (``fnbench.leaderboard``); numbers are printed
from the records, rounded once. Reported numbers stand in a table of their own below the measured ones, marked and
without a rank.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fnbench import catalog
from fnbench.cards import card_names, load_card
from fnbench.errors import InvalidRecordError
from fnbench.files import write_text
from fnbench.leaderboard import boards, measured_rows, reported_rows, write_boards
from fnbench.record import EvalResult, file_name
from fnbench.report import words
from fnbench.report.content import Cell, Column, Model, Row
from fnbench.report.html import rendered, write_page
from fnbench.report.markdown import escaped, table
from fnbench.report.tables import headline_columns, headline_metrics, headline_row

STYLES = ("theme.css", "board.css")
SCRIPTS = ("theme.js", "tables.js", "board.js")
REPORTED = {
    "mean": "mean",
    "std": "std",
    "median": "median",
    "acc5": "below 5°",
    "acc11_25": "below 11.25°",
    "acc20": "below 20°",
    "acc22_5": "below 22.5°",
    "acc25": "below 25°",
    "acc30": "below 30°",
}
"""Columns of reported numbers and their headings; they are printed as their source prints them."""
_UNSTATED = "not stated"


@dataclass(frozen=True, slots=True)
class Entry:
    """A measured row: its cells, and what it can be filtered by.

    training: the training data as declared, with files counted; declared: word for word.
    """

    row: Row
    training: str
    declared: str
    contamination: str
    version: str
    weights: str


@dataclass(frozen=True, slots=True)
class Board:
    """One ranked table: one dataset under one protocol.

    name: of its files.  facts: name and value.  reported: rows of texts under ``reported_columns``.
    report: address of the report with figures and samples, relative to the page, or empty.
    """

    name: str
    dataset: str
    title: str
    protocol: str
    headline: str
    facts: Sequence[tuple[str, str]]
    columns: Sequence[Column]
    entries: Sequence[Entry]
    reported_columns: Sequence[str]
    reported: Sequence[Sequence[str]]
    report: str = ""


def write_leaderboard(
    records: Sequence[EvalResult],
    out: Path,
    *,
    protocols: Sequence[str] = (),
    reports: Path | None = None,
    reported: Path | None = None,
    unmeasured: bool = False,
) -> list[Path]:
    """Write ``<dataset>.csv``, ``<dataset>.md`` and ``index.html``; returns the paths.

    protocols: take only these; with more than one, each gets tables of its own, named ``<dataset>-<protocol>``.
    reports: folder with a report ``<dataset>.html`` (named like the tables) to link to; ``out`` by default.
    reported: folder of reported numbers, the shipped one by default.
    unmeasured: list on the page also what others reported on datasets that no record is of.
    Raises InvalidRecordError when records cannot stand in one table.
    """
    found = [board for one in protocols or (None,) for board in _boards(records, one, len(protocols) > 1, reported)]
    found = [_linked(board, out, reports or out) for board in found]
    paths = []
    for one in protocols or (None,):
        tables = boards(records, one, reported)
        paths += write_boards({_name(dataset, one, len(protocols) > 1): t for dataset, t in tables.items()}, out)
    for board in found:
        path = out / f"{board.name}.md"
        write_text(path, markdown(board))
        paths.append(path)
    others = _unmeasured({board.dataset for board in found}, reported) if unmeasured else []
    write_page(out / "index.html", index([*found, *others]))
    return [*paths, out / "index.html"]


def index(found: Sequence[Board]) -> str:
    """The page with every table."""
    training = sorted({entry.training for board in found for entry in board.entries})
    return rendered(
        "board.html",
        STYLES,
        SCRIPTS,
        {
            "boards": found,
            "protocols": sorted({board.protocol for board in found if board.entries}),
            "training": training,
            "models": sum(len(board.entries) for board in found),
            "tables": sum(bool(board.entries) for board in found),
        },
    )


def markdown(board: Board) -> str:
    """A table for a README: measured rows ranked, reported rows below, marked."""
    metrics = [cell.key for cell in board.entries[0].row.cells]
    headings = [column.title + (f" ({column.unit})" if column.unit else "") for column in board.columns]
    lines = [f"## {escaped(board.title)}, {escaped(board.protocol)}", ""]
    lines += [f"{escaped(', '.join(f'{name} {value}' for name, value in board.facts))}.", ""]
    kinds = ["text" if key == "model" else "" for key in metrics]
    rows = [[*(_printed(cell, entry) for cell in entry.row.cells), _stated(entry)] for entry in board.entries]
    lines += table([*headings, "training data"], [*kinds, "text"], rows)
    lines += [f"Ranked by {board.headline}; second numbers are 95 % intervals over subjects.", ""]
    if board.reported:
        lines += ["Reported by others, not measured by fnbench and not ranked:", ""]
        kinds = ["text" if name not in REPORTED.values() else "" for name in board.reported_columns]
        lines += table(board.reported_columns, kinds, board.reported)
    if board.report:
        lines += [f"[Report with figures and samples]({board.report})", ""]
    return "\n".join(lines)


def _boards(records: Sequence[EvalResult], protocol: str | None, several: bool, reported: Path | None) -> list[Board]:
    chosen = [record for record in records if protocol is None or record.protocol == protocol]
    if not chosen:
        there = ", ".join(sorted({record.protocol for record in records})) or "none"
        raise InvalidRecordError(f"No records under protocol {protocol!r}; there are records under {there}.")
    return [
        _board(_name(dataset, protocol, several), [one for one in chosen if one.dataset == dataset], reported)
        for dataset in sorted({record.dataset for record in chosen})
    ]


def _board(name: str, records: Sequence[EvalResult], reported: Path | None) -> Board:
    rows = measured_rows(records)
    by_name = {record.model: record for record in records}
    ordered = [by_name[row["model"]] for row in rows]
    first = ordered[0]
    others = reported_rows(first.dataset, reported or catalog.folder("leaderboard") / "reported")
    columns, texts = _reported(others)
    return Board(
        name,
        first.dataset,
        load_card(first.dataset).title if first.dataset in card_names() else first.dataset,
        f"{first.protocol} v{first.protocol_version}",
        headline_metrics(first)[0],
        [
            ("split", first.split),
            ("images", words.count(first.counts["images"])),
            ("subjects", words.count(first.counts["subjects"])),
            ("mask", first.mask),
            ("targets", first.gt_kind),
            ("data", first.data_hash[:12]),
        ],
        headline_columns(first),
        [
            _entry(record, Model(record.model, place), row)
            for place, (record, row) in enumerate(zip(ordered, rows, strict=True))
        ],
        columns,
        texts,
    )


def _unmeasured(measured: set[str], reported: Path | None) -> list[Board]:
    """A board without ranked rows for every dataset on which others alone reported numbers."""
    folder = reported or catalog.folder("leaderboard") / "reported"
    found = []
    for dataset in sorted({path.stem for path in folder.glob("*.csv")} - measured):
        columns, texts = _reported(reported_rows(dataset, folder))
        title = load_card(dataset).title if dataset in card_names() else dataset
        found.append(Board(dataset, dataset, title, "", "", (), (), (), columns, texts))
    return found


def _entry(record: EvalResult, model: Model, row: Mapping[str, Any]) -> Entry:
    declared = str(row["training_data"] or _UNSTATED)
    return Entry(
        headline_row(record, model, row),
        files_counted(declared),
        declared,
        str(row["contamination"]),
        str(row["version"] or ""),
        str(record.weights_sha256 or "")[:12],
    )


def _reported(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and texts of the columns that any reported row fills."""
    numbers = [name for name in REPORTED if any(f"{name}_reported" in row for row in rows)]
    headings = ["model", "year", *(REPORTED[name] for name in numbers), "source", "caveat"]
    texts = [
        [
            str(row["model"]),
            str(row.get("year", "")),
            *(str(float(row[f"{name}_reported"])) if f"{name}_reported" in row else words.NOTHING for name in numbers),
            str(row.get("source", "")),
            str(row.get("caveat", "")),
        ]
        for row in rows
    ]
    return headings, texts


def _linked(board: Board, out: Path, reports: Path) -> Board:
    path = reports / f"{file_name(board.name)}.html"
    if not path.is_file():
        return board
    address = quote(Path(os.path.relpath(path, out)).as_posix())
    return Board(**{name: getattr(board, name) for name in Board.__slots__ if name != "report"}, report=address)


def _name(dataset: str, protocol: str | None, several: bool) -> str:
    return f"{dataset}-{protocol}" if several else dataset


def _printed(cell: Cell, entry: Entry) -> str:
    text = cell.text
    if cell.key == "model":
        text += "".join(f" ({tag})" for tag in entry.row.tags)
    return f"{text} ({cell.small})" if cell.small else text


def files_counted(declared: str) -> str:
    """Training data with runs of one dataset's files, each named by a hash, as a count: a table is no place for them.

    >>> files_counted("9 pairs of the train split of ict 0d9cded4ff95, ict c09bf7a4d020; 4 images of w300")
    '9 pairs of the train split of ict (2 files); 4 images of w300'
    """

    def counted(found: re.Match[str]) -> str:
        count = found[0].count(",") + 1
        return f"{found[1]} ({count} {'file' if count == 1 else 'files'})"

    return re.sub(r"\b([\w-]+) [0-9a-f]{12}\b(?:, \1 [0-9a-f]{12}\b)*", counted, declared)


def _stated(entry: Entry) -> str:
    bad = entry.contamination not in ("none declared", "unknown")
    return f"{entry.training} ({entry.contamination})" if bad else entry.training
