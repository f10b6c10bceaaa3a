"""The Photoface adapter: every form of its files, and known heads under four lights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fakes import lit
from fakes import photoface as fake
from PIL import Image

from fnbench.adapters.photoface import POINTS, Photoface, read_details, read_points
from fnbench.camera import Camera, landmark_crop, look_at
from fnbench.errors import InvalidDataError, InvalidSettingError
from fnbench.render.raster import Raster
from fnbench.render.shade import surface_maps
from fnbench.scans.head import EXPRESSIONS, Shape, landmarks, mesh, sample_identity
from fnbench.scans.normals import vertex_normals
from fnbench.scans.read import read_scan
from fnbench.types import Scan

SESSION = fake.CAPTURES[0]


def session(root: Path, **settings) -> Photoface:
    fake.write_session(root / fake.FIRST, **settings)
    return Photoface(root)


def mean_angle(predicted, target, mask):
    sine = np.linalg.norm(np.cross(predicted[mask], target[mask]), axis=-1)
    return np.degrees(np.arctan2(sine, (predicted[mask] * target[mask]).sum(axis=-1))).mean()


def true_error(adapter: Photoface) -> float:
    _, normals, mask = lit.face(*fake.SIZE)
    measured = adapter.load(SESSION).measured
    assert (measured.mask & mask).sum() > 0.8 * mask.sum()
    assert not (measured.mask & ~mask).any()
    return mean_angle(measured.normals, normals, measured.mask)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", fake.CASES)
def test_each_azimuth_case_of_the_light_file_gives_the_true_normals(case, tmp_path):
    adapter = session(tmp_path, case=case)
    assert true_error(adapter) < 0.5
    assert adapter.rig.case == case
    assert adapter.rig.by == "face prior"


@pytest.mark.parametrize("written", fake.WRITTEN)
def test_light_files_in_degrees_or_radians_in_either_order(written, tmp_path):
    adapter = session(tmp_path, written=written)
    assert true_error(adapter) < 0.5
    assert adapter.load(SESSION).attributes["lights"] == written


def test_stored_normals_are_used_and_compared(tmp_path):
    adapter = session(tmp_path, stored=True, noise=1.0, specular=0.1)
    capture = adapter.load(SESSION)
    _, normals, _ = lit.face(*fake.SIZE)
    np.testing.assert_allclose(
        capture.measured.normals[capture.measured.mask], normals[capture.measured.mask], atol=1e-5
    )
    assert capture.attributes["normals_source"] == "sn.mat"
    assert capture.attributes["azimuth_by"] == "sn.mat"
    own = Photoface(tmp_path, normals="stereo").load(SESSION)
    assert own.attributes["normals_source"] == "stereo"
    assert own.attributes["sn_mat_angle"] == capture.attributes["sn_mat_angle"]
    both = own.measured.mask
    assert mean_angle(own.measured.normals, normals, both) == pytest.approx(own.attributes["sn_mat_angle"], abs=0.02)
    assert own.attributes["sn_mat_angle"] < 2


def test_stored_normals_decide_the_azimuth_of_sessions_without_them(tmp_path):
    fake.write_session(tmp_path / fake.FIRST, stored=True, case="-180")
    fake.write_session(tmp_path / "PhotofaceDB/2130/2008-03-01_10-00-00", case="-180", seed=1)
    adapter = Photoface(tmp_path)
    assert adapter.load(fake.CAPTURES[2]).attributes["azimuth_by"] == "sn.mat"
    assert adapter.rig.case == "-180"


def test_asking_for_stored_normals_where_there_are_none(tmp_path):
    fake.write_session(tmp_path / fake.FIRST)
    with pytest.raises(InvalidDataError, match=r"sn\.mat is missing, and normals='sn\.mat' asks for it"):
        Photoface(tmp_path, normals="sn.mat").load(SESSION)


def test_settings_are_checked(tmp_path):
    with pytest.raises(InvalidSettingError, match="normals is 'guess', expected one of auto, stereo, sn.mat"):
        Photoface(tmp_path, normals="guess")
    with pytest.raises(InvalidSettingError, match="azimuth is '45'"):
        Photoface(tmp_path, azimuth="45")


def test_a_given_azimuth_is_not_questioned_but_its_disagreement_shows(tmp_path):
    fake.write_session(tmp_path / fake.FIRST, case="+90")
    capture = Photoface(tmp_path, azimuth="+0").load(SESSION)
    assert capture.attributes["azimuth_by"] == "setting"
    assert capture.attributes["azimuth_agrees"] is False


def test_four_photographs_share_one_ground_truth(tmp_path):
    capture = session(tmp_path).load(SESSION)
    photographs = capture.photographs()
    assert [photograph.name for photograph in photographs] == ["im0", "im1", "im2", "im3"]
    assert all(photograph.image.shape[:2] == capture.measured.mask.shape for photograph in photographs)
    for photograph, direction in zip(photographs, lit.directions(), strict=True):
        np.testing.assert_allclose(photograph.attributes["light_direction"], direction, atol=1e-3)


def test_exposures_of_a_walking_subject_are_moved_onto_the_first(tmp_path):
    fake.write_session(tmp_path / fake.FIRST)
    for k, (down, right) in enumerate([(0, 0), (2, -3), (-1, 1), (3, 2)]):
        path = tmp_path / fake.FIRST / f"im{k}.bmp"
        Image.fromarray(np.roll(np.asarray(Image.open(path)), (down, right), (0, 1))).save(path)
    adapter = Photoface(tmp_path)
    assert true_error(adapter) < 1.0
    found = [photograph.attributes["shift_px"] for photograph in adapter.load(SESSION).photographs()]
    np.testing.assert_allclose(found, [(0, 0), (-2, 3), (1, -1), (-3, -2)], atol=0.2)


@pytest.mark.parametrize("separator", [", ", "\t", " ; ", "  "])
@pytest.mark.parametrize("mirrored", [False, True])
def test_points_with_any_delimiter_and_from_either_side(separator, mirrored, tmp_path):
    capture = session(tmp_path, separator=separator, mirrored_points=mirrored).load(SESSION)
    (photograph, *_) = capture.photographs()
    np.testing.assert_allclose(photograph.landmarks[POINTS], lit.points(*fake.SIZE), atol=0.06)
    assert photograph.attributes["landmarks_marked"] == sorted(POINTS.tolist())
    box = landmark_crop(photograph.landmarks)
    marked = landmark_crop(photograph.landmarks[POINTS])
    assert marked.side < box.side < 1.5 * marked.side
    assert box.side > 1.2 * 0.7 * 0.8 * fake.SIZE[1]  # as wide as the jaw, not as the eyes


def test_ten_points_and_details():
    with pytest.raises(InvalidDataError, match=r"s/metadata\.txt: 3 numbers, expected 22"):
        read_points("1 2 3", "s/metadata.txt")
    details = read_details("female,yes,none,5,dark,Mobile Phone,positive,eyes closed,")
    assert details == {
        "sex": "female", "spectacles": "yes", "facial_hair": "none", "pose": "5", "quality": "dark",
        "occlusion": "Mobile Phone", "emotion": "positive", "other": "eyes closed", "expression": "positive",
    }  # fmt: skip
    assert read_details("")["occlusion"] == "none"


def test_the_quality_map_is_kept(tmp_path):
    adapter = session(tmp_path, specular=0.3)
    recovered, capture = adapter.recover(SESSION), adapter.load(SESSION)
    inside = capture.measured.mask
    np.testing.assert_allclose(recovered.normals[inside], capture.measured.normals[inside], atol=1e-6)
    assert capture.attributes["residual_median"] == pytest.approx(
        float(np.median(recovered.residual[inside])), abs=1e-4
    )
    assert recovered.residual[inside].max() <= 0.1


def test_one_subject_is_in_one_split(tmp_path):
    from fnbench.cards import load_card

    card = load_card("photoface")
    splits = {card.split_of(str(subject)) for subject in range(1001, 1454)}
    assert splits == {"train", "val", "test"}
    assert card.splits.rule == "hash"


def test_many_sessions_are_listed_by_their_folders_alone(tmp_path):
    """tests/benchmarks/bench_listing.py has 100,000, and the time."""
    fake.write_names(tmp_path, 1000)
    ids = Photoface(tmp_path).capture_ids()
    assert len(ids) == len(set(ids)) == 1000


# -- known heads -------------------------------------------------------------------------------------------------------


def rendered(scan: Scan, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth towards the viewer in pixels, normals and mask of a scan in an orthographic camera."""
    visibility = Raster().visibility(scan, camera)
    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), camera, visibility)
    return np.where(maps.mask, -maps.depth * camera.K[0, 0], 0.0), maps.normals.astype(float), maps.mask


