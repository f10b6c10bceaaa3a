"""A measured record beside what others have printed: do the numbers agree, and could they be expected to?

Reported tables of this field give a mean with a spread over images and the shares below 20, 25 and 30 degrees, without
saying how images were put together; they are read as ``mean_img``, ``std_img`` and ``acc@T_px`` (protocol face-2020).
Every comparison shows the row's source and caveat. The tolerances are ours: about what another crop and resize change.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fnbench import catalog
from fnbench.errors import InvalidRecordError, UnknownNameError
from fnbench.record import EvalResult

COLUMNS = {
    "mean": "mean_img",
    "std": "std_img",
    "median": "median_px",
    "acc5": "acc@5_px",
    "acc11_25": "acc@11.25_px",
    "acc20": "acc@20_px",
    "acc22_5": "acc@22.5_px",
    "acc25": "acc@25_px",
    "acc30": "acc@30_px",
}
"""Column of leaderboard/reported/*.csv -> the metric it is compared with."""
TOLERANCES = {"mean": 0.5, "std": 1.0, "median": 0.5}
SHARE_TOLERANCE = 2.0
"""Degrees, and percentage points, by which a number may differ and still count as reproduced."""
PROTOCOL = "face-2020"


@dataclass(frozen=True, slots=True)
class Check:
    """One number: as reported, as measured, and whether they agree within the tolerance."""

    name: str
    reported: float
    measured: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """True when the difference is within the tolerance, the rounding of one printed decimal added."""
        return abs(self.measured - self.reported) <= self.tolerance + 0.05


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A measured record against one reported row.

    verdict: "reproduced", "partly reproduced", "not reproduced" or "not comparable"; reasons say why.
    """

    model: str
    method: str
    dataset: str
    checks: tuple[Check, ...]
    verdict: str
    reasons: tuple[str, ...]
    source: str
    caveat: str

    def text(self) -> str:
        """For a terminal: every number, then verdict, reasons, source and caveat."""
        lines = [f"{self.model} on {self.dataset}, against {self.method} as reported"]
        lines += [
            f"  {one.name:14}reported {one.reported:7.2f}   measured {one.measured:7.2f}   "
            f"difference {one.measured - one.reported:+7.2f}   tolerance {one.tolerance:.1f}   "
            f"{'agrees' if one.agrees else 'differs'}"
            for one in self.checks
        ]
        lines.append(f"verdict: {self.verdict}")
        lines += [f"  because {reason}" for reason in self.reasons]
        return "\n".join([*lines, f"source: {self.source}", f"caveat: {self.caveat}"])


def reproduce(record: EvalResult, row: Mapping[str, str]) -> Reproduction:
    """Compare a record with one row of ``reported_rows``."""
    checks = tuple(
        Check(metric, float(row[column]), record.metrics[metric], TOLERANCES.get(column, SHARE_TOLERANCE))
        for column, metric in COLUMNS.items()
        if row[column]
    )
    reasons = tuple(_obstacles(record))
    agreeing = sum(check.agrees for check in checks)
    if reasons:
        verdict = "not comparable"
    elif agreeing == len(checks):
        verdict = "reproduced"
    else:
        verdict = "partly reproduced" if agreeing else "not reproduced"
    return Reproduction(
        record.model, row["method"], record.dataset, checks, verdict, reasons, row["source"], row["caveat"]
    )


def reproductions(
    model: str, dataset: str, records: list[EvalResult], *, method: str | None = None, folder: Path | None = None
) -> list[Reproduction]:
    """Every record of a model on a dataset against every reported row of the same method.

    method: the name in the reported table; by default the rows whose name begins like the model's.
    folder: of reported tables; the shipped ones by default.
    Raises InvalidRecordError without such a record, UnknownNameError without such a row.
    """
    measured = [record for record in records if record.model == model and record.dataset == dataset]
    if not measured:
        there = ", ".join(sorted({f"{record.model} on {record.dataset}" for record in records})) or "none"
        raise InvalidRecordError(
            f"No record of {model} on {dataset}; found: {there}. Measure it: fnbench eval --model {model} --protocol "
            f"{PROTOCOL} --data {dataset}.h5 --out RECORDS"
        )
    rows = reported_rows(dataset, folder)
    names = sorted({row["method"] for row in rows})
    wanted = [row for row in rows if row["method"] == method or (method is None and _same(model, row["method"]))]
    if not wanted:
        raise UnknownNameError(
            f"No reported row for {method or model} on {dataset}. Reported there: {', '.join(names) or 'nothing'}. "
            "Choose one with --method."
        )
    return [reproduce(record, row) for record in measured for row in wanted]


def reported_rows(dataset: str, folder: Path | None = None) -> list[dict[str, str]]:
    """The rows of ``leaderboard/reported/<dataset>.csv`` as text, empty cells included; [] when there is no table."""
    path = (folder or catalog.folder("leaderboard") / "reported") / f"{dataset}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _obstacles(record: EvalResult) -> list[str]:
    """Why numbers cannot be expected to agree."""
    found = []
    if record.protocol != PROTOCOL:
        found.append(f"the record follows {record.protocol}, reported numbers are read as {PROTOCOL}")
    if record.partial:
        found.append(f"only {record.counts['images']} of {record.counts['images_in_split']} samples were scored")
    if record.counts["images_missing"]:
        found.append(f"{record.counts['images_missing']} predictions are missing and count 180 degrees")
    if record.provenance.get("model", {}).get("untrained"):
        found.append("the model is untrained")
    return found


def _same(model: str, method: str) -> bool:
    """crossmodal and Cross-modal, Cross-modal-ft; sfsnet and SfSNet, SfSNet-ft."""
    plain = "".join(letter for letter in method.lower() if letter.isalnum())
    own = "".join(letter for letter in model.lower() if letter.isalnum())
    return plain in (own, f"{own}ft")
