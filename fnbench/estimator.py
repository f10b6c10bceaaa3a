"""The contract between a model and the benchmark, and the checks on what a model returns.

Conventions
-----------
A model is anything with a ``name`` and a ``predict``; there is no base class to inherit. Images come in
batches (N, H, W, 3) of float32 sRGB in [0, 1], all of one size. Predictions leave as (N, H, W, 3) float32 unit
normals in the canonical frame (x right, y up, z to the viewer) at *every* pixel: the benchmark masks, the
model never sees the mask. A model may also carry ``provenance``, a mapping with what a record should say
about it: ``weights_sha256``, ``licence``, ``training_data``, ``untrained``, ``preprocessing``, ``seed``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidPredictionError


@runtime_checkable
class NormalEstimator(Protocol):
    """Anything that turns face crops into normals."""

    name: str

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normals of a batch of images.

        images: (N, H, W, 3) float32 sRGB in [0, 1].
        Returns (N, H, W, 3) float32 unit normals, canonical frame, every pixel.
        """
        ...


def provenance(estimator: NormalEstimator) -> dict[str, Any]:
    """What a record says about a model: its entry point and whatever it declares itself.

    Missing declarations are None, so that a record shows what nobody stated.
    """
    declared: Mapping[str, Any] = getattr(estimator, "provenance", {})
    kind = type(estimator)
    stated = dict.fromkeys(("weights_sha256", "licence", "training_data", "untrained", "preprocessing", "seed"))
    return {"name": estimator.name, "entry_point": f"{kind.__module__}:{kind.__qualname__}", **stated, **declared}


def model_input(image: NDArray[Any]) -> NDArray[np.float32]:
    """An image as models take it.

    image: (..., 3) uint8 sRGB, or floating sRGB already in [0, 1].
    Returns the same shape as float32 in [0, 1].

    >>> model_input(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"an image is uint8 or floating, got {image.dtype}")
    return image.astype(np.float32, copy=False)


def predict(estimator: NormalEstimator, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """``estimator.predict`` with its answer checked: type, shape, finite numbers.

    images: (N, H, W, 3) float32 sRGB in [0, 1].
    Returns (N, H, W, 3) float32. Lengths are left as they are; the metric judges them inside the mask.
    Raises InvalidPredictionError.
    """
    answer = estimator.predict(images)
    model = estimator.name
    if not isinstance(answer, np.ndarray):
        kind = f"{type(answer).__module__}.{type(answer).__qualname__}"
        raise InvalidPredictionError(
            f"Model {model}: predict returned {kind}, expected a numpy array. Return a float32 array (N, H, W, 3)."
        )
    if answer.shape != images.shape:
        hint = " Move the channels last." if answer.shape == np.moveaxis(images, -1, 1).shape else ""
        raise InvalidPredictionError(
            f"Model {model}: predict returned shape {answer.shape}, expected {images.shape}: "
            f"one normal per pixel of every image.{hint}"
        )
    if not np.issubdtype(answer.dtype, np.floating):
        raise InvalidPredictionError(
            f"Model {model}: predict returned {answer.dtype}, expected float32 vectors, not a coded picture."
        )
    finite = np.isfinite(answer).all(axis=-1)
    if not finite.all():
        first = int(np.flatnonzero(~finite.reshape(len(answer), -1).all(axis=1))[0])
        raise InvalidPredictionError(
            f"Model {model}: {np.count_nonzero(~finite)} of {finite.size} predicted normals are NaN or infinite, "
            f"first in image {first} of the batch. Every pixel needs a finite normal; the benchmark masks."
        )
    return answer.astype(np.float32, copy=False)


def predictions(
    estimator: NormalEstimator, images: Iterable[NDArray[Any]], *, batch: int = 8
) -> Iterator[NDArray[np.float32]]:
    """Predict many images in batches, in order, holding one batch in memory.

    images: any iterable of (H, W, 3) uint8 or float sRGB; neighbours of one size share a batch.
    Yields one (H, W, 3) float32 map per image. Raises InvalidPredictionError.
    """
    for _, alike in groupby(images, key=np.shape):
        waiting = []
        for image in alike:
            waiting.append(model_input(image))
            if len(waiting) == batch:
                yield from predict(estimator, np.stack(waiting))
                waiting = []
        if waiting:
            yield from predict(estimator, np.stack(waiting))
