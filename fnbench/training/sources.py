"""What a run learns from: files opened, unpacked once, and shared out as the recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fnbench.errors import InvalidSettingError
from fnbench.training.cache import Cache, Tell, cached_pictures, cached_stores
from fnbench.training.data import Sources
from fnbench.training.process import Where
from fnbench.training.recipe import Recipe


def sources_of(
    recipe: Recipe,
    run: Path,
    data: Sequence[Path],
    normals: Sequence[Path],
    images: Path | None,
    positions: Sequence[Path],
    where: Where,
    tell: Tell,
) -> tuple[Sources, Cache]:
    """Everything to train on, and the validation samples. The first process unpacks, the others then find it done."""
    if not where.first:
        where.together()
    cache, crop = run / "cache", recipe.crop
    paired = cached_stores(data, cache, split="train", factor=crop.factor, positions=positions, tell=tell)
    valid = cached_stores(data, cache, split="val", factor=crop.factor, most=recipe.check.samples, tell=tell)
    pictures = None
    if images is not None and images.is_dir():
        pictures = cached_pictures(images, cache, side=crop.size * 5 // 4, broken=recipe.batch.broken, tell=tell)
    elif images is not None:
        pictures = cached_stores([images], cache, split="train", factor=crop.factor, normals=False, tell=tell)
    maps = None
    if normals:
        maps = cached_stores(normals, cache, split="train", factor=crop.factor, images=False, tell=tell)
    if where.first:
        where.together()
    return divided(recipe, paired, pictures, maps), valid


def divided(recipe: Recipe, paired: Cache, pictures: Cache | None, maps: Cache | None) -> Sources:
    """Use the pairs of a share of the subjects; the others become what the recipe says."""
    people = sorted(set(paired.subjects))
    mixed = np.random.default_rng([recipe.seed, 7]).permutation(len(people))
    count = max(1, round(recipe.batch.pairs * len(people)))
    kept = paired.of({people[k] for k in mixed[:count]})
    rest = paired.of({people[k] for k in mixed[count:]})
    every = {
        "images": None if pictures is None else (pictures, np.arange(len(pictures))),
        "normals": None if maps is None else (maps, np.arange(len(maps))),
    }
    if recipe.batch.rest in every and len(rest):
        if every[recipe.batch.rest] is not None:
            raise InvalidSettingError(
                f"Recipe {recipe.name}: batch.rest is {recipe.batch.rest!r}, and --{recipe.batch.rest} is given too; "
                f'give one of them, or rest = "drop".'
            )
        every[recipe.batch.rest] = (paired, rest)
    return Sources((paired, kept), every["images"], every["normals"])
