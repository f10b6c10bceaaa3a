"""Cameras, crops, masks and pixels: a capture becomes samples whose normals are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnbench.camera import Camera, CropBox, look_at
from fnbench.cards import SplitRule
from fnbench.errors import InvalidDataError, InvalidSettingError, UnknownNameError
from fnbench.metrics import angular_error
from fnbench.render.backends import renderer
from fnbench.render.counted import counted
from fnbench.render.groundtruth import patterns_of, render_dataset
from fnbench.render.origin import Origin
from fnbench.render.plan import Plan, grid, plan_from, read_plan
from fnbench.render.resample import resampled_image, resampled_mask, resampled_normals
from fnbench.render.samples import samples_of
from fnbench.render.shade import surface_maps
from fnbench.render.views import face_frame, landmark_visibility, photo_crop, template_landmarks, view_camera, view_name
from fnbench.scans import head
from fnbench.store import Store, encode_sample
from fnbench.types import Capture, NormalMap, Photograph, Sample
from tests.spheres import sphere_sample

ORIGIN = Origin("toy", SplitRule())
PLAIN = {"sensor": False, "shadows": False, "occlusion": False, "scattering": False}
PLAN = Plan(size=64, appearance=PLAIN)


@pytest.fixture(scope="module")
def shape() -> head.Shape:
    return head.Shape(head.sample_identity(np.random.default_rng(3)), head.EXPRESSIONS["smile"])


@pytest.fixture(scope="module")
def capture(shape: head.Shape) -> Capture:
    return Capture(
        "p1_smile",
        "p1",
        scan=head.mesh(shape, 3.0),
        landmarks=head.landmarks(shape),
        attributes={"expression": "smile"},
    )


def samples(capture: Capture, plan: Plan = PLAN) -> list[Sample]:
    return list(samples_of(capture, plan, renderer(), ORIGIN))


def turned(capture: Capture, angle: float = 40.0) -> tuple[Capture, np.ndarray]:
    """The same capture in a world turned about all three axes and moved."""
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    shift = np.array([300.0, -80, 1200])
    moved = replace(capture.scan, vertices=capture.scan.vertices @ rotation.T + shift)
    return replace(capture, scan=moved, landmarks=capture.landmarks @ rotation.T + shift), rotation


# Regions


def test_a_scan_without_labels_gets_regions_that_do_not_bound_its_mask(capture):
    """Carried over by the landmarks: nearly the labels the head has of its own, on a mask about the tip of the nose."""
    bare = replace(capture, scan=replace(capture.scan, labels=None))
    (own,), (carried,) = samples(capture), samples(bare)
    both = own.target.mask & carried.target.mask
    assert (own.region[both] == carried.region[both]).mean() > 0.8
    assert set(np.unique(carried.region[both])) >= set(range(1, 8))
    assert not np.array_equal(own.target.mask, carried.target.mask)
    attributes = dict(carried.attributes)
    assert attributes["region_source"] == "built-in head by 54 landmarks"
    assert 0 < attributes["region_residual_mm"] < 2
    assert "region_source" not in own.attributes  # whoever brings labels says how they were made


def test_too_few_landmarks_leave_a_scan_without_regions_and_say_so(capture):
    points = np.where(np.isin(np.arange(68), [8, 27, 30, 36, 45, 48, 54])[:, None], capture.landmarks, np.nan)
    (found,) = samples(replace(capture, landmarks=points, scan=replace(capture.scan, labels=None)))
    assert not found.region.any()
    assert found.attributes["region_source"] == "none"
    assert found.target.mask.any()


# Views


@given(yaw=st.floats(-170, 170), pitch=st.floats(-80, 80))
def test_a_view_camera_stands_at_the_angles_it_was_asked_for(yaw, pitch):
    landmarks = template_landmarks() @ look_at(np.zeros(3), 0.0, yaw=33, pitch=-20)[:3, :3].T + 50
    frame = face_frame(landmarks, "x")
    camera = view_camera(frame, landmarks, (yaw, pitch), 800.0, 1.2, 64)
    np.testing.assert_allclose(frame.angles(camera), (yaw, pitch, 0), atol=1e-6)
    assert np.linalg.norm(camera.centre - frame.centre) == pytest.approx(800)


def test_a_rolled_camera_has_the_roll_it_was_given():
    frame = face_frame(template_landmarks(), "x")
    roll = np.radians(25)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]]
    camera = Camera(np.eye(3), turn @ look_at(frame.centre, 500, yaw=30, pitch=10), 64, 64)
    np.testing.assert_allclose(frame.angles(camera), (30, 10, 25), atol=1e-6)


def test_the_face_frame_undoes_any_rotation_and_survives_an_open_mouth_and_missing_points():
    neutral = head.landmarks(head.Shape())
    opened = head.landmarks(head.Shape(expression=head.Expression(jaw=1.0)))
    rotation = look_at(np.zeros(3), 0.0, yaw=50, pitch=30)[:3, :3]
    np.testing.assert_allclose(face_frame(neutral @ rotation.T, "x").rotation, rotation.T, atol=1e-9)
    partly = opened @ rotation.T
    partly[[20, 30, 40, 60, 5]] = np.nan
    off = face_frame(partly, "x").rotation @ rotation
    assert np.degrees(np.arccos((np.trace(off) - 1) / 2)) < 0.5


def test_too_few_landmarks_are_refused():
    few = np.full((68, 3), np.nan)
    few[[30, 36, 45]] = template_landmarks()[[30, 36, 45]]
    with pytest.raises(InvalidDataError, match="scan 7: 3 landmarks of brows, nose and eyes are known"):
        face_frame(few, "scan 7")


def test_the_crop_is_1_2_times_the_landmark_box(capture):
    (sample,) = samples(capture)
    low, high = sample.landmarks.min(0), sample.landmarks.max(0)
    np.testing.assert_allclose((high - low).max(), 64 / 1.2, rtol=1e-5)
    np.testing.assert_allclose((low + high) / 2, [32, 32], atol=1e-3)


def test_view_names_are_stable():
    assert [view_name(*view) for view in grid([-30, 0, 7.5], [0])] == [
        "yaw-30_pitch+0",
        "yaw+0_pitch+0",
        "yaw+7.5_pitch+0",
    ]
    assert view_name(-0.0, 0.0) == "yaw+0_pitch+0"


# Targets


def test_targets_are_the_analytic_normals_of_the_head_up_to_its_mesh(capture, shape):
    plan = replace(PLAN, views=((35.0, -10.0),))
    finer = replace(capture, scan=head.mesh(shape, 1.5))
    coarse, fine = (np.median(_error_of_target(samples(c, plan)[0], shape)) for c in (capture, finer))
    assert coarse < 1.2
    assert fine < 0.5 * coarse


def _error_of_target(sample: Sample, shape: head.Shape) -> np.ndarray:
    """Angle between the target and the gradient of the head's field at the stored depth."""
    mask = sample.target.mask
    exact = head.normals_at(shape, _world(sample)[mask]) @ sample.camera.rotation.T
    return angular_error(sample.target.normals[mask].astype(np.float64), exact)


