"""From predicted maps to rows of exact sums: the part of an evaluation that is spread over processes or a cluster.

A chunk of samples is one task: read the truth, get the predicted maps, leave a row of a few kilobytes per sample. The
errors themselves, which only the pooled quantiles need, go to the caller's pool or to a file that the caller reads.
Rows are keyed by id and sums are integers, so it does not matter who scored what, and in which order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from typing import Protocol as Contract

import numpy as np
from numpy.typing import NDArray

from fnbench import metrics
from fnbench.doctor import Case
from fnbench.errors import InvalidDataError, InvalidPredictionError
from fnbench.metrics import Errors
from fnbench.protocol import (
    MASKS,
    PARTITIONS,
    SENSITIVITY,
    Protocol,
    edge_distance,
    membership,
    partition_labels,
    protocol_mask,
    sample_bins,
)
from fnbench.quantiles import ErrorPool
from fnbench.record import tally_columns
from fnbench.scale import outcomes
from fnbench.store import Store

CHUNK = 64
"""Samples of one task, at most, as far as batches allow; fewer when there would be too few tasks to share out."""
_TASKS_EACH = 4

OFF_UNIT_LIMIT = 0.01
"""Share of pixels of another length above which the predictions are taken to be coded, not normals."""

Vectors = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a store says about one sample, as far as scoring needs it.

    full, mask: (H, W) bool, all pixels with known normals, and those that count.  normals: (H, W, 3) float32.
    members: (H, W) uint8, to which rows of the mask sensitivity a pixel belongs (``protocol.membership``).
    labels: one (K,) uint8 per partition of the pixels that count.
    """

    id: str
    subject: str
    capture: str
    normals: NDArray[np.float32]
    full: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    members: NDArray[np.uint8]
    labels: tuple[NDArray[np.uint8], ...]
    bins: Mapping[str, str]


class Source(Contract):
    """Where predicted maps come from; picklable when there are several processes."""

    def maps(self, store: Store, indices: Sequence[int]) -> Iterator[Vectors | None]:
        """(H, W, 3) maps in the canonical frame, one per index, None where the prediction is missing."""
        ...

    def remark(self, store: Store, index: int, known: Truth, vectors: Vectors | None, row: Mapping[str, Any]) -> Any:
        """What is worth knowing about a map beside its row; raises what must stop the run."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Everything a run leaves: rows and remarks per sample, watched cases, exact pooled quantiles."""

    rows: list[dict[str, Any]]
    remarks: list[Any]
    cases: list[Case]
    quantiles: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What every task of a run shares; picklable."""

    store: Store
    rules: Protocol
    source: Source
    watched: frozenset[int] = frozenset()
    scratch: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one task leaves. errors: the fixed errors, or the file that holds them."""

    rows: list[dict[str, Any]]
    remarks: list[Any]
    cases: list[Case]
    errors: NDArray[np.int32] | str = field(repr=False)


