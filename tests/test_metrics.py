"""The metric: closed forms, exactness, and agreement with independent implementations."""

from __future__ import annotations

from fractions import Fraction
from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnbench import metrics
from fnbench.errors import InvalidDataError
from fnbench.metrics import UNIT, angular_error, errors, gradient_error, image_metrics, summary, tally
from fnbench.quantiles import ErrorPool, exact_quantiles

RESOLUTION = 1 / UNIT


def unit_vectors(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    vectors = rng.normal(size=(*shape, 3))
    vectors[..., 2] = np.abs(vectors[..., 2])
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def noisy_pair(
    seed: int, height: int = 60, width: int = 50, noise: float = 0.2
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """A predicted and a target map, and an irregular mask."""
    rng = np.random.default_rng(seed)
    target = unit_vectors(rng, height, width)
    predicted = target + rng.normal(size=target.shape).astype(np.float32) * np.float32(noise)
    predicted /= np.linalg.norm(predicted, axis=-1, keepdims=True)
    return predicted, target, rng.random((height, width)) < rng.uniform(0.2, 0.9)


def reference_error(predicted: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    p, t = predicted.astype(np.float64), target.astype(np.float64)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(p, t), axis=-1), (p * t).sum(-1)))


@pytest.mark.parametrize("degrees", [0, 1e-6, 0.01, 0.5, 11.25, 22.5, 30, 45, 67.5, 90, 112.5, 135, 179.9, 180])
def test_rotating_a_normal_by_an_angle_gives_that_angle(degrees: float) -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(1000, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    tangent = np.cross(normal, rng.normal(size=(1000, 3)))
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    angle = np.radians(degrees)
    rotated = np.cos(angle) * normal + np.sin(angle) * tangent

    np.testing.assert_allclose(angular_error(rotated, normal), degrees, atol=1e-12)


def test_identical_maps_score_exactly_zero() -> None:
    predicted, _, mask = noisy_pair(0)
    found = errors(predicted, predicted, mask)
    assert not found.fixed.any()
    numbers = image_metrics(tally(found, gradient_error(predicted, predicted, mask)))
    assert all(numbers[name] == 0 for name in ("mean", "median", "rmse", "std", "q99", "grad_l1"))
    assert all(value == 100 for name, value in numbers.items() if name.startswith(("acc", "auc")))


def test_opposite_normals_are_exactly_180_degrees_apart_and_perpendicular_ones_90() -> None:
    predicted, _, _ = noisy_pair(1)
    assert (angular_error(predicted, -predicted) == 180).all()
    assert angular_error(np.array([0.0, 3.0, 0.0]), np.array([0.0, 0.0, 0.5])) == 90


def test_flipping_all_axes_turns_an_error_into_its_supplement() -> None:
    predicted, target, _ = noisy_pair(2)
    np.testing.assert_allclose(angular_error(-predicted, target), 180 - angular_error(predicted, target), atol=1e-12)
    flip_x, flip_yz = np.array([-1, 1, 1], np.float32), np.array([1, -1, -1], np.float32)
    np.testing.assert_allclose(
        angular_error(predicted * flip_yz, target), 180 - angular_error(predicted * flip_x, target), atol=1e-12
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_the_polynomial_agrees_with_the_library_s_atan2(values: list[float]) -> None:
    first, second = np.array(values[:3]), np.array(values[3:])
    if min(np.linalg.norm(first), np.linalg.norm(second)) < 0.02:
        return
    expected = np.degrees(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second))
    assert abs(angular_error(first, second) - expected) < 1e-10


def test_lengths_do_not_matter_and_float32_is_widened_first() -> None:
    predicted, target, _ = noisy_pair(3)
    np.testing.assert_allclose(
        angular_error(predicted.astype(np.float64) * 7, target), angular_error(predicted, target), atol=1e-12
    )
    tiny = np.array([1e-5, 0, 1], np.float32)  # arccos in float32 would answer 0
    assert angular_error(tiny, np.array([0, 0, 1], np.float32)) == pytest.approx(np.degrees(1e-5), rel=1e-4)


def test_fixed_errors_are_the_float_errors_rounded_down() -> None:
    predicted, target, mask = noisy_pair(4)
    gap = angular_error(predicted, target)[mask] - errors(predicted, target, mask).degrees
    assert gap.min() >= 0
    assert gap.max() < RESOLUTION


def test_a_threshold_is_strict() -> None:
    fixed = np.array([20 * UNIT - 1, 20 * UNIT, 20 * UNIT + 1], np.int32)
    assert image_metrics(tally(metrics.Errors(fixed)))["acc@20"] == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("value", "counter"),
    [
        ([np.nan, 0, 1], "nonfinite"),
        ([0, np.inf, 0], "nonfinite"),
        ([0, 0, 0], "zero"),
        ([0.004, 0.004, 0.004], "zero"),
    ],
)
def test_a_vector_without_direction_counts_180_degrees_and_is_counted(value: list[float], counter: str) -> None:
    predicted, target, mask = noisy_pair(5)
    row, column = np.argwhere(mask)[7]
    predicted[row, column] = value
    found = errors(predicted, target, mask)
    assert found.fixed[7] == 180 * UNIT
    assert getattr(found, counter) == 1
    assert found.nonfinite + found.zero == 1
    assert found.off_unit == 0