def test_turning_the_world_of_the_scan_changes_nothing(capture):
    (before,) = samples(capture)
    other, _ = turned(capture)
    (after,) = samples(other)
    both = before.target.mask & after.target.mask
    assert np.count_nonzero(before.target.mask ^ after.target.mask) < 0.005 * both.sum()
    assert np.median(angular_error(before.target.normals[both], after.target.normals[both])) < 1e-3
    np.testing.assert_allclose(before.landmarks, after.landmarks, atol=1e-3)


def test_the_mask_holds_the_face_and_no_more(capture):
    (labelled,) = samples(capture)
    assert np.mean(labelled.region[labelled.target.mask] > 0) > 0.98  # the border runs through triangles
    (near,) = samples(replace(capture, scan=replace(capture.scan, labels=None)))
    mask = near.target.mask
    world = _world(near)
    distance = np.linalg.norm(world[mask] - capture.landmarks[30], axis=1)
    assert distance.max() < 95.1
    assert distance.max() > 94
    assert np.count_nonzero(mask) > 1000


def _world(sample: Sample) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(sample.camera.width) + 0.5, np.arange(sample.camera.height) + 0.5)
    K, depth = sample.camera.K, sample.depth
    camera = np.stack([(columns - K[0, 2]) / K[0, 0] * depth, -(rows - K[1, 2]) / K[1, 1] * depth, -depth], -1)
    return (camera - sample.camera.world_to_camera[:3, 3]) @ sample.camera.rotation


def test_fm27_no_counted_normal_faces_away_from_its_ray(capture):
    for sample in samples(capture, replace(PLAN, views=((60.0, 0.0),))):
        towards = np.einsum("hwc,hwc->hw", sample.target.normals, sample.camera.view_directions())
        assert (towards[sample.target.mask] > 0).all()
        assert 0 <= sample.attributes["back_facing"] < 0.05


