"""Multiface: photographs come with the camera in the frame of the mesh."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import multiface as fake

from fnbench.adapters.multiface import Multiface
from fnbench.errors import FnbenchError


def test_cameras_lead_from_the_mesh_to_the_pixels(tmp_path):
    fake.write(tmp_path)
    photographs = Multiface(tmp_path).load(fake.CAPTURES[0]).photographs()
    point = np.array([[3.0, 4, 90]])
    world = point @ fake.OUT_OF_MESH[:, :3].T + fake.OUT_OF_MESH[:, 3]
    for photograph, shift in zip(photographs, (0, 40), strict=True):
        x, y, z = (world + [shift, 0, 0])[0]
        pixels, depth = photograph.camera.project(point)
        np.testing.assert_allclose(pixels, [[700 * x / z + 160, 700 * y / z + 200]])
        np.testing.assert_allclose(depth, [910])


def test_cameras_can_be_chosen(tmp_path):
    fake.write(tmp_path)
    capture = Multiface(tmp_path, cameras=["400030"]).load(fake.CAPTURES[0])
    assert [photograph.name for photograph in capture.photographs()] == ["400030"]
    assert capture.subject == "6795937"


def test_a_sequence_folder_is_a_root_too(tmp_path):
    fake.write(tmp_path)
    assert list(Multiface(tmp_path / fake.SEQUENCES[1]).capture_ids()) == fake.CAPTURES[2:]


@pytest.mark.parametrize("fault", fake.CAMERA_FAULTS)
def test_a_fault_of_the_cameras_is_named(tmp_path, fault):
    fake.write(tmp_path)
    damage, message = fake.CAMERA_FAULTS[fault]
    damage(tmp_path)
    with pytest.raises(FnbenchError, match=message):
        Multiface(tmp_path).load(fake.CAPTURES[1]).photographs()
