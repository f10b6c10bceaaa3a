"""Evaluation end to end on spheres: known errors, invariance, breakdowns, and refusals before anything is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.cli import main
from fnbench.errors import InvalidDataError, InvalidPredictionError, InvalidSettingError, UnknownNameError
from fnbench.evaluate import evaluate, scope
from fnbench.metrics import angular_error
from fnbench.protocol import EDGE_BINS, FACING_BINS, partition_labels, protocol_named
from fnbench.record import read_record, write_record
from fnbench.types import REGIONS, NormalMap
from tests.results import Turned, landmarks_of, sphere_result, sphere_store, with_sample
from tests.spheres import sphere_sample


class Frontal:
    """(0, 0, 1) everywhere."""

    name = "frontal"

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.broadcast_to(np.float32([0, 0, 1]), images.shape).copy()


@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_pixels_are_in_the_bins_of_their_angle_and_their_distance(seed: int, orthographic: bool) -> None:
    """Against numpy on the view directions: the loop that finds the bins repeats them operation by operation."""
    rng = np.random.default_rng(seed)
    height, width = 61, 47
    K = np.array([[rng.uniform(20, 90), rng.normal(), rng.uniform(10, 40)], [0, rng.uniform(20, 90), 25], [0, 0, 1]])
    view = Camera(K, np.eye(4), width, height, orthographic)
    target = rng.normal(size=(height, width, 3)).astype(np.float32)
    target /= np.linalg.norm(target, axis=-1, keepdims=True)
    mask, region = rng.random((height, width)) < 0.8, rng.integers(0, 8, (height, width)).astype(np.uint8)
    distance = rng.integers(1, 14, mask.shape).astype(np.int32)
    labels, facing, edge = partition_labels(target, mask, distance, region, view)
    angles = angular_error(target[mask], view.view_directions(mask))
    np.testing.assert_array_equal(facing, np.digitize(angles, FACING_BINS[1:-1]))
    np.testing.assert_array_equal(edge, np.digitize(distance[mask], EDGE_BINS[1:-1], right=True))
    np.testing.assert_array_equal(labels, region[mask])


def test_a_model_that_errs_by_ten_degrees_scores_ten_degrees(tmp_path: Path) -> None:
    with sphere_store(tmp_path / "s.h5") as store:
        result = evaluate(Turned(10.0), store)
    for family in ("px", "img", "sub"):
        assert result.metrics[f"mean_{family}"] == pytest.approx(10, abs=0.01)  # stored normals are octahedral
        assert result.metrics[f"acc@11.25_{family}"] == 100
        assert result.metrics[f"acc@7.5_{family}"] == 0
    assert result.counts["images"] == result.counts["images_in_split"] == 6
    assert result.coverage == {"images": 1, "pixels": 1}


def test_the_constant_normal_on_a_sphere_has_the_closed_form_error(tmp_path: Path) -> None:
    """The error at radius r is arcsin(r); its mean over the disc is 45 degrees."""
    with sphere_store(tmp_path / "s.h5", 1, 1, size=256) as store:
        result = evaluate(Frontal(), store)
    assert result.metrics["mean_px"] == pytest.approx(45, abs=0.2)
    assert result.metrics["median_px"] == pytest.approx(np.degrees(np.arcsin(np.sqrt(0.5))), abs=0.3)
    facing = {row["bin"]: row for row in result.breakdowns if row["breakdown"] == "facing angle"}
    for low, high in ((0, 15), (15, 30), (75, 90)):
        row = facing[f"{low}-{high}°"]
        assert low <= row["metrics"]["mean_px"] <= high
        share = np.sin(np.radians(high)) ** 2 - np.sin(np.radians(low)) ** 2
        assert row["pixels"] / result.counts["pixels"] == pytest.approx(share, abs=0.02)
    assert facing["90-180°"]["pixels"] == 0
    assert facing["90-180°"]["metrics"] == {}


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_fm54_the_result_does_not_depend_on_the_batch_size(tmp_path: Path, batch: int) -> None:
    with sphere_store(tmp_path / "s.h5", 7, 1) as store:
        reference = evaluate(Turned(10, 0.5), store, batch=3)
        result = evaluate(Turned(10, 0.5), store, batch=batch)
    assert result.metrics == reference.metrics
    assert result.breakdowns == reference.breakdowns
    assert result.samples is not None
    assert (result.samples["total"] == reference.samples["total"]).all()


def test_parts_recombine_to_the_whole(tmp_path: Path) -> None:
    result = sphere_result(tmp_path)
    for breakdown in ("region", "facing angle", "distance to mask edge", "yaw", "expression"):
        rows = [row for row in result.breakdowns if row["breakdown"] == breakdown]
        filled = [row for row in rows if row["pixels"]]
        assert sum(row["pixels"] for row in rows) == result.counts["pixels"], breakdown
        for name in ("mean_px", "acc@20_px"):
            whole = sum(row["pixels"] * row["metrics"][name] for row in filled) / result.counts["pixels"]
            assert whole == pytest.approx(result.metrics[name], abs=1e-9), breakdown
    assert {row["bin"] for row in result.breakdowns if row["breakdown"] == "region"} == set(REGIONS)
    assert all(row["intervals"] for row in result.breakdowns if row["pixels"] and row["subjects"] >= 10)


def test_mask_sensitivity_is_reported_with_pixels_that_shrink(tmp_path: Path) -> None:
    everywhere = np.ones((32, 32), np.uint8)
    with sphere_store(tmp_path / "s.h5", 12, 1, landmarks=landmarks_of(32, 1.6), region=everywhere) as store:
        result = evaluate(Frontal(), store)
    rows = {row["bin"]: row for row in result.breakdowns if row["breakdown"] == "mask sensitivity"}
    assert set(rows) == {"mask full", "mask face", "mask hull68", "eroded 1 px", "eroded 2 px", "eroded 4 px"}
    pixels = [rows[name]["pixels"] for name in ("mask face", "eroded 1 px", "eroded 2 px", "eroded 4 px")]
    assert pixels == sorted(pixels, reverse=True)
    means = [rows[name]["metrics"]["mean_px"] for name in ("mask face", "eroded 1 px", "eroded 2 px", "eroded 4 px")]
    assert means == sorted(means, reverse=True)  # the constant normal is worst at the rim
    assert rows["mask face"]["metrics"]["mean_px"] == pytest.approx(result.metrics["mean_px"], abs=1e-9)
    assert rows["mask full"]["pixels"] > rows["mask hull68"]["pixels"] > 0


def test_the_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    result = sphere_result(tmp_path)
    back = read_record(write_record(result, tmp_path / "run"))
    assert back.metrics == result.metrics
    assert back.intervals == result.intervals
    assert back.identity == result.identity
    assert back.samples is not None
    assert list(back.samples["total"]) == list(result.samples["total"])
    assert back.subject_values() == result.subject_values()
    assert back.provenance["settings"]["batch"] == 8


def test_intervals_come_with_ten_subjects_and_a_reason_without(tmp_path: Path) -> None:
    assert set(sphere_result(tmp_path, subjects=12).intervals) >= {"mean_px", "mean_img", "mean_sub", "median_px"}
    few = sphere_result(tmp_path, subjects=4)
    assert few.intervals == {}
    assert few.interval_note == "no interval: 4 subjects, at least 10 are needed"
    assert any(finding.code == "FM-55" for finding in few.findings)


def test_an_interval_holds_its_own_number(tmp_path: Path) -> None:
    result = sphere_result(tmp_path)
    for name, (low, high) in result.intervals.items():
        if not name.startswith("std"):
            assert low - 0.3 <= result.metrics[name] <= high + 0.3, name


def test_limit_marks_the_result_partial(tmp_path: Path) -> None:
    with sphere_store(tmp_path / "s.h5") as store:
        result = evaluate(Frontal(), store, limit=2)
    assert result.partial
    assert (result.counts["images"], result.counts["images_in_split"]) == (2, 6)
    assert any(finding.code == "FM-50" for finding in result.findings)


def test_excluded_samples_stand_in_the_record_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    with sphere_store(tmp_path / "s.h5") as store:
        result = evaluate(Frontal(), store, exclude=["s001/0"])
        assert result.partial
        assert result.provenance["settings"]["excluded"] == ["s001/0"]
        with pytest.raises(InvalidSettingError, match="excluded ids nobody are not in this split"):
            evaluate(Frontal(), store, exclude=["nobody"])


def test_an_absent_split_names_those_that_exist(tmp_path: Path) -> None:
    with sphere_store(tmp_path / "s.h5") as store, pytest.raises(InvalidSettingError, match=r"no samples.*test \(6\)"):
        evaluate(Frontal(), store, split="val")


def test_face_2020_wants_256_pixels_landmarks_and_the_crop(tmp_path: Path) -> None:
    with sphere_store(tmp_path / "a.h5", 1, 1) as store, pytest.raises(InvalidDataError, match="32x32.*256x256"):
        evaluate(Frontal(), store, protocol="face-2020")
    unknown = np.full((68, 2), np.nan, np.float32)
    with (
        sphere_store(tmp_path / "b.h5", 1, 1, 256, landmarks=unknown) as store,
        pytest.raises(InvalidDataError, match="no 68 landmarks"),
    ):
        evaluate(Frontal(), store, protocol="face-2020")
    with (
        sphere_store(tmp_path / "c.h5", 1, 1, 256, landmarks=landmarks_of(256, 1.6)) as store,
        pytest.raises(InvalidDataError, match=r"crop factor 1\.60, face-2020 needs 1\.2"),
    ):
        evaluate(Frontal(), store, protocol="face-2020")
    with sphere_store(tmp_path / "d.h5", 1, 1, 256, landmarks=landmarks_of(256)) as store:
        result = evaluate(Frontal(), store, protocol="face-2020")
        full = evaluate(Frontal(), store)
    assert result.mask == "hull68"
    # The hull is a disc of radius 256 / 2.4 inside the sphere's 102.4: it cuts nothing, so the whole disc is left.
    assert result.counts["pixels"] <= full.counts["pixels"] * 1.2


def test_unknown_protocols_get_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean face-2020"):
        protocol_named("face2020")


def test_a_model_that_returns_the_wrong_shape_or_nan_is_named(tmp_path: Path) -> None:
    class Wrong(Frontal):
        def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.moveaxis(super().predict(images), -1, 1)

    class Broken(Frontal):
        def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            out = super().predict(images)
            out[:, 3, 3] = np.nan
            return out

    with sphere_store(tmp_path / "s.h5") as store:
        with pytest.raises(InvalidPredictionError, match="Move the channels last"):
            evaluate(Wrong(), store)
        with pytest.raises(InvalidPredictionError, match="NaN or infinite"):
            evaluate(Broken(), store)


def test_a_model_that_returns_codes_is_told_how_to_decode(tmp_path: Path) -> None:
    class Coded(Turned):
        def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            return (super().predict(images) + 1) / 2

    with sphere_store(tmp_path / "s.h5") as store, pytest.raises(InvalidPredictionError, match=r"left in \[0, 1\]"):
        evaluate(Coded(), store)


def test_fm56_a_nondeterministic_model_is_marked(tmp_path: Path) -> None:
    class Random(Turned):
        rng = np.random.default_rng(0)

        def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            noisy = super().predict(images) + self.rng.normal(0, 0.1, images.shape)
            return (noisy / np.linalg.norm(noisy, axis=-1, keepdims=True)).astype(np.float32)

    with sphere_store(tmp_path / "s.h5") as store:
        codes = [finding.code for finding in evaluate(Random(), store).findings]
        assert "FM-56" in codes
        assert "FM-56" not in [finding.code for finding in evaluate(Turned(), store).findings]


def test_fm24_an_empty_mask_is_refused_by_name_and_excluded_by_name(tmp_path: Path) -> None:
    good = sphere_sample("a/0")
    empty = sphere_sample("b/0", target=NormalMap(np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), bool)))
    with with_sample(tmp_path / "s.h5", [good, empty]) as store:
        with pytest.raises(InvalidDataError, match=r"1 of 2 samples have an empty mask: b/0.*--exclude") as caught:
            evaluate(Frontal(), store)
        assert caught.value.code == "FM-24"
        result = evaluate(Frontal(), store, exclude=["b/0"])
    assert result.counts["images"] == 1
    assert result.partial


def test_samples_are_scored_in_the_order_of_their_ids(tmp_path: Path) -> None:
    samples = [sphere_sample(name, seed=seed) for seed, name in enumerate(["c/0", "a/0", "b/0"])]
    with with_sample(tmp_path / "s.h5", samples) as store:
        assert [store.ids[i] for i in scope(store, protocol_named("fnbench-1")).indices] == ["a/0", "b/0", "c/0"]


def test_the_score_is_that_of_the_stored_normals(tmp_path: Path) -> None:
    with sphere_store(tmp_path / "s.h5", 1, 1) as store:
        target = store.target(0)
        region = store.region(0)
        result = evaluate(Turned(25.0), store)
        inside = target.mask & (region > 0)
    predicted = Turned(25.0).predict(np.zeros((1, 32, 32, 3), np.float32))[0]
    expected = angular_error(predicted, target.normals)[inside]
    assert result.counts["pixels"] == inside.sum()
    assert result.metrics["mean_px"] == pytest.approx(expected.mean(), abs=1e-6)


def test_the_verb_writes_a_record_and_prints_every_family(tmp_path: Path) -> None:
    sphere_store(tmp_path / "s.h5", 12, 1).close()
    run = CliRunner().invoke(
        main, ["eval", "--model", "frontal", "--data", str(tmp_path / "s.h5"), "--out", str(tmp_path / "run")]
    )
    assert run.exit_code == 0, run.output
    assert "pooled _px" in run.output
    assert "coverage 100.0% of images" in run.output
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["frontal.json", "frontal.samples.parquet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "frontl"], "Did you mean frontal"),
        (["--model", "frontal", "--split", "val"], "no samples"),
        (["--model", "frontal", "--protocol", "face-2021"], "Did you mean face-2020"),
        (["--model", "frontal", "--batch-size", "0"], "batch is 0"),
    ],
)
def test_user_errors_are_one_line_and_leave_nothing_behind(tmp_path: Path, arguments: list[str], message: str) -> None:
    sphere_store(tmp_path / "s.h5", 2, 1).close()
    run = CliRunner().invoke(
        main, ["eval", "--data", str(tmp_path / "s.h5"), "--out", str(tmp_path / "run"), *arguments]
    )
    assert run.exit_code == 2
    assert message in run.output
    assert not (tmp_path / "run").exists()
