"""Saved predictions against a store: every problem at once, or one record."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnbench.encodings import FLOORS
from fnbench.evaluate import WATCHED, assemble, sample_row, scope, some_of, truth
from fnbench.protocol import protocol_named
from fnbench.quantiles import ErrorPool
from fnbench.record import EvalResult, Finding
from fnbench.store import Store
from fnbench.submission.declaration import Declaration
from fnbench.submission.examine import checked, refuse, surveyed, suspicions
from fnbench.submission.numbers import Notes


def evaluate_submission(
    path: Path,
    store: Store,
    declaration: Declaration,
    *,
    protocol: str = "fnbench-1",
    split: str = "test",
    limit: int | None = None,
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> EvalResult:
    """Score saved predictions on one split of a store.

    Raises InvalidPredictionError with every problem of the submission, and writes nothing.
    """
    rules = protocol_named(protocol)
    within = scope(store, rules, split=split, limit=limit, exclude=exclude)
    started, clock = datetime.now(UTC), time.perf_counter()
    submission, headers, findings = checked(path, store, within, declaration)
    findings += suspicions(store, some_of(within.indices, WATCHED), rules, submission, headers)
    refuse(findings)
    notes = Notes(submission)
    rows: list[dict[str, Any]] = []
    with ErrorPool() as pool:
        for index in within.indices:
            known = truth(store, index, rules)
            vectors = notes.read(store, index, headers.get(known.id))
            row = sample_row(vectors, known, pool)
            rows.append(row)
            notes.judge(known.id, vectors, known.mask, row, headers.get(known.id), store.sample_hash(index))
        refuse([*notes.stops()])
        quantiles = pool.quantiles()
    kinds = {header.storage for header in headers.values()}
    about = {
        "name": declaration.name,
        "entry_point": "saved predictions",
        "weights_sha256": None,
        "licence": declaration.licence,
        "training_data": declaration.training_data,
        "declaration": {one.name: getattr(declaration, one.name) for one in fields(declaration)},
        "storage": sorted(kinds),
        "quantisation_floor": _floor(kinds),
    }
    return assemble(
        store,
        rules,
        within,
        split,
        rows,
        quantiles,
        model=declaration.name,
        about=about,
        settings={"limit": limit, "seed": seed, "missing": declaration.missing, "resize": _resize_rule(declaration)},
        findings=[*findings, *notes.warnings()],
        started=started,
        seconds=time.perf_counter() - clock,
        seed=seed,
    )


def validate_submission(
    path: Path,
    store: Store,
    declaration: Declaration,
    *,
    protocol: str = "fnbench-1",
    split: str = "test",
    exclude: Sequence[str] = (),
) -> list[Finding]:
    """Every finding about a submission, names, headers and numbers; nothing is scored and nothing raised."""
    rules = protocol_named(protocol)
    within = scope(store, rules, split=split, exclude=exclude)
    submission, headers, findings = surveyed(path, store, within, declaration)
    notes = Notes(submission)
    with ErrorPool() as pool:
        for index in within.indices:
            name = store.ids[index]
            if name in headers and declaration.convention(headers[name]) is not None:
                known = truth(store, index, rules)
                vectors = notes.read(store, index, headers[name])
                row = sample_row(vectors, known, pool)
                notes.judge(name, vectors, known.mask, row, headers[name], store.sample_hash(index))
    return [*findings, *notes.stops(), *notes.warnings()]


def _floor(kinds: Iterable[str]) -> dict[str, float] | None:
    worst = max((FLOORS[kind] for kind in kinds), default=None)
    return None if worst is None else {"mean": worst[0], "worst": worst[1]}


def _resize_rule(declaration: Declaration) -> str | None:
    if declaration.resize is None:
        return None
    from importlib.metadata import version

    return f"{declaration.resize}, in float, antialiased, renormalised (scikit-image {version('scikit-image')})"
