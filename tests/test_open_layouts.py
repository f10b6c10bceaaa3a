"""What the smaller adapters hand out, number by number: image sets, SynthHuman, two sets of unknown layout."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import affectnet, bjut3d, celebahq, diligent, ict3drfe, lit, synthhuman, w300
from PIL import Image

from fnbench.adapters.affectnet import AffectNet
from fnbench.adapters.bjut3d import Bjut3d
from fnbench.adapters.celebahq import CelebaHq
from fnbench.adapters.diligent import Diligent
from fnbench.adapters.ict3drfe import Ict3dRfe
from fnbench.adapters.synthhuman import SynthHuman
from fnbench.adapters.w300 import W300
from fnbench.errors import MissingDependencyError
from fnbench.photometric.stereo import photometric_stereo


def only_photograph(capture):
    (photograph,) = capture.photographs()
    return photograph


def test_w300_points_lose_their_one(tmp_path):
    w300.write(tmp_path)
    for seed, name in enumerate(w300.CAPTURES):
        capture = W300(tmp_path).load(name)
        np.testing.assert_allclose(only_photograph(capture).landmarks, w300.points(seed), atol=1e-4)
        assert capture.attributes["place"] == name.split("_")[0]


def test_celebahq_masks_are_the_face_without_glasses_at_full_size(tmp_path):
    celebahq.write(tmp_path)
    adapter = CelebaHq(tmp_path)
    parts = celebahq.PARTS
    whole = np.logical_or.reduce([parts[name] for name in ("skin", "nose", "l_eye", "r_eye", "u_lip")])
    np.testing.assert_array_equal(only_photograph(adapter.load("00000")).mask[::2, ::2], whole)
    assert not whole[parts["hair"] & ~parts["skin"]].any()
    seventeen = adapter.load("00017")
    glasses = celebahq.disc(0.5, 0.42, 0.15)
    assert seventeen.attributes["glasses"] is True
    assert not only_photograph(seventeen).mask[1::2, 1::2][glasses].any()
    assert only_photograph(seventeen).mask[1::2, 1::2][parts["skin"] & ~glasses].all()


def test_celebahq_reads_the_second_folder_of_masks(tmp_path):
    celebahq.write(tmp_path)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / celebahq.MASKS / "1/02001_skin.png")
    mask = only_photograph(CelebaHq(tmp_path).load("02001")).mask
    assert not mask[celebahq.SIZE // 2, celebahq.SIZE // 4]


@pytest.mark.parametrize(
    ("capture", "expression", "release"),
    [
        ("1/aa11", "happy", "old"),
        ("1/bb22", "none", "old"),
        ("12/cc33", "neutral", "old"),
        ("train_set/7", "surprise", "new"),
    ],
)
def test_affectnet_rows_and_arrays(capture, expression, release, tmp_path):
    affectnet.write(tmp_path)
    found = AffectNet(tmp_path).load(capture)
    assert (found.attributes["expression"], found.attributes["release"]) == (expression, release)
    np.testing.assert_allclose(only_photograph(found).landmarks, affectnet.points(), atol=0.006)


def test_affectnet_sends_no_lists_to_workers(tmp_path):
    import pickle

    affectnet.write(tmp_path)
    adapter = AffectNet(tmp_path)
    adapter.load("1/aa11")
    assert len(pickle.dumps(adapter)) < 1000


@pytest.mark.parametrize("order", ["BGR", "RGB", "XYZ"])
def test_synthhuman_normals_whatever_the_channel_order(order, tmp_path):
    pytest.importorskip("OpenEXR", reason="needs OpenEXR, the extra exr")
    synthhuman.write(tmp_path)
    for path in tmp_path.rglob("normal_*.exr"):
        synthhuman.write_normals(path, order)
    adapter = SynthHuman(tmp_path)
    assert adapter.channels == order.lower()
    capture = adapter.load(synthhuman.CAPTURES[1])
    normals, mask = synthhuman.surface()
    np.testing.assert_array_equal(capture.measured.mask, mask)
    np.testing.assert_allclose(capture.measured.normals[mask], normals[mask], atol=1e-6)
    camera = only_photograph(capture).camera
    np.testing.assert_allclose(camera.project(np.array([[0.0, 0.0, -800.0]]))[0], [[30.0, 36.0]])


def test_synthhuman_without_its_library_names_the_extra(tmp_path, monkeypatch):
    import sys

    pytest.importorskip("OpenEXR", reason="needs OpenEXR, the extra exr")
    synthhuman.write(tmp_path)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    adapter = SynthHuman(tmp_path)
    assert len(adapter.capture_ids()) == 3
    with pytest.raises(MissingDependencyError, match=r"pip install 'fnbench\[exr\]'"):
        adapter.load(synthhuman.CAPTURES[0])


def test_ict3drfe_normals_once_their_axes_are_declared(tmp_path):
    ict3drfe.write(tmp_path)
    capture = Ict3dRfe(tmp_path, truth="specular_normal", normal_frame="opengl").load(ict3drfe.CAPTURES[0])
    _, normals, mask = lit.face(*ict3drfe.SIZE)
    assert (capture.measured.mask == mask)[1:-1, 1:-1].mean() > 0.99
    both = capture.measured.mask & mask
    assert np.abs(capture.measured.normals[both] - normals[both]).max() < 0.02
    assert capture.attributes["truth"] == "specular_normal"


def test_ict3drfe_mesh_is_in_millimetres_with_the_diffuse_albedo(tmp_path):
    ict3drfe.write(tmp_path)
    scan = Ict3dRfe(tmp_path).load(ict3drfe.CAPTURES[1]).scan
    assert 100 < np.ptp(scan.vertices, axis=0).max() < 300
    with Image.open(tmp_path / ict3drfe.CAPTURES[1] / "diffuse_albedo.png") as albedo:
        np.testing.assert_array_equal(scan.texture, np.asarray(albedo))


def test_bjut3d_formats_agree(tmp_path):
    bjut3d.write(tmp_path)
    adapter = Bjut3d(tmp_path)
    points, faces = bjut3d.surface()
    for name in bjut3d.CAPTURES:
        scan = adapter.load(name).scan
        assert scan.faces.shape == faces.shape
        corners, expected = (
            np.round(p[f].reshape(-1, 3), 2) + 0.0 for p, f in ((scan.vertices, scan.faces), (points, faces))
        )
        np.testing.assert_allclose(np.unique(corners, axis=0), np.unique(expected, axis=0), atol=0.011)


def test_bjut3d_axes_and_people_are_settings(tmp_path):
    bjut3d.VARIANTS["other axes"].change((bjut3d.write(tmp_path), tmp_path)[1])
    capture = Bjut3d(tmp_path).load("a/F0001")
    points, _ = bjut3d.surface()
    np.testing.assert_allclose(capture.scan.vertices, points, atol=1e-9)
    assert capture.subject == "F0001"


def test_two_formats_of_one_scan_are_two_captures(tmp_path):
    bjut3d.write(tmp_path)
    (tmp_path / "a/F0001.wrl").write_text(bjut3d.wrl(*bjut3d.surface()))
    ids = Bjut3d(tmp_path).capture_ids()
    assert {"a/F0001.obj", "a/F0001.wrl", "a/M0002"} <= set(ids)


def test_diligent_light_gives_its_own_normals_back(tmp_path):
    diligent.write(tmp_path)
    adapter = Diligent(tmp_path)
    exposures, target = adapter.exposures("ball"), adapter.load("ball").measured
    directions, intensities = diligent.lights()
    np.testing.assert_allclose(exposures.directions, directions, atol=1e-6)
    expected = diligent.pictures()[3] / 65535 / intensities[3]
    np.testing.assert_allclose(exposures.intensity[3], expected, rtol=1e-5, atol=1e-7)
    recovered = photometric_stereo(exposures.intensity.mean(axis=3), exposures.directions)
    both = recovered.mask & target.mask
    cosine = (recovered.normals[both] * target.normals[both]).sum(axis=-1)
    assert both.sum() > 0.95 * target.mask.sum()
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 0.5


def test_diligent_pictures_are_shown_as_a_screen_shows_them(tmp_path):
    diligent.write(tmp_path)
    capture = Diligent(tmp_path).load("bear")
    photographs = capture.photographs()
    assert len(photographs) == diligent.LIGHTS == capture.attributes["lights"]
    brightest = np.max([photograph.image[capture.measured.mask].max() for photograph in photographs])
    assert brightest == 255
