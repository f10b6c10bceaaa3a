"""Exact maps: closed forms, perspective, seams, and the plain path against the compiled one."""

from __future__ import annotations

import numpy as np
import pytest

from fnbench.camera import Camera, look_at
from fnbench.render import shade
from fnbench.render.backends import renderer
from fnbench.render.shade import SurfaceMaps, surface_maps
from fnbench.scans import normals as normals_module
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan, Visibility
from tests.meshes import back_project, degrees_between, sphere, sphere_seen


def camera(size: int = 128, *, orthographic: bool = False, yaw: float = 0.0, pitch: float = 0.0) -> Camera:
    focal = 0.4 if orthographic else 320.0
    K = np.array([[focal * size / 128, 0.3, size / 2], [0, focal * size / 128, size / 2 + 3.2], [0, 0, 1]])
    return Camera(K, look_at(np.zeros(3), 800.0, yaw=yaw, pitch=pitch), size, size, orthographic)


@pytest.mark.parametrize("orthographic", [False, True])
def test_a_sphere_has_the_normals_and_depths_of_a_sphere(orthographic: bool) -> None:
    scan, view = sphere(6), camera(yaw=20, pitch=-10, orthographic=orthographic)
    exact = scan.vertices / 100.0

    maps = surface_maps(scan, exact, view, renderer().visibility(scan, view))
    normals, depth = sphere_seen(view)
    error = degrees_between(maps.normals, normals)[maps.mask]

    assert maps.mask.sum() == pytest.approx(np.isfinite(depth).sum(), rel=0.005)
    assert error.mean() < 0.03
    inner = maps.mask & (normals[..., 2] > 0.3)
    assert np.abs(maps.depth - depth)[inner].max() < 0.2  # the chord of a 4 mm edge, seen at 70 degrees
    assert maps.facing[maps.mask].all()


def test_the_error_on_a_sphere_falls_with_the_square_of_the_edge() -> None:
    view = camera(yaw=20)
    means = []
    for subdivisions in (4, 5, 6):
        scan = sphere(subdivisions)
        maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, renderer().visibility(scan, view))
        inner = maps.mask & (sphere_seen(view)[0][..., 2] > 0.3)
        means.append(degrees_between(maps.normals, sphere_seen(view)[0])[inner].mean())

    assert means[0] / means[1] == pytest.approx(4, rel=0.25)
    assert means[1] / means[2] == pytest.approx(4, rel=0.25)


@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (50, 20), (-75, 5)])
def test_a_plane_has_one_normal_and_the_depth_of_a_plane(orthographic: bool, yaw: float, pitch: float) -> None:
    corners = np.array([[-90.0, -90, 20], [90, -90, -15], [90, 90, 5], [-90, 90, 40]])
    corners[:, 2] = 0.1 * corners[:, 0] + 0.3 * corners[:, 1] + 7
    plane = np.array([-0.1, -0.3, 1]) / np.sqrt(1.1)
    scan = Scan(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    view = camera(yaw=yaw, pitch=pitch, orthographic=orthographic)

    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, renderer().visibility(scan, view))
    turned = view.rotation @ (plane / np.linalg.norm(plane))

    assert maps.mask.sum() > 100
    assert degrees_between(maps.normals[maps.mask], turned).max() < 1e-4
    points = back_project(view, maps.depth)[maps.mask]
    distance = (points - view.to_camera(corners[:1])[0]) @ turned
    assert np.abs(distance).max() < 1e-3


def test_rotating_the_camera_rotates_the_normals() -> None:
    """Scan and camera turned together: same picture; the scan alone: normals turn with it."""
    scan, view = sphere(4), camera(yaw=15)
    turn = look_at(np.zeros(3), 0.0, yaw=40, pitch=25)
    turned_scan = Scan(scan.vertices @ turn[:3, :3].T, scan.faces)
    turned_view = Camera(view.K, view.world_to_camera @ np.linalg.inv(turn), view.width, view.height)

    first = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, renderer().visibility(scan, view))
    second = surface_maps(
        turned_scan,
        vertex_normals(turned_scan.vertices, turned_scan.faces),
        turned_view,
        renderer().visibility(turned_scan, turned_view),
    )

    both = first.mask & second.mask
    assert (first.mask ^ second.mask).sum() <= 2
    assert degrees_between(first.normals[both], second.normals[both]).max() < 1e-3


def test_weights_rebuild_the_point_that_the_pixel_sees() -> None:
    scan, view = sphere(3), camera(yaw=-30)
    seen = renderer().visibility(scan, view)

    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, seen)
    points = np.einsum("pc,pcx->px", maps.weights[maps.mask], scan.vertices[scan.faces[seen.faces[maps.mask]]])
    pixel, depth = view.project(points)
    rows, columns = np.nonzero(maps.mask)

    np.testing.assert_allclose(maps.weights[maps.mask].sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(pixel, np.stack([columns, rows], -1) + 0.5, atol=1e-4)
    np.testing.assert_allclose(depth, maps.depth[maps.mask], rtol=1e-6)


def test_texture_coordinates_are_perspective_correct() -> None:
    """uv is linear on the surface; seen steeply, linear on the screen would be far off."""
    corners = np.array([[-80.0, -80, 300], [80, -80, 300], [80, 80, -300], [-80, 80, -300]])
    scan = Scan(
        corners,
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uv=np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
        uv_faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
    )
    view = camera()
    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, renderer().visibility(scan, view))
    assert maps.uv is not None
    points = (back_project(view, maps.depth)[maps.mask] - view.world_to_camera[:3, 3]) @ view.world_to_camera[:3, :3]

    np.testing.assert_allclose(maps.uv[maps.mask], points[:, :2] / 160 + 0.5, atol=1e-5)
    assert np.isnan(maps.uv[~maps.mask]).all()


