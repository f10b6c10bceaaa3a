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


def changed_looks(
    images: Tensor, normals: Tensor | None, mask: Tensor | None, look: Looks, chance: torch.Generator
) -> Tensor:
    """Random light, exposure, colour, sharpness, noise, covered patches and background.

    images: (N, 3, H, W) in [0, 1].  normals: (N, 3, H, W), zero outside the (N, 1, H, W) mask; None for pictures
    without ground truth, whose light and background stay.
    Returns the same shape in [0, 1].
    """
    if look.relit and normals is not None:
        rows = _some(len(images), look.relit, chance)
        images = images.index_copy(0, rows.to(images.device), _relit(images[rows], normals[rows], chance))
    if look.pattern:
        rows = _some(len(images), look.pattern, chance)
        images = images.index_copy(0, rows.to(images.device), _patterned(images[rows], chance))
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


def _relit(images: Tensor, normals: Tensor, chance: torch.Generator) -> Tensor:
    """Pictures divided by the light that explains them best, and multiplied by another one.

    The old light is the second-order harmonics that fit the brightness inside the mask (Ramamoorthi and Hanrahan 2001);
    cast shadows, highlights and albedo stay, so this is a ratio image (Shashua and Riklin-Raviv 2001), not a render.
    Around the mask the ratio goes on smoothly, so that its outline does not show.
    """
    count, side = len(images), images.shape[-1]
    linear = images.square() + 1e-6  # near enough to linear light
    bases = _harmonics(normals).flatten(2)  # (N, 9, HW), zero outside the mask
    inside = bases[:, :1]
    brightness = linear.mean(1).flatten(1)[:, None] * inside
    square = bases @ bases.mT + 1e-3 * side**2 * torch.eye(9, device=images.device)
    fitted = torch.linalg.solve(square, bases @ brightness.mT)
    pixels = inside.sum(2, keepdim=True).clamp_min(1)
    mean = (brightness.sum(2, keepdim=True) / pixels).clamp_min(1e-3)
    old = torch.maximum(fitted.mT @ bases / mean, torch.tensor(0.25))
    new = _random_light(normals, chance).flatten(2)
    new = new / ((new * inside).sum((1, 2), keepdim=True) / (3 * pixels)).clamp_min(1e-3)
    share = _uniform(count, 0.6, 1.0, chance).to(images.device)[:, None, None]
    ratio = (new / old**share).clamp(0.1, 5.0).reshape(images.shape)
    spread = _filled(ratio, inside.reshape(count, 1, *images.shape[2:]))
    return (linear * spread).clamp(0, 1).sqrt()


def _filled(values: Tensor, known: Tensor) -> Tensor:
    """Values (N, C, H, W) where known (N, 1, H, W) is 1; elsewhere continued smoothly from coarser means."""
    pulled = [torch.cat([values * known, known], 1)]
    while min(pulled[-1].shape[-2:]) > 1:
        pulled.append(functional.avg_pool2d(pulled[-1], 4 if len(pulled) == 1 else 2))
    filled = pulled[-1][:, :-1] / pulled[-1][:, -1:].clamp_min(1e-6)
    for level in reversed(pulled[:-1]):
        total, weight = level[:, :-1], level[:, -1:]
        wide = functional.interpolate(filled, total.shape[-2:], mode="bilinear")
        # A few known pixels are enough for a cell: their own mean goes on across the border better than a wider one.
        filled = torch.lerp(wide, total / weight.clamp_min(1e-6), (4 * weight).clamp_max(1))
    return filled


def _random_light(normals: Tensor, chance: torch.Generator) -> Tensor:
    """(N, 3, H, W) irradiance of an ambient light and two distant lamps, the same or tinted in the three colours.

    normals: (N, 3, H, W) unit vectors. A third of the pictures gets hardly more than the ambient light.
    """
    count, device = len(normals), normals.device
    lamps = torch.randn(count, 2, 3, generator=chance)
    lamps[..., 2] = lamps[..., 2].abs() + 0.2  # before the face rather than behind it
    lamps = functional.normalize(lamps, dim=-1) * torch.rand(count, 2, 1, generator=chance)
    lamps = lamps * torch.where(torch.rand(count, generator=chance) < 1 / 3, 0.3, 1.5)[:, None, None]
    facing = torch.einsum("nkc,nchw->nkhw", lamps.to(device), normals).clamp_min(0)
    tints = 1 + 0.2 * (2 * torch.rand(count, 2, 3, generator=chance) - 1)
    ambient = _uniform(count, 0.15, 0.7, chance).to(device)[:, None, None, None]
    sky = 1 + 0.4 * (2 * torch.rand(count, generator=chance) - 1).to(device)[:, None, None] * normals[:, 1]
    return ambient * sky[:, None] + torch.einsum("nkc,nkhw->nchw", tints.to(device), facing)


