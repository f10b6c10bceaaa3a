"""A store as plain files, for other people's code.

Formats
-------
png16        image and mask as 8-bit PNG, normals as 16-bit RGB PNG: n = value / 65535 * 2 - 1, value 0 in all three
             channels = no normal (error at most 0.0015 degrees)
exr          image and mask as PNG, normals (N.X, N.Y, N.Z) and depth (Z, mm) as float32 OpenEXR; zero and NaN outside
npy          every map as an .npy array: image uint8, normals float32 (H, W, 3), mask bool, depth float32 mm
webdataset   tar shards of png16 files, one key per sample

Files and folders: ``<out>/<split>/<map>/<name>.<suffix>``, tar shards ``<out>/<split>-000000.tar``; beside the maps
``meta`` holds id, subject, camera, landmarks and attributes as JSON, and ``<out>/dataset.json`` says what the file
said and how values are coded. Everything is written to a temporary folder that is renamed at the end.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidSettingError, MissingDependencyError, OutputError
from fnbench.files import check_writable, output_error
from fnbench.frames import frame_preset, from_canonical
from fnbench.png import png_bytes
from fnbench.store import Store
from fnbench.store.schema import canonical_json
from fnbench.types import Sample

FORMATS = ("png16", "exr", "npy", "webdataset")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the folder, how many samples, how many files."""

    out: Path
    samples: int
    files: int

    def summary(self) -> str:
        """One line for a terminal."""
        return f"{self.out}: {self.samples} samples in {self.files} files"


