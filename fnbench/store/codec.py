"""A Sample as compressed chunks and small fields, its hash, and back.

The chunks are what HDF5's gzip and shuffle filters would write, made outside the library: ISA-L deflates at
a quarter of zlib's time, in any process, without HDF5's global lock.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fnbench import octahedral
from fnbench.camera import Camera
from fnbench.store.schema import FIELDS, MAPS, canonical_json
from fnbench.types import NormalMap, Sample

try:
    from isal import isal_zlib as zlib
except ImportError:  # no wheel for this platform: the same bytes format, slower
    import zlib  # type: ignore[no-redef]

_LEVEL = 1
_NAN = np.float32(np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A sample ready to be written: what a worker sends, what a part file holds.

    size: height, width.  chunks: filtered and deflated bytes per map.  fields: the small values by name.
    """

    size: tuple[int, int]
    chunks: Mapping[str, bytes]
    fields: Mapping[str, Any]


def encode_sample(sample: Sample, planes: NDArray[np.uint16] | None = None) -> Encoded:
    """Compress a sample and hash it.

    planes: (2, H, W) octahedral codes of ``sample.target`` when they are already known.
    """
    maps = sample_maps(sample, planes)
    fields = sample_fields(sample)
    fields["sha256"] = sample_hash(maps, fields)
    chunks = {name: deflate(values) for name, values in maps.items()}
    return Encoded((sample.camera.height, sample.camera.width), chunks, fields)


def sample_maps(sample: Sample, planes: NDArray[np.uint16] | None = None) -> dict[str, NDArray[Any]]:
    """The maps of a sample as they are stored, by dataset name."""
    target = sample.target
    if planes is None:
        planes = octahedral.encode(target.normals, target.mask)
    maps: dict[str, NDArray[Any]] = {
        "image": np.ascontiguousarray(sample.image),
        "normals": planes,
        "mask": target.mask.astype(np.uint8),
        "region": np.ascontiguousarray(sample.region, np.uint8),
    }
    if sample.depth is not None:
        maps["depth"] = np.where(np.isnan(sample.depth), _NAN, sample.depth).astype("<f4")
    return maps


def sample_fields(sample: Sample) -> dict[str, Any]:
    """The small values of a sample as they are stored, without the hash."""
    landmarks = np.asarray(sample.landmarks, "<f4")
    return {
        "id": sample.id,
        "subject": sample.subject,
        "capture": sample.capture,
        "split": sample.split,
        "K": np.asarray(sample.camera.K, "<f8"),
        "world_to_camera": np.asarray(sample.camera.world_to_camera, "<f8"),
        "orthographic": np.uint8(sample.camera.orthographic),
        "landmarks": np.where(np.isnan(landmarks), _NAN, landmarks),
        "attributes": canonical_json(sample.attributes),
    }


def sample_hash(maps: Mapping[str, NDArray[Any]], fields: Mapping[str, Any]) -> str:
    """sha256 over names, types, shapes and bytes of everything a sample stores, decompressed."""
    digest = hashlib.sha256()
    for field in (*FIELDS[:-1], *MAPS):
        value = maps.get(field.name, fields.get(field.name))
        if value is None:
            continue
        if isinstance(value, str):
            raw = value.encode()
            digest.update(f"{field.name}:text:{len(raw)}\0".encode())
            digest.update(raw)
        else:
            array = np.ascontiguousarray(value, field.dtype)
            digest.update(f"{field.name}:{field.dtype.str}:{array.shape}\0".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def decoded_sample(maps: Mapping[str, NDArray[Any]], fields: Mapping[str, Any]) -> Sample:
    """The sample of stored maps and fields; the inverse of encoding, up to 0.0037 degrees."""
    height, width = maps["mask"].shape
    return Sample(
        id=fields["id"],
        capture=fields["capture"],
        subject=fields["subject"],
        split=fields["split"],
        image=maps["image"],
        target=decoded_target(maps["normals"], maps["mask"]),
        region=maps["region"],
        camera=Camera(fields["K"], fields["world_to_camera"], width, height, bool(fields["orthographic"])),
        landmarks=fields["landmarks"],
        depth=maps.get("depth"),
        attributes=json.loads(fields["attributes"]),
    )


def decoded_target(planes: NDArray[np.uint16], mask: NDArray[np.uint8]) -> NormalMap:
    """The normal map of stored codes: zero outside the mask."""
    counted = mask.astype(bool)
    return NormalMap(octahedral.decode(planes, counted), counted)


def deflate(values: NDArray[Any]) -> bytes:
    """The bytes of one chunk behind HDF5's shuffle and gzip filters."""
    size = values.dtype.itemsize
    if size > 1:
        values = _shuffled(values.reshape(-1).view(f"<u{size}"))
    compressed: bytes = zlib.compress(np.ascontiguousarray(values).data, _LEVEL)
    return compressed


def _shuffled(words: NDArray[Any]) -> NDArray[np.uint8]:
    """All lowest bytes, then all second ones, and so on: shifted out, which is faster than a transposed copy."""
    planes = np.empty((words.itemsize, len(words)), np.uint8)
    for place, plane in enumerate(planes):
        np.right_shift(words, 8 * place, out=plane, casting="unsafe")
    return planes


def inflate(chunk: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of one chunk behind HDF5's shuffle and gzip filters; the inverse of ``deflate``.

    Raises ValueError when the chunk is damaged.
    """
    count = math.prod(shape)
    try:
        planes = np.frombuffer(zlib.decompress(chunk, bufsize=count * dtype.itemsize), np.uint8)
    except zlib.error as error:  # type: ignore[misc]  # isal's stub does not say that it is an exception
        raise ValueError(str(error)) from error
    if planes.size != count * dtype.itemsize:
        raise ValueError(f"{planes.size} bytes, expected {count * dtype.itemsize}")
    values = np.empty((count, dtype.itemsize), np.uint8)
    for byte, plane in enumerate(planes.reshape(dtype.itemsize, count)):
        values[:, byte] = plane
    return values.view(dtype).reshape(shape)


def deflated(dataset: h5py.Dataset) -> bool:
    """Whether the chunks of a dataset are samples as ``deflate`` writes them."""
    return bool(dataset.compression == "gzip" and dataset.shuffle and dataset.chunks == (1, *dataset.shape[1:]))
