"""The contract between a model and the benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fnbench.cli import main
from fnbench.errors import (
    FnbenchError,
    InvalidPredictionError,
    InvalidSettingError,
    InvalidStoreError,
    UnknownNameError,
)
from fnbench.estimator import NormalEstimator, model_input, predict, predictions, provenance
from fnbench.models.fit import fit
from fnbench.models.frontal import Frontal
from fnbench.models.load import load_estimator
from fnbench.models.mean_face import mean_normals
from fnbench.models.torch_estimator import Preprocessing, TorchEstimator
from fnbench.store import Store, write_samples
from tests.spheres import ATTRIBUTES, sphere_samples

IMAGES = np.random.default_rng(0).random((3, 8, 10, 3), dtype=np.float32)


class Returns:
    """A model that answers with whatever it was given."""

    name = "returns"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def predict(self, images: np.ndarray) -> object:
        return self.answer


class Brightness:
    """A model whose answer depends on each image, and that remembers its batches."""

    name = "brightness"

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def predict(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(images.shape)
        return images.copy()


def test_frontal_looks_at_the_viewer_everywhere():
    normals = Frontal().predict(IMAGES)

    assert normals.shape == IMAGES.shape
    assert normals.dtype == np.float32
    assert (normals == [0, 0, 1]).all()
    assert isinstance(Frontal(), NormalEstimator)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (IMAGES.tolist(), "returned builtins.list, expected a numpy array"),
        (IMAGES[:2], r"shape \(2, 8, 10, 3\), expected \(3, 8, 10, 3\)"),
        (np.moveaxis(IMAGES, -1, 1), "Move the channels last"),
        ((IMAGES * 255).astype(np.uint8), "uint8, expected float32"),
        (np.where(np.arange(3)[:, None, None, None] == 1, np.nan, IMAGES), "80 of 240 .* first in image 1"),
        (np.where(np.arange(3)[:, None, None, None] == 2, np.inf, IMAGES), "80 of 240 .* first in image 2"),
    ],
)
def test_an_answer_that_is_not_normals_is_named(answer, message):
    with pytest.raises(InvalidPredictionError, match=f"Model returns: .*{message}"):
        predict(Returns(answer), IMAGES)


def test_double_precision_is_accepted_and_narrowed():
    answer = predict(Returns(IMAGES.astype(np.float64)), IMAGES)

    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, IMAGES)


def test_batches_keep_order_and_never_mix_sizes():
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(8, 8)] * 5 + [(6, 9)] * 2 + [(8, 8)]]
    model = Brightness()

    answers = list(predictions(model, iter(images), batch=2))

    assert model.batches == [(2, 8, 8, 3), (2, 8, 8, 3), (1, 8, 8, 3), (2, 6, 9, 3), (1, 8, 8, 3)]
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_array_equal(answer, model_input(image))


def test_provenance_shows_what_nobody_stated():
    stated = provenance(Frontal())

    assert stated["name"] == "frontal"
    assert stated["entry_point"] == "fnbench.models.frontal:Frontal"
    assert stated["untrained"] is False
    assert stated["weights_sha256"] is None
    assert provenance(Returns(None))["training_data"] is None


# What all torch models share


class Colours(torch.nn.Module):
    """A network that answers with its input, and remembers what it saw."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.most = most
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:75] . DefaultCPUAllocator: can't allocate memory")
        self.seen.append(x)
        return x


def test_odd_sizes_are_padded_by_repeating_the_border_and_cut_again():
    network = Colours()
    images = np.random.default_rng(2).random((2, 40, 50, 3), dtype=np.float32) + 0.1

    normals = TorchEstimator("colours", network).predict(images)

    seen = network.seen[0]
    assert seen.shape == (2, 3, 64, 64)
    assert torch.equal(seen[..., 40:, :50], seen[..., 39:40, :50].expand(-1, -1, 24, -1))
    assert torch.equal(seen[..., 50:], seen[..., 49:50].expand(-1, -1, -1, 14))
    np.testing.assert_allclose(normals, images / np.linalg.norm(images, axis=-1, keepdims=True), atol=1e-6)


def test_a_network_sees_its_own_size_mean_and_deviation():
    network = Colours()
    wanted = Preprocessing(size=64, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    images = np.full((1, 100, 200, 3), 0.75, np.float32)

    normals = TorchEstimator("colours", network, preprocessing=wanted).predict(images)

    assert network.seen[0].shape == (1, 3, 32, 64)
    np.testing.assert_allclose(network.seen[0][0, :, 5, 5], [0.5, 0.5, 0.375], atol=1e-6)
    assert normals.shape == images.shape
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-6)


def test_resizing_keeps_directions_where_they_are():
    """A map of smoothly turning vectors, halved and doubled again, moves by less than a degree."""
    rows, columns = np.mgrid[0:128, 0:128] / 64 - 1
    directions = np.stack([0.5 * columns, -0.5 * rows, np.ones_like(rows)], -1)[None].astype(np.float32)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)

    normals = TorchEstimator("colours", Colours(), preprocessing=Preprocessing(size=64)).predict(directions)

    cosine = (normals * directions).sum(-1).clip(-1, 1)
    assert np.degrees(np.arccos(cosine)).max() < 1


