"""What every built-in model promises, and every model added later."""

from __future__ import annotations

import numpy as np
import pytest

from fnbench import registry
from fnbench.catalog import folder
from fnbench.errors import FnbenchError
from fnbench.estimator import NormalEstimator, predict, provenance
from fnbench.models.load import load_estimator
from fnbench.models.weights import packaged_weights
from fnbench.store import write_samples
from tests.spheres import ATTRIBUTES, sphere_samples

NAMES = sorted(registry.MODELS)


@pytest.fixture(scope="session")
def estimators(tmp_path_factory):
    """Every built-in model by name: with its packaged weights, fitted, or with declared random weights."""
    made: dict[str, NormalEstimator] = {}

    def estimator(name: str) -> NormalEstimator:
        if name not in made:
            made[name] = construct(name, tmp_path_factory)
        return made[name]

    return estimator


def construct(name: str, tmp_path_factory) -> NormalEstimator:
    from fnbench.models.fit import FITS, fit

    if packaged_weights(name) is None and name in FITS:
        data, out = (tmp_path_factory.mktemp(name) / file for file in ("spheres.h5", "w.safetensors"))
        write_samples(data, sphere_samples(3, split="train"), ATTRIBUTES)
        fit(name, data, out)
        return load_estimator(name, weights=out)
    try:
        return load_estimator(name, device="cpu")
    except FnbenchError as error:
        if "--untrained" not in str(error):
            raise
    return load_estimator(name, device="cpu", untrained=True)


def faces(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth pictures; noise alone would hide a lost row or column."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    waves = rng.uniform(1, 9, (count, 3, 2, 1, 1))
    pictures = np.sin(waves[:, :, 0] * rows + waves[:, :, 1] * columns) / 2 + 0.5
    return np.moveaxis(pictures, 1, -1).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_an_estimator_under_its_name_with_a_card(name, estimators):
    estimator = estimators(name)

    assert isinstance(estimator, NormalEstimator)
    assert estimator.name == name
    assert (folder("baselines") / name / "MODEL_CARD.md").is_file()
    stated = provenance(estimator)
    assert stated["licence"] or stated["untrained"], "a trained model states the licence of its weights"
    assert stated["training_data"], "a model states what it was trained on, or none"
    assert isinstance(stated["untrained"], bool)


@pytest.mark.parametrize("size", [(32, 32), (45, 61), (20, 70)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_gets_a_unit_normal_at_any_size(name, size, estimators):
    normals = predict(estimators(name), faces(2, *size))

    assert normals.shape == (2, *size, 3)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_do_not_influence_each_other(name, estimators):
    images = faces(3, 32, 32)
    together = predict(estimators(name), images)
    alone = np.concatenate([predict(estimators(name), image[None]) for image in images])

    np.testing.assert_allclose(together, alone, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_image_gives_the_same_normals_and_is_left_alone(name, estimators):
    images = faces(1, 32, 32)
    kept = images.copy()

    first, second = predict(estimators(name), images), predict(estimators(name), images)

    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(images, kept)
    first[:] = 0  # the answer belongs to the caller
    np.testing.assert_array_equal(predict(estimators(name), images), second)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_gives_an_empty_answer(name, estimators):
    assert predict(estimators(name), np.zeros((0, 32, 32, 3), np.float32)).shape == (0, 32, 32, 3)
