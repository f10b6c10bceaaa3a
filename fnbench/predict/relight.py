"""Pictures to judge a predicted map by: beside its photograph, and the photograph under another light.

Relighting divides the photograph by the shading that explains it best and multiplies it by a new one. The old light is
the second-order spherical-harmonic one (Ramamoorthi and Hanrahan 2001) that fits the luminance under the predicted
normals, so whatever the normals get wrong stays visible as old light on the skin. A preview: no shadows are cast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fnbench.camera import CropBox
from fnbench.encodings import encoded
from fnbench.render.light import harmonics

LIGHTS = {"light from the left": (-0.75, 0.25, 0.6), "light from the right": (0.75, 0.25, 0.6)}
"""Directions to the new light: x to the image right, y up, z to the viewer."""
CELL = 320
_GAP, _CAPTION, _ROWS = 6, 20, 6
_AMBIENT = 0.2
_DIMMEST = 0.25
"""Old shading below this share of its mean is not divided by: it would amplify noise."""
_FITTED = 20_000
"""Pixels that are enough to fit nine numbers."""


def relit(
    image: NDArray[np.uint8],
    normals: NDArray[np.float32],
    mask: NDArray[np.float32],
    direction: tuple[float, float, float],
) -> NDArray[np.uint8]:
    """A photograph (or its crop) with the light of the face coming from elsewhere.

    image: (H, W, 3) uint8 sRGB.  normals: (H, W, 3) canonical, unit length where mask (H, W) is above 0.
    direction: to the light. Pixels blend to the photograph where the mask falls to 0.
    """
    inside = mask > 0
    if not inside.any():
        return image.copy()
    linear = _linear(image[inside])
    facing = np.asarray(normals[inside], np.float64)
    old = _shading(facing, linear @ [0.2126, 0.7152, 0.0722], mask[inside])
    towards = np.asarray(direction) / np.linalg.norm(direction)
    new = _AMBIENT + np.maximum(facing @ towards, 0)
    new *= old.mean() / new.mean()
    changed = linear * (new / old)[:, None]
    picture = image.copy()
    weight = mask[inside][:, None]
    picture[inside] = np.rint(weight * _srgb(changed) + (1 - weight) * image[inside]).astype(np.uint8)
    return picture


def side_by_side(
    image: NDArray[np.uint8], normals: NDArray[np.float32], mask: NDArray[np.float32], boxes: Sequence[CropBox]
) -> NDArray[np.uint8]:
    """A picture with one row per face: its square, the normals in their usual colours, and two new lights.

    Colours are 127.5 (n + 1): red to the right, green up, blue to the viewer.
    """
    names = ("photograph", "normals", *LIGHTS)
    rows = boxes[:_ROWS]
    width = len(names) * CELL + (len(names) + 1) * _GAP
    canvas = Image.new("RGB", (width, _CAPTION + len(rows) * (CELL + _GAP) + _GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for column, name in enumerate(names):
        draw.text((_GAP + column * (CELL + _GAP), 3), name, fill=(60, 60, 60), font=font)
    for row, box in enumerate(rows):
        for column, tile in enumerate(_tiles(image, normals, mask, box)):
            where = _GAP + column * (CELL + _GAP), _CAPTION + row * (CELL + _GAP)
            canvas.paste(Image.fromarray(tile).resize((CELL, CELL), Image.Resampling.LANCZOS), where)
    return np.asarray(canvas)


def _tiles(
    image: NDArray[np.uint8], normals: NDArray[np.float32], mask: NDArray[np.float32], box: CropBox
) -> list[NDArray[np.uint8]]:
    x, y, side = round(box.x), round(box.y), round(box.side)
    place = np.s_[y : y + side, x : x + side]
    cut, facing, weight = image[place], normals[place], mask[place]
    coloured = np.where((weight > 0)[..., None], encoded(facing, "127.5"), np.uint8(240)).astype(np.uint8)
    return [cut, coloured, *(relit(cut, facing, weight, direction) for direction in LIGHTS.values())]


def _shading(
    facing: NDArray[np.float64], luminance: NDArray[np.floating], weight: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(K,) shading that second-order light gives these normals, fitted to the luminance and kept above the dimmest."""
    step = -(-len(facing) // _FITTED)
    some, seen, trust = harmonics(facing[::step]), np.asarray(luminance[::step], np.float64), weight[::step]
    trust = np.asarray(trust, np.float64)
    for _ in range(4):  # brows, hair and lips are no shading: large residuals count less
        root = np.sqrt(trust)[:, None]
        light = np.linalg.lstsq(some * root, seen * root[:, 0], rcond=None)[0]
        residual = np.abs(some @ light - seen)
        trust = np.asarray(weight[::step], np.float64) / (1 + (residual / (1.5 * np.median(residual) + 1e-6)) ** 2)
    shading = harmonics(facing) @ light
    return np.asarray(np.maximum(shading, _DIMMEST * max(float(shading.mean()), 1e-3)), np.float64)


def _linear(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    unit = values / 255.0
    return np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)


def _srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 to 255."""
    unit = np.clip(linear, 0, 1)
    return 255 * np.where(unit <= 0.0031308, 12.92 * unit, 1.055 * unit ** (1 / 2.4) - 0.055)
