"""datasets/README.md is true: its example is an adapter that keeps every promise, and its tables are complete."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from fnbench.cards import card_names, load_card, read_card
from fnbench.errors import FnbenchError
from fnbench.frames import PRESETS
from fnbench.registry import resolve
from fnbench.validate import validate

REPOSITORY = Path(__file__).resolve().parent.parent
GUIDE = (REPOSITORY / "datasets" / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def toyfaces(tmp_path):
    """The adapter and the fake of the guide, as files."""
    adapter, fake = blocks("python")
    (tmp_path / "toyfaces.py").write_text(adapter)
    (tmp_path / "toyfaces_fake.py").write_text(fake)
    spec = importlib.util.spec_from_file_location("toyfaces_fake", tmp_path / "toyfaces_fake.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield resolve(f"{tmp_path / 'toyfaces.py'}:ToyFaces", "dataset"), module
    sys.modules.pop("fnbench_user_toyfaces", None)


def test_the_example_lists_loads_and_validates(toyfaces, tmp_path):
    adapter, fake = toyfaces
    (tmp_path / "data").mkdir()
    fake.write(tmp_path / "data")
    found = adapter(tmp_path / "data")
    assert tuple(found.capture_ids()) == fake.CAPTURES
    scan = found.load("person01").scan
    assert 150 < np.ptp(scan.vertices, axis=0).max() < 250
    assert validate(found).ok


def test_every_variant_of_the_example_is_named_or_tolerated(toyfaces, tmp_path):
    adapter, fake = toyfaces
    for number, variant in enumerate(fake.VARIANTS.values()):
        root = tmp_path / str(number)
        root.mkdir()
        fake.write(root)
        variant.change(root)
        if variant.message is None:
            assert [adapter(root).load(name).id for name in adapter(root).capture_ids()] == list(fake.CAPTURES)
        else:
            with pytest.raises(FnbenchError, match=variant.message):
                adapter(root).load(variant.capture)
            adapter(root).load(fake.CAPTURES[1])


def test_the_card_of_the_example_reads(tmp_path):
    (tmp_path / "toyfaces").mkdir()
    _, card, more = blocks("toml")
    (tmp_path / "toyfaces" / "card.toml").write_text(card + more)
    found = read_card(tmp_path / "toyfaces" / "card.toml")
    assert found.split_of("person01") in ("train", "val", "test")
    assert found.settings[found.facts["axes"].setting] == [0, 0, 1]


def test_the_settings_of_the_example_are_those_of_the_card(tmp_path):
    from fnbench.adapters.photoface import Photoface

    settings, *_ = blocks("toml")
    (tmp_path / "fnbench.toml").write_text(settings)
    assert (Photoface(tmp_path).gamma, Photoface(tmp_path).azimuth) == (2.2, "+90")


def test_the_table_of_frames_is_that_of_the_code():
    rows = re.findall(r"^\| (\w+) \| (.*?) \| (\(.*?\)) \| (\w+) \|", GUIDE, flags=re.MULTILINE)
    assert {name: confidence for name, _, _, confidence in rows} == {
        name: frame.confidence for name, frame in PRESETS.items()
    }
    for name, _, canonical, _ in rows:
        words = canonical.strip("()").replace("n0", "x").replace("n1", "y").replace("n2", "z").split(", ")
        signs = tuple(("-" if word[0] == "-" else "+") + str("xyz".index(word[-1])) for word in words)
        assert signs == PRESETS[name].rows, name


def test_the_readme_lists_every_dataset_as_its_card_says():
    readme = (REPOSITORY / "README.md").read_text()
    rows = dict(re.findall(r"^\| \[`([\w-]+)`\]\(datasets/[\w-]+/ACCESS\.md\) \| (.*) \|$", readme, flags=re.MULTILINE))
    cards = [load_card(name) for name in card_names()]
    expected = {
        card.name: f"{card.title} | {card.gt_kind} | {'yes' if card.verified_on_real_data else 'no'}" for card in cards
    }
    assert rows == expected
