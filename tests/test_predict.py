"""Normals of anybody's photographs: read as people expect, found, cut, predicted, and put back pixel for pixel."""

from __future__ import annotations

import builtins
import errno
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fnbench.camera import CropBox, landmark_crop
from fnbench.cli import main
from fnbench.encodings import decoded
from fnbench.errors import (
    DatasetNotFoundError,
    FnbenchError,
    InvalidSettingError,
    MissingDependencyError,
    OutputError,
)
from fnbench.frames import to_canonical
from fnbench.images import read_photograph
from fnbench.maps import Entry, read_map
from fnbench.models.frontal import Frontal
from fnbench.predict import Choices, Form, predict_photographs
from fnbench.predict import faces as faces_module
from fnbench.predict.faces import cascade_boxes, face_crops, overlap, whole
from fnbench.predict.files import photographs
from fnbench.predict.paste import border_weights, pasted
from fnbench.predict.relight import relit
from tests.meshes import degrees_between

ASTRONAUT = CropBox(167.6, 72.4, 115.4)
"""The protocol's square on scikit-image's portrait, around 68 of the points that MediaPipe FaceMesh finds."""
BOX = (CropBox(8.0, 8.0, 32.0),)


@pytest.fixture(scope="module")
def astronaut():
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


class Tilted:
    """A model that answers with a known slope per image, and remembers how many images came at once."""

    name = "tilted"

    def __init__(self):
        self.calls = []

    def predict(self, images):
        self.calls.append(len(images))
        normals = np.zeros(images.shape, np.float32)
        normals[..., 0], normals[..., 1], normals[..., 2] = 0.48, 0.36, 0.8
        return normals


def run(*arguments):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


# Photographs


def test_a_turned_photograph_stands_upright(tmp_path):
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png"), np.rot90(np.asarray(picture), -1))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (2, 2), 90), (90, 90, 90)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (200, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (200, 10, 0, 255)), (200, 10, 0)),
        (Image.new("LA", (2, 2), (100, 255)), (100, 100, 100)),
        (Image.fromarray(np.full((2, 2), 200 * 257, np.uint16)), (200, 200, 200)),
        (Image.new("RGB", (2, 2), (1, 2, 3)).quantize(2), (1, 2, 3)),
    ],
    ids=["grey", "black and white", "transparent", "opaque", "grey with alpha", "16 bit", "palette"],
)
def test_every_kind_of_png_becomes_what_a_viewer_shows(tmp_path, picture, expected):
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png"), np.full((2, 2, 3), expected))


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red = read_photograph(tmp_path / "a.jpg")[8, 8].astype(int)
    assert red[0] > 200
    assert red[1:].max() < 60


def test_a_colour_profile_is_applied_and_a_damaged_one_ignored(tmp_path):
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (4, 4), (120, 60, 30)).save(tmp_path / "a.png", icc_profile=lab)
    assert np.abs(read_photograph(tmp_path / "a.png").astype(int) - [120, 60, 30]).max() <= 1
    Image.new("RGB", (4, 4), (120, 60, 30)).save(tmp_path / "b.png", icc_profile=b"no profile")
    np.testing.assert_array_equal(read_photograph(tmp_path / "b.png")[0, 0], [120, 60, 30])


