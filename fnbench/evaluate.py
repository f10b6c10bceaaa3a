"""A model, or predictions that somebody saved, against a store of exact normals: one record.

    images -> predict -> errors inside the protocol's mask -> one row of exact sums per sample -> EvalResult

Memory does not grow with the pixels: a sample leaves a row of a few kilobytes; errors, which the pooled quantiles
need, go to a temporary file when they are many (``fnbench.quantiles``). Rows are keyed by id and put together once,
in exact arithmetic, so that order, batch size and number of processes change no bit.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fnbench
from fnbench import metrics, statistics
from fnbench.doctor import Case, diagnose
from fnbench.errors import InvalidDataError, InvalidPredictionError, InvalidSettingError
from fnbench.estimator import NormalEstimator, predictions, provenance
from fnbench.metrics import THRESHOLDS, UNIT, Errors, acc, angular_error
from fnbench.protocol import (
    EROSIONS,
    MASKS,
    PARTITIONS,
    PIXEL_GROUPS,
    SAMPLE_BREAKDOWNS,
    Protocol,
    check_sample,
    edge_distance,
    partition_labels,
    protocol_mask,
    protocol_named,
    sample_bins,
)
from fnbench.quantiles import ErrorPool
from fnbench.record import EvalResult, Finding, tallies, tally_columns, text_hash
from fnbench.store import Store

if TYPE_CHECKING:
    import pandas

OFF_UNIT_LIMIT = 0.01
"""Share of pixels of another length above which the predictions are taken to be coded, not normals."""
WATCHED = 8
"""Images on which the conventions of a model are tried."""
_LISTED = 10  # ids that a message names


@dataclass(frozen=True, slots=True)
class Scope:
    """Which samples of a store are scored.

    indices: positions in the store, in the order of their ids.
    expected: how many samples the split holds.  excluded: ids left out by name.
    """

    indices: tuple[int, ...]
    expected: int
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a store says about one sample, as far as scoring needs it.

    full, mask: (H, W) bool, all pixels with known normals, and those that count.  normals: (H, W, 3) float32.
    labels: one (K,) uint8 per partition of the pixels that count.
    """

    id: str
    subject: str
    capture: str
    normals: NDArray[np.float32]
    full: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    others: Mapping[str, NDArray[np.bool_]]
    labels: tuple[NDArray[np.uint8], ...]
    bins: Mapping[str, str]


