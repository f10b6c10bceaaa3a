"""Contact sheets of a data file: image with mask outline and landmarks, normals, facial regions, sample by sample; or
the images alone, as many as it takes to judge a dataset at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidSettingError
from fnbench.files import replacing
from fnbench.report.grid import normal_colours
from fnbench.store import Store
from fnbench.types import REGIONS, Sample

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

REGION_COLOURS = (
    (120, 120, 120),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
"""One colour per region of fnbench.types.REGIONS, told apart by any eye (Okabe and Ito 2008)."""
COUNT = 24
CELL = 176
"""Pixels of one picture's side."""
SMALL = 80
"""The same on a sheet of images alone."""
JPEG = (".jpg", ".jpeg")
_GAP, _CAPTION, _MARGIN, _PER_ROW = 6, 20, 18, 2
_INK, _SOFT, _PAPER, _MARK = (21, 24, 30), (90, 98, 112), (255, 255, 255), (255, 60, 60)


def write_sheet(
    path: Path, store: Store, *, split: str | None = None, count: int = COUNT, images_only: bool = False
) -> list[str]:
    """Write a contact sheet; returns the ids that it shows, spread evenly over the file.

    path: JPEG when it ends so, else PNG.  split: train, val or test; all when None.  count: samples at most.
    images_only: the images side by side, without maps and captions.
    Raises InvalidSettingError when the split is empty, OutputError when the file cannot be written.
    """
    indices = spread(store.indices(split), count)
    if not indices:
        there = ", ".join(sorted(set(store.splits)))
        raise InvalidSettingError(f"{store.path}: no samples of split {split}. The file has: {there}.")
    if images_only:
        picture = mosaic([store.image(index) for index in indices])
    else:
        picture = sheet([store[index] for index in indices], f"{store.attributes['dataset']}  {len(store)} samples")
    from PIL import Image

    jpeg = path.suffix.lower() in JPEG
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, "JPEG" if jpeg else "PNG", optimize=True, quality=80)
    return [store.ids[index] for index in indices]


def spread(indices: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the indices, evenly spread.

    >>> spread(range(10), 3)
    [0, 3, 6]
    """
    if count < 1:
        raise InvalidSettingError(f"count is {count}, expected at least 1.")
    kept = min(count, len(indices))
    return [indices[place * len(indices) // kept] for place in range(kept)]


def mosaic(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(H, W, 3) picture of images side by side, in rows about twice as wide as the whole is high."""
    from PIL import Image

    per_row = min(len(images), max(1, round((2 * len(images)) ** 0.5)))
    canvas = Image.new("RGB", (per_row * SMALL, -(-len(images) // per_row) * SMALL), _PAPER)
    for place, image in enumerate(images):
        tile = Image.fromarray(image).resize((SMALL, SMALL), Image.Resampling.LANCZOS)
        canvas.paste(tile, (place % per_row * SMALL, place // per_row * SMALL))
    return np.asarray(canvas)


def sheet(samples: Sequence[Sample], title: str) -> NDArray[np.uint8]:
    """(H, W, 3) picture of the samples, three maps each."""
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(15), ImageFont.load_default(11)
    block_width, block_height = 3 * CELL + 2 * _GAP, CELL + _CAPTION
    per_row = min(_PER_ROW, len(samples))
    rows = -(-len(samples) // per_row)
    width = 2 * _MARGIN + per_row * block_width + (per_row - 1) * 2 * _MARGIN
    height = 3 * _MARGIN + 20 + rows * (block_height + _GAP) + 22
    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 4), _plain(title), fill=_INK, font=font)
    for place, sample in enumerate(samples):
        left = _MARGIN + place % per_row * (block_width + 2 * _MARGIN)
        top = 2 * _MARGIN + 16 + place // per_row * (block_height + _GAP)
        draw.text((left, top), _fitted(_plain(sample.id), small, block_width), fill=_SOFT, font=small)
        for column, map_ in enumerate((marked(sample), shown_normals(sample), shown_regions(sample))):
            tile = Image.fromarray(map_)
            tile.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
            canvas.paste(tile, (left + column * (CELL + _GAP), top + _CAPTION - 2))
    _legend(draw, small, height - _MARGIN - 8)
    return np.asarray(canvas)


def marked(sample: Sample) -> NDArray[np.uint8]:
    """The image with the outline of its mask and its landmarks."""
    from PIL import Image, ImageDraw

    picture = sample.image.copy()
    picture[outline(sample.target.mask)] = (255, 255, 255)
    side = max(sample.image.shape)
    tile = Image.fromarray(picture).resize(_scaled(sample.image.shape, CELL / side), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(tile)
    for x, y in sample.landmarks[np.isfinite(sample.landmarks).all(axis=1)] * CELL / side:
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=_MARK)
    return np.asarray(tile)


def shown_normals(sample: Sample) -> NDArray[np.uint8]:
    """The normals in their usual colours."""
    return normal_colours(sample.target.normals, sample.target.mask)


def shown_regions(sample: Sample) -> NDArray[np.uint8]:
    """The image in grey, tinted by facial region inside the mask."""
    grey = (sample.image.astype(np.float64) @ [0.299, 0.587, 0.114])[..., None]
    colours = np.array(REGION_COLOURS, np.float64)[np.minimum(sample.region, len(REGION_COLOURS) - 1)]
    labelled = ((sample.region > 0) & sample.target.mask)[..., None]
    return np.rint(np.where(labelled, 0.45 * grey + 0.55 * colours, 0.6 * grey + 90)).astype(np.uint8)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool: pixels of the mask with a neighbour outside, the border of the image not counted."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _scaled(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))


def _legend(draw, font, top: int) -> None:  # type: ignore[no-untyped-def]  # Pillow is imported lazily
    left = _MARGIN
    for name, colour in list(zip(REGIONS, REGION_COLOURS, strict=True))[1:]:
        draw.rectangle((left, top, left + 10, top + 10), fill=colour)
        draw.text((left + 15, top - 1), name, fill=_SOFT, font=font)
        left += 15 + int(draw.textlength(name, font)) + 16


def _fitted(text: str, font: FreeTypeFont | ImageFont, width: int) -> str:
    while len(text) > 4 and font.getlength(text) > width:
        text = text[: len(text) // 2 - 2] + "..." + text[len(text) // 2 + 2 :]
    return text


def _plain(text: str) -> str:
    """What the built-in font can draw; line breaks would leave the caption."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
