"""Facial regions carried from the built-in head to other scans."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fnbench.errors import InvalidDataError
from fnbench.scans import head
from fnbench.scans.implicit import rotation
from fnbench.scans.regions import label_regions
from fnbench.types import REGIONS, Scan


def person(seed: int, expression: str = "neutral"):
    shape = head.Shape(head.sample_identity(np.random.default_rng(seed)), head.EXPRESSIONS[expression])
    return head.mesh(shape, 3.0), head.landmarks(shape)


@pytest.mark.parametrize(("seed", "expression"), [(1, "neutral"), (2, "smile"), (3, "surprise")])
def test_regions_carried_by_landmarks_are_those_of_the_person(seed, expression):
    scan, points = person(seed, expression)
    found = label_regions(replace(scan, labels=None), points)
    face = scan.labels > 0
    assert (found.labels[face] == scan.labels[face]).mean() > 0.8
    assert ((found.labels > 0) == face).mean() > 0.93
    assert found.residual < 2.0


def test_the_pose_and_size_of_the_scan_do_not_matter():
    scan, points = person(4)
    turn, shift = 1.2 * rotation(15.0, -40.0, 8.0), np.array([100.0, -50, 700])
    moved = Scan(scan.vertices @ turn.T + shift, scan.faces)
    here, there = label_regions(scan, points), label_regions(moved, points @ turn.T + shift)
    assert (here.labels == there.labels).mean() > 0.999
    assert here.residual == pytest.approx(there.residual, abs=1e-6)


def test_unknown_landmarks_are_done_without_until_too_few_are_left():
    scan, points = person(5)
    half = points.copy()
    half[20:50:2] = np.nan
    found = label_regions(scan, half)
    assert found.used == 54 - 15
    assert (found.labels == scan.labels).mean() > 0.85
    points[28:] = np.nan
    assert label_regions(scan, points).used == 14
    with pytest.raises(InvalidDataError, match="11 landmarks are known, expected at least 12"):
        label_regions(scan, np.where(np.arange(68)[:, None] < 25, points, np.nan))


def test_what_is_far_from_the_face_has_no_region():
    scan, points = person(6)
    far = Scan(np.concatenate([scan.vertices, scan.vertices + [0, 0, 300]]), np.concatenate([scan.faces, scan.faces]))
    found = label_regions(far, points)
    assert not found.labels[len(scan.vertices) :].any()


def test_the_attributes_say_how_regions_were_found():
    scan, points = person(7)
    attributes = label_regions(scan, points).attributes
    assert json.loads(json.dumps(attributes)) == attributes
    assert attributes["region_source"] == "built-in head by 54 landmarks"


def test_a_real_scan_gets_all_regions_in_their_places(shared_data):
    from fnbench.scans.read import read_scan

    scan = read_scan(shared_data / "menpo3d_james" / "james.obj")
    points = ibug(json.loads((shared_data / "menpo3d_james" / "james.ljson").read_text()))
    found = label_regions(scan, points)
    assert found.residual < 4.0
    centre = {name: scan.vertices[found.labels == label].mean(axis=0) for label, name in enumerate(REGIONS) if label}
    assert centre["forehead"][1] > centre["eye sockets"][1] > centre["nose"][1] > centre["mouth"][1] > centre["chin"][1]
    for name, landmark in (("nose", 30), ("mouth", 62), ("eye sockets", 37)):
        nearest = np.linalg.norm(scan.vertices - points[landmark], axis=1).argmin()
        assert found.labels[nearest] == REGIONS.index(name)


def ibug(stored: dict) -> np.ndarray:
    """The file's 68 points in the usual order: it lists the parts in another one, and "l" is the image's left."""
    group = stored["groups"]["LJSON"]
    points = np.array(group["landmarks"]["points"])
    parts = {entry["label"]: points[entry["mask"]] for entry in group["labels"]}
    order = ("chin", "leyebrow", "reyebrow", "nose", "leye", "reye", "mouth")
    return np.concatenate([parts[name] for name in order])