def test_the_compiled_and_the_plain_mask_agree(capture, monkeypatch):
    camera = view_camera(face_frame(capture.landmarks, "x"), capture.landmarks, (50, 10), 500.0, 2.0, 96)
    seen = renderer().visibility(capture.scan, camera)
    maps = surface_maps(capture.scan, np.asarray(capture.scan.vertices) / 100, camera, seen)
    own = np.random.default_rng(0).random((96, 96)) < 0.8
    inside = np.where(capture.scan.labels > 0, np.float32(1), np.float32(-1))
    first = counted(capture.scan, inside, camera, seen.faces, maps, own)
    monkeypatch.setattr("fnbench.render.counted.AVAILABLE", False)
    second = counted(capture.scan, inside, camera, seen.faces, maps, own)
    np.testing.assert_array_equal(first.target.mask, second.target.mask)
    np.testing.assert_array_equal(first.target.normals, second.target.normals)
    np.testing.assert_array_equal(first.region, second.region)
    assert first.back == second.back


def test_samples_carry_what_is_known_about_them(capture):
    (sample,) = samples(capture)
    assert (sample.id, sample.capture, sample.subject) == ("p1_smile/yaw+0_pitch+0", "p1_smile", "p1")
    about = sample.attributes
    assert (about["expression"], about["source"], about["yaw"]) == ("smile", "render", 0.0)
    assert len(about["landmarks_visible"]) == 68
    assert about["landmarks_visible"][30] == "1"


def test_hidden_landmarks_are_projected_and_said_to_be_hidden(capture):
    (sample,) = samples(capture, replace(PLAN, views=((70.0, 0.0),)))
    seen = sample.attributes["landmarks_visible"]
    assert seen[0:4] == "0000"  # the far side of the jaw
    assert seen[13:16] == "111"
    assert np.isfinite(sample.landmarks).all()
    unknown = capture.landmarks.copy()
    unknown[5] = np.nan
    (partly,) = samples(replace(capture, landmarks=unknown))
    assert np.isnan(partly.landmarks[5]).all()
    assert np.isfinite(np.delete(partly.landmarks, 5, axis=0)).all()
    assert partly.attributes["landmarks_visible"][5] == "0"


def test_captures_are_listed_in_a_file(tmp_path):
    (tmp_path / "some.txt").write_text("# chosen\nann_1\n\n  ben_*\n")
    assert patterns_of(["x", f"@{tmp_path / 'some.txt'}"]) == ["x", "ann_1", "ben_*"]
    (tmp_path / "none.txt").write_text("# nothing\n")
    for name, message in (("none.txt", "found none"), ("gone.txt", "cannot be read")):
        with pytest.raises(InvalidSettingError, match=rf"{name}: .*{message}"):
            patterns_of([f"@{tmp_path / name}"])


def test_a_landmark_beyond_the_picture_is_not_visible():
    camera = Camera(np.array([[100.0, 0, 16], [0, 100, 16], [0, 0, 1]]), np.eye(4), 32, 32)
    points = np.array([[0.0, 0, -10], [1000, 0, -10], [0, 0, 10], [0, 0, -30], [np.nan] * 3])
    assert landmark_visibility(camera, points, np.full((32, 32), 12.0)) == "10000"


def test_scattered_views_stay_near_their_view_and_repeat_by_seed(capture):
    plan = replace(PLAN, views=grid([-30, 30], [0]), scatter=(12, 8), distance_scatter=1.5)
    frame = face_frame(capture.landmarks, "x")
    first, again = samples(capture, plan), samples(capture, plan)
    other = samples(capture, replace(plan, seed=5))
    for one, same, different, yaw in zip(first, again, other, (-30, 30), strict=True):
        angles = frame.angles(one.camera)
        assert abs(angles[0] - yaw) <= 12
        assert abs(angles[1]) <= 8
        assert abs(angles[2]) < 1e-6
        assert (one.attributes["yaw"], one.attributes["pitch"]) == pytest.approx(angles[:2], abs=1e-6)
        assert 1000 / 1.5 <= np.linalg.norm(one.camera.centre - frame.centre) <= 1500
        assert one.id.endswith(view_name(yaw, 0))
        np.testing.assert_array_equal(one.camera.world_to_camera, same.camera.world_to_camera)
        assert not np.array_equal(one.camera.world_to_camera, different.camera.world_to_camera)
    assert samples(capture)[0].attributes["yaw"] == 0.0