def score(
    store: Store,
    rules: Protocol,
    source: Source,
    indices: Sequence[int],
    *,
    watched: Sequence[int] = (),
    batch: int = 1,
    workers: int = 1,
    scheduler: str | None = None,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score the samples at ``indices``.

    watched: indices whose maps come back as cases.  batch: a task gets a multiple of this many samples.
    workers: processes on this machine.  scheduler: address of a Dask cluster instead; ``scratch`` is then a folder
    that its workers share.  progress: called with the samples done and all of them.
    Raises the first error of a task.
    """
    spread = workers > 1 or scheduler is not None
    share = -(-len(indices) // (_TASKS_EACH * workers)) if spread else CHUNK
    chunk = batch * -(-min(CHUNK, share) // batch)
    with TemporaryDirectory(dir=scratch, prefix=".fnbench-errors-", ignore_cleanup_errors=True) as folder:
        job = Job(store, rules, source, frozenset(watched), folder if spread else None)
        tasks = [tuple(indices[start : start + chunk]) for start in range(0, len(indices), chunk)]
        parts: list[Part] = []
        with ErrorPool(Path(folder)) as pool:
            results = outcomes(
                partial(_score, job), tasks, workers=workers, scheduler=scheduler, shared=folder if spread else None
            )
            with closing(results):
                for outcome in results:
                    if outcome.error is not None:
                        raise outcome.error
                    assert outcome.value is not None  # an outcome has a value or an error
                    pool.add(outcome.value.errors)
                    # Only the pool may hold the errors: here they would fill the memory.
                    parts.append(replace(outcome.value, errors=""))
                    if progress is not None:
                        progress(sum(len(part.rows) for part in parts), len(indices))
            quantiles = pool.quantiles()
    return Scored(
        [row for part in parts for row in part.rows],
        [remark for part in parts for remark in part.remarks],
        sorted((case for part in parts for case in part.cases), key=lambda case: case.id),
        quantiles,
    )


def _score(job: Job, indices: Sequence[int]) -> Part:
    rows, remarks, cases, errors = [], [], [], []
    for index, vectors in zip(indices, job.source.maps(job.store, indices), strict=True):
        known = truth(job.store, index, job.rules)
        row, fixed = sample_row(vectors, known)
        rows.append(row)
        errors.append(fixed)
        remarks.append(job.source.remark(job.store, index, known, vectors, row))
        if index in job.watched and vectors is not None:
            cases.append(Case(known.id, vectors, known.normals, known.mask, job.store.camera(index).rotation))
    joined = np.concatenate(errors)
    if job.scratch is None:
        return Part(rows, remarks, cases, joined)
    path = Path(job.scratch) / f"{indices[0]}.i32"
    joined.tofile(path)
    return Part(rows, remarks, cases, str(path))


def truth(store: Store, index: int, rules: Protocol) -> Truth:
    """Target, masks and labels of one sample."""
    target = store.target(index)
    region, landmarks = store.region(index), store.landmarks(index)
    masks = {kind: protocol_mask(kind, target.mask, region, landmarks) for kind in MASKS}
    mask = masks[rules.mask]
    if mask is None or not mask.any():
        raise InvalidDataError(
            f"{store.path.name}: sample {store.ids[index]} has no pixel inside the mask {rules.mask} of {rules.id}; "
            "expected at least one. Leave it out by name with --exclude.",
            code="FM-24",
        )
    distance = edge_distance(mask)
    return Truth(
        store.ids[index],
        store.subjects[index],
        store.captures[index],
        target.normals,
        target.mask,
        mask,
        membership(masks, distance),
        partition_labels(target.normals, mask, distance, region, store.camera(index)),
        sample_bins(store.sample_attributes(index)),
    )


def sample_row(predicted: Vectors | None, known: Truth) -> tuple[dict[str, Any], NDArray[np.int32]]:
    """The row of one sample, and its fixed errors.

    predicted: (H, W, 3) canonical frame, or None when missing: every pixel then counts 180 degrees.
    """
    inside = known.mask
    count = int(np.count_nonzero(inside))
    if predicted is None:
        found, gradient = metrics.worst_errors(count), (0, 0)
    else:
        found = metrics.errors(predicted, known.normals, inside)
        gradient = metrics.gradient_error(predicted, known.normals, inside)
    one = metrics.tally(found, gradient)
    groups = _groups(predicted, known, found)
    row = {
        "id": known.id,
        "subject": known.subject,
        "capture": known.capture,
        "missing": predicted is None,
        "mask_sha256": hashlib.sha256(np.packbits(inside).tobytes()).hexdigest(),
        "prediction_sha256": "" if predicted is None else array_hash(predicted),
        **tally_columns(one),
        **known.bins,
        "group_n": groups.n,
        "group_total": groups.total,
        "group_below": groups.below.ravel(),
    }
    return row, found.fixed


def array_hash(array: NDArray[Any]) -> str:
    """sha256 of an array's type, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def off_unit_error(vectors: Vectors, where: str, count: int) -> InvalidPredictionError:
    """What to say when too many predicted vectors are not of unit length.

    vectors: (K, 3) the predictions inside the mask.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1)
    low, middle, high = np.nanmin(lengths), np.nanmedian(lengths), np.nanmax(lengths)
    if np.nanmin(vectors) >= 0 and np.nanmax(vectors) > 1.5:
        cause, code = "the map looks like 0-255 codes that were not decoded: n = code / 127.5 - 1", "FM-11"
    elif np.nanmin(vectors) >= 0:
        cause, code = "the map looks left in [0, 1]: n = 2 * value - 1", "FM-11"
    else:
        cause, code = "a coding, a resize without renormalisation, or a missing final normalisation", "FM-10"
    return InvalidPredictionError(
        f"{where}: {count} of {len(vectors)} predicted vectors are not of unit length (shortest {low:.3g}, median "
        f"{middle:.3g}, longest {high:.3g}); expected 1 within {metrics.UNIT_TOLERANCE:g}. Likely cause: {cause}.",
        code=code,
    )


def _groups(predicted: Vectors | None, known: Truth, found: Errors) -> metrics.GroupSums:
    parts = [
        metrics.group_sums(found.fixed, labels, len(part.bins))
        for part, labels in zip(PARTITIONS, known.labels, strict=True)
    ]
    # Masks may reach beyond the protocol's: the errors out there are computed for these rows alone.
    beyond = known.full & ~known.mask
    outside = (
        metrics.worst_errors(int(np.count_nonzero(beyond)))
        if predicted is None
        else metrics.errors(predicted, known.normals, beyond)
    )
    parts.append(_sensitivity(found.fixed, known.members[known.mask], outside.fixed, known.members[beyond]))
    return metrics.GroupSums(
        np.concatenate([part.n for part in parts]),
        np.concatenate([part.total for part in parts]),
        np.concatenate([part.below for part in parts]),
    )


def _sensitivity(*pairs: NDArray[Any]) -> metrics.GroupSums:
    """Sums per row of SENSITIVITY; pairs: errors, membership, errors, membership."""
    patterns = 2 ** len(SENSITIVITY)
    tables = [metrics.group_sums(fixed, members, patterns) for fixed, members in zip(*[iter(pairs)] * 2, strict=True)]
    belongs = (np.arange(patterns) >> np.arange(len(SENSITIVITY))[:, None]) & 1
    n, total, below = (sum(getattr(table, name) for table in tables) for name in ("n", "total", "below"))
    return metrics.GroupSums(belongs @ n, belongs @ total, belongs @ below)
