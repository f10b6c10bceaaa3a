"""Losses of the training: always float32, always inside a mask.

Conventions: vectors (N, 3, H, W), masks (N, 1, H, W) of 0 and 1. An image with an empty mask contributes nothing.
``reduction`` "image" takes the mean per image first, so that a small face weighs as much as a large one; "pixel"
pools all pixels. Recipe of fnbench, not of the paper: its losses are not known.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fnbench.models.layers import unit

SHORTEST = 1e-6
ROUNDED = 1e-2
"""Below this chord (0.6 degrees) the chord loss bends into a parabola: its gradient would be undefined at zero."""


def cosine_loss(raw: Tensor, target: Tensor, mask: Tensor, reduction: str = "image") -> Tensor:
    """Mean of 1 - cosine between predicted and true directions inside the mask.

    raw: (N, 3, H, W) of any length.  target: (N, 3, H, W) unit vectors where the mask is 1.

    >>> up = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    >>> cosine_loss(5 * up, -up, torch.ones(1, 1, 1, 1)).item()
    2.0
    """
    return masked_mean(1 - _cosine(raw, target), mask, reduction)


def chord_loss(raw: Tensor, target: Tensor, mask: Tensor, reduction: str = "image") -> Tensor:
    """Mean distance between the tips of predicted and true directions, 2 sin(angle / 2), inside the mask.

    Nearly proportional to the angle, which is what the benchmark averages. 1 - cosine grows with its square: it listens
    most to the few pixels that are far off, such as contours.
    raw: (N, 3, H, W) of any length.  target: (N, 3, H, W) unit vectors where the mask is 1.

    >>> up = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    >>> round(chord_loss(5 * up, -up, torch.ones(1, 1, 1, 1)).item(), 2)
    1.99
    """
    squared = 2 * (1 - _cosine(raw, target)).clamp_min(0)
    return masked_mean(torch.sqrt(squared + ROUNDED**2) - ROUNDED, mask, reduction)


DIRECTION_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, str], Tensor]] = {
    "cosine": cosine_loss,
    "chord": chord_loss,
}
"""What a recipe may name as ``loss.direction``."""


def difference_loss(predicted: Tensor, target: Tensor, mask: Tensor, reduction: str = "image") -> Tensor:
    """Mean absolute difference inside the mask. predicted, target: (N, C, H, W)."""
    return masked_mean((predicted.float() - target.float()).abs().mean(1, keepdim=True), mask, reduction)


def masked_mean(values: Tensor, mask: Tensor, reduction: str) -> Tensor:
    """Mean of (N, 1, H, W) values where the mask is 1; zero, with a gradient, when there is no such pixel."""
    mask = mask.to(values.dtype)
    # where, not a product: what a network says outside the mask may be anything, even infinite.
    kept = torch.where(mask > 0, values, values.new_zeros(()))
    count = mask.flatten(1).sum(1)
    if reduction == "pixel":
        return kept.sum() / count.sum().clamp_min(1)
    per_image = kept.flatten(1).sum(1) / count.clamp_min(1)
    return per_image.sum() / (count > 0).sum().clamp_min(1)


def _cosine(raw: Tensor, target: Tensor) -> Tensor:
    return (unit(raw.float(), SHORTEST) * target.float()).sum(1, keepdim=True)
