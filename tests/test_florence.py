"""MICC Florence: the tree, the texture, the face that is found, and the photographs inside the texture."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import florence as fake

from fnbench.adapters.florence import AllViews, Florence
from fnbench.adapters.folder import Folder
from fnbench.camera import Camera
from fnbench.errors import InvalidDataError
from fnbench.render.groundtruth import render_dataset
from fnbench.render.plan import Plan
from fnbench.scans.normals import vertex_normals
from fnbench.scans.read import read_scan
from fnbench.store import Store


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("florence")
    fake.write(root)
    return root


@pytest.fixture
def james(shared_data, tmp_path) -> Path:
    """The real 3dMD scan in Florence's tree."""
    folder = tmp_path / "subject_01" / "Model" / "frontal1" / "obj"
    folder.mkdir(parents=True)
    for name in ("james.obj", "james.jpg", "james.obj.mtl"):
        shutil.copy(shared_data / "menpo3d_james" / name, folder / name)
    return tmp_path


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between unit vectors."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1)))


# --- the tree ---


def test_sides_are_listed_by_option_only(tree):
    assert "subject_01/sidel" not in Florence(tree).capture_ids()
    assert "subject_01/sidel" in AllViews(tree).capture_ids()
    assert set(Florence(tree).capture_ids()) < set(AllViews(tree).capture_ids())


def test_frontal2_stands_in_for_a_missing_frontal1(tmp_path):
    fake.write(tmp_path)
    shutil.rmtree(tmp_path / "Subject_02" / "model" / "FRONTAL1")
    ids = Florence(tmp_path, views=("frontal1",)).capture_ids()
    assert ids == ["subject_01/frontal1", "subject_02/frontal2", "subject_03/frontal1"]


def test_a_person_without_scans_is_listed_and_says_what_is_missing(tmp_path):
    fake.write(tmp_path)
    shutil.rmtree(tmp_path / "subject_03" / "Model")
    adapter = Florence(tmp_path)
    assert "subject_03/frontal1" in adapter.capture_ids()
    with pytest.raises(Exception, match=r"subject_03/frontal1 has no scan: expected one \.obj in .*subject_03/Model"):
        adapter.load("subject_03/frontal1")


def test_a_second_scan_in_a_folder_is_reported(tree):
    capture = Florence(tree).load("subject_02/frontal2")
    assert capture.attributes["scan_file"] == "110921110622.obj"
    assert capture.attributes["ignored_scans"] == ["110921110655.obj"]
    assert "2 scans in one folder, the first by name taken" in capture.scan.notes


def test_a_missing_texture_is_said_and_the_scan_stays(tree):
    named, none = (Florence(tree).load(f"subject_0{n}/frontal1") for n in (2, 3))
    assert named.attributes["scan_notes"] == ["texture 110921110609.bmp is missing", "no texture found"]
    assert none.attributes["scan_notes"] == ["no texture found"]
    for capture in (named, none):
        assert capture.scan.texture is None
        assert capture.photographs is None


def test_points_beside_the_scan_are_the_landmarks(tmp_path, shared_data):
    fake.write(tmp_path)
    fake.VARIANTS["points beside the scan"].change(tmp_path)
    capture = Florence(tmp_path).load("subject_03/frontal1")
    np.testing.assert_allclose(capture.landmarks, fake.person(3)[2], atol=1e-3)


def test_the_labels_of_an_ljson_decide_the_order(james, shared_data):
    shutil.copy(shared_data / "menpo3d_james" / "james.ljson", james / "subject_01/Model/frontal1/obj/james.ljson")
    points = Florence(james).load("subject_01/frontal1").landmarks
    assert np.linalg.norm(points[36] - points[45]) == pytest.approx(95.2, abs=0.1)
    assert points[8, 1] == points[:, 1].min()  # the chin
    assert points[30, 2] == points[:, 2].max()  # the tip of the nose


# --- what is rendered ---


