"""Training data as plain arrays on disk, made once per run and read through the page cache.

A rendered file is compressed for keeping; reading it costs more than a training step of a small network. So its
samples are unpacked once: pictures as bytes, normals as half precision (0.03 degrees), nine bytes a pixel together. All
processes of a run share the pages, and memory does not grow with the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from fnbench.camera import landmark_crop
from fnbench.errors import DatasetNotFoundError, FnbenchError, InvalidDataError
from fnbench.files import check_space, printable, replacing
from fnbench.images import read_image
from fnbench.store import Store
from fnbench.training.positions import Positions

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """Samples of one kind, all of one size.

    images: (N, S, S, 3) uint8 sRGB, or None.
    normals: (N, S, S, 3) float16 unit vectors, zero outside the mask, or None.
    boxes: (N, 3) float32 left x, top y, side in pixels: the square of the protocol around each face.
    positions: (N, V, 3) float32 template vertices in units of S (``training.positions``), or None.
    ids, subjects: N each.  skipped: what could not be read, one line each.  source: what this was made from.
    """

    images: NDArray[np.uint8] | None
    normals: NDArray[np.float16] | None
    boxes: NDArray[np.float32]
    ids: tuple[str, ...]
    subjects: tuple[str, ...]
    source: str
    skipped: tuple[str, ...] = ()
    positions: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def of(self, subjects: set[str]) -> NDArray[np.int64]:
        """Positions of the samples of these subjects."""
        return np.flatnonzero([subject in subjects for subject in self.subjects])


def cached_stores(
    paths: Sequence[Path],
    folder: Path,
    *,
    split: str,
    factor: float,
    images: bool = True,
    normals: bool = True,
    most: int = 0,
    positions: Sequence[Path] = (),
    tell: Tell = lambda line: None,
) -> Cache:
    """Samples of one split of rendered files.

    folder: where the arrays are kept; they are used again when the files are the same.
    factor: side of the square relative to the landmark box; a sample without landmarks is taken whole.
    most: at most so many samples, spread evenly; 0 for all.
    positions: the position file of each of the files, for models that predict a mesh.
    Raises InvalidStoreError, InvalidDataError (files of several sizes, nothing in the split), OutputError.
    """
    stores = [Store(path) for path in paths]
    size = stores[0].size
    if any(store.size != size for store in stores):
        listed = ", ".join(f"{store.path} {store.size[1]}x{store.size[0]}" for store in stores)
        raise InvalidDataError(f"Training files differ in size: {listed}. Render them with one --size.")
    rows = [(store, index) for store in stores for index in store.indices(split)]
    if not rows:
        raise InvalidDataError(f"{', '.join(map(str, paths))}: no samples in the {split} split; nothing to train on.")
    if most and most < len(rows):
        rows = [rows[k * len(rows) // most] for k in range(most)]
    hashes = [str(store.attributes["content_hash"]) for store in stores]
    key = hashlib.sha256(repr((hashes, split, len(rows))).encode()).hexdigest()[:16]
    wanted: dict[str, tuple[Any, Callable[[Store, int], Any]]] = {}
    if images:
        wanted["images"] = (np.uint8, lambda store, index: store.image(index))
    if normals:
        wanted["normals"] = (np.float16, lambda store, index: store.target(index).normals)
    made = {
        name: _array(folder / f"{key}-{name}.npy", rows, size, kind, read, tell)
        for name, (kind, read) in wanted.items()
    }
    for store in stores:
        store.close()
    return Cache(
        made.get("images"),
        made.get("normals"),
        np.stack([_box(store.landmarks(index), store.size, factor) for store, index in rows]),
        tuple(store.ids[index] for store, index in rows),
        tuple(f"{store.attributes['dataset']}/{store.subjects[index]}" for store, index in rows),
        f"the {split} split of "
        + ", ".join(f"{store.attributes['dataset']} {found[:12]}" for store, found in zip(stores, hashes, strict=True)),
        positions=_positions(positions, stores, rows),
    )


def cached_pictures(root: Path, folder: Path, *, side: int, broken: str, tell: Tell = lambda line: None) -> Cache:
    """Every picture under a folder, its middle square at ``side`` pixels.

    broken: "skip" leaves out files that cannot be read and lists them; "stop" raises the first.
    Raises DatasetNotFoundError: no such folder, no picture in it, or none that can be read.
    """
    if not root.is_dir():
        raise DatasetNotFoundError(f"{root}: no such folder; expected a folder of pictures for --images.")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    if not paths:
        raise DatasetNotFoundError(f"{root}: no pictures ({', '.join(PICTURES)}); expected some for --images.")
    stamp = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(repr((stamp, side)).encode()).hexdigest()[:16]
    readable, skipped = _readable(paths, broken)
    if not readable:
        raise DatasetNotFoundError(f"{root}: none of {len(paths)} pictures can be read; the first: {skipped[0]}")
    rows = [(path, 0) for path in readable]
    images = _array(
        folder / f"{key}-{len(rows)}.npy", rows, (side, side), np.uint8, lambda path, _: _square(path, side), tell
    )
    boxes = np.tile(np.array([0, 0, side], np.float32), (len(rows), 1))
    ids = tuple(printable(path.relative_to(root)) for path in readable)
    return Cache(images, None, boxes, ids, ids, f"{len(ids)} pictures of {root.name}", tuple(skipped))


def _readable(paths: Sequence[Path], broken: str) -> tuple[list[Path], list[str]]:
    good, bad = [], []
    for path in paths:
        try:
            with Image.open(path) as image:
                image.verify()
            good.append(path)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            line = f"{printable(path)}: not a whole picture ({error})"
            if broken == "stop":
                raise InvalidDataError(f'{line}. Remove it, or set broken = "skip" in the recipe.') from error
            bad.append(line)
    return good, bad


def _square(path: Path, side: int) -> NDArray[np.uint8]:
    """The middle square of a picture, (side, side, 3); grey where its pixels turn out to be damaged."""
    try:
        picture = read_image(path, modes=("RGB", "L", "P", "RGBA", "CMYK", "LA"))
    except FnbenchError:
        return np.full((side, side, 3), 128, np.uint8)
    height, width = picture.shape[:2]
    short = min(height, width)
    left, top = (width - short) // 2, (height - short) // 2
    cut = Image.fromarray(picture[top : top + short, left : left + short])
    return np.asarray(cut.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0), np.uint8)


def _array(
    path: Path, rows: Sequence[tuple[Any, int]], size: tuple[int, int], kind: Any, read: Callable[..., Any], tell: Tell
) -> NDArray[Any]:
    """(N, H, W, 3) array in a file, made when it is not there yet; opened read-only."""
    shape = (len(rows), *size, 3)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        check_space(path, int(np.prod(shape)) * np.dtype(kind).itemsize)
        with replacing(path) as temporary:
            array = open_memmap(temporary, "w+", kind, shape)
            for position, (source, index) in enumerate(rows):
                array[position] = read(source, index)
                if position % 1000 == 999:
                    tell(f"unpacking {path.stem.partition('-')[2]}: {position + 1}/{len(rows)}")
            array.flush()
            del array
    found: NDArray[Any] = np.load(path, mmap_mode="r")
    return found


def _positions(
    paths: Sequence[Path], stores: Sequence[Store], rows: Sequence[tuple[Store, int]]
) -> NDArray[np.float32] | None:
    if not paths:
        return None
    files = {store.path: Positions(path, store) for path, store in zip(paths, stores, strict=True)}
    return np.stack([files[store.path][index] for store, index in rows])


def _box(landmarks: NDArray[np.float32], size: tuple[int, int], factor: float) -> NDArray[np.float32]:
    known = np.isfinite(landmarks).all(axis=1)
    if known.sum() < 2:
        return np.array([0, 0, max(size)], np.float32)
    box = landmark_crop(landmarks[known], factor)
    return np.array([box.x, box.y, box.side], np.float32)
