"""Validation finds what is missing, damaged or no face, and its JSON shows nobody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import lit
from fakes import photoface as fake

from fnbench.adapters.photoface import Photoface
from fnbench.cli import main
from fnbench.errors import DatasetNotFoundError, InvalidDataError
from fnbench.scans.head import template
from fnbench.types import Capture, NormalMap
from fnbench.validate import concerns, measure, validate
from fnbench.validate.check import anonymised

head = cache(template)


def scan_capture(change=lambda vertices: vertices, faces=lambda faces: faces) -> Capture:
    scan, landmarks = head()
    return Capture(
        id="a", subject="s", scan=replace(scan, vertices=change(scan.vertices), faces=faces(scan.faces)),
        landmarks=change(landmarks),
    )  # fmt: skip


def normals_capture(signs=(1, 1, 1), axes=(0, 1, 2)) -> Capture:
    _, normals, mask = lit.face()
    changed = (normals * signs)[..., list(axes)]
    return Capture(id="a", subject="s", measured=NormalMap(changed.astype(np.float32), mask))


def found(capture: Capture) -> str:
    return "; ".join(f"{concern.about}: {concern.text}" for concern in concerns([measure(capture)]))


def test_a_good_scan_and_good_normals_raise_no_concern():
    assert found(scan_capture()) == ""
    assert found(normals_capture()) == ""


def test_a_scan_is_measured_in_millimetres():
    numbers = measure(scan_capture())
    assert numbers["outer_eyes_mm"] == pytest.approx(90, abs=8)
    assert numbers["front_share"] > 0.98
    assert abs(numbers["yaw_deg"]) < 5


def test_a_scan_without_landmarks_is_searched_for_its_eyes():
    scan, landmarks = head()
    numbers = measure(Capture(id="a", subject="s", scan=scan), locate=True)
    assert numbers["face_found"] == 1
    assert numbers["outer_eyes_mm"] == pytest.approx(np.linalg.norm(landmarks[45] - landmarks[36]), abs=4)
    ball = replace(scan, vertices=scan.vertices / np.linalg.norm(scan.vertices, axis=1, keepdims=True) * 100)
    missed = measure(Capture(id="a", subject="s", scan=ball), locate=True)
    assert missed["face_found"] == 0
    assert "no face was found in 1 of 1 scans" in concerns([missed])[-1].text


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        (lambda: scan_capture(lambda v: v / 10), r"unit: outer eye corners are .* another by about 1"),
        (lambda: scan_capture(faces=lambda f: f[:, ::-1].copy()), "axes: .* face the viewer.*wound inwards"),
        (lambda: scan_capture(lambda v: v[:, [2, 1, 0]] * [1, 1, -1]), "axes: median yaw is 9"),
        (lambda: scan_capture(lambda v: v[:, [0, 2, 1]] * [1, -1, 1]), "axes: median pitch"),
        (lambda: scan_capture(lambda v: v[:, [1, 0, 2]] * [1, -1, 1]), "axes: median roll is .*9"),
        (lambda: normals_capture((-1, 1, 1)), "axes: the x of measured normals correlates -0.9.*right.*x flipped"),
        (lambda: normals_capture((1, -1, 1)), "axes: the y of measured normals correlates -0.9.*up.*y flipped"),
        (lambda: normals_capture((1, 1, -1)), r"axes: the mean z of measured normals is -0\.6.*point inwards"),
        (lambda: normals_capture(axes=(2, 1, 0)), "axes: the mean z"),
        (lambda: normals_capture(axes=(1, 0, 2)), "x flipped or exchanged"),
    ],
)
def test_what_no_face_shows_is_a_concern(capture, message):
    text = found(capture())
    assert re.search(message, text), text


class Broken:
    """Ten captures: one lacks a file, two are damaged, the others are good."""

    name: ClassVar[str] = "broken"
    reported: ClassVar[tuple[str, ...]] = ("pose", "score")

    def __init__(self, root: Path) -> None:
        self.root = root

    def capture_ids(self):
        return [f"Alice_{k}" for k in range(10)]

    def load(self, capture_id):
        k = int(capture_id[-1])
        path = self.root / "Alice" / f"{capture_id}.obj"
        if k == 3:
            raise DatasetNotFoundError(f"{path}: this file is missing.")
        if k in (4, 7):
            raise InvalidDataError(f"{path}: 17 vertices of Alice, expected 5023.", code="FM-28")
        attributes = {"pose": "left" if k % 2 else "front", "score": 0.5, "name": "Alice Smith"}
        return replace(normals_capture(), id=capture_id, subject="Alice", attributes=attributes)

    def findings(self):
        return {"rig": "case +0"}


def test_all_problems_are_collected_and_told_apart(tmp_path):
    checked = validate(Broken(tmp_path))
    assert [(problem.kind, problem.capture) for problem in checked.problems] == [
        ("missing", "Alice_3"), ("damaged", "Alice_4"), ("damaged", "Alice_7"),
    ]  # fmt: skip
    assert not checked.ok
    text = "\n".join(checked.lines())
    assert "broken: 10 captures listed, 10 checked, 1 subjects (7 to 7 each)" in text
    assert "missing: 1 of 10 captures" in text
    assert "damaged: 2 of 10 captures" in text
    assert str(tmp_path / "Alice" / "Alice_4.obj") in text
    assert "pose: 4 x front; 3 x left" in text
    assert "rig: case +0" in text


def test_the_report_is_anonymous(tmp_path):
    report = validate(Broken(tmp_path / "private place")).anonymous()
    text = json.dumps(report)
    assert "Alice" not in text
    assert "private" not in text
    assert report["problems"] == [
        {"kind": "damaged", "code": "FM-28", "problem": "*.obj: 17 vertices of *, expected 5023.", "count": 2},
        {"kind": "missing", "code": "", "problem": "*.obj: this file is missing.", "count": 1},
    ]
    assert report["subjects_by_number_of_captures"] == {"7": 1}
    assert report["measurements"]["score"]["median"] == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a b/1001/x y.BMP: damaged", "*.bmp: damaged"),
        ("x: compare with C:\\data\\1001.obj now", "x: compare with * now"),
        ("1001/s: photographs differ (im0 4x4)", "* photographs differ (im0 4x4)"),
    ],
)
def test_messages_lose_their_paths_and_ids(text, expected):
    assert anonymised(text, "1001_s2", Path("/a b")) == expected


def test_a_limit_spreads_over_the_list(tmp_path):
    class Counting(Broken):
        loaded: ClassVar[list[str]] = []

        def load(self, capture_id):
            self.loaded.append(capture_id)
            return super().load(capture_id)

    ticks = []
    checked = validate(Counting(tmp_path), limit=4, progress=lambda done, total: ticks.append((done, total)))
    assert Counting.loaded == ["Alice_0", "Alice_2", "Alice_5", "Alice_7"]
    assert (checked.captures, checked.checked) == (10, 4)
    assert ticks == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_verb_reports_what_is_missing_and_damaged(tmp_path):
    root, report, listed = tmp_path / "data", tmp_path / "report.json", tmp_path / "problems.tsv"
    fake.write(root)
    (root / fake.FIRST / "im2.bmp").unlink()
    arguments = ["datasets", "validate", "photoface", "--root", str(root)]
    result = CliRunner().invoke(main, [*arguments, "--json", str(report), "--problems", str(listed)])
    assert result.exit_code == 1
    assert "missing: 1 of 3 captures" in result.output
    assert "light azimuth: case -90 by face prior" in result.output
    assert listed.read_text().startswith(f"missing\t{fake.CAPTURES[0]}\t")
    content = report.read_text()
    assert json.loads(content)["problems"][0]["problem"].startswith("*.bmp: this file is missing")
    assert not any(word in content for word in (str(root), "1001_", "2130", "2008-"))


def test_a_good_copy_passes_and_an_empty_folder_gives_the_instructions(tmp_path):
    fake.write_session(tmp_path / fake.FIRST)
    good = CliRunner().invoke(main, ["datasets", "validate", "photoface", "--root", str(tmp_path)])
    assert good.exit_code == 0, good.output
    assert "whole, and what a face must be" in good.output
    (tmp_path / "empty").mkdir()
    empty = CliRunner().invoke(main, ["datasets", "validate", "photoface", "--root", str(tmp_path / "empty")])
    assert empty.exit_code == 2
    assert "datasets/photoface/ACCESS.md" in empty.output


def test_listing_and_showing():
    listed = CliRunner().invoke(main, ["datasets"])
    assert listed.exit_code == 0
    assert "photoface" in listed.output
    shown = CliRunner().invoke(main, ["datasets", "show", "photoface"])
    assert "light_azimuth (low): origin and sense" in shown.output
    assert "real data  not verified by anybody yet" in shown.output
    assert "    setting: gamma = 1.0" in shown.output
    unknown = CliRunner().invoke(main, ["datasets", "show", "photofaec"])
    assert unknown.exit_code == 2
    assert "photoface" in unknown.output


def test_a_toml_in_the_folder_overrides_the_card(tmp_path):
    from fnbench.errors import InvalidSettingError

    (tmp_path / "fnbench.toml").write_text('gamma = 2\nazimuth = "-90"\n')
    adapter = Photoface(tmp_path)
    assert (adapter.gamma, adapter.azimuth) == (2.0, "-90")
    assert Photoface(tmp_path, gamma=1.8).gamma == 1.8
    for text, message in [
        ('colour = "red"', "unknown setting 'colour'. Known: normals"),
        ('gamma = "2.2"', "setting gamma is '2.2', expected a float like 1.0"),
        ("gamma =", "not a TOML file"),
    ]:
        (tmp_path / "fnbench.toml").write_text(text)
        with pytest.raises(InvalidSettingError, match=message):
            Photoface(tmp_path)
