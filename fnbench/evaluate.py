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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

import fnbench
from fnbench import metrics, statistics
from fnbench.breakdown import breakdowns
from fnbench.cards import card_names, contamination, load_card
from fnbench.doctor import diagnose
from fnbench.errors import InvalidDataError, InvalidSettingError
from fnbench.estimator import NormalEstimator, predictions, provenance
from fnbench.maps import write_maps
from fnbench.metrics import angular_error
from fnbench.models.load import load_estimator
from fnbench.protocol import PIXEL_GROUPS, Protocol, check_sample, protocol_named
from fnbench.record import EvalResult, Finding, file_name, tallies, text_hash
from fnbench.scoring import OFF_UNIT_LIMIT, Scored, Truth, Vectors, off_unit_error, score
from fnbench.store import Store

if TYPE_CHECKING:
    import pandas

WATCHED = 8
"""Images on which the conventions of a model are tried."""
BACK_FACING_LIMIT = 0.001
"""Share of valid pixels whose target faces away from the camera above which a file is refused."""
_LISTED = 10  # ids that a message names
_BACK_FACING = PIXEL_GROUPS.index("facing angle: 90-180°")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which samples of a store are scored.

    indices: positions in the store, in the order of their ids.
    expected: how many samples the split holds.  excluded: ids left out by name.
    """

    indices: tuple[int, ...]
    expected: int
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """How to load a model by name; what travels to workers, which load it once each.

    content: hash of the weights and of a model file of the user, so that a worker that lives on never answers with
    what was there before under the same name.
    """

    name: str
    weights: Path | None = None
    device: str | None = None
    untrained: bool = False
    content: str = field(default="", init=False)

    def __post_init__(self) -> None:
        source = Path(self.name.rpartition(":")[0])
        files = [path for path in (self.weights, source) if path is not None and path.is_file()]
        hashes = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
        object.__setattr__(self, "content", text_hash(hashes))


@dataclass(frozen=True, slots=True, eq=False)
class ModelSource:
    """Maps that a model predicts.

    model: an estimator, or how to load it.  keep: folder for the maps, <index>.npy each, or None.
    """

    model: NormalEstimator | ModelRecipe
    batch: int
    keep: str | None = None

    def maps(self, store: Store, indices: Sequence[int]) -> Iterator[Vectors | None]:
        """Predict the images of these samples in batches."""
        return predictions(loaded(self.model), (store.image(index) for index in indices), batch=self.batch)

    def remark(self, store: Store, index: int, known: Truth, vectors: Vectors | None, row: Mapping[str, Any]) -> None:
        """Refuse maps that are codes, not normals."""
        if vectors is not None and row["off_unit"] > OFF_UNIT_LIMIT * row["n"]:
            raise off_unit_error(vectors[known.mask], known.id, row["off_unit"])
        if vectors is not None and self.keep is not None:
            np.save(Path(self.keep) / f"{index}.npy", vectors.astype(np.float16))


def evaluate(
    model: NormalEstimator | ModelRecipe,
    store: Store,
    *,
    protocol: str = "fnbench-1",
    split: str = "test",
    batch: int = 8,
    limit: int | None = None,
    exclude: Sequence[str] = (),
    seed: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: Path | None = None,
) -> EvalResult:
    """Score a model on one split of a store.

    model: an estimator, or a recipe to load it (with several workers, each loads its own).
    protocol: name, see ``fnbench.protocol``.  split: train, val or test.  batch: images per call of ``predict``.
    limit: only the first samples by id; the result is marked partial and never ranked.
    exclude: ids left out on purpose; they stand in the record.  seed: of the bootstrap.
    workers, scheduler, scratch, progress: see ``fnbench.scoring.score``; no number depends on them.
    keep: folder for the predicted maps, one file ``<model>.maps.h5`` that ``fnbench.maps`` reads; None keeps none.
    Raises InvalidDataError or InvalidSettingError before anything is predicted when the store does not fit the
    protocol, InvalidPredictionError when the model does not return unit normals.
    """
    rules = protocol_named(protocol)
    within = scope(store, rules, split=split, limit=limit, exclude=exclude)
    if batch < 1:
        raise InvalidSettingError(f"batch is {batch}, expected at least 1.")
    started, clock = datetime.now(UTC), time.perf_counter()
    estimator = loaded(model)
    findings = [*_determinism(estimator, store, within.indices[:batch])]
    with _keeping(keep, estimator.name, store, within.indices) as kept:
        scored = score(
            store,
            rules,
            ModelSource(model, batch, kept),
            within.indices,
            watched=some_of(within.indices, WATCHED),
            batch=batch,
            workers=workers,
            scheduler=scheduler,
            scratch=scratch,
            progress=progress,
        )
    findings += [Finding(found.code, "WARN", found.text) for found in diagnose(scored.cases, quick=True)]
    about = provenance(estimator)
    if about.get("untrained"):
        findings.append(Finding("", "WARN", f"{estimator.name} is untrained; its numbers describe random weights"))
    return assemble(
        store,
        rules,
        within,
        split,
        scored,
        model=estimator.name,
        about=about,
        settings={"batch": batch, "limit": limit, "workers": workers, "scheduler": scheduler},
        findings=findings,
        started=started,
        seconds=time.perf_counter() - clock,
        seed=seed,
    )


@contextmanager
def _keeping(folder: Path | None, model: str, store: Store, indices: Sequence[int]) -> Iterator[str | None]:
    """A folder where tasks leave their maps; they become one file when the block ends well."""
    if folder is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".fnbench-maps-", ignore_cleanup_errors=True) as scratch:
        yield scratch
        maps = (np.load(Path(scratch) / f"{index}.npy", allow_pickle=False) for index in indices)
        write_maps(folder / maps_name(model), [store.ids[index] for index in indices], maps)


def maps_name(model: str) -> str:
    """The file of a model's kept maps, beside its record.

    >>> maps_name("my model")
    'my-model.maps.h5'
    """
    return f"{file_name(model)}.maps.h5"


def loaded(model: NormalEstimator | ModelRecipe) -> NormalEstimator:
    """The estimator itself; a recipe is loaded once per process."""
    return _from_recipe(model) if isinstance(model, ModelRecipe) else model


@lru_cache(maxsize=1)
def _from_recipe(recipe: ModelRecipe) -> NormalEstimator:
    return load_estimator(recipe.name, weights=recipe.weights, device=recipe.device, untrained=recipe.untrained)


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
    leaking = leaks(store)
    if leaking:
        raise InvalidDataError(
            f"{store.path.name}: {len(leaking)} subjects are in more than one split: {some(leaking)}; expected each in "
            "one. Split by subject and write the file again.",
            code="FM-47",
        )
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


def leaks(store: Store) -> list[str]:
    """Subjects that are in more than one split of a store, sorted."""
    splits: dict[str, set[str]] = {}
    for subject, split in zip(store.subjects, store.splits, strict=True):
        splits.setdefault(subject, set()).add(split)
    return sorted(subject for subject, found in splits.items() if len(found) > 1)


def assemble(
    store: Store,
    rules: Protocol,
    within: Scope,
    split: str,
    scored: Scored,
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

    unique = {str(row["id"]): row for row in scored.rows}
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
        metrics=metrics.summary(ones, subjects, scored.quantiles),
        intervals=statistics.intervals(sums, seed=seed),
        interval_note=note,
        counts=counts,
        coverage=_coverage(counts),
        breakdowns=tuple(breakdowns(table, seed=seed)),
        findings=(
            *findings,
            *_data_findings(table, store.path.name),
            *_contamination(about, str(store.attributes["dataset"])),
            *_result_findings(table, counts, note, within),
        ),
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


def _data_findings(table: pandas.DataFrame, where: str) -> Iterator[Finding]:
    """Back-facing targets: a few at a silhouette are rounding, many are a wrong frame or winding."""
    away = np.array([groups[_BACK_FACING] for groups in table["group_n"]])
    if not away.any():
        return
    count, total = int(away.sum()), int(table["n"].sum())
    share = count / total
    ids = [str(name) for name in table["id"][away > 0]]
    text = (
        f"{count} of {total} valid target normals ({100 * share:.2g}%) face away from the camera, in "
        f"{len(ids)} samples: {some(ids)}"
    )
    if share > BACK_FACING_LIMIT:
        raise InvalidDataError(
            f"{where}: {text}; expected at most {BACK_FACING_LIMIT:.1%}. Check frame, camera and winding, and render "
            "again.",
            code="FM-27",
        )
    yield Finding("FM-27", "WARN", text, tuple(ids))


def _contamination(about: Mapping[str, Any], dataset: str) -> Iterator[Finding]:
    """What the declared training data mean for this dataset; silent when the test shows people new to the model."""
    if dataset not in card_names():
        return
    found = contamination(about.get("training_data"), load_card(dataset))
    if found == "unknown":
        yield Finding("FM-48", "WARN", "contamination unknown: the training data of the model are not declared")
    elif found not in ("none declared", "trained on its train split"):
        yield Finding("FM-48", "WARN", f"contamination: {found}; the score is no test on new people")


def _determinism(estimator: NormalEstimator, store: Store, indices: Sequence[int]) -> Iterator[Finding]:
    """The same images twice through the model: other numbers mean that one run is one seed."""
    images = [store.image(index) for index in indices]
    first, second = (np.stack(list(predictions(estimator, images, batch=len(images)))) for _ in range(2))
    if not np.array_equal(first, second):
        gap = float(angular_error(first, second).max())
        text = f"the same input twice gives normals up to {gap:.3g} degrees apart; one run is one seed of several"
        yield Finding("FM-56", "WARN", text)


@lru_cache(maxsize=1)
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
    names = ["numpy", "numba", "h5py", "pandas", "pyarrow", *(["torch"] if "torch" in sys.modules else [])]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "libraries": {name: _library_version(name) for name in names},
    }


_library_version = lru_cache(metadata.version)


def some_of(items: Sequence[int], count: int) -> list[int]:
    """At most ``count`` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[position * (len(items) - 1) // (count - 1)] for position in range(count)]


def some(names: Sequence[str]) -> str:
    """At most ten names, and how many more there are."""
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
