"""Every registered dataset adapter against the same promises, on the tree its fake writer builds.

A new adapter needs nothing here: once it stands in the registry and ``tests/fakes/<name>.py`` exists, it is tested.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import pickle
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fnbench.camera import landmark_crop
from fnbench.cards import load_card
from fnbench.errors import DatasetNotFoundError, FnbenchError
from fnbench.registry import DATASETS, resolve
from fnbench.types import Capture
from fnbench.validate import validate

FAKES = Path(__file__).resolve().parent.parent / "fakes"


def fake_of(name: str) -> ModuleType:
    return importlib.import_module(f"fakes.{name.replace('-', '_')}")


def listing_reads(name: str) -> tuple[str, ...]:
    """Small descriptions that listing may open; everything else is found by names alone."""
    return getattr(fake_of(name), "LISTING_READS", ())


def adapter_of(name: str, root: Path | None):
    return resolve(name, kind="dataset")(root, **getattr(fake_of(name), "OPTIONS", {}))


def case(name: str, *rest: object, id: str = ""):
    """A parameter set that is skipped where an optional library of the dataset is not installed."""
    needed = getattr(fake_of(name), "NEEDS", None)
    absent = needed is not None and importlib.util.find_spec(needed) is None
    marks = [pytest.mark.skip(reason=f"{name} needs {needed}, an extra that is not installed")] if absent else []
    return pytest.param(name, *rest, id=id or name, marks=marks)


REGISTERED = sorted(name for name in DATASETS if (FAKES / f"{name.replace('-', '_')}.py").is_file())
NAMES = [case(name) for name in REGISTERED]
VARIANTS = [
    case(name, variant, id=f"{name}-{title.replace(' ', '_')}")
    for name in REGISTERED
    for title, variant in fake_of(name).VARIANTS.items()
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Each fake's tree, written once; tests that change one write their own."""
    written: dict[str, Path] = {}

    def tree(name: str) -> Path:
        if name not in written:
            written[name] = tmp_path_factory.mktemp(name)
            fake_of(name).write(written[name])
        return written[name]

    return tree


