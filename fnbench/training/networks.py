"""From a recipe to a network, from given weights to its start, and from trained tensors to weights files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fnbench.errors import InvalidSettingError, InvalidWeightsError
from fnbench.models.weights import WeightsCard, check_names, read_checkpoint, read_weights, write_weights
from fnbench.training.kinds import kind_of
from fnbench.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """What a weights file says of its training: data in words, step, mean validation error in degrees."""

    data: str
    step: int
    error: float


def network_of(recipe: Recipe) -> nn.Module:
    """The network of a recipe with random weights from torch's current seed."""
    try:
        return kind_of(recipe).network(**options_of(recipe))
    except TypeError as error:
        raise InvalidSettingError(f"Recipe {recipe.name}: [network] does not fit {recipe.model} ({error}).") from error


def options_of(recipe: Recipe) -> dict[str, Any]:
    """Constructor options: those of the recipe; branches that no path trains are not built."""
    branches = kind_of(recipe).branches
    return {**recipe.network, **{branch: path in recipe.paths for path, branch in branches.items()}}


def start_from(network: nn.Module, path: Path, recipe: Recipe) -> None:
    """Fill a network from a weights file of its own kind, or its encoders from an ImageNet ResNet-18.

    Branches that the file does not have keep their random start. Raises InvalidWeightsError.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if path.suffix in (".pth", ".pt") or start == b"PK" or start[:1] == b"\x80":
        tensors = imagenet_encoders(read_checkpoint(path), network, str(path))
    else:
        tensors = read_weights(path, recipe.model).tensors
    own = network.state_dict()
    branches = {name.partition(".")[0] for name in tensors}
    check_names({n: tuple(v.shape) for n, v in own.items() if n.partition(".")[0] in branches}, tensors, str(path))
    network.load_state_dict({**own, **tensors})


def imagenet_encoders(source: Mapping[str, Tensor], network: nn.Module, name: str) -> dict[str, Tensor]:
    """Encoder weights from a ResNet-18 in the common layout (conv1, bn1, layer1 to layer4).

    Raises InvalidWeightsError when it is not one, or the network is narrower: ImageNet weights fit width 64 alone.
    """
    renamed = {
        key.replace("layer", "stage", 1) if key.startswith("layer") else key: value
        for key, value in source.items()
        if not key.startswith("fc.")
    }
    found = dict(network.state_dict())
    for branch in ("image_encoder", "normal_encoder"):
        stages = [key for key in found if key.startswith(f"{branch}.") and not key.startswith(f"{branch}.stem")]
        for key in stages:
            value = renamed.get(key.partition(".")[2])
            if value is None or value.shape != found[key].shape:
                shape = "missing" if value is None else str(tuple(value.shape))
                raise InvalidWeightsError(
                    f"{name}: no ResNet-18 that fits: {key.partition('.')[2]} is {shape}, expected "
                    f"{tuple(found[key].shape)}. ImageNet weights fit a network of width 64."
                )
            found[key] = value
    return found


def trained_weights(run: Path, tensors: Mapping[str, Tensor], recipe: Recipe, trained: Trained) -> None:
    """Write ``weights.safetensors``, and ``predict.safetensors`` with what prediction needs in half precision."""
    card = WeightsCard(
        architecture=recipe.model,
        options=options_of(recipe),
        licence=recipe.licence,
        training_data=trained.data,
        recipe=f"{recipe.name}, step {trained.step} of {recipe.steps}",
        seed=recipe.seed,
        preprocessing={
            "size": recipe.crop.size,
            **({"mirrored": True} if recipe.mirrored else {}),
            **({"scales": list(recipe.scales)} if recipe.scales != (1.0,) else {}),
        },
    )
    write_weights(run / "weights.safetensors", tensors, card)
    spare = set(kind_of(recipe).branches.values())
    slim = {name: value for name, value in tensors.items() if name.partition(".")[0] not in spare}
    half = {name: value.half() if value.dtype == torch.float32 else value for name, value in slim.items()}
    options = {**card.options, **dict.fromkeys(spare, False)}
    write_weights(
        run / "predict.safetensors",
        half,
        WeightsCard(**{**{f: getattr(card, f) for f in card.__slots__}, "options": options}),
    )
