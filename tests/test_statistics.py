"""Intervals, paired tests, multiplicity and ties."""

from __future__ import annotations

import numpy as np
import pytest

from fnbench import statistics
from fnbench.metrics import UNIT, Errors, Tally, summary, tally
from fnbench.quantiles import exact_quantiles
from fnbench.statistics import (
    difference_intervals,
    dominant_subject,
    holm,
    interval_note,
    intervals,
    paired,
    ratio_intervals,
    sign_flip,
    standings,
    subject_sums,
)


def result(subjects: int, images: int = 3, seed: int = 0, shift: float = 0.0) -> tuple[list[Tally], list[str]]:
    """Images whose mean error differs between subjects."""
    rng = np.random.default_rng(seed)
    tallies, names = [], []
    for subject in range(subjects):
        centre = rng.uniform(5, 25) + shift
        for _ in range(images):
            degrees = np.clip(rng.gamma(2, centre / 2, int(rng.integers(50, 400))), 0, 180)
            tallies.append(tally(Errors((degrees * UNIT).astype(np.int32)), (40, int(rng.uniform(1, 9) * UNIT))))
            names.append(f"s{subject:04}")
    return tallies, names


def test_resampling_every_subject_once_gives_the_result_itself() -> None:
    tallies, names = result(7)
    sums = subject_sums(tallies, names)
    found = statistics._statistics(sums.linear.sum(axis=0)[None], sums.histogram.sum(axis=0)[None])
    # The pooled quantiles need the pixels; here those of the histogram are compared.
    cumulated = np.cumsum(sums.histogram.sum(axis=0))
    quantiles = {
        name: float(np.interp(share * cumulated[-1], np.concatenate([[0], cumulated]), np.arange(721) * 0.25))
        for name, share in statistics.QUANTILES.items()
    }
    expected = summary(tallies, names, quantiles)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9 if "px" not in name else 2e-7), name


def test_quantiles_of_the_histogram_are_near_the_exact_ones() -> None:
    rng = np.random.default_rng(5)
    fixed = (np.clip(rng.gamma(2, 6, 20000), 0, 180) * UNIT).astype(np.int32)
    sums = subject_sums([tally(Errors(fixed))], ["a"])
    found = statistics._statistics(sums.linear, sums.histogram)
    for name, value in exact_quantiles(lambda: [fixed]).items():
        assert found[f"{name}_px"][0] == pytest.approx(value, abs=0.05)


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    tallies, names = result(200, images=1)
    sums = subject_sums(tallies, names)
    low, high = intervals(sums)["mean_sub"]
    means = [one.total / one.n / UNIT for one in tallies]
    half = 1.96 * np.std(means) / np.sqrt(200)
    assert low == pytest.approx(np.mean(means) - half, abs=0.1 * half)
    assert high == pytest.approx(np.mean(means) + half, abs=0.1 * half)


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        values = rng.normal(10, 3, (40, 1))
        low, high = ratio_intervals(values, np.ones((40, 1)), seed=trial, draws=1000)[0]
        held += low <= 10 <= high
    assert 178 <= held <= 198


def test_images_of_one_subject_are_kept_together() -> None:
    """Copying every image of every subject ten times adds no knowledge and must not narrow the interval."""
    tallies, names = result(30, images=1)
    once, often = subject_sums(tallies, names), subject_sums(tallies * 10, names * 10)
    for name, interval in intervals(once).items():
        assert intervals(often)[name] == pytest.approx(interval, rel=1e-6, abs=1e-6), name


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones() -> None:
    sums = subject_sums(*result(25))
    shuffled = np.random.default_rng(0).permutation(75)
    tallies, names = result(25)
    reordered = subject_sums([tallies[i] for i in shuffled], [names[i] for i in shuffled])
    assert intervals(sums, seed=3) == intervals(sums, seed=3) == intervals(reordered, seed=3)
    assert intervals(sums, seed=3) != intervals(sums, seed=4)


def test_no_interval_below_ten_subjects() -> None:
    assert intervals(subject_sums(*result(9))) == {}
    assert interval_note(9) == "no interval: 9 subjects, at least 10 are needed"
    assert interval_note(10) == ""
    assert intervals(subject_sums(*result(10)))
    assert np.isnan(ratio_intervals(np.ones((9, 2)), np.ones((9, 2)))).all()


