"""Training: it learns, it repeats, it goes on exactly where it stopped, and it says what is wrong before it starts."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from fnbench.cli import main
from fnbench.errors import InvalidDataError, InvalidSettingError, InvalidWeightsError
from fnbench.estimator import NormalEstimator
from fnbench.metrics import angular_error
from fnbench.models.crossmodal import CrossmodalEstimator, CrossModalNet
from fnbench.models.weights import read_weights
from fnbench.store import Store
from fnbench.training import loop
from fnbench.training.cache import cached_pictures, cached_stores
from fnbench.training.data import Feeder, Sources, order
from fnbench.training.kinds import KINDS
from fnbench.training.networks import Trained, imagenet_encoders, network_of, trained_weights
from fnbench.training.recipe import Crops, Looks, Recipe, smoke, written
from fnbench.training.sources import divided
from tests.results import bumpy_sample, landmarks_of, with_sample
from tests.test_recipe import tiny

SIZE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shaded bumps of eight subjects: six to train on, two to validate."""
    path = tmp_path_factory.mktemp("data") / "bumps.h5"
    samples = []
    for k in range(8):
        sample = bumpy_sample(f"s{k:03d}/0", SIZE, seed=k, split="train" if k < 6 else "val")
        light = np.clip(sample.target.normals @ np.array([0.4, 0.5, 0.75], np.float32), 0, 1)
        picture = np.repeat((255 * light)[..., None], 3, axis=2).astype(np.uint8)
        samples.append(replace(sample, image=picture, landmarks=landmarks_of(SIZE)))
    with_sample(path, samples)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(3):
        noise = np.random.default_rng(k).integers(0, 256, (40 + 10 * k, 50, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"p{k}.png")
    Image.fromarray(noise[..., 0]).save(folder / "grey.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    (folder / "notes.txt").write_text("no picture")
    return folder


def still_recipe(**changes) -> Recipe:
    """Without augmentation, so that a small set can be learned by heart."""
    recipe = tiny(steps=70, batch={"paired": 6, "images": 0, "normals": 0}, network={"width": 8}, **changes)
    looks = Looks(*(0.0 for _ in range(11)))
    crop = Crops(size=SIZE, scale=(1.0, 1.0), shift=0.0, rotate=0.0, flip=0.0)
    check = replace(recipe.check, validate=0, log=0, save=0)
    optimiser = replace(recipe.optimiser, rate=3e-3, average=0.9)
    return replace(recipe, look=looks, crop=crop, check=check, optimiser=optimiser)


# What is learned


def test_a_few_samples_are_learned_by_heart(tmp_path, data):
    loop.train(still_recipe(), tmp_path / "run", data=[data], device="cpu")
    model: NormalEstimator = CrossmodalEstimator(tmp_path / "run" / "predict.safetensors", device="cpu")
    with Store(data) as store:
        found = []
        for index in store.indices("train"):
            target = store.target(index)
            answer = model.predict(store.image(index)[None].astype(np.float32) / 255)[0]
            found.append(angular_error(answer, target.normals)[target.mask].mean())
    assert np.mean(found) < 12.0  # untrained: about 90; the mean of all targets: about 30


def test_predict_weights_say_the_same_as_the_whole_network(tmp_path, data):
    loop.train(tiny(), tmp_path / "run", data=[data], device="cpu")
    whole, half = (read_weights(tmp_path / "run" / f"{name}.safetensors") for name in ("weights", "predict"))
    assert {name.partition(".")[0] for name in half.tensors} == {"image_encoder", "skips", "normal_decoder"}
    assert half.card.options == {**whole.card.options, "image_decoder": False, "normal_encoder": False}
    for name, tensor in half.tensors.items():
        torch.testing.assert_close(tensor, whole.tensors[name].float(), rtol=1e-3, atol=1e-3, check_dtype=False)
    assert whole.card.preprocessing == {"size": 64}
    assert "6 pairs of" in whole.card.training_data


def test_a_recipe_lets_its_weights_look_at_the_mirror_image_and_at_other_sizes_too(tmp_path):
    recipe = tiny(mirrored=True, scales=[1.0, 0.75])
    images = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    trained_weights(tmp_path, network_of(recipe).state_dict(), recipe, Trained("none", 0, float("nan")))

    model = CrossmodalEstimator(tmp_path / "predict.safetensors", device="cpu")

    assert model.provenance["preprocessing"]["mirrored"]
    assert model.preprocessing.scales == (1.0, 0.75)
    other_side = model.predict(np.ascontiguousarray(images[:, :, ::-1]))
    np.testing.assert_array_equal(other_side[:, :, ::-1] * np.float32([-1, 1, 1]), model.predict(images))


# Repeating and going on


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint.safetensors")


def _log(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _same(a: Path, b: Path) -> bool:
    first, second = _weights(a), _weights(b)
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_run_is_decided_by_its_seed(tmp_path, data):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        loop.train(tiny(seed=seed), tmp_path / name, data=[data], device="cpu")
    assert _same(tmp_path / "a", tmp_path / "b")
    assert not _same(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, data, pictures, monkeypatch, stop):
    recipe = tiny()
    more = {"data": [data], "normals": [data], "images": pictures, "device": "cpu"}
    loop.train(recipe, tmp_path / "whole", **more)
    update = loop._Run._update

    def interrupted(run):
        update(run)
        if run.step == stop - 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop._Run, "_update", interrupted)
    report = loop.train(recipe, tmp_path / "parts", **more)
    assert report.interrupted
    assert report.steps == stop
    monkeypatch.setattr(loop._Run, "_update", update)
    said: list[str] = []
    report = loop.train(recipe, tmp_path / "parts", **more, tell=said.append)
    assert not report.interrupted
    assert any("going on from step" in line for line in said)
    assert _same(tmp_path / "whole", tmp_path / "parts")
    logs = [_log(tmp_path / name) for name in ("whole", "parts")]
    times = {"images_per_second": ""}
    assert [{**row, **times} for row in logs[0]][-1] == [{**row, **times} for row in logs[1]][-1]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]


def test_the_first_losses_after_going_on_are_means_of_the_steps_since_then(tmp_path, data, monkeypatch):
    recipe = tiny(check={"log": 6, "validate": 0, "save": 0})
    loop.train(recipe, tmp_path / "whole", data=[data], device="cpu")
    update = loop._Run._update

    def interrupted(run):
        update(run)
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop._Run, "_update", interrupted)
    assert loop.train(recipe, tmp_path / "parts", data=[data], device="cpu").steps == 4
    monkeypatch.setattr(loop._Run, "_update", update)
    loop.train(recipe, tmp_path / "parts", data=[data], device="cpu")

    whole, parts = (float(_log(tmp_path / name)[0]["total"]) for name in ("whole", "parts"))
    assert whole / 1.5 < parts < 1.5 * whole