def test_lengths_away_from_one_are_counted() -> None:
    predicted, target, mask = noisy_pair(6)
    predicted[0] *= 0.9
    predicted[1] *= 1.04
    predicted[2] *= 1.2
    assert errors(predicted, target, mask).off_unit == mask[[0, 2]].sum()


@pytest.mark.parametrize("value", [[0, 0, 0], [np.nan, 0, 1], [0, 0, 1.01]])
def test_a_target_that_is_no_unit_normal_is_a_fault_of_the_dataset(value: list[float]) -> None:
    predicted, target, mask = noisy_pair(7)
    row, column = np.argwhere(mask)[0]
    target[row, column] = value
    with pytest.raises(InvalidDataError, match=r"^1 of \d+ target normals inside the mask"):
        errors(predicted, target, mask)


def test_shapes_must_fit() -> None:
    predicted, target, mask = noisy_pair(8)
    with pytest.raises(ValueError, match=r"predicted \(59, 50, 3\), target \(60, 50, 3\) and mask \(60, 50\)"):
        errors(predicted[1:], target, mask)
    with pytest.raises(ValueError, match=r"expected vectors \(\.\.\., 3\)"):
        angular_error(np.zeros((3, 2)), np.zeros((3, 2)))


def test_the_numbers_of_one_image_against_numpy() -> None:
    predicted, target, mask = noisy_pair(9)
    numbers = image_metrics(tally(errors(predicted, target, mask), gradient_error(predicted, target, mask)))
    e = reference_error(predicted, target)[mask]
    expected = {"mean": e.mean(), "rmse": np.sqrt((e**2).mean()), "std": e.std()}
    expected |= {name: np.quantile(e, share) for name, share in metrics.QUANTILES.items()}
    expected |= {f"acc@{t:g}": 100 * (e < t).mean() for t in metrics.THRESHOLDS}
    expected |= {f"auc{t}": 100 * np.maximum(0, 1 - e / t).mean() for t in metrics.AUC_LIMITS}
    p, t = (
        v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=-1, keepdims=True) for v in (predicted, target)
    )
    across = np.linalg.norm(np.diff(p - t, axis=1)[:-1], axis=-1)
    down = np.linalg.norm(np.diff(p - t, axis=0)[:, :-1], axis=-1)
    support = mask[:-1, :-1] & mask[1:, :-1] & mask[:-1, 1:] & mask[1:, 1:]
    expected["grad_l1"] = (across + down)[support].mean()
    assert set(numbers) == set(metrics.IMAGE_METRICS) == set(expected)
    for name, value in expected.items():
        assert numbers[name] == pytest.approx(value, abs=1e-6), name


