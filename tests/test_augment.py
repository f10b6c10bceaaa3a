"""Augmentation: pixels move and vectors turn together, or not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fnbench.models.layers import unit
from fnbench.training.augment import (
    Placement,
    changed_looks,
    jittered,
    placed_images,
    placed_normals,
    still,
    turned,
)
from fnbench.training.recipe import Crops, Looks

SIZE = 64
WHOLE = torch.tensor([[0.0, 0.0, SIZE]])


def place(degrees: float = 0.0, mirrored: bool = False, scale: float = 1.0, shift=(0.0, 0.0)) -> Placement:
    centre = torch.tensor([[SIZE / 2, SIZE / 2]]) + torch.tensor([shift])
    return Placement(centre, torch.tensor([SIZE * scale]), torch.tensor([degrees]), torch.tensor([mirrored]))


def ellipsoid(yaw: float = 0.0, roll: float = 0.0, squeeze=(1.0, 0.6, 0.8), size: int = SIZE):
    """Normals and mask of an orthographic ellipsoid turned by yaw, then by roll (counter-clockwise as seen)."""
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    x, y = columns / size * 2.6 - 1.3, 1.3 - rows / size * 2.6
    a, b = np.radians(yaw), np.radians(roll)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]) @ turn
    shape = turn @ np.diag(1 / np.square(squeeze)) @ turn.T
    # Points (x, y, z) with p' shape p = 1; the nearer of the two.
    linear, constant = 2 * (shape[0, 2] * x + shape[1, 2] * y), 0
    constant = shape[0, 0] * x * x + 2 * shape[0, 1] * x * y + shape[1, 1] * y * y - 1
    inside = linear**2 - 4 * shape[2, 2] * constant
    mask = inside > 0
    z = (-linear + np.sqrt(np.where(mask, inside, 0))) / (2 * shape[2, 2])
    normals = np.einsum("ij,jhw->ihw", shape, np.stack([x, y, z]))
    normals = np.where(mask, normals / np.linalg.norm(normals, axis=0), 0)
    return torch.tensor(normals[None], dtype=torch.float32), torch.tensor(mask[None, None], dtype=torch.float32)


def degrees_between(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    error = torch.atan2(torch.linalg.vector_norm(torch.linalg.cross(a, b, dim=1), dim=1), (a * b).sum(1))
    return torch.rad2deg(error)[mask[:, 0] > 0]


def test_nothing_changed_is_the_identity():
    normals, mask = ellipsoid(yaw=30)
    again, kept = placed_normals(normals, mask, still(WHOLE), SIZE)
    picture = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

    assert torch.equal(kept, mask)
    torch.testing.assert_close(again, normals, atol=1e-5, rtol=0)
    torch.testing.assert_close(placed_images(picture, still(WHOLE), SIZE), picture, atol=1e-5, rtol=0)


def test_mirrored_twice_is_the_identity():
    normals, mask = ellipsoid(yaw=30)
    once, kept = placed_normals(normals, mask, place(mirrored=True), SIZE)
    twice, kept = placed_normals(once, kept, place(mirrored=True), SIZE)

    assert torch.equal(kept, mask)
    torch.testing.assert_close(twice, normals, atol=1e-5, rtol=0)


def test_turned_by_90_degrees_four_times_is_the_identity():
    normals, mask = ellipsoid(yaw=30)
    picture = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    map_, kept, turning = normals, mask, picture
    for _ in range(4):
        map_, kept = placed_normals(map_, kept, place(degrees=90), SIZE)
        turning = placed_images(turning, place(degrees=90), SIZE)

    assert torch.equal(kept, mask)
    torch.testing.assert_close(map_, normals, atol=1e-4, rtol=0)
    torch.testing.assert_close(turning, picture, atol=1e-4, rtol=0)


def test_a_quarter_turn_is_counter_clockwise_as_seen():
    picture = torch.zeros(1, 1, SIZE, SIZE)
    picture[..., 20:30, 50:60] = 1  # right of the centre, a little above

    seen = placed_images(picture, place(degrees=90), SIZE)[0, 0].gt(0.5).nonzero().float().mean(0)

    np.testing.assert_allclose(seen, [8.5, 24.5], atol=0.1)  # row near the top, column left of the centre


@settings(max_examples=25, deadline=None)
@given(st.floats(-60, 60), st.floats(-60, 60))
def test_mirroring_a_rendered_shape_is_rendering_the_mirrored_shape(yaw, roll):
    normals, mask = ellipsoid(yaw, roll)
    expected, expected_mask = ellipsoid(-yaw, -roll)

    mirrored, kept = placed_normals(normals, mask, place(mirrored=True), SIZE)

    both = kept * expected_mask
    assert both.sum() > 0.97 * mask.sum()
    assert degrees_between(mirrored, expected, both).max() < 0.1


@settings(max_examples=25, deadline=None)
@given(st.floats(-60, 60), st.floats(-90, 90))
def test_rotating_a_rendered_shape_is_rendering_the_rotated_shape(yaw, degrees):
    normals, mask = ellipsoid(yaw)
    expected, expected_mask = ellipsoid(yaw, roll=degrees)

    rotated, kept = placed_normals(normals, mask, place(degrees=degrees), SIZE)

    both = kept * expected_mask
    assert both.sum() > 0.85 * mask.sum()
    assert degrees_between(rotated, expected, both).mean() < 0.5  # bilinear filtering of 64 pixels


@settings(max_examples=25, deadline=None)
@given(st.floats(-180, 180), st.booleans(), st.floats(0.5, 2.0), st.integers(0, 2**31))
def test_lengths_and_angles_between_vectors_survive(degrees, mirrored, scale, seed):
    vectors = unit(torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)))
    moved = turned(vectors, place(degrees, mirrored, scale))

    torch.testing.assert_close(torch.linalg.vector_norm(moved, dim=1), torch.ones(1, 5, 5), atol=1e-5, rtol=0)
    flat, flat_moved = vectors.reshape(3, -1), moved.reshape(3, -1)
    torch.testing.assert_close(flat_moved.T @ flat_moved, flat.T @ flat, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[:, 2], vectors[:, 2])


@settings(max_examples=25, deadline=None)
@given(st.floats(-40, 40), st.booleans(), st.floats(0.6, 1.6), st.integers(-12, 12), st.integers(-12, 12))
def test_no_pixel_mixes_a_face_with_what_is_outside(degrees, mirrored, scale, dx, dy):
    """A constant normal stays that normal, turned, wherever the mask says that it counts."""
    _, mask = ellipsoid()
    tilted = unit(torch.tensor([0.6, 0.2, 0.7]).reshape(1, 3, 1, 1))
    where = place(degrees, mirrored, scale, (dx, dy))

    moved, kept = placed_normals(tilted * mask, mask, where, SIZE)

    inside = kept[:, 0] > 0
    expected = turned(tilted, where).reshape(3)
    torch.testing.assert_close(
        moved.permute(0, 2, 3, 1)[inside], expected.expand(int(inside.sum()), 3), atol=1e-3, rtol=0
    )
    assert (moved.permute(0, 2, 3, 1)[~inside] == 0).all()


def test_picture_and_normals_move_together():
    """A picture whose colours are the normals stays the picture of its normals."""
    normals, mask = ellipsoid(yaw=20)
    where = place(25, False, 0.7, (4, -6))

    moved, kept = placed_normals(normals, mask, where, SIZE)
    colours = placed_images(normals, where, SIZE)

    both = kept * (kept > 0)
    assert degrees_between(turned(unit(colours), where), moved, both).max() < 0.2


def test_scaling_keeps_directions():
    normals, mask = ellipsoid(yaw=20)
    moved, kept = placed_normals(normals, mask, place(scale=0.5), 2 * SIZE)
    reference, reference_mask = ellipsoid(yaw=20, size=4 * SIZE)
    middle = slice(SIZE, 3 * SIZE)

    both = kept * reference_mask[..., middle, middle]
    assert degrees_between(moved, reference[..., middle, middle], both).mean() < 0.3


def test_jitter_stays_within_its_bounds_and_repeats_with_its_seed():
    crop = Crops(scale=(0.9, 1.2), shift=0.1, rotate=12.0, flip=0.5)
    boxes = torch.tensor([[10.0, 20.0, 100.0]]).expand(500, 3)

    first = jittered(boxes, crop, torch.Generator().manual_seed(1))
    second = jittered(boxes, crop, torch.Generator().manual_seed(1))

    assert torch.equal(first.centre, second.centre)
    assert 90 <= first.side.min() < 93 < 117 < first.side.max() <= 120
    assert (first.centre - torch.tensor([60.0, 70.0])).abs().max() <= 0.1 * 120
    assert -12 <= first.degrees.min() < -10 < 10 < first.degrees.max() <= 12
    assert 0.4 < first.mirrored.float().mean() < 0.6


STILL = Looks(gain=0, tint=0, gamma=0, contrast=0, saturation=0, grey=0, blur=0, noise=0, coarse=0, occlude=0)


@pytest.mark.parametrize(
    "look", [Looks(), Looks(background=1.0, occlude=1.0, coarse=1.0, noise=0.2, relit=1.0, pattern=1.0)]
)
def test_looks_stay_pictures_repeat_with_their_seed_and_differ_between_images(look):
    images = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    normals, mask = (tensor.expand(6, -1, -1, -1) for tensor in ellipsoid())

    first = changed_looks(images, normals, mask, look, torch.Generator().manual_seed(3))
    second = changed_looks(images, normals, mask, look, torch.Generator().manual_seed(3))

    assert torch.equal(first, second)
    assert first.min() >= 0
    assert first.max() <= 1
    assert first.isfinite().all()
    change = (first - images).mean((1, 2, 3))
    assert len(change.unique()) == 6


def test_looks_switched_off_change_nothing():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05

    changed = changed_looks(images, None, None, STILL, torch.Generator())

    torch.testing.assert_close(changed, images, atol=1e-6, rtol=0)


def test_another_background_leaves_the_face_alone_or_covers_its_border_as_hair_does():
    images = torch.rand(32, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(32, 1, 64, 64)
    mask[..., 8:56, 8:56] = 1

    changed = changed_looks(images, None, mask, replace(STILL, background=1), torch.Generator().manual_seed(1))

    same = ((changed - images).abs() < 1e-3).all(1)
    whole = (same == (mask[:, 0] > 0)).all(2).all(1)
    assert 8 <= whole.sum() <= 24  # the exact border, half of the time
    assert same[:, 24:40, 24:40].float().mean() > 0.95  # the middle of the face is hardly ever covered
    assert not same[~whole].flatten(1).all(1).any()


def lit(normals: torch.Tensor, light: tuple[float, float, float]) -> torch.Tensor:
    """(N, 3, H, W) picture of a grey surface under one light and as much light from everywhere."""
    facing = torch.einsum("c,nchw->nhw", torch.tensor(light), normals).clamp_min(0)
    return (0.5 * (0.3 + 0.7 * facing))[:, None].expand(-1, 3, -1, -1).sqrt()


def test_another_light_takes_out_the_one_that_was_there():
    normals, mask = ellipsoid()
    left, right = lit(normals, (-0.8, 0.0, 0.6)), lit(normals, (0.8, 0.0, 0.6))

    inside = mask.expand_as(left) > 0
    before = (left - right)[inside].abs().mean()
    for seed in range(5):
        first, second = (
            changed_looks(image, normals, mask, replace(STILL, relit=1), torch.Generator().manual_seed(seed))
            for image in (left, right)
        )
        assert (first - second)[inside].abs().mean() < 0.5 * before


def test_another_light_goes_on_beyond_the_mask_without_an_edge():
    normals, _ = ellipsoid()
    mask = (normals[:, 2:] > 0.7).float().expand(8, -1, -1, -1)
    grey = torch.full((8, 3, SIZE, SIZE), 0.5)

    changed = changed_looks(grey, normals * mask, mask, replace(STILL, relit=1), torch.Generator().manual_seed(0))

    border = (mask.diff(dim=3) != 0).expand(-1, 3, -1, -1)
    stopped = torch.where(mask > 0, changed, grey)  # what it would look like if the new light ended with the mask
    assert changed.diff(dim=3).abs()[border].mean() < 0.3 * stopped.diff(dim=3).abs()[border].mean()


def test_a_pattern_changes_skin_smoothly():
    grey = torch.full((8, 3, SIZE, SIZE), 0.5)

    changed = changed_looks(grey, None, None, replace(STILL, pattern=1), torch.Generator().manual_seed(0))

    assert changed.flatten(1).std(1).min() > 0.02
    assert changed.diff(dim=3).abs().mean() < 0.2 * changed.flatten(1).std(1).mean()