def test_heic_is_read_or_the_library_is_named(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    with pytest.raises(FnbenchError, match=r"pillow-heif|damaged"):
        read_photograph(tmp_path / "a.heic")
    heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    heif.from_pillow(Image.new("RGB", (64, 64), (200, 100, 50))).save(tmp_path / "b.heic", quality=95)
    assert np.abs(read_photograph(tmp_path / "b.heic").astype(int) - [200, 100, 50]).max() < 12


# Faces


def test_the_cascade_finds_the_portrait_within_the_protocol_square(astronaut):
    box = face_crops(astronaut)[0]
    assert overlap(box, ASTRONAUT) > 0.7
    assert box == whole(box, astronaut)


def test_several_faces_are_one_or_all(astronaut, tmp_path):
    face = astronaut[:256, 96:352]
    small = np.asarray(Image.fromarray(face).resize((200, 200)))
    both = np.full((256, 460, 3), 128, np.uint8)
    both[:, :256], both[28:228, 258:458] = face, small
    Image.fromarray(both).save(tmp_path / "two.png")
    for chosen, count in (("all", 2), ("largest", 1)):
        choices = Choices(faces=chosen, pictures=False)
        report = predict_photographs(Frontal(), [tmp_path / "two.png"], tmp_path / chosen, choices)
        assert (report.faces, report.ok) == (count, True)
        about = json.loads((tmp_path / chosen / "about" / "two.json").read_text())
        assert about["faces"][0]["x"] < 200  # the larger one first
        said = f"{tmp_path}/two.png: 2 faces, of which the largest was taken; --faces all takes every one."
        assert (said in report.lines()) == (chosen == "largest")


def test_a_face_at_the_border_is_cut_inside_the_picture(astronaut):
    cut = np.ascontiguousarray(astronaut[60:, 170:300])
    boxes = cascade_boxes(cut)
    for box in face_crops(cut) if boxes else [whole(CropBox(-20, -30, 120), cut)]:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.side <= cut.shape[1]
        assert box.y + box.side <= cut.shape[0]


@settings(max_examples=50)
@given(st.floats(-50, 150), st.floats(-50, 150), st.floats(1, 300), st.integers(1, 90), st.integers(1, 90))
def test_squares_are_whole_pixels_inside_the_picture(x, y, side, width, height):
    box = whole(CropBox(x, y, side), np.zeros((height, width, 3), np.uint8))
    assert box.x == round(box.x)
    assert box.y == round(box.y)
    assert box.side == round(box.side)
    assert 0 <= box.x <= width - box.side
    assert 0 <= box.y <= height - box.side


def test_a_missing_detector_is_named_with_the_extra(monkeypatch):
    real = builtins.__import__

    def without_dlib(name, *rest):
        if name == "dlib":
            raise ImportError(name)
        return real(name, *rest)

    faces_module._dlib.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_dlib)
    with pytest.raises(MissingDependencyError, match=r"fnbench\[dlib\]"):
        Choices(detector="dlib")
    with pytest.raises(FnbenchError, match="Did you mean dlib"):
        Choices(detector="dlibb")


def test_dlib_finds_the_portrait_too(astronaut):
    pytest.importorskip("dlib", reason="needs the extra dlib")
    faces_module._dlib.cache_clear()
    assert overlap(face_crops(astronaut, "dlib")[0], ASTRONAUT) > 0.7


# Landmarks and boxes


def points(count=68):
    return np.random.default_rng(1).uniform(20, 50, (count, 2))


@pytest.mark.parametrize("suffix", [".pts", ".txt", ".csv"])
def test_landmarks_give_the_square_of_the_protocol(photo, tmp_path, suffix):
    lines = "\n".join(f"{x},{y}" if suffix == ".csv" else f"{x} {y}" for x, y in points())
    shift = 0.5 if suffix == ".pts" else 0.0  # 300-W counts the first pixel's centre as 1
    text = f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n" if suffix == ".pts" else lines
    (tmp_path / f"photo{suffix}").write_text(text)
    for given_as in (tmp_path / f"photo{suffix}", tmp_path):
        out = tmp_path / "out"
        report = predict_photographs(Frontal(), [photo], out, Choices(landmarks=given_as, resume=False))
        assert report.ok, report.failed
        found = json.loads((out / "about" / "photo.json").read_text())["faces"]
        expected = whole(landmark_crop(points() - shift), read_photograph(photo))
        assert found == [{"x": expected.x, "y": expected.y, "side": expected.side}]


