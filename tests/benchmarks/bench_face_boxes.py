"""How a face detector's box lies to the protocol's square, on rendered heads whose landmarks are known.

    python -m tests.benchmarks.bench_face_boxes [FILE.h5 ...]

Renders heads of the built-in dataset with room around them (or takes files that were rendered with ``crop`` above 2),
runs the detectors, and prints the medians that ``fnbench.predict.faces.FITS`` holds, the spread around them, how much
the resulting square overlaps the true one, and how many faces were missed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from fnbench.adapters.synthetic import Synthetic
from fnbench.camera import landmark_crop
from fnbench.predict.faces import FITS, detector_named, overlap
from fnbench.render.groundtruth import render_dataset
from fnbench.render.plan import Plan
from fnbench.store import Store

VIEWS = ((0.0, 0.0), (-20.0, 0.0), (20.0, 0.0), (0.0, 12.0))
SUBJECTS = 12
STEP = int(os.environ.get("STEP", "1"))


def measure(path: Path, detector: str) -> None:
    """Print the fit of one detector on one file."""
    find, rows, overlaps = detector_named(detector), [], []
    with Store(path) as store:
        for index in range(0, len(store), STEP):
            truth = landmark_crop(store.landmarks(index))
            boxes = [box for box in find(store.image(index)) if overlap(FITS[detector].crop(box), truth) > 0.1]
            if not boxes:
                continue
            box = max(boxes, key=lambda one: one.side)
            shift = np.array([truth.x, truth.y]) + truth.side / 2 - [box.x, box.y] - box.side / 2
            rows.append([truth.side / box.side, *(shift / box.side)])
            overlaps.append(overlap(FITS[detector].crop(box), truth))
        print(f"{path.name}, {detector}: found {len(rows)} of {len(range(0, len(store), STEP))} faces")
    if rows:
        low, middle, high = np.percentile(rows, (10, 50, 90), axis=0)
        for name, *values in zip(("side", "right", "below"), middle, low, high, strict=True):
            print("  {:6} median {:6.3f}   10 % to 90 % {:6.3f} to {:6.3f}".format(name, *values))
        print(f"  overlap with the true square: median {np.median(overlaps):.2f}, smallest {min(overlaps):.2f}")


def main() -> None:
    """Measure the files named, or heads rendered for it."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(name) for name in sys.argv[1:]]
        if not files:
            files = [Path(folder) / "heads.h5"]
            adapter = Synthetic(None)
            ids = list(adapter.capture_ids())
            render_dataset(
                adapter,
                files[0],
                Plan(views=VIEWS, size=384, crop=2.6),
                samples=ids[:: len(ids) // SUBJECTS][:SUBJECTS],
            )
        for path in files:
            for detector in FITS:
                measure(path, detector)


if __name__ == "__main__":
    main()
