"""A crop of a photograph, a mask or a measured normal map, resampled to the size of a sample.

Pillow's triangle filter, which widens with the reduction, so that a photograph reduced five times does not alias. A
normal is the normalised mean of those under the filter; a pixel whose filter touches one that is not known is not
known either. Crops lie inside the picture (``views.photo_crop``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fnbench.camera import CropBox
from fnbench.types import NormalMap

_CANCELLED = 0.5
"""A mean of unit normals shorter than this comes from directions too different to have one."""
_TOUCHED = 1e-5
"""Weight of unknown pixels that is more than rounding."""


def resampled_image(image: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.uint8]:
    """The crop of a photograph (H, W, 3) as (size, size, 3), filtered on its sRGB values as image libraries do it."""
    return np.asarray(_resampled(Image.fromarray(image), box, size), np.uint8)


def resampled_mask(mask: NDArray[np.bool_], box: CropBox, size: int) -> NDArray[np.bool_]:
    """The crop of a mask (H, W) as (size, size): True where everything under the filter is True."""
    unknown = np.asarray(_resampled(Image.fromarray((~mask).astype(np.float32)), box, size))
    return np.asarray(unknown < _TOUCHED, np.bool_)


def resampled_normals(target: NormalMap, box: CropBox, size: int) -> NormalMap:
    """The crop of a measured normal map: mean directions of unit length, mask as ``resampled_mask``."""
    channels = [Image.fromarray(np.ascontiguousarray(target.normals[..., k])) for k in range(3)]
    mean = np.stack([np.asarray(_resampled(channel, box, size), np.float64) for channel in channels], axis=-1)
    length = np.linalg.norm(mean, axis=-1)
    mask = resampled_mask(target.mask, box, size) & (length > _CANCELLED)
    normals = np.where(mask[..., None], mean / np.where(mask, length, 1)[..., None], 0)
    return NormalMap(normals.astype(np.float32), mask)


def _resampled(image: Image.Image, box: CropBox, size: int) -> Image.Image:
    right, bottom = min(box.x + box.side, image.width), min(box.y + box.side, image.height)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(box.x, box.y, right, bottom))
