"""The whole way of ``fnbench report``: folders in, files out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fnbench.errors import InvalidRecordError
from fnbench.record import EvalResult, read_records
from fnbench.report.page import Choices, Report, report, write_report
from fnbench.report.sources import Sources, predictors
from fnbench.store import Store

__all__ = ["Choices", "Selection", "build"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records of a folder: all, or those of one dataset, split, protocol."""

    folder: Path
    dataset: str | None = None
    split: str | None = None
    protocol: str | None = None

    def read(self) -> list[EvalResult]:
        """The records; InvalidRecordError when there is none, naming what there is."""
        every = read_records(self.folder)
        wanted = {name: getattr(self, name) for name in ("dataset", "split", "protocol") if getattr(self, name)}
        found = [one for one in every if all(getattr(one, name) == value for name, value in wanted.items())]
        if not found:
            there = sorted({f"{one.dataset} {one.split} {one.protocol}" for one in every})
            raise InvalidRecordError(
                f"{self.folder}: no record of {', '.join(f'{k} {v}' for k, v in wanted.items())}; there are records of "
                f"{'; '.join(there)}."
            )
        return found


def build(
    selection: Selection,
    data: Path | None,
    out: Path,
    *,
    figures: Path | None = None,
    sources: Sources | None = None,
    choices: Choices | None = None,
) -> list[Path]:
    """Write the report, and figures when a folder is named; returns the paths.

    data: the file of the evaluation, or None for numbers without samples.
    """
    records = selection.read()
    made = _report(records, data, sources or Sources(), choices)
    write_report(out, made.page)
    if figures is None:
        return [out]
    from fnbench.report.figures import write_figures

    return [out, *write_figures(figures, made)]


def _report(records: list[EvalResult], data: Path | None, sources: Sources, choices: Choices | None) -> Report:
    if data is None:
        return report(records, choices=choices)
    with Store(data) as store:
        return report(records, store, predictors(records, store, sources), choices)
