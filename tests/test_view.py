"""Looking at a data file: the contact sheet and the page that walks through it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fnbench.cli import main
from fnbench.errors import InvalidSettingError, OutputError
from fnbench.report.planes import normal_planes, unpacked
from fnbench.report.serve import address, sample_json, serve_forever, server
from fnbench.report.sheet import (
    REGION_COLOURS,
    SMALL,
    marked,
    mosaic,
    outline,
    shown_regions,
    spread,
    write_sheet,
)
from fnbench.types import REGIONS
from tests.results import landmarks_of, sphere_store

SIZE = 48


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "<b>spheres.h5"
    with sphere_store(path, 5, 2, SIZE, landmarks=landmarks_of(SIZE)) as opened:
        yield opened


@pytest.fixture(scope="module")
def running(store):
    with server(store) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def asked(url, **headers):
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        urllib.request.Request(url, headers=headers), timeout=10
    )


def test_a_sheet_shows_images_normals_and_regions(store, tmp_path):
    shown = write_sheet(tmp_path / "sheet.png", store, count=4)
    assert shown == [store.ids[index] for index in (0, 2, 5, 7)]
    picture = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert set(REGION_COLOURS[1:]) <= colours  # the legend
    assert (picture[..., 2] > 240).sum() > 1000  # normals towards the viewer are blue


def test_a_sheet_of_images_alone_is_twice_as_wide_as_high_and_may_be_a_jpeg(store, tmp_path):
    write_sheet(tmp_path / "many.jpg", store, count=8, images_only=True)
    with Image.open(tmp_path / "many.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (4 * SMALL, 2 * SMALL))
    first = Image.fromarray(store.image(0)).resize((SMALL, SMALL), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(mosaic([store.image(0)] * 3)[:SMALL, SMALL : 2 * SMALL], np.asarray(first))


def test_marks_lie_where_the_data_says(store):
    sample = store[0]
    tile = marked(sample).astype(int)
    red = (tile[..., 0] > 240) & (abs(tile[..., 1] - 60) < 12) & (abs(tile[..., 2] - 60) < 12)
    factor = tile.shape[0] / SIZE
    for x, y in sample.landmarks:
        row, column = int(y * factor), int(x * factor)
        assert red[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].any()
    mask = np.zeros((6, 6), bool)
    mask[1:5, 0:4] = True
    edge = outline(mask)
    assert edge.sum() == 4 + 4 + 2  # the image's own border is no edge
    assert not edge[2:4, 0].any()


def test_regions_are_tinted_inside_the_mask_only(store):
    sample = store[0]
    tinted = shown_regions(sample)
    outside = tinted[~sample.target.mask]
    assert (outside == outside[:, :1]).all()  # grey
    nose = tinted[(sample.region == REGIONS.index("nose")) & sample.target.mask].astype(int)
    assert (nose[:, 0] > nose[:, 2] + 60).all()  # orange


def test_indices_are_spread_evenly():
    assert spread(list(range(100)), 5) == [0, 20, 40, 60, 80]
    assert spread([3, 4], 9) == [3, 4]
    assert spread([], 9) == []


def test_the_verb_writes_a_sheet_and_answers_bad_input_in_one_line(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["view", str(store.path), "--count", "3"])
    assert result.output == "<b>spheres.png: 3 of 10 samples\n"
    assert (tmp_path / "<b>spheres.png").is_file()
    for arguments, message in (
        (["--split", "train"], "no samples of split train. The file has: test."),
        (["--count", "0"], "count is 0, expected at least 1."),
        (["--out", str(tmp_path / "<b>spheres.png" / "x.png")], "cannot be written"),
        (["--serve", "--port", "70000"], "Port 70000 does not exist"),
    ):
        result = CliRunner().invoke(main, ["view", str(store.path), *arguments])
        assert result.exit_code == 2, result.output
        assert message in result.output
        assert result.output.count("\n") == 1
    (tmp_path / "no.h5").write_text("hello")
    assert "expected an HDF5 file" in CliRunner().invoke(main, ["view", "no.h5"]).output
    with pytest.raises(InvalidSettingError):
        write_sheet(tmp_path / "x.png", store, split="val")


def test_the_page_is_served_to_this_machine_only(running, store):
    assert running.server_address[0] == "127.0.0.1"
    answer = asked(address(running))
    text = answer.read().decode()
    assert "&lt;b&gt;spheres.h5" in text
    assert "<b>spheres" not in text
    assert "connect-src &#39;self&#39;" in text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for host in ("example.com", f"example.com:{running.server_port}", ""):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            asked(address(running), Host=host)
    assert asked(address(running), Host=f"localhost:{running.server_port}").status == 200


@pytest.mark.parametrize("path", ["etc/passwd", "sample/10", "sample/-1", "sample/0/..", "../x", "sample/1e1", "?x"])
def test_there_is_nothing_else_to_ask_for(running, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked(address(running) + path)


def test_a_sample_is_sent_as_it_is_stored(running, store):
    found = json.loads(asked(address(running) + "sample/3").read())
    sample = store[3]
    planes = unpacked(found["target"], (4, SIZE, SIZE), normals=True)
    np.testing.assert_array_equal(planes[:3], normal_planes(sample.target.normals, sample.target.mask))
    np.testing.assert_array_equal(planes[3], sample.region)
    np.testing.assert_allclose(found["landmarks"], sample.landmarks, atol=0.005)
    assert found["id"] == sample.id
    assert dict(found["facts"])["expression"] == '"smile"'.strip('"')


def test_large_samples_are_thinned(tmp_path):
    with sphere_store(tmp_path / "large.h5", 1, 1, 600) as large:
        found = sample_json(large, 0)
        assert (found["width"], found["full_width"]) == (512, 600)


def test_a_taken_port_is_one_line(running, store):
    with pytest.raises(OutputError, match=f"Port {running.server_port} on 127.0.0.1 cannot be used"):
        server(store, running.server_port)


def test_ctrl_c_ends_it_quietly(store, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    said = []
    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", interrupted)
    serve_forever(store, 0, said.append)
    assert said[0].startswith("http://127.0.0.1:")
