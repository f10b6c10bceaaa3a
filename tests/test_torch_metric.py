"""The accumulator for torch loops: the bits of the numpy metric, on one process or several."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import distributed, multiprocessing

from fnbench.errors import InvalidDataError
from fnbench.metrics import errors, gradient_error, summary, tally
from fnbench.quantiles import ErrorPool
from fnbench.torch_metric import NormalMetric, _fixed_errors

IMAGES = 7  # does not divide by two, and a sampler fills up with a repetition
SIZE = 24

Map = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def image(seed: int) -> Map:
    """A noisy prediction with pixels that have no direction, its target, and a mask with holes."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(SIZE, SIZE, 3))
    target /= np.linalg.norm(target, axis=-1, keepdims=True)
    predicted = target + rng.normal(0, rng.uniform(0.05, 2), target.shape)
    predicted /= np.linalg.norm(predicted, axis=-1, keepdims=True)
    predicted[3, seed], predicted[5, seed], predicted[7, seed] = np.nan, 0, [1.2, 0, 0]
    predicted[9, seed], predicted[11, seed] = -target[9, seed], target[11, seed]
    mask = rng.random((SIZE, SIZE)) < 0.9
    mask[3:12, seed] = True
    target[~mask] = 0
    return predicted.astype(np.float32), target.astype(np.float32), mask


def subject(number: int) -> str:
    return f"s{number % 3}"


def numpy_numbers(maps: list[Map]) -> dict[str, float]:
    found = [errors(*one) for one in maps]
    tallies = [tally(one, gradient_error(*pair)) for one, pair in zip(found, maps, strict=True)]
    with ErrorPool() as pool:
        for one in found:
            pool.add(one.fixed)
        return summary(tallies, [subject(i) for i in range(len(maps))], pool.quantiles())


def add(metric: NormalMetric, numbers: list[int], *, named: bool = True) -> None:
    """Update with these images as one batch."""
    predicted, target, mask = (np.stack(part) for part in zip(*map(image, numbers), strict=True))
    vectors = [torch.from_numpy(part).movedim(-1, 1) for part in (predicted, target)]
    ids = [f"p{i}" for i in numbers] if named else None
    metric.update(*vectors, torch.from_numpy(mask)[:, None], ids=ids, subjects=[subject(i) for i in numbers])


@pytest.mark.parametrize("batches", [[[0, 1, 2, 3, 4, 5, 6]], [[6, 0], [3], [1, 2, 5, 4]], [[i] for i in range(7)]])
def test_any_batches_give_the_bits_of_the_numpy_metric(batches: list[list[int]]) -> None:
    metric = NormalMetric()
    for batch in batches:
        add(metric, batch)
    assert metric.compute() == numpy_numbers([image(i) for i in range(IMAGES)])


@settings(max_examples=100)
@given(st.lists(st.floats(-2, 2, width=32), min_size=6, max_size=6))
def test_every_angle_is_rounded_alike(values: list[float]) -> None:
    p, t = np.float32(values[:3]), np.float32(values[3:])
    length = np.linalg.norm(t.astype(np.float64))
    if length < 1e-3:
        return
    t = (t / length).astype(np.float32)
    expected = errors(p.reshape(1, 1, 3), t.reshape(1, 1, 3), np.ones((1, 1), bool)).fixed
    assert _fixed_errors(torch.from_numpy(p).double(), torch.from_numpy(t).double()).item() == expected[0]


def test_a_repeated_image_counts_once_and_only_when_it_has_a_name() -> None:
    metric = NormalMetric()
    add(metric, [0, 1])
    add(metric, [1, 0, 1])
    assert metric.compute() == numpy_numbers([image(0), image(1)])
    metric.reset()
    add(metric, [0, 0], named=False)
    whole = metric.compute()
    metric.reset()
    add(metric, [0])
    assert whole["acc@20_px"] == metric.compute()["acc@20_px"]


def test_repetitions_are_left_out_of_what_was_spilled_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnbench.torch_metric.ErrorPool", lambda: ErrorPool(memory=500))
    metric = NormalMetric()
    for batch in ([0, 1], [1], [2, 0]):
        add(metric, batch)
    assert metric.compute() == numpy_numbers([image(i) for i in range(3)])


def test_without_subjects_there_is_no_subject_family() -> None:
    metric = NormalMetric()
    predicted, target, mask = image(0)
    metric.update(
        *(torch.from_numpy(v).movedim(-1, 0)[None] for v in (predicted, target)), torch.from_numpy(mask)[None]
    )
    assert not any(name.endswith("_sub") for name in metric.compute())


def test_what_does_not_fit_is_refused() -> None:
    metric, ones = NormalMetric(), torch.ones(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"predicted \(2, 3, 4, 4\), target \(2, 3, 4, 4\) and mask \(2, 3, 4, 4\)"):
        metric.update(ones, ones, ones)
    with pytest.raises(ValueError, match="1 ids for 2 images"):
        metric.update(ones, ones, ones[:, 0], ids=["a"])
    with pytest.raises(InvalidDataError, match="16 of 16 target normals inside the mask"):
        metric.update(ones, ones, ones[:, 0])
    with pytest.raises(ValueError, match="no images"):
        NormalMetric().compute()


def share(rank: int, world: int, folder: str) -> None:
    """One process of a distributed run: every other image, the last share filled up as a sampler does."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    metric = NormalMetric()
    for number in [i % IMAGES for i in range(rank, world * -(-IMAGES // world), world)]:
        add(metric, [number])
    Path(folder, f"{rank}.json").write_text(json.dumps(metric.compute()))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_fm53_repetitions_of_a_distributed_sampler_count_once(tmp_path: Path) -> None:
    """Two processes over gloo, as DistributedDataParallel has them; starting Python and torch twice takes the time."""
    multiprocessing.spawn(share, (2, str(tmp_path)), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    expected = numpy_numbers([image(i) for i in range(IMAGES)])
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == expected
