"""read_scan: mesh files become Scans in millimetres, or one clear error."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tinyobjloader
import trimesh
from PIL import Image

from fnbench.errors import FnbenchError, InvalidDataError, InvalidSettingError
from fnbench.scans import clean
from fnbench.scans.obj import parse_obj
from fnbench.scans.read import Exclusion, read_scan


def bump(side: int = 12, unit: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A face-sized bump that bulges towards +z: vertices (V, 3) in mm times ``unit``, quads (Q, 4)."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    vertices = np.stack([x * 150, -y * 200, 60 * np.cos(2 * x) * np.cos(2 * y)], -1).reshape(-1, 3) * unit
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    return vertices, np.stack([corner, corner + side, corner + side + 1, corner + 1], -1)


def obj_text(side: int = 12, unit: float = 1.0, uv: bool = True, head: str = "") -> str:
    vertices, quads = bump(side, unit)
    lines = [head] if head else []
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    if uv:
        lines += [f"vt {x / 150 / unit + 0.5:.6f} {y / 200 / unit + 0.5:.6f}" for x, y, _ in vertices]
    lines += ["f " + " ".join(f"{i}/{i}" if uv else f"{i}" for i in quad + 1) for quad in quads]
    return "\n".join(lines) + "\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "face.obj") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


# --- what a healthy file gives ---


def test_positions_and_texture_indices_stay_apart(write):
    scan = read_scan(write(obj_text()))
    assert scan.vertices.shape == (144, 3)
    assert scan.faces.shape == (242, 3)
    assert scan.uv is not None
    assert scan.uv_faces is not None
    assert "no texture found" in scan.notes
    corner = scan.vertices[scan.faces[17, 1]]
    np.testing.assert_allclose(scan.uv[scan.uv_faces[17, 1]], [corner[0] / 150 + 0.5, corner[1] / 200 + 0.5], atol=1e-6)


def test_numbers_equal_those_of_python(write):
    rng = np.random.default_rng(0)
    words = [repr(float(v)) for v in rng.normal(size=300) * 10.0 ** rng.integers(-8, 9, 300)]
    words += ["1e5", "-2.5E-3", "+.5", "7.", "00012.50", "123456789012345678901234567890", "-0", "1e-30", "4E+2"]
    words += ["0"] * (-len(words) % 3)
    text = "".join("v {} {} {}\n".format(*words[i : i + 3]) for i in range(0, len(words), 3)) + "f 1 2 3\n"
    found = parse_obj(text.encode(), "numbers").vertices.ravel()
    np.testing.assert_allclose(found, [float(w) for w in words], rtol=4e-16, atol=0)


@pytest.mark.parametrize(
    "item",
    ["menpo3d_james/james.obj", "lee_perry_smith/LeePerrySmith_converted.obj", "ict_facekit/original_obj/jawOpen.obj"],
)
def test_real_files_agree_with_a_second_parser(shared_data, item):
    path = shared_data / item
    ours = parse_obj(path.read_bytes(), item)
    reader, config = tinyobjloader.ObjReader(), tinyobjloader.ObjReaderConfig()
    config.triangulate = False
    assert reader.ParseFromString(path.read_text(), "", config)
    attributes = reader.GetAttrib()
    np.testing.assert_allclose(ours.vertices.ravel(), attributes.vertices, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.uv.ravel(), attributes.texcoords, rtol=1e-12, atol=1e-12)
    corners = [(p, t) for shape in reader.GetShapes() for p, t in _fans(shape.mesh)]
    same = (np.array([p for p, _ in corners]) == ours.faces).all(axis=1)
    assert (~same).sum() <= 2  # a concave quad inside the mouth of ICT-FaceKit is cut along its other diagonal
    assert (np.array([t for _, t in corners]) == ours.uv_faces)[same].all()


def _fans(mesh):
    positions, textures, at = mesh.vertex_indices(), mesh.texcoord_indices(), 0
    for size in mesh.num_face_vertices:
        for k in range(1, size - 1):
            yield tuple([row[at], row[at + k], row[at + k + 1]] for row in (positions, textures))
        at += size


def test_faces_of_ict_equal_the_derived_arrays(shared_data):
    arrays = np.load(shared_data / "ict_facekit" / "ict_facekit_full_100id_57expr.npz")
    mesh = parse_obj((shared_data / "ict_facekit/original_obj/generic_neutral_mesh.obj").read_bytes(), "ict")
    np.testing.assert_allclose(mesh.vertices, arrays["neutral"], atol=1e-5)
    skin = np.isin(mesh.materials, [mesh.material_names.index(n) for n in ("M_Face", "M_BackHead")])
    assert (mesh.faces[skin] == arrays["triangles"][skin]).all()


def test_negative_and_zero_indices_and_line_continuation(write):
    text = "v 0 0 0\nv 200 0 0\nv 200 200 9\nv 0 200 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
    plain = read_scan(write(text + "f 1/1 2/2 3/3 4/4\n"))
    for faces in (
        "f -4/-4 -3/-3 -2/-2 -1/-1\n",
        "f 1/1/0 2/2/0 3/3/0 4/4/0\n",
        "f 1/1 2/2 \\\n 3/3 4/4\n",
        "f 1/1/9 2/2/9 3/3/9 4/4/9",
    ):
        scan = read_scan(write(text + faces))
        assert scan.faces.tolist() == plain.faces.tolist()
        assert scan.uv_faces.tolist() == plain.uv_faces.tolist()


def test_a_concave_polygon_is_cut_without_folding(write):
    text = "v 0 0 0\nv 200 0 0\nv 40 40 0\nv 0 200 0\nv 0 0 9\nf 2 3 4 1\nf 1 2 5\n"
    scan = read_scan(write(text))
    corners = scan.vertices[scan.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:2]
    assert normals[:, 2].prod() > 0
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(8000)


@pytest.mark.parametrize("scale", [1, 255])
def test_vertex_colours_in_either_range(write, scale):
    text = f"v 0 0 0 {scale} 0 0\nv 200 0 0 0 {scale} 0\nv 0 200 0 0 0 {scale}\nf 1 2 3\n"
    assert read_scan(write(text)).colors.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_old_line_ends_and_windows_line_ends(write):
    plain = read_scan(write(obj_text()))
    for ending in ("\r\n", "\r"):
        scan = read_scan(write(obj_text().replace("\n", ending)))
        assert (scan.vertices == plain.vertices).all()
        assert (scan.faces == plain.faces).all()


@pytest.mark.parametrize("kind", ["ply", "glb", "stl", "off", "gltf"])
def test_other_formats_give_the_same_surface(tmp_path, kind):
    vertices, quads = bump()
    mesh = trimesh.Trimesh(vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]), process=False)
    path = tmp_path / f"face.{kind}"
    if kind == "gltf":
        for name, content in mesh.export(file_type="gltf").items():
            (tmp_path / name).write_bytes(content)
        path = tmp_path / "model.gltf"
    else:
        mesh.export(path)
    scan = read_scan(path)
    assert len(np.unique(scan.faces)) == 144  # STL stores every corner for itself: welded again
    np.testing.assert_allclose(
        np.sort(scan.vertices[scan.faces].mean(axis=1), axis=0),
        np.sort(vertices[mesh.faces].mean(axis=1), axis=0),
        atol=1e-4,
    )


def test_vrml_with_its_texture(write, tmp_path):
    jpg(tmp_path / "Skin.bmp")
    quads = "coordIndex [ 0 1 2 3 -1 ] texCoordIndex [ 0, 1, 2, 3 -1 ]"
    text = (
        '#VRML V2.0 utf8\nShape { appearance Appearance { texture ImageTexture { url "skin.bmp" } } geometry '
        "IndexedFaceSet { coord Coordinate { point [ 0 0 0, 200 0 0, 200 200 9, 0 200 0 ] } "
        f"texCoord TextureCoordinate {{ point [ 0 0, 1 0, 1 1, 0 1 ] }} {quads} }} }}"
    )
    scan = read_scan(write(text, "face.wrl"))
    assert scan.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert scan.texture.shape == (30, 40, 3)
    assert scan.uv[scan.uv_faces[1]].tolist() == [[0, 0], [1, 1], [0, 1]]
    (tmp_path / "Skin.bmp").unlink()
    assert read_scan(write(text, "face.wrl")).notes == ("texture skin.bmp is missing", "no texture found")


def test_a_mesh_split_along_its_texture_seam_is_welded(write):
    left = "v 0 0 0\nv 100 0 9\nv 100 200 9\nv 0 200 0\n"
    mesh = left + "v 100 0 9\nv 200 0 0\nv 200 200 0\nv 100 200 9\nf 1 2 3 4\nf 5 6 7 8\n"
    scan = read_scan(write(mesh))
    assert len(scan.vertices) == 8  # indices keep their meaning
    assert len(np.unique(scan.faces)) == 6
    assert len(np.unique(read_scan(write(mesh), weld=False).faces)) == 8


def test_excluded_materials_and_vertex_ranges(write):
    text = obj_text(uv=False).split("\n")
    faces = [i for i, line in enumerate(text) if line.startswith("f")]
    text.insert(faces[50], "usemtl M_EyeOcclusion")
    text.insert(faces[0], "usemtl M_Face")
    path = write("\n".join(text))
    assert len(read_scan(path).faces) == 242
    assert len(read_scan(path, exclude=Exclusion(materials=("m_eye*",))).faces) == 100
    scan = read_scan(path, exclude=Exclusion(vertices=((0, 12),)))
    assert len(scan.faces) == 220
    assert scan.faces.min() == 12
    assert "22 faces of excluded parts left out" in scan.notes


# --- textures ---


def jpg(path: Path, size=(40, 30), color=(200, 150, 120)) -> Path:
    Image.new("RGB", size, color).save(path)
    return path


def test_texture_through_the_material(write, tmp_path):
    jpg(tmp_path / "skin image.jpg")
    write("newmtl m\nmap_Kd -s 1 1 1 skin image.jpg\n", "face.mtl")
    scan = read_scan(write(obj_text(head="mtllib face.mtl\nusemtl m")))
    assert scan.texture.shape == (30, 40, 3)
    assert scan.notes == ()


def test_texture_names_survive_case_folders_and_backslashes(write, tmp_path):
    jpg(tmp_path / "Skin.JPG")
    write("newmtl m\nmap_Kd C:\\\\scans\\\\skin.jpg\n", "FACE.MTL")
    assert read_scan(write(obj_text(head="mtllib ./face.mtl\nusemtl m"))).texture is not None


def test_missing_texture_falls_back_to_the_same_name_then_to_none(write, tmp_path):
    write("newmtl m\nmap_Kd gone.bmp\n", "face.mtl")
    path = write(obj_text(head="mtllib face.mtl\nusemtl m"))
    scan = read_scan(path)
    assert scan.texture is None
    assert scan.notes == ("texture gone.bmp is missing", "no texture found")
    jpg(tmp_path / "face.png")
    scan = read_scan(path)
    assert scan.texture is not None
    assert scan.notes == ("texture gone.bmp is missing", "texture taken from face.png, the image of the same name")


def test_two_textures_go_side_by_side(write, tmp_path):
    jpg(tmp_path / "a.png", (40, 30), (255, 0, 0))
    jpg(tmp_path / "b.png", (20, 60), (0, 0, 255))
    write("newmtl a\nmap_Kd a.png\nnewmtl b\nmap_Kd b.png\n", "face.mtl")
    text = obj_text(head="mtllib face.mtl").split("\n")
    faces = [i for i, line in enumerate(text) if line.startswith("f")]
    text.insert(faces[60], "usemtl b")
    text.insert(faces[0], "usemtl a")
    scan = read_scan(write("\n".join(text)))
    centre = scan.uv[scan.uv_faces].mean(axis=1)
    height, width = scan.texture.shape[:2]
    assert (height, width) == (60, 60)
    colours = scan.texture[((1 - centre[:, 1]) * height).astype(int), (centre[:, 0] * width).astype(int)]
    assert (colours[:120] == (255, 0, 0)).all()
    assert (colours[120:] == (0, 0, 255)).all()


def test_material_file_that_names_itself(write):
    write("mtllib face.obj\nnewmtl m\nmap_Kd face.mtl\n", "face.mtl")
    with pytest.raises(InvalidDataError, match=r"face\.mtl: not a readable image"):
        read_scan(write(obj_text(head="mtllib face.mtl face.mtl\nmtllib face.obj\nmtllib face.mtl\nusemtl m")))
    scan = read_scan(write(obj_text(head="mtllib face.obj\nusemtl m")))
    assert scan.notes == ("no texture found",)


def test_texture_bomb_and_damaged_texture_are_refused(write, tmp_path):
    path = write(obj_text())
    Image.new("1", (20000, 20000)).save(tmp_path / "face.png")
    with pytest.raises(InvalidDataError, match=r"face\.png: .*at most 150 megapixels"):
        read_scan(path)
    jpg(tmp_path / "face.png", (400, 400))
    (tmp_path / "face.png").write_bytes((tmp_path / "face.png").read_bytes()[:200])
    with pytest.raises(InvalidDataError, match=r"face\.png: not a readable image"):
        read_scan(path)
    assert read_scan(path, texture=False).texture is None


def test_large_textures_are_bounded(write, tmp_path, monkeypatch):
    monkeypatch.setattr("fnbench.scans.texture.KEPT_PIXELS", 1000)
    jpg(tmp_path / "face.png", (400, 300))
    texture = read_scan(write(obj_text())).texture
    assert texture.shape[0] * texture.shape[1] <= 1000
    assert texture.shape[1] / texture.shape[0] == pytest.approx(4 / 3, rel=0.05)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_textures_of_every_mode_become_rgb(write, tmp_path, mode):
    image = (
        Image.fromarray(np.full((9, 9), 40000, np.uint16))
        if mode == "I;16"
        else Image.new("RGB", (9, 9), (99, 88, 77)).convert(mode)
    )
    image.save(tmp_path / ("face.tif" if mode == "CMYK" else "face.png"))
    texture = read_scan(write(obj_text())).texture
    assert texture.shape == (9, 9, 3)
    expected = (156, 156, 156) if mode == "I;16" else image.convert("RGB").getpixel((4, 4))
    np.testing.assert_allclose(texture[4, 4], expected, atol=4)


# --- size and winding ---


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("cm", 0.1), ("dm", 0.01), ("m", 0.001), (25.4, 1 / 25.4)])
def test_units_become_millimetres(write, unit, factor):
    scan = read_scan(write(obj_text(unit=factor)), unit=unit)
    np.testing.assert_allclose(np.ptp(scan.vertices[:, 1]), 200, rtol=1e-3)
    if isinstance(unit, str):
        assert np.ptp(read_scan(write(obj_text(unit=factor)), unit="auto").vertices[:, 1]) == pytest.approx(
            200, rel=1e-3
        )


def test_metres_for_millimetres_are_refused_with_the_factor(write):
    with pytest.raises(
        InvalidDataError, match=r"0\.2 mm when read as mm, expected 100 to 750 mm.*fit m \(factor 1000\)"
    ):
        read_scan(write(obj_text(unit=0.001)))
    assert np.ptp(read_scan(write(obj_text(unit=0.001)), unit=None).vertices[:, 1]) == pytest.approx(0.2)


def test_an_arbitrary_unit_is_asked_for(shared_data):
    path = shared_data / "lee_perry_smith" / "LeePerrySmith_converted.obj"
    for unit in ("mm", "auto"):
        with pytest.raises(InvalidDataError, match="millimetres per unit"):
            read_scan(path, unit=unit)
    assert np.ptp(read_scan(path, unit=30).vertices[:, 0]) == pytest.approx(256.9, abs=0.1)


def test_unknown_unit(write):
    for unit in ("inch", -1.0):
        with pytest.raises(InvalidSettingError, match="expected"):
            read_scan(write(obj_text()), unit=unit)


@pytest.mark.parametrize("front", [None, (0, 0, 1)])
def test_inward_winding_is_reversed_once_for_the_whole_mesh(write, front):
    text = obj_text()
    inward = "\n".join(
        "f " + " ".join(reversed(line.split()[1:])) if line.startswith("f") else line for line in text.split("\n")
    )
    good, bad = read_scan(write(text), front=front), read_scan(write(inward), front=front)
    assert good.notes == ("no texture found",)
    assert "faces were wound inwards; all reversed" in bad.notes
    for scan in (good, bad):
        assert clean.outward_share(scan.vertices, scan.faces, np.array([0.0, 0, 1])) == 1
        corner = scan.vertices[scan.faces[5, 0]]
        np.testing.assert_allclose(
            scan.uv[scan.uv_faces[5, 0]], [corner[0] / 150 + 0.5, corner[1] / 200 + 0.5], atol=1e-6
        )


def test_faces_against_their_neighbours_are_turned_with_their_texture(write):
    good = read_scan(write(obj_text()))
    lines = obj_text().split("\n")
    rng = np.random.default_rng(0)
    for i, line in enumerate(lines):
        if line.startswith("f ") and rng.random() < 0.4:
            lines[i] = "f " + " ".join(reversed(line.split()[1:]))
    mixed = read_scan(write("\n".join(lines)))
    assert any("were wound against their neighbours and reversed" in note for note in mixed.notes)
    assert clean.against_neighbours(mixed.faces, len(mixed.vertices)) is None
    assert clean.outward_share(mixed.vertices, mixed.faces, np.array([0.0, 0, 1])) == 1
    for scan in (good, mixed):
        corner = scan.vertices[scan.faces]
        np.testing.assert_allclose(scan.uv[scan.uv_faces][..., 0], corner[..., 0] / 150 + 0.5, atol=1e-6)


def test_only_the_turned_half_of_a_mesh_is_turned_back(shared_data):
    scan = read_scan(shared_data / "menpo3d_james" / "james.obj")
    assert not any("neighbours" in note for note in scan.notes)
    upper = scan.vertices[scan.faces].mean(axis=1)[:, 1] > 60
    faces = np.where(upper[:, None], scan.faces[:, ::-1], scan.faces)
    turned = clean.against_neighbours(np.ascontiguousarray(faces), len(scan.vertices))
    assert 0 < upper.mean() < 0.5
    pieces = np.flatnonzero(turned != upper)
    assert len(pieces) < 0.01 * len(upper)  # a piece of its own that lies above the cut has no neighbour to ask


def test_edges_of_three_faces_do_not_turn_anything():
    fan = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], np.int32)
    assert clean.against_neighbours(fan, 5) is None


def test_a_mesh_that_hangs_on_one_vertex_takes_no_longer():
    count = 200_000
    fan = np.stack([np.zeros(count), np.arange(1, count + 1), np.arange(2, count + 2)], -1).astype(np.int32)
    fan[::2] = fan[::2, ::-1]
    begun = time.process_time()
    clean.against_neighbours(fan, count + 2)
    assert time.process_time() - begun < 5


def test_a_real_scan_that_winds_inwards(shared_data):
    path = shared_data / "vtk_fran_cut" / "fran_cut.vtk"
    front = (0.87, 0, -0.5)
    for scan in (read_scan(path, unit="m"), read_scan(path, unit="m", front=front)):
        assert "faces were wound inwards; all reversed" in scan.notes
        assert clean.outward_share(scan.vertices, scan.faces, np.array(front)) > 0.97
        assert len(scan.faces) == 4224


def test_faces_without_area_are_removed_and_said(write):
    scan = read_scan(write(obj_text(uv=False) + "f 1 1 2\nf 1 2 2\nf 3 3 3\n"))
    assert len(scan.faces) == 242
    assert "3 of 245 faces without area removed" in scan.notes


# --- damaged files ---

TRIANGLE = "v 0 0 0\nv 200 0 0\nv 0 200 0\n"
DAMAGED = {
    "empty": ("", "the file is empty"),
    "web page": ("<!DOCTYPE html><html>sign in</html>", "a web page"),
    "lfs": ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "binary": (b"\0\1\2" * 40, "binary data"),
    "recoded": (b"v \xef\xbf\xbd" * 40, "EF BF BD"),
    "points only": (TRIANGLE, "3 vertices and no faces"),
    "prose": ("hello\nworld\n", "no faces"),
    "nan": (
        TRIANGLE.replace("200 0 0", "nan 0 0") + "f 1 2 3\n",
        r"line 2: found 'v nan 0 0', a NaN or infinite vertex",
    ),
    "windows nan": (TRIANGLE.replace("200 0 0", "-nan(ind) 0 0") + "f 1 2 3\n", "line 2: .*NaN"),
    "old windows nan": (TRIANGLE.replace("200 0 0", "-1.#IND 0 0") + "f 1 2 3\n", "line 2: .*expected numbers"),
    "infinite": (TRIANGLE.replace("200 0 0", "1e999 0 0") + "f 1 2 3\n", "line 2: .*infinite"),
    "absurd": (TRIANGLE.replace("200 0 0", "1e300 0 0") + "f 1 2 3\n", "a coordinate beyond 1e12"),
    "beyond": (TRIANGLE + "f 1 2 9\n", r"line 4: face 'f 1 2 9' names a vertex that does not exist, expected 1 to 3"),
    "huge index": (TRIANGLE + "f 1 2 99999999999999999999999\n", "line 4: face .* does not exist"),
    "huge negative": (TRIANGLE + "f 1 2 -99999999999\n", "line 4: face .* does not exist"),
    "zero index": (TRIANGLE + "f 0 1 2\n", "line 4: face .* does not exist"),
    "texture beyond": (TRIANGLE + "vt 0 0\nf 1/1 2/1 3/2\n", "texture coordinate that does not exist, expected 1 to 1"),
    "half a vertex": (
        TRIANGLE + "f 1 2 3\nv 12.5 7",
        r"line 5: found 'v 12.5 7'.*the file ends in the middle of a line",
    ),
    "half a number": (TRIANGLE + "f 1 2 3\nv 12.5 7 1e", "line 5: .*the file ends in the middle"),
    "half a face": (TRIANGLE + "f 1 2 3\nf 1 2", "line 5: .*fewer than 3 corners"),
    "half a corner": (TRIANGLE + "vt 0 0\nf 1/1 2/1 3/1\nf 1/1 2/1 3", "line 6: .*some corners only"),
    "letters": (TRIANGLE.replace("200", "2O0") + "f 1 2 3\n", "line 2: found 'v 2O0 0 0', expected numbers"),
    "five numbers": (TRIANGLE + "v 1 2 3 4 5\nf 1 2 3\n", "line 4: .*at most a weight and a colour"),
    "no area": ("v 0 0 0\nv 200 0 0\nv 400 0 0\nf 1 2 3\n", "zero extent"),
    "zeros": ("v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n", "zero extent"),
    "cut after a line": (
        "# Vertices: 3\n# Faces: 2\n" + TRIANGLE + "f 1 2 3\n",
        "its header says 2 faces, the file holds 1",
    ),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_obj_is_named_with_its_line(write, content, message):
    with pytest.raises(InvalidDataError, match=message) as caught:
        read_scan(write(content))
    assert "face.obj" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_real_scan_is_refused_wherever_it_was_cut(shared_data, write):
    whole = (shared_data / "menpo3d_james" / "james.obj").read_bytes()
    for cut in np.linspace(0, whole.rindex(b"\nf "), 60).astype(int):
        with pytest.raises(InvalidDataError):
            read_scan(write(whole[:cut]))


def ply(body: bytes, header: str) -> bytes:
    return ("ply\n" + header + "end_header\n").encode() + body


def glb(tree: dict, blob: bytes = b"") -> bytes:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


OTHERS = {
    "ply without header": ("face.ply", b"nonsense", "no PLY header"),
    "ply with a huge count": (
        "face.ply",
        ply(b"\0" * 99, "format binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\n"),
        "promises at least 16000000000 bytes",
    ),
    "truncated ply": (
        "face.ply",
        ply(b"0 0 0\n", "format ascii 1.0\nelement vertex 30\nproperty float x\nproperty float y\nproperty float z\n"),
        "truncated",
    ),
    "nan in a ply": (
        "face.ply",
        ply(
            b"0 0 0\nnan 0 0\n0 200 0\n3 0 1 2\n",
            "format ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
            "element face 1\nproperty list uchar int vertex_indices\n",
        ),
        "1 of 3 vertices are NaN or infinite",
    ),
    "points only": (
        "face.ply",
        ply(
            b"0 0 0\n1 1 1\n",
            "format ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n",
        ),
        "no triangles",
    ),
    "glb with a huge size": (
        "face.glb",
        b"glTF" + struct.pack("<IIII", 2, 767_000_000, 700, 0x4E4F534A) + b"{}",
        "claims",
    ),
    "glb without meshes": ("face.glb", glb({"asset": {"version": "2.0"}}), "no meshes"),
    "glb with a circle of nodes": (
        "face.glb",
        glb({"meshes": [], "nodes": [{"children": [1]}, {"children": [0]}], "scenes": [{"nodes": [0]}]}),
        "in a circle",
    ),
    "glb with a huge accessor": (
        "face.glb",
        glb({"meshes": [], "accessors": [{"count": 4_000_000_000, "type": "VEC3", "componentType": 5126}]}),
        "4000000000 entries",
    ),
    "draco without decoder": (
        "face.glb",
        glb({"meshes": [], "extensionsUsed": ["KHR_draco_mesh_compression"]}),
        "Draco-compressed",
    ),
    "stl": ("face.stl", b"solid nothing\nendsolid\n", "face.stl"),
    "off": ("face.off", b"OFF\n3 1 0\n0 0 0\n", "face.off"),
    "vtk": ("face.vtk", b"# vtk DataFile Version 3.0\nx\nBINARY\nDATASET POLYDATA\n", "legacy ASCII VTK"),
    "unknown type": ("face.xyz", b"0 0 0\n", "file type '.xyz'"),
    "pickle": ("face.npy", b"\x93NUMPY", "file type '.npy'"),
}


@pytest.mark.parametrize(("name", "content", "message"), OTHERS.values(), ids=OTHERS.keys())
def test_other_damaged_files_are_named(write, name, content, message, monkeypatch):
    monkeypatch.setattr("fnbench.scans.formats.importlib.util.find_spec", lambda _: None)
    with pytest.raises(InvalidDataError, match=message) as caught:
        read_scan(write(content, name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_real_draco_file_is_refused_not_read_as_zeros(shared_data, monkeypatch):
    monkeypatch.setattr("fnbench.scans.formats.importlib.util.find_spec", lambda _: None)
    with pytest.raises(InvalidDataError, match=r"LeePerrySmith_draco\.glb: Draco-compressed.*pip install DracoPy"):
        read_scan(shared_data / "lee_perry_smith" / "LeePerrySmith_draco.glb", unit=30)


def test_a_gltf_cannot_read_outside_its_folder(write, tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 36)
    tree = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "../secret.bin", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    with pytest.raises(InvalidDataError, match="not a readable GLTF mesh"):
        read_scan(write(json.dumps(tree), "inner/face.gltf"))


def test_missing_file_folder_and_unreadable_name(tmp_path):
    with pytest.raises(InvalidDataError, match="cannot be read"):
        read_scan(tmp_path / "nothing.obj")
    (tmp_path / "folder.obj").mkdir()
    with pytest.raises(InvalidDataError, match="cannot be read"):
        read_scan(tmp_path / "folder.obj")


@pytest.mark.parametrize("name", ["with space.obj", "ünï côdé 顔.obj", b"latin-\xe9\xff.obj", "a'b\"c<img>.obj"])
def test_any_file_name_works_and_can_be_printed(tmp_path, name):
    path = tmp_path / (os.fsdecode(name) if isinstance(name, bytes) else name)
    path.write_text(obj_text())
    scan = read_scan(path)
    scan.name.encode()
    path.write_text("v nan 0 0\n")
    with pytest.raises(FnbenchError) as caught:
        read_scan(path)
    str(caught.value).encode()