def test_chance_depends_on_the_sample_and_not_on_the_order(capture):
    both = samples(capture, replace(PLAN, views=((0.0, 0.0), (20.0, 0.0))))
    (alone,) = samples(capture, replace(PLAN, views=((20.0, 0.0),)))
    np.testing.assert_array_equal(both[1].image, alone.image)
    (other,) = samples(capture, replace(PLAN, views=((20.0, 0.0),), seed=1))
    assert (other.image != alone.image).any()
    assert encode_sample(alone).fields["sha256"] == encode_sample(both[1]).fields["sha256"]


# Photographs


def _photographed(capture: Capture, **changes: object) -> Capture:
    """The capture with one photograph: the head's own normals as colours, so that pixels can be compared."""
    K = np.array([[2000.0, 0, 300], [0, 2000, 400], [0, 0, 1]])
    camera = Camera(K, look_at(np.array([0.0, -30, 0]), 1100.0, yaw=-25, pitch=5), 600, 800)
    seen = renderer().visibility(capture.scan, camera)
    from fnbench.scans.normals import vertex_normals

    maps = surface_maps(capture.scan, vertex_normals(capture.scan.vertices, capture.scan.faces), camera, seen)
    image = np.rint((maps.normals + 1) * 127.5).astype(np.uint8)
    photograph = replace(Photograph(image, "left", camera, attributes={"light": "flash"}), **changes)
    return replace(capture, photographs=lambda: (photograph,))


def test_a_photograph_and_its_normals_lie_on_each_other(capture):
    (sample,) = samples(_photographed(capture), replace(PLAN, images="photo", size=128))
    mask = sample.target.mask
    shown = sample.image.astype(np.float64) / 127.5 - 1
    assert np.median(angular_error(shown, sample.target.normals.astype(np.float64))[mask]) < 1.0
    assert sample.attributes["source"] == "photograph"
    assert sample.attributes["light"] == "flash"
    assert sample.attributes["yaw"] == pytest.approx(-25, abs=3)
    assert sample.id == "p1_smile/left"


def test_a_photographs_mask_narrows_the_mask(capture):
    half = np.zeros((800, 600), bool)
    half[:, 300:] = True
    (sample,) = samples(_photographed(capture, mask=half), replace(PLAN, images="photo"))
    (whole,) = samples(_photographed(capture), replace(PLAN, images="photo"))
    assert 0.2 < sample.target.mask.sum() / whole.target.mask.sum() < 0.8
    assert not (sample.target.mask & ~whole.target.mask).any()


def test_photographs_without_cameras_are_refused_when_asked_for(capture):
    with pytest.raises(InvalidDataError, match="p1_smile: 1 photographs, none with a known camera"):
        samples(_photographed(capture, camera=None), replace(PLAN, images="photo"))
    with pytest.raises(InvalidDataError, match="p1_smile: 0 photographs"):
        samples(capture, replace(PLAN, images="photo"))


def test_photographs_alone_have_no_ground_truth():
    photograph = Photograph(np.zeros((8, 8, 3), np.uint8), "a")
    with pytest.raises(InvalidDataError, match="photographs alone, neither a scan nor measured normals"):
        samples(Capture("x", "x", photographs=lambda: (photograph,)))


def test_fm61_a_crop_that_leaves_the_photograph_is_moved_inwards_and_flagged():
    photograph = Photograph(np.zeros((100, 80, 3), np.uint8), "a")
    inside = np.array([[20.0, 20], [60, 60]])
    assert photo_crop(photograph, inside, 1.2) == (CropBox(16.0, 16.0, 48.0), False)
    assert photo_crop(photograph, inside - 20, 1.2) == (CropBox(0.0, 0.0, 48.0), True)
    assert photo_crop(photograph, inside + 30, 1.2) == (CropBox(32.0, 46.0, 48.0), True)
    box, moved = photo_crop(photograph, np.array([[0.0, 0], [80, 90]]), 1.2)
    assert (box.x, box.side, moved) == (0.0, 80.0, True)
    assert box.y == pytest.approx(5)


# Measured normals


def _measured(size: int = 200, **changes: object) -> Capture:
    sample = sphere_sample("a/0", size)
    points = np.full((68, 2), np.nan, np.float32)
    points[[0, 16, 8, 27]] = [[60, 100], [140, 100], [100, 150], [100, 60]]
    photograph = Photograph(sample.image, "light0", landmarks=points)
    values = {"measured": sample.target, "photographs": lambda: (replace(photograph, **changes),)}
    return Capture("m1", "m1", **values)


