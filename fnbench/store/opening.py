"""Opening a store, and refusing what is not one: each reason in one line that names what was expected."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import h5py

from fnbench.errors import InvalidStoreError
from fnbench.store.schema import ATTRIBUTES, DECLARED, FIELDS, MAPS, TEXT, Field

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LOCK_WAIT = 5.0
"""Seconds to wait for a file that another process is writing."""


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