def test_other_landmarks_are_refused_with_a_way_on(photo, tmp_path):
    (tmp_path / "five.txt").write_text("1 2\n" * 5)
    report = predict_photographs(Frontal(), [photo], tmp_path / "out", Choices(landmarks=tmp_path / "five.txt"))
    assert "5 lines, expected 68" in report.failed[str(photo)]
    assert "--box" in report.failed[str(photo)]


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "1,2,0", "1,2,nan", "1,2,3,4"])
def test_a_box_that_is_none_is_one_line(photo, tmp_path, text):
    result = run(photo, "--model", "frontal", "--out", tmp_path / "out", "--box", text)
    assert result.exit_code == 2
    assert "expected x,y,side" in result.output
    assert result.output.count("\n") == 1


def test_a_box_belongs_to_one_photograph_and_lies_in_it(photo, tmp_path):
    with pytest.raises(InvalidSettingError, match="--box says"):
        other = tmp_path / "other.png"
        other.write_bytes(photo.read_bytes())
        predict_photographs(Frontal(), [photo, other], tmp_path / "out", Choices(boxes=BOX))
    result = run(photo, "--model", "frontal", "--out", tmp_path / "out", "--box", "500,500,50")
    assert result.exit_code == 2
    assert "lies outside the picture of 80x60" in result.output


# Back into the photograph


def sphere_field(side):
    """Normals of a sphere that fills a square, seen from the front."""
    grid = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(0.7 * grid, -0.7 * grid)
    return np.stack([x, y, np.sqrt(1 - x * x - y * y)], axis=-1).astype(np.float32)


@pytest.mark.parametrize("side", [64, 100, 256])
def test_a_pasted_map_is_the_field_itself_at_the_square_s_resolution(side):
    normals, mask = pasted([sphere_field(64)], [CropBox(10.0, 20.0, side)], (300, 400), "clear")
    inside = np.s_[20 : 20 + side, 10 : 10 + side]
    margin = side // 16  # the outermost half pixel of the square is beyond its samples
    middle = np.s_[margin:-margin, margin:-margin]
    assert degrees_between(normals[inside], sphere_field(side))[middle].max() < 0.2
    assert mask[inside].min() == 1
    assert mask.sum() == side * side
    assert not normals[mask == 0].any()


def test_a_soft_border_fades_inside_the_picture_but_not_along_its_edge():
    weight = border_weights(CropBox(0.0, 30.0, 64), (200, 200), "soft")
    assert weight[32, 0] == 1  # the picture ends there, the face does not
    assert weight[32, -1] < 0.1
    assert weight[0, 32] < 0.1
    assert weight[32, 32] == 1
    assert weight.min() > 0
    assert (np.diff(weight[32]) <= 0).all()


def test_overlapping_squares_are_mixed_to_unit_normals():
    left = np.broadcast_to(np.float32([0.6, 0, 0.8]), (32, 32, 3))
    right = np.broadcast_to(np.float32([-0.6, 0, 0.8]), (32, 32, 3))
    normals, mask = pasted([left, right], [CropBox(0.0, 0.0, 32), CropBox(16.0, 0.0, 32)], (32, 64))
    np.testing.assert_allclose(np.linalg.norm(normals[mask > 0], axis=-1), 1, atol=1e-6)
    assert normals[16, 4, 0] > 0 > normals[16, 44, 0]
    assert abs(normals[16, 23, 0]) < 0.1  # in the middle of the overlap


