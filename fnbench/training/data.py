"""Batches: which samples a step sees, and how they are changed, decided by the recipe's seed and the step alone.

Nothing is remembered between steps, so a resumed run sees exactly what an uninterrupted one sees, and every process of
a distributed run takes its own share of the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnbench.models.layers import squared_length
from fnbench.models.prn import template
from fnbench.training.augment import Placement, changed_looks, jittered, placed_images, placed_normals, still
from fnbench.training.cache import Cache
from fnbench.training.positions import placed_positions
from fnbench.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Batch:
    """What one micro-batch holds, augmented, on one device.

    images: (N, 3, H, W) in [0, 1].  normals: (N, 3, H, W) unit vectors, zero outside the mask.
    mask: (N, 1, H, W) of 0 and 1.  unpaired: (M, 3, H, W) images without ground truth, or None.
    positions: (N, V, 3) template vertices in units of the side (``training.positions``), or None.
    alone, alone_mask: (K, 3, H, W) and (K, 1, H, W) normal maps without images, or None.
    """

    images: Tensor
    normals: Tensor
    mask: Tensor
    unpaired: Tensor | None = None
    alone: Tensor | None = None
    alone_mask: Tensor | None = None
    positions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, count: int) -> list[Batch]:
        """The batch in ``count`` pieces, for a device that cannot hold all of it at once."""
        cut = {item.name: _cut(getattr(self, item.name), count) for item in fields(self)}
        return [Batch(**{name: pieces[k] for name, pieces in cut.items()}) for k in range(count)]


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """All training data: each kind is a cache and the positions in it that are used, or None."""

    paired: tuple[Cache, NDArray[np.int64]]
    images: tuple[Cache, NDArray[np.int64]] | None = None
    normals: tuple[Cache, NDArray[np.int64]] | None = None


def seed_of(*words: int) -> int:
    """One well-mixed seed from several numbers."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def order(count: int, seed: int, start: int, length: int) -> NDArray[np.int64]:
    """``length`` positions from ``start`` on in an endless sequence that shuffles 0 .. count-1 anew each round.

    >>> sorted(order(5, 0, 5, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    positions = np.arange(start, start + length)
    rounds, within = np.divmod(positions, count)
    return np.array([_shuffled(count, seed, int(r))[k] for r, k in zip(rounds, within, strict=True)], np.int64)


@lru_cache(maxsize=8)
def _shuffled(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)


class Feeder:
    """Makes the batch of any step.

    rank, world: this process among how many.  device: where batches go.
    """

    def __init__(self, recipe: Recipe, sources: Sources, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.recipe, self.sources, self.device = recipe, sources, device
        self.rank, self.world = rank, world

    def batch(self, micro: int) -> Batch:
        """Micro-batch number ``micro`` of this process, counted from the start of the run."""
        recipe = self.recipe
        chance = torch.Generator().manual_seed(seed_of(recipe.seed, 1, micro, self.rank))
        images, normals, mask, positions = self._pairs(micro, chance)
        unpaired = alone = alone_mask = None
        if self.sources.images is not None and recipe.batch.images:
            cache, rows = self._chosen(self.sources.images, recipe.batch.images, micro, 2)
            place = jittered(torch.from_numpy(cache.boxes[rows]), recipe.crop, chance)
            unpaired = changed_looks(self._images(cache, rows, place), None, None, recipe.look, chance)
        if self.sources.normals is not None and recipe.batch.normals:
            cache, rows = self._chosen(self.sources.normals, recipe.batch.normals, micro, 3)
            alone, alone_mask = self._normals(
                cache, rows, jittered(torch.from_numpy(cache.boxes[rows]), recipe.crop, chance)
            )
        return Batch(images, normals, mask, unpaired, alone, alone_mask, positions)

    def batches(self, start: int, end: int) -> Iterator[Batch]:
        """Micro-batches ``start`` to ``end``; the next one is made while the last one is used."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.batch, start)
            for micro in range(start, end):
                ready = ahead.result()
                if micro + 1 < end:
                    ahead = pool.submit(self.batch, micro + 1)
                yield ready

    def _pairs(self, micro: int, chance: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        recipe = self.recipe
        cache, rows = self._chosen(self.sources.paired, max(recipe.batch.paired, 1), micro, 1)
        rows = rows[: recipe.batch.paired]
        place = jittered(torch.from_numpy(cache.boxes[rows]), recipe.crop, chance)
        normals, mask = self._normals(cache, rows, place)
        images = changed_looks(self._images(cache, rows, place), normals, mask, recipe.look, chance)
        return images, normals, mask, self._positions(cache, rows, place)

    def _positions(self, cache: Cache, rows: NDArray[np.int64], place: Placement) -> Tensor | None:
        if cache.positions is None or cache.images is None:
            return None
        found, side = torch.from_numpy(cache.positions[rows]), max(cache.images.shape[1:3])
        return placed_positions(found, place, side, torch.from_numpy(template().mirror)).to(self.device)

    def _chosen(
        self, source: tuple[Cache, NDArray[np.int64]], count: int, micro: int, stream: int
    ) -> tuple[Cache, NDArray[np.int64]]:
        cache, usable = source
        start = (micro * self.world + self.rank) * count
        return cache, usable[order(len(usable), seed_of(self.recipe.seed, 0, stream), start, count)]

    def _images(self, cache: Cache, rows: NDArray[np.int64], place: Placement) -> Tensor:
        return cropped_images(cache, rows, place, self.recipe.crop.size, self.device)

    def _normals(self, cache: Cache, rows: NDArray[np.int64], place: Placement) -> tuple[Tensor, Tensor]:
        return cropped_normals(cache, rows, place, self.recipe.crop.size, self.device)


def cropped_images(cache: Cache, rows: NDArray[np.int64], place: Placement, size: int, device: torch.device) -> Tensor:
    """(N, 3, size, size) pictures in [0, 1]."""
    assert cache.images is not None
    return placed_images(_floats(cache.images, rows, device) / 255, place, size)


def cropped_normals(
    cache: Cache, rows: NDArray[np.int64], place: Placement, size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(N, 3, size, size) unit normals, zero outside the (N, 1, size, size) mask."""
    assert cache.normals is not None
    normals = _floats(cache.normals, rows, device)
    return placed_normals(normals, (squared_length(normals) > 0.25).float(), place, size)


def in_order(cache: Cache, size: int, device: torch.device, count: int = 16) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every sample in the protocol's own square, unchanged: images, normals, masks in batches."""
    for start in range(0, len(cache), count):
        rows = np.arange(start, min(start + count, len(cache)))
        place = still(torch.from_numpy(cache.boxes[rows]))
        normals, mask = cropped_normals(cache, rows, place, size, device)
        yield cropped_images(cache, rows, place, size, device), normals, mask


def _floats(array: NDArray[Any], rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """(N, 3, S, S) float32 in channels-last order, from (M, S, S, 3) of any kind."""
    taken = torch.from_numpy(np.stack([array[row] for row in rows]) if len(rows) else array[:0].copy())
    return taken.to(device).permute(0, 3, 1, 2).float()


def _cut(tensor: Tensor | None, count: int) -> Sequence[Any]:
    return [None] * count if tensor is None else torch.tensor_split(tensor, count)