def test_the_pitch_is_undone_and_only_the_face_is_kept(tree, tmp_path):
    report = render_dataset(Florence(tree), tmp_path / "f.h5", Plan(size=96, depth=True), samples=["*/frontal1"])
    assert report.ok
    store = Store(tmp_path / "f.h5")
    assert len(store) == 3
    for i, number in enumerate((1, 2, 3)):
        sample = store[i]
        points = fake.person(number)[2]
        assert sample.attributes["scan_pitch"] == pytest.approx(fake.PITCH, abs=4)
        assert abs(sample.attributes["scan_yaw"]) < 3
        assert sample.attributes["landmark_residual_mm"] < 2.5
        expected, _ = sample.camera.project(points)
        assert np.linalg.norm(sample.landmarks - expected, axis=1).mean() < 4  # of 96 pixels, about 2 mm each
        assert sample.target.mask[30:60, 30:66].mean() > 0.98
        mean = sample.target.normals[sample.target.mask].mean(axis=0)
        assert abs(mean[0]) < 0.1
        assert mean[2] > 0.6
        reach = np.linalg.norm(fake.person(number)[0] - points[30], axis=1)
        beyond, _ = sample.camera.project(fake.person(number)[0][reach > 110])
        depth = sample.depth[sample.target.mask]
        assert len(beyond)
        assert np.ptp(depth) < 2 * 95


def test_metres_for_millimetres_are_refused_by_name(tmp_path):
    fake.write(tmp_path)
    fake.VARIANTS["metres"].change(tmp_path)
    report = render_dataset(Florence(tmp_path), tmp_path / "f.h5", Plan(size=32), samples=["subject_03/*", "*_01/*1"])
    assert not report.ok
    assert "subject_03/frontal1" in "\n".join(report.lines())
    assert Store(tmp_path / "f.h5").captures == ["subject_01/frontal1"]


# --- photographs ---


def test_photographs_come_out_of_the_texture_with_their_cameras(tree):
    capture = Florence(tree).load("subject_01/frontal1")
    left, right = capture.photographs()
    vertices = fake.person(1)[0]
    for photograph, true, red in zip((left, right), fake.cameras(), (200, 160), strict=True):
        assert photograph.image.shape == (fake.SIZE[1], fake.SIZE[0], 3)
        assert photograph.image[..., 0].mean() == pytest.approx(red, abs=5)
        np.testing.assert_allclose(photograph.camera.project(vertices)[0], true.project(vertices)[0], atol=0.1)
        assert photograph.attributes["reprojection_median_px"] < 0.05


def test_an_atlas_of_packed_charts_gives_no_photographs(tmp_path):
    fake.write(tmp_path)
    path = tmp_path / fake.FIRST
    lines = [
        f"vt {1 - float(line.split()[1]):.6f} {line.split()[2]}" if line.startswith("vt") and i % 2 else line
        for i, line in enumerate(path.read_text().split("\n"))
    ]
    path.write_text("\n".join(lines))
    capture = Florence(tmp_path).load("subject_01/frontal1")
    with pytest.raises(InvalidDataError, match=r"subject_01/frontal1: .*render the images instead"):
        capture.photographs()


def test_real_photographs_line_up_with_exact_normals(james, shared_data, tmp_path):
    """The whole path on a real scan, against normals rendered through cameras that were fitted by somebody else."""
    report = render_dataset(Florence(james), tmp_path / "photo.h5", Plan(images="photo", size=256))
    assert report.ok
    store = Store(tmp_path / "photo.h5")
    assert [s.rsplit("/", 1)[1] for s in store.ids] == ["camera1", "camera2"]
    reference = json.loads((shared_data / "menpo3d_james" / "james_cameras_derived.json").read_text())
    scan = read_scan(shared_data / "menpo3d_james" / "james.obj")
    for i, side in enumerate(("left", "right")):
        sample, fit = store[i], reference[side]
        assert sample.attributes["reprojection_median_px"] < 0.36
        x, y, crop = sample.attributes["crop"]
        theirs = Camera.from_opencv(np.array(fit["K"]), np.column_stack([fit["R"], fit["t"]]), 1200, 1600)
        pixels = (theirs.project(scan.vertices)[0] - [x, y]) * 256 / crop
        ours, _ = sample.camera.project(scan.vertices)
        assert np.median(np.linalg.norm(pixels - ours, axis=1)) < 0.2
        assert sample.target.mask.mean() > 0.4
        # The lit cheek ends where the normals end: the background behind it is black.
        inside, outside = (beyond_the_cheek(sample, (1, -1)[i], steps) for steps in (-3, 3))
        assert np.median(inside) > 100
        assert np.median(outside) < 40


