"""The figures of a report for papers: the same numbers as in the page, as PNG (300 dpi) and SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fnbench.files import replacing
from fnbench.record import file_name
from fnbench.report.content import Heat, Model, Page, Pair
from fnbench.report.grid import GridRow, write_grids
from fnbench.report.page import Report, face_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b6bb0", "#c9560a", "#08805e", "#a8498a", "#8a6a00", "#3b8fc4", "#6b4fbb", "#5a6270")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 2)), (0, (8, 2, 2, 2)))
GRID_ROWS = 6
"""Samples per picture grid."""
FORMATS = ("png", "svg")
LONGEST = 28
"""Characters of a model's name that a figure shows."""
_STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "text.parse_math": False,  # a model may be called "$x$"
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "fnbench",  # equal numbers give equal files
}


def write_figures(folder: Path, report: Report) -> list[Path]:
    """Write every figure of a report into a folder; returns the paths.

    Always ``curve``, ``subjects`` and one ``breakdown-<model>`` per model; with two models ``samples``, ``wins`` and
    ``face``; with samples one ``worst-``, ``best-`` and ``random-<model>`` grid per model.
    """
    page = report.page
    paths = [*_curve(folder, page), *_subjects(folder, page)]
    for model, heats in zip(page.models, page.heats, strict=True):
        paths += _breakdown(folder, model, heats)
    if page.pair is not None:
        paths += [*_scatter(folder, page.pair), *_wins(folder, page.pair), *_face(folder, page.pair)]
    return [*paths, *_grids(folder, report)]


