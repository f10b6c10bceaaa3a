"""Plain files for other people's code: what they decode is what the store holds."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fnbench.errors import InvalidSettingError, OutputError, UnknownNameError
from fnbench.export import export_store, file_name, png_bytes
from fnbench.metrics import angular_error
from fnbench.store import Store, write_samples
from tests.spheres import ATTRIBUTES, sphere_samples


@pytest.fixture
def store(tmp_path: Path) -> Store:
    samples = [replace(s, split="train" if k else "test") for k, s in enumerate(sphere_samples(4))]
    return Store(write_samples(tmp_path / "spheres.h5", samples, ATTRIBUTES))


def decoded(content: bytes) -> np.ndarray:
    """A second, independent reading of the PNGs: rows, filters and bytes by the specification."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    position, data = 8, b""
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind, body = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(content[position + 8 + length : position + 12 + length], "big")
        if kind == b"IHDR":
            width, height = (int.from_bytes(body[k : k + 4], "big") for k in (0, 4))
            depth, colour = body[8], body[9]
        data += body if kind == b"IDAT" else b""
        position += 12 + length
    channels, size = (3 if colour == 2 else 1), depth // 8
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, -1)
    assert (raw[:, 0] == 2).all()
    rows = np.cumsum(raw[:, 1:], axis=0, dtype=np.uint8)
    pixels = np.ascontiguousarray(rows).view(">u2" if size == 2 else "u1").reshape(height, width, channels)
    return pixels if channels == 3 else pixels[..., 0]


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_our_pngs_say_what_they_were_given(shape, dtype):
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype)
    np.testing.assert_array_equal(decoded(png_bytes(array)), array)
    opened = np.asarray(Image.open(io.BytesIO(png_bytes(array))))
    if dtype == np.uint8 or array.ndim == 2:
        np.testing.assert_array_equal(opened, array)
    else:
        np.testing.assert_array_equal(opened, array >> 8)  # Pillow keeps eight bits of sixteen


def test_png16_normals_decode_to_the_stored_ones(store, tmp_path):
    done = export_store(store, tmp_path / "out", "png16")
    assert (done.samples, done.files) == (4, 4 * 5 + 1)
    sample = store[1]
    values = decoded((tmp_path / "out/train/normals/s001__0.png").read_bytes())
    mask = sample.target.mask
    normals = values[mask] / 65535 * 2 - 1
    assert angular_error(normals, sample.target.normals[mask].astype(np.float64)).max() < 0.0015
    assert not values[~mask].any()
    image = np.asarray(Image.open(tmp_path / "out/train/image/s001__0.png"))
    np.testing.assert_array_equal(image, sample.image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/train/mask/s001__0.png")) == 255, mask)


def test_npy_arrays_are_the_samples(store, tmp_path):
    export_store(store, tmp_path / "out", "npy")
    for sample in store:
        folder = tmp_path / "out" / sample.split
        name = file_name(sample.id)
        np.testing.assert_array_equal(np.load(folder / "normals" / f"{name}.npy"), sample.target.normals)
        np.testing.assert_array_equal(np.load(folder / "depth" / f"{name}.npy"), sample.depth)
        np.testing.assert_array_equal(np.load(folder / "mask" / f"{name}.npy"), sample.target.mask)
        meta = json.loads((folder / "meta" / f"{name}.json").read_text())
        assert meta["id"] == sample.id
        np.testing.assert_allclose(meta["K"], sample.camera.K)
        np.testing.assert_allclose(np.array(meta["landmarks"], np.float32), sample.landmarks)


def test_exr_channels_are_the_maps(store, tmp_path):
    exr = pytest.importorskip("OpenEXR", reason="needs OpenEXR, the extra exr")
    export_store(store, tmp_path / "out", "exr")
    sample = store[0]
    with exr.File(str(tmp_path / "out/test/normals/s000__0.exr")) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    normals = np.stack([channels["N.X"], channels["N.Y"], channels["N.Z"]], -1)
    np.testing.assert_array_equal(normals, sample.target.normals)
    np.testing.assert_array_equal(channels["Z"], sample.depth)


def test_exr_without_its_library_names_the_extra(store, tmp_path, monkeypatch):
    import sys

    from fnbench.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fnbench\[exr\]'"):
        export_store(store, tmp_path / "out", "exr")
    assert not (tmp_path / "out").exists()


def test_webdataset_shards_hold_one_key_per_sample_and_the_same_bytes_every_time(store, tmp_path):
    export_store(store, tmp_path / "a", "webdataset", shard_size=2)
    export_store(store, tmp_path / "b", "webdataset", shard_size=2)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["dataset.json", "test-000000.tar", "train-000000.tar", "train-000001.tar"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with tarfile.open(tmp_path / "a/train-000000.tar") as tar:
        keys = [member.name.partition(".")[0] for member in tar]
        assert list(dict.fromkeys(keys)) == ["s001__0", "s002__0"]
        assert keys == sorted(keys)  # the files of a sample stand together, as readers need
        content = tar.extractfile("s001__0.normals.png").read()
    assert decoded(content).shape == (32, 32, 3)


def test_a_split_and_a_frame_can_be_chosen(store, tmp_path):
    export_store(store, tmp_path / "out", "npy", split="test", frame="dsine")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["test"]
    written = np.load(tmp_path / "out/test/normals/s000__0.npy")
    x, y, z = np.moveaxis(store[0].target.normals, -1, 0)
    np.testing.assert_array_equal(written, np.stack([-x, y, z], -1))
    about = json.loads((tmp_path / "out/dataset.json").read_text())
    assert about["frame"].startswith("dsine: right, down, forward")
    assert about["samples"] == 1


def test_the_export_says_where_it_comes_from(store, tmp_path):
    export_store(store, tmp_path / "out", "png16")
    about = json.loads((tmp_path / "out/dataset.json").read_text())
    assert about["content_hash"] == store.attributes["content_hash"]
    assert about["normals_encoding"] == "n = value / 65535 * 2 - 1; value 0 in all channels = no normal"


def test_fm44_names_are_legal_unique_and_readable():
    ids = ["a/b", "a-b", "a__b", "a.b", "CON", "x" * 300, "x" * 301, "人/脸", "人/険", "../../etc/passwd", "-rf", "a:b"]
    names = [file_name(name) for name in ids]
    assert len({name.lower() for name in names}) == len(ids)
    for name in names:
        assert len(name) < 140
        assert not set(name) & set('/\\:*?"<>|. ')
        assert name.strip("-") == name
    assert names[:2] == ["a__b", "a-b"]


def test_an_existing_folder_is_not_mixed_with(store, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert export_store(store, out, "npy").samples == 4
    with pytest.raises(OutputError, match="not an empty folder"):
        export_store(store, out, "npy")


def test_a_failed_export_leaves_nothing(store, tmp_path, monkeypatch):
    def fail(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="disk is full"):
        export_store(store, tmp_path / "out", "npy")
    assert [path.name for path in tmp_path.iterdir()] == ["spheres.h5"]


def test_unknown_formats_frames_and_splits_are_refused(store, tmp_path):
    with pytest.raises(InvalidSettingError, match="expected one of png16"):
        export_store(store, tmp_path / "out", "jpg")
    with pytest.raises(UnknownNameError, match="opengk"):
        export_store(store, tmp_path / "out", "npy", frame="opengk")
    with pytest.raises(InvalidSettingError, match="no samples in split 'val'"):
        export_store(store, tmp_path / "out", "npy", split="val")
