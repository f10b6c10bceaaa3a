"""The pipeline: captures of a dataset become one file of images and exact normals.

    adapter.capture_ids -> per capture, in a worker: load, face frame, cameras, render, shade, encode,
    write a part -> parts merged in the order of the ids, by copying compressed chunks -> one file

A part is written when all views of its capture are, so an interrupted run goes on where it stopped and gives the
same file as an uninterrupted one. Memory per worker is bounded: one scan (its texture at most 192 MB), the maps of
one view, up to 256 MB of freed memory, no list of samples.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from fnbench.cards import DatasetCard, SplitRule, card_names, load_card
from fnbench.errors import FnbenchError, InvalidDataError, InvalidSettingError, OutputError, UnknownNameError
from fnbench.files import check_writable, write_text
from fnbench.heap import keep_freed_memory
from fnbench.registry import Portable
from fnbench.render.backends import Renderer, renderer
from fnbench.render.origin import Origin
from fnbench.render.parts import begin_parts, end_parts, failure_path, kept_captures, locked, part_path
from fnbench.render.plan import Plan
from fnbench.render.progress import Progress, RenderReport
from fnbench.render.samples import samples_of
from fnbench.scale import Outcome, outcomes
from fnbench.scans.order import coherent
from fnbench.store import Store, encode_sample, merge_captures, write_encoded
from fnbench.types import Capture, Sample

PROTOCOL = {
    "render": "scans: perspective camera at {distance:g} mm from the middle of the face, crop {crop:g} x landmark box",
    "photo": "scans: their photographs, crop {crop:g} x landmark box, shifted inwards at the border",
}
MEASURED = "measured normals: photographs, crop {crop:g} x landmark box (without landmarks the box of the mask)"
MASK = (
    "visible, facing the camera along the ray of the pixel, part of the face (region labels of its own, else within "
    "{radius:g} mm of the tip of the nose)"
)


class Adapter(Protocol):
    """What the pipeline needs of a dataset; see ``adapters.contract``."""

    @property
    def name(self) -> str: ...
    def capture_ids(self) -> Sequence[str]: ...
    def load(self, capture_id: str) -> Capture: ...


def render_dataset(
    adapter: Adapter,
    out: Path,
    plan: Plan | None = None,
    *,
    card: DatasetCard | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    limit: int | None = None,
    samples: Sequence[str] = (),
    options: Mapping[str, Any] = MappingProxyType({}),
    resume: bool = True,
    strict: bool = False,
    dry_run: bool = False,
    reorder: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> RenderReport:
    """Render the captures of a dataset into one file.

    out: the file; while the run is unfinished its parts lie in ``<out>.parts``.
    card: facts and splits; by default the adapter's own, if it makes one, else the card of its name.
    workers: processes on this machine.  scheduler: address of a Dask cluster, instead of them.
    limit: only the first captures.  samples: only captures whose id matches one of these patterns.
    options: what the adapter was made with beyond its root, to be stored: another choice is another run.
    resume: keep what an earlier run of the same settings finished; other settings are refused.
    strict: raise the first failure instead of going on with the other captures.
    dry_run: say what would be done, and touch nothing.
    reorder: sort the faces of each scan first; for large meshes in random order and several views, which are then drawn
        up to three times as fast. The maps are the same up to rounding, so it is no setting of the file.
    progress: called after every capture.
    Ctrl-C ends the run in order: the report then says ``interrupted``, and finished captures are kept.

    Raises DatasetNotFoundError, InvalidSettingError, UnknownNameError, OutputError (disk, lock, other settings).
    """
    plan = plan or Plan()
    card = card or getattr(adapter, "card", None) or card_of(adapter.name)
    attributes = run_attributes(card.name, plan, card, options)
    everything = adapter.capture_ids()
    run = _Run(out, selected(everything, limit, samples), len(everything), attributes, progress)
    check_plan(plan)
    if dry_run:
        run.kept = kept_captures(out, attributes, run.chosen) if resume else {}
        return run.report(dry_run=True)
    check_writable(out)
    with locked(out) as note:
        run.notes += [note] if note else []
        run.kept = kept_captures(out, attributes, run.chosen) if resume else {}
        folder = begin_parts(out, attributes, fresh=not resume).absolute()
        work = partial(
            _part, _Job(Portable(adapter), plan, Origin(card.name, card.splits), folder, attributes, reorder)
        )
        results = outcomes(work, run.todo(), workers=workers, scheduler=scheduler, shared=str(folder))
        try:
            with closing(results):
                run.follow(results, folder, strict)
            run.merge()
        except KeyboardInterrupt:
            run.interrupted = True
            run.written |= run.finished_meanwhile(folder)
        return run.report()


def check_plan(plan: Plan) -> None:
    """Refuse a renderer that is unknown or not installed, and unknown appearance settings, before any work."""
    renderer(plan.renderer)
    if plan.appearance:
        from fnbench.render.appearance import settings_from  # photographs and measured normals need none of it

        settings_from(plan.appearance)


def card_of(dataset: str) -> DatasetCard:
    """The card of a dataset; for one that has none, a card that says scans, and everybody in the test split."""
    if dataset in card_names():
        return load_card(dataset)
    return DatasetCard(dataset, dataset, "", "scan", "mm", "", "", "", "", "", "")


def run_attributes(
    dataset: str, plan: Plan, card: DatasetCard, options: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The attributes that all samples of a run share; two runs are the same when these are."""
    if card.gt_kind == "none":
        raise InvalidSettingError(
            f"{dataset}: photographs without ground truth; there is nothing to render. Such a dataset serves as "
            f"input of predictions only."
        )
    protocol = f"{PROTOCOL[plan.images]}; {MEASURED}".format(**plan.settings)
    splits = {name: getattr(card.splits, name) for name in SplitRule.__slots__}
    return {
        "dataset": dataset,
        "gt_kind": card.gt_kind,
        "protocol": f"{protocol}, {plan.size}x{plan.size} pixels; mask: {MASK.format(radius=plan.radius)}",
        "card_hash": card.hash,
        "settings": {**plan.settings, "splits": splits, **({"adapter": dict(options)} if options else {})},
    }