def test_an_empty_column_has_no_interval_and_disturbs_no_other() -> None:
    sums, counts = np.ones((12, 2)), np.ones((12, 2))
    sums[:, 1] = counts[:, 1] = 0
    found = ratio_intervals(sums, counts)
    assert found[0].tolist() == [1, 1]
    assert np.isnan(found[1]).all()


def test_the_difference_of_paired_methods_is_surer_than_either() -> None:
    first, second = subject_sums(*result(40, seed=2)), subject_sums(*result(40, seed=2, shift=1.0))
    difference = difference_intervals(first, second)["mean_sub"]
    width = np.ptp(intervals(first)["mean_sub"])
    assert difference[1] < 0
    assert np.ptp(difference) < width / 2
    with pytest.raises(ValueError, match="same subjects"):
        difference_intervals(first, subject_sums(*result(41)))


def test_sign_flips_are_exact_for_few_subjects() -> None:
    assert sign_flip(np.ones(5)) == 2 / 2**5
    assert sign_flip(np.ones(16)) == 2 / 2**16
    assert sign_flip(np.array([1.0, -1.0])) == 1
    assert sign_flip(np.zeros(4)) == 1
    # Of the 8 patterns +-1 +-2 +-4, four reach the observed 5: 7, 5 and their negatives.
    assert sign_flip(np.array([-1.0, 2.0, 4.0])) == 4 / 8


def test_sign_flips_of_many_subjects_agree_with_the_exact_answer() -> None:
    rng = np.random.default_rng(7)
    for shift in (0.0, 0.3, 0.6):
        differences = rng.normal(shift, 1, 16)
        exact = sign_flip(differences)
        signs = 1 - 2 * np.random.default_rng(0).integers(0, 2, (50_000, 16))
        drawn = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
        assert exact == pytest.approx(drawn, abs=0.01)
    assert sign_flip(np.full(30, 0.1)) == pytest.approx(1 / 10_001)


def test_p_values_are_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(11)
    p = [sign_flip(rng.normal(0, 1, 12)) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.085


def test_holm_against_a_hand_calculation() -> None:
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_a_paired_comparison_counts_wins_and_needs_the_same_subjects() -> None:
    first = {f"s{i}": float(i) for i in range(12)}
    second = {name: value + (1 if value < 9 else -1 if value < 11 else 0) for name, value in first.items()}
    found = paired(first, second)
    assert (found.lower, found.higher, found.equal) == (9, 2, 1)
    assert found.difference == pytest.approx(-7 / 12)
    assert found.interval is not None
    assert found.interval[0] < found.difference < found.interval[1]
    assert paired({"a": 1.0}, {"a": 2.0}).interval is None
    with pytest.raises(ValueError, match="1 are on one side"):
        paired(first, dict(list(second.items())[1:]))


def test_tie_groups_join_what_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(3)
    base = rng.uniform(5, 15, 30)
    methods = {
        "good": base,
        "as-good": base + rng.normal(0.02, 1.0, 30),
        "bad": base + 3 + rng.normal(0, 1, 30),
        "awful": base + 9 + rng.normal(0, 1, 30),
    }
    values = {name: {f"s{i}": float(v) for i, v in enumerate(e)} for name, e in methods.items()}
    found = {standing.name: standing for standing in standings(values)}
    assert found["good"].group == found["as-good"].group == 1
    assert (found["bad"].group, found["awful"].group) == (2, 3)
    assert {(s.best_rank, s.worst_rank) for s in (found["good"], found["as-good"])} == {(1, 2)}
    assert (found["awful"].best_rank, found["awful"].worst_rank) == (4, 4)
    assert standings({"only": {"a": 1.0}})[0].group == 1


def test_five_subjects_can_never_separate_two_methods() -> None:
    values = {"a": {f"s{i}": 1.0 for i in range(5)}, "b": {f"s{i}": 20.0 + i for i in range(5)}}
    assert [standing.group for standing in standings(values)] == [1, 1]


def test_the_dominant_subject_is_named_with_its_share() -> None:
    assert dominant_subject(["a", "b", "a", "c"], [10, 20, 20, 10]) == ("a", 0.5)
