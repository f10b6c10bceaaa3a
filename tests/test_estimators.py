"""The contract between a model and the benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from fnbench.errors import InvalidPredictionError
from fnbench.estimator import NormalEstimator, model_input, predict, predictions, provenance
from fnbench.models.frontal import Frontal

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
