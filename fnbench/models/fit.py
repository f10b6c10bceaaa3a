"""Models whose weights are computed from a split in one pass, without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fnbench.errors import UnknownNameError
from fnbench.models.mean_face import fit_mean_face
from fnbench.models.shading import fit_shading
from fnbench.models.weights import WeightsCard

FITS: dict[str, Callable[[Path, Path], WeightsCard]] = {"mean-face": fit_mean_face, "shading": fit_shading}
"""Model id -> function from an .h5 file to a weights file."""


def fit(model: str, data: Path, out: Path) -> WeightsCard:
    """Compute the weights of a model from the training split of an .h5 file; returns their card."""
    if model not in FITS:
        raise UnknownNameError(
            f"Model {model!r} is not fitted in one pass. Known: {', '.join(FITS)}; or fnbench train."
        )
    return FITS[model](data, out)
