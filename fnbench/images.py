"""Photographs and masks from files: EXIF orientation applied, odd modes refused by name, size bounded."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import DatasetNotFoundError, InvalidDataError

MAX_PIXELS = 200_000_000
"""Largest image that is decoded; an 8-bit colour image of this size takes 600 MB."""


def read_image(path: Path, *, modes: tuple[str, ...] = ("RGB",)) -> NDArray[np.uint8]:
    """A photograph as (H, W, 3) uint8 sRGB, EXIF orientation applied.

    modes: Pillow modes that are accepted and turned into RGB without loss: "RGB", "L" (grey), "P" (palette).
    Raises DatasetNotFoundError when the file is missing, InvalidDataError when it is damaged, of another mode
    (16 bit, CMYK, with alpha), or too large; the message names the mode.
    """
    return np.asarray(_open(path, modes).convert("RGB"), np.uint8).copy()


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A one-channel image as (H, W) uint8; colour is accepted when its channels agree."""
    image = _open(path, ("L", "1", "P", "RGB"))
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"), np.uint8).copy()
    pixels = np.asarray(image.convert("RGB"), np.uint8)
    if (pixels != pixels[..., :1]).any():
        raise InvalidDataError(f"{path}: a colour picture where a mask is expected. Check the file name.")
    return pixels[..., 0].copy()


def binary_mask(path: Path, *, threshold: int | None = None) -> NDArray[np.bool_]:
    """A mask from an image, True where it is set.

    threshold: set is what lies above it; needed when the picture has more than two values (a soft mask). Without it
    the larger of two values is set, whether they are written 0 and 1 or 0 and 255; a picture of one value is all set
    or, when it is 0, all empty.
    Raises InvalidDataError for a soft mask without a threshold; the message shows its values.
    """
    values = read_mask(path)
    if threshold is not None:
        return values > threshold
    found = np.unique(values)
    if len(found) > 2:
        raise InvalidDataError(
            f"{path}: a mask of {len(found)} values between {found[0]} and {found[-1]}, expected two, such as 0 and "
            "255. A soft mask needs a stated threshold: write it with two values.",
            code="FM-25",
        )
    return values == found[-1] if found[-1] > 0 else values > 0


def _open(path: Path, modes: tuple[str, ...]):  # type: ignore[no-untyped-def]  # Pillow is imported lazily
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: this image is missing. Copy it again from the distribution.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(path.read_bytes()))
        if image.width * image.height > MAX_PIXELS:
            raise InvalidDataError(f"{path}: {image.width}x{image.height} pixels, more than the limit of {MAX_PIXELS}.")
        if image.mode not in modes:
            raise InvalidDataError(
                f"{path}: image mode {image.mode}, expected {' or '.join(modes)}. Convert it to 8-bit colour."
            )
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise InvalidDataError(f"{path}: not an image, or a damaged one. Copy it again.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidDataError(f"{path}: damaged image ({error}). Copy it again.") from None
