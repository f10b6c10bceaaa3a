"""Pictures of scans without photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fnbench.camera import Camera, landmark_crop, look_at
from fnbench.errors import InvalidSettingError
from fnbench.render import appearance
from fnbench.render.backends import renderer
from fnbench.render.background import BACKGROUNDS, sample_background
from fnbench.render.light import (
    Light,
    Lighting,
    ambient_irradiance,
    arriving,
    camera_points,
    harmonics,
    middle,
    shadow,
    world_points,
)
from fnbench.render.sensor import Sensor, decode, develop, encode
from fnbench.render.shade import surface_maps
from fnbench.render.skin import face_frame, paint, sample_person
from fnbench.scans import head
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan


@pytest.fixture(scope="module")
def scene():
    """The mean head, its landmarks, a frontal camera of 96 pixels, and its maps."""
    scan, points = head.template()
    pose = look_at(points[27:].mean(axis=0), 1000.0)
    camera = Camera(np.array([[4000, 0, 2000], [0, 4000, 2000], [0, 0, 1.0]]), pose, 4000, 4000)
    camera = camera.crop(landmark_crop(camera.project(points)[0]), 96)
    visibility = renderer().visibility(scan, camera)
    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), camera, visibility)
    return scan, points, camera, maps


def picture_of(scene, seed=0, **options):
    scan, points, camera, maps = scene
    return appearance.picture(scan, maps, camera, np.random.default_rng(seed), landmarks=points, **options)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(scene):
    first, second, other = picture_of(scene), picture_of(scene), picture_of(scene, seed=1)
    np.testing.assert_array_equal(first.image, second.image)
    assert dict(first.attributes) == dict(second.attributes)
    assert (first.image != other.image).mean() > 0.5


def test_what_was_drawn_is_plain_data(scene):
    import json

    attributes = dict(picture_of(scene).attributes)
    assert json.loads(json.dumps(attributes)) == attributes
    assert attributes["light"] in appearance.SETUPS
    for light in attributes["lights"]:
        assert np.linalg.norm(light["direction"]) == pytest.approx(1, abs=1e-6)


def test_a_texture_comes_before_colours_and_colours_before_procedural_skin(scene):
    scan, points, camera, maps = scene
    rng = np.random.default_rng(0)
    green = replace(scan, colors=np.tile(np.array([[0, 200, 0]], np.uint8), (len(scan.vertices), 1)))
    found = appearance.picture(green, maps, camera, rng, landmarks=points)
    assert found.attributes["albedo"] == "vertex colours"
    face = found.image[40:60, 40:60].astype(int)
    assert (face[..., 1] > face[..., 0] + 20).all()
    assert picture_of(scene).attributes["albedo"] == "procedural skin"


def test_texture_rows_run_down_while_v_runs_up():
    texture = np.zeros((4, 4, 3), np.uint8)
    texture[0] = 255
    uv = np.array([[[0.5, 0.95]], [[0.5, 0.05]]], np.float32)
    found = appearance.sampled(texture, uv, np.ones((2, 1), bool))
    np.testing.assert_allclose(found[:, 0, 0], [1, 0], atol=1e-5)


def test_a_light_from_the_left_brightens_the_left_of_the_picture(scene):
    scan, _, camera, maps = scene
    lighting = Lighting("side", np.zeros((9, 3)), (Light((-0.8, 0.0, 0.6), (1.0, 1.0, 1.0), 1.0),))
    white = np.ones((*maps.mask.shape, 3), np.float32)
    seen = appearance.camera_points(maps, camera)
    settings = appearance.Settings(specular=False)
    light = appearance.radiance(scan, maps, camera, lighting, settings, (seen, white, white[..., :2]), renderer())
    assert light[:, :40][maps.mask[:, :40]].mean() > 1.5 * light[:, 56:][maps.mask[:, 56:]].mean()


def test_unknown_settings_are_named():
    with pytest.raises(InvalidSettingError, match="no setting 'shadow'"):
        appearance.settings_from({"shadow": True})
    with pytest.raises(InvalidSettingError, match="expected some of studio"):
        appearance.Settings(lights=("disco",))


def plane_with_a_ball():
    """A square of 200 mm in z = 0, and a ball of 20 mm that floats 60 mm before its middle."""
    import trimesh

    ball = trimesh.creation.icosphere(3, 20)
    square = np.array([[-100.0, -100, 0], [100, -100, 0], [100, 100, 0], [-100, 100, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return Scan(
        np.concatenate([square, np.asarray(ball.vertices) + [0, 0, 60]]),
        np.concatenate([faces, np.asarray(ball.faces) + 4]).astype(np.int32),
    )


@pytest.mark.parametrize("distance", [np.inf, 400.0])
def test_a_ball_casts_its_shadow_where_geometry_says(distance):
    scan = plane_with_a_ball()
    camera = Camera(np.array([[0.5, 0, 50], [0, 0.5, 50], [0, 0, 1]]), look_at(np.zeros(3), 500.0), 100, 100, True)
    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), camera, renderer().visibility(scan, camera))
    points = world_points(camera_points(maps, camera), camera)
    direction = np.array([0.6, 0.0, 0.8])
    light = Light(tuple(direction), (1.0, 1.0, 1.0), 0.5, distance)
    share = shadow(scan, vertex_normals(scan.vertices, scan.faces), renderer(), light, camera, points)
    flat = np.abs(points[..., 2]) < 1e-3
    lamp = middle(points) + direction * min(distance, 1e6)
    towards = lamp - points
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    to_ball = np.array([0, 0, 60.0]) - points
    apart = np.linalg.norm(to_ball - (to_ball * towards).sum(-1, keepdims=True) * towards, axis=-1)
    assert share[flat & (apart < 17)].max() < 0.2
    assert share[flat & (apart > 23)].min() > 0.8
    assert (flat & (apart < 17)).sum() > 100


def test_a_lamp_fades_with_the_square_of_its_distance():
    points = np.zeros((1, 2, 3), np.float32)
    points[0, 0, 2], points[0, 1, 2] = 50, -50
    out, strength = arriving(Light((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), 1.0, 500.0), points)
    np.testing.assert_allclose(out, np.broadcast_to([0, 0, 1], (1, 2, 3)), atol=1e-6)
    assert strength[0, 0] / strength[0, 1] == pytest.approx((550 / 450) ** 2, rel=1e-5)


def test_harmonics_are_orthonormal_and_a_constant_sky_lights_all_normals_alike():
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((200_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    basis = harmonics(directions)
    np.testing.assert_allclose(4 * np.pi * basis.T @ basis / len(basis), np.eye(9), atol=0.03)
    sky = np.zeros((9, 3))
    sky[0] = 0.5 / 0.282095
    np.testing.assert_allclose(ambient_irradiance(Lighting("ring", sky, ()), directions[:50]), 0.5, rtol=1e-5)


def test_ambient_light_is_the_integral_of_the_sky_over_the_hemisphere():
    rng = np.random.default_rng(1)
    sky = np.zeros((9, 3))
    sky[:, 0] = [3.0, 0.5, -0.3, 0.2, 0.3, -0.2, 0.1, 0.2, -0.1]
    directions = rng.standard_normal((400_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    normal = np.array([[0.48, 0.6, 0.64]])
    radiance = harmonics(directions) @ sky[:, 0]
    integral = 4 * np.pi * (radiance * np.maximum(directions @ normal[0], 0)).mean() / np.pi
    assert ambient_irradiance(Lighting("ring", sky, ()), normal)[0, 0] == pytest.approx(integral, rel=0.01)


def test_lips_are_redder_than_cheeks_and_pupils_darker_than_the_white():
    points = head.landmarks(head.Shape())
    frame = face_frame(points)
    for seed in range(6):
        person = sample_person(np.random.default_rng(seed))

        def colour(*positions, person=person):
            return paint(person, np.array(positions), frame(points))[0].mean(axis=0)

        place = frame(points)
        lip = colour(place[[50, 62]].mean(axis=0), place[[57, 66]].mean(axis=0))
        cheek = colour(*(place[[36, 48]].mean(axis=0) + [[-4, 0, 0], [-6, -6, 0]]))
        assert lip[0] / lip[1] > 1.1 * cheek[0] / cheek[1] or person.beard > 0.5
        middle_of_eye = place[[42, 45]].mean(axis=0) + [0, 1.5, 0]
        assert colour(middle_of_eye).mean() < 0.3 * colour(middle_of_eye + [8.0, -1.5, 0]).mean()


def test_a_person_looks_the_same_in_every_picture():
    points = np.random.default_rng(0).uniform(-60, 60, (500, 3))
    first, second = (paint(sample_person(np.random.default_rng(5)), points, None)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = paint(sample_person(np.random.default_rng(6)), points, None)[0]
    assert np.abs(first - other).mean() > 0.02


def test_teeth_lie_behind_the_lips_and_never_on_rolled_or_closed_ones():
    points = head.landmarks(head.Shape(expression=head.EXPRESSIONS["mouth-open"]))
    marks = face_frame(points)(points)
    person = replace(sample_person(np.random.default_rng(0)), beard=0.0, makeup=0.0, lip=np.float32([0.3, 0.1, 0.1]))
    between = (marks[62] + marks[66]) / 2 + [2.0, 2.0, 0.0]  # off the gap between two teeth

    def white(at, landmarks):
        return float(paint(person, at[None], landmarks)[0][0, 1]) > 0.3

    assert white(between - [0, 0, 10], marks)
    assert not white(between, marks)  # a lip that bulges into the opening
    rolled = marks.copy()
    rolled[61:64], rolled[65:68] = marks[[67, 66, 65]], marks[[63, 62, 61]]
    assert not white(between - [0, 0, 10], rolled)


def test_without_landmarks_skin_is_plain(scene):
    scan, _, camera, maps = scene
    found = appearance.picture(scan, maps, camera, np.random.default_rng(0))
    assert found.attributes["albedo"] == "procedural skin"
    assert found.image.shape == (96, 96, 3)


def test_a_fine_texture_is_averaged_not_sampled():
    texture = (np.indices((1024, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    u = (np.arange(64) + 0.5) / 64
    uv = np.stack(np.meshgrid(u, u), axis=-1).astype(np.float32)
    np.testing.assert_allclose(appearance.sampled(texture, uv, np.ones((64, 64), bool)), 0.5, atol=0.02)


def test_srgb_bytes_come_back_from_linear_light():
    bytes_ = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(encode(decode(bytes_)), bytes_)


def test_the_sensor_blurs_adds_noise_and_compresses():
    linear = np.full((64, 64, 3), 0.2, np.float32)
    linear[:, 32:] = 0.6
    clean = develop(linear, Sensor(blur=0.0), np.random.default_rng(0)).astype(float)
    assert len(np.unique(clean[..., 0])) == 2
    blurred = develop(linear, Sensor(blur=2.0), np.random.default_rng(0)).astype(float)
    assert np.abs(np.diff(blurred[..., 0], axis=1)).max() < 0.5 * np.abs(np.diff(clean[..., 0], axis=1)).max()
    noisy = develop(linear, Sensor(blur=0.0, noise=0.03), np.random.default_rng(0)).astype(float)
    assert 1 < noisy[:, :30].std() < 15
    packed = develop(linear, Sensor(blur=0.0, noise=0.03, quality=60), np.random.default_rng(0)).astype(float)
    assert 0.5 < np.abs(packed - noisy).mean() < 15


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_fill_the_picture(kind):
    name, picture = sample_background(np.random.default_rng(0), (48, 64), (kind,))
    assert name == kind
    assert picture.shape == (48, 64, 3)
    assert np.isfinite(picture).all()
    assert picture.min() >= 0


def test_occluders_are_off_unless_asked_for_and_are_named(scene):
    assert {picture_of(scene, seed=seed).attributes["occluder"] for seed in range(4)} == {"none"}
    settings = appearance.Settings(occluders=1.0)
    names = {picture_of(scene, seed=seed, settings=settings).attributes["occluder"] for seed in range(8)}
    assert names <= {"card", "hand", "strands", "blob"}
    assert len(names) > 1
    with pytest.raises(InvalidSettingError, match="occluders is 2"):
        appearance.Settings(occluders=2)


def test_the_same_light_setup_can_be_asked_for(scene):
    settings = appearance.Settings(lights=("side",), backgrounds=("plain",))
    attributes = picture_of(scene, settings=settings).attributes
    assert attributes["light"] == "side"
    assert attributes["background"] == "plain"
    assert abs(attributes["lights"][0]["direction"][0]) > 0.8
