"""How much of a training step is not the network: the loop against the bare forward and backward pass.

    python -m tests.benchmarks.bench_train            width 32, 128 pixels, batches of 16
    python -m tests.benchmarks.bench_train 16 96      another width and size

Bare is the same network on one batch that is ready: forward, losses, backward, optimiser step. The loop reads, crops,
augments, clips, averages the weights and keeps its log as well. Both in one process, in turns, on the threads that
torch has here; figures are medians of wall time per image over the rounds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from fnbench.training.cache import Cache
from fnbench.training.data import Feeder, Sources
from fnbench.training.loop import _Run
from fnbench.training.process import Where
from fnbench.training.recipe import Recipe, recipe_from

ROUNDS, STEPS = 5, 6


def faces(count: int, side: int) -> Cache:
    """Pictures of noise and normals of a half sphere: as heavy to read as any others."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    inside = x * x + y * y < 0.8
    z = np.sqrt(np.where(inside, 1 - x * x - y * y, 1))
    normals = np.where(inside[..., None], np.stack([x, -y, z], -1), 0).astype(np.float16)
    ids = tuple(map(str, range(count)))
    boxes = np.tile(np.array([0.12, 0.12, 0.76], np.float32) * side, (count, 1))
    images = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    return Cache(images, np.repeat(normals[None], count, 0), boxes, ids, ids, "noise")


def recipe(width: int, size: int) -> Recipe:
    values = {
        "name": "bench", "model": "crossmodal", "steps": 10**9, "paths": ["image-normal"], "network": {"width": width},
        "batch": {"paired": 16, "images": 0, "normals": 0}, "crop": {"size": size},
        "optimiser": {"precision": "bfloat16", "average": 0.998}, "check": {"log": 0, "validate": 0, "save": 0},
    }  # fmt: skip
    return recipe_from(values)


def until(run: _Run, steps: int) -> list[int]:
    """A list that asks the run to stop after so many steps, before it validates or saves."""
    asked: list[int] = []
    update, end = _Run._update, run.step + steps

    def counted() -> None:
        update(run)
        if run.step + 1 == end:
            asked.append(1)

    run._update = counted  # type: ignore[method-assign]
    return asked


def main() -> None:
    width, size = (int(word) for word in (sys.argv[1:] or ("32", "128")))
    chosen, where = recipe(width, size), Where(torch.device("cpu"))
    cache = faces(256, size * 3 // 2)
    with tempfile.TemporaryDirectory() as folder:
        run = _Run(chosen, Path(folder), Sources((cache, np.arange(256))), cache, where, lambda line: None)
        bare_run = _Run(chosen, Path(folder), Sources((cache, np.arange(256))), cache, where, lambda line: None)
        ready = Feeder(chosen, bare_run.sources, where.device).batch(0)
        times: dict[str, list[float]] = {"bare": [], "loop": []}
        for _ in range(ROUNDS):
            clock = time.perf_counter()
            for _ in range(STEPS):
                bare_run.optimiser.zero_grad(set_to_none=True)
                bare_run._pass(bare_run.network, ready, last=True)
                bare_run.optimiser.step()
            times["bare"].append((time.perf_counter() - clock) / STEPS / 16)
            clock = time.perf_counter()
            run._steps(until(run, STEPS))
            times["loop"].append((time.perf_counter() - clock) / STEPS / 16)
    bare, loop = (statistics.median(times[name]) for name in ("bare", "loop"))
    print(f"width {width}, {size} pixels, {torch.get_num_threads()} threads, bfloat16")
    print(f"bare forward and backward  {1000 * bare:7.1f} ms/image")
    print(f"whole training step        {1000 * loop:7.1f} ms/image   {loop / bare:.3f} x bare")


if __name__ == "__main__":
    main()
