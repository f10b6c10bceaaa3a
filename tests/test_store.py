"""The file: what was stored comes back, stock readers can read it, and damage is named."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from fnbench.errors import InvalidSettingError, InvalidStoreError, OutputError
from fnbench.files import check_writable
from fnbench.store import SCHEMA, Store, merge_stores, verify_store, write_samples
from fnbench.store.write import part_bytes
from fnbench.types import NormalMap
from tests.spheres import ATTRIBUTES, sphere_sample, sphere_samples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_samples(tmp_path / "spheres.h5", sphere_samples(5), ATTRIBUTES)


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.einsum("...i,...i", a, b)))


# What was stored comes back


def test_every_field_of_a_sample_comes_back(path):
    stored = Store(path)
    assert len(stored) == 5
    for index, sample in enumerate(sphere_samples(5)):
        got = stored[index]
        assert (got.id, got.capture, got.subject, got.split) == (
            sample.id,
            sample.capture,
            sample.subject,
            sample.split,
        )
        np.testing.assert_array_equal(got.image, sample.image)
        np.testing.assert_array_equal(got.target.mask, sample.target.mask)
        np.testing.assert_array_equal(got.region, sample.region)
        np.testing.assert_array_equal(got.depth, sample.depth)
        np.testing.assert_array_equal(got.landmarks, sample.landmarks)
        np.testing.assert_array_equal(got.camera.K, sample.camera.K)
        np.testing.assert_array_equal(got.camera.world_to_camera, sample.camera.world_to_camera)
        assert got.camera.orthographic
        assert got.attributes == sample.attributes
        mask = sample.target.mask
        assert angle(got.target.normals[mask], sample.target.normals[mask]).max() < 0.0038
        assert not got.target.normals[~mask].any()


def test_parts_of_a_sample_can_be_read_alone(path):
    with Store(path) as stored:
        sample = stored[3]
        np.testing.assert_array_equal(stored.image(3), sample.image)
        np.testing.assert_array_equal(stored.target(3).normals, sample.target.normals)
        np.testing.assert_array_equal(stored.mask(3), sample.target.mask)
        np.testing.assert_array_equal(stored.region(3), sample.region)
        np.testing.assert_array_equal(stored.landmarks(3), sample.landmarks)
        assert stored.sample_attributes(3) == sample.attributes
        assert stored.camera(3).orthographic
        assert stored.has_depth
        assert stored.regions[1] == "nose"
        assert stored[-1].id == stored.ids[-1]
        with pytest.raises(IndexError):
            stored[5]


def test_unknown_landmarks_and_missing_depth_survive(tmp_path):
    landmarks = np.full((68, 2), np.nan, np.float32)
    sample = sphere_sample(landmarks=landmarks, depth=None)
    got = Store(write_samples(tmp_path / "a.h5", [sample], ATTRIBUTES))[0]
    assert got.depth is None
    assert np.isnan(got.landmarks).all()


def test_attributes_of_the_file(path):
    attributes = Store(path).attributes
    assert attributes["schema"] == SCHEMA
    assert attributes["frame"] == "x-right y-up z-viewer"
    assert attributes["orientation"] == "outward"
    assert attributes["settings"] == ATTRIBUTES["settings"]
    assert len(attributes["content_hash"]) == 64


def test_splits_select_samples(tmp_path):
    samples = [replace(s, split=split) for s, split in zip(sphere_samples(3), ("train", "val", "test"), strict=True)]
    stored = Store(write_samples(tmp_path / "a.h5", samples, ATTRIBUTES))
    assert stored.indices() == [0, 1, 2]
    assert stored.indices("val") == [1]


def test_a_plain_hdf5_reader_sees_plain_datasets(path):
    with h5py.File(path) as file:
        assert file["normals"].compression == "gzip"
        assert file["normals"].shuffle
        assert file["normals"].chunks == (1, 2, 32, 32)
        assert file["image"].chunks == (1, 32, 32, 3)
        np.testing.assert_array_equal(file["image"][2], sphere_samples(5)[2].image)
        np.testing.assert_array_equal(file["depth"][2], sphere_samples(5)[2].depth)
        u, v = file["normals"][2] / 65534 * 2 - 1
        z = 1 - np.abs(u) - np.abs(v)
        decoded = np.stack([u, v, z], -1)
        decoded /= np.linalg.norm(decoded, axis=-1, keepdims=True)
        mask = file["mask"][2] == 1
        assert angle(decoded[mask], sphere_samples(5)[2].target.normals[mask]).max() < 0.0038
        assert file["id"].asstr()[2] == "s002/0"
        assert (file["normals"][2][:, ~mask] == 65535).all()


# Hashes


def test_the_content_hash_ignores_compression_and_order(tmp_path, path):
    with h5py.File(path) as source, h5py.File(tmp_path / "other.h5", "w") as target:
        for name in source:
            target.create_dataset(name, data=source[name][:], dtype=source[name].dtype, compression=None)
        target["region"].attrs.update(source["region"].attrs)
        target.attrs.update(source.attrs)
    other = Store(tmp_path / "other.h5")
    assert [other.recomputed_hash(i) for i in range(5)] == [Store(path).sample_hash(i) for i in range(5)]
    backwards = write_samples(tmp_path / "b.h5", sphere_samples(5)[::-1], ATTRIBUTES)
    assert Store(backwards).attributes["content_hash"] == Store(path).attributes["content_hash"]


CHANGES = {
    "image": lambda s: replace(s, image=np.where(np.arange(32)[:, None, None] == 3, s.image ^ 1, s.image)),
    "mask": lambda s: replace(s, target=_without_a_pixel(s.target)),
    "region": lambda s: replace(s, region=s.region ^ 1),
    "depth": lambda s: replace(s, depth=np.nextafter(s.depth, np.float32(0))),
    "no depth": lambda s: replace(s, depth=None),
    "landmarks": lambda s: replace(s, landmarks=s.landmarks + 1),
    "attributes": lambda s: replace(s, attributes={"yaw": 1.0}),
    "split": lambda s: replace(s, split="train"),
    "subject": lambda s: replace(s, subject="other"),
    "camera": lambda s: replace(s, camera=replace(s.camera, orthographic=False)),
}


def _without_a_pixel(target: NormalMap) -> NormalMap:
    mask = target.mask.copy()
    mask[16, 16] = False
    return NormalMap(np.where(mask[..., None], target.normals, 0), mask)


@pytest.mark.parametrize("change", CHANGES)
def test_the_hash_changes_with_everything_a_sample_says(tmp_path, change):
    sample = sphere_sample()
    first = Store(write_samples(tmp_path / "a.h5", [sample], ATTRIBUTES))
    second = Store(write_samples(tmp_path / "b.h5", [CHANGES[change](sample)], ATTRIBUTES))
    assert first.sample_hash(0) != second.sample_hash(0)
    assert first.attributes["content_hash"] != second.attributes["content_hash"]


# Processes


def _read_hashes(stored: Store, queue: multiprocessing.Queue) -> None:
    queue.put([stored.recomputed_hash(i) for i in range(len(stored))])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads is what is tested
def test_fm36_a_store_that_was_read_works_after_fork(path):
    stored = Store(path)
    expected = [stored.recomputed_hash(i) for i in range(5)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_read_hashes, args=(stored, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(20):
        assert stored.recomputed_hash(4) == expected[4]
    results = [queue.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert results == [expected] * 3


def test_a_store_travels_without_its_handle(path):
    stored = Store(path)
    stored[0]
    copied = pickle.loads(pickle.dumps(stored))
    assert copied._file is None
    assert copied.recomputed_hash(2) == stored.recomputed_hash(2)
    assert copied.ids == stored.ids


def test_fm32_a_file_that_is_replaced_while_in_use_is_noticed(path):
    stored = Store(path)
    write_samples(path, sphere_samples(3), ATTRIBUTES)
    with pytest.raises(InvalidStoreError, match="changed while it was in use"):
        stored[0]


# Refusals


def test_fm33_a_file_cut_at_any_place_is_refused_or_found_damaged(tmp_path, path):
    whole = path.read_bytes()
    for length in (0, 7, 100, 2000, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(whole[:length])
        with pytest.raises(InvalidStoreError, match=r"cut\.h5: (truncated|found an empty|found a file that begins)"):
            Store(cut)


def test_fm33_an_unfinished_file_is_refused(path):
    with h5py.File(path, "a") as file:
        del file.attrs["content_hash"]
    with pytest.raises(InvalidStoreError, match="unfinished"):
        Store(path)


def test_fm40_a_web_page_is_called_a_web_page(tmp_path):
    page = tmp_path / "florence.h5"
    page.write_text("\n<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title></html>")
    with pytest.raises(InvalidStoreError, match=r"florence\.h5: found a web page, probably a download confirmation"):
        Store(page)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InvalidStoreError, match=r"none\.h5: cannot be read \(No such file"):
        Store(tmp_path / "none.h5")
    with pytest.raises(InvalidStoreError, match="cannot be read"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("schema", "fnbench/2"), ("frame", "x-right y-down z-forward"), ("orientation", "inward")],
)
def test_another_schema_frame_or_orientation_is_refused(path, name, value):
    with h5py.File(path, "a") as file:
        file.attrs[name] = value
    with pytest.raises(InvalidStoreError, match=rf"attribute '{name}' is '{value}', expected "):
        Store(path)


def test_an_hdf5_file_of_someone_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(InvalidStoreError, match="attribute 'schema' is None, expected 'fnbench/1'"):
        Store(tmp_path / "other.h5")


@pytest.mark.parametrize("name", ["image", "normals", "mask", "region", "id", "K", "landmarks", "sha256"])
def test_fm34_a_missing_dataset_is_named(path, name):
    with h5py.File(path, "a") as file:
        del file[name]
    with pytest.raises(InvalidStoreError, match=rf"dataset '{name}' is missing; found "):
        Store(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("image", lambda a: a.astype(np.float32) / 255),
        ("normals", lambda a: a.astype(np.float32)),
        ("normals", lambda a: np.moveaxis(a, 1, -1)),
        ("mask", lambda a: a[:3]),
        ("depth", lambda a: a.astype(np.float64)),
        ("landmarks", lambda a: a[:, :5]),
        ("split", lambda a: np.arange(len(a))),
    ],
)
def test_fm34_another_type_or_shape_is_refused_not_cast(path, name, change):
    with h5py.File(path, "a") as file:
        values = change(file[name][:])
        del file[name]
        file[name] = values
    with pytest.raises(InvalidStoreError, match=r"dataset '\w+' is \(.*, expected \(.*Nothing is converted"):
        Store(path)


def test_fm37_a_virtual_dataset_with_a_missing_source_is_refused(tmp_path, path):
    source = tmp_path / "source.h5"
    with h5py.File(path, "a") as file:
        shape, dtype = file["normals"].shape, file["normals"].dtype
        with h5py.File(source, "w") as other:
            other["normals"] = file["normals"][:]
        del file["normals"]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[:] = h5py.VirtualSource("source.h5", "normals", shape)
        file.create_virtual_dataset("normals", layout, fillvalue=0)
    assert Store(path).target(0).mask.any()
    source.unlink()
    with pytest.raises(InvalidStoreError, match=r"virtual dataset 'normals' refers to files that are missing.*source"):
        Store(path)


def test_links_to_other_files_are_not_followed(tmp_path, path):
    other = write_samples(tmp_path / "other.h5", sphere_samples(5), ATTRIBUTES)
    with h5py.File(path, "a") as file:
        del file["image"]
        file["image"] = h5py.ExternalLink(str(other), "/image")
    with pytest.raises(InvalidStoreError, match="links are not followed"):
        Store(path)


_HOLD = """
import sys, h5py
with h5py.File(sys.argv[1], "a") as file:
    print("open", flush=True)
    sys.stdin.readline()