def test_relighting_turns_the_light_and_leaves_the_rest():
    normals = sphere_field(64)
    shade = np.maximum(normals @ np.array([0.0, 0.6, 0.8]), 0)
    image = np.repeat((220 * shade ** (1 / 2.2))[..., None], 3, axis=2).astype(np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[8:-8, 8:-8] = 1
    lit = relit(image, normals, mask, (-1.0, 0.0, 0.5)).astype(int)
    assert lit[32, 12, 0] > lit[32, 52, 0] + 60
    np.testing.assert_array_equal(lit[:8], image[:8])


# Files


@pytest.mark.parametrize(
    ("form", "limit"),
    [
        (Form("png16"), 0.002),
        (Form("png8", "opencv"), 0.4),
        (Form("png16", "sfsnet", "128"), 0.004),
        (Form("npy", "opencv"), 1e-3),
        (Form("npy", encoding="unit"), 1e-3),
        (Form("exr", "x,-y,z"), 1e-3),
    ],
    ids=lambda value: f"{value.format} {value.frame} {value.encoding}" if isinstance(value, Form) else "",
)
def test_what_is_written_reads_back_in_the_frame_asked_for(photo, tmp_path, form, limit):
    if form.format == "exr":
        pytest.importorskip("OpenEXR", reason="needs the extra exr")
    predict_photographs(Tilted(), [photo], tmp_path / "out", Choices(boxes=BOX, form=form, pictures=False))
    stored = read_map(Entry(tmp_path / "out" / "normals" / f"photo{form.suffix}"))
    mask = np.asarray(Image.open(tmp_path / "out" / "mask" / "photo.png"))
    assert stored.shape == (60, 80, 3)
    assert mask.shape == (60, 80)
    assert not stored[mask == 0].any()
    normals = to_canonical(decoded(stored, form.coding), form.frame)[mask > 0]
    assert mask[8:40, 8:40].all()
    assert degrees_between(normals, np.array([0.48, 0.36, 0.8])).max() < limit


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"format": "jpg"}, "expected one of png16"),
        ({"frame": "opencvv"}, "Did you mean opencv"),
        ({"encoding": "vectors"}, "does not fit png16"),
        ({"format": "npy", "encoding": "127.5"}, "does not fit npy"),
    ],
)
def test_a_form_that_does_not_exist_is_refused_before_work_starts(settings_, message):
    with pytest.raises(FnbenchError, match=message):
        Form(**settings_)


def test_names_of_results_are_those_of_the_photographs(tmp_path):
    for name in ("a.jpg", "a.png", "sub/b.jpg", ".hidden.jpg", "notes.txt", "out/look/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = {photo.name for photo in photographs([tmp_path], tmp_path / "out")}
    assert found == {"a-jpg", "a-png", "sub/b"}
    with pytest.raises(DatasetNotFoundError, match="no photograph in this folder"):
        photographs([tmp_path / "out" / "look" / ".."], tmp_path / "out" / "look")
    with pytest.raises(InvalidSettingError, match="both the photographs and --out"):
        photographs([tmp_path], tmp_path)
    with pytest.raises(DatasetNotFoundError, match="no such photograph"):
        photographs([tmp_path / "missing.jpg"], tmp_path / "out")
    with pytest.raises(InvalidSettingError, match="would both be written as"):
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "b.jpg").write_bytes(b"")
        photographs([tmp_path / "sub" / "b.jpg", tmp_path / "c" / "b.jpg"], tmp_path / "out")


