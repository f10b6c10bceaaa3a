"""Saved predictions against a store: every problem at once, or one record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from fnbench.encodings import FLOORS
from fnbench.evaluate import WATCHED, assemble, scope, some_of
from fnbench.protocol import protocol_named
from fnbench.record import EvalResult, Finding
from fnbench.scoring import score
from fnbench.store import Store
from fnbench.submission.declaration import Declaration
from fnbench.submission.examine import checked, examined_maps, refuse, surveyed, suspicions
from fnbench.submission.numbers import SavedMaps, stops, warnings


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
    workers: int = 1,
    scheduler: str | None = None,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvalResult:
    """Score saved predictions on one split of a store; ``workers`` and the like as in ``fnbench.scoring.score``.

    Raises InvalidPredictionError with every problem of the submission, and writes nothing.
    """
    rules = protocol_named(protocol)
    within = scope(store, rules, split=split, limit=limit, exclude=exclude)
    started, clock = datetime.now(UTC), time.perf_counter()
    submission, headers, findings = checked(path, store, within, declaration)
    findings += suspicions(store, some_of(within.indices, WATCHED), rules, submission, headers)
    refuse(findings)
    scored = score(
        store,
        rules,
        SavedMaps(submission, headers),
        within.indices,
        workers=workers,
        scheduler=scheduler,
        scratch=scratch,
        progress=progress,
    )
    refuse([*stops(scored.remarks, declaration)])
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
        scored,
        model=declaration.name,
        about=about,
        settings={"limit": limit, "missing": declaration.missing, "resize": _resize_rule(declaration)},
        findings=[*findings, *warnings(scored.remarks, declaration)],
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
    usable = [
        index
        for index in within.indices
        if (header := headers.get(store.ids[index])) is not None and declaration.convention(header) is not None
    ]
    remarks = examined_maps(store, usable, rules, submission, headers)
    return [*findings, *stops(remarks, declaration), *warnings(remarks, declaration)]


def _floor(kinds: Iterable[str]) -> dict[str, float] | None:
    worst = max((FLOORS[kind] for kind in kinds), default=None)
    return None if worst is None else {"mean": worst[0], "worst": worst[1]}


def _resize_rule(declaration: Declaration) -> str | None:
    if declaration.resize is None:
        return None
    from importlib.metadata import version

    return f"{declaration.resize}, in float, antialiased, renormalised (scikit-image {version('scikit-image')})"