class Opened:
    """Which files Python opened under a folder, by the interpreter's own audit events."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.paths: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if event == "open" and self.root is not None and str(arguments[0]).startswith(self.root):
            self.paths.append(str(arguments[0]))

    def under(self, root: Path) -> Opened:
        self.root, self.paths = str(root), []
        return self

    def __enter__(self) -> list[str]:
        return self.paths

    def __exit__(self, *_: object) -> None:
        self.root = None


opened = Opened()


def content_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_the_class_carries_its_name_and_its_card_exists(name):
    assert resolve(name, kind="dataset").name == name == load_card(name).name


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_the_ones_written_sorted_unique_and_the_same_twice(name, trees):
    adapter = adapter_of(name, trees(name))
    ids = list(adapter.capture_ids())
    assert ids == sorted(set(ids)) == sorted(fake_of(name).CAPTURES)
    assert ids == list(adapter_of(name, trees(name)).capture_ids())


@pytest.mark.parametrize("name", NAMES)
def test_listing_opens_no_file(name, trees):
    adapter = adapter_of(name, trees(name))
    with opened.under(trees(name)) as paths:
        adapter.capture_ids()
    assert [path for path in paths if Path(path).name not in listing_reads(name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_listing_needs_names_only(name, trees, tmp_path):
    """The same ids when every file is empty: nothing was read, in whatever way."""
    shutil.copytree(trees(name), tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in listing_reads(name):
            path.write_bytes(b"")
    assert list(adapter_of(name, tmp_path).capture_ids()) == sorted(fake_of(name).CAPTURES)


@pytest.mark.parametrize("name", NAMES)
def test_every_capture_loads_and_keeps_the_contract(name, trees):
    adapter, card = adapter_of(name, trees(name)), load_card(name)
    for capture_id in adapter.capture_ids():
        capture = adapter.load(capture_id)
        assert capture.id == capture_id
        assert card.split_of(capture.subject) in ("train", "val", "test")
        check_capture(capture, card.gt_kind)


def check_capture(capture: Capture, gt_kind: str) -> None:
    if gt_kind == "none":
        assert capture.scan is None
        assert capture.measured is None
    else:
        assert capture.scan is not None or capture.measured is not None
    if capture.measured is not None:
        mask = capture.measured.mask
        assert mask.any()
        assert (capture.measured.normals[~mask] == 0).all()
        mean = capture.measured.normals[mask].mean(axis=0)
        assert mean[2] > 0.3, f"{capture.id}: mean normal {mean}; a visible surface faces the viewer"
    if capture.photographs is not None:
        photographs = capture.photographs()
        assert len({photograph.name for photograph in photographs}) == len(photographs) > 0
        for photograph in photographs:
            check_photograph(photograph, capture)


def check_photograph(photograph, capture: Capture) -> None:
    shape = photograph.image.shape[:2]
    if capture.measured is not None:
        assert shape == capture.measured.mask.shape, f"{capture.id}/{photograph.name}: not on the normals' grid"
    if photograph.mask is not None:
        assert photograph.mask.shape == shape
    if photograph.landmarks is not None:
        assert photograph.landmarks.shape == (68, 2)
        box = landmark_crop(photograph.landmarks)
        centre = np.array([box.x, box.y]) + box.side / 2
        assert (centre > 0).all()
        assert (centre < shape[::-1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_loading_changes_nothing_on_disk_and_is_repeatable(name, trees):
    root = trees(name)
    before = content_hash(root)
    adapter = adapter_of(name, root)
    first, second = (adapter_of(name, root).load(adapter.capture_ids()[0]) for _ in range(2))
    if first.measured is not None:
        np.testing.assert_array_equal(first.measured.normals, second.measured.normals)
    if first.scan is not None:
        np.testing.assert_array_equal(first.scan.vertices, second.scan.vertices)
    assert dict(first.attributes) == dict(second.attributes)
    assert content_hash(root) == before


@pytest.mark.parametrize("name", NAMES)
def test_adapters_travel_to_worker_processes(name, trees):
    adapter = adapter_of(name, trees(name))
    ids = list(adapter.capture_ids())
    copy = pickle.loads(pickle.dumps(adapter))
    assert list(copy.capture_ids()) == ids
    assert copy.load(ids[0]).subject == adapter.load(ids[0]).subject


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_root_a_missing_one_and_none_give_the_access_instructions(name, tmp_path):
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "empty", tmp_path / "absent", None):
        with pytest.raises(DatasetNotFoundError, match=rf"datasets/{name}/ACCESS\.md"):
            adapter_of(name, root).capture_ids()


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_capture_is_refused_with_a_suggestion(name, trees):
    adapter = adapter_of(name, trees(name))
    near = adapter.capture_ids()[0] + "x"
    with pytest.raises(DatasetNotFoundError, match=f"no capture {near!r}. Did you mean"):
        adapter.load(near)


@pytest.mark.parametrize("name", NAMES)
def test_a_good_copy_validates_and_the_report_shows_nobody(name, trees):
    found = validate(adapter_of(name, trees(name)))
    assert found.ok, "\n".join(found.lines())
    report = json.dumps(found.anonymous())
    assert str(trees(name)) not in report
    assert not [capture_id for capture_id in fake_of(name).CAPTURES if capture_id in report]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_what_goes_wrong_in_real_copies_is_named_or_tolerated(name, variant, trees, tmp_path):
    shutil.copytree(trees(name), tmp_path, dirs_exist_ok=True)
    variant.change(tmp_path)
    listed, refused = load_all(name, tmp_path)
    if variant.message is None:
        assert listed == sorted(fake_of(name).CAPTURES)
        assert not refused, next(iter(refused.values()))
        return
    assert refused, f"{name}: nothing was refused"
    if variant.capture is not None:
        assert listed == sorted(fake_of(name).CAPTURES)
        assert list(refused) == [variant.capture]
    for error in refused.values():
        assert re.search(variant.message, error), error
        assert "\n" not in error


def load_all(name: str, root: Path) -> tuple[list[str], dict[str, str]]:
    """The ids that are listed, and by id (or by "" for the listing) the error of each that does not load."""
    refused = {}
    try:
        adapter = adapter_of(name, root)
        listed = list(adapter.capture_ids())
    except FnbenchError as error:
        return [], {"": str(error)}
    for capture_id in listed:
        try:
            capture = adapter.load(capture_id)
            if capture.photographs is not None:
                capture.photographs()
        except FnbenchError as error:
            refused[capture_id] = str(error)
    return listed, refused
