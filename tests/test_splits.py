"""Nobody stands in training and in test: within a dataset by construction, across files by a check."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from spheres import sphere_sample

from fnbench.cards import card_names, load_card
from fnbench.cli import main
from fnbench.splits import difference_hash, key, leaks, leaks_between, near_duplicates, share_people
from fnbench.store import write_samples


@pytest.mark.parametrize("name", card_names())
def test_the_splits_of_every_dataset_are_disjoint_by_subject(name):
    card = load_card(name)
    people = [f"{prefix}{number}" for prefix in ("", "F", "subject_") for number in range(700)]
    members = {
        split: {person for person in people if card.split_of(person) == split} for split in ("train", "val", "test")
    }
    assert set().union(*members.values()) == set(people)
    assert sum(map(len, members.values())) == len(people)
    if card.splits.rule == "hash":
        assert all(members.values())


def test_fm47_the_same_person_within_one_dataset_is_an_error():
    (leak,) = leaks({"florence": ["subject_01", "subject_02"]}, {"florence": ["subject_02", "subject_03"]})
    assert (leak.code, leak.certain, leak.who) == ("FM-47", True, ("subject_02",))
    assert leak.line() == "FM-47 error: florence: 1 of 2 test subjects are in the training data: subject_02"


def test_disjoint_people_are_no_leak():
    assert leaks({"florence": ["subject_01"]}, {"florence": ["subject_02"], "bu3dfe": ["F0001"]}) == []


@pytest.mark.parametrize(("a", "b"), [("headspace", "realy"), ("realy", "headspace"), ("mica", "florence")])
def test_cards_say_which_datasets_share_people(a, b):
    assert share_people(a, b)


def test_fm48_people_of_sets_that_share_them_are_compared_by_name_where_that_is_possible():
    (leak,) = leaks({"mica": ["LYHM/00012", "LYHM/00013"]}, {"headspace": ["00012", "01519"]})
    assert (leak.code, leak.certain, leak.who) == ("FM-47", False, ("00012",))
    (leak,) = leaks({"realy": ["a", "b"]}, {"headspace": ["00012"]})
    assert (leak.code, leak.certain, leak.who) == ("FM-48", False, ())
    assert leak.line().startswith("FM-48 warning: realy and headspace share people, but their subjects cannot")


def test_only_ten_names_are_shown():
    people = [f"p{k}" for k in range(30)]
    (leak,) = leaks({"florence": people}, {"florence": people})
    assert leak.line().count(", ") == 10
    assert len(leak.who) == 30


@given(st.from_regex(r"[A-Za-z_]{0,8}[0-9]{1,5}", fullmatch=True))
def test_spelling_does_not_hide_a_person(name):
    assert key(name) == key(name.upper()) == key(f"LYHM/{name}") == key(key(name))


def portrait(seed: int, side: int = 64) -> np.ndarray:
    from scipy.ndimage import gaussian_filter, zoom

    coarse = gaussian_filter(np.random.default_rng(seed).uniform(0, 255, (32, 32, 3)), (3, 3, 0))
    coarse = 255 * (coarse - coarse.min()) / np.ptp(coarse)
    return np.clip(zoom(coarse, (side / 32, side / 32, 1), order=1), 0, 255).astype(np.uint8)


def test_a_hash_survives_size_brightness_and_noise_but_not_another_picture():
    original = difference_hash(portrait(0))
    noise = np.random.default_rng(1).normal(0, 2, (64, 64, 3))
    for change in (portrait(0, 96), np.uint8(portrait(0) * 0.8), np.clip(portrait(0) + noise, 0, 255).astype(np.uint8)):
        assert np.bitwise_count(difference_hash(change) ^ original) <= 4
    others = [np.bitwise_count(difference_hash(portrait(seed)) ^ original) for seed in range(1, 60)]
    assert min(others) > 4


def test_near_duplicates_are_found_among_many():
    rng = np.random.default_rng(0)
    ours = rng.integers(0, 2**63, 1500, np.uint64)
    theirs = rng.integers(0, 2**63, 700, np.uint64)
    theirs[650] = ours[1234] ^ np.uint64(0b101)
    names = [f"a{k}" for k in range(1500)], [f"b{k}" for k in range(700)]
    assert near_duplicates((ours, names[0]), (theirs, names[1])) == ["a1234 ~ b650"]


def store(path, dataset, people):
    """A file with one 64-pixel sample per person: name -> (split, seed of the picture)."""
    samples = [
        sphere_sample(f"{name}/0", 64, subject=name, split=split, image=portrait(seed))
        for name, (split, seed) in people.items()
    ]
    write_samples(path, samples, {"dataset": dataset, "gt_kind": "scan", "protocol": "test", "settings": {}})
    return path


def test_files_are_compared_by_people_and_by_pictures(tmp_path):
    trained = store(tmp_path / "a.h5", "florence", {"s1": ("train", 1), "s2": ("train", 2), "s9": ("test", 9)})
    tested = store(tmp_path / "b.h5", "florence", {"s2": ("test", 5), "s3": ("test", 1), "s9": ("train", 8)})
    found = {leak.code + str(leak.certain): leak for leak in leaks_between([trained], tested)}
    assert found["FM-47True"].who == ("s2",)
    assert found["FM-47False"].who == ("s1/0 ~ s3/0",)
    verb = ["datasets", "leaks", str(trained), "--test", str(tested)]
    result = CliRunner().invoke(main, verb)
    assert result.exit_code == 1
    assert "FM-47 error: florence: 1 of 2 test subjects are in the training data: s2" in result.output


def test_clean_files_pass(tmp_path):
    trained = store(tmp_path / "a.h5", "florence", {"s1": ("train", 1)})
    tested = store(tmp_path / "b.h5", "bu3dfe", {"s1": ("test", 2)})
    result = CliRunner().invoke(main, ["datasets", "leaks", str(trained), "--test", str(tested)])
    assert result.exit_code == 0, result.output
    assert "nobody and nothing is on both sides" in result.output
