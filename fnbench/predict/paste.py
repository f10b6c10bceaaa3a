"""Predicted crops put back into the photograph they were cut from, pixel for pixel.

Conventions
-----------
A photograph gets one normal map of its own size. The *mask* says how far a normal is to be trusted as part of a face
square: 0 where no model looked (there the normals are zero), 1 inside a square. With the border "soft" it fades to 0
over the outer sixteenth of the square (``FADE``), except along the border of the picture; with "clear" it ends at once.
Where squares overlap, normals are mixed by these weights and brought to unit length. A model answers at every
pixel of its square, also beside the head: nothing here knows where the skin ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fnbench.camera import CropBox
from fnbench.errors import InvalidSettingError

BORDERS = ("soft", "clear")
FADE = 1 / 16
"""Share of the square's side over which a soft border fades."""
_SHORTEST = 1e-3


def check_border(name: str) -> str:
    """The name itself when it is one of BORDERS; InvalidSettingError otherwise."""
    if name not in BORDERS:
        raise InvalidSettingError(f"border {name!r}, expected {' or '.join(BORDERS)}.")
    return name


def pasted(
    maps: Sequence[NDArray[np.float32]], boxes: Sequence[CropBox], shape: tuple[int, int], border: str = "soft"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One map of the whole photograph.

    maps: (S, S, 3) unit normals of each square.  boxes: the squares, in whole pixels inside the picture.
    shape: height and width of the photograph.
    Returns (H, W, 3) float32 normals, unit length where the mask is above 0 and zero elsewhere, and the (H, W) float32
    mask in [0, 1].
    """
    normals, mask = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
    for one, box in zip(maps, boxes, strict=True):
        x, y, side = round(box.x), round(box.y), round(box.side)
        place = np.s_[y : y + side, x : x + side]
        weight = border_weights(box, shape, border)
        normals[place] += weight[..., None] * resized(one, side)
        mask[place] = np.maximum(mask[place], weight)
    for box in boxes:  # the rest of the picture is zero already
        x, y, side = round(box.x), round(box.y), round(box.side)
        place = np.s_[y : y + side, x : x + side]
        normals[place] = _unit(normals[place])
    return normals, mask


def resized(normals: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(side, side, 3) unit normals: filtered in float (bicubic, wider when shrinking) and brought to unit length."""
    if normals.shape[0] == side:
        return _unit(normals)
    planes = [Image.fromarray(np.ascontiguousarray(normals[..., k])) for k in range(3)]
    return _unit(np.stack([np.asarray(p.resize((side, side), Image.Resampling.BICUBIC)) for p in planes], axis=-1))


def border_weights(box: CropBox, shape: tuple[int, int], border: str) -> NDArray[np.float32]:
    """(side, side) weights in (0, 1] of a square: 1 everywhere, or falling smoothly towards its border."""
    side = round(box.side)
    if border == "clear":
        return np.ones((side, side), np.float32)
    height, width = shape
    across = _ramp(side, box.x > 0, box.x + box.side < width)
    down = _ramp(side, box.y > 0, box.y + box.side < height)
    return np.minimum(across[None], down[:, None])


def _ramp(side: int, first: bool, last: bool) -> NDArray[np.float32]:
    """Weights along one axis; first, last: whether it fades there."""
    place = (np.arange(side) + 0.5) / max(1.0, FADE * side)
    weight = np.ones(side)
    for fades, distance in ((first, place), (last, place[::-1])):
        t = np.clip(distance, 0, 1)
        weight = np.minimum(weight, t * t * (3 - 2 * t)) if fades else weight
    return np.maximum(weight, 1 / 255).astype(np.float32)  # never 0: the outermost normals are known too


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """At unit length; what has no direction (opposite normals that cancel) faces the viewer."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    short = length < _SHORTEST
    return np.where(short, np.array([0, 0, 1], np.float32), vectors / np.where(short, 1, length)).astype(np.float32)