def export_store(
    store: Store,
    out: Path,
    format_: str,
    *,
    split: str | None = None,
    frame: str = "canonical",
    shard_size: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the samples of a store as plain files under a new folder.

    format_: one of FORMATS.  split: only this one.  frame: convention of the written normals, a name of
    ``frames.PRESETS``.  shard_size: samples per tar of a webdataset.
    Raises OutputError when the folder exists and is not empty, MissingDependencyError for exr without OpenEXR.
    """
    if format_ not in FORMATS:
        raise InvalidSettingError(f"format {format_!r}, expected one of {', '.join(FORMATS)}.")
    frame_preset(frame)
    encode = _encoder(format_)
    chosen = store.indices(split)
    if not chosen:
        raise InvalidSettingError(f"{store.path}: no samples in split {split!r}; expected train, val or test.")
    temporary = _begin(out)
    try:
        written = _Tars(temporary, shard_size) if format_ == "webdataset" else _Folders(temporary)
        for done, index in enumerate(chosen, 1):
            sample = store[index]
            maps = encode(sample, _turned(sample, frame))
            written.add(sample.split, file_name(sample.id), {**maps, "meta.json": _meta(sample)})
            if progress is not None:
                progress(done, len(chosen))
        count = written.close()
        (temporary / "dataset.json").write_text(_about(store, format_, frame, len(chosen)), encoding="utf-8")
        if out.is_dir():
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        raise output_error(out, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, len(chosen), count + 1)


def file_name(sample_id: str) -> str:
    """A file name for a sample id: readable, unique, legal on every system, and a key for webdataset.

    >>> file_name("s000_neutral/yaw+0_pitch+0"), file_name("con")
    ('s000_neutral__yaw+0_pitch+0', 'con-1143da2b')
    """
    name = re.sub(r"[^A-Za-z0-9_+-]", "-", sample_id.replace("/", "__"))[:_LONGEST]
    back = name.replace("__", "/")  # plain names lead back to their ids, so no two ids share one
    plain = back == sample_id and not name.startswith("-") and not _RESERVED.fullmatch(name)
    return name if plain else f"{name.strip('-_') or 'sample'}-{hashlib.sha256(sample_id.encode()).hexdigest()[:8]}"


_Maps = dict[str, bytes]
_Encoder = Callable[[Sample, NDArray[np.float32]], _Maps]


def _encoder(format_: str) -> _Encoder:
    if format_ == "exr":
        try:
            import OpenEXR  # noqa: F401  # asked for before work starts
        except ImportError as error:
            raise MissingDependencyError("format exr needs OpenEXR: pip install 'fnbench[exr]'.") from error
        return _exr
    return _npy if format_ == "npy" else _png


def _png(sample: Sample, normals: NDArray[np.float32]) -> _Maps:
    """Maps by file suffix."""
    values = np.clip(np.rint((normals.astype(np.float64) * 0.5 + 0.5) * 65535), 0, 65535)
    coded = np.where(sample.target.mask[..., None], values, 0).astype(np.uint16)
    return {**_pictures(sample), "normals.png": png_bytes(coded)}


def _pictures(sample: Sample) -> _Maps:
    return {
        "image.png": png_bytes(sample.image),
        "mask.png": png_bytes(sample.target.mask.astype(np.uint8) * np.uint8(255)),
        "region.png": png_bytes(sample.region),
    }


def _npy(sample: Sample, normals: NDArray[np.float32]) -> _Maps:
    arrays: dict[str, NDArray[Any]] = {
        "image": sample.image,
        "normals": normals,
        "mask": sample.target.mask,
        "region": sample.region,
    }
    if sample.depth is not None:
        arrays["depth"] = sample.depth
    return {f"{name}.npy": _saved(array) for name, array in arrays.items()}


def _saved(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _exr(sample: Sample, normals: NDArray[np.float32]) -> _Maps:
    import tempfile

    import OpenEXR

    channels = {f"N.{axis}": np.ascontiguousarray(normals[..., k]) for k, axis in enumerate("XYZ")}
    if sample.depth is not None:
        channels["Z"] = np.ascontiguousarray(sample.depth)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with tempfile.TemporaryDirectory() as folder:  # the library writes to paths only
        path = Path(folder) / "normals.exr"
        with OpenEXR.File(header, channels) as file:
            file.write(str(path))
        return {**_pictures(sample), "normals.exr": path.read_bytes()}


def _turned(sample: Sample, frame: str) -> NDArray[np.float32]:
    normals = from_canonical(sample.target.normals, frame).astype(np.float32)
    return np.where(sample.target.mask[..., None], normals, np.float32(0))


def _meta(sample: Sample) -> bytes:
    camera = sample.camera
    about = {
        "id": sample.id,
        "subject": sample.subject,
        "capture": sample.capture,
        "split": sample.split,
        "K": camera.K.tolist(),
        "world_to_camera": camera.world_to_camera.tolist(),
        "axes": "canonical",
        "width": camera.width,
        "height": camera.height,
        "orthographic": camera.orthographic,
        "landmarks": [None if np.isnan(point).any() else point.tolist() for point in sample.landmarks],
        "attributes": dict(sample.attributes),
    }
    return canonical_json(about).encode()


def _about(store: Store, format_: str, frame: str, count: int) -> str:
    coded = {
        "png16": "n = value / 65535 * 2 - 1; value 0 in all channels = no normal",
        "webdataset": "n = value / 65535 * 2 - 1; value 0 in all channels = no normal",
        "exr": "float32; (0, 0, 0) = no normal",
        "npy": "float32; (0, 0, 0) = no normal",
    }
    about = {
        **store.attributes,
        "format": format_,
        "samples": count,
        "normals_encoding": coded[format_],
        "frame": store.attributes["frame"] if frame == "canonical" else f"{frame}: {frame_preset(frame).note}",
        "regions": list(store.regions),
    }
    return json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


class _Folders:
    """One folder per map."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0

    def add(self, split: str, name: str, maps: _Maps) -> None:
        for key, content in maps.items():
            map_, suffix = key.split(".")
            folder = self._root / split / map_
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.{suffix}").write_bytes(content)
            self._count += 1

    def close(self) -> int:
        return self._count


class _Tars:
    """Tar shards per split, the same bytes for the same samples."""

    def __init__(self, root: Path, shard_size: int) -> None:
        self._root = root
        self._size = shard_size
        self._counts: dict[str, int] = {}
        self._open: dict[str, tarfile.TarFile] = {}

    def add(self, split: str, name: str, maps: _Maps) -> None:
        position = self._counts.get(split, 0)
        if position % self._size == 0:
            self._close(split)
            path = self._root / f"{split}-{position // self._size:06d}.tar"
            self._open[split] = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        for key, content in maps.items():
            entry = tarfile.TarInfo(f"{name}.{key}")
            entry.size = len(content)
            self._open[split].addfile(entry, io.BytesIO(content))
        self._counts[split] = position + 1

    def close(self) -> int:
        for split in list(self._open):
            self._close(split)
        return sum(-(-count // self._size) for count in self._counts.values())

    def _close(self, split: str) -> None:
        if split in self._open:
            self._open.pop(split).close()


def _begin(out: Path) -> Path:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(f"{out}: exists and is not an empty folder; choose another name for the export.")
    check_writable(out.parent / f"{out.name}.probe")
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary
