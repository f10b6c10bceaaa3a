"""Draws the logs of training runs that follow each other: losses, and the error on validation people.

    python pictures/curves.py RUN/log.csv [LATER/log.csv ...] --out curves.png

Runs stand one after the other on one axis of steps. Losses are of augmented training pictures, with the weights of
the recipe, as the log has them; the error is the mean over validation images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot

PATHS = {"image-normal": "C0", "image-image": "C1", "normal-normal": "C2"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    figure, (losses, errors) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    begin = 0
    for path in arguments.logs:
        log = pd.read_csv(path)
        step = begin + log["step"]
        for name, colour in PATHS.items():
            if name in log:
                label = name if name not in losses.get_legend_handles_labels()[1] else None
                losses.plot(step, log[name].ewm(span=5).mean(), color=colour, lw=1.2, label=label)
        if "val_mean_img" in log:
            known = log["val_mean_img"].notna()
            errors.plot(step[known], log["val_mean_img"][known], "o-", color="C3", ms=3, lw=1.2)
        if begin:
            for axes in (losses, errors):
                axes.axvline(begin, color="0.8", lw=0.8, zorder=0)
        begin = int(step.iloc[-1])
    losses.set(xlabel="step", ylabel="loss", yscale="log")
    losses.legend(frameon=False)
    errors.set(xlabel="step", ylabel="mean error on validation people (degrees)", ylim=(0, None))
    for axes in (losses, errors):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
