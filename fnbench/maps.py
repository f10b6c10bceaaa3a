"""One file of predicted normals: what it is by its bytes, its size and type without its pixels, and its pixels.

Formats: PNG (8 or 16 bit), NPY, NPZ (one array, or one array per id), EXR (needs ``fnbench[exr]``), HDF5 (one dataset
per id, or ``id`` and ``normals``). JPEG is recognised and refused unless it is asked for by name. Nothing is unpickled.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidPredictionError, MissingDependencyError
from fnbench.files import replacing
from fnbench.png import SIGNATURE as PNG
from fnbench.png import png_header, read_png

MAX_BYTES = 2**32
"""Largest array that is opened: 4 GiB."""
SUFFIXES = (".png", ".npy", ".npz", ".exr", ".h5", ".hdf5", ".jpg", ".jpeg")
_MAGIC = {PNG: "png", b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"\x76\x2f\x31\x01": "exr", b"\x89HDF\r\n\x1a\n": "h5",
          b"\xff\xd8\xff": "jpeg"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one map is: a file, and the name of the array inside it when it holds several."""

    path: Path
    key: str = ""
    row: int | None = None

    def label(self, root: Path) -> str:
        """The place relative to ``root``, for messages."""
        base = self.path.name if self.path == root else str(self.path.relative_to(root))
        return f"{base}[{self.key}]" if self.key else base


@dataclass(frozen=True, slots=True)
class Header:
    """What a stored map is: format, shape and type; ``note`` says what the shape alone does not (colour type)."""

    format: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    note: str = ""

    @property
    def picture(self) -> bool:
        """True for pictures, whose numbers are codes; False for arrays."""
        return self.format in ("png", "jpeg")

    @property
    def storage(self) -> str:
        """The name of the storage in ``fnbench.encodings.FLOORS``."""
        return {1: "8 bit", 2: "float16" if self.dtype.kind == "f" else "16 bit"}.get(self.dtype.itemsize, "float32")


def file_format(path: Path) -> str:
    """png, npy, npz, exr, h5 or jpeg by the first bytes; InvalidPredictionError for anything else."""
    with path.open("rb") as stream:
        head = stream.read(16)
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    text = head.lstrip().lower()
    found = "a web page" if text.startswith((b"<!do", b"<htm", b"<?xm")) else f"a file that begins with {head[:8]!r}"
    code = "FM-40" if "web" in found else ("FM-43" if head[:1] == b"\x80" else "")
    raise InvalidPredictionError(
        f"{path.name}: {found}; expected PNG, NPY, NPZ, EXR or HDF5. Pickles are not opened: save with numpy.save.",
        code=code,
    )


def entries(path: Path) -> Iterator[tuple[str, Entry]]:
    """(name, entry) of each map in a file that holds several: NPZ, or HDF5."""
    if file_format(path) == "npz":
        with _zip(path) as archive:
            yield from ((name.removesuffix(".npy"), Entry(path, name)) for name in sorted(archive.namelist()))
        return
    import h5py

    with h5py.File(path, "r") as file:
        if "id" in file and "normals" in file:
            names = [str(name) for name in file["id"].asstr()[:]]
            yield from ((name, Entry(path, "normals", row)) for row, name in enumerate(names))
            return
        found: list[str] = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    yield from ((name, Entry(path, name)) for name in sorted(found))


def map_header(entry: Entry) -> Header:
    """Format, shape and type without reading the pixels."""
    kind = file_format(entry.path)
    return _HEADERS[kind](entry)


def read_map(entry: Entry) -> NDArray[Any]:
    """The stored numbers, as they are; shape and type as ``map_header`` says.

    Raises InvalidPredictionError when the file is damaged.
    """
    header = map_header(entry)
    if int(np.prod(header.shape)) * header.dtype.itemsize > MAX_BYTES:
        raise InvalidPredictionError(f"{entry.path.name}: an array of {header.shape} is larger than {MAX_BYTES} bytes.")
    return _READERS[header.format](entry)


def write_maps(path: Path, ids: Sequence[str], maps: Iterable[NDArray[np.floating]]) -> None:
    """Write predicted maps as one HDF5 file of ``id`` and ``normals``, which ``entries`` reads back.

    maps: (H, W, 3) vectors of one size, in the order of the ids; kept as float16, which costs at most 0.03 degrees.
    Raises OutputError when the file cannot be written; a file of that name is replaced whole or not at all.
    """
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["id"] = np.array(ids, dtype=h5py.string_dtype())
        for row, one in enumerate(maps):
            if row == 0:
                shape, options = (len(ids), *one.shape), {"compression": "gzip", "compression_opts": 1}
                file.create_dataset("normals", shape, np.float16, chunks=(1, *one.shape), shuffle=True, **options)
            file["normals"][row] = one


