"""Where the face is: frames from landmarks, alignment of the template, location and refusal."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from fnbench.errors import InvalidDataError
from fnbench.render.locate import locate
from fnbench.scans import align, head
from fnbench.scans.landmarks import eye_distance, head_pose
from fnbench.scans.normals import vertex_normals
from fnbench.scans.read import read_scan
from fnbench.types import Scan


@cache
def person(seed: int, expression: str = "neutral") -> tuple[Scan, np.ndarray]:
    """A synthetic head that is not the template, and its landmarks."""
    shape = head.Shape(head.sample_identity(np.random.default_rng(seed)), head.EXPRESSIONS[expression])
    return head.mesh(shape, 3.0), head.landmarks(shape)


def moved(scan: Scan, points: np.ndarray, turn: np.ndarray, shift=(0.0, 0, 0)) -> tuple[Scan, np.ndarray]:
    return Scan(scan.vertices @ turn.T + shift, scan.faces), points @ turn.T + shift


def looking(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Rotation of a head that looks ``yaw`` to the image right and ``pitch`` up."""
    return Rotation.from_euler("YXZ", [yaw, -pitch, roll], degrees=True).as_matrix()


# --- pose ---


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (0, -17, 0), (0, 0, 8), (-120, 20, -5)])
def test_the_pose_is_read_from_the_frame(yaw, pitch, roll):
    np.testing.assert_allclose(head_pose(looking(yaw, pitch, roll).T), (yaw, pitch, roll), atol=1e-6)


# --- alignment ---


def test_icp_recovers_a_known_similarity():
    scan, points = head.template()
    face = np.flatnonzero(scan.labels > 0)[::7]
    patch = align.Patch(scan.vertices[face], vertex_normals(scan.vertices, scan.faces)[face], np.ones(len(face)))
    turn, shift = looking(8, -10, 3), np.array([20.0, -30, 40])
    target = align.surface(Scan(scan.vertices @ turn.T * 1.05 + shift, scan.faces))
    start = align.Alignment(looking(0, 0), shift + [6, -5, 4])
    fit = align.icp(patch, target, start, reach=(30.0,) * 10 + (10.0,) * 20, free_scale=True)
    np.testing.assert_allclose(fit.rotation, turn, atol=0.005)
    np.testing.assert_allclose(fit.apply(points), points @ turn.T * 1.05 + shift, atol=0.8)
    assert fit.scale == pytest.approx(1.05, abs=0.01)
    assert fit.residual < 0.2
    assert fit.coverage > 0.98


def test_a_fit_that_explains_little_is_expensive():
    scan, _ = head.template()
    patch = align.Patch(
        scan.vertices[::50], vertex_normals(scan.vertices, scan.faces)[::50], np.ones(len(scan.vertices[::50]))
    )
    target = align.surface(scan)
    at, away = (align.assess(patch, target, align.Alignment(np.eye(3), np.array([x, 0.0, 0]))) for x in (0.0, 500.0))
    assert at.cost < 0.2  # the open neck has no inner side
    assert away.cost == align.WORST
    assert away.coverage == 0


def test_closest_points_agree_with_a_dense_search():
    sphere = trimesh.creation.icosphere(3, 50)
    scan = Scan(np.array(sphere.vertices), np.array(sphere.faces, np.int32))
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3))
    points *= rng.uniform(40, 70, (40, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    weights = rng.dirichlet((1, 1, 1), 300)
    dense = np.einsum("kc,fcx->fkx", weights, scan.vertices[scan.faces]).reshape(-1, 3)
    found = np.linalg.norm(align.closest_points(points, scan) - points, axis=1)
    brute = np.array([np.linalg.norm(dense - p, axis=1).min() for p in points])
    assert (found <= brute + 1e-9).all()
    np.testing.assert_allclose(found, brute, atol=0.1)


def test_a_dense_scan_is_thinned_for_the_search_only():
    sphere = trimesh.creation.icosphere(7, 90)
    target = align.surface(Scan(np.array(sphere.vertices), np.array(sphere.faces, np.int32)))
    assert len(target.points) == 60_000
    assert not target.border.any()


# --- location ---


@pytest.mark.parametrize(("seed", "expression", "pose"), [(1, "neutral", (0, -17, 0)), (2, "mouth-open", (10, 5, 4))])
def test_a_head_is_found_and_its_pitch_undone(seed, expression, pose):
    scan, points = moved(*person(seed, expression), looking(*pose), (9, -65, 85))
    found = locate(scan)
    distance = np.linalg.norm(found.landmarks - points, axis=1)
    assert distance.mean() < 3.5
    assert found.cascade
    assert found.alignment.residual < 1.5
    np.testing.assert_allclose(head_pose(found.frame), pose, atol=3)
    assert found.attributes["landmark_residual_mm"] == pytest.approx(found.alignment.residual, abs=1e-3)
    json.dumps(found.attributes)


@pytest.mark.parametrize(
    "turn", [looking(-120, 0), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])], ids=["sideways", "z-up"]
)
def test_a_head_in_any_orientation_is_found(turn):
    scan, points = moved(*person(3), turn)
    found = locate(scan)
    assert np.linalg.norm(found.landmarks - points, axis=1).mean() < 3.5
    np.testing.assert_allclose(found.frame, turn.T, atol=0.08)