def test_another_recipe_or_other_data_do_not_go_on_in_the_same_folder(tmp_path, data):
    loop.train(tiny(), tmp_path / "run", data=[data], device="cpu")
    with pytest.raises(InvalidSettingError, match=r"another recipe \(there seed = 0; here seed = 1\).*--no-resume"):
        loop.train(tiny(seed=1), tmp_path / "run", data=[data], device="cpu")
    with pytest.raises(InvalidSettingError, match="another data"):
        loop.train(tiny(), tmp_path / "run", data=[data], normals=[data], device="cpu")
    report = loop.train(tiny(seed=1), tmp_path / "run", data=[data], device="cpu", resume=False)
    assert report.steps == 6


def test_a_damaged_checkpoint_is_named(tmp_path, data):
    loop.train(tiny(), tmp_path / "run", data=[data], device="cpu")
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InvalidWeightsError, match=r"damaged checkpoint.*--no-resume"):
        loop.train(tiny(), tmp_path / "run", data=[data], device="cpu")


@pytest.mark.slow
def test_two_processes_agree_on_the_weights(tmp_path, data):
    """Starts two interpreters that import torch."""
    (tmp_path / "recipe.toml").write_text(written(tiny()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1",
        f"--master-port={port}", "-m", "fnbench", "train", "recipe.toml", "--data", str(data), "--out", "run",
        "--device", "cpu",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "step 6/6" in done.stderr
    assert done.stdout.count("finished after 6 steps") == 1  # one report, not one of each process
    log = _log(tmp_path / "run")
    assert [row["step"] for row in log] == ["2", "3", "4", "6"]
    # Each process takes its share of the order: together they see what one with twice the batch sees.
    single = loop.train(
        tiny(batch={"paired": 4, "images": 1, "normals": 1}), tmp_path / "one", data=[data], device="cpu"
    )
    assert single.steps == 6
    first, second = _weights(tmp_path / "run"), _weights(tmp_path / "one")
    assert first.keys() == second.keys()


# Batches


def test_an_order_sees_everything_once_a_round_and_shares_come_together():
    assert sorted(order(7, 3, 0, 7)) == list(range(7))
    assert sorted(order(7, 3, 7, 7)) == list(range(7))
    assert list(order(7, 3, 0, 7)) != list(order(7, 3, 7, 7))
    whole = order(10, 1, 0, 30)
    parts = np.concatenate([order(10, 1, start, 3) for start in range(0, 30, 3)])
    np.testing.assert_array_equal(whole, parts)


def test_processes_take_disjoint_shares_of_a_round(tmp_path, data):
    cache = cached_stores([data], tmp_path, split="train", factor=1.2)
    source = Sources((cache, np.arange(len(cache))))
    cpu = torch.device("cpu")
    feeders = [Feeder(tiny(batch={"paired": 3}), source, cpu, rank, 2) for rank in range(2)]
    rows = [set(feeder._chosen(source.paired, 3, 0, 1)[1].tolist()) for feeder in feeders]
    assert rows[0] | rows[1] == set(range(6))
    assert not rows[0] & rows[1]


def test_a_batch_holds_unit_normals_that_belong_to_its_pictures(tmp_path, data):
    cache = cached_stores([data], tmp_path, split="train", factor=1.2)
    feeder = Feeder(still_recipe(), Sources((cache, np.arange(len(cache)))), torch.device("cpu"))
    batch = feeder.batch(0)
    length = torch.linalg.vector_norm(batch.normals, dim=1, keepdim=True)
    torch.testing.assert_close(length, batch.mask, atol=1e-3, rtol=0)
    light = (batch.normals * torch.tensor([0.4, 0.5, 0.75]).reshape(1, 3, 1, 1)).sum(1, keepdim=True).clamp(0, 1)
    assert ((light - batch.images[:, :1]).abs() * batch.mask).max() < 0.02


def test_a_share_of_the_pairs_leaves_whole_subjects_to_the_rest(tmp_path, data):
    cache = cached_stores([data], tmp_path, split="train", factor=1.2)
    half = tiny(batch={"paired": 2, "pairs": 0.5, "rest": "normals"})
    sources = divided(half, cache, None, None)
    kept = {cache.subjects[row] for row in sources.paired[1]}
    rest = {cache.subjects[row] for row in sources.normals[1]}
    assert len(kept) == len(rest) == 3
    assert not kept & rest
    assert sources.images is None
    with pytest.raises(InvalidSettingError, match=r"--normals is given too"):
        divided(half, cache, None, cache)


def test_broken_pictures_are_listed_or_stop(tmp_path, pictures):
    cache = cached_pictures(pictures, tmp_path / "cache", side=32, broken="skip")
    assert cache.ids == ("grey.png", "p0.png", "p1.png", "p2.png")
    assert cache.images.shape == (4, 32, 32, 3)
    assert len(cache.skipped) == 1
    assert "broken.jpg: not a whole picture" in cache.skipped[0]
    with pytest.raises(InvalidDataError, match=r'broken\.jpg.*broken = "skip"'):
        cached_pictures(pictures, tmp_path / "cache", side=32, broken="stop")


def test_files_of_two_sizes_and_empty_splits_are_refused(tmp_path, data):
    other = with_sample(tmp_path / "small.h5", [bumpy_sample("x/0", 32, split="train")]).path
    with pytest.raises(InvalidDataError, match=r"differ in size: .*bumps.h5 64x64, .*small.h5 32x32"):
        cached_stores([data, other], tmp_path, split="train", factor=1.2)
    with pytest.raises(InvalidDataError, match="no samples in the test split"):
        cached_stores([data], tmp_path, split="test", factor=1.2)
    with pytest.raises(InvalidDataError, match="differ in size"):
        loop.train(tiny(), tmp_path / "run", data=[data, other], device="cpu")
    assert not (tmp_path / "run").exists()


# Starting from other weights


def test_training_goes_on_from_weights_with_fewer_branches(tmp_path, data):
    loop.train(tiny(paths=["image-normal"]), tmp_path / "first", data=[data], device="cpu")
    start = tmp_path / "first" / "weights.safetensors"
    report = loop.train(tiny(), tmp_path / "second", data=[data], device="cpu", init=start)
    assert report.steps == 6
    with pytest.raises(InvalidWeightsError, match="wrong shape"):
        loop.train(tiny(network={"width": 8}), tmp_path / "third", data=[data], device="cpu", init=start)


def test_imagenet_weights_fill_both_encoders_of_the_full_width():
    network = CrossModalNet(64)
    names = [name for name in network.image_encoder.state_dict() if not name.startswith("stem")]
    chance = torch.Generator().manual_seed(0)
    source = {
        name.replace("stage", "layer"): torch.randn(network.image_encoder.state_dict()[name].shape, generator=chance)
        for name in names
    }
    filled = imagenet_encoders({**source, "fc.weight": torch.zeros(10, 512)}, network, "resnet18.pth")
    for branch in ("image_encoder", "normal_encoder"):
        assert torch.equal(filled[f"{branch}.stage3.0.conv1.weight"], source["layer3.0.conv1.weight"])
        assert torch.equal(filled[f"{branch}.conv1.weight"], source["conv1.weight"])
    with pytest.raises(InvalidWeightsError, match="width 64"):
        imagenet_encoders(source, CrossModalNet(8), "resnet18.pth")


# Memory


def test_a_batch_that_does_not_fit_is_taken_in_pieces(tmp_path, data, monkeypatch, caplog):
    kind = KINDS["crossmodal"]

    def small_memory(network, batch, recipe):
        if len(batch) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return kind.losses(network, batch, recipe)

    monkeypatch.setattr(loop, "kind_of", lambda recipe: replace(kind, losses=small_memory))
    recipe = tiny(batch={"paired": 4, "images": 0, "normals": 0})
    assert loop.train(recipe, tmp_path / "run", data=[data], device="cpu").steps == 6
    assert "going on with 4 pieces" in caplog.text


# The verb


def test_the_verb_runs_every_path_in_miniature(tmp_path, data, pictures):
    (tmp_path / "recipe.toml").write_text(written(replace(tiny(), steps=1000)))
    arguments = [
        "train", str(tmp_path / "recipe.toml"), "--data", str(data), "--normals", str(data), "--images", str(pictures),
        "--out", str(tmp_path / "run"), "--smoke", "--device", "cpu",
    ]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "finished after 4 steps; mean error in the validation split" in result.output
    assert "skipped" in result.output
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"recipe.toml", "log.csv", "weights.safetensors"}
    row = _log(tmp_path / "run")[-1]
    assert all(float(row[path]) > 0 for path in ("image-normal", "image-image", "normal-normal", "val_mean_img"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", "--data", "DATA"], "no such file, and no model of this name"),
        (["crossmodal", "--data", "missing.h5"], "missing.h5"),
        (["crossmodal", "--data", "DATA", "--images", "missing"], "missing: "),
        (["mean-face", "--data", "DATA"], "mean-face"),
    ],
)
def test_bad_input_of_the_verb_is_one_line(tmp_path, data, arguments, message):
    arguments = [str(data) if word == "DATA" else word for word in arguments]
    result = CliRunner().invoke(main, ["train", *arguments, "--out", str(tmp_path / "run"), "--smoke"])
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_miniature_keeps_what_the_recipe_trains():
    small = smoke(tiny(steps=5000))
    assert (small.model, small.network, small.paths) == ("crossmodal", {"width": 4}, tiny().paths)
    assert small.steps == 4