def _curve(folder: Path, page: Page) -> list[Path]:
    with _figure(folder / "curve", 3.5, 2.5) as (figure, paths):
        axes = figure.subplots()
        for curve in page.curves:
            colour = _colour(curve.model)
            axes.plot(page.degrees, curve.share, color=colour, linestyle=DASHES[curve.model.index % 4], linewidth=1.2)
            if curve.low is not None and curve.high is not None:
                axes.fill_between(page.degrees, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.set(xlim=(0, page.degrees[-1]), ylim=(0, 100), xlabel="angular error below (degrees)")
        axes.set_ylabel("share of pixels (%)")
        axes.grid(linewidth=0.3)
        _legend(axes, page.models)
    return paths


def _subjects(folder: Path, page: Page) -> list[Path]:
    with _figure(folder / "subjects", 3.5, 0.6 + 0.5 * len(page.models)) as (figure, paths):
        axes = figure.subplots()
        for place, strip in enumerate(page.strips):
            shift = 0.18 * np.sin(2.4 * np.arange(len(strip.values)))  # steps aside, the same way every time
            axes.scatter(strip.values, place + shift, s=7, color=_colour(strip.model), alpha=0.6, linewidths=0)
            axes.plot([strip.mean, strip.mean], [place - 0.3, place + 0.3], color="black", linewidth=1.2)
            if strip.interval:
                axes.plot(strip.interval, [place, place], color="black", linewidth=1.2)
        axes.set(ylim=(len(page.models) - 0.5, -0.5), xlabel="mean error of the subject (degrees)")
        axes.set_yticks(range(len(page.models)))
        axes.set_yticklabels([_short(model) for model in page.models])
        axes.grid(axis="x", linewidth=0.3)
    return paths


def _breakdown(folder: Path, model: Model, heats: Sequence[Heat]) -> list[Path]:
    paths: list[Path] = []
    for heat in heats:
        name = f"breakdown-{file_name(model.name)}-{heat.title.lower().replace(' ', '-')}"
        width = 1.1 + 0.42 * len(heat.columns)
        with _figure(folder / name, width, 0.6 + 0.22 * len(heat.lines)) as (figure, written):
            axes = figure.subplots()
            values = np.array(
                [[float(cell.sort) if cell.sort else np.nan for cell in line.cells] for line in heat.lines]
            )
            axes.imshow(np.ma.masked_invalid(values), cmap="Oranges", vmin=0, vmax=45, aspect="auto")
            for row, line in enumerate(heat.lines):
                for column, cell in enumerate(line.cells):
                    dark = bool(values[row, column] > 27)
                    axes.text(
                        column, row, cell.text, ha="center", va="center", fontsize=6, color="white" if dark else "black"
                    )
            axes.set_xticks(range(len(heat.columns)))
            axes.set_xticklabels(heat.columns, rotation=30, ha="left")
            axes.set_yticks(range(len(heat.lines)))
            axes.set_yticklabels([line.name for line in heat.lines])
            axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
            axes.spines[:].set_visible(False)
        paths += written
    return paths


def _scatter(folder: Path, pair: Pair) -> list[Path]:
    with _figure(folder / "samples", 3.0, 3.0) as (figure, paths):
        axes = figure.subplots()
        first, second = (np.asarray(errors) for errors in pair.errors)
        colours = np.where(first < second, _colour(pair.models[0]), _colour(pair.models[1]))
        axes.scatter(first, second, s=5, c=colours.tolist(), alpha=0.6, linewidths=0)
        top = 1.05 * max(first.max(), second.max(), 1.0)
        axes.plot([0, top], [0, top], color="grey", linewidth=0.6, linestyle="--")
        axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
        axes.set_xlabel(f"{_short(pair.models[0])}: mean error (degrees)")
        axes.set_ylabel(f"{_short(pair.models[1])}: mean error (degrees)")
    return paths


def _wins(folder: Path, pair: Pair) -> list[Path]:
    with _figure(folder / "wins", 3.5, 2.0) as (figure, paths):
        axes = figure.subplots()
        difference = np.sort(np.asarray(pair.difference))
        colours = np.where(difference < 0, _colour(pair.models[0]), _colour(pair.models[1]))
        axes.bar(range(len(difference)), difference, color=colours.tolist(), width=0.85)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_xticks([])
        axes.set_xlabel(f"{len(difference)} subjects; below 0 {_short(pair.models[0])} is better")
        axes.set_ylabel("difference (degrees)")
    return paths


def _face(folder: Path, pair: Pair) -> list[Path]:
    if pair.face is None:
        return []
    with _figure(folder / "face", 2.6, 2.8) as (figure, paths):
        axes = figure.subplots()
        axes.imshow(face_picture(pair.face), interpolation="nearest")
        axes.axis("off")
        first, second = (_short(model) for model in pair.models)
        title = f"blue: {first} better, orange: {second} better\n(full colour: {pair.face.scale:g}°)"
        axes.set_title(title, fontsize=6)
    return paths


def _grids(folder: Path, report: Report) -> list[Path]:
    paths = []
    specimens = {one.id: one for one in report.shown}
    for group, ids in report.groups.items():
        for model in report.page.models:
            rows = []
            for name in ids[:GRID_ROWS]:
                one, predicted = specimens[name], specimens[name].predicted[model.index]
                if predicted is None:
                    continue
                rows.append(GridRow(name, one.image, one.target, predicted, one.errors[model.index], one.mask))
            if not rows:
                continue
            written = [folder / f"{group}-{file_name(model.name)}.{kind}" for kind in FORMATS]
            write_grids(written, f"{_short(model)}: {group} samples", rows)
            paths += written
    return paths


def _short(model: Model) -> str:
    """A name that leaves room for the figure."""
    return model.name if len(model.name) <= LONGEST else f"{model.name[: LONGEST - 1]}\u2026"


def _colour(model: Model) -> str:
    return COLOURS[model.index % len(COLOURS)]


def _legend(axes: Axes, models: Sequence[Model]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=_colour(m), linestyle=DASHES[m.index % 4], linewidth=1.2) for m in models]
    # A label that begins with an underscore would be left out; set the text afterwards.
    legend = axes.legend(handles, [" "] * len(models), frameon=False, loc="lower right")
    for text, model in zip(legend.get_texts(), models, strict=True):
        text.set_text(_short(model))


@contextmanager
def _figure(stem: Path, width: float, height: float) -> Iterator[tuple[Figure, list[Path]]]:
    """A figure that is written in every format when the block ends well."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        paths = [stem.with_name(f"{stem.name}.{kind}") for kind in FORMATS]
        yield figure, paths
        figure.draw_without_rendering()  # the layout is solved once, not for every format
        figure.set_layout_engine("none")
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            with replacing(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], dpi=300, metadata=metadata)
