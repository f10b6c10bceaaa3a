"""ICT-FaceKit on the real model: the algebra, the unit, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from fnbench.adapters.ict import MOUTH_SOCKET, Ict, _model
from fnbench.types import REGIONS


@pytest.fixture
def model(shared_data):
    return _model(shared_data / "ict_facekit")


def test_a_shape_file_equals_its_delta(model, shared_data):
    from fnbench.scans.obj import parse_obj

    path = shared_data / "ict_facekit" / "original_obj" / "jawOpen.obj"
    shape = parse_obj(path.read_bytes(), path.name).vertices * 10
    weights = np.array([float(name == "jawOpen") for name in model.expression_names])
    np.testing.assert_allclose(model.head(np.zeros(100), weights), shape, atol=2e-4)


def test_the_neutral_head_is_in_millimetres_and_faces_the_viewer(model):
    marks = model.neutral[model.landmarks]
    assert np.linalg.norm(marks[36] - marks[45]) == pytest.approx(89.2, abs=0.1)
    np.testing.assert_allclose(marks[30], [0, 4.1, 130.7], atol=0.1)


def test_teeth_and_shells_are_gone_and_the_face_winds_outwards(shared_data):
    capture = Ict(shared_data / "ict_facekit").load("h0000_neutral")
    scan = capture.scan
    assert len(scan.vertices) == 14062 + 3140
    corners = scan.vertices[scan.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    front = (scan.vertices[scan.faces].mean(1)[:, 2] > 60) & (scan.faces < 9409).all(1)
    assert (normals[front, 2] > 0).mean() > 0.85


def test_regions_follow_the_topology(shared_data):
    adapter = Ict(shared_data / "ict_facekit", heads=2)
    first, other = adapter.load("h0000_neutral"), adapter.load("h0001_jawOpen")
    np.testing.assert_array_equal(first.scan.labels, other.scan.labels)
    assert not first.scan.labels[slice(*MOUTH_SOCKET)].any()
    assert set(first.scan.labels[14062:]) == {REGIONS.index("eye sockets")}  # the eyeballs
    nearest = {
        mark: np.linalg.norm(first.scan.vertices - first.landmarks[mark], axis=1).argmin() for mark in (30, 51, 21)
    }
    found = [REGIONS[first.scan.labels[nearest[mark]]] for mark in (30, 51, 21)]
    assert found == ["nose", "mouth", "forehead"]
    assert first.attributes["region_source"].startswith("topology")
    assert first.attributes["region_residual_mm"] < 3


def test_heads_differ_and_are_the_same_on_every_run(shared_data):
    adapter = Ict(shared_data / "ict_facekit", heads=3)
    first, again, other = (adapter.load(name).scan.vertices for name in ("h0000_mix0", "h0000_mix0", "h0001_mix0"))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 2


def test_both_sides_of_a_face_move():
    from fnbench.adapters.ict import _both_sides

    np.testing.assert_allclose(_both_sides(("a_L", "a_R", "jaw"), {"a_R": 0.5, "jaw": 0.1}), [0.4, 0.5, 0.1])