def test_the_real_scan_is_found_near_its_hand_made_landmarks(shared_data):
    folder = shared_data / "menpo3d_james"
    group = json.loads((folder / "james.ljson").read_text())["groups"]["LJSON"]
    points = np.array(group["landmarks"]["points"])
    parts = {label["label"]: label["mask"] for label in group["labels"]}
    order = [i for name in ("chin", "leyebrow", "reyebrow", "nose", "leye", "reye", "mouth") for i in parts[name]]
    found = locate(read_scan(folder / "james.obj"))
    distance = np.linalg.norm(found.landmarks - points[order], axis=1)
    assert distance[17:].mean() < 4.5  # brows, nose, eyes, mouth
    assert distance[27:48].mean() < 4
    assert distance.mean() < 8  # the hand-made jaw line lies below the jaw
    assert found.cascade
    assert found.alignment.residual < 2.5
    assert eye_distance(found.landmarks) == pytest.approx(95, abs=6)


def test_a_scan_of_arbitrary_unit_is_found_once_the_unit_is_given(shared_data):
    path = shared_data / "lee_perry_smith" / "LeePerrySmith_converted.obj"
    assert locate(read_scan(path, unit=50)).cascade  # eyes closed, shoulders
    with pytest.raises(InvalidDataError, match="no face found"):
        locate(read_scan(path, unit=30))


def test_a_real_face_without_forehead_and_chin_that_looks_sideways_is_found(shared_data):
    found = locate(read_scan(shared_data / "vtk_fran_cut" / "fran_cut.vtk", unit="m"))
    assert found.alignment.coverage < 0.9
    np.testing.assert_allclose(found.frame[2], (0.87, 0, -0.5), atol=0.15)


def test_too_little_of_a_face_is_refused_with_its_coverage(shared_data):
    scan = read_scan(shared_data / "menpo3d_james" / "james.obj")
    left = scan.vertices[scan.faces].mean(axis=1)[:, 0] < -25
    with pytest.raises(InvalidDataError, match=r"james\.obj: no face found: .* over \d\d% of its face"):
        locate(Scan(scan.vertices, scan.faces[left], name=scan.name))


def ball(stretch) -> Scan:
    sphere = trimesh.creation.icosphere(4, 1)
    return Scan(np.array(sphere.vertices) * stretch, np.array(sphere.faces, np.int32), name="thing.obj")


def torso() -> Scan:
    sphere = trimesh.creation.icosphere(4, 1)
    v = np.array(sphere.vertices)
    ripple = 1 + 0.05 * np.sin(7 * v[:, :1] + 3) * np.cos(5 * v[:, 1:2])
    return Scan(v * [170, 280, 110] * ripple, np.array(sphere.faces, np.int32), name="thing.obj")


def cube() -> Scan:
    box = trimesh.creation.box((180, 220, 200))
    for _ in range(4):
        box = box.subdivide()
    return Scan(np.array(box.vertices), np.array(box.faces, np.int32), name="thing.obj")


@pytest.mark.parametrize(
    "thing", [ball([90, 90, 90]), ball([75, 110, 95]), torso(), cube()], ids=["ball", "egg", "torso", "cube"]
)
def test_what_is_no_head_is_refused(thing):
    with pytest.raises(InvalidDataError, match=r"thing\.obj: no face found: the template head fits with"):
        locate(thing)


def test_the_back_of_a_head_is_refused():
    scan, _ = person(1)
    behind = scan.vertices[scan.faces].mean(axis=1)[:, 2] < -40
    with pytest.raises(InvalidDataError, match="no face found"):
        locate(Scan(scan.vertices, scan.faces[behind]))
