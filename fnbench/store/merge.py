"""Stores joined into one by copying their compressed chunks; nothing is decompressed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fnbench.errors import InvalidStoreError
from fnbench.files import check_space, check_writable
from fnbench.store.codec import Encoded, deflated
from fnbench.store.opening import open_store, read_attributes
from fnbench.store.schema import ATTRIBUTES, FIELDS, MAPS, TEXT, canonical_json, file_attributes
from fnbench.store.write import Writer, new_file


def merge_stores(
    sources: Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str],
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Join shards: stores of the same dataset, settings and image size.

    sources: files, in the order in which their samples shall stand.
    progress: called with (files done, files).
    """
    paths = [Path(source) for source in sources]
    if not paths:
        raise InvalidStoreError("nothing to merge; expected at least one .h5 file.")
    attributes = _shared_attributes(paths)
    return _joined(_all_samples(paths, progress), paths, Path(path), attributes)


def merge_captures(
    captures: Mapping[str, Path],
    path: str | os.PathLike[str],
    attributes: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Collect captures from the files that hold them: parts of a run, or a file that already exists.

    captures: id -> file, in the order in which they shall stand.
    attributes: of the result; see ``schema.file_attributes``.
    """
    return _joined(_by_capture(captures, progress), list(captures.values()), Path(path), attributes)


def _joined(samples: Iterable[Encoded], sources: Sequence[Path], path: Path, attributes: Mapping[str, Any]) -> Path:
    complete = file_attributes(attributes)
    check_writable(path)
    check_space(path, sum(source.stat().st_size for source in set(sources)))
    with new_file(path) as file:
        writer = Writer(file, complete)
        for sample in samples:
            writer.append(sample)
        writer.finish()
    return path


def _by_capture(captures: Mapping[str, Path], progress: Callable[[int, int], None] | None) -> Iterator[Encoded]:
    with ExitStack() as stack:
        source: _Source | None = None
        for done, (capture, path) in enumerate(captures.items(), 1):
            if source is None or source.path != path:  # an existing file holds many captures, a part one
                stack.close()
                source = stack.enter_context(_source(path))
            yield from source.samples(capture)
            if progress is not None:
                progress(done, len(captures))


def _all_samples(paths: Sequence[Path], progress: Callable[[int, int], None] | None) -> Iterator[Encoded]:
    for done, path in enumerate(paths, 1):
        with _source(path) as source:
            yield from source.samples()
        if progress is not None:
            progress(done, len(paths))


class _Source:
    """An open file whose samples are copied as they lie there, compressed."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.path = path
        self._size = file["mask"].shape[1:]
        self._columns = {f.name: file[f.name].asstr()[:] if f.dtype == TEXT else file[f.name][:] for f in FIELDS}
        self._maps = {field.name: file[field.name] for field in MAPS if field.name in file}
        _check_filters(self._maps, path)

    def samples(self, capture: str | None = None) -> Iterator[Encoded]:
        """The samples of one capture, or of all."""
        found = self._columns["capture"]
        for index in range(len(found)) if capture is None else np.flatnonzero(found == capture):
            fields = {name: values[index] for name, values in self._columns.items()}
            fields["sha256"] = bytes(fields["sha256"]).decode("ascii")
            chunks = {name: _chunk(dataset, int(index), self.path) for name, dataset in self._maps.items()}
            yield Encoded(self._size, chunks, fields)


@contextmanager
def _source(path: Path) -> Iterator[_Source]:
    with open_store(path) as file:
        yield _Source(file, path)


def _shared_attributes(paths: Sequence[Path]) -> dict[str, Any]:
    found = []
    for path in paths:
        with open_store(path) as file:
            found.append({k: v for k, v in read_attributes(file).items() if k != "content_hash"})
    for path, other in zip(paths[1:], found[1:], strict=True):
        for name in sorted({*ATTRIBUTES, *found[0], *other} - {"content_hash", "selection"}):
            if found[0].get(name) != other.get(name):
                raise InvalidStoreError(
                    f"{path}: attribute {name!r} is {canonical_json(other.get(name))}, but in {paths[0]} it is "
                    f"{canonical_json(found[0].get(name))}; only shards of one run are merged.",
                    code="FM-49",
                )
    selections = [json.loads(attributes["selection"]) for attributes in found if "selection" in attributes]
    return {**found[0], **({"selection": _joined_selection(selections)} if selections else {})}


def _joined_selection(selections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How much of the dataset the shards hold together."""
    return {
        "captures": max(selection["captures"] for selection in selections),
        "written": sum(selection["written"] for selection in selections),
        "failed": sorted(name for selection in selections for name in selection["failed"]),
    }


def _check_filters(maps: Mapping[str, h5py.Dataset], path: Path) -> None:
    for name, dataset in maps.items():
        if not deflated(dataset):
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
