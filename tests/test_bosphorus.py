"""Bosphorus: the grid comes back right side up, wound to the sensor, without bridges over depth jumps."""

from __future__ import annotations

import numpy as np
from fakes import bosphorus as fake

from fnbench.adapters.bosphorus import Bosphorus, read_bnt


def test_the_grid_comes_back_with_its_top_row_first(tmp_path):
    path = tmp_path / "bs000_N_N_0.bnt"
    path.write_bytes(fake.bnt(fake.grid()))
    expected = fake.grid()
    expected[expected == fake.NOTHING] = np.nan
    np.testing.assert_array_equal(read_bnt(path), expected)


def test_triangles_face_the_sensor_and_skip_depth_jumps(tmp_path):
    points = fake.grid()
    points[8:12, 6:10, 2] -= 300  # a hole far behind: its rim must not be bridged
    path = tmp_path / "bs000" / "bs000_N_N_0.bnt"
    path.parent.mkdir()
    path.write_bytes(fake.bnt(points))
    scan = Bosphorus(tmp_path).load("bs000/bs000_N_N_0").scan
    corners = scan.vertices[scan.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > 0).all()
    assert np.ptp(corners[..., 2], axis=1).max() < 40
    cells = (fake.ROWS - 3) * (fake.COLUMNS - 3)
    rim = 2 * (5 * 5 - 3 * 3) - 2  # two corner cells keep the triangle that does not touch the hole
    assert len(scan.faces) == 2 * cells - rim
    assert "depth jumps" in scan.notes[0]


def test_attributes_come_from_the_name(tmp_path):
    fake.write(tmp_path)
    capture = Bosphorus(tmp_path).load("bs104/bs104_YR_R10_0")
    assert capture.subject == "bs104"
    assert dict(capture.attributes) == {"expression": "YR_R10_0", "kind": "yaw"}
