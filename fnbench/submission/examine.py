"""A submission before it is scored: names and headers of all files, and the doctor on some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from fnbench.doctor import IMAGES, Case, Diagnosis, diagnose
from fnbench.errors import InvalidPredictionError
from fnbench.evaluate import Scope, scope, some_of
from fnbench.files import write_text
from fnbench.maps import Header
from fnbench.protocol import Protocol, protocol_named
from fnbench.record import Finding
from fnbench.scoring import sample_row, truth
from fnbench.store import Store
from fnbench.submission.declaration import Declaration
from fnbench.submission.headers import header_problems
from fnbench.submission.numbers import Remark, SavedMaps, stops, warnings
from fnbench.submission.pairing import Submission, open_submission
from fnbench.submission.storage import miscoded, shortened

_SHOWN = 20
_USUAL = "127.5"
"""What codes that nobody declared are first decoded by."""
_CONVENTIONS = ("FM-06", "FM-14", "FM-15", "FM-17")
"""Mistakes that the cheap part of the doctor may stop a run for; the others are found by the full checks."""


def examined(
    path: Path, store: Store, declaration: Declaration, *, protocol: str = "fnbench-1", split: str = "test"
) -> tuple[list[Diagnosis], list[Finding]]:
    """What the doctor says about a submission, and the findings about names and headers.

    Missing, damaged and unknown files do not stop the doctor; it looks at the maps that can be read.
    """
    rules = protocol_named(protocol)
    within = scope(store, rules, split=split)
    submission, headers, findings = surveyed(path, store, within, replace(declaration, on_error="score"))
    readable = [index for index in within.indices if store.ids[index] in headers]
    if not readable:
        refuse(findings)
    chosen = some_of(readable, IMAGES)

    def recoded(encoding: str) -> list[Case]:
        declared = replace(submission.declaration, encoding=encoding)
        return _cases(store, chosen, rules, replace(submission, declaration=declared), headers)

    undeclared = any(declaration.convention(header) is None for header in headers.values())
    # Codes that nobody declared: the finding says so, and the doctor looks at them under the coding that fits.
    cases: Sequence[Case] = recoded(_USUAL) if undeclared else _cases(store, chosen, rules, submission, headers)
    found, cases = miscoded(cases, submission, headers, recoded)
    found += diagnose(cases, frame=_frame(declaration, headers), baseline=declaration.constant)
    if undeclared:
        submission = replace(submission, declaration=replace(submission.declaration, encoding=_USUAL))
    remarks = examined_maps(store, chosen, rules, submission, headers)
    found += shortened(cases, remarks)
    told = {one.code for one in found}
    numbers = [*stops(remarks, declaration), *warnings(remarks, declaration)]
    return found, [*findings, *(finding for finding in numbers if finding.code not in told)]


def examined_maps(
    store: Store, indices: Sequence[int], rules: Protocol, submission: Submission, headers: Mapping[str, Header]
) -> list[Remark]:
    """What the numbers of these maps show; nothing is scored and nothing raised."""
    source = SavedMaps(submission, headers)
    remarks = []
    for index, vectors in zip(indices, source.maps(store, indices), strict=True):
        known = truth(store, index, rules)
        row, _ = sample_row(vectors, known)
        remarks.append(source.remark(store, index, known, vectors, row))
    return remarks


def suspicions(
    store: Store, indices: Sequence[int], rules: Protocol, submission: Submission, headers: Mapping[str, Header]
) -> list[Finding]:
    """The cheap part of the doctor: a convention mistake ends the run unless the maps are to be taken as they are."""
    declared = submission.declaration
    cases = _cases(store, indices, rules, submission, headers)
    found = diagnose(cases, frame=_frame(declared, headers), quick=True, baseline=declared.constant)
    verdict = "WARN" if declared.as_is else "STOP"
    hint = "" if declared.as_is else " --as-is scores them unchanged."
    return [
        *(Finding(one.code, verdict, one.text + hint) for one in found if one.code in _CONVENTIONS),
        *(Finding(one.code, "WARN", one.text) for one in found if one.code == "FM-26"),
    ]


def checked(
    path: Path, store: Store, within: Scope, declaration: Declaration
) -> tuple[Submission, dict[str, Header], list[Finding]]:
    """The submission with its headers and warnings, when names and headers have no problem; else all problems."""
    submission, headers, findings = surveyed(path, store, within, declaration)
    refuse(findings)
    return submission, headers, [finding for finding in findings if finding.verdict != "STOP"]


def surveyed(
    path: Path, store: Store, within: Scope, declaration: Declaration
) -> tuple[Submission, dict[str, Header], list[Finding]]:
    """The submission, the headers of its files, and every finding about names and headers."""
    ids = [store.ids[index] for index in within.indices]
    submission = open_submission(path, ids, store.ids, declaration)
    problems, headers = header_problems(submission, store.size)
    return submission, headers, [*submission.problems, *problems]


def refuse(findings: Sequence[Finding]) -> None:
    """Raise InvalidPredictionError with every STOP among the findings, one line each; nothing happens without."""
    stops = [finding for finding in findings if finding.verdict == "STOP"]
    if not stops:
        return
    lines = [f"{finding.code}: {finding.text}" for finding in stops[:_SHOWN]]
    if len(stops) > _SHOWN:
        lines.append(f"and {len(stops) - _SHOWN} more; fnbench submission validate --report FILE writes them all.")
    raise InvalidPredictionError("\n".join(lines), code=stops[0].code)


def write_findings(findings: Sequence[Finding], path: Path) -> None:
    """Write every finding as JSON: a list of {code, verdict, text, ids}, all ids included."""
    write_text(path, json.dumps([asdict(one) for one in findings], indent=1) + "\n")


def _cases(
    store: Store, indices: Sequence[int], rules: Protocol, submission: Submission, headers: Mapping[str, Header]
) -> list[Case]:
    cases = []
    for index, vectors in zip(indices, SavedMaps(submission, headers).maps(store, indices), strict=True):
        if vectors is not None:
            known = truth(store, index, rules)
            cases.append(Case(known.id, vectors, known.normals, known.mask, store.camera(index).rotation))
    return cases


def _frame(declaration: Declaration, headers: Mapping[str, Header]) -> str:
    conventions = [declaration.convention(header) for header in headers.values()]
    return next((convention.frame for convention in conventions if convention is not None), "canonical")