def test_area_under_the_cumulative_curve_is_what_its_closed_form_says() -> None:
    predicted, target, mask = noisy_pair(10)
    found = errors(predicted, target, mask)
    numbers = image_metrics(tally(found))
    steps = np.linspace(0, 30, 30001)
    curve = np.searchsorted(np.sort(found.degrees), steps, side="left") / len(found.fixed)
    assert numbers["auc30"] == pytest.approx(100 * np.trapezoid(curve, steps) / 30, abs=1e-2)


def test_the_gradient_error_sees_detail_that_the_mean_angle_does_not() -> None:
    rng = np.random.default_rng(11)
    target = unit_vectors(rng, 40, 40)
    target[..., :2] *= 0.3
    target /= np.linalg.norm(target, axis=-1, keepdims=True)
    mask = np.ones((40, 40), bool)
    smooth = np.broadcast_to(np.float32([0, 0, 1]), target.shape)
    tilt = np.radians(10)
    turn = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]], np.float32)
    turned = target @ turn.T
    gradient = [
        count_total[1] / count_total[0] for count_total in (gradient_error(p, target, mask) for p in (smooth, turned))
    ]
    assert gradient[0] > 3 * gradient[1]


def test_an_unknown_prediction_never_improves_the_gradient_error() -> None:
    predicted, target, mask = noisy_pair(12)
    before = gradient_error(predicted, target, mask)
    predicted[:, 20:] = np.nan
    after = gradient_error(predicted, target, mask)
    assert after[0] == before[0]
    assert after[1] > before[1]


def test_three_families_by_hand() -> None:
    """Two subjects, three images, errors chosen so that every family answers differently."""
    images = [[10.0, 10.0, 10.0, 10.0], [20.0, 40.0], [60.0]]
    subjects = ["anna", "anna", "ben"]
    tallies = [tally(metrics.Errors((np.array(e) * UNIT).astype(np.int32))) for e in images]
    pool = np.concatenate(images)
    numbers = summary(tallies, subjects, exact_quantiles(lambda: [(pool * UNIT).astype(np.int32)]))
    assert numbers["mean_px"] == pytest.approx(pool.mean())
    assert numbers["median_px"] == 10
    assert numbers["std_px"] == pytest.approx(pool.std())
    assert numbers["acc@20_px"] == pytest.approx(400 / 7)
    assert numbers["mean_img"] == pytest.approx((10 + 30 + 60) / 3)
    assert numbers["std_img"] == pytest.approx(np.std([10, 30, 60]))
    assert numbers["median_img"] == pytest.approx((10 + 30 + 60) / 3)
    assert numbers["rmse_img"] == pytest.approx((10 + np.sqrt(1000) + 60) / 3)
    assert numbers["acc@30_img"] == pytest.approx((100 + 50 + 0) / 3)
    assert numbers["mean_sub"] == pytest.approx((20 + 60) / 2)
    assert numbers["std_sub"] == pytest.approx(20)
    assert numbers["acc@30_sub"] == pytest.approx((75 + 0) / 2)


def test_pooled_and_per_image_rankings_can_disagree() -> None:
    """The reason why a bare mean does not exist: profile faces have small masks."""

    def numbers(frontal: float, profile: float) -> dict[str, float]:
        maps = [np.full(20000, frontal)] * 30 + [np.full(4000, profile)] * 10
        tallies = [tally(metrics.Errors((e * UNIT).astype(np.int32))) for e in maps]
        quantiles = exact_quantiles(lambda: [(np.concatenate(maps) * UNIT).astype(np.int32)])
        return summary(tallies, [str(i) for i in range(40)], quantiles)

    a, b = numbers(10, 25), numbers(11.4, 16)
    assert a["mean_px"] < b["mean_px"]
    assert a["mean_img"] > b["mean_img"]


def dsine(maps: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]) -> dict[str, float]:
    """The eight numbers of DSINE from their definition: every valid pixel of every image in one vector."""
    e = np.concatenate([reference_error(p, t)[m] for p, t, m in maps])
    shares = {f"acc@{t:g}_px": float(100 * np.count_nonzero(e < t) / e.size) for t in (5, 7.5, 11.25, 22.5, 30)}
    return {"mean_px": e.mean(), "median_px": np.median(e), "rmse_px": np.sqrt(np.mean(e * e)), **shares}


