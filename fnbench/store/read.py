"""Reading a store: opened lazily, once per process, and refused when it is not what it should be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.errors import InvalidStoreError
from fnbench.store.codec import decoded_sample, decoded_target, deflated, inflate, sample_hash
from fnbench.store.opening import open_store, read_attributes
from fnbench.store.schema import FIELDS, MAPS, TEXT, canonical_json
from fnbench.types import REGIONS, NormalMap, Sample


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
        self._datasets: dict[str, tuple[h5py.Dataset, bool]] = {}
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
            self._datasets = {}

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_datasets": {}, "_process": 0}

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
            value: NDArray[Any] = self._value(name, position)
        except OSError as error:
            raise InvalidStoreError(
                f"{self.path}: dataset {name!r} of sample {self.ids[position]} cannot be read ({error}); the file is "
                f"damaged. Copy or render it again; fnbench verify lists everything that is damaged.",
                code="FM-33",
            ) from error
        return value

    def _value(self, name: str, position: int) -> NDArray[Any]:
        """One sample of a dataset. Chunks of ours are inflated here: HDF5's own zlib takes twice as long."""
        dataset, ours = self._dataset(name)
        if ours:
            try:
                skipped, chunk = dataset.id.read_direct_chunk((position, *(0,) * (dataset.ndim - 1)))
                if not skipped:
                    return inflate(chunk, dataset.shape[1:], dataset.dtype)
            except (OSError, RuntimeError, ValueError):
                pass  # HDF5 says what is wrong with it
        value: NDArray[Any] = dataset[position]
        return value

    def _dataset(self, name: str) -> tuple[h5py.Dataset, bool]:
        """A dataset of this process's handle, looked up once, and whether its chunks are as we write them."""
        file = self._handle()
        if name not in self._datasets:
            dataset = file[name]
            self._datasets[name] = dataset, deflated(dataset)
        return self._datasets[name]

    def _text(self, name: str, index: int) -> str:
        return str(self._dataset(name)[0].asstr()[self._position(index)])

    def _maps(self, index: int) -> dict[str, NDArray[Any]]:
        return {f.name: self._read(f.name, index) for f in MAPS if f.name != "depth" or self.has_depth}

    def _fields(self, index: int) -> dict[str, Any]:
        return {
            f.name: self._text(f.name, index) if f.dtype == TEXT else self._read(f.name, index) for f in FIELDS[:-1]
        }