def test_the_same_scan_through_a_described_folder_gives_the_same_normals(james, tmp_path):
    (james / "fnbench.toml").write_text(
        'name = "own"\nscans = \'(?P<subject>subject_\\d+)/Model/.*\\.obj\'\nunit = "mm"\n'
        'front = [0, 0, 1]\nphotographs = "texture"\n'
    )
    for plan in (Plan(images="photo", size=128), Plan(views=((0, 0), (30, 10)), size=128)):
        for number, adapter in enumerate((Florence(james), Folder(james))):
            assert render_dataset(adapter, tmp_path / f"{plan.images}{number}.h5", plan).ok
        first, second = (Store(tmp_path / f"{plan.images}{number}.h5") for number in (0, 1))
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a.target.normals, b.target.normals)
            np.testing.assert_array_equal(a.target.mask, b.target.mask)


def beyond_the_cheek(sample, direction: int, steps: int) -> list[float]:
    """Grey values some pixels from the outline of the face on its far side, row by row."""
    grey, found = sample.image.mean(axis=-1), []
    for row in range(60, 200):
        columns = np.flatnonzero(sample.target.mask[row])
        edge = columns.max() if direction > 0 else columns.min()
        found.append(grey[row, min(edge + direction * steps, 255)])
    return found


# --- seams ---


def test_a_texture_seam_does_not_crease_the_normals(shared_data, tmp_path):
    """One vertex per (v, vt) pair, as many tools write it, gives the same normals as the scan itself."""
    scan = read_scan(shared_data / "menpo3d_james" / "james.obj")
    assert len(scan.uv) > len(scan.vertices)
    pairs, split = np.unique(np.stack([scan.faces.ravel(), scan.uv_faces.ravel()], -1), axis=0, return_inverse=True)
    split = split.reshape(-1, 3)
    text = "\n".join("v {!r} {!r} {!r}".format(*v) for v in scan.vertices[pairs[:, 0]].tolist())
    text += "\n" + "\n".join("f {} {} {}".format(*f) for f in (split + 1).tolist())
    (tmp_path / "split.obj").write_text(text)
    welded = read_scan(tmp_path / "split.obj")
    normals = vertex_normals(scan.vertices, scan.faces)[scan.faces]
    np.testing.assert_allclose(vertex_normals(welded.vertices, welded.faces)[welded.faces], normals, atol=1e-9)
    creased = vertex_normals(scan.vertices[pairs[:, 0]], split)[split]
    off = angle(creased, normals)
    seam = np.zeros(len(scan.vertices), bool)
    seam[np.flatnonzero(np.bincount(pairs[:, 0]) > 1)] = True
    assert off[seam[scan.faces]].mean() > 3  # what a reader that splits vertices would have rendered


# --- names ---


def test_names_that_are_not_utf8_are_rendered_stored_and_resumed(james, tmp_path):
    """Copies from old systems carry Latin-1 names; h5py and JSON take UTF-8 only."""
    root = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    folder = root / "subject_01" / "Model" / "frontal1" / "obj"
    folder.mkdir(parents=True)
    shutil.copy(james / "subject_01/Model/frontal1/obj/james.obj", folder / os.fsdecode(b"j\xe9mes.obj"))
    (root / "fnbench.toml").write_text(
        'name = "own"\nscans = \'(?P<subject>[^/]+)/.*/(?P<stamp>.*)\\.obj\'\nunit = "mm"\n'
    )
    for adapter in (Florence(root), Folder(root)):
        out = tmp_path / f"{adapter.name}.h5"
        assert render_dataset(adapter, out, Plan(size=32)).ok
        sample = Store(out)[0]
        assert r"j\xe9mes" in sample.attributes.get("scan_file", sample.attributes.get("stamp", ""))
        assert render_dataset(adapter, out, Plan(size=32)).ok
