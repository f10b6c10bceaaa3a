"""The classical rival: tangent planes, derivatives, and what a fit recovers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fnbench.errors import InvalidSettingError
from fnbench.metrics import angular_error
from fnbench.models.mean_face import MeanFace, fit_mean_face
from fnbench.models.shading import Shading, bent, fit_shading, flattened, harmonic_slopes, harmonics, tangents
from fnbench.render.sensor import encode
from fnbench.store import Store, write_samples
from fnbench.types import NormalMap
from tests.spheres import ATTRIBUTES, sphere_sample


def directions(count: int, seed: int = 0) -> np.ndarray:
    n = np.random.default_rng(seed).normal(size=(count, 3)) + [0, 0, 1.5]
    return n / np.linalg.norm(n, axis=1, keepdims=True)


def test_the_tangent_plane_is_left_and_entered_without_loss():
    mean, normals = directions(200), directions(200, seed=1)
    across = tangents(mean)

    np.testing.assert_allclose(bent(mean, across, flattened(mean, across, normals))[0], normals, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(flattened(mean, across, normals), axis=0),
                               np.radians(angular_error(normals, mean)), atol=1e-9)  # fmt: skip


def test_derivatives_are_those_of_differences():
    mean = directions(50)
    across, flat, step = tangents(mean), np.random.default_rng(2).normal(0, 0.3, (2, 50)), 1e-6
    for axis in (0, 1):
        moved = flat.copy()
        moved[axis] += step
        difference = (bent(mean, across, moved)[0] - bent(mean, across, flat)[0]) / step
        np.testing.assert_allclose(bent(mean, across, flat)[1][..., axis], difference, atol=1e-5)
    for axis in range(3):
        difference = (harmonics(mean + step * np.eye(3)[axis]) - harmonics(mean)) / step
        np.testing.assert_allclose(harmonic_slopes(mean)[..., axis], difference, atol=1e-4)


def dome(tilt: float, light: np.ndarray, name: str, split: str):
    """A smooth bump that leans sideways by ``tilt``, of one albedo, under one light."""
    base = sphere_sample(name, 64, seed=0, split=split)
    rows, columns = (np.mgrid[0:64, 0:64] + 0.5) / 64 - 0.5
    normals = np.stack([1.6 * columns + tilt * (0.3 - rows**2), -1.2 * rows, np.ones_like(rows)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    brightness = 0.2 + 0.5 * np.clip(normals @ light, 0, None)
    image = encode(np.repeat(brightness[..., None], 3, -1).astype(np.float32))
    mask = np.ones((64, 64), bool)
    return replace(base, image=image, target=NormalMap(normals.astype(np.float32), mask))


@pytest.fixture(scope="module")
def domes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domes")
    rng = np.random.default_rng(0)
    tilts = [*rng.uniform(-1.5, 1.5, 20), -1.2, 1.2]
    samples = []
    for index, tilt in enumerate(tilts):
        light = np.array([rng.uniform(-0.6, 0.6), rng.uniform(0, 0.6), 1.0])
        split = "train" if index < 20 else "test"
        samples.append(dome(tilt, light / np.linalg.norm(light), f"d{index:02d}/0", split))
    write_samples(folder / "domes.h5", samples, ATTRIBUTES)
    fit_shading(folder / "domes.h5", folder / "shading.safetensors", components=4)
    fit_mean_face(folder / "domes.h5", folder / "mean.safetensors")
    return folder


def test_brightness_tells_more_than_the_mean(domes):
    store = Store(domes / "domes.h5")
    shading, mean = Shading(domes / "shading.safetensors"), MeanFace(domes / "mean.safetensors")
    for index in store.indices("test"):
        image = store.image(index)[None].astype(np.float32) / 255
        truth = store.target(index).normals
        fitted, floor = (angular_error(model.predict(image)[0], truth).mean() for model in (shading, mean))
        assert fitted < 0.7 * floor, (fitted, floor)  # most of the way; how far depends on the light


def test_the_weights_are_small_and_say_where_they_are_from(domes):
    assert (domes / "shading.safetensors").stat().st_size < 2e6
    assert Shading(domes / "shading.safetensors").provenance["training_data"].endswith("20 samples")


def test_without_statistics_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr("fnbench.models.shading.packaged_weights", lambda name: None)
    with pytest.raises(InvalidSettingError, match="fnbench fit shading --data"):
        Shading()
