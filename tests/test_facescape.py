"""FaceScape: the displacement moves the surface outwards by what the map says; cameras follow the similarity."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import facescape as fake

from fnbench.adapters.facescape import FaceScape
from fnbench.errors import InvalidDataError
from fnbench.scans.displace import displaced, subdivided
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan


def square(count=9):
    x, y = np.meshgrid(np.linspace(0, 80, count), np.linspace(80, 0, count))
    corner = np.add.outer(np.arange(count - 1) * count, np.arange(count - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + count, corner + count + 1], 1),
            np.stack([corner, corner + count + 1, corner + 1], 1),
        ]
    ).astype(np.int32)
    vertices = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    return Scan(vertices, faces, uv=vertices[:, :2] / 80, uv_faces=faces)


def test_splitting_keeps_the_surface_and_quarters_the_triangles():
    scan = square()
    fine = subdivided(scan)
    assert len(fine.faces) == 4 * len(scan.faces)
    np.testing.assert_array_equal(fine.vertices[:, 2], 0)
    areas = [np.linalg.norm(np.cross(*(s.vertices[s.faces][:, k] - s.vertices[s.faces][:, 0] for k in (1, 2))), axis=1)
             for s in (scan, fine)]  # fmt: skip
    np.testing.assert_allclose(areas[0].sum(), areas[1].sum())
    np.testing.assert_allclose(fine.uv[fine.uv_faces], fine.vertices[fine.faces][..., :2] / 80)
    assert (vertex_normals(fine.vertices, fine.faces)[:, 2] > 0.999).all()


def test_a_map_moves_vertices_outwards_by_its_value_at_their_place():
    scan = subdivided(subdivided(square()))
    rows, columns = np.mgrid[0:200, 0:200] + 0.5
    moved = displaced(scan, np.sin(columns / 200 * 3) + 0.5 * (1 - rows / 200))
    inside = (scan.uv > 0.01).all(1) & (scan.uv < 0.99).all(1)
    expected = np.sin(scan.uv[:, 0] * 3) + 0.5 * scan.uv[:, 1]
    np.testing.assert_allclose(moved.vertices[inside, 2], expected[inside], atol=1e-4)


def test_a_model_grows_by_its_map(tmp_path):
    fake.write(tmp_path)
    adapter = FaceScape(tmp_path)
    smooth, detailed = adapter.load("1/2_smile"), adapter.load("1/1_neutral")
    assert smooth.attributes["detail"] == "template"
    assert "no displacement map" in smooth.scan.notes[-1]
    assert len(detailed.scan.faces) == 16 * len(smooth.scan.faces)
    tip = [capture.scan.vertices[:, 2].max() for capture in (smooth, detailed)]
    assert tip[1] - tip[0] == pytest.approx(0.5, abs=0.02)


def test_the_multi_view_mesh_and_its_cameras_are_in_the_template_frame(tmp_path):
    fake.write(tmp_path)
    capture = FaceScape(tmp_path).load("mv/7/1_neutral")
    tip = capture.scan.vertices[capture.scan.vertices[:, 2].argmax()]
    np.testing.assert_allclose(tip, [0, 0, 125], atol=1)
    photographs = capture.photographs()
    assert [photograph.name for photograph in photographs] == ["0", "10"]
    pixels, depth = photographs[0].camera.project(np.array([[10.0, 20, 100]]))
    np.testing.assert_allclose(pixels, [[150 + 9000 / 900, 200 - 18000 / 900]], atol=1e-6)
    np.testing.assert_allclose(depth, 900)
    assert [
        photograph.name for photograph in FaceScape(tmp_path, views=["10"]).load("mv/7/1_neutral").photographs()
    ] == ["10"]


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("{}", "no camera for 0.jpg")])
def test_damaged_cameras_are_named(tmp_path, text, message):
    fake.write(tmp_path)
    (tmp_path / "7/1_neutral/params.json").write_text(text)
    with pytest.raises(InvalidDataError, match=rf"params\.json: {message}"):
        FaceScape(tmp_path).load("mv/7/1_neutral").photographs()


def test_no_valid_photograph_is_said(tmp_path):
    fake.write(tmp_path)
    path = tmp_path / "7/1_neutral/params.json"
    params = json.loads(path.read_text()) | {"0_valid": False, "10_valid": False}
    path.write_text(json.dumps(params))
    with pytest.raises(InvalidDataError, match="no valid photograph"):
        FaceScape(tmp_path).load("mv/7/1_neutral").photographs()
