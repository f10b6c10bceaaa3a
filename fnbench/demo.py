"""The whole path on built-in data: render, evaluate every built-in model that has weights, rank, draw.

Everything a user does with own scans and an own model happens here once, through the same functions as the verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fnbench.adapters.synthetic import Synthetic
from fnbench.cards import load_card
from fnbench.errors import FnbenchError
from fnbench.estimator import NormalEstimator, model_input
from fnbench.evaluate import evaluate
from fnbench.leaderboard import boards, write_boards
from fnbench.metrics import angular_error
from fnbench.models.load import load_estimator
from fnbench.protocol import protocol_mask, protocol_named
from fnbench.record import EvalResult, write_record
from fnbench.registry import MODELS
from fnbench.render.groundtruth import render_dataset
from fnbench.render.plan import Plan
from fnbench.render.progress import Progress
from fnbench.report.grid import GridRow, write_grid
from fnbench.store import Store

SUBJECTS = 12
"""Test subjects that are rendered: an interval needs ten."""
VIEWS = ((0.0, 0.0), (-30.0, 0.0), (30.0, 10.0))
ROWS = 6
"""Samples in each picture."""
PROTOCOL = "fnbench-1"


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made: the rendered file, records, tables, pictures, and the results in ranked order."""

    data: Path
    records: tuple[Path, ...]
    tables: tuple[Path, ...]
    pictures: tuple[Path, ...]
    results: tuple[EvalResult, ...]

    def lines(self) -> list[str]:
        """The result for a terminal: a small table, then where everything is."""
        width = max(len(result.model) for result in self.results)
        lines = ["", f"{'model':{width}}   mean   95 % over subjects   median   <11.25   <20   <30   (degrees, %)"]
        for result in self.results:
            low, high = result.intervals["mean_sub"]
            numbers = [result.metrics[f"{name}_px"] for name in ("median", "acc@11.25", "acc@20", "acc@30")]
            note = "  untrained" if result.provenance["model"].get("untrained") else ""
            lines.append(
                f"{result.model:{width}}  {result.metrics['mean_sub']:5.2f}   {low:6.2f} to {high:5.2f}      "
                f"{numbers[0]:6.2f}   {numbers[1]:6.1f}  {numbers[2]:4.1f}  {numbers[3]:4.1f}{note}"
            )
        places = (
            ("data", (self.data,)),
            ("records", self.records),
            ("table", self.tables),
            ("pictures", self.pictures),
        )
        return [*lines, "", *(f"{name:9}{path}" for name, paths in places for path in paths)]


def run_demo(out: Path, say: Callable[[str], None], *, workers: int = 2) -> Demo:
    """Run the demo into a folder; running it again there replaces its files.

    say: called with lines that tell how far it is.  workers: processes that render.
    """
    adapter = Synthetic(None)
    data = out / "synthetic.h5"
    say(f"Rendering {SUBJECTS} test subjects of the built-in dataset in {len(VIEWS)} views ...")
    report = render_dataset(
        adapter,
        data,
        Plan(views=VIEWS),
        workers=workers,
        samples=_captures(adapter.capture_ids()),
        progress=lambda progress: _every_sixth(progress, say),
    )
    if not report.ok:
        raise FnbenchError(report.summary())
    store = Store(data)
    folder = out / "records" / "synthetic" / "test"
    records, pictures, results = [], [], []
    for name in MODELS:
        try:
            model = load_estimator(name)
        except FnbenchError:
            say(f"Leaving out {name}: no trained weights come with this version.")
            continue
        say(f"Evaluating {name} on {len(store)} images ...")
        result = evaluate(model, store, protocol=PROTOCOL)
        records.append(write_record(result, folder))
        pictures.append(out / f"grid-{name}.png")
        write_grid(pictures[-1], f"{name}: synthetic, test split", grid_rows(model, store))
        results.append(result)
    tables = write_boards(boards(results), out)
    ranked = sorted(results, key=lambda result: (result.metrics["mean_sub"], result.model))
    return Demo(data, tuple(records), tuple(tables), tuple(pictures), tuple(ranked))


def grid_rows(model: NormalEstimator, store: Store, count: int = ROWS, protocol: str = PROTOCOL) -> list[GridRow]:
    """Rows of the picture grid for samples spread evenly over a store, with the error inside the protocol's mask."""
    rows = []
    for position in range(min(count, len(store))):
        index = (position * len(store) // min(count, len(store)) + position % 3) % len(store)  # views alternate
        sample = store[index]
        predicted = model.predict(model_input(sample.image)[None])[0]
        mask = protocol_mask(protocol_named(protocol).mask, sample.target.mask, sample.region, sample.landmarks)
        mask = sample.target.mask if mask is None else mask
        error = angular_error(predicted, sample.target.normals)
        rows.append(GridRow(sample.id, sample.image, sample.target.normals, predicted, error, mask))
    return rows


def _captures(ids: Sequence[str]) -> list[str]:
    """One capture of each of the first test subjects, its expressions taken in turn."""
    card = load_card(Synthetic.name)
    by_subject: dict[str, list[str]] = {}
    for capture in ids:
        subject = capture.split("_")[0]
        if card.split_of(subject) == "test":
            by_subject.setdefault(subject, []).append(capture)
    chosen = list(by_subject.values())[:SUBJECTS]
    return [captures[number % len(captures)] for number, captures in enumerate(chosen)]


def _every_sixth(progress: Progress, say: Callable[[str], None]) -> None:
    if progress.done % 6 == 0 or progress.done == progress.total:
        say(f"  {progress.line()}")