def _harmonics(n: Tensor) -> Tensor:
    """(N, 9, H, W) second-order polynomials of normals (N, 3, H, W); zero where these are zero."""
    x, y, z = n.unbind(1)
    one = (squared_length(n)[:, 0] > 0.25).to(n.dtype)
    return torch.stack([one, y, z, x, x * y, y * z, 3 * z * z - one, x * z, x * x - y * y], 1)


def _patterned(images: Tensor, chance: torch.Generator) -> Tensor:
    """Multiplied by smooth noise of several sizes, partly in colour."""
    count, height, width = len(images), *images.shape[2:]
    total = torch.zeros(count, 3, height // 2, width // 2)
    for cells, most in ((2, 0.5), (5, 0.35), (12, 0.2), (30, 0.1)):
        amount = most * _uniform(count, 0, 1, chance)[:, None, None, None]
        grey = torch.randn(count, 1, cells, cells, generator=chance)
        colour = 0.35 * torch.randn(count, 3, cells, cells, generator=chance)
        total += functional.interpolate(amount * (grey + colour), total.shape[-2:], mode="bilinear")
    noise = functional.interpolate(torch.exp(total).to(images.device), (height, width), mode="bilinear")
    return (images * noise).clamp(0, 1)


def _other_background(images: Tensor, mask: Tensor, probability: float, chance: torch.Generator) -> Tensor:
    """Smooth noise, one colour, hair, or the picture of a neighbour in the batch, outside the mask.

    Half of the time the border is not that of the mask but an uneven line near it, as hair and collars draw it.
    """
    count, device, (height, width) = len(images), images.device, images.shape[2:]
    kind = torch.rand(count, generator=chance)
    noise = torch.rand(count, 3, 5, 5, generator=chance)
    plain = kind > 0.7
    noise[plain] = noise[plain, :, :1, :1].expand(-1, -1, 5, 5) ** 2  # studios are dark more often than bright
    other = functional.interpolate(noise.to(device, images.dtype), (height, width), mode="bilinear")
    hair = (kind > 0.35) & (kind < 0.5)
    other[hair] = _hair(int(hair.sum()), height, width, chance).to(device)
    neighbour = kind < 0.35
    other[neighbour] = images.roll(1, 0)[neighbour]

    soft = functional.avg_pool2d(mask, 31, 1, 15, count_include_pad=False)  # 1 well inside, 1/2 at the border
    uneven = functional.interpolate(torch.randn(count, 1, 6, 6, generator=chance), (height, width), mode="bilinear")
    near = soft + 0.12 * uneven.to(device) < _uniform(count, 0.2, 0.65, chance).to(device)[:, None, None, None]
    exact = (torch.rand(count, generator=chance) < 0.5).to(device)[:, None, None, None]
    outside = torch.where(exact, mask <= 0, near)
    chosen = (torch.rand(count, generator=chance) < probability).to(device)[:, None, None, None]
    return torch.where(outside & chosen, other, images)


def _hair(count: int, height: int, width: int, chance: torch.Generator) -> Tensor:
    """(count, 3, height, width) of strands that run down the picture, from black to blond."""
    strands = functional.interpolate(
        torch.randn(count, 1, 4, width // 3, generator=chance), (height, width), mode="bilinear", align_corners=True
    )
    locks = functional.interpolate(torch.randn(count, 1, 4, 8, generator=chance), (height, width), mode="bilinear")
    brown = torch.tensor([1.0, 0.72, 0.5])[:, None, None] ** _uniform(count, 0, 1.5, chance)[:, None, None, None]
    level = 0.02 + 0.5 * _uniform(count, 0, 1, chance)[:, None, None, None] ** 2
    return (level * brown * torch.exp(0.35 * strands + 0.35 * locks)).clamp(0, 1)


def _some(count: int, probability: float, chance: torch.Generator) -> Tensor:
    """Which of ``count`` samples are chosen."""
    return torch.nonzero(torch.rand(count, generator=chance) < probability)[:, 0]


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
