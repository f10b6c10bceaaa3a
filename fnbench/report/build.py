"""The whole way of ``fnbench report``: folders in, files out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fnbench.errors import InvalidRecordError
from fnbench.evaluate import maps_name
from fnbench.record import EvalResult, read_record, record_paths
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
        return [record for record, _ in self.found()]

    def found(self) -> list[tuple[EvalResult, Path]]:
        """The records with the paths of their files; InvalidRecordError when there is none, naming what there is."""
        paths = record_paths(self.folder)
        every = [(read_record(path), path) for path in paths]
        wanted = {name: getattr(self, name) for name in ("dataset", "split", "protocol") if getattr(self, name)}
        found = [one for one in every if all(getattr(one[0], name) == value for name, value in wanted.items())]
        if not found:
            there = sorted({f"{one.dataset} {one.split} {one.protocol}" for one, _ in every})
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
    found = selection.found()
    kept = {record.model: path.with_name(maps_name(record.model)) for record, path in found}
    known = replace(sources or Sources(), kept={name: path for name, path in kept.items() if path.is_file()})
    made = _report([record for record, _ in found], data, known, choices)
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
