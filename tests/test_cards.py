"""Cards are data: checked when read, and their splits are disjoint by subject."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnbench.cards import SplitRule, card_names, load_card, read_card
from fnbench.errors import InvalidSettingError, UnknownNameError

CARD = """
name = "toy"
title = "Toy"
summary = "A toy."
gt_kind = "scan"
unit = "mm"
axes = "right, up, out"
licence = "none"
access = "none"
publish = "everything"
citation = "none"
"""


def write(tmp_path, text):
    (tmp_path / "toy").mkdir(exist_ok=True)
    path = tmp_path / "toy" / "card.toml"
    path.write_text(text)
    return path


def test_every_card_in_the_catalogue_reads():
    for name in card_names():
        assert load_card(name).name == name


@pytest.mark.parametrize("name", card_names())
def test_no_uncertain_fact_is_a_silent_constant(name):
    """Below high confidence: a check at run time, and a setting unless the data decide or nothing depends on it."""
    card = load_card(name)
    for key, fact in card.facts.items():
        if fact.confidence == "high":
            continue
        assert fact.check, f"{name}: {key} is {fact.confidence} and nothing checks it"
        assert fact.setting or fact.check.startswith(("decided", "not relied on")), f"{name}: {key} cannot be changed"


def test_a_card_round_trips(tmp_path):
    card = read_card(write(tmp_path, CARD + '[facts.unit]\nvalue = "mm"\nconfidence = "low"\ncheck = "eyes"\n'))
    assert (card.title, card.gt_kind, card.facts["unit"].confidence) == ("Toy", "scan", "low")
    assert card.split_of("anybody") == "test"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CARD.replace('title = "Toy"', ""), "missing title"),
        (CARD + 'colour = "red"', "unknown colour"),
        (CARD.replace('"scan"', '"guess"'), "gt_kind is 'guess', expected one of scan"),
        (CARD.replace('"toy"', '"boy"'), "name is 'boy', expected 'toy'"),
        (CARD + '[splits]\nrule = "random"', "splits.rule is 'random'"),
        (CARD + '[splits]\nrule = "hash"\ntrain = 0.9\nval = 0.2', "must be shares"),
        (CARD + '[facts.unit]\nvalue = "mm"\nconfidence = "sure"', "facts.unit.confidence is 'sure'"),
        (CARD + '[facts.u]\nvalue = "mm"\nconfidence = "low"\nsetting = "unit"', "names 'unit', which is not in"),
        ("name =", "not a TOML file"),
    ],
)
def test_a_wrong_card_names_the_key(tmp_path, text, message):
    with pytest.raises(InvalidSettingError, match=message):
        read_card(write(tmp_path, text))


def test_an_unknown_card():
    with pytest.raises(UnknownNameError, match="no dataset card for 'nowhere'"):
        load_card("nowhere")


@given(subject=st.text(min_size=1), seed=st.integers(0, 5))
def test_the_subject_alone_decides_the_split(subject, seed):
    rule = SplitRule("hash", seed)
    assert rule.of("toy", subject) == rule.of("toy", subject) in ("train", "val", "test")


def test_hash_splits_have_about_the_shares_asked_for():
    rule = SplitRule("hash", 0, train=0.7, val=0.1)
    splits = [rule.of("toy", str(number)) for number in range(5000)]
    assert [round(splits.count(name) / 5000, 1) for name in ("train", "val", "test")] == [0.7, 0.1, 0.2]