def test_squares_of_several_photographs_share_a_batch(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(5):
        Image.new("RGB", (60, 60), (40 * k, 0, 0)).save(folder / f"{k}.png")
        np.savetxt(folder / f"{k}.txt", points())
    model = Tilted()
    report = predict_photographs(
        model, [folder], tmp_path / "out", Choices(landmarks=folder, batch=4, size=32, pictures=False)
    )
    assert report.ok
    assert model.calls == [4, 1]
    assert "5 written, 0 skipped, 0 failed; 5 faces; " in report.lines()[-1]


def test_what_an_earlier_run_finished_is_skipped_unless_something_changed(photo, tmp_path):
    out = tmp_path / "out"

    def again(**changes):
        report = predict_photographs(Frontal(), [photo], out, Choices(**{"boxes": BOX, "size": 32, **changes}))
        return len(report.written), len(report.skipped)

    assert again() == (1, 0)
    assert again() == (0, 1)
    assert again(form=Form("png8")) == (1, 0)
    assert again(form=Form("png8"), resume=False) == (1, 0)
    (out / "mask" / "photo.png").unlink()
    assert again(form=Form("png8")) == (1, 0)
    Image.new("RGB", (80, 60)).save(photo)
    assert again(form=Form("png8")) == (1, 0)


def test_one_bad_photograph_does_not_stop_the_others(photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (folder / "page.jpg").write_text("<html>")
    Image.new("RGB", (90, 90), (90, 90, 90)).save(folder / "wall.png")
    result = run(folder, "--model", "frontal", "--out", tmp_path / "out")
    assert result.exit_code == 2  # not one could be used
    assert result.output.count("failed: ") == 3
    assert "wall.png: no face found by the cascade detector. Say where it is with --box x,y,side" in result.output
    assert "0 written, 0 skipped, 3 failed" in result.output.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    photo.rename(folder / "photo.png")
    np.savetxt(tmp_path / "photo.txt", points())
    result = run(folder, "--model", "frontal", "--out", tmp_path / "out", "--landmarks", tmp_path)
    assert result.exit_code == 1
    assert "1 written, 0 skipped, 3 failed; 1 face" in result.output


def test_an_interrupted_run_says_so_and_leaves_nothing_half_written(photo, tmp_path):
    def stop(progress):
        raise KeyboardInterrupt

    report = predict_photographs(Frontal(), [photo], tmp_path / "out", Choices(boxes=BOX, size=32), stop)
    assert report.interrupted
    assert "interrupted; photographs: 1 written" in report.lines()[-1]
    assert not list((tmp_path / "out").rglob(".*"))


def test_what_was_being_written_at_an_interrupt_is_counted(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(3):
        Image.new("RGB", (60, 60), (40 * k, 0, 0)).save(folder / f"{k}.png")
        np.savetxt(folder / f"{k}.txt", points())

    def stop(progress):
        raise KeyboardInterrupt

    choices = Choices(landmarks=folder, batch=3, size=32, pictures=False)
    report = predict_photographs(Frontal(), [folder], tmp_path / "out", choices, stop)
    assert len(report.written) == len(list((tmp_path / "out" / "about").iterdir()))
    assert len(report.written) + report.pending == 3


def test_a_full_disk_ends_the_run_in_one_line(photo, tmp_path, monkeypatch):
    def full(path, *_):
        raise OutputError(f"{path}: cannot be written: the disk is full.") from OSError(errno.ENOSPC, "")

    monkeypatch.setattr("fnbench.predict.run.write_mask", full)
    with pytest.raises(OutputError, match="the disk is full"):
        predict_photographs(Frontal(), [photo], tmp_path / "out", Choices(boxes=BOX, size=32))
    assert not (tmp_path / "out" / "about").exists() or not list((tmp_path / "out" / "about").iterdir())


def test_a_model_that_answers_nonsense_is_named(photo, tmp_path):
    class Wrong:
        name = "wrong"

        def predict(self, images):
            return images[..., :2]

    with pytest.raises(FnbenchError, match="Model wrong: predict returned shape"):
        predict_photographs(Wrong(), [photo], tmp_path / "out", Choices(boxes=BOX, size=32))


def test_the_verb_writes_every_file_and_says_what_it_did(photo, tmp_path):
    out = tmp_path / "out"
    result = run(photo, "--model", "mean-face", "--out", out, "--box", "8,8,40", "--size", 64)
    assert result.exit_code == 0, result.output
    about = json.loads((out / "about" / "photo.json").read_text())
    assert about["files"] == ["normals/photo.png", "mask/photo.png", "look/photo.jpg", "relit/photo.jpg"]
    assert all((out / file).is_file() for file in about["files"])
    assert about["model"]["name"] == "mean-face"
    assert "1 written, 0 skipped, 0 failed; 1 face" in result.output
    result = run(photo, "--model", "crossmodall", "--out", out)
    assert result.exit_code == 2
    assert "Did you mean crossmodal" in result.output


def test_settings_out_of_range_are_refused():
    for changes in ({"size": 8}, {"batch": 0}, {"border": "hard"}, {"faces": "some"}):
        with pytest.raises(InvalidSettingError):
            Choices(**changes)
