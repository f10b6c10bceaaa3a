"""Landmarks and regions at the same vertices of a template, on every person and expression it was fitted to."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
from fakes import multiface as multiface_fake
from fakes.nphm import ball
from PIL import Image

from fnbench.adapters.facescape import FaceScape
from fnbench.adapters.facewarehouse import FaceWarehouse
from fnbench.adapters.folder import Folder
from fnbench.adapters.multiface import Multiface
from fnbench.adapters.nphm import Nphm
from fnbench.cards import SplitRule
from fnbench.errors import InvalidDataError
from fnbench.render import locate, marks
from fnbench.render.backends import renderer
from fnbench.render.groundtruth import render_dataset
from fnbench.render.origin import Origin
from fnbench.render.plan import Plan
from fnbench.render.samples import samples_of
from fnbench.scans import head
from fnbench.scans.align import Alignment
from fnbench.scans.displace import subdivided
from fnbench.scans.implicit import rotation
from fnbench.scans.order import coherent
from fnbench.scans.regions import label_regions
from fnbench.scans.topology import anatomy, regions_beside, same_topology
from fnbench.types import Capture, Scan, Topology

PLAN = Plan(size=64, appearance={"sensor": False, "shadows": False, "occlusion": False, "scattering": False})


@lru_cache(maxsize=1)
def template() -> tuple[Scan, np.ndarray]:
    """A head of 7 mm triangles, frontal, in millimetres, and its landmarks."""
    return replace(head.mesh(head.Shape(), 7.0), labels=None), head.landmarks(head.Shape())


def moved(points: np.ndarray, person: int) -> np.ndarray:
    """The template as another person: other proportions, a lifted mouth corner, turned a little."""
    grown = points * [1 + 0.02 * person, 1 - 0.015 * person, 1.0]
    smile = np.exp(-((grown - [25, -75, 25]) ** 2).sum(axis=1, keepdims=True) / 300)
    return (grown + person * smile * [1.0, 1.5, 0]) @ rotation(2.0 * person, 1.5 * person, 0).T


def person(number: int) -> Scan:
    scan, _ = template()
    return replace(scan, vertices=moved(scan.vertices, number), name=f"person {number}")


def obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["v {:.7f} {:.7f} {:.7f}".format(*vertex) for vertex in vertices.tolist()]
    lines += ["vt {:.5f} {:.5f}".format(*vertex) for vertex in ((vertices[:, :2] + 150) / 300).tolist()]
    lines += ["f " + " ".join(f"{k}/{k}" for k in face) for face in (faces + 1).tolist()]
    path.write_text("\n".join(lines) + "\n")


# Anatomy


def test_landmarks_and_regions_stay_at_their_vertices():
    scan, landmarks = template()
    known = anatomy(scan, landmarks)
    np.testing.assert_allclose(known.landmarks(scan), landmarks, atol=3.0)  # on the triangles, not on the closed form
    other = person(3)
    np.testing.assert_allclose(known.landmarks(other), moved(known.landmarks(scan), 3), atol=0.3)
    assert known.regions is not None
    np.testing.assert_array_equal(known.regions.labels, label_regions(scan, landmarks).labels)
    np.testing.assert_array_equal(regions_beside(other, other, known.regions), known.regions.labels)


def test_unknown_landmarks_stay_unknown_and_too_few_give_no_regions():
    scan, landmarks = template()
    few = np.where(np.arange(68)[:, None] >= 60, landmarks, np.nan)
    known = anatomy(scan, few)
    assert known.regions is None
    np.testing.assert_array_equal(np.isnan(known.landmarks(person(1))).all(axis=1), np.arange(68) < 60)


def test_a_topology_is_told_by_its_triangles():
    scan, _ = template()
    assert same_topology(scan, person(2))
    assert same_topology(scan, replace(scan, faces=scan.faces[:, [1, 2, 0]]))
    assert same_topology(scan, replace(scan, faces=np.delete(scan.faces, [5, 90], axis=0)))  # without area in one file
    assert not same_topology(scan, replace(scan, faces=scan.faces[: len(scan.faces) // 2]))
    assert not same_topology(scan, Scan(np.vstack([scan.vertices, [[0, 0, 0]]]), scan.faces))
    other = np.random.default_rng(0).permutation(len(scan.vertices)).astype(np.int32)
    assert not same_topology(scan, replace(scan, faces=other[scan.faces]))


def test_a_finer_scan_takes_its_regions_from_the_template_that_lies_on_it():
    scan, landmarks = template()
    known = anatomy(scan, landmarks).regions
    other = person(2)
    fine = subdivided(subdivided(other))
    direct = label_regions(fine, moved(landmarks, 2)).labels
    found = regions_beside(fine, other, known)
    np.testing.assert_array_equal(found[: len(other.vertices)], known.labels)
    assert (found == direct).mean() > 0.95
    away = Scan(np.concatenate([fine.vertices, fine.vertices + [0, 0, 400]]), fine.faces)
    assert not regions_beside(away, other, known)[len(fine.vertices) :].any()


# Samples


def sample_of(capture: Capture):
    (found,) = samples_of(capture, PLAN, renderer(), Origin("toy", SplitRule()))
    return found


def capture(number: int, scan: Scan | None = None, **values) -> Capture:
    mesh = person(number)
    scan = mesh if scan is None else scan
    topology = Topology(mesh, lambda: Capture("first", "p1", scan=person(1), landmarks=moved(template()[1], 1)))
    return Capture(f"c{number}", f"p{number}", scan=scan, topology=topology, **values)


def test_samples_say_that_their_topology_gave_landmarks_and_regions_and_how_well():
    about = sample_of(capture(2)).attributes
    assert about["landmark_source"] == "topology of first: dataset"
    assert about["region_source"] == "topology of first: built-in head by 54 landmarks"
    assert 0 < about["region_residual_mm"] < 2
    assert "topology" not in about


def test_landmarks_of_the_dataset_go_first():
    about = sample_of(capture(2, landmarks=moved(template()[1], 2))).attributes
    assert about["landmark_source"] == "dataset"
    assert about["region_source"].startswith("topology of first")


def test_the_order_of_faces_and_vertices_does_not_matter():
    """``--reorder`` renumbers a scan; its template still has the old numbers."""
    plain, sorted_ = sample_of(capture(2)), sample_of(capture(2, coherent(person(2))))
    np.testing.assert_array_equal(plain.region, sorted_.region)
    np.testing.assert_allclose(plain.landmarks, sorted_.landmarks, atol=1e-3)
    assert sorted_.attributes["topology_distance_mm"] == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda mesh: replace(mesh, faces=mesh.faces[: len(mesh.faces) // 2]), "other triangles than those of first"),
        (lambda mesh: replace(mesh, vertices=mesh.vertices + [0, 0, 60]), r"\d+ mm from the scan"),
    ],
)
def test_a_topology_that_does_not_hold_is_not_used_and_the_sample_says_so(change, reason):
    one = capture(2)
    wrong = replace(one, topology=replace(one.topology, mesh=change(one.topology.mesh)))
    about = sample_of(wrong).attributes
    assert about["landmark_source"] == "template alignment"
    assert about["region_source"] == "built-in head by 54 landmarks"
    assert re.fullmatch(f"not used: {reason}", about["topology"])


def test_a_reference_without_a_face_or_that_cannot_be_read_is_not_used(monkeypatch):
    def unreadable() -> Capture:
        raise InvalidDataError("x.obj: cut off")

    def search(scan: Scan) -> locate.Located:
        if scan is round_thing:  # what the search really says of a ball, and takes long for
            raise InvalidDataError("ball: no face found")
        return found_at_once(scan)

    monkeypatch.setattr(locate, "locate", search)
    mesh = ball()
    round_thing = Scan(np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32))
    one = capture(2)
    found = sample_of(replace(one, topology=replace(one.topology, reference=unreadable)))
    assert found.attributes["topology"] == "not used: its reference cannot be read"
    wrong = Topology(round_thing, lambda: Capture("ball", "b", scan=round_thing))
    assert sample_of(replace(one, topology=wrong)).attributes["topology"] == "not used: no face found on ball"


# Adapters


def found_at_once(scan: Scan) -> locate.Located:
    """What a search would find on a person of this file."""
    known = anatomy(*template())
    return locate.Located(known.landmarks(scan), np.eye(3), Alignment(np.eye(3), np.zeros(3), residual=0.1), True)


def facewarehouse(root: Path) -> None:
    scan, _ = template()
    for tester in (2, 10):
        for pose in (0, 3):
            poses = root / f"Tester_{tester}" / "TrainingPose"
            obj(poses / f"pose_{pose}.obj", moved(scan.vertices, tester // 2 + pose) / 100, scan.faces)


def facescape(root: Path) -> None:
    scan, _ = template()
    for number in (2, 10):
        obj(root / f"{number}/models_reg/1_neutral.obj", moved(scan.vertices, number // 2), scan.faces)
        (root / f"{number}/dpmap").mkdir()
        Image.fromarray(np.full((64, 64), 32768 + 9000, np.uint16)).save(root / f"{number}/dpmap/1_neutral.png")


def multiface(root: Path) -> None:
    scan, _ = template()
    for number, sequence in enumerate(multiface_fake.SEQUENCES):
        for expression in ("E001_Jaw_Open", "E057_Neutral"):
            obj(root / sequence / f"tracked_mesh/{expression}/000102.obj", moved(scan.vertices, number), scan.faces)


def nphm(root: Path) -> None:
    import trimesh

    scan, _ = template()
    for number in (1, 3):
        folder = root / f"{number:03d}" / "000"
        folder.mkdir(parents=True)
        fit = replace(scan, vertices=moved(scan.vertices, number) / 250)
        trimesh.Trimesh(fit.vertices, fit.faces, process=False).export(folder / "flame.ply")
        fine = subdivided(fit)
        trimesh.Trimesh(fine.vertices, fine.faces, process=False).export(folder / "scan.ply")


def folder(root: Path) -> None:
    scan, _ = template()
    obj(root / "template.obj", scan.vertices, scan.faces)
    for name, number in (("anna", 1), ("ben", 3)):
        obj(root / name / "neutral.obj", moved(scan.vertices, number), scan.faces)
    (root / "fnbench.toml").write_text(
        'name = "own"\nscans = \'(?P<subject>[a-z]+)/.*\'\nunit = "mm"\ntopology = "template.obj"\n'
    )


TREES = {
    "facewarehouse": (facewarehouse, FaceWarehouse, "Tester_2/pose_0"),
    "facescape": (facescape, partial(FaceScape, subdivisions=1), "2/1_neutral"),
    "multiface": (multiface, Multiface, f"{multiface_fake.SEQUENCES[0]}/E057_Neutral/000102"),
    "nphm": (nphm, Nphm, "001/000"),
    "folder": (folder, Folder, "template.obj"),
}


@pytest.mark.parametrize("name", TREES)
def test_one_search_gives_all_captures_their_regions_at_the_same_vertices_whoever_comes_first(
    name, tmp_path, monkeypatch
):
    write, adapter_of, reference = TREES[name]
    write(tmp_path)
    searched, orders = [], []
    monkeypatch.setattr(locate, "locate", lambda scan: searched.append(scan) or found_at_once(scan))
    for step in (1, -1):
        adapter = adapter_of(tmp_path)
        marks._SEARCHED.clear()
        searched.clear()
        found = {}
        for capture_id in adapter.capture_ids()[::step]:
            one = adapter.load(capture_id)
            used = marks.template_of(one, one.scan)
            points, about = marks.landmarks_of(one, one.scan, used)
            labels, where = marks.regions_of(one.scan, points, used)
            assert about["landmark_source"] == f"topology of {reference}: template alignment"
            assert where["region_source"] == f"topology of {reference}: built-in head by 54 landmarks"
            assert where["region_residual_mm"] < 2
            assert 80 < np.linalg.norm(points[36] - points[45]) < 110
            assert one.scan.vertices[labels == 1].mean(axis=0)[2] > one.scan.vertices[labels == 3].mean(axis=0)[2]
            found[capture_id] = labels, points
        assert len(searched) == 1
        (first, _), *others = found.values()
        assert len(set(first.tolist())) == 8
        own = len(template()[0].vertices) if name == "nphm" else None  # between its vertices a scan is its own
        for other, _ in others:
            np.testing.assert_array_equal(first[:own], other[:own])
            assert (first == other).mean() > 0.995
        orders.append(found)
    for capture_id, (labels, points) in orders[0].items():
        np.testing.assert_array_equal(labels, orders[1][capture_id][0])
        np.testing.assert_array_equal(points, orders[1][capture_id][1])


def test_what_is_not_used_is_told_at_the_end_of_a_run(tmp_path):
    folder(tmp_path / "own")
    half = person(1)
    obj(tmp_path / "own/template.obj", half.vertices, half.faces[: len(half.faces) // 2])
    report = render_dataset(Folder(tmp_path / "own"), tmp_path / "own.h5", PLAN, limit=1)
    assert "anna/neutral: topology not used: other triangles than those of template.obj" in report.notes


def test_a_described_topology_that_is_not_there_is_told_at_once(tmp_path):
    folder(tmp_path)
    (tmp_path / "template.obj").unlink()
    with pytest.raises(InvalidDataError, match=r"template\.obj: cannot be read"):
        Folder(tmp_path).load("anna/neutral")


def test_scans_without_a_fit_of_the_template_are_located_as_before(tmp_path):
    nphm(tmp_path)
    assert Nphm(tmp_path).load("003/000").topology is not None
    (tmp_path / "003/000/flame.ply").unlink()
    assert Nphm(tmp_path).load("003/000").topology is None