def test_measured_normals_are_cropped_by_landmarks_and_stay_exact():
    (sample,) = samples(_measured(), Plan(size=128))
    assert sample.attributes["crop_rule"] == "landmarks"
    x, y, side = sample.attributes["crop"]
    assert side == pytest.approx(1.2 * 90)
    columns, rows = np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5)
    px, py = x + columns * side / 128, y + rows * side / 128
    nx, ny = (px - 100) / 80, -(py - 100) / 80
    exact = np.stack([nx, ny, np.sqrt(np.maximum(0, 1 - nx * nx - ny * ny))], -1)
    mask = sample.target.mask
    assert mask.mean() > 0.9
    assert angular_error(sample.target.normals.astype(np.float64), exact)[mask & (nx**2 + ny**2 < 0.8)].max() < 0.05
    assert sample.depth is None
    np.testing.assert_allclose(sample.landmarks[0], [(60 - x) * 128 / side, (100 - y) * 128 / side], rtol=1e-5)


def test_without_landmarks_the_box_of_the_mask_is_the_crop():
    (sample,) = samples(_measured(landmarks=None), Plan(size=64))
    assert sample.attributes["crop_rule"] == "box of the mask"
    np.testing.assert_allclose(sample.attributes["crop"], [20, 20, 160])
    assert sample.camera.orthographic


def test_fm31_normals_and_photograph_of_two_sizes_are_refused():
    with pytest.raises(InvalidDataError, match=r"photograph \(100, 200\), measured normals \(200, 200\)") as caught:
        samples(_measured(image=np.zeros((100, 200, 3), np.uint8)), Plan(size=64))
    assert caught.value.code == "FM-31"


# Resampling


def test_resampling_by_whole_factors_is_exact_on_ramps():
    image = np.repeat(np.arange(0, 240, dtype=np.uint8)[None, :, None], 240, axis=0).repeat(3, axis=2)
    small = resampled_image(image, CropBox(40, 40, 160), 32)
    np.testing.assert_allclose(small[5, :, 0], 40 + (np.arange(32) + 0.5) * 5 - 0.5, atol=0.51)
    same = resampled_image(image, CropBox(10, 20, 64), 64)
    np.testing.assert_array_equal(same, image[20:84, 10:74])


def test_a_fine_pattern_does_not_alias():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resampled_image(stripes, CropBox(0, 0, 400), 53)
    assert np.ptp(small[5:-5, 5:-5].astype(int)) < 30


def test_a_pixel_whose_filter_touches_the_unknown_is_unknown():
    mask = np.ones((100, 100), bool)
    mask[:, 50:] = False
    kept = resampled_mask(mask, CropBox(0, 0, 100), 25)
    assert kept[:, :11].all()
    assert not kept[:, 12:].any()
    assert resampled_mask(np.ones((100, 100), bool), CropBox(0, 0, 100), 37).all()


@given(turn=st.floats(0, 360), size=st.integers(16, 96), side=st.floats(30, 150))
def test_resampled_normals_keep_their_length_and_a_constant_stays(turn, size, side):
    a = np.radians(turn)
    normal = np.array([0.6 * np.cos(a), 0.6 * np.sin(a), 0.8], np.float32)
    target = NormalMap(np.tile(normal, (160, 160, 1)), np.ones((160, 160), bool))
    small = resampled_normals(target, CropBox(5, 5, side), size)
    assert small.mask.all()
    np.testing.assert_allclose(small.normals, np.tile(normal, (size, size, 1)), atol=1e-6)


def test_normals_that_cancel_are_not_averaged_into_one():
    normals = np.zeros((64, 64, 3), np.float32)
    normals[..., 0] = np.where(np.arange(64) % 2 == 0, 1, -1)
    small = resampled_normals(NormalMap(normals, np.ones((64, 64), bool)), CropBox(0, 0, 64), 8)
    assert not small.mask.any()


# Bad captures


def test_fm28_an_inside_out_mesh_is_refused(capture):
    inside_out = replace(capture.scan, faces=np.ascontiguousarray(capture.scan.faces[:, ::-1]))
    with pytest.raises(InvalidDataError, match="winding of the mesh is inverted") as caught:
        samples(replace(capture, scan=inside_out))
    assert caught.value.code == "FM-28"


