"""FaceWarehouse: one mesh from three files, the binary's header, the order and the y axis of the points."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import facewarehouse as fake

from fnbench.adapters.facewarehouse import FaceWarehouse, read_land, read_shapes
from fnbench.errors import DatasetNotFoundError, InvalidDataError
from fnbench.render.groundtruth import render_dataset
from fnbench.render.plan import Plan
from fnbench.store import Store
from fnbench.validate import validate


@pytest.fixture
def root(tmp_path):
    fake.write(tmp_path)
    return tmp_path


def test_the_binary_and_the_mesh_files_give_the_same_mesh(root):
    adapter = FaceWarehouse(root, shapes=True)
    pose, shape = (adapter.load(f"Tester_1/{kind}_2").scan for kind in ("pose", "shape"))
    np.testing.assert_allclose(shape.vertices, pose.vertices, atol=1e-5 * 100)
    np.testing.assert_array_equal(shape.faces, pose.faces)
    assert np.ptp(pose.vertices[:, 1]) == pytest.approx(2.2 * 100 * np.sin(1.2), rel=1e-3)  # millimetres


def test_without_the_binary_the_shape_files_are_read(root):
    fake.first(root, "Blendshape/shape.bs").unlink()
    scan = FaceWarehouse(root, shapes=True).load("Tester_1/shape_1").scan
    np.testing.assert_allclose(scan.vertices, fake.shape(1, 1) * 100, atol=1e-4)


def test_illegal_normal_indices_are_ignored_and_quads_split(root):
    scan = FaceWarehouse(root).load("Tester_1/pose_0").scan
    assert len(scan.faces) == 2 * (fake.SIDE - 1) ** 2
    assert scan.texture is not None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-4]), "but its header .* asks for"),
        (lambda path: path.write_bytes(path.read_bytes() + bytes(12 * 576)), "but its header .* asks for"),
        (lambda path: path.write_bytes(path.read_bytes()[:6]), "too short for the header"),
        (lambda path: path.write_bytes(np.array([46, 11510, 11540], "<i4").tobytes() + bytes(64)), "46 expressions"),
        (lambda path: path.write_bytes(b"a text file instead of the binary"), "its header claims"),
    ],
)
def test_a_damaged_binary_is_named(root, damage, message):
    path = fake.first(root, "Blendshape/shape.bs")
    damage(path)
    with pytest.raises(InvalidDataError, match=rf"shape\.bs: .*{message}"):
        FaceWarehouse(root, shapes=True).load("Tester_1/shape_0")


def test_nan_in_the_binary_is_refused(root):
    path = fake.first(root, "Blendshape/shape.bs")
    content = bytearray(path.read_bytes())
    content[12:16] = np.array([np.nan], "<f4").tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(InvalidDataError, match="NaN or infinite"):
        read_shapes(path)


def test_a_binary_of_another_copy_is_refused(root):
    path = fake.first(root, "Blendshape/shape.bs")
    fake.write_shapes(path, [np.ones((100, 3))] * 3)
    with pytest.raises(InvalidDataError, match=r"100 vertices, but pose_0\.obj has 576"):
        FaceWarehouse(root, shapes=True).load("Tester_1/shape_0")


def test_shapes_need_a_pose_for_their_triangles(root):
    for path in fake.first(root, "TrainingPose").glob("*.obj"):
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match="shape.bs holds no triangles"):
        FaceWarehouse(root, shapes=True).load("Tester_1/shape_0")


def test_marked_points_are_counted_and_run_from_the_bottom(tmp_path):
    fake.write_land(tmp_path / "a.land")
    (tmp_path / "b.land").write_text("74\n" + "0.25 1.0\n" * 74)
    np.testing.assert_array_equal(read_land(tmp_path / "b.land", 640, 480)[0], [160, 0])
    assert read_land(tmp_path / "a.land", 640, 480).shape == (74, 2)


def test_73_points_are_refused(tmp_path):
    fake.write_land(tmp_path / "a.land", rows=73)
    with pytest.raises(InvalidDataError, match=r"a\.land: says 74 and holds 73 points, expected 74 and 74"):
        read_land(tmp_path / "a.land", 640, 480)


def test_photographs_come_with_their_points(root):
    photographs = FaceWarehouse(root).load("Tester_1/pose_0").photographs()
    assert photographs[0].image.shape == (480, 640, 3)
    assert len(photographs[0].attributes["points_74"]) == 74


def test_the_camera_is_fitted_to_the_texture_coordinates_and_states_its_residual(root):
    capture = FaceWarehouse(root).load("Tester_1/pose_1")
    (photograph,) = capture.photographs()
    pixels, depth = photograph.camera.project(capture.scan.vertices)
    expected, distance = fake.camera().project(capture.scan.vertices)
    np.testing.assert_allclose(pixels, expected, atol=0.02)
    np.testing.assert_allclose(depth, distance, rtol=0.02)
    about = photograph.attributes
    assert about["camera_source"] == "texture coordinates"
    assert about["reprojection_median_px"] < 0.01
    assert about["marked_points_miss_px"] < 5


def test_a_photograph_gets_its_exact_normals(root, tmp_path):
    """From the mesh file to a stored sample; the face is invented, so its landmarks are given."""
    (root / "fnbench.toml").write_text(f"landmark_vertices = {fake.LANDMARK_VERTICES}\n")
    report = render_dataset(FaceWarehouse(root), tmp_path / "out.h5", Plan(images="photo", size=64), limit=1)
    assert report.ok, report.summary()
    with Store(tmp_path / "out.h5") as store:
        assert store[0].attributes["reprojection_median_px"] < 0.01
        assert store[0].attributes["yaw"] == pytest.approx(12, abs=4)  # the landmarks are snapped to a coarse grid
        assert store[0].target.mask.mean() > 0.2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "fnbench.toml").write_text('v_from = "top"\n'), "it mirrors the scan"),
        (
            lambda root: fake.first(root, "TrainingPose/pose_0.land").write_text("74\n" + "0.9 0.9\n" * 74),
            "do not belong",
        ),
    ],
)
def test_a_photograph_whose_camera_fits_nothing_says_so_and_stays(root, damage, message):
    damage(root)
    (photograph,) = FaceWarehouse(root).load("Tester_1/pose_0").photographs()
    assert photograph.camera is None
    assert message in photograph.attributes["camera_problem"]


def test_a_report_tells_how_well_cameras_were_recovered(root):
    fake.first(root, "TrainingPose/pose_0.land").write_text("74\n" + "0.9 0.9\n" * 74)
    measured = validate(FaceWarehouse(root)).anonymous()["measurements"]
    assert (measured["with_camera"]["min"], measured["with_camera"]["median"]) == (0, 1)
    assert measured["reprojection_median_px"]["count"] == 5
    assert measured["reprojection_median_px"]["max"] < 0.01


def test_vertices_of_another_topology_are_no_landmarks(root):
    (root / "fnbench.toml").write_text(f"landmark_vertices = {[0] * 68}\n")
    with pytest.raises(InvalidDataError, match="outer eye corners are 0 mm apart"):
        FaceWarehouse(root).load("Tester_1/pose_0")
