"""The cross-modal network: the released architecture, its skips, and what a user may ask of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from fnbench.errors import FnbenchError, InvalidSettingError
from fnbench.models.crossmodal import CrossmodalEstimator, CrossModalNet
from fnbench.models.layers import unit
from fnbench.models.load import load_estimator


def small(seed: int = 0, **options) -> CrossModalNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CrossModalNet(4, **options)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def released_size() -> CrossModalNet:
    with torch.device("meta"):
        return CrossModalNet(normal_stem=True)


def test_parameter_counts_are_those_of_the_release(released_size):
    network = released_size
    stems = count(network.image_encoder.stem), count(network.normal_encoder.stem)

    assert stems == (38_720, 38_720)
    assert count(network.image_encoder) - stems[0] == 11_176_512
    assert count(network.normal_encoder) - stems[1] == 11_176_512
    assert count(network.skips) == 90_624
    assert count(network.normal_decoder) == 8_247_747
    assert count(network.image_decoder) == 4_498_819
    assert count(network) == 35_267_654


def test_image_to_normal_alone_needs_little_more_than_half():
    with torch.device("meta"):
        assert count(CrossModalNet(image_decoder=False, normal_encoder=False)) == 19_553_603


def test_features_and_decoder_have_the_sides_and_widths_of_the_figure():
    network = small().eval()
    seen: dict[str, tuple[int, ...]] = {}
    parts = {"latent": network.image_encoder.stage4, "project": network.normal_decoder.project}
    parts |= {f"up{level}": up for level, up in enumerate(network.normal_decoder.up)}
    for name, part in parts.items():
        part.register_forward_hook(lambda _module, _inputs, made, name=name: seen.update({name: tuple(made.shape[1:])}))

    out = network(noise(2, 3, 64, 96))

    assert seen == {
        "latent": (32, 2, 3),
        "project": (48, 2, 3),
        "up0": (40, 4, 6),
        "up1": (20, 8, 12),
        "up2": (20, 16, 24),
        "up3": (12, 32, 48),
    }
    assert out.normals.shape == out.images.shape == (2, 3, 64, 96)


def test_leaving_the_skips_out_is_merging_zeros_bit_for_bit():
    decoder = small().eval().normal_decoder
    latent = noise(2, 32, 2, 3)
    zeros = [torch.zeros(2, k, 4 * 2**n, 6 * 2**n) for n, k in enumerate((16, 8, 4, 4, 4))]

    assert torch.equal(decoder(latent), decoder(latent, zeros))


def test_image_mode_without_skips_is_normal_mode():
    network = small().eval()
    network.normal_encoder.load_state_dict(
        {k: v for k, v in network.image_encoder.state_dict().items() if not k.startswith("stem")}
    )
    x = noise(2, 3, 64, 64)

    silenced = network.image_to_normals(x, torch.zeros(2, dtype=torch.bool))

    assert torch.equal(silenced, network(normals=x).renormals)
    assert not torch.equal(silenced, network.image_to_normals(x))


def test_skips_can_be_dropped_per_image_and_per_level():
    network = small().eval()
    x = noise(3, 3, 32, 32)
    with_skips, without = network.image_to_normals(x), network.image_to_normals(x, torch.zeros(3, dtype=torch.bool))

    mixed = network.image_to_normals(x, torch.tensor([True, False, True]))
    levels = network.image_to_normals(x, torch.tensor([[True] * 5, [False] * 5, [True, True, True, True, False]]))

    assert torch.equal(mixed[[0, 2]], with_skips[[0, 2]])
    assert torch.equal(mixed[1], without[1])
    assert torch.equal(levels[:2], mixed[:2])
    assert not torch.equal(levels[2], with_skips[2])
    assert not torch.equal(levels[2], without[2])


@pytest.mark.parametrize("size", [(33, 32), (32, 48), (0, 32), (250, 250)])
@pytest.mark.parametrize("mode", ["images", "normals"])
def test_sides_that_are_no_multiple_of_32_are_refused_in_both_modes(mode, size):
    with pytest.raises(InvalidSettingError, match=f"{size[0]} x {size[1]} pixels: both sides must be multiples of 32"):
        small().eval()(**{mode: torch.zeros(1, 3, *size)})


@pytest.mark.parametrize("skips", ["deactivable", "ordinary", "none"])
def test_every_kind_of_skip_runs_both_inputs(skips):
    out = small(skips=skips).eval()(noise(2, 3, 32, 32), noise(3, 3, 32, 32, seed=1))

    assert out.normals.shape == out.images.shape == (2, 3, 32, 32)
    assert out.renormals.shape == (3, 3, 32, 32)


def test_ordinary_skips_reach_the_decoder_from_either_input():
    network = small(skips="ordinary").eval()
    x = noise(1, 3, 32, 32)
    before = network(normals=x).renormals
    with torch.no_grad():
        network.normal_encoder.stem[1].weight.mul_(-3)

    assert not torch.equal(before, network(normals=x).renormals)


def test_without_auto_encoding_there_is_one_path():
    out = small(image_decoder=False, normal_encoder=False).eval()(noise(1, 3, 32, 32), noise(1, 3, 32, 32))

    assert out.images is None
    assert out.renormals is None
    assert out.normals.shape == (1, 3, 32, 32)


def test_unknown_skips_and_impossible_width_are_refused():
    with pytest.raises(InvalidSettingError, match="'dense' are not known; choose deactivable, ordinary or none"):
        CrossModalNet(4, skips="dense")
    with pytest.raises(InvalidSettingError, match="Width 0"):
        CrossModalNet(0)


def test_one_batch_can_be_overfitted():
    """All three paths at once, from about 40 degrees to a few in sixty steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CrossModalNet(8)
    rows, columns = torch.meshgrid(torch.linspace(-0.7, 0.7, 32), torch.linspace(-0.7, 0.7, 32), indexing="ij")
    dome = torch.stack([columns, -rows, (1 - rows**2 - columns**2).clamp_min(0.02).sqrt()])
    normals = unit(torch.stack([dome, dome * torch.tensor([-1.0, 1, 1])[:, None, None]]))
    images = torch.stack([dome / 2 + 0.5, noise(3, 32, 32)])
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        out = network(images, normals)
        parts = [cosine_loss(out.normals, normals), cosine_loss(out.renormals, normals)]
        parts.append(functional.l1_loss(out.images, images))
        losses.append([part.item() for part in parts])
        sum(parts).backward()
        optimiser.step()
        optimiser.zero_grad()

    from_images, from_normals, image = np.transpose(losses)
    assert np.degrees(np.arccos(1 - from_images[-1])) < 8
    assert np.degrees(np.arccos(1 - from_normals[-1])) < 8
    assert image[-1] < 0.5 * image[0]


def cosine_loss(raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 1 - (unit(raw) * target).sum(1).mean()


def test_the_normal_path_never_touches_image_weights_or_skips():
    network = small()
    network(normals=noise(2, 3, 32, 32)).renormals.square().mean().backward()

    touched = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert touched == {"normal_encoder", "normal_decoder"}


def test_without_weights_the_estimator_says_that_it_is_untrained(monkeypatch, tmp_path):
    monkeypatch.setattr("fnbench.models.weights.packaged_weights", lambda model: None)
    with pytest.raises(FnbenchError, match=r"crossmodal is untrained.*--weights FILE.*--untrained"):
        load_estimator("crossmodal")


def test_untrained_weights_are_the_same_every_time_and_declared():
    images = np.random.default_rng(0).random((1, 40, 40, 3), dtype=np.float32)
    state = torch.get_rng_state()
    first, second = CrossmodalEstimator(untrained=True, width=4), CrossmodalEstimator(untrained=True, width=4)

    np.testing.assert_array_equal(first.predict(images), second.predict(images))
    assert torch.equal(state, torch.get_rng_state())
    assert first.provenance["untrained"] is True
    assert first.provenance["seed"] == 0