@pytest.mark.parametrize("factor", [0.001, 0.1, 10])
def test_fm29_a_face_in_another_unit_is_refused_with_the_factor(capture, factor):
    other = replace(
        capture,
        landmarks=capture.landmarks * factor,
        scan=replace(capture.scan, vertices=capture.scan.vertices * factor),
    )
    with pytest.raises(
        InvalidDataError, match=rf"p1_smile: the outer eye corners .* a factor of {1 / factor:g}\?"
    ) as caught:
        samples(other)
    assert caught.value.code == "FM-29"


def test_fm30_an_empty_view_names_camera_and_box(capture):
    far = replace(capture.scan, vertices=capture.scan.vertices + [5000.0, 0, 0])
    with pytest.raises(
        InvalidDataError, match=r"nothing of the face is visible \(camera at \(.*scan from \(4"
    ) as caught:
        samples(replace(capture, scan=far))
    assert caught.value.code == "FM-30"


def test_fm30_a_failed_view_fails_its_capture_and_nothing_else(tmp_path, capture):
    adapter = _Two(capture)
    report = render_dataset(adapter, tmp_path / "f.h5", PLAN)
    assert list(report.failed) == ["b"]
    assert Store(tmp_path / "f.h5").captures == ["a"]


class _Two:
    """A good capture and one whose face lies elsewhere."""

    name = "two"

    def __init__(self, good: Capture) -> None:
        self.good = good

    def capture_ids(self) -> list[str]:
        return ["a", "b"]

    def load(self, capture_id: str) -> Capture:
        if capture_id == "a":
            return replace(self.good, id="a")
        scan = self.good.scan
        return replace(self.good, id="b", scan=replace(scan, vertices=scan.vertices + [5000.0, 0, 0]))


def test_an_unknown_nose_needs_labels(capture):
    blind = capture.landmarks.copy()
    blind[30] = np.nan
    assert samples(replace(capture, landmarks=blind))
    with pytest.raises(InvalidDataError, match="the tip of the nose"):
        samples(replace(capture, landmarks=blind, scan=replace(capture.scan, labels=None)))


# Plans


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sise": 64}, "no setting 'sise'. Did you mean size?"),
        ({"size": "64"}, "size is '64', expected something like 256"),
        ({"size": 4}, "size is 4, expected 8 to 8192"),
        ({"views": [[0]]}, "views is"),
        ({"views": []}, "views are empty"),
        ({"views": [[0, 0], [0, 0]]}, "repeated"),
        ({"views": [[0, 95]]}, "pitch within 89"),
        ({"images": "video"}, "expected render or photo"),
        ({"depth": 1}, "depth is 1"),
        ({"distance": float("nan")}, "distance is nan"),
        ({"scatter": 10}, "scatter is 10"),
        ({"scatter": [10, -1]}, "scatter is .*degrees of yaw and of pitch"),
        ({"distance_scatter": 0.5}, "distance_scatter is 0.5, expected 1 to 10"),
    ],
)
def test_an_impossible_plan_is_named(settings, message):
    with pytest.raises(InvalidSettingError, match=message.replace("?", r"\?")):
        plan_from(settings)


def test_a_plan_survives_its_file_and_its_hash_its_spelling(tmp_path):
    (tmp_path / "p.toml").write_text("size = 128\nviews = [[0, 0], [30, 0]]\n[appearance]\nsensor = false\n")
    (tmp_path / "p.json").write_text('{"views": [[0.0, 0.0], [30, 0]], "appearance": {"sensor": false}, "size": 128}')
    plan = read_plan(tmp_path / "p.toml")
    assert plan == read_plan(tmp_path / "p.json")
    assert plan.hash == read_plan(tmp_path / "p.json").hash
    assert plan_from(plan.settings) == plan
    assert replace(plan, seed=1).hash != plan.hash


@pytest.mark.parametrize(("text", "message"), [("size = ", "neither TOML nor JSON"), ("[[a]]\n", "no setting 'a'")])
def test_a_plan_file_that_is_none_is_named(tmp_path, text, message):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InvalidSettingError, match=rf"p\.toml: .*{message}"):
        read_plan(tmp_path / "p.toml")


def test_an_unknown_renderer_is_refused_before_any_work(tmp_path, capture):
    with pytest.raises(UnknownNameError, match="rastre"):
        render_dataset(_Two(capture), tmp_path / "f.h5", replace(PLAN, renderer="rastre"))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_appearance_setting_is_refused_before_any_work(tmp_path, capture):
    with pytest.raises(InvalidSettingError, match="lamp"):
        render_dataset(_Two(capture), tmp_path / "f.h5", replace(PLAN, appearance={"lamp": 1}))
    assert list(tmp_path.iterdir()) == []