def evaluate(
    estimator: NormalEstimator,
    store: Store,
    *,
    protocol: str = "fnbench-1",
    split: str = "test",
    batch: int = 8,
    limit: int | None = None,
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> EvalResult:
    """Score a model on one split of a store.

    protocol: name, see ``fnbench.protocol``.  split: train, val or test.  batch: images per call of ``predict``.
    limit: only the first samples by id; the result is marked partial and never ranked.
    exclude: ids left out on purpose; they stand in the record.  seed: of the bootstrap.
    Raises InvalidDataError or InvalidSettingError before anything is predicted when the store does not fit the
    protocol, InvalidPredictionError when the model does not return unit normals.
    """
    rules = protocol_named(protocol)
    within = scope(store, rules, split=split, limit=limit, exclude=exclude)
    if batch < 1:
        raise InvalidSettingError(f"batch is {batch}, expected at least 1.")
    started, clock = datetime.now(UTC), time.perf_counter()
    findings = [*_determinism(estimator, store, within.indices[:batch])]
    predicted = predictions(estimator, (store.image(index) for index in within.indices), batch=batch)
    watched = set(some_of(within.indices, WATCHED))
    rows, cases = [], []
    with ErrorPool() as pool:
        for index, one, known in zip(within.indices, predicted, truths(store, within.indices, rules), strict=True):
            rows.append(_row(one, known, pool))
            if index in watched:
                cases.append(Case(known.id, one, known.normals, known.mask, store.camera(index).rotation))
        quantiles = pool.quantiles()
    findings += [Finding(found.code, "WARN", found.text) for found in diagnose(cases, quick=True)]
    about = provenance(estimator)
    if about.get("untrained"):
        findings.append(Finding("", "WARN", f"{estimator.name} is untrained; its numbers describe random weights"))
    return assemble(
        store,
        rules,
        within,
        split,
        rows,
        quantiles,
        model=estimator.name,
        about=about,
        settings={"batch": batch, "limit": limit, "seed": seed},
        findings=findings,
        started=started,
        seconds=time.perf_counter() - clock,
        seed=seed,
    )


def scope(
    store: Store, rules: Protocol, *, split: str = "test", limit: int | None = None, exclude: Sequence[str] = ()
) -> Scope:
    """Choose and check the samples of a split; every sample that does not fit is named, before anything is computed."""
    found = sorted(store.indices(split), key=lambda index: store.ids[index])
    where = f"{store.path.name}, split {split}"
    if not found:
        counts = {name: store.splits.count(name) for name in sorted(set(store.splits))}
        there = ", ".join(f"{name} ({count})" for name, count in counts.items())
        raise InvalidSettingError(f"{where}: no samples. The file has: {there}. Choose one with --split.")
    unknown = sorted(set(exclude) - {store.ids[index] for index in found})
    if unknown:
        raise InvalidSettingError(f"{where}: excluded ids {some(unknown)} are not in this split. Check the list.")
    kept = [index for index in found if store.ids[index] not in set(exclude)]
    if limit is not None:
        if limit < 1:
            raise InvalidSettingError(f"limit is {limit}, expected at least 1.")
        kept = kept[:limit]
    height, width = store.size
    problems = [check_sample(rules, store.ids[i], store.landmarks(i), height, width) for i in kept]
    unfit = [problem for problem in problems if problem]
    if unfit:
        raise InvalidDataError(
            f"{where}: {len(unfit)} of {len(kept)} samples cannot be scored under {rules.id}: "
            f"{'; '.join(unfit[:3])}{' ...' if len(unfit) > 3 else ''}. Render the file to fit, or choose another "
            "protocol with --protocol."
        )
    empty = [store.ids[index] for index in kept if not store.mask(index).any()]
    if empty:
        raise InvalidDataError(
            f"{where}: {len(empty)} of {len(kept)} samples have an empty mask: {some(empty)}. Expected at least one "
            "pixel that counts. Leave them out by name with --exclude; they are listed in the record.",
            code="FM-24",
        )
    return Scope(tuple(kept), len(found), tuple(exclude))


def truths(store: Store, indices: Iterable[int], rules: Protocol) -> Iterator[Truth]:
    """Target, masks and labels of each sample, read one by one."""
    return (truth(store, index, rules) for index in indices)


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
    others = {f"mask {kind}": other for kind, other in masks.items() if other is not None}
    others |= {f"eroded {pixels} px": distance > pixels for pixels in EROSIONS}
    return Truth(
        store.ids[index],
        store.subjects[index],
        store.captures[index],
        target.normals,
        target.mask,
        mask,
        others,
        partition_labels(target.normals, mask, distance, region, store.camera(index)),
        sample_bins(store.sample_attributes(index)),
    )


def sample_row(predicted: NDArray[np.floating] | None, known: Truth, pool: ErrorPool) -> dict[str, Any]:
    """The row of one sample; its errors go to the pool.

    predicted: (H, W, 3) canonical frame, or None when missing: every pixel then counts 180 degrees.
    """
    inside = known.mask
    count = int(np.count_nonzero(inside))
    if predicted is None:
        found, gradient = metrics.worst_errors(count), (0, 0)
    else:
        found = metrics.errors(predicted, known.normals, inside)
        gradient = metrics.gradient_error(predicted, known.normals, inside)
    pool.add(found.fixed)
    one = metrics.tally(found, gradient)
    groups = _groups(predicted, known, found)
    return {
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


def assemble(
    store: Store,
    rules: Protocol,
    within: Scope,
    split: str,
    rows: Sequence[Mapping[str, Any]],
    quantiles: Mapping[str, float],
    *,
    model: str,
    about: Mapping[str, Any],
    settings: Mapping[str, Any],
    findings: Sequence[Finding] = (),
    started: datetime,
    seconds: float,
    seed: int = 0,
) -> EvalResult:
    """One result from the rows of all samples, in whatever order they come; repeated ids are taken once."""
    import pandas

    unique = {str(row["id"]): row for row in rows}
    table = pandas.DataFrame([unique[name] for name in sorted(unique)])
    ones, subjects = tallies(table), [str(subject) for subject in table["subject"]]
    counts = _counts(table, within)
    note = statistics.interval_note(counts["subjects"])
    sums = statistics.subject_sums(ones, subjects)
    ids = [store.ids[index] for index in within.indices]
    return EvalResult(
        model=model,
        dataset=str(store.attributes["dataset"]),
        split=split,
        gt_kind=str(store.attributes["gt_kind"]),
        protocol=rules.id,
        protocol_version=rules.version,
        mask=rules.mask,
        data_hash=str(store.attributes["content_hash"]),
        split_hash=text_hash(sorted(ids)),
        mask_hash=text_hash(f"{row.id} {row.mask_sha256}" for row in table.itertuples()),
        metrics=metrics.summary(ones, subjects, quantiles),
        intervals=statistics.intervals(sums, seed=seed),
        interval_note=note,
        counts=counts,
        coverage=_coverage(counts),
        breakdowns=tuple(breakdowns(table, seed=seed)),
        findings=(*findings, *_result_findings(table, counts, note, within)),
        provenance={
            "fnbench": _own_version(),
            "model": dict(about),
            "settings": {"protocol": rules.id, "split": split, "excluded": list(within.excluded), **settings},
            "statistics": {"seed": seed, "draws": statistics.DRAWS},
            "data": {name: store.attributes[name] for name in ("schema", "protocol", "card_hash", "generator")}
            | {"file": store.path.name, "settings": store.attributes["settings"]},
            "environment": _environment(),
            "seconds": round(seconds, 3),
        },
        weights_sha256=about.get("weights_sha256"),
        samples=table,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def breakdowns(table: pandas.DataFrame, *, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of numbers per region, facing angle, edge distance, mask, yaw, pitch, expression and light.

    table: per-sample rows. Each row of the answer has pixels, images, subjects, metrics and intervals; a bin without
    pixels has no metrics.
    """
    n = np.stack(table["group_n"].to_list()).astype(np.float64)
    total = np.stack(table["group_total"].to_list()).astype(np.float64) / UNIT
    below = np.stack(table["group_below"].to_list()).reshape(*n.shape, len(THRESHOLDS)).astype(np.float64)
    names = [tuple(group.split(": ")) if ": " in group else ("mask sensitivity", group) for group in PIXEL_GROUPS]
    whole = (table["n"].to_numpy(np.float64), table["total"].to_numpy(np.float64) / UNIT)
    thresholds = [_below(table, threshold) for threshold in THRESHOLDS]
    for breakdown in SAMPLE_BREAKDOWNS:
        values = table[breakdown]
        for value in sorted(values.unique()):
            member = (values == value).to_numpy(np.float64)
            names.append((breakdown, str(value)))
            n = np.column_stack([n, whole[0] * member])
            total = np.column_stack([total, whole[1] * member])
            share = np.stack([counted * member for counted in thresholds], axis=-1)
            below = np.concatenate([below, share[:, None]], axis=1)
    return _breakdown_rows(names, n, total, below, table["subject"].to_numpy(), seed)


def array_hash(array: NDArray[Any]) -> str:
    """sha256 of an array's type, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _row(predicted: NDArray[np.floating] | None, known: Truth, pool: ErrorPool) -> dict[str, Any]:
    row = sample_row(predicted, known, pool)
    if row["off_unit"] > OFF_UNIT_LIMIT * row["n"] and predicted is not None:
        raise off_unit_error(predicted[known.mask], known.id, row["off_unit"])
    return row


def off_unit_error(vectors: NDArray[np.floating], where: str, count: int) -> InvalidPredictionError:
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


def _groups(predicted: NDArray[np.floating] | None, known: Truth, found: Errors) -> metrics.GroupSums:
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
    for name in PIXEL_GROUPS[-len(MASKS) - len(EROSIONS) :]:
        member = known.others.get(name)
        if member is None:
            parts.append(metrics.group_sums(found.fixed[:0], np.empty(0, np.uint8), 1))
            continue
        fixed = np.concatenate([found.fixed[member[known.mask]], outside.fixed[member[beyond]]])
        parts.append(metrics.group_sums(fixed, np.zeros(len(fixed), np.uint8), 1))
    return metrics.GroupSums(
        np.concatenate([part.n for part in parts]),
        np.concatenate([part.total for part in parts]),
        np.concatenate([part.below for part in parts]),
    )


def _breakdown_rows(
    names: Sequence[tuple[str, ...]],
    n: NDArray[np.float64],
    total: NDArray[np.float64],
    below: NDArray[np.float64],
    subjects: NDArray[Any],
    seed: int,
) -> list[dict[str, Any]]:
    present = n > 0
    means = np.divide(total, n, out=np.zeros_like(total), where=present)
    by_subject = {subject: np.flatnonzero(subjects == subject) for subject in sorted(set(subjects))}

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([values[rows].sum(axis=0) for rows in by_subject.values()])

    images = summed(present.astype(np.float64))
    seen = images > 0
    subject_means = np.divide(summed(means), images, out=np.zeros_like(images), where=seen)
    columns: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
        "mean_px": (summed(total), summed(n)),
        **{f"{acc(t)}_px": (100 * summed(below[..., k]), summed(n)) for k, t in enumerate(THRESHOLDS)},
        "mean_img": (summed(means), images),
        "mean_sub": (subject_means, seen.astype(np.float64)),
    }
    ranges = {name: statistics.ratio_intervals(*pair, seed=seed) for name, pair in columns.items()}
    found = []
    for index, name in enumerate(names):
        filled = bool(present[:, index].any())
        numbers = {
            key: float(upper[:, index].sum() / lower[:, index].sum())
            for key, (upper, lower) in columns.items()
            if filled
        }
        bounds = {
            key: tuple(values[index].tolist())
            for key, values in ranges.items()
            if filled and np.isfinite(values[index]).all()
        }
        found.append(
            {
                "breakdown": name[0],
                "bin": name[1],
                "pixels": int(n[:, index].sum()),
                "images": int(present[:, index].sum()),
                "subjects": int(seen[:, index].sum()),
                "metrics": numbers,
                "intervals": bounds,
            }
        )
    return found


def _below(table: pandas.DataFrame, threshold: float) -> NDArray[np.float64]:
    histogram = np.stack(table["histogram"].to_list())
    return np.asarray(histogram[:, : int(threshold / metrics.BIN)].sum(axis=1), np.float64)


def _counts(table: pandas.DataFrame, within: Scope) -> dict[str, int]:
    missing = table["missing"].to_numpy(bool)
    return {
        "images": len(table),
        "images_in_split": within.expected,
        "images_missing": int(missing.sum()),
        "subjects": int(table["subject"].nunique()),
        "pixels": int(table["n"].sum()),
        "pixels_nonfinite": int(table["nonfinite"].sum()),
        "pixels_zero": int(table["zero"].sum()),
        "pixels_off_unit": int(table["off_unit"].sum()),
        "pixels_missing": int(table["n"].to_numpy()[missing].sum()),
    }


def _coverage(counts: Mapping[str, int]) -> dict[str, float]:
    unusable = counts["pixels_nonfinite"] + counts["pixels_zero"] + counts["pixels_missing"]
    return {
        "images": (counts["images"] - counts["images_missing"]) / counts["images_in_split"],
        "pixels": (counts["pixels"] - unusable) / counts["pixels"],
    }


def _result_findings(table: pandas.DataFrame, counts: Mapping[str, int], note: str, within: Scope) -> Iterator[Finding]:
    if counts["images_missing"]:
        yield Finding("FM-01", "SCORE", f"{counts['images_missing']} predictions are missing; each counts 180 degrees")
    for code, name, what in (
        ("FM-08", "nonfinite", "NaN or infinite vectors"),
        ("FM-09", "zero", "zero vectors, which have no direction and often mean invalid"),
    ):
        if counts[f"pixels_{name}"]:
            images = int((table[name] > 0).sum())
            text = f"{counts[f'pixels_{name}']} pixels in {images} images are {what}; each counts 180 degrees"
            yield Finding(code, "SCORE", text)
    if counts["pixels_off_unit"]:
        text = f"{counts['pixels_off_unit']} of {counts['pixels']} vectors are not of unit length; they were normalised"
        yield Finding("FM-10", "WARN", text)
    if counts["images"] < counts["images_in_split"]:
        text = f"{counts['images']} of {counts['images_in_split']} samples of the split were scored; never ranked"
        yield Finding("FM-50", "WARN", text + (f"; excluded: {some(within.excluded)}" if within.excluded else ""))
    if note:
        yield Finding("FM-55", "WARN", note)
    for what, values in (("pixels", table["n"].tolist()), ("images", [1] * len(table))):
        subject, share = statistics.dominant_subject(table["subject"].tolist(), values)
        if share > statistics.DOMINANT_SHARE and counts["subjects"] > 1:
            yield Finding("FM-55", "WARN", f"subject {subject} holds {share:.0%} of the {what}")


def _determinism(estimator: NormalEstimator, store: Store, indices: Sequence[int]) -> Iterator[Finding]:
    """The same images twice through the model: other numbers mean that one run is one seed."""
    images = [store.image(index) for index in indices]
    first, second = (np.stack(list(predictions(estimator, images, batch=len(images)))) for _ in range(2))
    if not np.array_equal(first, second):
        gap = float(angular_error(first, second).max())
        text = f"the same input twice gives normals up to {gap:.3g} degrees apart; one run is one seed of several"
        yield Finding("FM-56", "WARN", text)


def _own_version() -> dict[str, Any]:
    folder = Path(fnbench.__file__).resolve().parent.parent
    commit, dirty = None, None
    if (folder / ".git").exists():
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no")) if commit else None
    return {"version": fnbench.__version__, "commit": commit, "dirty": dirty, "metrics": metrics.METRIC_VERSION}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _environment() -> dict[str, Any]:
    libraries = {name: metadata.version(name) for name in ("numpy", "numba", "h5py", "pandas", "pyarrow")}
    if "torch" in sys.modules:
        libraries["torch"] = metadata.version("torch")
    return {"python": platform.python_version(), "platform": platform.platform(), "machine": platform.machine(),
            "libraries": libraries}  # fmt: skip


def some_of(items: Sequence[int], count: int) -> list[int]:
    """At most ``count`` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[position * (len(items) - 1) // (count - 1)] for position in range(count)]


def some(names: Sequence[str]) -> str:
    """At most ten names, and how many more there are."""
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
