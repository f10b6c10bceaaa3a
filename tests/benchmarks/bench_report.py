"""How long a report of many samples takes, how much memory, how large its page is, and how fast a browser opens it.

    python -m tests.benchmarks.bench_report synthetic-test.h5                1,000 samples x 3 models, a few minutes
    python -m tests.benchmarks.bench_report synthetic-test.h5 --samples 200

A rendered file is repeated under new names with fresh noise in its images until there are enough samples, in subjects
of ten. Three models err by smooth noise of about 8, 12 and 20 degrees; their maps are kept (``eval --keep-maps``).
Timed is the command ``fnbench report`` as a process of its own, then one network that has to be run again for the
samples of the page, then the page in Chromium: from the request to the maps of the first sample on the screen, median
of five.
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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.estimator import predictions
from fnbench.evaluate import evaluate
from fnbench.models.crossmodal import CrossmodalEstimator
from fnbench.record import read_record, write_record
from fnbench.report.gallery import chosen
from fnbench.report.sources import BATCH
from fnbench.store import Store, write_samples
from fnbench.types import Sample
from tests.results import imperfect

MODELS = {"good": 8.0, "fair": 12.0, "poor": 20.0}


def repeated(store: Store, count: int) -> Iterator[Sample]:
    """Samples of a store again and again, ten to a subject, no two images alike."""
    rng = np.random.default_rng(0)
    for number in range(count):
        one = store[number % len(store)]
        noise = rng.integers(-3, 4, one.image.shape)
        image = np.clip(one.image.astype(np.int16) + noise, 0, 255).astype(np.uint8)
        subject = f"p{number // 10:04d}"
        yield replace(one, id=f"{subject}/{number % 10}", capture=subject, subject=subject, split="test", image=image)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Store(given.data) as source:
            attributes = {key: source.attributes[key] for key in ("dataset", "gt_kind", "protocol", "settings")}
            write_samples(folder / "many.h5", repeated(source, given.samples), attributes)
        with Store(folder / "many.h5") as store:
            for name, degrees in MODELS.items():
                begun = time.perf_counter()
                write_record(evaluate(Noisy(name, degrees, store), store, keep=folder), folder)
                print(f"evaluated {name}: {time.perf_counter() - begun:.0f} s", flush=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        command = [
            "report",
            "--records",
            str(folder),
            "--data",
            str(folder / "many.h5"),
            "--out",
            str(folder / "r.html"),
        ]
        subprocess.run([sys.executable, "-m", "fnbench", *command], check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (folder / "r.html").stat().st_size / 1e6
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"report of {given.samples} samples x {len(MODELS)} models on {os.cpu_count()} cores: "
            f"{wall:.1f} s by the clock, {used:.1f} s of CPU, "
            f"{after.ru_maxrss / 1024:.0f} MiB at most; page {size:.1f} MB",
            flush=True,
        )
        with Store(folder / "many.h5") as store:
            groups = chosen(read_record(folder / "good.json"))
            shown = sorted({store.ids.index(name) for group in groups.values() for name in group})
            network = CrossmodalEstimator(untrained=True)
            begun = time.perf_counter()
            for _ in predictions(network, (store.image(index) for index in shown), batch=BATCH):
                pass
            print(
                f"a network that is run again for {len(shown)} samples: + {time.perf_counter() - begun:.1f} s",
                flush=True,
            )
        loaded, drawn = opened(folder / "r.html")
        print(f"the page in Chromium: loaded after {loaded:.2f} s, samples drawn after {drawn:.2f} s")


if __name__ == "__main__":
    main()
