"""How fast numbers are computed, how much memory a large evaluation takes, and how long intervals take.

    python -m tests.benchmarks.bench_evaluate                   all parts
    python -m tests.benchmarks.bench_evaluate numbers           one part: numbers, store, bootstrap
    python -m tests.benchmarks.bench_evaluate store 1000        another number of maps

numbers    The eight numbers of DSINE on the same arrays in memory, in one process on one core, interleaved; medians of
           CPU time. Theirs is recomputed here as published (github.com/baegwangbin/DSINE, utils/utils.py and its test
           loop): cosine similarity in float32 torch, clamp, arccos, errors of all images joined, numpy at the end.
           Ours: exact integer errors by atan2 in float64, a tally per image, the pool, exact quantiles; then the same
           with the gradient error, which DSINE has not; then a whole evaluation out of a store (masks, regions, six
           other masks, hashes, doctor's cases), beside DSINE's way with the same reading.
store      10,000 maps of 512 x 512 through ``fnbench.evaluate`` in a process of its own, and its peak memory. The
           file holds eight different faces, and a Store that repeats them by index stands in for 10,000 on disk: every
           map is read, decoded, predicted and scored each time, only the disk is spared. 1,000 subjects.
bootstrap  10,000 resamples of 1,000 subjects, all metrics in three families.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.evaluate import evaluate
from fnbench.metrics import Errors, errors, gradient_error, summary, tally
from fnbench.protocol import protocol_named
from fnbench.quantiles import ErrorPool
from fnbench.scoring import score
from fnbench.statistics import intervals, subject_sums
from fnbench.store import Store, write_samples
from tests.results import bumpy_normals, bumpy_sample, imperfect
from tests.spheres import ATTRIBUTES

SIZE, FACES, MAPS, ROUNDS = 512, 8, 16, 5
SUBJECTS = 1000
Map = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def faces() -> list[Map]:
    """Predictions of about twelve degrees, targets and masks of the FACES faces."""
    found = (bumpy_normals(SIZE, seed) for seed in range(FACES))
    return [(imperfect(normals, 12, seed), normals, mask) for seed, (normals, mask) in enumerate(found)]


class Repeated(Store):
    """A store whose samples come round again and again under new ids."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path)
        self._held = len(self.ids)
        self.ids = [f"m{number:05d}" for number in range(count)]
        self.captures = list(self.ids)
        self.subjects = [f"s{number % SUBJECTS:04d}" for number in range(count)]
        self.splits = ["test"] * count

    def _position(self, index: int) -> int:
        return index % self._held


