"""The camera and the frame: what every sign rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnbench.camera import Camera, CropBox, landmark_crop, look_at
from fnbench.errors import UnknownNameError
from fnbench.frames import PRESETS, from_canonical, signed_permutations, to_canonical

K = np.array([[500.0, 0, 128], [0, 500, 128], [0, 0, 1]])


def test_a_point_right_and_above_lands_right_and_above_the_centre():
    camera = Camera(K, look_at(np.zeros(3), 500.0), 256, 256)
    pixels, depth = camera.project(np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]]))
    np.testing.assert_allclose(pixels[:3], [[128, 128], [138, 128], [128, 118]])
    np.testing.assert_allclose(depth, [500, 500, 500, 490])


@given(yaw=st.floats(-90, 90), pitch=st.floats(-80, 80))
def test_look_at_faces_its_target_from_the_stated_side(yaw, pitch):
    camera = Camera(K, look_at(np.array([1.0, 2, 3]), 600.0, yaw=yaw, pitch=pitch), 256, 256)
    pixels, depth = camera.project(np.array([[1.0, 2, 3]]))
    np.testing.assert_allclose(pixels, [[128, 128]], atol=1e-6)
    np.testing.assert_allclose(depth, 600)
    a, b = np.radians(yaw), np.radians(pitch)
    expected = np.array([1.0, 2, 3]) + 600 * np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])
    np.testing.assert_allclose(camera.centre, expected, atol=1e-6)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)


def test_opencv_extrinsics_round_trip():
    opencv = np.eye(4)
    opencv[:3, 3] = [1, 2, 700]
    camera = Camera.from_opencv(K, opencv, 256, 256)
    np.testing.assert_allclose(camera.opencv, opencv)
    pixels, _ = camera.project(np.array([[0.0, 0, 0]]))
    np.testing.assert_allclose(pixels, [[128 + 500 / 700, 128 + 1000 / 700]])


def test_a_crop_sees_the_same_points_in_its_own_pixels():
    camera = Camera(K, look_at(np.zeros(3), 500.0, yaw=20), 256, 256)
    points = np.random.default_rng(0).normal(0, 20, (50, 3))
    box = CropBox(100.5, 80.0, 64.0)
    whole, _ = camera.project(points)
    cropped, _ = camera.crop(box, 128).project(points)
    np.testing.assert_allclose(cropped, (whole - [box.x, box.y]) * 2, atol=1e-9)


def test_a_mirroring_camera_is_refused():
    with pytest.raises(ValueError, match="mirrors"):
        Camera(K, np.diag([-1.0, 1, 1, 1]), 256, 256)


def test_view_directions_point_from_each_pixel_to_the_camera():
    camera = Camera(K, look_at(np.zeros(3), 500.0), 256, 256)
    point = np.array([[30.0, -20.0, 5.0]])
    (x, y), _ = camera.project(point)[0][0], None
    expected = -camera.to_camera(point)[0] / np.linalg.norm(camera.to_camera(point))
    got = camera.view_directions()[int(y), int(x)]
    assert np.degrees(np.arccos(got @ expected)) < 0.2


def test_landmark_crop_ignores_unknown_points():
    points = np.array([[0.0, 0], [100, 40], [np.nan, np.nan]])
    assert landmark_crop(points) == CropBox(-10.0, -40.0, 120.0)


@pytest.mark.parametrize("name", PRESETS)
def test_frames_round_trip_bit_for_bit(name):
    normals = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)
    np.testing.assert_array_equal(from_canonical(to_canonical(normals, name), name), normals)


def test_the_documented_conversions():
    native = np.array([0.1, 0.2, 0.9])
    np.testing.assert_array_equal(to_canonical(native, "photoface"), [0.2, -0.1, 0.9])
    np.testing.assert_array_equal(to_canonical(native, "dsine"), [-0.1, 0.2, 0.9])
    np.testing.assert_array_equal(to_canonical(native, "opencv"), [0.1, -0.2, -0.9])
    np.testing.assert_array_equal(to_canonical(native, "pytorch3d"), [-0.1, 0.2, -0.9])


def test_there_are_48_signed_permutations_and_the_first_is_the_identity():
    found = signed_permutations()
    assert len({name for name, _ in found}) == 48
    np.testing.assert_array_equal(found[0][1], np.eye(3))


def test_an_unknown_frame_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean marigold"):
        to_canonical(np.zeros(3), "marigolds")
