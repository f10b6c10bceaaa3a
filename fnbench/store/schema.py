"""What a file of schema ``fnbench/1`` holds.

Maps (one sample per chunk, gzip and shuffle; H x W pixels, rows first)

    image            (N, H, W, 3) uint8      sRGB, the input
    normals          (N, 2, H, W) uint16     octahedral codes (``fnbench.octahedral``), 65535 where there is none
    mask             (N, H, W)    uint8      1 where the normal is known and counts
    region           (N, H, W)    uint8      facial region; names in the attribute ``names``
    depth            (N, H, W)    float32    mm along the optical axis, NaN outside; optional

Small fields

    id, subject, capture, split   (N,) str   split is train, val or test
    K, world_to_camera            (N, 3, 3), (N, 4, 4) float64, camera of the crop
    orthographic                  (N,) uint8 1 where the rays are parallel
    landmarks                     (N, 68, 2) float32 pixel x, y; NaN where unknown
    attributes                    (N,) str   JSON per sample
    sha256                        (N,) 64 hexadecimal digits: hash of everything above, per sample

Attributes of the file: see ``ATTRIBUTES``. ``selection`` (optional, JSON) says how many captures the dataset has
(``captures``), how many are in the file (``written``) and which ones ``failed``. ``content_hash`` is written last; a
file without it is unfinished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from fnbench import __version__
from fnbench.errors import InvalidSettingError
from fnbench.frames import CANONICAL, OUTWARD
from fnbench.types import GT_KINDS

SCHEMA = "fnbench/1"
GENERATOR = f"fnbench {__version__}"
"""Written into every file; another version's parts are not mixed with ours."""

ATTRIBUTES = {
    "schema": SCHEMA,
    "frame": CANONICAL,
    "orientation": OUTWARD,
    "normals_encoding": "octahedral, 65535 levels, planes (u, v); 65535 = no normal",
    "dataset": "name of the dataset",
    "gt_kind": "what the targets are made of: " + ", ".join(GT_KINDS[:-1]),
    "protocol": "crop, mask and views, in words",
    "card_hash": "hash of the dataset card, empty when there is none",
    "generator": "program and version that wrote the file",
    "settings": "JSON of the settings it was written with",
    "content_hash": "hash over all samples, independent of compression and of order",
}
"""Attributes of the file: name -> fixed value, or what it says."""

DECLARED = ("schema", "frame", "orientation")
"""Attributes whose value is fixed; a file with another value is refused."""


@dataclass(frozen=True, slots=True)
class Field:
    """One dataset of the file: name, type, shape per sample (H and W as strings), required or not."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]
    required: bool = True

    def sample_shape(self, height: int, width: int) -> tuple[int, ...]:
        """The shape of one sample at this image size."""
        sides = {"H": height, "W": width}
        return tuple(side if isinstance(side, int) else sides[side] for side in self.shape)


TEXT = h5py.string_dtype("utf-8")

MAPS = (
    Field("image", np.dtype("u1"), ("H", "W", 3)),
    Field("normals", np.dtype("<u2"), (2, "H", "W")),
    Field("mask", np.dtype("u1"), ("H", "W")),
    Field("region", np.dtype("u1"), ("H", "W")),
    Field("depth", np.dtype("<f4"), ("H", "W"), required=False),
)
"""The compressed datasets, one sample per chunk."""

FIELDS = (
    Field("id", TEXT, ()),
    Field("subject", TEXT, ()),
    Field("capture", TEXT, ()),
    Field("split", TEXT, ()),
    Field("K", np.dtype("<f8"), (3, 3)),
    Field("world_to_camera", np.dtype("<f8"), (4, 4)),
    Field("orthographic", np.dtype("u1"), ()),
    Field("landmarks", np.dtype("<f4"), (68, 2)),
    Field("attributes", TEXT, ()),
    Field("sha256", np.dtype("S64"), ()),
)
"""The small datasets."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. Bytes that are not UTF-8 become escapes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return text.encode("utf-8", "backslashreplace").decode()


def content_hash(ids: Iterable[str], hashes: Iterable[str]) -> str:
    """Hash of a set of samples: whatever their order and compression.

    >>> content_hash(["a", "b"], ["1", "2"]) == content_hash(["b", "a"], ["2", "1"])
    True
    """
    lines = sorted(f"{name}\0{digest}\n" for name, digest in zip(ids, hashes, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_attributes(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The attributes to write, completed and checked; all but ``content_hash``.

    attributes: ``dataset``, ``gt_kind`` and ``protocol`` are required; ``card_hash``, ``generator`` and
        ``settings`` (a mapping) have defaults. Other keys are kept, mappings and lists as JSON.
    """
    missing = [key for key in ("dataset", "gt_kind", "protocol") if not attributes.get(key)]
    if missing:
        raise InvalidSettingError(f"file attributes {', '.join(missing)} are missing; every file states them.")
    if attributes["gt_kind"] not in GT_KINDS[:-1]:
        raise InvalidSettingError(f"gt_kind {attributes['gt_kind']!r}, expected one of {', '.join(GT_KINDS[:-1])}.")
    fixed = {key: ATTRIBUTES[key] for key in (*DECLARED, "normals_encoding")}
    defaults = {"card_hash": "", "generator": GENERATOR, "settings": {}}
    merged = {**defaults, **attributes, **fixed}
    merged.pop("content_hash", None)
    return {key: value if isinstance(value, str) else canonical_json(value) for key, value in sorted(merged.items())}


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as plain JSON values; anything else is a mistake of the caller."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
