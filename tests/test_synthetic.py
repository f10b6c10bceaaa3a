"""The built-in dataset."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fnbench.adapters.synthetic import Synthetic
from fnbench.cards import load_card
from fnbench.errors import DatasetNotFoundError
from fnbench.scans import head
from fnbench.scans.implicit import evaluate


def test_ids_are_sorted_unique_and_need_no_folder():
    ids = Synthetic().capture_ids()
    assert list(ids) == sorted(set(ids))
    assert len(ids) == 300
    assert Synthetic(None, subjects=3).capture_ids() == [key for key in ids if key < "s003"]


def test_every_expression_occurs():
    assert {key.split("_")[1] for key in Synthetic().capture_ids()} == set(head.EXPRESSIONS)


def test_a_capture_is_a_head_with_landmarks_labels_and_its_seed():
    data = Synthetic(spacing=3.0)
    capture = data.load("s001_neutral")
    assert (capture.id, capture.subject) == ("s001_neutral", "s001")
    assert capture.attributes["expression"] == "neutral"
    assert capture.scan is not None
    assert capture.scan.labels is not None
    assert capture.landmarks is not None
    values, _ = evaluate(head.surface(data.shape("s001_neutral")), capture.landmarks)
    assert np.abs(values).max() < 0.05


def test_the_same_id_is_the_same_head_also_in_another_process():
    first = Synthetic(spacing=4.0).load("s002_neutral")
    second = pickle.loads(pickle.dumps(Synthetic(spacing=4.0))).load("s002_neutral")
    np.testing.assert_array_equal(first.scan.vertices, second.scan.vertices)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)


def test_all_splits_have_people_and_a_person_is_in_one():
    card = load_card("synthetic")
    splits = {f"s{number:03d}": card.split_of(f"s{number:03d}") for number in range(60)}
    counts = {name: list(splits.values()).count(name) for name in ("train", "val", "test")}
    assert counts["train"] > 25
    assert min(counts["val"], counts["test"]) >= 5
    first = {name for key, name in splits.items() if key < "s012"}
    assert first == {"train", "val", "test"}  # a small subset still trains and tests


@pytest.mark.parametrize("key", ["s001_neutra", "s999_neutral", "s01_neutral", "neutral", "s000_", "s00²_neutral"])
def test_an_unknown_id_is_refused_with_a_suggestion(key):
    with pytest.raises(DatasetNotFoundError, match="there is no capture"):
        Synthetic().load(key)
