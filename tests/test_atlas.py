"""Cameras from a texture atlas that holds uncropped photographs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fnbench.camera import Camera, look_at
from fnbench.errors import InvalidDataError
from fnbench.scans.atlas import recover_cameras
from fnbench.scans.read import read_scan
from fnbench.types import Scan

WIDTH, HEIGHT = 600, 800


def face(side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A bumpy half ellipsoid, 200 mm high: vertices and triangles."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1) * 2 - 1
    z = 90 * np.sqrt(np.maximum(0.02, 1 - 0.6 * x**2 - 0.5 * y**2)) + 25 * np.exp(-((x / 0.2) ** 2) - (y / 0.3) ** 2)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + side, corner + side + 1], -1),
            np.stack([corner, corner + side + 1, corner + 1], -1),
        ]
    )
    return np.stack([x * 75, -y * 100, z], -1).reshape(-1, 3), faces.astype(np.int32)


def camera(yaw: float, focal: float = 3000.0) -> Camera:
    K = np.array([[focal, 0.0, WIDTH / 2 + 17], [0, focal, HEIGHT / 2 - 31], [0, 0, 1]])
    return Camera(K, look_at(np.array([5.0, -3, 40]), 1400, yaw=yaw, pitch=5), WIDTH, HEIGHT)


def atlas(yaws=(-25.0, 25.0), grid=(1, 2), noise: float = 0.0, outliers: float = 0.0, seed: int = 0) -> Scan:
    """A face textured by photographs in a grid: each triangle from the camera that sees it best."""
    vertices, faces = face()
    cameras = [camera(yaw) for yaw in yaws]
    normals = np.cross(*(vertices[faces[:, k]] - vertices[faces[:, 0]] for k in (1, 2)))
    views = np.stack([normals @ (c.centre / np.linalg.norm(c.centre)) for c in cameras])
    best = views.argmax(axis=0)
    rng = np.random.default_rng(seed)
    size = np.array([grid[1] * WIDTH, grid[0] * HEIGHT])
    uv = []
    for i, c in enumerate(cameras):
        pixels = c.project(vertices)[0] + noise * rng.normal(size=(len(vertices), 2))
        stray = rng.random(len(vertices)) < outliers
        pixels[stray] += rng.normal(0, 40, (stray.sum(), 2))
        pixels += (i % grid[1] * WIDTH, i // grid[1] * HEIGHT)
        uv.append(np.stack([pixels[:, 0] / size[0], 1 - pixels[:, 1] / size[1]], -1))
    uv_faces = faces + (best * len(vertices))[:, None].astype(np.int32)
    texture = np.zeros((*size[::-1], 3), np.uint8)
    return Scan(vertices, faces, np.concatenate(uv).round(6), uv_faces.astype(np.int32), texture, name="face.obj")


@pytest.mark.parametrize(
    ("yaws", "grid"),
    [((-25, 25), (1, 2)), ((0,), (1, 1)), ((-40, 0, 40), (1, 3)), ((-20, 30), (2, 1)), ((-45, -15, 15, 45), (2, 2))],
)
def test_known_cameras_are_recovered(yaws, grid):
    found = recover_cameras(atlas(yaws, grid))
    assert len(found) == len(yaws)
    for i, (photo, yaw) in enumerate(zip(found, yaws, strict=True)):
        true = camera(yaw)
        assert photo.box[:2] == (i % grid[1] * WIDTH, i // grid[1] * HEIGHT)
        assert photo.median_px < 0.01
        np.testing.assert_allclose(photo.camera.K, true.K, rtol=2e-3, atol=2)
        np.testing.assert_allclose(photo.camera.rotation, true.rotation, atol=1e-3)
        np.testing.assert_allclose(photo.camera.project(face()[0])[0], true.project(face()[0])[0], atol=0.05)


def test_noise_and_outliers_cost_little():
    for photo, yaw in zip(recover_cameras(atlas(noise=0.3, outliers=0.1)), (-25, 25), strict=True):
        error = photo.camera.project(face()[0])[0] - camera(yaw).project(face()[0])[0]
        assert np.sqrt((error**2).sum(axis=1)).max() < 0.3
        assert 0.2 < photo.median_px < 0.6
        assert photo.pairs > 500


def test_the_seed_does_not_matter():
    scan = atlas(noise=0.2, outliers=0.05)
    first, second = (recover_cameras(scan, seed) for seed in (0, 7))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.camera.project(face()[0])[0], b.camera.project(face()[0])[0], atol=0.02)


def test_photographs_are_cut_out_of_the_texture():
    scan = atlas()
    scan.texture[:, WIDTH:] = 200
    left, right = recover_cameras(scan)
    assert left.image.shape == (HEIGHT, WIDTH, 3)
    assert left.image.max() == 0
    assert right.image.min() == 200


def test_the_real_scan_gives_its_two_photographs(shared_data):
    scan = read_scan(shared_data / "menpo3d_james" / "james.obj")
    reference = json.loads((shared_data / "menpo3d_james" / "james_cameras_derived.json").read_text())
    for photo, side, median in zip(recover_cameras(scan), ("left", "right"), (0.34, 0.32), strict=True):
        fit = reference[side]
        assert photo.median_px < median + 0.03
        assert photo.p90_px < 1
        assert photo.box == (fit["crop_x0"], 0, fit["crop_x0"] + 1200, 1600)
        theirs = Camera.from_opencv(np.array(fit["K"]), np.column_stack([fit["R"], fit["t"]]), 1200, 1600)
        turn = photo.camera.rotation @ theirs.rotation.T
        assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 0.2
        both = photo.camera.project(scan.vertices)[0] - theirs.project(scan.vertices)[0]
        assert np.median(np.linalg.norm(both, axis=1)) < 0.5


def test_a_packed_atlas_is_refused(shared_data):
    scan = read_scan(shared_data / "lee_perry_smith" / "LeePerrySmith_converted.obj", unit=30)
    with pytest.raises(InvalidDataError, match="not made of uncropped photographs: render the images"):
        recover_cameras(scan)


def test_an_atlas_whose_charts_were_moved_is_refused():
    scan = atlas((0,), (1, 1))
    uv = scan.uv.copy()
    vertices, _ = face()
    uv[vertices[:, 1] > 0] = 1 - uv[vertices[:, 1] > 0]  # half of the face turned around
    with pytest.raises(InvalidDataError, match="render the images instead"):
        recover_cameras(replace(scan, uv=uv))


def test_a_parallel_projection_is_no_camera():
    scan = atlas((0,), (1, 1))
    uv = scan.vertices[:, :2] / 300 + 0.5
    with pytest.raises(InvalidDataError, match="do not follow a real camera"):
        recover_cameras(replace(scan, uv=uv))


def test_stretched_pixels_are_no_camera():
    scan = atlas((0,), (1, 1))
    with pytest.raises(InvalidDataError, match=r"fx/fy is 0\.5"):
        recover_cameras(replace(scan, texture=np.zeros((HEIGHT, WIDTH // 2, 3), np.uint8)))


def test_a_cropped_photograph_is_refused():
    scan = atlas((0,), (1, 1))
    uv = scan.uv * (2, 1) - (0.25, 0)  # the middle half of the photograph
    uv[:, 0] += 0.4
    with pytest.raises(InvalidDataError, match="render the images instead"):
        recover_cameras(replace(scan, uv=uv, texture=np.zeros((HEIGHT, WIDTH // 2, 3), np.uint8)))


def test_a_plane_fits_any_camera():
    scan = atlas((0,), (1, 1))
    flat = scan.vertices * (1, 1, 0)
    pixels = camera(0).project(flat)[0]
    uv = np.stack([pixels[:, 0] / WIDTH, 1 - pixels[:, 1] / HEIGHT], -1)
    with pytest.raises(InvalidDataError, match="one plane"):
        recover_cameras(replace(scan, vertices=flat, uv=uv))


def test_few_points_and_no_texture_are_refused():
    scan = atlas((0,), (1, 1))
    with pytest.raises(InvalidDataError, match="0 cameras explain 0%"):
        recover_cameras(replace(scan, faces=scan.faces[:20], uv_faces=scan.uv_faces[:20]))
    with pytest.raises(InvalidDataError, match="no texture"):
        recover_cameras(replace(scan, texture=None))