def _numpy_header(stream: Any, where: str) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(stream)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidPredictionError(f"{where}: damaged array ({error}). Write the file again.") from None
    if dtype.hasobject:
        raise InvalidPredictionError(
            f"{where}: a pickled array; pickles are not opened. Save numbers: numpy.save(path, x.astype('float32')).",
            code="FM-43",
        )
    return Header("npy", shape, dtype)


def _npy_header(entry: Entry) -> Header:
    with entry.path.open("rb") as stream:
        return _numpy_header(stream, entry.path.name)


def _npz_header(entry: Entry) -> Header:
    with _zip(entry.path) as archive, archive.open(_member(archive, entry)) as stream:
        found = _numpy_header(stream, entry.path.name)
    return Header("npz", found.shape, found.dtype)


def _png_header(entry: Entry) -> Header:
    with entry.path.open("rb") as stream:
        found = png_header(stream.read(33), entry.path.name)
    dtype = np.dtype(np.uint16 if found.bits == 16 else np.uint8)
    return Header("png", (found.height, found.width, found.channels), dtype, found.colour)


def _jpeg_header(entry: Entry) -> Header:
    from PIL import Image

    with Image.open(entry.path) as image:
        channels = len(image.getbands())
        return Header("jpeg", (image.height, image.width, channels), np.dtype(np.uint8), image.mode)


def _exr_header(entry: Entry) -> Header:
    values = _exr(entry)
    return Header("exr", values.shape, values.dtype)


def _h5_header(entry: Entry) -> Header:
    import h5py

    with h5py.File(entry.path, "r") as file:
        dataset = file[entry.key]
        shape = dataset.shape if entry.row is None else dataset.shape[1:]
        return Header("h5", shape, dataset.dtype)


def _npy(entry: Entry) -> NDArray[Any]:
    return _loaded(entry.path.read_bytes(), entry.path.name)


def _npz(entry: Entry) -> NDArray[Any]:
    with _zip(entry.path) as archive:
        try:
            return _loaded(archive.read(_member(archive, entry)), entry.path.name)
        except (zipfile.BadZipFile, EOFError) as error:
            raise InvalidPredictionError(f"{entry.path.name}: damaged archive ({error}). Write it again.") from None


def _loaded(data: bytes, where: str) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidPredictionError(f"{where}: damaged array ({error}). Write the file again.") from None
    return values


def _jpeg(entry: Entry) -> NDArray[Any]:
    from PIL import Image

    try:
        with Image.open(entry.path) as image:
            return np.asarray(image).reshape(image.height, image.width, -1)
    except (OSError, SyntaxError) as error:
        raise InvalidPredictionError(f"{entry.path.name}: damaged JPEG ({error}).") from None


def _exr(entry: Entry) -> NDArray[Any]:
    try:
        import OpenEXR
    except ImportError:
        raise MissingDependencyError(
            f"{entry.path.name}: reading EXR needs the library OpenEXR. Install it with: pip install 'fnbench[exr]'"
        ) from None
    try:
        channels = OpenEXR.File(str(entry.path)).channels()
    except Exception as error:  # the binding raises bare exceptions of its own
        raise InvalidPredictionError(f"{entry.path.name}: damaged EXR ({error}). Write the file again.") from None
    for names in (("RGB",), ("RGBA",), ("R", "G", "B"), ("N.X", "N.Y", "N.Z"), ("X", "Y", "Z"), ("x", "y", "z")):
        if set(names) <= set(channels):
            planes = [np.asarray(channels[name].pixels) for name in names]
            return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)
    raise InvalidPredictionError(
        f"{entry.path.name}: channels {', '.join(sorted(channels))}; expected R, G, B or X, Y, Z."
    )


def _h5(entry: Entry) -> NDArray[Any]:
    import h5py

    try:
        with h5py.File(entry.path, "r") as file:
            values: NDArray[Any] = file[entry.key][() if entry.row is None else entry.row]
    except OSError as error:
        raise InvalidPredictionError(f"{entry.path.name}: damaged HDF5 file ({error}). Write it again.") from None
    return values


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise InvalidPredictionError(f"{path.name}: damaged archive ({error}). Write it again.") from None
    size = max((item.file_size for item in archive.infolist()), default=0)
    if size > MAX_BYTES:
        archive.close()
        raise InvalidPredictionError(f"{path.name}: an array of {size} bytes, more than {MAX_BYTES}.", code="FM-42")
    return archive


def _member(archive: zipfile.ZipFile, entry: Entry) -> str:
    names = archive.namelist()
    if entry.key:
        return entry.key
    if len(names) != 1:
        raise InvalidPredictionError(f"{entry.path.name}: {len(names)} arrays, expected one per file of a folder.")
    return names[0]


_HEADERS = {"npy": _npy_header, "npz": _npz_header, "png": _png_header, "jpeg": _jpeg_header, "exr": _exr_header,
            "h5": _h5_header}  # fmt: skip
_READERS = {"npy": _npy, "npz": _npz, "png": lambda entry: read_png(entry.path), "jpeg": _jpeg, "exr": _exr,
            "h5": _h5}  # fmt: skip
