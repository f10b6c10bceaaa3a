"""The networks that can be trained, and all that is particular to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fnbench.errors import InvalidSettingError
from fnbench.models.crossmodal import CrossModalNet
from fnbench.models.layers import unit
from fnbench.models.prn import PrnNet, mesh_normals, mesh_vertices, template
from fnbench.models.sfsnet import SfsNet
from fnbench.training.data import Batch
from fnbench.training.objectives import crossmodal_losses, prn_losses, sfsnet_losses
from fnbench.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of network.

    network: its class.  losses: what it is trained for.
    normals: (N, 3, H, W) images to (N, 3, H, W) unit normals, for validation.
    branches: path -> the constructor option and branch that only this path trains, and prediction does without.
    positions: trained on vertex positions, which are made beside the rendered files.
    """

    network: Callable[..., nn.Module]
    losses: Callable[[nn.Module, Batch, Recipe], dict[str, Tensor]]
    normals: Callable[[Any, Tensor], Tensor]
    branches: Mapping[str, str]
    positions: bool = False


def _vectors(network: CrossModalNet | SfsNet, images: Tensor) -> Tensor:
    return unit(network.image_to_normals(images).float())


def _of_mesh(network: PrnNet, images: Tensor) -> Tensor:
    mesh, side = template(), images.shape[-1]
    vertices = mesh_vertices(network(images), torch.from_numpy(mesh.uv).to(images.device)).cpu().numpy() * side
    maps = [torch.from_numpy(mesh_normals(points, mesh.faces, side, side)) for points in vertices]
    return torch.stack(maps).permute(0, 3, 1, 2)


KINDS: Mapping[str, Kind] = {
    "crossmodal": Kind(
        CrossModalNet,
        crossmodal_losses,
        _vectors,
        {"image-image": "image_decoder", "normal-normal": "normal_encoder"},
    ),
    "prn": Kind(PrnNet, prn_losses, _of_mesh, {}, positions=True),
    "sfsnet": Kind(SfsNet, sfsnet_losses, _vectors, {}),
}
"""Model id -> how it is trained."""


def kind_of(recipe: Recipe) -> Kind:
    """The kind of a recipe's model. Raises InvalidSettingError when it cannot be trained."""
    if recipe.model not in KINDS:
        raise InvalidSettingError(
            f"Recipe {recipe.name}: model {recipe.model!r} cannot be trained; known: {', '.join(sorted(KINDS))}."
        )
    return KINDS[recipe.model]