"""


def test_fm35_a_file_that_is_being_written_is_refused_after_a_bounded_wait(path, monkeypatch):
    monkeypatch.setattr("fnbench.store.opening.LOCK_WAIT", 0.3)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "open\n"
        begun = time.monotonic()
        with pytest.raises(InvalidStoreError, match=r"another process is writing this file \(waited 0\.3 s\)"):
            Store(path)
        assert 0.2 < time.monotonic() - begun < 3
        writer.communicate("\n", timeout=20)
    assert len(Store(path)) == 5


# Writing


def test_nothing_appears_under_the_final_name_when_a_sample_fails(tmp_path):
    def samples():
        yield sphere_sample("a/0")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_samples(tmp_path / "a.h5", samples(), ATTRIBUTES)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_survives_a_failed_write(path):
    before = path.read_bytes()
    with pytest.raises(InvalidSettingError, match="occurs twice"):
        write_samples(path, [sphere_sample(), sphere_sample()], ATTRIBUTES)
    assert path.read_bytes() == before


def test_one_file_has_one_size(tmp_path):
    with pytest.raises(InvalidSettingError, match="one file has one size"):
        write_samples(tmp_path / "a.h5", [sphere_sample("a/0"), sphere_sample("b/0", size=16)], ATTRIBUTES)


def test_no_samples_are_no_file(tmp_path):
    with pytest.raises(OutputError, match="no samples"):
        write_samples(tmp_path / "a.h5", [], ATTRIBUTES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["dataset", "gt_kind", "protocol"])
def test_a_file_states_its_origin(tmp_path, missing):
    with pytest.raises(InvalidSettingError, match=missing):
        write_samples(tmp_path / "a.h5", [sphere_sample()], {**ATTRIBUTES, missing: ""})


_LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from fnbench.errors import OutputError
from fnbench.store import write_samples
from fnbench.files import write_bytes
from fnbench.store.write import part_bytes
from fnbench.store import encode_sample
from tests.spheres import ATTRIBUTES, sphere_samples
samples = sphere_samples(40, size=128)
content = part_bytes(map(encode_sample, samples), ATTRIBUTES)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
for write in (lambda p: write_samples(p, samples, ATTRIBUTES), lambda p: write_bytes(p, content)):
    try:
        write(Path(sys.argv[1]) / "a.h5")
        print("written")
    except OutputError as error:
        print(error)
"""


