"""Training recipes: everything that decides a run, in one TOML file that is checked before anything starts.

A recipe names a model, its constructor options, what a batch is made of, how crops are jittered, how pictures are
changed, the weights of the losses, and the optimiser. Every key has a default, an unknown key is an error with the
nearest known one, and the complete recipe is written beside the weights it made.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from fnbench.catalog import folder
from fnbench.errors import InvalidSettingError

PATHS = ("image-normal", "image-image", "normal-normal")
"""The three supervised paths of the cross-modal model."""

DIRECTIONS = ("cosine", "chord")
"""How far apart two directions are, as a loss."""

RESTS = ("normals", "images", "drop")
"""What may become of the subjects whose pairs are not used."""

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Batches:
    """What one optimiser step sees.

    paired, images, normals: samples per micro-batch and process; unpaired ones only when such data is given.
    accumulate: micro-batches per step.
    auto: share of the pairs that drive the auto-encoding paths too, in [0, 1].
    pairs: share of the training subjects whose pairs are used, in (0, 1].
    rest: what becomes of the other subjects: "normals" (normal maps without images), "images", or "drop".
    broken: what to do with an image file that cannot be read: "skip" (listed) or "stop".
    """

    paired: int = 8
    images: int = 4
    normals: int = 4
    accumulate: int = 1
    auto: float = 1.0
    pairs: float = 1.0
    rest: str = "drop"
    broken: str = "skip"


@dataclass(frozen=True, slots=True)
class Crops:
    """Geometry: a square around the landmarks, jittered, resampled to ``size``.

    size: side in pixels, a multiple of 32 from 64 on (a latent of one pixel has no batch statistics).
    factor: side of the square relative to the longer side of the landmark box (the protocol's crop).
    scale: smallest and largest factor on that side.  shift: largest displacement relative to the side.
    rotate: largest in-plane rotation in degrees.  flip: probability of a mirror image.
    """

    size: int = 256
    factor: float = 1.2
    scale: tuple[float, float] = (0.8, 1.4)
    shift: float = 0.08
    rotate: float = 15.0
    flip: float = 0.5


@dataclass(frozen=True, slots=True)
class Looks:
    """Changes of the picture alone; the normals do not move.

    gain, tint, gamma, contrast, saturation: largest relative change.  grey: probability of a grey picture.
    blur: largest standard deviation in pixels, on half of the pictures.  noise: largest standard deviation.
    coarse: probability of a picture that is shrunk and enlarged.  occlude: probability of a covered patch.
    background: probability that everything outside the mask is replaced.
    relit: probability that the light of a paired picture is replaced, by anything from flat to hard light from a side.
    pattern: probability of a picture multiplied by smooth coloured noise, like skin of another colour here and there.
    """

    gain: float = 0.3
    tint: float = 0.1
    gamma: float = 0.3
    contrast: float = 0.2
    saturation: float = 0.3
    grey: float = 0.1
    blur: float = 1.0
    noise: float = 0.04
    coarse: float = 0.2
    occlude: float = 0.2
    background: float = 0.0
    relit: float = 0.0
    pattern: float = 0.0


@dataclass(frozen=True, slots=True)
class Losses:
    """Weights of the losses, and how they are averaged.

    image_to_normal, normal_to_normal: of directions.  image_to_image: absolute difference.
    direction: "cosine" (1 - cosine) or "chord" (2 sin(angle / 2), nearly the angle itself); of crossmodal alone.
    reduction: "image" (mean per image, then over images) or "pixel" (pooled).
    """

    image_to_normal: float = 1.0
    normal_to_normal: float = 0.5
    image_to_image: float = 0.5
    direction: str = "cosine"
    reduction: str = "image"


@dataclass(frozen=True, slots=True)
class Optimiser:
    """Adam, with a constant rate and a linear decay to zero.

    rate, betas, decay: of Adam; ``decay`` is decoupled weight decay.  clip: largest gradient norm, 0 for none.
    warm_up: steps of linear increase.  fade: last share of the steps in which the rate falls to zero.
    average: decay of the moving average of the weights that is validated and kept; 0 keeps the weights themselves.
    precision: "float32", "bfloat16" or "float16" (CUDA only) inside the network; losses are float32.
    """

    rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.0
    clip: float = 1.0
    warm_up: int = 0
    fade: float = 0.3
    average: float = 0.0
    precision: str = "float32"


@dataclass(frozen=True, slots=True)
class Checks:
    """How often a run looks at itself.

    log, validate, save: every so many steps (0 = only at the end).
    samples: validation samples that are used, spread evenly over the split; 0 for all.
    """

    log: int = 50
    validate: int = 1000
    save: int = 500
    samples: int = 200


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run.

    name: stands in the weights file and in records.  model: id of the model.  steps: optimiser steps.
    seed: of initial weights, order, and augmentation.  network: keyword arguments of the model's network.
    paths: the supervised paths that are trained.  licence: of the weights, as the training data allow it.
    mirrored: let the weights predict from an image and its mirror image, in twice the time; training and validation
        do not change.  Not for prn, which places a mesh.
    scales: let the weights predict from each image at these shares of its size, one pass for each; likewise.
    """

    name: str
    model: str
    steps: int = 100_000
    seed: int = 0
    paths: tuple[str, ...] = PATHS
    licence: str = "unknown"
    mirrored: bool = False
    scales: tuple[float, ...] = (1.0,)
    network: Mapping[str, Any] = field(default_factory=dict)
    batch: Batches = Batches()
    crop: Crops = Crops()
    look: Looks = Looks()
    loss: Losses = Losses()
    optimiser: Optimiser = Optimiser()
    check: Checks = Checks()

    def __post_init__(self) -> None:
        for what, problem in _problems(self):
            if problem:
                raise InvalidSettingError(f"Recipe {self.name}: {what}.")


def read_recipe(source: str | Path) -> Recipe:
    """A recipe from a TOML file, or by the id of a built-in model.

    Raises InvalidSettingError: no such file, not TOML, an unknown key (with the nearest known one), a wrong
    type, an impossible value.
    """
    path = Path(source)
    if not path.is_file():
        packaged = folder("baselines") / str(source) / "recipe.toml"
        if not packaged.is_file():
            known = sorted(found.parent.name for found in folder("baselines").glob("*/recipe.toml"))
            raise InvalidSettingError(
                f"Recipe {source}: no such file, and no model of this name among {', '.join(known)}."
            )
        path = packaged
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"Recipe {path}: not a TOML file ({error}).") from error
    return recipe_from(values, str(path))


