"""Textures of scans: which image belongs to a mesh, and reading it without surprises.

The image is found by ``mtllib`` -> ``map_Kd``, then as an image with the stem of the mesh, then not at all; a note
says which way it went. Names are looked up as written, then without their folders, then without regard to case,
because sets are moved between machines. Material files are read once and never followed further, so a file that
names itself does no harm. Sizes are checked before a pixel is decoded.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fnbench.errors import InvalidDataError
from fnbench.files import printable

REFUSED_PIXELS = 150_000_000
"""A texture that claims more is taken for a decompression bomb; the largest scanners write a third of it."""
KEPT_PIXELS = 64_000_000
"""Larger textures are reduced by whole factors on reading: 64 megapixels are 192 MB in memory."""

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "TGA", "PPM", "WEBP", "GIF")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".tga")
_LIBRARY_BYTES = 4_000_000
_ARGUMENTS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2, "-bm": 1, "-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1}


@dataclass(frozen=True, slots=True)
class Textures:
    """Image files of a mesh: one per material name (None where it has none), and what to say about it."""

    files: dict[str, Path]
    fallback: Path | None
    notes: tuple[str, ...]


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as (h, w, 3) uint8 sRGB, as stored (texture coordinates ignore EXIF rotation), bounded in size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_FORMATS) as image:
                return _pixels(image, printable(path))
        except Image.DecompressionBombError as error:
            raise InvalidDataError(_bomb(printable(path), "an enormous image")) from error
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError) as error:
            # Pillow's decoders leave with any of these on damaged files.
            raise InvalidDataError(
                f"{printable(path)}: not a readable image ({error}), expected JPEG, PNG, BMP, TIFF, TGA; copy it again."
            ) from error


def bounded(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """An opened image as (h, w, 3) uint8 sRGB, refused or reduced by size."""
    return _pixels(image, name)


def find_textures(
    mesh: Path, libraries: tuple[str, ...] = (), materials: tuple[str, ...] = (), images: tuple[str, ...] = ()
) -> Textures:
    """Image files of a mesh: through its material libraries, else one it names itself, else one of its stem, else none.

    libraries, materials: of an OBJ.  images: names that the mesh gives directly, as VRML does.
    """
    notes: list[str] = []
    named: dict[str, str] = {}
    for library in libraries:
        found = _beside(mesh, library)
        if found is None:
            notes.append(f"material file {printable(library)} is missing")
        else:
            named.update(_diffuse_maps(found))
    files: dict[str, Path] = {}
    for material in materials or tuple(named):
        wanted = named.get(material)
        found = _beside(mesh, wanted) if wanted else None
        if found is not None:
            files[material] = found
        elif wanted:
            notes.append(f"texture {printable(wanted)} is missing")
    if files:
        return Textures(files, None, tuple(notes))
    for image in images:
        found = _beside(mesh, image)
        if found is not None:
            return Textures({}, found, tuple(notes))
        notes.append(f"texture {printable(image)} is missing")
    fallback = _same_stem(mesh)
    if fallback is not None:
        notes.append(f"texture taken from {printable(fallback.name)}, the image of the same name")
    return Textures({}, fallback, tuple(dict.fromkeys(notes)))


def stack(images: list[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Several textures side by side in one.

    Returns the (h, w, 3) image and (n, 4) rows of u scale, u shift, v scale, v shift for coordinates in [0, 1].
    """
    height, width = max(i.shape[0] for i in images), sum(i.shape[1] for i in images)
    sheet = np.zeros((height, width, 3), np.uint8)
    rows, x = [], 0
    for image in images:
        h, w = image.shape[:2]
        sheet[height - h :, x : x + w] = image  # bottom-aligned: v grows from there
        rows.append((w / width, x / width, h / height, 0.0))
        x += w
    return sheet, np.array(rows)


def _pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height > REFUSED_PIXELS:
        raise InvalidDataError(_bomb(name, f"{width}x{height} pixels"))
    factor = int(np.ceil(np.sqrt(width * height / KEPT_PIXELS)))
    while -(-width // factor) * -(-height // factor) > KEPT_PIXELS:
        factor += 1
    if image.mode.startswith("I;16") or image.mode == "I":
        deep = np.asarray(image, np.float64)
        grey = np.rint(np.clip(deep / 257, 0, 255)).astype(np.uint8)
        image = Image.fromarray(grey)
    if factor > 1:
        image.draft("RGB", (width // factor, height // factor))
    reduced = image if image.mode == "RGB" else image.convert("RGB")  # converting copies, even from RGB to RGB
    if factor > 1 and reduced.width * reduced.height > KEPT_PIXELS:
        reduced = reduced.reduce(factor)
    return np.asarray(reduced, np.uint8)


def _bomb(name: str, found: str) -> str:
    return (
        f"{name}: {found}, expected a texture of at most {REFUSED_PIXELS // 1_000_000} megapixels; "
        "if it is genuine, reduce the image."
    )


def _diffuse_maps(library: Path) -> dict[str, str]:
    """Material name -> file name of its diffuse map. Lines that are no material statements are passed over."""
    with library.open("rb") as file:
        text = file.read(_LIBRARY_BYTES)
    maps: dict[str, str] = {}
    material = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2:
            continue
        keyword = words[0].lower()
        if keyword == b"newmtl":
            material = os.fsdecode(line.strip()[len(words[0]) :].strip())
        elif keyword == b"map_kd":
            maps[material] = _file_of(os.fsdecode(line.strip()[len(words[0]) :].strip()))
    return maps


def _file_of(statement: str) -> str:
    """The file name behind map_Kd: options first, and the name may hold spaces."""
    words = statement.split(" ")
    while words and words[0] in _ARGUMENTS:
        takes = _ARGUMENTS[words[0]]
        words = words[1:]
        for _ in range(takes):
            if len(words) > 1 and (takes == 1 or _is_number(words[0])):
                words = words[1:]
    return " ".join(words).strip().strip('"')


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _beside(mesh: Path, name: str) -> Path | None:
    """The file of this name near the mesh, or None."""
    relative = PurePosixPath(name.replace("\\", "/"))
    if not relative.name or "\0" in name:
        return None
    if not relative.is_absolute() and (mesh.parent / relative).is_file():
        return mesh.parent / relative
    if (mesh.parent / relative.name).is_file():
        return mesh.parent / relative.name
    wanted = relative.name.lower()
    return min((f for f in mesh.parent.iterdir() if f.name.lower() == wanted and f.is_file()), default=None)


def _same_stem(mesh: Path) -> Path | None:
    wanted = [mesh.stem.lower() + suffix for suffix in _SUFFIXES]
    images = {f.name.lower(): f for f in sorted(mesh.parent.iterdir(), reverse=True) if f.suffix.lower() in _SUFFIXES}
    return next((images[name] for name in wanted if name in images and images[name].is_file()), None)