class Sided(torch.nn.Module):
    """Raw vectors that depend on where a pixel is, as those of every network with a border do."""

    def forward(self, x):
        slope = torch.linspace(-1, 1, x.shape[-1])
        return torch.stack([x[:, 0] - 0.4 + 0.3 * slope, x[:, 1] - 0.5, 0.2 + x[:, 2]], 1)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 3), scale=st.sampled_from([0.5, 0.7, 0.75, 1.0]))
@settings(max_examples=20, deadline=None)
def test_a_mirrored_face_has_mirrored_normals_when_several_sizes_are_seen_too(seed, count, scale):
    images = np.random.default_rng(seed).random((count, 32, 64, 3), dtype=np.float32)
    both = TorchEstimator("sided", Sided(), preprocessing=Preprocessing(mirrored=True, scales=(1.0, scale)))
    other_side = both.predict(np.ascontiguousarray(images[:, :, ::-1]))
    np.testing.assert_array_equal(other_side[:, :, ::-1] * np.float32([-1, 1, 1]), both.predict(images))


@pytest.mark.parametrize("shape", [(64, 64), (50, 77), (96, 33)])
@pytest.mark.parametrize("scale", [0.3, 0.7, 0.75, 0.9])
def test_a_network_that_answers_pixel_by_pixel_says_the_same_at_every_size(shape, scale):
    """Colours that change slowly are the same colours in a smaller image, at the same places."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    images = np.stack([0.3 + 0.4 * x / shape[1], 0.3 + 0.4 * y / shape[0], np.full(shape, 0.9, np.float32)], -1)[None]
    plain, small = (
        TorchEstimator("colours", Colours(), preprocessing=Preprocessing(scales=scales)).predict(images)
        for scales in ((1.0,), (scale,))
    )
    both = TorchEstimator("colours", Colours(), preprocessing=Preprocessing(scales=(1.0, scale))).predict(images)
    inner = (slice(None), slice(6, -6), slice(6, -6))  # the last pixels are those of the border, repeated
    np.testing.assert_allclose(small[inner], plain[inner], atol=0.02)
    mean = plain + small
    np.testing.assert_allclose(both, mean / np.linalg.norm(mean, axis=-1, keepdims=True), atol=1e-5)


def test_a_smaller_face_is_seen_in_the_middle_with_its_border_repeated():
    seen = []

    class Kept(Colours):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    images = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    TorchEstimator("kept", Kept(), preprocessing=Preprocessing(scales=(0.5,))).predict(images)
    (framed,) = seen
    assert framed.shape == (1, 3, 64, 64)
    halved = torch.nn.functional.interpolate(
        torch.from_numpy(images).permute(0, 3, 1, 2), scale_factor=0.5, mode="bilinear"
    )
    torch.testing.assert_close(framed[..., 16:48, 16:48], halved)
    torch.testing.assert_close(framed[..., :16, 16:48], halved[..., :1, :].expand(-1, -1, 16, -1))


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_a_mirrored_face_has_mirrored_normals_when_the_weights_ask_for_it(seed, count):
    images = np.random.default_rng(seed).random((count, 32, 64, 3), dtype=np.float32)
    other_side = np.ascontiguousarray(images[:, :, ::-1])
    plain = TorchEstimator("sided", Sided())
    both = TorchEstimator("sided", Sided(), preprocessing=Preprocessing(mirrored=True))
    turned = np.float32([-1, 1, 1])

    np.testing.assert_array_equal(both.predict(other_side)[:, :, ::-1] * turned, both.predict(images))
    assert np.abs(plain.predict(other_side)[:, :, ::-1] * turned - plain.predict(images)).max() > 0.1
    mean = plain.predict(images) + plain.predict(other_side)[:, :, ::-1] * turned
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    np.testing.assert_allclose(both.predict(images), mean, atol=1e-5)


def test_vectors_without_direction_are_counted_and_stay_finite():
    estimator = TorchEstimator("colours", Colours())
    images = np.ones((1, 32, 32, 3), np.float32)
    images[0, :2, :5] = 0

    normals = estimator.predict(images)

    assert estimator.degenerate == 10
    assert np.isfinite(normals).all()
    assert (normals[0, :2, :5] == 0).all()


def test_out_of_memory_halves_the_batch_and_says_so(caplog):
    network = Colours(most=2)
    images = np.random.default_rng(3).random((7, 32, 32, 3), dtype=np.float32)

    normals = TorchEstimator("colours", network, device="cpu").predict(images)

    np.testing.assert_array_equal(normals, TorchEstimator("colours", Colours()).predict(images))
    assert max(len(batch) for batch in network.seen) == 2
    assert "out of memory with 7 images at once; going on with 3" in caplog.text


def test_out_of_memory_for_one_image_is_a_user_error():
    with pytest.raises(FnbenchError, match=r"colours: out of memory for one image of 32 x 64 pixels on cpu"):
        TorchEstimator("colours", Colours(most=0), device="cpu").predict(np.zeros((3, 32, 64, 3), np.float32))


def test_other_failures_of_a_network_keep_their_traceback():
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        TorchEstimator("broken", Broken()).predict(np.zeros((1, 32, 32, 3), np.float32))


def test_a_network_predicts_in_eval_mode_without_gradients():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5))
    estimator = TorchEstimator("norm", network)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    estimator.predict(np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32))

    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("device", ["tpu-of-mine", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(InvalidSettingError, match=f"Device '{device}' cannot be used here"):
        TorchEstimator("colours", Colours(), device=device)


@pytest.mark.parametrize("values", [{"multiple": 0}, {"size": 0}, {"std": (1.0, 0.0, 1.0)}])
def test_impossible_preprocessing_is_refused(values):
    with pytest.raises(InvalidSettingError, match="must be positive"):
        Preprocessing(**values)


# From a name to a model


def user_file(folder: Path, body: str) -> str:
    (folder / "mine.py").write_text(body)
    return f"{folder / 'mine.py'}:Mine"


def test_a_model_of_ones_own_comes_from_a_file(tmp_path):
    name = user_file(
        tmp_path,
        "class Mine:\n    name = 'mine'\n    def __init__(self, weights=None):\n        self.weights = weights\n"
        "    def predict(self, images):\n        return images\n",
    )

    assert load_estimator(name, device="cpu", untrained=True).name == "mine"
    assert load_estimator(name, weights=tmp_path / "w").weights == tmp_path / "w"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("class Mine:\n    name = 'mine'\n", "Mine has no predict"),
        ("class Mine:\n    pass\n", "Mine has no name and no predict"),
        ("class Mine:\n    def __init__(self, size): ...\n", "constructor needs more .*'size'.* Give every parameter"),
        ("Mine = 3\n", "is a int, expected a class"),
    ],
)
def test_what_is_no_model_is_explained(tmp_path, body, message):
    with pytest.raises(InvalidSettingError, match=message):
        load_estimator(user_file(tmp_path, body))


def test_weights_for_a_model_without_weights_are_refused(tmp_path):
    with pytest.raises(InvalidSettingError, match="Model frontal takes no weights file"):
        load_estimator("frontal", weights=tmp_path / "w")


# The mean face


@pytest.fixture
def spheres(tmp_path):
    return write_samples(tmp_path / "spheres.h5", sphere_samples(4, 64, split="train"), ATTRIBUTES)


def test_the_mean_of_one_shape_is_that_shape(spheres, tmp_path):
    result = CliRunner().invoke(main, ["fit", "mean-face", "--data", str(spheres), "--out", str(tmp_path / "w")])
    assert result.exit_code == 0, result.output
    model = load_estimator("mean-face", weights=tmp_path / "w")

    normals = model.predict(np.zeros((2, 64, 64, 3), np.float32))

    target = sphere_samples(1, 64)[0].target
    cosine = (normals[0] * target.normals).sum(-1)[target.mask].clip(-1, 1)
    assert np.degrees(np.arccos(cosine)).mean() < 1.0
    np.testing.assert_array_equal(normals[0], normals[1])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    assert model.provenance["training_data"] == "spheres, split train, 4 samples"


def test_pixels_that_no_mask_reaches_take_the_nearest_direction(spheres):
    normals, share = mean_normals(Store(spheres), side=64)

    assert share[0, 0] == 0
    assert share[32, 32] == 1
    assert normals[0, 0] @ normals[9, 9] > 0.9
    assert normals[0, 0, 0] < 0 < normals[0, 0, 1]


def test_the_mean_uses_only_its_split(tmp_path):
    turned = replace(sphere_samples(1)[0].target, normals=-sphere_samples(1)[0].target.normals)
    samples = [*sphere_samples(2, split="train"), *(replace(s, id="x", target=turned) for s in sphere_samples(1))]
    path = write_samples(tmp_path / "mixed.h5", samples, ATTRIBUTES)

    assert mean_normals(Store(path), side=32)[0][16, 16, 2] > 0.99
    with pytest.raises(InvalidStoreError, match="no samples in split 'val'"):
        mean_normals(Store(path), "val")


def test_mean_face_without_weights_says_how_to_make_them(monkeypatch):
    monkeypatch.setattr("fnbench.models.mean_face.packaged_weights", lambda model: None)
    with pytest.raises(InvalidSettingError, match="fnbench fit mean-face --data"):
        load_estimator("mean-face")


def test_only_some_models_are_fitted_in_one_pass(tmp_path):
    with pytest.raises(UnknownNameError, match="'frontal' is not fitted"):
        fit("frontal", tmp_path / "a", tmp_path / "b")
