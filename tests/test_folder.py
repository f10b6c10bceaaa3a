"""Own scans from a description: units, landmarks, cameras, and the card it makes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from fakes import folder as fake

from fnbench.adapters.folder import Folder
from fnbench.errors import FnbenchError


@pytest.fixture
def adapter(tmp_path):
    fake.write(tmp_path / "scans")
    return Folder(tmp_path / "scans")


def test_scans_and_landmarks_are_in_millimetres(adapter):
    capture = adapter.load("anna/neutral")
    assert np.ptp(capture.scan.vertices[:, 1]) == pytest.approx(200, abs=0.1)
    np.testing.assert_allclose(capture.landmarks, fake.points() * 10, rtol=1e-6)
    assert capture.subject == "anna"
    assert dict(capture.attributes) == {"expression": "neutral"}
    assert adapter.load("ben/neutral").landmarks is None


def test_the_description_makes_the_card(adapter):
    assert (adapter.card.name, adapter.card.gt_kind, adapter.card.splits.rule) == ("our-lab", "scan", "hash")


def test_photographs_come_with_their_cameras(adapter):
    assert adapter.load("anna/smile").photographs is None
    (photograph,) = adapter.load("ben/neutral").photographs()
    pixels, depth = photograph.camera.project(np.array([[10.0, 20, 100]]))
    np.testing.assert_allclose(pixels, [[100 + 4000 / 700, 120 - 8000 / 700]])
    np.testing.assert_allclose(depth, 700)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "no camera .*'K'"), ("[1]", "no camera"), ('{"K": [1], "world_to_camera": [2]}', r"K \(1,\)")],
)
def test_a_wrong_camera_is_named(adapter, text, message):
    (adapter.root / "ben/neutral_left.json").write_text(text)
    with pytest.raises(FnbenchError, match=rf"neutral_left\.json: .*{message}"):
        adapter.load("ben/neutral").photographs()


def test_names_with_spaces_unicode_and_braces_work(adapter, tmp_path):
    shutil.copytree(adapter.root / "anna", adapter.root / "Zoë {x} ß")
    assert "Zoë {x} ß/neutral" in adapter.capture_ids()
    assert Folder(adapter.root).load("Zoë {x} ß/neutral").landmarks is not None
