"""Detail of a normal map on a coarse mesh: recovered where it is known in closed form, and nothing else moved."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fnbench.camera import Camera, camera_from_json, look_at
from fnbench.cli import main
from fnbench.encodings import encoded
from fnbench.errors import FnbenchError, InvalidDataError, InvalidSettingError
from fnbench.frames import from_canonical
from fnbench.metrics import angular_error
from fnbench.png import write_png
from fnbench.refine import Target, read_target, refined
from fnbench.refine.subdivide import subdivided
from fnbench.render.backends import renderer
from fnbench.render.shade import surface_maps
from fnbench.scans.edges import edges_of
from fnbench.scans.normals import vertex_normals
from fnbench.scans.read import read_scan
from fnbench.scans.write import write_scan
from fnbench.types import Scan
from tests.meshes import back_project, sphere, sphere_seen

SIZE = 200
WAVE = 30.0
"""Wavelength of the bumps in millimetres; their height is 1."""


def camera(orthographic=False):
    scale = 0.95 if orthographic else 950.0
    K = np.array([[scale, 0, SIZE / 2], [0, scale, SIZE / 2], [0, 0, 1]])
    return Camera(K, look_at(np.zeros(3), 1000.0, yaw=10, pitch=-5), SIZE, SIZE, orthographic)


def bump(points):
    """Height of the bumps at points on the sphere, and its gradient in space."""
    k = 2 * np.pi / WAVE
    x, y = k * points[..., 0], k * points[..., 1]
    slope = np.stack([k * np.cos(x) * np.sin(y), k * np.sin(x) * np.cos(y), np.zeros_like(x)], axis=-1)
    return np.sin(x) * np.sin(y), slope


def bumpy_target(view):
    """The normals of a sphere with bumps, in closed form: to first order in their height over the radius."""
    _, depth = sphere_seen(view)
    inverse = np.linalg.inv(view.world_to_camera)
    points = back_project(view, depth) @ inverse[:3, :3].T + inverse[:3, 3]
    known = np.isfinite(points).all(axis=-1)
    points = np.where(known[..., None], points, 1.0)
    out = points / np.linalg.norm(points, axis=-1, keepdims=True)
    slope = bump(points)[1]
    slope -= (slope * out).sum(-1, keepdims=True) * out
    normals = out - slope
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True) @ view.rotation.T
    return Target(np.where(known[..., None], normals, 0), known.astype(float))


def own_maps(scan, view):
    visible = renderer().visibility(scan, view)
    return surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, visible)


def own_target(scan, view):
    maps = own_maps(scan, view)
    return Target(maps.normals.astype(float), maps.mask.astype(float))


@pytest.mark.parametrize("orthographic", [False, True])
def test_bumps_in_closed_form_are_recovered(orthographic):
    view, coarse = camera(orthographic), sphere(4)
    result = refined(coarse, view, bumpy_target(view), subdivide=2)
    before, after = (errors.mean() for errors in result.errors)
    assert before > 6
    assert after < 0.4 * before
    start, end = result.coarse.vertices, result.scan.vertices
    on_sphere = 100 * start / np.linalg.norm(start, axis=1, keepdims=True)
    middle = view.to_camera(on_sphere)[:, 2] > view.to_camera(np.zeros((1, 3)))[0, 2] + 80
    # A chord lies within the sphere; the map rounds it, so heights count from the sphere itself.
    height = np.linalg.norm(end, axis=1)[middle] - 100
    expected = bump(on_sphere)[0][middle]
    assert np.corrcoef(height, expected)[0, 1] > 0.95
    assert np.polyfit(expected, height, 1)[0] == pytest.approx(1, abs=0.2)


def test_without_subdivision_detail_is_never_exaggerated():
    view, coarse = camera(), sphere(5)
    result = refined(coarse, view, bumpy_target(view))
    height = np.linalg.norm(result.scan.vertices, axis=1) - 100
    expected = bump(coarse.vertices)[0]
    moved = result.moved > 0
    gain = (height[moved] @ expected[moved]) / (expected[moved] @ expected[moved])
    assert 0.7 < gain < 1.05
    assert len(result.scan.vertices) == len(coarse.vertices)


def test_no_detail_no_change():
    view, coarse = camera(), sphere(4)
    result = refined(coarse, view, own_target(coarse, view))
    assert result.moved.max() < 1e-9
    np.testing.assert_array_equal(result.scan.faces, coarse.faces)


def test_what_the_camera_does_not_see_or_the_mask_leaves_out_stays():
    view, coarse = camera(), sphere(4)
    target = bumpy_target(view)
    weight = target.weight.copy()
    weight[:, : SIZE // 2] = 0
    result = refined(coarse, view, Target(target.normals, weight))
    moved = result.moved > 0
    pixel, depth = view.project(coarse.vertices)
    assert moved.any()
    assert pixel[moved, 0].min() > SIZE / 2 - 12  # one ring of faces reaches over
    assert depth[moved].max() < 1000


def test_the_border_of_an_open_mesh_stays():
    view, whole = camera(), sphere(4)
    kept = whole.vertices[whole.faces][:, :, 2].min(axis=1) > 20
    open_mesh = replace(whole, faces=whole.faces[kept])
    result = refined(open_mesh, view, bumpy_target(view))
    edges, of_face = edges_of(open_mesh.faces)
    border = np.unique(edges[np.bincount(of_face.ravel()) == 1])
    assert len(border) > 20
    assert not result.moved[border].any()
    assert result.moved.max() > 0.3


def test_copies_of_a_position_move_together():
    view, whole = camera(), sphere(3)
    corners = whole.faces.ravel()
    split = replace(
        whole, vertices=whole.vertices[corners], faces=np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    )
    joined = refined(whole, view, bumpy_target(view))
    apart = refined(split, view, bumpy_target(view))
    assert joined.moved.max() > 0.2
    np.testing.assert_allclose(apart.scan.vertices, joined.scan.vertices[corners], atol=1e-9)


def test_long_waves_are_left_to_the_mesh():
    view, coarse = camera(), sphere(4)
    target = bumpy_target(view)
    near, far = (refined(coarse, view, target, detail=detail).moved.max() for detail in (5.0, 100.0))
    assert near < 0.15 * far


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_subdividing_keeps_the_surface_whole(seed, share):
    rng = np.random.default_rng(seed)
    ball = sphere(1)
    plane = ball.vertices[:, :2] / 200 + 0.5
    ball = replace(ball, uv=plane, uv_faces=ball.faces.copy())
    edges, _ = edges_of(ball.faces)
    split = rng.uniform(size=len(edges)) < share
    cut = subdivided(ball, split)
    new_edges, of_face = edges_of(cut.faces)
    assert (np.bincount(of_face.ravel()) == 2).all()  # closed: no crack, no fold
    assert len(cut.vertices) == len(ball.vertices) + split.sum()
    assert len(cut.vertices) - len(new_edges) + len(cut.faces) == 2
    for found, expected in zip(_areas(cut), _areas(ball), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(cut.uv[cut.uv_faces], cut.vertices[cut.faces][..., :2] / 200 + 0.5)


def _areas(scan):
    """The closed surface's area vector, and its area."""
    a, b, c = (scan.vertices[scan.faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a).sum(axis=0), np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()


def test_maps_of_another_frame_or_mesh_are_refused():
    view, coarse = camera(), sphere(4)
    target = bumpy_target(view)
    with pytest.raises(InvalidDataError, match=r"degrees \(median\) from those of"):
        refined(coarse, view, Target(from_canonical(target.normals, "opencv"), target.weight), name="map.png")
    away = Camera(view.K, look_at(np.array([0, 5000.0, 0]), 1000.0), SIZE, SIZE)
    with pytest.raises(InvalidDataError, match="sees nothing of it"):
        refined(coarse, away, target)
    with pytest.raises(InvalidSettingError, match="subdivide is 9"):
        refined(coarse, view, target, subdivide=9)
    with pytest.raises(InvalidSettingError, match="detail is -1"):
        refined(coarse, view, target, detail=-1)


# Files


def camera_json(view, **changes):
    about = {"K": view.K.tolist(), "world_to_camera": view.opencv.tolist(), "width": SIZE, "height": SIZE}
    return json.dumps(about | changes)


@pytest.fixture
def files(tmp_path):
    """Coarse mesh, map and camera as somebody has them on disk."""
    view = camera()
    target = bumpy_target(view)
    codes = encoded(target.normals, "127.5", np.uint16)
    write_png(tmp_path / "n.png", np.where(target.weight[..., None] > 0, codes, 0).astype(np.uint16))
    (tmp_path / "c.json").write_text(camera_json(view))
    write_scan(tmp_path / "coarse.obj", sphere(4))
    return tmp_path


def run(folder, *more, mesh="coarse.obj"):
    names = {"--mesh": mesh, "--normals": "n.png", "--camera": "c.json", "--out": "fine.obj"}
    arguments = [word for key, name in names.items() for word in (key, str(folder / name))]
    return CliRunner().invoke(main, ["refine", *arguments, *map(str, more)])


def test_the_verb_refines_a_file_and_says_how_far(files):
    result = run(files, "--subdivide", 1, "--picture", files / "look.png")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    before, after = (float(word) for word in lines[1].split()[1:])
    assert after < 0.6 * before
    fine = read_scan(files / "fine.obj", unit=None)
    assert len(fine.vertices) > len(sphere(4).vertices)
    assert f"{len(fine.vertices)} vertices, {len(fine.faces)} faces" in lines[-1]
    with Image.open(files / "look.png") as look:
        assert look.width > 600
    maps = own_maps(fine, camera())
    target = bumpy_target(camera())
    both = maps.mask & (target.weight > 0)
    assert angular_error(maps.normals[both], target.normals[both]).mean() == pytest.approx(after, abs=0.02)


def test_texture_coordinates_and_texture_come_along(files):
    ball = sphere(3)
    texture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    textured = replace(ball, uv=ball.vertices[:, :2] / 200 + 0.5, uv_faces=ball.faces, texture=texture)
    write_scan(files / "textured.obj", textured)
    assert run(files, "--subdivide", 1, mesh="textured.obj").exit_code == 0
    fine = read_scan(files / "fine.obj", unit=None)
    np.testing.assert_array_equal(fine.texture, texture)
    np.testing.assert_array_equal(fine.uv[fine.uv_faces].shape, (len(fine.faces), 3, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "c.json").write_text("{}"), "no camera ('K'); expected JSON"),
        (lambda f: (f / "c.json").write_text(camera_json(camera(), width=9)), "a camera of 9x200 pixels, but"),
        (lambda f: (f / "c.json").write_text(camera_json(camera(), distortion=[0.1])), "with lens distortion"),
        (lambda f: (f / "c.json").write_text(camera_json(camera(), axes="up")), "axes 'up', expected opencv"),
        (lambda f: (f / "c.json").unlink(), "this file is missing"),
        (lambda f: (f / "n.png").unlink(), "no such normal map"),
        (lambda f: Image.new("RGB", (SIZE, SIZE)).save(f / "n.png"), "not one vector has about unit length"),
        (lambda f: Image.new("L", (SIZE, SIZE)).save(f / "n.png"), "expected height x width x 3"),
        (lambda f: (f / "coarse.obj").write_text("no mesh"), "coarse.obj"),
    ],
)
def test_a_file_that_does_not_fit_is_named_and_nothing_is_written(files, change, message):
    change(files)
    result = run(files)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (files / "fine.obj").exists()