def patterns_of(given: Sequence[str]) -> list[str]:
    """The patterns that a user named: ``@FILE`` stands for the lines of a file, without empty ones and ``#`` comments.

    Raises InvalidSettingError when a file cannot be read or names nothing.
    """
    found: list[str] = []
    for text in given:
        if not text.startswith("@"):
            found.append(text)
            continue
        try:
            lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise InvalidSettingError(f"{text[1:]}: this list of captures cannot be read ({error}).") from None
        named = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not named:
            raise InvalidSettingError(f"{text[1:]}: expected one capture or pattern a line, found none.")
        found += named
    return found


def selected(ids: Sequence[str], limit: int | None, patterns: Sequence[str]) -> list[str]:
    """The captures to render: those that match a pattern, at most ``limit``.

    >>> selected(["a/1", "a/2", "b/1"], None, ["a/*"])
    ['a/1', 'a/2']
    """
    if limit is not None and limit < 1:
        raise InvalidSettingError(f"limit is {limit}, expected at least 1.")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in ids):
            raise UnknownNameError(
                f"No capture matches {pattern!r}; there are {len(ids)}, for example {', '.join(ids[:3])}."
            )
    found = [name for name in ids if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
    return found[:limit]


@dataclass(slots=True)
class _Run:
    """A rendering in progress: what is chosen, what is there, what failed."""

    out: Path
    chosen: Sequence[str]
    available: int
    attributes: Mapping[str, Any]
    progress: Callable[[Progress], None] | None
    kept: dict[str, Path] = field(default_factory=dict)
    written: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    samples: int = 0
    interrupted: bool = False
    begun: float = field(default_factory=time.monotonic)

    def todo(self) -> Iterator[str]:
        """Captures that need work."""
        return (name for name in self.chosen if name not in self.kept)

    def follow(self, results: Iterator[Outcome[str, _Part]], folder: Path, strict: bool) -> None:
        """Take in the outcomes as they come. An output that cannot be written ends the run, as it would end all."""
        self._tell()
        for outcome in results:
            if outcome.value is not None:
                self.written[outcome.task] = part_path(folder, outcome.task)
                self.notes += [f"{outcome.task}: {note}" for note in outcome.value.notes]
            elif outcome.error is not None and (strict or isinstance(outcome.error, OutputError)):
                raise outcome.error
            else:
                self.failed[outcome.task] = _message(outcome, folder)
            self._tell()

    def finished_meanwhile(self, folder: Path) -> dict[str, Path]:
        """Captures that were running when the run was interrupted, and are whole."""
        return {name: path for name in self.todo() if (path := part_path(folder, name)).is_file()}

    def merge(self) -> None:
        """Merge what there is into the final file; parts stay only while something is left to be done."""
        done = self.kept | self.written
        present = {name: done[name] for name in self.chosen if name in done}
        if not present:
            return
        if set(present.values()) != {self.out} or len(present) != len(set(Store(self.out).captures)):
            selection = {"captures": self.available, "written": len(present), "failed": sorted(self.failed)}
            merge_captures(present, self.out, {**self.attributes, "selection": selection})
        self.samples = len(Store(self.out))
        if not self.failed:
            end_parts(self.out)

    def report(self, *, dry_run: bool = False) -> RenderReport:
        """What has been done so far."""
        done = {*self.kept, *self.written, *self.failed}
        return RenderReport(
            out=self.out,
            written=tuple(name for name in self.chosen if name in self.written),
            skipped=tuple(name for name in self.chosen if name in self.kept),
            failed={name: self.failed[name] for name in self.chosen if name in self.failed},
            pending=tuple(name for name in self.chosen if name not in done),
            samples=self.samples,
            seconds=time.monotonic() - self.begun,
            notes=tuple(self.notes),
            interrupted=self.interrupted,
            dry_run=dry_run,
        )

    def _tell(self) -> None:
        if self.progress is not None:
            counts = len(self.chosen), len(self.written), len(self.kept), len(self.failed)
            self.progress(Progress(*counts, time.monotonic() - self.begun))


def _message(outcome: Outcome[str, _Part], folder: Path) -> str:
    """The failure of a capture in one line; a bug keeps its traceback in a file beside the parts."""
    error = outcome.error
    if isinstance(error, FnbenchError):
        return str(error)
    path = failure_path(folder, outcome.task)
    write_text(path, "".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {error}; this is not expected, the traceback is in {path}"


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker needs, beside the id of a capture."""

    adapter: Portable
    plan: Plan
    origin: Origin
    folder: Path
    attributes: Mapping[str, Any]
    reorder: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """What a worker says of a finished part."""

    notes: tuple[str, ...]


_PER_THREAD = threading.local()
"""Renderers hold buffers, and contexts that belong to one thread."""


def _part(job: _Job, capture_id: str) -> _Part:
    """Render one capture into its part file; the whole work of a worker."""
    keep_freed_memory()
    capture = job.adapter.value.load(capture_id)
    if capture.id != capture_id:
        raise InvalidDataError(
            f"{capture_id}: the adapter returned capture {capture.id!r}; expected the one asked for."
        )
    if job.reorder and capture.scan is not None:
        capture = replace(capture, scan=coherent(capture.scan))
    notes = dict.fromkeys(capture.scan.notes if capture.scan is not None else ())

    def samples() -> Iterator[Sample]:
        for sample in samples_of(capture, job.plan, _renderer(job.plan.renderer), job.origin):
            if "topology" in sample.attributes:
                notes[f"topology {sample.attributes['topology']}"] = None
            yield sample

    write_encoded(part_path(job.folder, capture_id), map(encode_sample, samples()), job.attributes)
    return _Part(tuple(notes))


def _renderer(name: str) -> Renderer:
    known: dict[str, Renderer] = _PER_THREAD.__dict__.setdefault("renderers", {})
    if name not in known:
        known[name] = renderer(name)
    return known[name]
