"""baselines/README.md is true about photographs: every command that it shows runs, in its order, on what it shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fnbench.camera import camera_from_json
from fnbench.cli import main
from fnbench.scans.write import write_scan
from fnbench.types import Scan

GUIDE = (Path(__file__).resolve().parent.parent / "baselines" / "README.md").read_text()
PART = GUIDE[GUIDE.index("## Your own photographs") : GUIDE.index("## Folders")]
COMMANDS = re.findall(r"^\$ fnbench (.+)$", PART, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """An empty folder with what the commands name: a photograph, a folder of them, a mesh and a camera."""
    from skimage.data import astronaut

    folder = tmp_path_factory.mktemp("desk")
    (folder / "holiday").mkdir()
    for path in (folder / "photo.jpg", folder / "holiday" / "beach.jpg"):
        Image.fromarray(astronaut()).save(path, quality=95)
    text = re.findall(r"^```json\n(.*?)^```", PART, flags=re.DOTALL | re.MULTILINE)[0]
    (folder / "camera.json").write_text(text)
    write_scan(folder / "coarse.obj", face_before(camera_from_json(text, "guide").camera(512, 512)))
    return folder


def face_before(camera):
    """A bulge of 9 cm across where the portrait's face is, 1 m before the camera of the guide."""
    grid = np.linspace(-1, 1, 20)
    u, v = (values.ravel() for values in np.meshgrid(grid, grid))
    per_pixel = 1000 / camera.K[0, 0]
    x, y = (225 - 256 + 56 * u) * per_pixel, -(134 - 256 + 56 * v) * per_pixel
    vertices = np.stack([x, y, 12 * np.sqrt(np.maximum(1 - 0.45 * (u * u + v * v), 0))], axis=-1)
    cell = np.arange(400).reshape(20, 20)
    a, b, c, d = (part.ravel() for part in (cell[:-1, :-1], cell[:-1, 1:], cell[1:, :-1], cell[1:, 1:]))
    return Scan(vertices, np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).astype(np.int32))


def test_the_guide_shows_both_verbs():
    assert {command.split()[0] for command in COMMANDS} == {"predict", "refine"}


def test_every_command_of_the_guide_runs_in_its_order(desk, monkeypatch):
    monkeypatch.chdir(desk)
    for command in COMMANDS:
        result = CliRunner().invoke(main, shlex.split(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert np.load("holiday-normals/normals/beach.npy").shape == (512, 512, 3)
    assert json.loads(Path("by-hand/about/photo.json").read_text())["faces"] == [{"x": 169.0, "y": 78.0, "side": 112}]
    assert Path("fine.obj").is_file()


def test_every_file_of_the_table_is_there(desk):
    for kind, suffix in re.findall(r"`(\w+)/NAME(\.\w+)`", PART):
        assert (desk / "normals" / kind / f"photo{suffix}").is_file(), kind
