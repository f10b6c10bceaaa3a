"""What each network is trained for: pure functions from a network and a batch to named losses.

The numbers carry their weights already, so the loss of a step is their sum. All terms are float32 and masked.
``OBJECTIVES`` maps the model named in a recipe to its function.

crossmodal (recipe of fnbench; the paper's losses are not known)
    image-normal     1 - cosine inside the mask, from pairs, skips active
    image-image      absolute difference inside the mask of pairs, and everywhere in unpaired images
    normal-normal    1 - cosine inside the mask, from the normal maps of pairs and unpaired ones, skips deactivated
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from fnbench.training.data import Batch
from fnbench.training.losses import cosine_loss, difference_loss
from fnbench.training.recipe import Recipe

Objective = Callable[[nn.Module, Batch, Recipe], dict[str, Tensor]]


def crossmodal_losses(network: nn.Module, batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """The three supervised paths in one pass of ``models.crossmodal.CrossModalNet``."""
    loss, paired = recipe.loss, len(batch)
    shared = math.ceil(recipe.batch.auto * paired)  # pairs that drive the auto-encoding paths as well
    images, rebuilt_mask = _with(batch.images, batch.unpaired), _with(batch.mask, _everywhere(batch.unpaired))
    normals, mask = _with(batch.normals[:shared], batch.alone), _with(batch.mask[:shared], batch.alone_mask)
    last = len(images) - paired + shared if "image-image" in recipe.paths else 0
    out = network(
        images,
        normals if "normal-normal" in recipe.paths and len(normals) else None,
        first=paired if "image-normal" in recipe.paths else 0,
        last=last,
    )
    terms: dict[str, Tensor] = {}
    if out.normals is not None:
        found = cosine_loss(out.normals, batch.normals, batch.mask, loss.reduction)
        terms["image-normal"] = loss.image_to_normal * found
    if out.images is not None and last:
        found = difference_loss(out.images, images[-last:], rebuilt_mask[-last:], loss.reduction)
        terms["image-image"] = loss.image_to_image * found
    if out.renormals is not None:
        terms["normal-normal"] = loss.normal_to_normal * cosine_loss(out.renormals, normals, mask, loss.reduction)
    return terms


OBJECTIVES: Mapping[str, Objective] = {"crossmodal": crossmodal_losses}
"""Model id -> losses of its network."""


def _with(tensor: Tensor, more: Tensor | None) -> Tensor:
    return tensor if more is None else torch.cat([tensor, more])


def _everywhere(images: Tensor | None) -> Tensor | None:
    return None if images is None else torch.ones_like(images[:, :1])
