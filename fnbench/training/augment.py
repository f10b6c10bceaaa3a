"""Augmentation that treats normals right: geometry moves pixels *and* turns vectors, looks change pixels alone.

Conventions
-----------
Batches are (N, C, H, W). A ``Placement`` says for each sample which square of its source becomes the output: centre and
side in source pixels, then a mirror image, then a rotation counter-clockwise as seen by ``degrees``. In the canonical
frame (x right, y up) the mirror negates x, and the rotation turns (x, y) by the same angle; scale and shift leave
vectors alone. After filtering, vectors are brought back to length 1, and pixels whose support touches anything
outside the mask are dropped. There is no vertical flip, no perspective warp and no unequal scale: faces have none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fnbench.models.layers import squared_length, unit
from fnbench.training.recipe import Crops, Looks

_WHOLE = 1 - 1e-4
"""Share of a pixel's support that must lie in the mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where the output of each sample comes from.

    centre: (N, 2) source pixel x, y.  side: (N,) source pixels.  degrees: (N,).  mirrored: (N,) bool.
    """

    centre: Tensor
    side: Tensor
    degrees: Tensor
    mirrored: Tensor


def still(boxes: Tensor) -> Placement:
    """The squares themselves. boxes: (N, 3) left x, top y, side in source pixels."""
    count = len(boxes)
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    return Placement(centre, boxes[:, 2], torch.zeros(count), torch.zeros(count, dtype=torch.bool))


def jittered(boxes: Tensor, crop: Crops, chance: torch.Generator) -> Placement:
    """Random squares around the given ones. boxes: (N, 3) left x, top y, side in source pixels."""
    place = still(boxes)
    count = len(boxes)
    scale = _uniform(count, *crop.scale, chance)
    shift = _uniform(2 * count, -crop.shift, crop.shift, chance).reshape(count, 2)
    degrees = _uniform(count, -crop.rotate, crop.rotate, chance)
    mirrored = torch.rand(count, generator=chance) < crop.flip
    side = place.side * scale
    return Placement(place.centre + shift * side[:, None], side, degrees, mirrored)


def placed_images(images: Tensor, place: Placement, size: int) -> Tensor:
    """(N, C, H, W) images resampled to (N, C, size, size); the border repeats where a square leaves its source."""
    return functional.grid_sample(images, _grid(images, place, size), "bilinear", "border", align_corners=False)


def placed_normals(normals: Tensor, mask: Tensor, place: Placement, size: int) -> tuple[Tensor, Tensor]:
    """Normals and mask resampled, vectors turned with the picture.

    normals: (N, 3, H, W), zero outside the mask.  mask: (N, 1, H, W) of 0 and 1.
    Returns (N, 3, size, size) unit vectors, zero outside the (N, 1, size, size) mask.
    """
    grid = _grid(normals, place, size)
    both = functional.grid_sample(torch.cat([normals, mask], 1), grid, "bilinear", "zeros", align_corners=False)
    kept = (both[:, 3:] >= _WHOLE) & (squared_length(both[:, :3]) > 0.01)
    return turned(unit(both[:, :3]), place) * kept, kept.to(normals.dtype)


def turned(vectors: Tensor, place: Placement) -> Tensor:
    """Vectors of a picture that was mirrored, then rotated. vectors: (N, 3, ...)."""
    device, dtype = vectors.device, vectors.dtype
    shape = (-1, *(1,) * (vectors.ndim - 2))
    angle = torch.deg2rad(place.degrees).to(device, dtype).reshape(shape)
    sign = torch.where(place.mirrored, -1.0, 1.0).to(device, dtype).reshape(shape)
    x, y, z = vectors.unbind(1)
    x = x * sign
    return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos(), z], 1)


def changed_looks(images: Tensor, mask: Tensor | None, look: Looks, chance: torch.Generator) -> Tensor:
    """Random exposure, colour, sharpness, noise, covered patches and background.

    images: (N, 3, H, W) in [0, 1].  mask: (N, 1, H, W) or None when it is not known.
    Returns the same shape in [0, 1].
    """
    if look.background and mask is not None:
        images = _other_background(images, mask, look.background, chance)
    if look.occlude:
        images = _covered(images, look.occlude, chance)
    images = _coloured(images, look, chance)
    if look.coarse:
        images = _coarse(images, look.coarse, chance)
    if look.blur:
        images = _blurred(images, look.blur, chance)
    if look.noise:
        amount = _uniform(len(images), 0, look.noise, chance).to(images.device)[:, None, None, None]
        images = images + amount * _normal(images, chance)
    return images.clamp(0, 1)


def _grid(source: Tensor, place: Placement, size: int) -> Tensor:
    """(N, size, size, 2) sampling positions in [-1, 1] of the source, from output pixel centres."""
    height, width = source.shape[-2:]
    angle = torch.deg2rad(place.degrees)
    cos, sin = angle.cos(), angle.sin()
    sign = torch.where(place.mirrored, -1.0, 1.0)
    half = place.side / 2
    # Output (u, v) with v down; a picture turned counter-clockwise shows at (u, v) what stood clockwise of it.
    rows = torch.stack(
        [
            torch.stack([sign * half * cos, -sign * half * sin, place.centre[:, 0]], 1) * 2 / width,
            torch.stack([half * sin, half * cos, place.centre[:, 1]], 1) * 2 / height,
        ],
        1,
    )
    rows = rows - torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    return functional.affine_grid(
        rows.to(source.device, source.dtype), [len(source), 1, size, size], align_corners=False
    )


def _coloured(images: Tensor, look: Looks, chance: torch.Generator) -> Tensor:
    count = len(images)

    def each(most: float, channels: int = 1) -> Tensor:
        drawn = torch.exp(_uniform(count * channels, -1, 1, chance) * _log1(most))
        return drawn.reshape(count, channels, 1, 1).to(images.device)

    images = images * each(look.gain) * each(look.tint, 3)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * each(look.contrast)
    grey = images.mean(1, keepdim=True)
    saturation = each(look.saturation)
    saturation[torch.rand(count, generator=chance) < look.grey] = 0
    images = grey + (images - grey) * saturation
    return images.clamp(1e-4, 1) ** each(look.gamma)


def _blurred(images: Tensor, most: float, chance: torch.Generator) -> Tensor:
    count, channels = images.shape[:2]
    sigma = _uniform(count, 0, most, chance) * (torch.rand(count, generator=chance) < 0.5) + 1e-3
    reach = torch.arange(-3, 4)
    kernel = torch.exp(-(reach**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(images.device, images.dtype).repeat_interleave(channels, 0)
    flat = images.reshape(1, -1, *images.shape[2:])
    for shape, pad in (((-1, 1, 1, 7), (3, 3, 0, 0)), ((-1, 1, 7, 1), (0, 0, 3, 3))):
        flat = functional.conv2d(functional.pad(flat, pad, "replicate"), kernel.reshape(shape), groups=flat.shape[1])
    return flat.reshape(images.shape)


def _coarse(images: Tensor, probability: float, chance: torch.Generator) -> Tensor:
    size = images.shape[-1]
    smaller = int(size / float(_uniform(1, 1.3, 3.0, chance)))
    chosen = (torch.rand(len(images), generator=chance) < probability).to(images.device)
    low = functional.interpolate(images, (smaller, smaller), mode="bilinear", antialias=True)
    again = functional.interpolate(low, images.shape[-2:], mode="bilinear")
    return torch.where(chosen[:, None, None, None], again, images)


def _covered(images: Tensor, probability: float, chance: torch.Generator) -> Tensor:
    """An ellipse of one colour with some texture over part of the picture."""
    count, _, height, width = images.shape
    chosen = torch.rand(count, generator=chance) < probability
    centre = torch.rand(count, 2, generator=chance)
    radius = 0.05 + 0.25 * torch.rand(count, 2, generator=chance)
    colour = torch.rand(count, 3, 1, 1, generator=chance).to(images.device)
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width
    inside = ((rows[None, :, None] - centre[:, 1, None, None]) / radius[:, 1, None, None]) ** 2
    inside = inside + ((columns[None, None, :] - centre[:, 0, None, None]) / radius[:, 0, None, None]) ** 2
    cover = ((inside < 1) & chosen[:, None, None])[:, None].to(images.device)
    return torch.where(cover, colour + 0.05 * _normal(images, chance), images)


def _other_background(images: Tensor, mask: Tensor, probability: float, chance: torch.Generator) -> Tensor:
    """Smooth noise, or the picture of a neighbour in the batch, outside the mask."""
    count = len(images)
    chosen = torch.rand(count, generator=chance) < probability
    borrowed = torch.rand(count, generator=chance) < 0.5
    noise = torch.rand(count, 3, 5, 5, generator=chance).to(images.device, images.dtype)
    smooth = functional.interpolate(noise, images.shape[-2:], mode="bilinear")
    other = torch.where(borrowed[:, None, None, None].to(images.device), images.roll(1, 0), smooth)
    outside = (mask <= 0) & chosen[:, None, None, None].to(images.device)
    return torch.where(outside, other, images)


def _uniform(count: int, low: float, high: float, chance: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=chance)


def _normal(like: Tensor, chance: torch.Generator) -> Tensor:
    if like.device.type == "cpu":
        return torch.randn(like.shape, generator=chance)
    there = torch.Generator(like.device)
    there.manual_seed(int(torch.randint(2**62, (1,), generator=chance)))
    return torch.randn(like.shape, generator=there, device=like.device)


def _log1(most: float) -> float:
    return float(torch.log1p(torch.tensor(most)))
