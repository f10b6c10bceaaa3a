"""Photographs and masks from files: EXIF orientation applied, odd modes refused by name, size bounded."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import DatasetNotFoundError, InvalidDataError, MissingDependencyError

MAX_PIXELS = 200_000_000
"""Largest image that is decoded; an 8-bit colour image of this size takes 600 MB."""


def read_image(path: Path, *, modes: tuple[str, ...] = ("RGB",)) -> NDArray[np.uint8]:
    """A photograph as (H, W, 3) uint8 sRGB, EXIF orientation applied.

    modes: Pillow modes that are accepted and turned into RGB without loss: "RGB", "L" (grey), "P" (palette).
    Raises DatasetNotFoundError when the file is missing, InvalidDataError when it is damaged, of another mode
    (16 bit, CMYK, with alpha), or too large; the message names the mode.
    """
    return np.asarray(_open(path, modes).convert("RGB"), np.uint8).copy()


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """Anybody's photograph as (H, W, 3) uint8 sRGB, as a viewer shows it: EXIF orientation and colour profile applied.

    Grey, palette, CMYK and 16-bit pictures become 8-bit sRGB, what is transparent becomes white, of several frames the
    first counts. Raises DatasetNotFoundError when the file is missing, InvalidDataError when it cannot be read.
    """
    return np.asarray(_srgb(_open(path, None)), np.uint8).copy()  # type: ignore[no-untyped-call]  # Pillow, lazily


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


def _open(path: Path, modes: tuple[str, ...] | None):  # type: ignore[no-untyped-def]  # Pillow is imported lazily
    """The picture, upright; modes: those that are accepted, all when None."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: this image is missing. Copy it again from the distribution.")
    try:
        _admit_heif(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(path.read_bytes()))
        if image.width * image.height > MAX_PIXELS:
            raise InvalidDataError(f"{path}: {image.width}x{image.height} pixels, more than the limit of {MAX_PIXELS}.")
        if modes is not None and image.mode not in modes:
            raise InvalidDataError(
                f"{path}: image mode {image.mode}, expected {' or '.join(modes)}. Convert it to 8-bit colour."
            )
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        if _is_heif(path):
            raise MissingDependencyError(
                f"{path}: a HEIC photograph, which needs the library pillow-heif. Install it with: pip install "
                "'fnbench[heic]', or save the photograph as JPEG."
            ) from None
        raise InvalidDataError(f"{path}: not an image, or a damaged one. Copy it again.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidDataError(f"{path}: damaged image ({error}). Copy it again.") from None


def _srgb(image):  # type: ignore[no-untyped-def]  # Pillow is imported lazily
    """Any mode of Pillow as RGB."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image), image.mode))
    profile = image.info.get("icc_profile")
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image).convert("RGB")
    if profile and image.mode in ("RGB", "L", "CMYK"):
        image = _out_of_profile(image, profile)
    return image.convert("RGB")


def _eight_bits(values: NDArray[np.generic], mode: str) -> NDArray[np.uint8]:
    """Grey values of 16 bits (0 to 65535) or floating ones (0 to 1) as 0 to 255."""
    full = 1.0 if mode == "F" else 65535.0
    return np.rint(np.clip(np.nan_to_num(np.asarray(values, np.float64) / full), 0, 1) * 255).astype(np.uint8)


def _out_of_profile(image, profile: bytes):  # type: ignore[no-untyped-def]  # Pillow is imported lazily
    """The picture in sRGB; as it is when the profile is damaged or of another kind of picture."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _is_heif(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")


def _admit_heif(path: Path) -> None:
    """Let Pillow read HEIC when the optional library is there."""
    if _is_heif(path):
        with suppress(ImportError):
            from pillow_heif import register_heif_opener

            register_heif_opener()
