"""Every renderer sees what geometry says, and all see the same."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fnbench.camera import Camera, CropBox, look_at
from fnbench.errors import InvalidDataError, MissingDependencyError
from fnbench.render import backends, opengl
from fnbench.render.backends import Renderer
from fnbench.render.shade import SurfaceMaps, surface_maps
from fnbench.scans import head
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan, Visibility
from tests.meshes import bumpy_head, cube_sphere, degrees_between, shuffled, sphere, sphere_seen

IDS_MAY_DIFFER = {"numpy": 0.0, "embree": 1e-4, "pyrender": 5e-3}
"""Share of the covered pixels where the triangle may be another than the rasteriser's."""
TURNED, FAR_TURNED = 0.01, 40e-6
"""Degrees that such a pixel may turn the normal, and the share of pixels that may turn further."""
LOWEST_OF_EQUALS = {"raster", "numpy"}
"""Renderers that promise the lower index of two coinciding triangles, in whatever order they list their vertices."""

POSES = [(0, 0), (35, 10), (-70, -25)]


@cache
def one_of(name: str) -> Renderer:
    try:
        return backends.renderer(name)
    except MissingDependencyError as error:
        pytest.skip(f"{name} cannot run here: {error}")


@pytest.fixture(params=backends.NAMES)
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return one_of(request.param)


@pytest.fixture(params=["numpy", "embree", "pyrender"])
def other(request: pytest.FixtureRequest) -> Renderer:
    return one_of(request.param)


