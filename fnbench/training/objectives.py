"""What each network is trained for: pure functions from a network and a batch to named losses.

The numbers carry their weights already, so the loss of a step is their sum. All terms are float32 and masked.

crossmodal (recipe of fnbench; the paper's losses are not known)
    image-normal     1 - cosine (or the recipe's ``loss.direction``) inside the mask, from pairs, skips active
    image-image      absolute difference inside the mask of pairs, and everywhere in unpaired images
    normal-normal    the same inside the mask, from the normal maps of pairs and unpaired ones, skips deactivated
sfsnet
    normals          1 - cosine inside the mask, from pairs
    reconstruction   absolute difference between image and albedo x shading: inside the mask of pairs, and in the
                     middle of photographs, where a crop of the protocol shows skin
    albedo           Retinex (Land and McCann 1971): where the image keeps its chromaticity, a change of brightness is a
                     change of shading, so albedo should not change
    light            white before coloured: coefficients of the three colours may differ, but at a price, since else the
                     colour of skin and that of light cannot be told apart
    exposure         mean shading on the face is 1: albedo and light have no common scale otherwise
    positive         no surface sends back negative light
prn
    positions        absolute difference of position maps, in hundredths of the side
    normals          1 - cosine between the normals of the two maps as surfaces
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from fnbench.models.layers import unit
from fnbench.models.prn import PrnNet
from fnbench.models.sfsnet import Parts
from fnbench.training.data import Batch
from fnbench.training.losses import DIRECTION_LOSSES, cosine_loss, difference_loss, masked_mean
from fnbench.training.recipe import Recipe

SFSNET = {"normals": 1.0, "reconstruction": 0.5, "albedo": 0.1, "light": 0.01, "exposure": 0.02, "positive": 0.1}
"""Weights of sfsnet's losses; that of the reconstruction is the paper's (section 4)."""
PRN = {"positions": 1.0, "normals": 0.5}
"""Weights of prn's losses."""

_SKIN = (0.30, 0.36)
"""Half axes, relative to the sides, of the ellipse of a photograph that counts as face."""
_SAME_COLOUR = 20.0
"""How fast a change of chromaticity lifts the price of a change of albedo."""


def crossmodal_losses(network: nn.Module, batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """The three supervised paths in one pass of ``models.crossmodal.CrossModalNet``."""
    loss, paired = recipe.loss, len(batch)
    direction_loss = DIRECTION_LOSSES[loss.direction]
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
        found = direction_loss(out.normals, batch.normals, batch.mask, loss.reduction)
        terms["image-normal"] = loss.image_to_normal * found
    if out.images is not None and last:
        found = difference_loss(out.images, images[-last:], rebuilt_mask[-last:], loss.reduction)
        terms["image-image"] = loss.image_to_image * found
    if out.renormals is not None:
        terms["normal-normal"] = loss.normal_to_normal * direction_loss(out.renormals, normals, mask, loss.reduction)
    return terms


def sfsnet_losses(network: nn.Module, batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """Losses of ``models.sfsnet.SfsNet``; photographs and pairs go through the network together."""
    images, mask, unpaired = batch.images, batch.mask, batch.unpaired
    if unpaired is not None and len(unpaired):
        images = torch.cat([images, unpaired])
        mask = torch.cat([mask, middle(unpaired)])
    parts: Parts = network(images)
    paired = len(batch.images)
    luminance = parts.shading.mean(1, keepdim=True)
    colours = parts.light.reshape(-1, 3, 9)
    terms = {
        "normals": cosine_loss(parts.normals[:paired], batch.normals, batch.mask),
        "reconstruction": difference_loss(parts.image, images, mask),
        "albedo": _uneven(parts.albedo, images, mask),
        "light": (colours - colours.mean(1, keepdim=True)).square().sum((1, 2)).mean(),
        "exposure": _square_of_mean(luminance - 1, mask),
        "positive": masked_mean(torch.relu(-parts.shading).mean(1, keepdim=True), mask, "image"),
    }
    return {name: SFSNET[name] * term for name, term in terms.items()}


def prn_losses(network: nn.Module, batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """Losses of ``models.prn.PrnNet``. Raises ValueError when the batch has no positions."""
    if batch.positions is None:
        raise ValueError("prn is trained with vertex positions; this batch has none")
    core = cast(PrnNet, getattr(network, "module", network))  # inside DistributedDataParallel
    predicted: Tensor = network(batch.images)
    target = core.rasterised(batch.positions)
    weight = core.weight_map.expand(len(predicted), -1, -1, -1)
    difference = (predicted.float() - target.float()).abs().mean(1, keepdim=True) * weight
    inside = core.inside[None, None, 1:-1, 1:-1].expand(len(predicted), -1, -1, -1)
    terms = {
        "positions": 100 * difference.mean(),
        "normals": cosine_loss(surface(predicted.float()), unit(surface(target.float()), 1e-6), inside.float()),
    }
    return {name: PRN[name] * term for name, term in terms.items()}


def middle(images: Tensor) -> Tensor:
    """(N, 1, H, W) of 0 and 1: the ellipse of each picture that shows skin when it is a crop of the protocol."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) + 0.5) / height - 0.5
    columns = (torch.arange(width, device=images.device) + 0.5) / width - 0.5
    inside = (columns / _SKIN[0]).square() + (rows[:, None] / _SKIN[1]).square() < 1
    return inside.to(images.dtype).expand(len(images), 1, -1, -1)


def surface(maps: Tensor) -> Tensor:
    """Normals of position maps as surfaces, not of unit length and of either sign.

    maps: (N, 3, s, s) in units of the side.  Returns (N, 3, s - 2, s - 2).
    """
    maps = maps * maps.shape[-1]
    along = maps[:, :, 1:-1, 2:] - maps[:, :, 1:-1, :-2]
    down = maps[:, :, 2:, 1:-1] - maps[:, :, :-2, 1:-1]
    vectors: Tensor = torch.linalg.cross(along, down, dim=1)
    return vectors


def _square_of_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Per image the mean inside the mask, squared; then the mean over the images that have a mask."""
    count = mask.flatten(1).sum(1)
    means = (values * mask).flatten(1).sum(1) / count.clamp_min(1)
    return means.square().sum() / (count > 0).sum().clamp_min(1)


def _uneven(albedo: Tensor, images: Tensor, mask: Tensor) -> Tensor:
    """Changes of albedo between neighbours, cheaper where the image changes its chromaticity."""
    chroma = images / (images.sum(1, keepdim=True) + 0.1)
    total = albedo.new_zeros(())
    for axis in (2, 3):
        change = albedo.diff(dim=axis).abs().mean(1, keepdim=True)
        price = torch.exp(-_SAME_COLOUR * chroma.diff(dim=axis).abs().sum(1, keepdim=True))
        size = mask.shape[axis] - 1
        both = mask.narrow(axis, 0, size) * mask.narrow(axis, 1, size)
        total = total + masked_mean(change * price, both, "image")
    return total


def _with(tensor: Tensor, more: Tensor | None) -> Tensor:
    return tensor if more is None else torch.cat([tensor, more])


def _everywhere(images: Tensor | None) -> Tensor | None:
    return None if images is None else torch.ones_like(images[:, :1])
