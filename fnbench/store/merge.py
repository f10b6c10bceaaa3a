"""Stores joined into one by copying their compressed chunks; nothing is decompressed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from fnbench.errors import InvalidStoreError
from fnbench.files import check_space, check_writable
from fnbench.store.codec import Encoded
from fnbench.store.read import open_store, read_attributes
from fnbench.store.schema import ATTRIBUTES, FIELDS, MAPS, TEXT, canonical_json, file_attributes
from fnbench.store.write import Writer, new_file


def merge_stores(
    sources: Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str],
    attributes: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Join stores of the same dataset, settings and image size into one.

    sources: files, in the order in which their samples shall stand.
    attributes: of the result; those that all sources share when not given (a difference is refused).
    progress: called with (files done, files).
    """
    paths = [Path(source) for source in sources]
    if not paths:
        raise InvalidStoreError("nothing to merge; expected at least one .h5 file.")
    if attributes is None:
        attributes = _shared_attributes(paths)
    check_writable(Path(path))
    check_space(Path(path), sum(source.stat().st_size for source in paths))
    with new_file(Path(path)) as file:
        writer = Writer(file, file_attributes(attributes))
        for done, source in enumerate(paths, 1):
            for sample in encoded_samples(source):
                writer.append(sample)
            if progress is not None:
                progress(done, len(paths))
        writer.finish()
    return Path(path)


def encoded_samples(path: Path) -> Iterator[Encoded]:
    """The samples of a file as they lie there, compressed."""
    with open_store(path) as file:
        size = file["mask"].shape[1:]
        columns = {f.name: file[f.name].asstr()[:] if f.dtype == TEXT else file[f.name][:] for f in FIELDS}
        names = [field.name for field in MAPS if field.name in file]
        _check_filters(file, names, path)
        for index in range(len(file["mask"])):
            fields = {name: values[index] for name, values in columns.items()}
            fields["sha256"] = bytes(fields["sha256"]).decode("ascii")
            yield Encoded(size, {name: _chunk(file[name], index, path) for name in names}, fields)


def _shared_attributes(paths: Sequence[Path]) -> dict[str, Any]:
    found = []
    for path in paths:
        with open_store(path) as file:
            found.append({k: v for k, v in read_attributes(file).items() if k != "content_hash"})
    for path, other in zip(paths[1:], found[1:], strict=True):
        for name in sorted({*ATTRIBUTES, *found[0], *other} - {"content_hash"}):
            if found[0].get(name) != other.get(name):
                raise InvalidStoreError(
                    f"{path}: attribute {name!r} is {canonical_json(other.get(name))}, but in {paths[0]} it is "
                    f"{canonical_json(found[0].get(name))}; only shards of one run are merged.",
                    code="FM-49",
                )
    return found[0]


def _check_filters(file: h5py.File, names: Sequence[str], path: Path) -> None:
    for name in names:
        dataset = file[name]
        if dataset.compression != "gzip" or not dataset.shuffle or dataset.chunks != (1, *dataset.shape[1:]):
            raise InvalidStoreError(
                f"{path}: dataset {name!r} is stored with {dataset.compression or 'no compression'} and chunks "
                f"{dataset.chunks}; expected gzip, shuffle and one sample per chunk. Was it repacked?"
            )


def _chunk(dataset: h5py.Dataset, index: int, path: Path) -> bytes:
    try:
        skipped, chunk = dataset.id.read_direct_chunk((index, *(0,) * (dataset.ndim - 1)))
    except (OSError, RuntimeError) as error:
        raise InvalidStoreError(
            f"{path}: sample {index} of {dataset.name[1:]!r} cannot be read ({error}).",
            code="FM-33",
        ) from error
    if skipped:
        raise InvalidStoreError(f"{path}: sample {index} of {dataset.name[1:]!r} was written without its filters.")
    return bytes(chunk)
