"""The picture that tells most about a model: image, target, predicted, error, row by row.

Normals are shown as 127.5 (n + 1): red to the right, green up, blue towards the viewer. Errors share one
fixed scale, so that two grids can be compared; the scale is readable without colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.files import replacing

ERROR_SCALE = 45.0
"""Degrees at the bright end of the error colours."""
ERROR_COLOURS = "magma"
LONGEST = 34
"""Characters of a label that fit beside a row; the end is kept, because ids differ there."""
_PAPER = 0.94


@dataclass(frozen=True, slots=True, eq=False)
class GridRow:
    """One row of the picture.

    label: shown beside the row.
    image: (H, W, 3) uint8 sRGB.
    target, predicted: (H, W, 3) unit normals, canonical frame.
    error: (H, W) degrees.
    mask: (H, W) bool; everything outside is left blank.
    """

    label: str
    image: NDArray[np.uint8]
    target: NDArray[np.floating]
    predicted: NDArray[np.floating]
    error: NDArray[np.floating]
    mask: NDArray[np.bool_]


def normal_colours(normals: NDArray[np.floating], mask: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 picture of normals in the canonical frame; blank where ``mask`` is False.

    >>> normal_colours(np.array([[[0.0, 0.0, 1.0]]]))
    array([[[128, 128, 255]]], dtype=uint8)
    """
    colours: NDArray[np.uint8] = np.rint(127.5 * (np.clip(np.nan_to_num(normals), -1, 1) + 1)).astype(np.uint8)
    if mask is not None:
        colours[~mask] = round(255 * _PAPER)
    return colours


def write_grid(path: Path, title: str, rows: Sequence[GridRow]) -> None:
    """Write the grid as PNG: one row per sample and one colour bar for the errors.

    rows: at least one. Raises OutputError when the file cannot be written.
    """
    write_grids([path], title, rows)


def write_grids(paths: Sequence[Path], title: str, rows: Sequence[GridRow]) -> None:
    """Write one grid to several files: SVG where the name ends so, PNG elsewhere.

    rows: at least one. Raises OutputError when the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    # Placed by hand: solving the layout of a hundred pictures takes longer than drawing them.
    cell, gap, top, left, right = 1.9, 0.2, 0.62, 0.3, 0.85
    width, height = left + 4 * cell + 3 * 0.08 + right, top + len(rows) * (cell + gap)
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    scale = Normalize(0, ERROR_SCALE)
    axes = [
        [
            figure.add_axes(
                (
                    (left + column * (cell + 0.08)) / width,
                    1 - (top + place * (cell + gap) + cell) / height,
                    cell / width,
                    cell / height,
                )
            )
            for column in range(4)
        ]
        for place in range(len(rows))
    ]
    for line, row in zip(axes, rows, strict=True):
        line[0].imshow(row.image)
        line[1].imshow(normal_colours(row.target, row.mask))
        line[2].imshow(normal_colours(row.predicted, row.mask))
        line[3].set_facecolor(str(_PAPER))
        errors = np.ma.masked_array(row.error, ~row.mask)
        line[3].imshow(errors, norm=scale, cmap=ERROR_COLOURS, interpolation="nearest")
        mean = float(errors.mean()) if row.mask.any() else float("nan")
        label = row.label if len(row.label) <= LONGEST else f"\u2026{row.label[1 - LONGEST :]}"
        line[0].set_ylabel(label, fontsize=8, parse_math=False)
        line[3].set_xlabel(f"mean {mean:.1f}°", fontsize=8, labelpad=2)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
    for axis, name in zip(axes[0], ("image", "target", "predicted", "error"), strict=True):
        axis.set_title(name, fontsize=10)
    long = min(height - top - gap, 3 * cell)
    beside = figure.add_axes(((width - right + 0.12) / width, 1 - (top + long) / height, 0.12 / width, long / height))
    bar = figure.colorbar(ScalarMappable(scale, ERROR_COLOURS), cax=beside, extend="max")
    bar.set_label("angular error (degrees)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11, y=1 - 0.08 / height, va="top", parse_math=False)
    for path in paths:
        kind = "svg" if path.suffix == ".svg" else "png"
        with replacing(path) as temporary, rc_context({"svg.hashsalt": "fnbench"}):
            figure.savefig(temporary, format=kind, metadata={"Date" if kind == "svg" else "Software": None})