def orthographic(centre, height_mm: float, rows: int = 320, columns: int = 260, yaw: float = 0.0) -> Camera:
    scale = rows / height_mm
    K = np.array([[scale, 0, columns / 2], [0, scale, rows / 2], [0, 0, 1.0]])
    return Camera(K, look_at(np.asarray(centre, float), 1000.0, yaw=yaw), columns, rows, orthographic=True)


def place(root: Path, depth, normals, mask, points, albedo, **light) -> Photoface:
    """A session photographed from a rendered head."""
    folder = root / fake.FIRST
    folder.mkdir(parents=True)
    facing = mask & (normals[..., 2] > 0.05)
    taken = lit.photographs(depth, normals, facing, lit.directions(), albedo, **light)
    for k, image in enumerate(taken):
        Image.fromarray(image).save(folder / f"im{k}.bmp")
    (folder / "LightSource.m").write_text(fake.light_file(case="-180"))
    (folder / "metadata.txt").write_text("\n".join(f"{x:.2f} {y:.2f}" for x, y in points + 0.5))
    (folder / "metadataII.txt").write_text("male,no,none,1,ok,,blankstare,,")
    return Photoface(root)


LIGHT = {
    "shadows": {"cast": True},
    "noise": {"cast": True, "noise": 1.0},
    "highlights": {"cast": True, "specular": 0.15, "noise": 1.0},
}


