"""The rasteriser: no cracks, ties by rule, compiled and plain paths equal bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fnbench.camera import Camera, look_at
from fnbench.errors import UnknownNameError
from fnbench.render.backends import renderer
from fnbench.render.raster import NEAR, Raster
from fnbench.render.raster_numpy import RasterNumpy
from fnbench.types import Scan

BOTH = pytest.mark.parametrize("make", [Raster, RasterNumpy])


def pixels(width: int, height: int) -> Camera:
    """An orthographic camera of one pixel per millimetre: world (x, -y) is pixel (x, y), 100 mm before it."""
    return Camera(np.eye(3), look_at(np.zeros(3), 100.0), width, height, orthographic=True)


def wide(size: int, *, focal: float | None = None, distance: float = 500.0, yaw: float = 0.0) -> Camera:
    K = np.array([[focal or size, 0, size / 2], [0, focal or size, size / 2], [0, 0, 1.0]])
    return Camera(K, look_at(np.zeros(3), distance, yaw=yaw), size, size)


def on_screen(triangles: list[list[tuple[float, float, float]]]) -> Scan:
    """A scan from triangles given in pixel x, pixel y and height above the plane."""
    corners = np.array(triangles, np.float64).reshape(-1, 3) * [1, -1, 1]
    return Scan(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))


@BOTH
def test_a_pixel_belongs_to_the_triangle_that_holds_its_centre(make: type) -> None:
    scan = on_screen([[(0.5, 0.5, 0), (3.5, 0.5, 0), (0.5, 3.5, 0)]])

    seen = make().visibility(scan, pixels(5, 5)).faces

    expected = np.full((5, 5), -1)
    for row in range(4):
        expected[row, : 4 - row] = 0  # centres on an edge count
    np.testing.assert_array_equal(seen, expected)


@BOTH
def test_the_nearer_triangle_wins_whatever_its_index(make: type) -> None:
    far, near = [(0, 0, 0), (9, 0, 0), (0, 9, 0)], [(0, 0, 5), (9, 0, 5), (0, 9, 5)]

    for triangles, winner in (([far, near], 1), ([near, far], 0)):
        seen = make().visibility(on_screen(triangles), pixels(4, 4)).faces
        assert (seen == winner).all()


@BOTH
def test_of_duplicates_the_lower_index_wins_in_any_vertex_order(make: type) -> None:
    corners = [(0.3, 0.2, 1.7), (19.1, 3.3, 40.2), (5.7, 17.9, -30.1)]
    orders = [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)]
    scan = on_screen([[corners[i] for i in order] for order in orders])

    for camera in (pixels(20, 20), wide(33, focal=200)):
        seen = make().visibility(scan, camera).faces
        assert (seen == 0).any()
        assert set(np.unique(seen)) <= {-1, 0}


@BOTH
def test_triangles_without_area_are_not_drawn(make: type) -> None:
    point, line = [(2, 2, 9)] * 3, [(0, 0, 9), (2, 2, 9), (4, 4, 9)]
    scan = on_screen([point, line, [(0, 0, 0), (9, 0, 0), (0, 9, 0)]])

    assert (make().visibility(scan, pixels(4, 4)).faces == 2).all()


@BOTH
def test_back_faces_hide_what_is_behind_them(make: type) -> None:
    back = [(0, 0, 5), (0, 9, 5), (9, 0, 5)]
    front = [(0, 0, 0), (9, 0, 0), (0, 9, 0)]

    assert (make().visibility(on_screen([front, back]), pixels(4, 4)).faces == 1).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 1e-9, 0.2]),
    st.booleans(),
    st.booleans(),
)
def test_a_closed_patch_has_no_crack_and_no_overlap(seed: int, jitter: float, split: bool, tilt: bool) -> None:
    """A rectangle cut into random triangles, on and off pixel centres, with shared or repeated vertices."""
    rng = np.random.default_rng(seed)
    n = 9
    x, y = np.meshgrid(np.arange(n) * 2.5, np.arange(n) * 2.5)
    inner = (x > 0) & (x < x.max()) & (y > 0) & (y < y.max())
    x, y = x + jitter * inner * rng.normal(size=x.shape), y + jitter * inner * rng.normal(size=x.shape)
    vertices = np.stack([x.ravel(), -y.ravel(), (0.4 * x + 0.1 * y).ravel() if tilt else np.zeros(x.size)], axis=1)
    faces = grid_faces(n, rng)
    if split:
        vertices, faces = vertices[faces.ravel()], np.arange(faces.size, dtype=np.int32).reshape(-1, 3)
        faces = np.stack([np.roll(face, rng.integers(3)) for face in faces])
    scan = Scan(vertices, faces)

    fast, plain = Raster().visibility(scan, pixels(20, 20)), RasterNumpy().visibility(scan, pixels(20, 20))

    assert fast.mask.all()
    np.testing.assert_array_equal(fast.faces, plain.faces)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([1.0, 30.0, 200.0]),
    st.sampled_from([(32, 31), (1, 1), (2, 45), (43, 5), (40, 24)]),  # more and less than whole vectors and tiles
)
def test_compiled_and_plain_paths_see_the_same_triangles(
    seed: int, orthographic: bool, spread: float, size: tuple[int, int]
) -> None:
    """Random triangles of all sizes, before, around and behind the camera, with duplicates and degenerate ones."""
    rng = np.random.default_rng(seed)
    vertices = rng.normal(scale=spread, size=(40, 3)).round(int(rng.integers(0, 4)))
    faces = rng.integers(0, 40, (60, 3)).astype(np.int32)
    faces = np.concatenate([faces, faces[:10, [1, 0, 2]]])
    K = np.array([[40.0, 0.5, 16], [0, 41.0, 15.5], [0, 0, 1]])
    camera = Camera(K, look_at(np.zeros(3), 60.0, yaw=rng.uniform(-180, 180)), *size, orthographic)
    scan = Scan(vertices, faces)

    np.testing.assert_array_equal(Raster().visibility(scan, camera).faces, RasterNumpy().visibility(scan, camera).faces)


@BOTH
@pytest.mark.parametrize("orthographic", [False, True])
def test_nothing_behind_the_camera_is_seen(make: type, orthographic: bool) -> None:
    scan = on_screen([[(-50, -50, 150), (50, -50, 150), (0, 50, 150)]])
    camera = Camera(np.array([[8.0, 0, 8], [0, 8, 8], [0, 0, 1]]), look_at(np.zeros(3), 100.0), 16, 16, orthographic)

    assert not make().visibility(scan, camera).mask.any()


@BOTH
@pytest.mark.parametrize("yaw", [0.0, 37.0, 90.0, 145.0])
def test_a_floor_through_the_camera_ends_at_the_horizon(make: type, yaw: float) -> None:
    """Eye 10 above an endless floor: every pixel below the horizon sees it, cut exactly in homogeneous coordinates."""
    far = 1e7
    scan = Scan(
        np.array([[-far, -10, -far], [far, -10, -far], [far, -10, far], [-far, -10, far]]),
        np.array([[0, 2, 1], [0, 3, 2]], np.int32),
    )
    camera = wide(40, distance=0.0, yaw=yaw)

    seen = make().visibility(scan, camera)

    assert not seen.mask[:20].any()
    assert seen.mask[20:].all()


@BOTH
def test_from_inside_a_closed_surface_every_pixel_sees_it(make: type) -> None:
    """The near parts cross the camera plane; edges between cut and whole triangles must not crack."""
    vertices, faces = ball(24, 16, 30.0)
    for yaw in (0.0, 10.0, 77.7):
        camera = wide(61, focal=20.0, distance=7.0, yaw=yaw)
        assert make().visibility(Scan(vertices, faces), camera).mask.all()


@BOTH
def test_what_is_nearer_than_the_limit_is_cut_off(make: type) -> None:
    near = [(-50, -50, 100 - NEAR / 2), (50, -50, 100 - NEAR / 2), (0, 50, 100 - NEAR / 2)]
    far = [(-500, -500, 0), (500, -500, 0), (0, 500, 0)]
    camera = Camera(np.array([[40.0, 0, 8], [0, 40, 8], [0, 0, 1]]), look_at(np.zeros(3), 100.0), 16, 16)

    assert (make().visibility(on_screen([near, far]), camera).faces == 1).all()


def test_buffers_are_reused_without_leaking_into_the_next_image() -> None:
    raster = Raster()
    large = raster.visibility(Scan(*ball(40, 20, 100.0)), wide(64)).faces.copy()
    small = raster.visibility(Scan(*ball(6, 4, 10.0)), wide(20)).faces

    np.testing.assert_array_equal(small, Raster().visibility(Scan(*ball(6, 4, 10.0)), wide(20)).faces)
    np.testing.assert_array_equal(large, raster.visibility(Scan(*ball(40, 20, 100.0)), wide(64)).faces)


def test_an_unknown_renderer_is_named_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean raster"):
        renderer("rastr")


def test_without_numba_the_default_is_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnbench.render.backends.AVAILABLE", False)

    assert renderer().name == "numpy"


def grid_faces(n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Two triangles per cell of an n x n grid of vertices, cut along a random diagonal, wound at random."""
    faces = []
    for row in range(n - 1):
        for column in range(n - 1):
            a, b, c, d = (row * n + column + k for k in (0, 1, n, n + 1))
            pair = [[a, c, d], [a, d, b]] if rng.random() < 0.5 else [[a, c, b], [b, c, d]]
            faces += [face[:: rng.choice([-1, 1])] for face in pair]
    return np.array(faces, np.int32)


def ball(columns: int, rows: int, radius: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """A closed sphere of latitude and longitude, counter-clockwise from outside."""
    theta, phi = np.pi * np.arange(rows + 1) / rows, 2 * np.pi * np.arange(columns) / columns
    t, p = np.meshgrid(theta, phi, indexing="ij")
    vertices = radius * np.stack([np.sin(t) * np.cos(p), np.cos(t), -np.sin(t) * np.sin(p)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    faces = np.concatenate([np.stack([a, c, d], -1), np.stack([a, d, b], -1)]).reshape(-1, 3)
    return vertices, faces.astype(np.int32)