def marigold(maps: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]) -> dict[str, float]:
    """Marigold's numbers from their definition: mean and shares of each image, averaged over images."""
    per_image = [reference_error(p, t)[m] for p, t, m in maps]
    shares = {
        f"acc@{t:g}_img": float(np.mean([100 * np.mean(e < t) for e in per_image])) for t in (5, 7.5, 11.25, 22.5, 30)
    }
    return {"mean_img": float(np.mean([e.mean() for e in per_image])), **shares}


def our_numbers(maps: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]) -> dict[str, float]:
    found = [errors(*one) for one in maps]
    tallies = [tally(one, gradient_error(*pair)) for one, pair in zip(found, maps, strict=True)]
    with ErrorPool() as pool:
        for one in found:
            pool.add(one.fixed)
        return summary(tallies, [f"s{i % 3}" for i in range(len(maps))], pool.quantiles())


@pytest.mark.parametrize("second", [dsine, marigold])
def test_agreement_with_second_implementations(second) -> None:  # type: ignore[no-untyped-def]
    maps = [noisy_pair(seed, noise=0.05 + 0.1 * seed) for seed in range(7)]
    ours = our_numbers(maps)
    for name, value in second(maps).items():
        assert ours[name] == pytest.approx(value, abs=1e-6), name


def test_the_order_of_the_images_changes_no_bit() -> None:
    maps = [noisy_pair(seed) for seed in range(9)]
    found = [errors(*one) for one in maps]
    tallies = [tally(one, gradient_error(*pair)) for one, pair in zip(found, maps, strict=True)]
    subjects = [f"s{i % 4}" for i in range(9)]
    results = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(9)
        with ErrorPool(memory=2000) as pool:
            for index in order:
                pool.add(found[index].fixed)
            quantiles = pool.quantiles()
        results.append(summary([tallies[i] for i in order], [subjects[i] for i in order], quantiles))
    assert all(result == results[0] for result in results)


def test_sums_are_exact_integers() -> None:
    fixed = np.random.default_rng(3).integers(0, 180 * UNIT + 1, 5000).astype(np.int32)
    one = tally(metrics.Errors(fixed))
    values = [int(value) for value in fixed]
    assert one.total == sum(values)
    assert one.squares == sum(value * value for value in values)
    assert one.largest == max(values)
    assert one.histogram.sum() == 5000
    exact_mean = Fraction(sum(values), 5000 * UNIT)
    assert image_metrics(one)["mean"] == float(exact_mean)
    assert fsum(one.histogram) == 5000


def test_quantiles_from_disk_and_from_memory_are_those_of_numpy(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    parts = [rng.integers(0, 180 * UNIT + 1, size).astype(np.int32) for size in (1, 999, 5000, 3)]
    parts.append(np.full(2000, 42 * UNIT, np.int32))
    with ErrorPool(tmp_path, memory=1000) as spilled, ErrorPool() as held:
        for part in parts:
            spilled.add(part)
            held.add(part)
        assert spilled.quantiles() == held.quantiles()
        degrees = np.concatenate(parts) / UNIT
        for name, share in metrics.QUANTILES.items():
            assert held.quantiles()[name] == pytest.approx(np.quantile(degrees, share), abs=1e-9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("values", [[0.0], [180.0], [0.0, 180.0], [7.0] * 5])
def test_quantiles_at_the_ends(values: list[float]) -> None:
    fixed = (np.array(values) * UNIT).astype(np.int32)
    numbers = image_metrics(tally(metrics.Errors(fixed)))
    pooled = exact_quantiles(lambda: [fixed])
    for name, share in metrics.QUANTILES.items():
        assert numbers[name] == pooled[name] == pytest.approx(np.quantile(values, share))


def test_an_image_without_a_pixel_has_no_error() -> None:
    with pytest.raises(ValueError, match="without a pixel"):
        tally(metrics.Errors(np.empty(0, np.int32)))