@pytest.fixture(params=[False, True], ids=["perspective", "orthographic"])
def orthographic(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def camera(
    size: int = 256, *, orthographic: bool = False, yaw: float = 0.0, pitch: float = 0.0, distance: float = 800.0
) -> Camera:
    """A camera whose image spans some 300 mm around the origin, skewed and off centre a little."""
    focal = (1.0 if orthographic else distance) * size / 300
    K = np.array([[focal, 0.002 * focal, size / 2 + 3.3], [0, 1.01 * focal, size / 2 - 1.7], [0, 0, 1]])
    return Camera(K, look_at(np.zeros(3), distance, yaw=yaw, pitch=pitch), size, size, orthographic)


def maps_of(renderer: Renderer, scan: Scan, view: Camera, normals: NDArray[np.float64] | None = None) -> SurfaceMaps:
    normals = vertex_normals(scan.vertices, scan.faces) if normals is None else normals
    return surface_maps(scan, normals, view, renderer.visibility(scan, view))


def test_a_sphere_is_a_sphere(renderer: Renderer, orthographic: bool) -> None:
    scan, view = sphere(6), camera(orthographic=orthographic, yaw=20, pitch=-15)
    exact, depth = sphere_seen(view)

    maps = maps_of(renderer, scan, view)
    both = maps.mask & np.isfinite(depth)
    error = degrees_between(maps.normals, exact)[both]

    assert both.sum() > 0.995 * np.isfinite(depth).sum()
    assert error.mean() < 0.03
    inner = both & (exact[..., 2] > 0.3)
    assert degrees_between(maps.normals, exact)[inner].max() < 0.2
    assert np.abs(maps.depth - depth)[inner].max() < 0.2  # the chord of a 4 mm edge, seen at 70 degrees
    assert maps.facing[maps.mask].all()


@cache
def implicit_head(spacing: float) -> tuple[Scan, head.Shape]:
    shape = head.Shape(head.sample_identity(np.random.default_rng(0)), head.EXPRESSIONS["smile"])
    return head.mesh(shape, spacing), shape


def test_the_implicit_head_has_its_own_normals(renderer: Renderer) -> None:
    """Rendered against the gradient at the points seen: the error is that of the mesh, and falls with its step."""
    view, medians = camera(distance=600.0, yaw=15), []
    for spacing in (6.0, 3.0):
        scan, shape = implicit_head(spacing)
        visibility = renderer.visibility(scan, view)
        normals = head.normals_at(shape, scan.vertices)
        maps = surface_maps(scan, normals, view, visibility)
        corners = scan.vertices[scan.faces[visibility.faces[maps.mask]]]
        points = np.einsum("pc,pcx->px", maps.weights[maps.mask], corners)
        exact = head.normals_at(shape, points) @ view.rotation.T
        medians.append(np.median(degrees_between(maps.normals[maps.mask], exact)))

    assert medians[1] < 0.5
    assert medians[1] < 0.45 * medians[0]


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (50, 20), (-75, 5)])
def test_a_plane_has_one_normal(renderer: Renderer, orthographic: bool, yaw: float, pitch: float) -> None:
    corners = np.array([[-90.0, -90, 0], [90, -90, 0], [90, 90, 0], [-90, 90, 0]])
    corners[:, 2] = 0.1 * corners[:, 0] + 0.3 * corners[:, 1] + 7
    scan = Scan(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    view = camera(orthographic=orthographic, yaw=yaw, pitch=pitch)

    maps = maps_of(renderer, scan, view)
    plane = view.rotation @ np.array([-0.1, -0.3, 1.0])

    assert maps.mask.sum() > 1000
    assert degrees_between(maps.normals[maps.mask], plane).max() < 1e-4


def test_rotating_the_camera_rotates_the_normals(renderer: Renderer, orthographic: bool) -> None:
    """Scan and camera turned together in the world give the same picture with the same canonical normals."""
    scan, view = bumpy_head(5000), camera(orthographic=orthographic, yaw=15)
    turn = look_at(np.zeros(3), 0.0, yaw=40, pitch=25)
    turned_scan = Scan(scan.vertices @ turn[:3, :3].T, scan.faces)
    to_camera = view.world_to_camera @ np.linalg.inv(turn)
    turned_view = Camera(view.K, to_camera, view.width, view.height, orthographic)

    first, second = maps_of(renderer, scan, view), maps_of(renderer, turned_scan, turned_view)
    both = first.mask & second.mask
    error = degrees_between(first.normals[both], second.normals[both])

    assert (first.mask ^ second.mask).sum() <= 20
    assert np.quantile(error, 0.999) < 0.01

    world = np.einsum("ij,...j->...i", view.rotation.T, first.normals)
    np.testing.assert_allclose(np.linalg.norm(world[first.mask], axis=-1), 1, atol=1e-6)
    other_view = camera(orthographic=orthographic, yaw=25)
    elsewhere = maps_of(renderer, sphere(6), other_view)
    centre = sphere_seen(other_view)[0][128, 128]
    assert degrees_between(elsewhere.normals[128, 128], centre) < 0.1


@pytest.mark.parametrize("triangles", [20_000, 100_000])
def test_renderers_agree(other: Renderer, orthographic: bool, triangles: int) -> None:
    """Millimetres at 800 mm, 512 x 512, three poses."""
    scan = bumpy_head(triangles)
    normals = vertex_normals(scan.vertices, scan.faces)
    differing = turned = lost = covered = 0
    for yaw, pitch in POSES:
        view = camera(512, orthographic=orthographic, yaw=yaw, pitch=pitch)
        reference, seen = one_of("raster").visibility(scan, view), other.visibility(scan, view)
        both = reference.mask & seen.mask
        a, b = (surface_maps(scan, normals, view, v).normals[both] for v in (reference, seen))
        covered += reference.mask.sum()
        lost += (reference.mask ^ seen.mask).sum()
        differing += (reference.faces != seen.faces)[reference.mask].sum()
        turned += (degrees_between(a, b) > TURNED).sum()

    allowed = IDS_MAY_DIFFER[other.name]
    assert covered > 200_000
    assert differing <= allowed * covered
    assert turned + lost <= (FAR_TURNED * covered if allowed else 0)


def test_renderers_agree_far_from_the_origin(other: Renderer) -> None:
    """A scan in a world whose origin is 10 m away, as some scanners leave it."""
    near, away = bumpy_head(20_000), np.array([4000.0, -9000.0, 2500.0])
    scan = Scan(near.vertices + away, near.faces)
    view = Camera(camera(512).K, look_at(away, 800.0, yaw=30), 512, 512)

    reference, seen = one_of("raster").visibility(scan, view), other.visibility(scan, view)

    assert (reference.faces != seen.faces).sum() <= IDS_MAY_DIFFER[other.name] * reference.mask.sum()


def test_cameras_with_scale_and_crops_off_centre(other: Renderer, orthographic: bool) -> None:
    """A similarity as world to camera (a scan in metres), odd and unequal sides, a crop that leaves the image."""
    scan = bumpy_head(20_000)
    metres = Scan(scan.vertices / 1000, scan.faces)
    view = camera(orthographic=orthographic, yaw=-20)
    scaled = Camera(view.K, view.world_to_camera @ np.diag([1000, 1000, 1000, 1.0]), 301, 217, orthographic)
    crop = view.crop(CropBox(61.7, -20.2, 123.4), 177)

    for mesh, camera_ in ((metres, scaled), (scan, crop)):
        reference, seen = one_of("raster").visibility(mesh, camera_), other.visibility(mesh, camera_)
        assert seen.faces.shape == (camera_.height, camera_.width)
        assert reference.mask.sum() > 5000
        assert (reference.faces != seen.faces).sum() <= IDS_MAY_DIFFER[other.name] * reference.mask.sum() + 2


def test_one_triangle(renderer: Renderer, orthographic: bool) -> None:
    scan = Scan(np.array([[-60.0, -50, 0], [70, -40, 10], [0, 80, -20]]), np.array([[0, 1, 2]], np.int32))
    view = camera(orthographic=orthographic)
    (ax, ay), (bx, by), (cx, cy) = view.project(scan.vertices)[0]

    seen = renderer.visibility(scan, view)

    area = abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / 2
    assert seen.faces.dtype == np.int32
    assert set(np.unique(seen.faces)) == {-1, 0}
    assert seen.mask.sum() == pytest.approx(area, rel=0.01)


def test_a_million_triangles(renderer: Renderer) -> None:
    """Each seen by less than a pixel; the rest of the promise is agreement."""
    scan, view = million(), camera(512, yaw=-40)
    reference = million_seen()

    seen = renderer.visibility(scan, view)

    assert len(scan.faces) >= 1_000_000
    assert reference.mask.sum() > 60_000
    differing = (seen.faces != reference.faces).sum() / reference.mask.sum()
    assert differing <= IDS_MAY_DIFFER.get(renderer.name, 0.0)


@cache
def million() -> Scan:
    return bumpy_head(1_002_252)


@cache
def million_seen() -> Visibility:
    return one_of("raster").visibility(million(), camera(512, yaw=-40))


def test_the_order_of_faces_does_not_matter(renderer: Renderer) -> None:
    scan = bumpy_head(20_000)
    mixed = shuffled(scan)
    view = camera(yaw=10)

    first, second = maps_of(renderer, scan, view), maps_of(renderer, mixed, view)
    both = first.mask & second.mask

    assert (first.mask ^ second.mask).sum() == 0
    assert np.quantile(degrees_between(first.normals[both], second.normals[both]), 0.999) < 1e-3


def test_duplicates_and_degenerates_change_nothing(renderer: Renderer, orthographic: bool) -> None:
    scan, view = sphere(4), camera(orthographic=orthographic, yaw=33)
    count = len(scan.faces)
    edge, point = scan.faces[:50].copy(), scan.faces[:50].copy()
    edge[:, 2], point[:] = edge[:, 1], point[:, :1]
    doubled = Scan(scan.vertices, np.concatenate([scan.faces, np.roll(scan.faces, 1, axis=1), edge, point]))
    plain = renderer.visibility(scan, view).faces

    seen = renderer.visibility(doubled, view).faces

    assert seen.max() < 2 * count
    np.testing.assert_array_equal(np.where(seen >= count, seen - count, seen), plain)
    if renderer.name in LOWEST_OF_EQUALS:
        assert seen.max() < count


def test_slivers_and_repeated_vertices_leave_no_crack(renderer: Renderer) -> None:
    """Every face of a sphere with its own vertices, each corner cut off by a sliver a thousandth of the edge high."""
    scan, view = sphere(3), camera(yaw=12, pitch=40)
    a, b, c = (scan.vertices[scan.faces[:, i]] for i in range(3))
    d = (a + b) / 2 + 1e-3 * (c - (a + b) / 2)
    corners = np.stack([np.stack(t, 1) for t in ((a, b, d), (b, c, d), (c, a, d))], 1).reshape(-1, 3)
    cut = Scan(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))

    whole, seen = renderer.visibility(scan, view), renderer.visibility(cut, view)

    assert (whole.mask ^ seen.mask).sum() <= (0 if renderer.name in IDS_MAY_DIFFER | {"raster": 0} else 2)
    assert (seen.faces // 3 != whole.faces)[whole.mask].mean() < 2e-3


def test_back_faces_are_seen_and_hide(renderer: Renderer, orthographic: bool) -> None:
    """An open bowl seen from behind its rim: the near wall's outside, and over the rim the far wall's inside."""
    scan, view = sphere(5), camera(orthographic=orthographic)
    centres = scan.vertices[scan.faces].mean(1)
    bowl = Scan(scan.vertices, scan.faces[centres[:, 2] < 20])

    maps = maps_of(renderer, bowl, view)
    everted = maps_of(renderer, Scan(scan.vertices, bowl.faces[:, ::-1].copy()), view)

    inside = maps.mask & ~maps.facing
    assert inside.sum() > 0.8 * maps.mask.sum()
    assert (maps.normals[inside][:, 2] < 0.6).all()
    np.testing.assert_array_equal(everted.mask, maps.mask)
    assert everted.facing[inside].all()


def test_nothing_behind_the_camera_is_seen(renderer: Renderer, orthographic: bool) -> None:
    scan = sphere(3)
    ahead = camera(orthographic=orthographic)
    away = np.diag([1.0, 1, 1, 1])
    away[2, 3] = 1600.0
    behind = Camera(ahead.K, away @ ahead.world_to_camera, ahead.width, ahead.height, orthographic)

    assert renderer.visibility(scan, ahead).mask.any()
    assert not renderer.visibility(scan, behind).mask.any()


def test_from_inside_a_closed_surface_every_pixel_sees_it(renderer: Renderer, orthographic: bool) -> None:
    """Triangles reach behind the camera, and past the sides of the image."""
    directions, faces = cube_sphere(12)
    scan = Scan(200 * directions, faces)
    K = np.array([[0.2 if orthographic else 40.0, 0, 32], [0, 0.2 if orthographic else 40.0, 32], [0, 0, 1]])
    for yaw in (0.0, 10.0, 77.7):
        view = Camera(K, look_at(np.zeros(3), 20.0, yaw=yaw), 64, 64, orthographic)
        reference, seen = one_of("raster").visibility(scan, view), renderer.visibility(scan, view)
        maps = maps_of(renderer, scan, view)
        assert (reference.faces != seen.faces).sum() <= 0.02 * reference.mask.sum()
        if not orthographic:
            assert seen.mask.all()
            assert not maps.facing.any()


def test_an_instance_serves_other_scans_and_sizes_in_turn(renderer: Renderer) -> None:
    scans = sphere(2), bumpy_head(2000)
    views = camera(64), camera(97, orthographic=True), camera(64, yaw=50)
    first = [renderer.visibility(scan, view).faces for scan in scans for view in views]
    again = [renderer.visibility(scan, view).faces for scan in scans for view in views]

    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_missing_library_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "embreex", None)

    with pytest.raises(MissingDependencyError, match=r"fnbench\[embree\]"):
        backends.renderer("embree")


def test_missing_opengl_is_named_with_the_debian_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    opengl._pyrender.cache_clear()
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    monkeypatch.setattr(opengl, "_loads", lambda library: False)

    with pytest.raises(MissingDependencyError, match="libegl1 libgl1.*libosmesa6"):
        backends.renderer("pyrender")


def test_a_mesh_with_more_faces_than_colours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pyrender = one_of("pyrender")
    monkeypatch.setattr(opengl, "_LARGEST", 100)

    with pytest.raises(InvalidDataError, match="at most 50 apart"):
        pyrender.visibility(sphere(2), camera())
