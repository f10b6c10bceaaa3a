"""BU-3DFE: both spellings of VRML give the same surface."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import bu3dfe as fake

from fnbench.adapters.bu3dfe import Bu3dfe
from fnbench.errors import InvalidDataError
from fnbench.scans.vrml import parse_vrml


def test_commas_and_quads_change_nothing(tmp_path):
    fake.write(tmp_path)
    one, other = (Bu3dfe(tmp_path).load(capture).scan for capture in fake.CAPTURES)
    np.testing.assert_array_equal(one.vertices, other.vertices)
    np.testing.assert_array_equal(np.sort(one.faces, axis=0), np.sort(other.faces, axis=0))
    assert len(one.faces) == 2 * (fake.SIDE - 1) ** 2
    assert one.texture.shape == (64, 64, 3)
    corners = one.vertices[one.faces]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_attributes_come_from_the_name(tmp_path):
    fake.write(tmp_path)
    capture = Bu3dfe(tmp_path).load("F0001/F0001_AN01WH")
    assert dict(capture.attributes) == {"expression": "anger", "strength": 1}


def test_two_face_sets_are_joined():
    part = "Coordinate { point [ 0 0 0, 1 0 0, 0 1 0 ] } coordIndex [ 0, 1, 2, -1 ]"
    mesh = parse_vrml(f"#VRML V2.0\n{part}\n{part}", "two.wrl")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [3, 4, 5]])
    assert mesh.uv is None


def test_a_last_polygon_without_its_end_counts():
    mesh = parse_vrml("#VRML V2.0\nCoordinate{point[0 0 0 1 0 0 1 1 0 0 1 0]} coordIndex[0 1 2 3]", "a.wrl")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])


def test_indices_must_be_whole():
    with pytest.raises(InvalidDataError, match="no whole numbers"):
        parse_vrml("#VRML V2.0\nCoordinate{point[0 0 0 1 0 0 1 1 0]} coordIndex[0 1 2.5 -1]", "a.wrl")