class Saved:
    """Maps in memory as a source for ``score``, one per face."""

    def __init__(self, maps: Sequence[Map]) -> None:
        self._maps = maps

    def maps(self, store: Store, indices: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        return (self._maps[index % FACES][0] for index in indices)

    def remark(self, *_: object) -> None:
        return None


class Recognises:
    """A model that knows the predictions of the faces by a row of their picture."""

    name = "recognises"

    def __init__(self, store: Store, maps: NDArray[np.float32]) -> None:
        self._known = {self._key(store.image(i).astype(np.float32) / np.float32(255)): maps[i] for i in range(FACES)}

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([self._known[self._key(image)] for image in images])

    def _key(self, image: NDArray[np.float32]) -> bytes:
        return image[SIZE // 2].tobytes()


def written(folder: Path) -> Path:
    samples = [bumpy_sample(f"p{seed:03d}", SIZE, seed=seed) for seed in range(FACES)]
    return Path(write_samples(folder / "faces.h5", samples, ATTRIBUTES))


def dsine(maps: Sequence[Map]) -> dict[str, float]:
    """DSINE's eight numbers, computed as its code computes them."""
    import torch

    found = []
    for predicted, target, mask in maps:
        p, t = (torch.from_numpy(part).permute(2, 0, 1)[None] for part in (predicted, target))
        error = torch.cosine_similarity(p, t, dim=1).clamp(min=-1.0, max=1.0).acos() * 180.0 / np.pi
        found.append(error[torch.from_numpy(mask)[None]])
    e = torch.cat(found).numpy()
    shares = {f"acc@{limit:g}_px": 100.0 * np.sum(e < limit) / len(e) for limit in (5, 7.5, 11.25, 22.5, 30)}
    return {"mean_px": np.average(e), "median_px": np.median(e), "rmse_px": np.sqrt(np.sum(e * e) / len(e)), **shares}


def ours(maps: Sequence[Map], *, gradient: bool) -> dict[str, float]:
    """All of our numbers from arrays."""
    tallies = []
    with ErrorPool() as pool:
        for one in maps:
            found = errors(*one)
            tallies.append(tally(found, gradient_error(*one) if gradient else (0, 0)))
            pool.add(found.fixed)
        return summary(tallies, [str(number) for number in range(len(maps))], pool.quantiles())


def seconds(*functions: Callable[[], object]) -> list[float]:
    """Median CPU time of each function, rounds interleaved, first round not counted."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS + 1):
        for function, found in zip(functions, times, strict=True):
            begun = time.process_time()
            function()
            found.append(time.process_time() - begun)
    return [statistics.median(found[1:]) for found in times]


def numbers(*_: str) -> None:
    import torch

    torch.set_num_threads(1)
    maps = [one for _ in range(MAPS // FACES) for one in faces()]
    theirs, mine = dsine(maps), ours(maps, gradient=False)
    gap = max(abs(theirs[name] - mine[name]) for name in theirs)
    with tempfile.TemporaryDirectory() as folder, Repeated(written(Path(folder)), MAPS) as store:
        rules, source = protocol_named("fnbench-1"), Saved(maps)

        def read() -> list[Map]:
            targets = (store.target(index) for index in range(MAPS))
            return [(one[0], target.normals, target.mask) for one, target in zip(maps, targets, strict=True)]

        found = seconds(
            lambda: dsine(maps),
            lambda: ours(maps, gradient=False),
            lambda: ours(maps, gradient=True),
            lambda: dsine(read()),
            lambda: score(store, rules, source, range(MAPS)),
        )
    dsine_, eight, everything, dsine_read, whole = (1000 * value / MAPS for value in found)
    print(
        f"numbers: {MAPS} maps of {SIZE}x{SIZE}, ms of CPU per map, medians of {ROUNDS}; largest difference {gap:.1e}"
    )
    print(f"  DSINE's way, eight numbers                    {dsine_:7.2f}")
    print(f"  fnbench, these and all other angle metrics    {eight:7.2f}   {dsine_ / eight:.1f} times as fast")
    print(
        f"  fnbench, with the gradient error              {everything:7.2f}   {dsine_ / everything:.1f} times as fast"
    )
    print(f"  DSINE's way, targets read from the store      {dsine_read:7.2f}")
    print(f"  fnbench, whole evaluation out of the store    {whole:7.2f}   {dsine_read / whole:.1f} times as fast")


def store(count: str = "10000", *_: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # made here, so that the other process holds nothing but its work
        written(Path(folder))
        np.save(Path(folder) / "maps.npy", np.stack([predicted for predicted, _, _ in faces()]))
        command = [sys.executable, "-m", "tests.benchmarks.bench_evaluate", "_store", count, folder]
        subprocess.run(command, check=True)


def _store(count: str, folder: str) -> None:
    with Repeated(Path(folder) / "faces.h5", int(count)) as repeated:
        model = Recognises(repeated, np.load(Path(folder) / "maps.npy"))
        begun, cpu = time.perf_counter(), time.process_time()
        result = evaluate(model, repeated)
        wall, spent = time.perf_counter() - begun, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pixels, mean = result.counts["pixels"], result.metrics["mean_px"]
    print(f"store: {count} maps, {pixels:.3g} pixels, mean_px {mean:.4f}: {wall:.0f} s")
    print(f"  {1000 * spent / int(count):.1f} ms of CPU per map, peak memory {peak:.0f} MiB", flush=True)


def bootstrap(*_: str) -> None:
    rng = np.random.default_rng(0)
    fixed = [(np.clip(rng.gamma(2, 6, 300), 0, 180) * 2**23).astype(np.int32) for _ in range(3 * SUBJECTS)]
    sums = subject_sums([tally(Errors(one), (40, 2**23)) for one in fixed], [f"s{i // 3}" for i in range(3 * SUBJECTS)])
    intervals(sums, draws=10)
    times, spent = [], []
    for _ in range(ROUNDS):
        begun, cpu = time.perf_counter(), time.process_time()
        found = intervals(sums)
        times.append(time.perf_counter() - begun)
        spent.append(time.process_time() - cpu)
    print(f"bootstrap: 10,000 resamples of {SUBJECTS} subjects, {len(found)} intervals")
    clock, used = statistics.median(times), statistics.median(spent)
    print(f"  {clock:.2f} s by the clock, fastest {min(times):.2f} s; {used:.2f} s of CPU")


PARTS = {"numbers": numbers, "bootstrap": bootstrap, "store": store, "_store": _store}

if __name__ == "__main__":
    chosen = sys.argv[1:2] or [name for name in PARTS if not name.startswith("_")]
    for part in chosen:
        PARTS[part](*sys.argv[2:])
