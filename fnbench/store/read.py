"""Reading a store: opened lazily, once per process, and refused when it is not what it should be."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.errors import InvalidStoreError
from fnbench.store.codec import decoded_sample, decoded_target, sample_hash
from fnbench.store.schema import ATTRIBUTES, DECLARED, FIELDS, MAPS, TEXT, Field, canonical_json
from fnbench.types import REGIONS, NormalMap, Sample

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LOCK_WAIT = 5.0
"""Seconds to wait for a file that another process is writing."""


class Store:
    """A file of samples, schema ``fnbench/1``.

    Creating one checks the file and closes it again; samples open it when they are first read, once per
    process, so a Store may be pickled, sent to workers and used after a fork. ``store[i]`` is a Sample,
    ``store.image(i)`` and ``store.target(i)`` read only what evaluation needs.

    Raises InvalidStoreError for anything that is not a whole file of this schema and frame.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        with open_store(self.path) as file:
            self.attributes = read_attributes(file)
            self.size: tuple[int, int] = file["mask"].shape[1:]
            self.has_depth = "depth" in file
            self.regions = tuple(json.loads(file["region"].attrs.get("names", json.dumps(REGIONS))))
            self.ids, self.subjects, self.captures, self.splits = (
                [str(value) for value in file[name].asstr()[:]] for name in ("id", "subject", "capture", "split")
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        return decoded_sample(self._maps(index), self._fields(index))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def described(self, *, samples: bool = False) -> list[str]:
        """What is in the file, in lines for a terminal.

        samples: list every sample too.
        """
        height, width = self.size
        counts = ", ".join(f"{len(self.indices(split))} {split}" for split in dict.fromkeys(self.splits))
        lines = [
            f"{len(self)} samples of {width}x{height} ({counts}), {len(set(self.captures))} captures, "
            f"{len(set(self.subjects))} subjects{', with depth' if self.has_depth else ''}"
        ]
        lines += [
            f"{name}: {value if isinstance(value, str) else canonical_json(value)}"
            for name, value in self.attributes.items()
        ]
        if samples:
            lines += [f"{i}  {s}  {p}" for i, s, p in zip(self.ids, self.subjects, self.splits, strict=True)]
        return lines

    def indices(self, split: str | None = None) -> list[int]:
        """Positions of the samples of one split (train, val, test), or of all."""
        return [index for index, name in enumerate(self.splits) if split is None or name == split]

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB of one sample."""
        image: NDArray[np.uint8] = self._read("image", index)
        return image

    def target(self, index: int) -> NormalMap:
        """Normals and mask of one sample."""
        return decoded_target(self._read("normals", index), self._read("mask", index))

    def planes(self, index: int) -> NDArray[np.uint16]:
        """(2, H, W) octahedral codes of one sample, as stored."""
        planes: NDArray[np.uint16] = self._read("normals", index)
        return planes

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W) bool, True where the normal is known and counts."""
        return self._read("mask", index).astype(bool)

    def region(self, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 facial region, named by ``regions``."""
        region: NDArray[np.uint8] = self._read("region", index)
        return region

    def landmarks(self, index: int) -> NDArray[np.float32]:
        """(68, 2) float32 pixel x, y; NaN where unknown."""
        landmarks: NDArray[np.float32] = self._read("landmarks", index)
        return landmarks

    def camera(self, index: int) -> Camera:
        """The camera of one sample's crop."""
        height, width = self.size
        matrices = self._read("K", index), self._read("world_to_camera", index)
        return Camera(*matrices, width, height, bool(self._read("orthographic", index)))

    def sample_attributes(self, index: int) -> dict[str, Any]:
        """Expression, light, yaw, source, ... of one sample."""
        attributes: dict[str, Any] = json.loads(self._text("attributes", index))
        return attributes

    def sample_hash(self, index: int) -> str:
        """The stored sha256 of one sample: over what it says, not over how it is compressed."""
        return bytes(self._read("sha256", index)).decode("ascii")

    def recomputed_hash(self, index: int) -> str:
        """The sha256 of what one sample holds now; equals ``sample_hash`` unless the file was damaged."""
        return sample_hash(self._maps(index), self._fields(index))

    def close(self) -> None:
        """Close this process's handle; reading opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": 0}

    def __repr__(self) -> str:
        height, width = self.size
        return f"Store({str(self.path)!r}, {len(self)} samples of {width}x{height}, {self.attributes['dataset']})"

    def _handle(self) -> h5py.File:
        if self._file is not None and self._process != os.getpid():
            # Inherited through fork: HDF5 would share the descriptor and its position with the parent.
            self.close()
        if self._file is None:
            self._file = open_store(self.path)
            self._process = os.getpid()
            found = self._file.attrs["content_hash"]
            if found != self.attributes["content_hash"]:
                self.close()
                raise InvalidStoreError(
                    f"{self.path}: the file changed while it was in use: content hash {found[:12]}, "
                    f"expected {self.attributes['content_hash'][:12]}. Open it again.",
                    code="FM-32",
                )
        return self._file

    def _position(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index % len(self)

    def _read(self, name: str, index: int) -> NDArray[Any]:
        position = self._position(index)
        try:
            value: NDArray[Any] = self._handle()[name][position]
        except OSError as error:
            raise InvalidStoreError(
                f"{self.path}: dataset {name!r} of sample {self.ids[position]} cannot be read ({error}); the file is "
                f"damaged. Copy or render it again; fnbench verify lists everything that is damaged.",
                code="FM-33",
            ) from error
        return value

    def _text(self, name: str, index: int) -> str:
        return str(self._handle()[name].asstr()[self._position(index)])

    def _maps(self, index: int) -> dict[str, NDArray[Any]]:
        return {f.name: self._read(f.name, index) for f in MAPS if f.name != "depth" or self.has_depth}

    def _fields(self, index: int) -> dict[str, Any]:
        return {
            f.name: self._text(f.name, index) if f.dtype == TEXT else self._read(f.name, index) for f in FIELDS[:-1]
        }


def open_store(path: Path) -> h5py.File:
    """The checked, read-only HDF5 handle of a file; InvalidStoreError when it is not a whole store."""
    check_signature(path)
    file = _opened(path)
    try:
        check_schema(file, path)
    except BaseException:
        file.close()
        raise
    return file


def is_finished(path: Path) -> bool:
    """Whether a file of ours was written to its end: openable, and with its content hash; no further check."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return "content_hash" in file.attrs
    except OSError:
        return False


def check_signature(path: Path) -> None:
    """Refuse what is no HDF5 file, and name what it seems to be."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise InvalidStoreError(f"{path}: cannot be read ({error.strerror}); expected an .h5 file.") from error
    if head.startswith(SIGNATURE):
        return
    code, text = "FM-33", head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        code, found = "FM-40", "a web page, probably a download confirmation or a login form"
    elif text.startswith(b"version https://git-lfs"):
        found = "a Git LFS pointer instead of the file"
    elif not head.strip(b"\0"):
        found = "an empty file" if not head else "a file of zero bytes, probably an unfinished copy"
    else:
        found = f"a file that begins with {head[:8]!r}"
    raise InvalidStoreError(
        f"{path}: found {found}; expected an HDF5 file of schema {ATTRIBUTES['schema']}. Copy or render it again.", code
    )


def _opened(path: Path) -> h5py.File:
    patience = time.monotonic() + LOCK_WAIT
    while True:
        try:
            return h5py.File(path, "r", locking="best-effort")
        except BlockingIOError as error:
            if time.monotonic() > patience:
                raise InvalidStoreError(
                    f"{path}: another process is writing this file (waited {LOCK_WAIT:.1f} s). A file that is being "
                    f"written is never read; wait until it is finished.",
                    code="FM-35",
                ) from error
            time.sleep(0.1)
        except OSError as error:
            raise InvalidStoreError(
                f"{path}: truncated or damaged HDF5 file of {path.stat().st_size} bytes ({_reason(error)}); expected "
                f"a whole file of schema {ATTRIBUTES['schema']}. Copy or render it again.",
                code="FM-33",
            ) from error


def check_schema(file: h5py.File, path: Path) -> None:
    """Refuse another schema, frame, orientation, an unfinished file, and datasets that are not as declared."""
    for name in DECLARED:
        found = file.attrs.get(name)
        if found != ATTRIBUTES[name]:
            raise InvalidStoreError(
                f"{path}: attribute {name!r} is {found!r}, expected {ATTRIBUTES[name]!r}. "
                f"Render or convert the file with this version of fnbench.",
                code="FM-34",
            )
    if "content_hash" not in file.attrs:
        raise InvalidStoreError(
            f"{path}: unfinished, the content hash is missing; render or merge it again.",
            code="FM-33",
        )
    absent = [name for name in ATTRIBUTES if name not in file.attrs]
    if absent:
        raise InvalidStoreError(
            f"{path}: attributes {', '.join(absent)} are missing; expected {', '.join(ATTRIBUTES)}."
        )
    found = {field: _dataset(file, field, path) for field in (*MAPS, *FIELDS)}
    mask = next(dataset for field, dataset in found.items() if dataset is not None and field.name == "mask")
    count, height, width = mask.shape if mask.ndim == 3 else (-1, -1, -1)
    for field, dataset in found.items():
        if dataset is not None:
            _check_dataset(dataset, field, (count, *field.sample_shape(height, width)), path)


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """File attributes by name; ``settings`` as the mapping it is."""
    attributes = {name: str(value) if isinstance(value, str) else value for name, value in file.attrs.items()}
    return {**attributes, "settings": json.loads(attributes["settings"])}


def _dataset(file: h5py.File, field: Field, path: Path) -> h5py.Dataset | None:
    try:
        link = file.id.links.get_info(field.name.encode())
    except (KeyError, RuntimeError):
        if not field.required:
            return None
        raise InvalidStoreError(
            f"{path}: dataset {field.name!r} is missing; found {', '.join(sorted(file)) or 'none'}. "
            f"Render or convert the file again.",
            code="FM-34",
        ) from None
    dataset = file[field.name] if link.type == h5py.h5l.TYPE_HARD else None
    if not isinstance(dataset, h5py.Dataset):
        raise InvalidStoreError(
            f"{path}: {field.name!r} is not a dataset of this file; links are not followed.", code="FM-34"
        )
    if dataset.external:
        raise InvalidStoreError(f"{path}: dataset {field.name!r} keeps its bytes in another file; expected one file.")
    if dataset.is_virtual:
        # HDF5 silently returns the fill value for a missing source, and zero would pass for data.
        sources = [path.parent / s.file_name for s in dataset.virtual_sources() if s.file_name != "."]
        missing = [str(source) for source in sources if not source.is_file()]
        if missing:
            raise InvalidStoreError(
                f"{path}: the virtual dataset {field.name!r} refers to files that are missing: "
                f"{', '.join(missing[:10])}. Put them back, or merge the shards: fnbench merge.",
                code="FM-37",
            )
    return dataset


def _check_dataset(dataset: h5py.Dataset, field: Field, shape: tuple[int, ...], path: Path) -> None:
    text = field.dtype == TEXT
    string = h5py.check_string_dtype(dataset.dtype)
    same = string is not None and string.length is None if text else dataset.dtype == field.dtype
    if not same or dataset.shape != shape:
        kind = "text" if text else field.dtype.name
        raise InvalidStoreError(
            f"{path}: dataset {field.name!r} is {dataset.shape} {dataset.dtype}, expected {shape} {kind}. "
            f"Nothing is converted; render the file again.",
            code="FM-34",
        )


def _reason(error: OSError) -> str:
    text = str(error)
    return text[text.find("(") + 1 :].rstrip(")") if "(" in text else text