def recipe_from(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A recipe from plain values, as TOML or JSON give them."""
    for required in ("name", "model"):
        if required not in values:
            raise InvalidSettingError(f"{source}: {required!r} is missing.")
    return _part(Recipe, values, source)


def smoke(recipe: Recipe) -> Recipe:
    """The same run in miniature: every path and every kind of check within a minute."""
    batch = replace(recipe.batch, paired=2, images=1, normals=1)
    check = Checks(log=1, validate=2, save=2, samples=2)
    size = recipe.crop.size if recipe.model == "prn" else 64  # a position map has one size
    return replace(
        recipe, name=f"{recipe.name}-smoke", steps=4, batch=batch, check=check, crop=replace(recipe.crop, size=size)
    )


def written(recipe: Recipe) -> str:
    """The complete recipe as TOML; reading it gives the same recipe."""
    values = asdict(recipe)
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if key not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _part(kind: type[_Part], values: Mapping[str, Any], source: str) -> _Part:
    defaults = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a dataclass by construction
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in defaults:
            close = get_close_matches(key, defaults, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise InvalidSettingError(f"{source}: unknown key {key!r}.{hint} Known: {', '.join(defaults)}.")
        default = defaults[key].default
        if is_dataclass(default):
            if not isinstance(value, Mapping):
                raise InvalidSettingError(f"{source}: {key} is {value!r}, expected a table [{key}].")
            given[key] = _part(type(default), value, f"{source}, [{key}]")
        else:
            given[key] = _value(key, value, default, source)
    return kind(**given)


def _value(key: str, value: Any, default: Any, source: str) -> Any:
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(item, type(default[0]) | int) for item in value):
            raise InvalidSettingError(f"{source}: {key} is {value!r}, expected a list like {list(default)}.")
        return tuple(type(default[0])(item) for item in value)
    if isinstance(default, bool | int | float | str):
        fits = isinstance(value, type(default)) or (isinstance(default, float) and isinstance(value, int))
        if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
            raise InvalidSettingError(f"{source}: {key} is {value!r}, expected {_kind(default)} like {default!r}.")
        return type(default)(value)
    return value


def _kind(default: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(default)]


def _problems(recipe: Recipe) -> list[tuple[str, bool]]:
    batch, crop, loss, optimiser = recipe.batch, recipe.crop, recipe.loss, recipe.optimiser
    return [
        (f"steps {recipe.steps}, expected at least 1", recipe.steps < 1),
        (f"paths {list(recipe.paths)}, expected some of {', '.join(PATHS)}", not set(recipe.paths) <= set(PATHS)),
        ("no path to train", not recipe.paths),
        ("mirrored is for networks that answer pixel by pixel", recipe.mirrored and recipe.model == "prn"),
        ("scales is for networks that answer pixel by pixel", recipe.scales != (1.0,) and recipe.model == "prn"),
        (f"scales {list(recipe.scales)}, expected shares above 0, at most 1",
         not recipe.scales or not all(0 < scale <= 1 for scale in recipe.scales)),
        (f"crop.size {crop.size}, expected a multiple of 32 from 64 on", crop.size < 64 or crop.size % 32 != 0),
        (f"crop.scale {list(crop.scale)}, expected low and high, positive", not 0 < crop.scale[0] <= crop.scale[-1]),
        (f"crop.factor {crop.factor}, expected a positive number", crop.factor <= 0),
        ("batch.paired, images, normals, accumulate: expected no negative number, and accumulate at least 1",
         min(batch.paired, batch.images, batch.normals, batch.accumulate - 1) < 0),
        ("an empty batch", batch.paired + batch.images + batch.normals == 0),
        (f"batch.auto {batch.auto}, expected a share in [0, 1]", not 0 <= batch.auto <= 1),
        (f"batch.pairs {batch.pairs}, expected a share in (0, 1]", not 0 < batch.pairs <= 1),
        (f"batch.rest {batch.rest!r}, expected {', '.join(RESTS)}", batch.rest not in RESTS),
        (f"batch.broken {batch.broken!r}, expected skip or stop", batch.broken not in ("skip", "stop")),
        (f"loss.direction {loss.direction!r}, expected {', '.join(DIRECTIONS)}", loss.direction not in DIRECTIONS),
        (f"loss.reduction {loss.reduction!r}, expected image or pixel", loss.reduction not in ("image", "pixel")),
        (f"optimiser.rate {optimiser.rate}, expected a positive number", optimiser.rate <= 0),
        (f"optimiser.fade {optimiser.fade}, expected a share in [0, 1]", not 0 <= optimiser.fade <= 1),
        (f"optimiser.average {optimiser.average}, expected a number in [0, 1)", not 0 <= optimiser.average < 1),
        (f"optimiser.precision {optimiser.precision!r}, expected float32, bfloat16 or float16",
         optimiser.precision not in ("float32", "bfloat16", "float16")),
    ]  # fmt: skip


def _toml(value: Any) -> str:
    # JSON writes numbers, texts, booleans and flat lists as TOML reads them.
    return json.dumps(list(value) if isinstance(value, tuple) else value)