def test_only_obj_is_written(files):
    result = CliRunner().invoke(
        main,
        ["refine", "--mesh", str(files / "coarse.obj"), "--normals", str(files / "n.png")]
        + ["--camera", str(files / "c.json"), "--out", str(files / "fine.ply")],
    )
    assert result.exit_code == 2
    assert "meshes are written as .obj" in result.output


def test_masks_weigh_the_map_and_must_fit_it(files):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[: SIZE // 2] = 51
    Image.fromarray(mask).save(files / "m.png")
    weight = read_target(files / "n.png", mask=files / "m.png").weight
    assert set(np.unique(weight)) == {0.0, 0.2}
    Image.fromarray(mask[:-1]).save(files / "m.png")
    with pytest.raises(InvalidDataError, match="m.png: 200x199 pixels, but the normal map has 200x200"):
        read_target(files / "n.png", mask=files / "m.png")


def test_arrays_in_another_frame_are_read_alike(files):
    target = read_target(files / "n.png")
    np.save(files / "n.npy", from_canonical(target.normals, "opencv").astype(np.float32))
    other = read_target(files / "n.npy", frame="opencv")
    np.testing.assert_allclose(other.normals, target.normals, atol=1e-6)
    np.testing.assert_array_equal(other.weight, target.weight)


def test_cameras_of_both_axes_are_the_same_camera():
    view = camera()
    opencv = camera_from_json(camera_json(view), "a").camera(SIZE, SIZE)
    ours = camera_json(view, world_to_camera=view.world_to_camera[:3].tolist(), axes="canonical")
    for found in (opencv, camera_from_json(ours, "b").camera(SIZE, SIZE)):
        np.testing.assert_allclose(found.world_to_camera, view.world_to_camera, atol=1e-12)


def test_a_real_scan_made_coarse_gets_its_detail_back(shared_data):
    folder = shared_data / "menpo3d_james"
    scan = read_scan(folder / "james.obj", texture=False)
    stated = json.loads((folder / "james_cameras_derived.json").read_text())["left"]
    extrinsics = np.column_stack([stated["R"], np.ravel(stated["t"])])
    K = np.diag([0.4, 0.4, 1]) @ np.array(stated["K"])
    view = Camera.from_opencv(K, extrinsics, int(0.4 * stated["width"]), int(0.4 * stated["height"]))
    target = own_target(scan, view)
    result = refined(clustered(scan, 14.0), view, target, subdivide=2)
    before, after = (errors.mean() for errors in result.errors)
    assert before > 8
    assert after < 0.65 * before
    assert result.moved.max() < 14


def clustered(scan, cell):
    """Fewer vertices: those of a cube of space become their mean."""
    _, of_vertex = np.unique(np.floor(scan.vertices / cell).astype(int), axis=0, return_inverse=True)
    of_vertex = of_vertex.ravel()
    count = np.bincount(of_vertex)
    means = np.stack([np.bincount(of_vertex, scan.vertices[:, k]) / count for k in range(3)], axis=-1)
    faces = of_vertex[scan.faces]
    kept = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return Scan(means, np.unique(faces[kept], axis=0).astype(np.int32), name="coarse scan")


def test_every_error_is_one_that_a_user_can_act_on(files):
    assert issubclass(InvalidDataError, FnbenchError)
    (files / "n.png").write_bytes((files / "n.png").read_bytes()[:200])
    result = run(files)
    assert result.exit_code == 2
    assert "damaged PNG" in result.output