def test_a_back_face_keeps_its_normal_and_says_so() -> None:
    scan = Scan(np.array([[-90.0, -90, 0], [0, 90, 0], [90, -90, 0]]), np.array([[0, 1, 2]], np.int32))
    view = camera()

    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, renderer().visibility(scan, view))

    assert maps.mask.any()
    assert not maps.facing.any()
    np.testing.assert_array_equal(maps.normals[maps.mask], np.tile([0, 0, -1], (maps.mask.sum(), 1)))


def test_vanishing_normals_are_replaced_by_that_of_the_triangle() -> None:
    scan = sphere(1)
    view = camera()
    seen = renderer().visibility(scan, view)

    maps = surface_maps(scan, np.zeros_like(scan.vertices), view, seen)
    corners = scan.vertices[scan.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)

    np.testing.assert_allclose(maps.normals[maps.mask], flat[seen.faces[maps.mask]] @ view.rotation.T, atol=1e-6)


def test_a_seam_in_the_texture_does_not_crease_the_normals() -> None:
    scan = sphere(4)
    uv_faces = np.arange(3 * len(scan.faces), dtype=np.int32).reshape(-1, 3)
    textured = Scan(scan.vertices, scan.faces, uv=np.zeros((uv_faces.size, 2)), uv_faces=uv_faces)
    view = camera()
    seen = renderer().visibility(scan, view)

    plain, seamed = (surface_maps(s, vertex_normals(s.vertices, s.faces), view, seen).normals for s in (scan, textured))

    np.testing.assert_array_equal(plain, seamed)


@pytest.mark.parametrize("orthographic", [False, True])
def test_plain_and_compiled_paths_agree(orthographic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = sphere(4)
    rng = np.random.default_rng(0)
    scan = Scan(
        scan.vertices * (1 + 0.2 * rng.random((len(scan.vertices), 1))),
        np.concatenate([scan.faces, [[0, 0, 1]]]).astype(np.int32),
        uv=rng.random((7, 2)),
        uv_faces=rng.integers(0, 7, (len(scan.faces) + 1, 3)).astype(np.int32),
    )
    view = camera(orthographic=orthographic, yaw=33)
    seen = renderer().visibility(scan, view)
    compiled = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, seen)
    monkeypatch.setattr(shade, "AVAILABLE", False)
    monkeypatch.setattr(normals_module, "AVAILABLE", False)
    plain = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), view, seen)

    for name in ("mask", "facing"):
        np.testing.assert_array_equal(getattr(compiled, name), getattr(plain, name))
    for name in ("normals", "depth", "weights", "uv"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(plain, name), rtol=2e-6, atol=2e-6)


def test_angle_weights_do_not_depend_on_how_a_flat_part_is_cut() -> None:
    """A cube corner: each side counts a right angle, cut once or twice."""
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0.2, 0.2, 0]])
    whole = np.array([[0, 2, 1], [0, 3, 2], [0, 1, 3]], np.int32)
    cut = np.array([[0, 2, 4], [0, 4, 1], [0, 3, 2], [0, 1, 3]], np.int32)

    expected = -np.ones(3) / np.sqrt(3)
    np.testing.assert_allclose(vertex_normals(vertices, whole)[0], expected, atol=1e-15)
    np.testing.assert_allclose(vertex_normals(vertices, cut)[0], expected, atol=1e-15)


def test_degenerate_faces_and_lonely_vertices_leave_no_trace() -> None:
    scan = sphere(2)
    vertices = np.concatenate([scan.vertices, [[5.0, 5, 5]]])
    lonely = len(scan.vertices)
    degenerate = np.array([[0, 0, 1], [3, 3, 3], [0, 1, 0]], np.int32)

    clean = vertex_normals(scan.vertices, scan.faces)
    normals = vertex_normals(vertices, np.concatenate([scan.faces, degenerate]))

    np.testing.assert_array_equal(normals[:lonely], clean)
    np.testing.assert_array_equal(normals[lonely], 0)


def test_maps_that_contradict_themselves_cannot_be_made() -> None:
    shape = (4, 5)
    arrays = {
        "depth": np.zeros(shape, np.float32),
        "weights": np.zeros((*shape, 3), np.float32),
        "uv": None,
        "facing": np.ones(shape, bool),
        "mask": np.ones(shape, bool),
    }
    with pytest.raises(ValueError, match="20 of 20 visible normals are not unit length"):
        SurfaceMaps(normals=np.zeros((*shape, 3), np.float32), **arrays)
    with pytest.raises(ValueError, match="do not fit the mask"):
        SurfaceMaps(normals=np.zeros((5, 4, 3), np.float32), **arrays)


def test_visibility_of_another_size_is_refused() -> None:
    scan = sphere(1)
    with pytest.raises(ValueError, match="does not fit the camera"):
        surface_maps(scan, scan.vertices, camera(), Visibility(np.zeros((3, 3), np.int32)))
