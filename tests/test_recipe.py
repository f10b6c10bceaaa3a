"""Recipes check themselves; losses see the mask and nothing else."""

from __future__ import annotations

import pytest
import torch

from fnbench.errors import InvalidSettingError
from fnbench.models.layers import unit
from fnbench.training.losses import DIRECTION_LOSSES, ROUNDED, chord_loss, difference_loss, masked_mean
from fnbench.training.recipe import DIRECTIONS, Recipe, read_recipe, recipe_from, written

TINY = {
    "name": "tiny",
    "model": "crossmodal",
    "steps": 6,
    "network": {"width": 4},
    "batch": {"paired": 2, "images": 1, "normals": 1},
    "crop": {"size": 64},
    "optimiser": {"rate": 0.002, "average": 0.5},
    "check": {"log": 2, "validate": 3, "save": 3, "samples": 2},
}


def tiny(**changes) -> Recipe:
    return recipe_from({**TINY, **changes})


def test_a_recipe_comes_back_from_its_own_text():
    recipe = tiny(paths=["image-normal", "normal-normal"], seed=3)
    import tomllib

    assert recipe_from(tomllib.loads(written(recipe))) == recipe
    assert recipe.network == {"width": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 3}, r"unknown key 'stepz'. Did you mean steps\?"),
        ({"batch": {"pairedd": 3}}, r"\[batch\]: unknown key 'pairedd'. Did you mean paired"),
        ({"steps": "many"}, "steps is 'many', expected a whole number like 100000"),
        ({"steps": True}, "steps is True, expected a whole number"),
        ({"crop": {"scale": 3}}, r"scale is 3, expected a list like \[0.8, 1.4\]"),
        ({"crop": 3}, r"crop is 3, expected a table \[crop\]"),
        ({"crop": {"size": 100}}, "crop.size 100, expected a multiple of 32"),
        ({"crop": {"scale": [1.2, 0.8]}}, "crop.scale"),
        ({"paths": ["image-depth"]}, r"paths \['image-depth'\], expected some of image-normal"),
        ({"paths": []}, "no path to train"),
        ({"batch": {"paired": 0, "images": 0, "normals": 0}}, "an empty batch"),
        ({"batch": {"pairs": 0.0}}, "batch.pairs 0.0, expected a share"),
        ({"batch": {"rest": "keep"}}, "batch.rest 'keep', expected normals, images, drop"),
        ({"model": "prn", "scales": [1.0, 0.75]}, "scales is for networks that answer pixel by pixel"),
        ({"scales": [1.5]}, r"scales \[1.5\], expected shares above 0"),
        ({"scales": []}, "scales"),
        ({"model": "prn", "mirrored": True}, "mirrored is for networks that answer pixel by pixel"),
        ({"loss": {"direction": "angle"}}, "loss.direction 'angle'"),
        ({"loss": {"reduction": "sum"}}, "loss.reduction 'sum'"),
        ({"optimiser": {"precision": "int8"}}, "optimiser.precision 'int8'"),
        ({"steps": 0}, "steps 0"),
    ],
)
def test_a_wrong_recipe_is_explained(change, message):
    with pytest.raises(InvalidSettingError, match=message):
        tiny(**change)


def test_recipes_are_found_by_file_and_refused_otherwise(tmp_path):
    (tmp_path / "r.toml").write_text(written(tiny()))
    (tmp_path / "bad.toml").write_text("name = [")

    assert read_recipe(tmp_path / "r.toml") == tiny()
    assert read_recipe("crossmodal").model == "crossmodal"
    with pytest.raises(InvalidSettingError, match="no such file, and no model of this name"):
        read_recipe("nothing.toml")
    with pytest.raises(InvalidSettingError, match="not a TOML file"):
        read_recipe(tmp_path / "bad.toml")
    with pytest.raises(InvalidSettingError, match="'model' is missing"):
        recipe_from({"name": "x"})


# Losses


@pytest.mark.parametrize("direction_loss", DIRECTION_LOSSES.values(), ids=DIRECTION_LOSSES.keys())
def test_an_image_without_a_mask_contributes_nothing(direction_loss):
    raw = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = unit(torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    mask = torch.ones(3, 1, 8, 8)
    mask[1] = 0

    loss = direction_loss(raw, target, mask)
    loss.backward()

    torch.testing.assert_close(loss, direction_loss(raw[[0, 2]], target[[0, 2]], mask[[0, 2]]))
    assert (raw.grad[1] == 0).all()
    assert direction_loss(raw, target, torch.zeros_like(mask)) == 0


@pytest.mark.parametrize("direction_loss", DIRECTION_LOSSES.values(), ids=DIRECTION_LOSSES.keys())
def test_whatever_stands_outside_the_mask_does_not_matter(direction_loss):
    raw = torch.zeros(1, 3, 2, 2)
    raw[:, :, 0] = torch.tensor([0.0, 0.0, 3.0])[None, :, None]
    raw[:, :, 1] = torch.inf
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    mask = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).reshape(1, 1, 2, 2)
    raw.requires_grad_()

    loss = direction_loss(raw, target, mask)

    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_every_loss_that_a_recipe_may_name_exists():
    assert tuple(DIRECTION_LOSSES) == DIRECTIONS


def test_the_chord_loss_grows_like_the_angle_and_has_a_gradient_everywhere():
    degrees = torch.tensor([0.0, 5.0, 10.0, 60.0, 180.0])
    angle = torch.deg2rad(degrees).reshape(-1, 1, 1, 1)
    raw = torch.cat([angle.sin(), torch.zeros_like(angle), angle.cos()], 1).requires_grad_()
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand_as(raw)

    found = torch.stack([chord_loss(raw[k : k + 1], target[k : k + 1], torch.ones(1, 1, 1, 1)) for k in range(5)])
    found.sum().backward()

    expected = 2 * torch.sin(torch.deg2rad(degrees) / 2)
    torch.testing.assert_close(found.detach(), expected, atol=ROUNDED, rtol=0)
    assert found[0] == 0
    assert torch.isfinite(raw.grad).all()


def test_means_are_per_image_unless_pooled():
    values = torch.stack([torch.ones(1, 4, 4), torch.full((1, 4, 4), 3.0)])
    mask = torch.ones(2, 1, 4, 4)
    mask[1, :, 1:] = 0

    assert masked_mean(values, mask, "image") == 2
    assert masked_mean(values, mask, "pixel") == pytest.approx((16 + 12) / 20)
    assert difference_loss(values, values + 2, mask) == 2
