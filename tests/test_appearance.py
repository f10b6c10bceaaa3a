"""Pictures of scans without photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fnbench.camera import Camera, landmark_crop, look_at
from fnbench.errors import InvalidSettingError
from fnbench.render import appearance
from fnbench.render.backends import renderer
from fnbench.render.light import Light, Lighting
from fnbench.render.shade import surface_maps
from fnbench.scans import head
from fnbench.scans.normals import vertex_normals


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
