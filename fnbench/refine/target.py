"""The normal map that a mesh is to agree with, read from a file into canonical vectors and weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.encodings import decoded
from fnbench.errors import DatasetNotFoundError, InvalidDataError, InvalidPredictionError
from fnbench.frames import frame_preset, to_canonical
from fnbench.images import read_mask
from fnbench.maps import Entry, map_header, read_map

_LENGTHS = (0.5, 1.5)
"""A vector outside these lengths is no normal but background: black, white or grey."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What the surface should look like.

    normals: (H, W, 3) float64 unit vectors, canonical frame.  weight: (H, W) float64 in [0, 1], 0 = not known.
    """

    normals: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.normals.shape != (*self.weight.shape, 3):
            raise ValueError(f"normals {self.normals.shape} do not fit weights {self.weight.shape}")


def read_target(
    path: Path, *, mask: Path | None = None, frame: str = "canonical", encoding: str | None = None
) -> Target:
    """Read a normal map, and the mask that says where it counts.

    encoding: 127.5 for pictures and vectors for arrays unless named. Vectors without a direction (code 0 in all
    channels, white background) have weight 0.
    Raises DatasetNotFoundError, InvalidPredictionError, InvalidDataError when files are missing or do not fit.
    """
    frame_preset(frame)
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such normal map. Check the name.")
    header = map_header(Entry(path))
    if header.format in ("jpeg", "h5", "npz"):
        raise InvalidPredictionError(f"{path}: a file of type {header.format}, expected one map as PNG, NPY or EXR.")
    values = read_map(Entry(path))
    if values.ndim != 3 or values.shape[2] not in (3, 4):
        raise InvalidPredictionError(
            f"{path}: shape {values.shape}, expected height x width x 3: one normal per pixel."
        )
    coded = header.picture or values.dtype.kind in "ui"
    vectors = decoded(values[..., :3], encoding or ("127.5" if coded else "vectors")).astype(np.float64)
    length = np.linalg.norm(np.nan_to_num(vectors), axis=-1)
    nothing = (values[..., :3] == 0).all(axis=-1) if coded else length == 0
    known = ~nothing & np.isfinite(vectors).all(axis=-1) & (length > _LENGTHS[0]) & (length < _LENGTHS[1])
    if not known.any():
        raise InvalidPredictionError(f"{path}: not one vector has about unit length. Declare the encoding: --encoding.")
    normals = np.asarray(
        to_canonical(np.nan_to_num(vectors) / np.where(known, length, 1)[..., None], frame), np.float64
    )
    return Target(normals, known * _weights(mask, known.shape))


def _weights(mask: Path | None, shape: tuple[int, int]) -> NDArray[np.float64]:
    if mask is None:
        return np.ones(shape)
    weights = read_mask(mask) / 255.0
    if weights.shape != shape:
        height, width = shape
        raise InvalidDataError(
            f"{mask}: {weights.shape[1]}x{weights.shape[0]} pixels, but the normal map has {width}x{height}."
        )
    return np.asarray(weights)
