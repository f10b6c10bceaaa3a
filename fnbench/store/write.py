"""Writing a store: everything under a temporary name, synced, then renamed.

Three ways in: ``write_samples`` for samples in memory or from a generator; ``part_bytes`` for the small
file of one capture, made in memory; ``Writer`` for merging.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fnbench.errors import InvalidSettingError, OutputError
from fnbench.files import replacing
from fnbench.store.codec import Encoded, encode_sample
from fnbench.store.schema import FIELDS, MAPS, content_hash, file_attributes
from fnbench.types import REGIONS, Sample

_BLOCK = 1024
"""Samples by which the datasets grow."""


def write_samples(path: str | os.PathLike[str], samples: Iterable[Sample], attributes: Mapping[str, Any]) -> Path:
    """Write samples to one file; nothing appears under ``path`` unless all of them could be written.

    samples: all of one image size, unique ids; a generator is consumed one by one.
    attributes: see ``schema.file_attributes``; ``dataset``, ``gt_kind`` and ``protocol`` are required.
    """
    return write_encoded(path, (encode_sample(sample) for sample in samples), attributes)


def write_encoded(path: str | os.PathLike[str], samples: Iterable[Encoded], attributes: Mapping[str, Any]) -> Path:
    """As ``write_samples``, for samples that a worker has compressed."""
    complete = file_attributes(attributes)
    with new_file(Path(path)) as file:
        writer = Writer(file, complete)
        for sample in samples:
            writer.append(sample)
        writer.finish()
    return Path(path)


def part_bytes(samples: Iterable[Encoded], attributes: Mapping[str, Any]) -> bytes:
    """A whole store as bytes, made in memory: a full disk then fails in one plain write."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        writer = Writer(file, file_attributes(attributes))
        for sample in samples:
            writer.append(sample)
        writer.finish()
    return buffer.getvalue()


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file under a temporary name, renamed to ``path`` when the block ends well.

    HDF5 flushes on closing, so a full disk shows there, a second time or for the first time.
    """
    with replacing(path) as temporary:
        file = h5py.File(temporary, "w")
        try:
            yield file
        except BaseException:
            with suppress(OSError, RuntimeError):
                file.close()
            raise
        try:
            file.close()
        except RuntimeError as error:
            raise OSError(_error_number(error), str(error)) from error


def _error_number(error: RuntimeError) -> int:
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else errno.EIO


class Writer:
    """Appends encoded samples to an open HDF5 file; ``finish`` writes the small fields and the hash."""

    def __init__(self, file: h5py.File, attributes: Mapping[str, str]) -> None:
        self._file = file
        self._attributes = attributes
        self._size: tuple[int, int] | None = None
        self._names: frozenset[str] = frozenset()
        self._rows: list[Mapping[str, Any]] = []
        self._ids: set[str] = set()

    def append(self, sample: Encoded) -> None:
        """Add one sample; all have the same size and the same maps, and ids of their own."""
        if self._size is None:
            self._create(sample)
        name = sample.fields["id"]
        if name in self._ids:
            raise InvalidSettingError(f"sample id {name!r} occurs twice; ids are unique in a file.")
        if sample.size != self._size or sample.chunks.keys() != self._names:
            raise InvalidSettingError(
                f"sample {name}: {sample.size[1]}x{sample.size[0]} with {', '.join(sample.chunks)}, but the file "
                f"holds {self._size} with {', '.join(sorted(self._names))}; one file has one size."
            )
        position = len(self._rows)
        for key, chunk in sample.chunks.items():
            dataset = self._file[key]
            if position == len(dataset):
                dataset.resize(position + _BLOCK, axis=0)
            dataset.id.write_direct_chunk((position, *(0,) * (dataset.ndim - 1)), chunk)
        self._ids.add(name)
        self._rows.append(sample.fields)

    def finish(self) -> None:
        """Write fields and attributes; the content hash comes last and makes the file a finished one."""
        if not self._rows:
            raise OutputError("no samples to write; a file holds at least one.")
        for key in self._names:
            self._file[key].resize(len(self._rows), axis=0)
        for field in FIELDS:
            values = [row[field.name] for row in self._rows]
            if field.name == "sha256":
                values = [value.encode() for value in values]
            array = values if field.dtype.kind == "O" else np.array(values, field.dtype)
            self._file.create_dataset(field.name, data=array, dtype=field.dtype)
        for key, value in self._attributes.items():
            self._file.attrs[key] = value
        hashes = content_hash((row["id"] for row in self._rows), (row["sha256"] for row in self._rows))
        self._file.attrs["content_hash"] = hashes

    def _create(self, sample: Encoded) -> None:
        self._size, self._names = sample.size, frozenset(sample.chunks)
        for field in MAPS:
            if field.name in sample.chunks:
                shape = field.sample_shape(*sample.size)
                self._file.create_dataset(
                    field.name,
                    (0, *shape),
                    field.dtype,
                    maxshape=(None, *shape),
                    chunks=(1, *shape),
                    compression="gzip",
                    compression_opts=1,
                    shuffle=True,
                )
        self._file["region"].attrs["names"] = json.dumps(REGIONS)