def test_fm38_a_disk_that_fills_up_leaves_nothing_and_says_so(tmp_path):
    """A file size limit stands for the full disk: the same calls fail at the same places."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == ["cannot be written"] * 2
    assert done.stdout.count("free some space") == 2
    assert list(tmp_path.iterdir()) == []


def test_fm38_a_merge_that_will_not_fit_is_refused_before_it_begins(tmp_path, path, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OutputError, match=r"0\.0 MB are free on the disk and \d+\.\d MB are needed"):
        merge_stores([path], tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists()


def test_fm39_a_read_only_file_system_is_named_before_work_starts(tmp_path, monkeypatch):
    def touch(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "touch", touch)  # the tests may run as root, who may write everywhere
    with pytest.raises(OutputError, match="file system is read-only; choose another place") as caught:
        check_writable(tmp_path / "a.h5")
    assert caught.value.code == "FM-39"


def test_fm39_a_read_only_file_can_be_read(path):
    path.chmod(0o444)
    assert len(Store(path)) == 5


def test_a_folder_as_output_is_named(tmp_path):
    with pytest.raises(OutputError, match="it is a folder; give a file name"):
        write_samples(tmp_path, [sphere_sample()], ATTRIBUTES)


def test_fm44_unicode_and_spaces_work_and_a_name_too_long_is_refused(tmp_path):
    odd = tmp_path / "Gesichter für alle 人脸.h5"
    assert len(Store(write_samples(odd, [sphere_sample("Zoë 1/frontal +0")], ATTRIBUTES))) == 1
    assert Store(odd).ids == ["Zoë 1/frontal +0"]
    with pytest.raises(OutputError, match="name is too long"):
        write_samples(tmp_path / ("a" * 250 + ".h5"), [sphere_sample()], ATTRIBUTES)


# Merging


def test_merging_keeps_samples_order_and_hash(tmp_path, path):
    samples = sphere_samples(5)
    parts = [tmp_path / "p0.h5", tmp_path / "p1.h5"]
    write_samples(parts[0], samples[:2], ATTRIBUTES)
    write_samples(parts[1], samples[2:], ATTRIBUTES)
    merged = Store(merge_stores(parts, tmp_path / "merged.h5"))
    assert merged.ids == Store(path).ids
    assert merged.attributes == Store(path).attributes
    np.testing.assert_array_equal(merged[4].image, samples[4].image)
    assert verify_store(merged.path).ok


def test_merging_refuses_other_settings_other_sizes_and_repeated_ids(tmp_path, path):
    other = write_samples(
        tmp_path / "o.h5", [sphere_sample("x/0")], {**ATTRIBUTES, "settings": {"size": 32, "views": [[30, 0]]}}
    )
    with pytest.raises(InvalidStoreError, match=r"attribute 'settings' is .*30,0.*but in .*0,0"):
        merge_stores([path, other], tmp_path / "m.h5")
    big = write_samples(tmp_path / "b.h5", [sphere_sample("x/0", size=16)], ATTRIBUTES)
    with pytest.raises(InvalidSettingError, match="one file has one size"):
        merge_stores([path, big], tmp_path / "m.h5")
    with pytest.raises(InvalidSettingError, match="occurs twice"):
        merge_stores([path, path], tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


def test_a_part_made_in_memory_is_an_ordinary_store(tmp_path):
    from fnbench.store import encode_sample

    part = tmp_path / "part.h5"
    part.write_bytes(part_bytes([encode_sample(sphere_sample())], ATTRIBUTES))
    assert verify_store(part).ok


# Verifying


def test_a_whole_file_verifies(path):
    found = verify_store(path)
    assert found.ok
    assert found.findings == ()
    assert found.lines()[-1].endswith(found.content_hash[:16])


def _flip_a_bit(path: Path, name: str, index: int) -> None:
    with h5py.File(path) as file:
        place = file[name].id.get_chunk_info_by_coord((index, *(0,) * (file[name].ndim - 1)))
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset + place.size // 2] ^= 4
    path.write_bytes(raw)


@pytest.mark.parametrize("name", ["image", "normals", "mask", "region", "depth"])
def test_fm41_one_flipped_bit_is_found_and_its_sample_named(path, name):
    _flip_a_bit(path, name, 3)
    found = verify_store(path)
    assert not found.ok
    assert any("s003/0" in finding.samples for finding in found.findings)
    assert not any("s002/0" in finding.samples for finding in found.findings)


def _rewritten(path: Path, sample, **settings) -> Path:
    return write_samples(path, [sample], {**ATTRIBUTES, "settings": settings})


def test_fm24_an_empty_mask_is_an_error_unless_the_file_lists_it(tmp_path):
    empty = NormalMap(np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), bool))
    sample = sphere_sample("a/0", target=empty)
    found = verify_store(_rewritten(tmp_path / "a.h5", sample))
    assert [finding.code for finding in found.findings] == ["FM-24"]
    assert "a/0" in found.lines()[0]
    assert verify_store(_rewritten(tmp_path / "b.h5", sample, empty_masks=["a/0"])).ok


def test_fm26_a_pixel_in_the_mask_without_a_normal_is_an_error(path):
    with h5py.File(path, "a") as file:
        file["normals"][1, :, 16, 16] = 65535
    found = verify_store(path)
    assert {finding.code for finding in found.findings} <= {"FM-34", "FM-41", "FM-26"}
    assert not found.ok


def test_fm27_back_facing_normals_warn_and_above_a_permille_stop(tmp_path):
    sample = sphere_sample()
    few, many = sample.target.normals.copy(), sample.target.normals.copy()
    many[16] *= -1
    found = verify_store(_rewritten(tmp_path / "a.h5", replace(sample, target=NormalMap(many, sample.target.mask))))
    assert [(f.code, f.warning) for f in found.findings] == [("FM-27", False)]
    big = sphere_sample(size=128)
    few = big.target.normals.copy()
    few[64, 64] *= -1
    found = verify_store(_rewritten(tmp_path / "b.h5", replace(big, target=NormalMap(few, big.target.mask))))
    assert [(f.code, f.warning) for f in found.findings] == [("FM-27", True)]


def test_fm47_a_subject_in_two_splits_is_an_error(tmp_path):
    samples = [
        replace(s, subject="Anna", split=split) for s, split in zip(sphere_samples(2), ("train", "test"), strict=True)
    ]
    found = verify_store(write_samples(tmp_path / "a.h5", samples, ATTRIBUTES))
    assert [finding.code for finding in found.findings] == ["FM-47"]
    assert "Anna (test, train)" in found.lines()[0]


def test_fm32_a_content_hash_of_another_file_is_found(path):
    with h5py.File(path, "a") as file:
        file.attrs["content_hash"] = "0" * 64
    assert [finding.code for finding in verify_store(path).findings] == ["FM-32"]


# Verbs


def invoke(*arguments: object) -> tuple[int, str]:
    from click.testing import CliRunner

    from fnbench.cli import main

    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_verify_exits_with_1_for_a_damaged_file_and_2_for_none(path):
    assert invoke("verify", path)[0] == 0
    _flip_a_bit(path, "image", 3)
    code, output = invoke("verify", path)
    assert code == 1
    assert output.splitlines()[-1].startswith(f"{path}: DAMAGED, 5 samples")
    path.write_text("<html>")
    code, output = invoke("verify", path)
    assert code == 2
    assert "a web page" in output


def test_ls_says_what_a_file_holds(path):
    code, output = invoke("ls", path, "--samples")
    assert code == 0
    assert output.startswith("5 samples of 32x32 (5 test), 5 captures, 5 subjects, with depth\n")
    assert "protocol: orthographic sphere, no crop" in output
    assert output.splitlines()[-1] == "s004/0  s004  test"


def test_merge_and_export_from_the_command_line(tmp_path, path):
    other = write_samples(tmp_path / "other.h5", [sphere_sample("x/0")], ATTRIBUTES)
    code, output = invoke("merge", path, other, "--out", tmp_path / "both.h5")
    assert (code, len(Store(tmp_path / "both.h5"))) == (0, 6)
    assert "6 samples from 2 files" in output
    code, output = invoke("export", tmp_path / "both.h5", "--format", "npy", "--out", tmp_path / "plain")
    assert (code, output) == (0, f"{tmp_path / 'plain'}: 6 samples in 37 files\n")
    code, output = invoke("export", path, "--format", "npy", "--out", tmp_path / "plain")
    assert code == 2
    assert "not an empty folder" in output