def error_of(tmp_path, scan, camera, points, albedo, light) -> float:
    depth, normals, mask = rendered(scan, camera)
    measured = place(tmp_path, depth, normals, mask, points, albedo, **LIGHT[light]).load(SESSION).measured
    assert not (measured.mask & ~mask).any()
    assert measured.mask.sum() > 0.3 * mask.sum()
    return mean_angle(measured.normals, normals, measured.mask)


@pytest.mark.parametrize(("light", "bound"), [("shadows", 0.2), ("noise", 0.6), ("highlights", 2.0)])
@pytest.mark.parametrize("yaw", [0.0, 25.0])
def test_the_synthetic_head_under_four_lights(light, bound, yaw, tmp_path):
    shape = Shape(sample_identity(np.random.default_rng(3)), EXPRESSIONS["smile"])
    scan = head(shape)
    camera = orthographic((0, -25, 0), 260.0, yaw=yaw)
    points = camera.project(landmarks(shape))[0][POINTS]
    assert error_of(tmp_path, scan, camera, points, lit.skin((320, 260)), light) < bound


head = cache(lambda shape: mesh(shape, 2.0))

JAMES = [17, 20, 34, 23, 26, 38, 37, 42, 48, 54, 8]
"""The 11 points among the scan's own 68, which come in another order than usual."""


@pytest.mark.parametrize(("light", "bound"), [("shadows", 0.5), ("noise", 1.6), ("highlights", 4.5)])
def test_the_james_scan_in_its_own_colours_under_four_lights(light, bound, shared_data, tmp_path):
    folder = shared_data / "menpo3d_james"
    scan = read(folder / "james.obj")
    groups = json.loads((folder / "james.ljson").read_text())["groups"]
    points = np.array(groups["LJSON"]["landmarks"]["points"])[JAMES]
    camera = orthographic(points.mean(axis=0) + [0, 15, 0], 260.0)
    assert error_of(tmp_path, scan, camera, camera.project(points)[0], texture(scan, camera), light) < bound


@pytest.mark.parametrize(("light", "bound"), [("shadows", 0.2), ("noise", 0.6), ("highlights", 2.0)])
def test_the_lee_perry_smith_scan_in_its_own_colours_under_four_lights(light, bound, shared_data, tmp_path):
    scan = read(shared_data / "lee_perry_smith" / "LeePerrySmith_converted.obj", unit=33.0)
    camera = orthographic((0, 20, 0), 190.0)
    marked = [  # by eye on a frontal rendering, millimetres right and up
        (-34, 54), (-14, 54), (-3, 63), (8, 54), (28, 54), (-14, 32), (-4, 39), (6, 32), (-18, 11), (11, 12), (-3, -18),
    ]  # fmt: skip
    points = camera.project(np.array([(x, y, 60.0) for x, y in marked]))[0]
    assert error_of(tmp_path, scan, camera, points, texture(scan, camera), light) < bound


@cache
def read(path: Path, unit="mm") -> Scan:
    return read_scan(path, unit=unit)


def texture(scan: Scan, camera: Camera) -> np.ndarray:
    """(H, W, 3) linear albedo: the scan's texture where the camera sees it."""
    maps = surface_maps(scan, vertex_normals(scan.vertices, scan.faces), camera, Raster().visibility(scan, camera))
    height, width = scan.texture.shape[:2]
    u, v = np.nan_to_num(np.moveaxis(maps.uv, -1, 0))
    rows = np.clip(((1 - v) * height).astype(int), 0, height - 1)
    columns = np.clip((u * width).astype(int), 0, width - 1)
    return np.clip(1.5 * (scan.texture[rows, columns] / 255) ** 2.2, 0.05, 1)
