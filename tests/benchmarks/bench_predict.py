"""What prediction costs beside the bare forward pass of the network.

    python -m tests.benchmarks.bench_predict [WIDTH ...]

``predict``      the contract that every model is judged by: numpy batch in, unit normals out
``photographs``  the verb with landmarks given: read JPEG, cut, predict in batches, paste, write 16-bit PNG and mask
``cascade``      the same with faces looked for
Both are compared with the forward pass of the same network over the same number of squares in the same run, in turn.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fnbench.models.crossmodal import CrossmodalEstimator
from fnbench.predict import Choices, predict_photographs

BATCH = 8
PHOTOGRAPHS = 8
ROUNDS = 3


def seconds(*parts: Callable[[], object]) -> list[tuple[float, float]]:
    """Median seconds of each part by the clock, and of the processor over all threads; the parts run in turn."""
    times: list[list[tuple[float, float]]] = [[] for _ in parts]
    for part in parts:
        part()
    for _ in range(ROUNDS):
        for part, own in zip(parts, times, strict=True):
            start = time.perf_counter(), time.process_time()
            part()
            own.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return [(statistics.median(t[0] for t in own), statistics.median(t[1] for t in own)) for own in times]


def measure(width: int, folder: Path) -> None:
    """Print the ratios for the network of one width."""
    model = CrossmodalEstimator(untrained=True, device="cpu", width=width)
    images = np.random.default_rng(0).random((BATCH, 256, 256, 3), np.float32)
    prepared = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(PHOTOGRAPHS // BATCH):
                model.network(prepared)

    def contract() -> None:
        for _ in range(PHOTOGRAPHS // BATCH):
            model.predict(images)

    def photographs(**found: object) -> None:
        choices = Choices(batch=BATCH, resume=False, pictures=False, **found)
        assert predict_photographs(model, [folder], folder / "out", choices).ok

    names = ("forward", "predict", "photographs", "cascade")
    found = seconds(forward, contract, lambda: photographs(landmarks=folder), lambda: photographs(detector="cascade"))
    print(
        f"\nwidth {width}, {PHOTOGRAPHS} faces at 256x256 in batches of {BATCH}; per face, and ratio to the bare pass"
    )
    print("                 ms by the clock   ratio     ms of processor   ratio")
    for name, (wall, work) in zip(names, found, strict=True):
        bare = found[0]
        numbers = 1e3 * wall / PHOTOGRAPHS, wall / bare[0], 1e3 * work / PHOTOGRAPHS, work / bare[1]
        print("  {:14} {:15.1f} {:7.3f} {:19.1f} {:7.3f}".format(name, *numbers))


def main() -> None:
    """Measure the widths named, the full network otherwise."""
    from skimage.data import astronaut

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = Image.fromarray(astronaut()).resize((1024, 1024))
        corners = np.array([[355.0, 165], [545, 345]])
        for k in range(PHOTOGRAPHS):
            picture.save(folder / f"{k}.jpg", quality=92)
            np.savetxt(folder / f"{k}.txt", np.linspace(corners[0], corners[1], 68))
        for width in [int(word) for word in sys.argv[1:]] or [64]:
            measure(width, folder)


if __name__ == "__main__":
    main()
