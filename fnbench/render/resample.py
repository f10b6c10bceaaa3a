"""A crop of a photograph, a mask or a measured normal map, resampled to the size of a sample.

Conventions
-----------
Pixel centres at integer + 0.5. The filter is a triangle that widens with the reduction, so that a
photograph reduced five times does not alias. A normal is the normalised mean of those under the filter; a pixel
whose filter touches one that is not known, or leaves the map, is not known either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import CropBox
from fnbench.types import NormalMap

_CANCELLED = 0.5
"""A mean of unit normals shorter than this comes from directions too different to have one."""


def resampled_image(image: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.uint8]:
    """The crop of a photograph, on its sRGB values as common image libraries do it.

    image: (H, W, 3) uint8.  box: in pixels; beyond the image its border is repeated.
    Returns (size, size, 3) uint8.
    """
    across, along = _both(image.shape[:2], box, size)
    values = np.einsum("rh,hwc->rwc", along, image.astype(np.float64), optimize=True)
    values = np.einsum("cw,rwk->rck", across, values, optimize=True)
    picture: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return picture


def resampled_mask(mask: NDArray[np.bool_], box: CropBox, size: int) -> NDArray[np.bool_]:
    """The crop of a mask: True where everything under the filter is True and inside the picture."""
    across, along = _both(mask.shape, box, size)
    reach = np.asarray((along > 0).astype(np.float64) @ (~mask).astype(np.float64) @ (across > 0).astype(np.float64).T)
    inside = np.outer(_inside(mask.shape[0], box.y, box.side, size), _inside(mask.shape[1], box.x, box.side, size))
    whole: NDArray[np.bool_] = (reach == 0) & inside
    return whole


def resampled_normals(target: NormalMap, box: CropBox, size: int) -> NormalMap:
    """The crop of a measured normal map: mean directions, unit length, mask as ``resampled_mask``."""
    across, along = _both(target.mask.shape, box, size)
    values = np.einsum("rh,hwc->rwc", along, target.normals.astype(np.float64), optimize=True)
    values = np.einsum("cw,rwk->rck", across, values, optimize=True)
    length = np.linalg.norm(values, axis=-1)
    mask = resampled_mask(target.mask, box, size) & (length > _CANCELLED)
    normals = np.where(mask[..., None], values / np.where(length > 0, length, 1)[..., None], 0)
    return NormalMap(normals.astype(np.float32), mask)


def _both(shape: tuple[int, ...], box: CropBox, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return _weights(shape[1], box.x, box.side, size), _weights(shape[0], box.y, box.side, size)


def _weights(length: int, start: float, side: float, size: int) -> NDArray[np.float64]:
    """(size, length) rows of filter weights that add up to 1."""
    step = side / size
    centres = start + (np.arange(size) + 0.5) * step
    sources = np.arange(length) + 0.5
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - sources) / max(1.0, step))
    outside = weights.sum(1) == 0
    weights[outside, np.where(centres[outside] < length / 2, 0, length - 1)] = 1
    normalised: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normalised


def _inside(length: int, start: float, side: float, size: int) -> NDArray[np.bool_]:
    """Which of ``size`` pixels have their whole footprint inside a picture of this length."""
    step = side / size
    edges = start + np.arange(size) * step
    inside: NDArray[np.bool_] = (edges >= -1e-9) & (edges + step <= length + 1e-9)
    return inside
