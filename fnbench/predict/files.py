"""Which photographs a run takes, and in which files it leaves what it found.

Files of a photograph, all below the folder of the results and named like the photograph::

    normals/NAME.png    normals at the size of the photograph, zero (code 0 in all channels) where there is none;
                        .npy and .exr (channels N.X, N.Y, N.Z) hold float32
    mask/NAME.png       8 bit: 0 = no normal, 255 = inside a face's square, between = its soft border
    look/NAME.jpg       photograph, normals, and two other lights, side by side
    relit/NAME.jpg      the whole photograph with the light from the left
    about/NAME.json     model, settings, squares, hash of the photograph; written last: what has one is complete
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.encodings import check_encoding, encoded
from fnbench.errors import DatasetNotFoundError, InvalidDataError, InvalidSettingError, MissingDependencyError
from fnbench.files import printable, replacing, write_bytes, write_text
from fnbench.frames import frame_preset, from_canonical
from fnbench.png import write_png

_TYPES = {"png16": np.uint16, "png8": np.uint8, "npy": np.float32, "exr": np.float32}
FORMATS = tuple(_TYPES)
SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm",
)  # fmt: skip
"""File types that count as photographs in a folder; a file that is named itself may have any."""


@dataclass(frozen=True, slots=True)
class Form:
    """How normals are written. format: one of FORMATS.  frame: see ``frames``.  encoding: see ``encodings``."""

    format: str = "png16"
    frame: str = "canonical"
    encoding: str = ""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InvalidSettingError(f"format {self.format!r}, expected one of {', '.join(FORMATS)}.")
        frame_preset(self.frame)
        check_encoding(self.coding)
        codes = self.coding not in ("vectors", "unit")
        if codes != self.picture:
            usual = "127.5, 128 or 127" if self.picture else "vectors or unit"
            raise InvalidSettingError(f"encoding {self.encoding!r} does not fit {self.format}, expected {usual}.")
        if self.format == "exr":
            _openexr()  # asked for before work starts

    @property
    def picture(self) -> bool:
        """Whether numbers are stored as integer codes."""
        return self.format.startswith("png")

    @property
    def coding(self) -> str:
        """The encoding, the usual one of the format when none was asked for."""
        return self.encoding or ("127.5" if self.picture else "vectors")

    @property
    def suffix(self) -> str:
        """Of the files of normals."""
        return ".png" if self.picture else f".{self.format}"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph to work on, and the name of its results."""

    path: Path
    name: str

    def file(self, out: Path, kind: str, suffix: str) -> Path:
        """Where a result of it belongs."""
        return out / kind / f"{self.name}{suffix}"


def photographs(given: Sequence[Path], out: Path) -> list[Photo]:
    """The photographs of files and folders (with what is below them), each once, in order.

    Results are named by the path below the folder, without suffix unless two differ by nothing else. Hidden files and
    what lies in ``out`` are left out. Raises DatasetNotFoundError for what is missing or holds no photograph.
    """
    paths: dict[Path, str] = {}
    for item in given:
        if item.is_dir() and item.resolve() == out.resolve():
            raise InvalidSettingError(f"{item}: both the photographs and --out; choose another folder for the results.")
        if item.is_dir():
            inside = _below(item, out)
            if not inside:
                raise DatasetNotFoundError(
                    f"{item}: no photograph in this folder or below; expected files like {', '.join(SUFFIXES[:5])}."
                )
            paths |= {path: path.relative_to(item).as_posix() for path in inside if path not in paths}
        elif item.exists():
            paths.setdefault(item, item.name)
        else:
            raise DatasetNotFoundError(f"{item}: no such photograph or folder. Check the name.")
    stems = Counter(_stem(relative) for relative in paths.values())
    found = [
        Photo(path, printable(_stem(relative) if stems[_stem(relative)] == 1 else relative.replace(".", "-")))
        for path, relative in paths.items()
    ]
    twice = [name for name, count in Counter(photo.name for photo in found).items() if count > 1]
    if twice:
        both = " and ".join(str(photo.path) for photo in found if photo.name == twice[0])
        raise InvalidSettingError(f"{both} would both be written as {twice[0]}. Give their common folder instead.")
    return found


def write_normals(path: Path, normals: NDArray[np.float32], mask: NDArray[np.float32], form: Form) -> None:
    """Write canonical normals (H, W, 3) in the form asked for; zero, or code 0, where the mask (H, W) is 0."""
    values = np.zeros(normals.shape, _TYPES[form.format])
    place = _extent(mask > 0)  # most of a photograph is no face
    coded = encoded(from_canonical(normals[place], form.frame), form.coding, values.dtype)
    values[place] = np.where((mask[place] > 0)[..., None], coded, 0)
    if form.picture:
        write_png(path, values)
        return
    if form.format == "npy":
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_bytes(path, buffer.getvalue())
        return
    library = _openexr()
    channels = {f"N.{axis}": np.ascontiguousarray(values[..., k]) for k, axis in enumerate("XYZ")}
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    with replacing(path) as temporary, library.File(header, channels) as file:
        file.write(str(temporary))


def write_mask(path: Path, mask: NDArray[np.float32]) -> None:
    """Write a mask in [0, 1] as 8-bit grey PNG; nothing that is above 0 becomes 0."""
    from PIL import Image

    codes = np.where(mask > 0, np.maximum(np.rint(255 * mask), 1), 0).astype(np.uint8)
    with replacing(path) as temporary:
        Image.fromarray(codes).save(temporary, "PNG")


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture to look at, as JPEG."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, "JPEG", quality=92, subsampling=0)


def write_about(path: Path, about: Mapping[str, Any]) -> None:
    """Write what is known about a result, as JSON."""
    write_text(path, json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def complete(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether an earlier run left exactly this result: same photograph, model and settings, all files there."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        same = all(about[key] == value for key, value in settings.items())
        return same and all((path.parent.parent / file).is_file() for file in about["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def sha256_of(path: Path) -> str:
    """SHA-256 of a photograph, hexadecimal; InvalidDataError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InvalidDataError(f"{path}: cannot be read ({error.strerror}); check its rights.") from error


def _extent(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold every True."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _stem(relative: str) -> str:
    head, dot, _ = relative.rpartition(".")
    return head if dot and not head.endswith("/") and head else relative


def _below(folder: Path, out: Path) -> list[Path]:
    found, own = [], out.resolve()
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and (Path(here) / name).resolve() != own)
        found += [Path(here) / name for name in sorted(files) if name[0] != "." and name.lower().endswith(SUFFIXES)]
    return found


def _openexr() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingDependencyError("format exr needs OpenEXR: pip install 'fnbench[exr]'.") from error
    return OpenEXR
