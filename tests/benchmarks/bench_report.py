"""How long a report of many samples takes, how much memory, how large its page is, and how fast a browser opens it.

    python -m tests.benchmarks.bench_report synthetic-test.h5                1,000 samples x 3 models, a few minutes
    python -m tests.benchmarks.bench_report synthetic-test.h5 --samples 200

A hundred samples of a rendered file are scored for three models that err by smooth noise of about 8, 12 and 20 degrees,
and repeated with their rows and kept maps under new names, ten to a subject, until there are enough; a folder that is
named (``--folder``) keeps them for the next time. Timed is the command ``fnbench report`` as a process of its own, then
one network that has to be run again for the samples of the page, then the page in Chromium: from the request to the
maps of the first sample on the screen, median of five.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.estimator import model_input, predictions, provenance
from fnbench.evaluate import ModelSource, assemble, maps_name, scope
from fnbench.maps import write_maps
from fnbench.models.crossmodal import CrossmodalEstimator
from fnbench.protocol import protocol_named
from fnbench.record import read_record, write_record
from fnbench.report.gallery import chosen
from fnbench.report.sources import BATCH
from fnbench.scoring import score
from fnbench.store import Store, write_samples
from fnbench.types import Sample
from tests.results import imperfect

DISTINCT = 100
MODELS = {"good": 8.0, "fair": 12.0, "poor": 20.0}


def renamed(number: int) -> dict[str, str]:
    """Names of a repeated sample: ten to a subject."""
    subject = f"p{number // 10:04d}"
    return {"id": f"{subject}/{number % 10}", "capture": subject, "subject": subject}


def repeated(store: Store, count: int) -> Iterator[Sample]:
    """Samples of a store again and again under new names."""
    for number in range(count):
        yield replace(store[number % min(DISTINCT, len(store))], split="test", **renamed(number))


def repeated_record(model: Noisy, few: Store, many: Store, folder: Path) -> None:
    """The record and the kept maps of a model on ``many``, from what it scores on the samples of ``few``."""
    rules = protocol_named("fnbench-1")
    one = scope(few, rules)
    scored = score(few, rules, ModelSource(model, 8), one.indices)
    rows = {str(row["id"]): row for row in scored.rows}
    all_of_them = [{**rows[few.ids[k % len(few)]], **renamed(k)} for k in range(len(many))]
    record = assemble(
        many, rules, scope(many, rules), "test", replace(scored, rows=all_of_them), model=model.name,
        about=provenance(model), settings={}, started=datetime.now(UTC), seconds=0.0,
    )  # fmt: skip
    write_record(record, folder)
    maps = [model.predict(model_input(few.image(k))[None])[0] for k in range(len(few))]
    write_maps(folder / maps_name(model.name), many.ids, (maps[k % len(few)] for k in range(len(many))))


class Noisy:
    """A model that is told the truth, in the order of the ids, and errs by a smooth noise."""

    provenance = {"licence": "MIT", "training_data": "none", "untrained": False}  # noqa: RUF012  # as models have it

    def __init__(self, name: str, degrees: float, store: Store) -> None:
        self.name, self.degrees, self.store = name, degrees, store
        self.order = {store.image(index).tobytes(): index for index in range(len(store))}

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        found = []
        for image in images:
            index = self.order[np.rint(image * 255).astype(np.uint8).tobytes()]
            target = self.store.target(index)
            normals = np.where(target.mask[..., None], target.normals, [0, 0, 1])
            found.append(imperfect(normals, self.degrees, seed=index))
        return np.stack(found)


def opened(page: Path) -> tuple[float, float]:
    """Median seconds from request to the load event, and to the maps of the first card."""
    from playwright.sync_api import sync_playwright

    from pictures.screenshot import CHROMIUM, QUIET

    loads, draws = [], []
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for _ in range(5):
            shown = browser.new_page(viewport={"width": 1280, "height": 900})
            begun = time.perf_counter()
            shown.goto(page.resolve().as_uri())
            loads.append(time.perf_counter() - begun)
            shown.locator("#samples").evaluate("each => each.scrollIntoView({ behavior: 'instant' })")
            shown.wait_for_selector("[data-drawn]:not([hidden])")
            draws.append(time.perf_counter() - begun)
            shown.close()
        browser.close()
    return statistics.median(loads), statistics.median(draws)


def prepared(data: Path, count: int, folder: Path) -> None:
    """Write the data file, records and maps into a folder, unless they are there."""
    if (folder / "poor.json").is_file():
        return
    with Store(data) as source:
        attributes = {key: source.attributes[key] for key in ("dataset", "gt_kind", "protocol", "settings")}
        for name, some in (("few", min(DISTINCT, count)), ("many", count)):
            write_samples(folder / f"{name}.h5", repeated(source, some), attributes)
    with Store(folder / "few.h5") as few, Store(folder / "many.h5") as many:
        for name, degrees in MODELS.items():
            repeated_record(Noisy(name, degrees, few), few, many, folder)


def measure(folder: Path) -> None:
    """Time the report, a network that is run again, and the page."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    command = ["report", "--records", str(folder), "--data", str(folder / "many.h5"), "--out", str(folder / "r.html")]
    subprocess.run([sys.executable, "-m", "fnbench", *command], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    record = read_record(folder / "good.json")
    print(
        f"report of {record.counts['images']} samples x {len(MODELS)} models on {os.cpu_count()} cores: "
        f"{wall:.1f} s by the clock, {used:.1f} s of CPU, {after.ru_maxrss / 1024:.0f} MiB at most; "
        f"page {(folder / 'r.html').stat().st_size / 1e6:.1f} MB",
        flush=True,
    )
    with Store(folder / "many.h5") as store:
        shown = sorted({store.ids.index(name) for group in chosen(record).values() for name in group})
        network = CrossmodalEstimator(untrained=True)
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in predictions(network, (store.image(index) for index in shown), batch=BATCH):
            pass
        wall, used = time.perf_counter() - begun, time.process_time() - cpu
        print(f"a network that is run again for {len(shown)} samples: + {wall:.1f} s, {used:.1f} s of CPU", flush=True)
    loaded, drawn = opened(folder / "r.html")
    print(f"the page in Chromium: loaded after {loaded:.2f} s, samples drawn after {drawn:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        prepared(given.data, given.samples, folder)
        measure(folder)


if __name__ == "__main__":
    main()
