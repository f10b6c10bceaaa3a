"""Saved predictions: every format, every declared convention, the template, and pairing by id."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from fnbench.cli import main
from fnbench.encodings import ENCODINGS, FLOORS, SOURCES, decoded, encoded, source_named
from fnbench.errors import InvalidPredictionError, InvalidSettingError, UnknownNameError
from fnbench.evaluate import evaluate
from fnbench.frames import from_canonical
from fnbench.maps import Entry, map_header, read_map
from fnbench.metrics import angular_error
from fnbench.png import read_png, write_png
from fnbench.store import Store
from fnbench.submission import (
    Declaration,
    evaluate_submission,
    read_declaration,
    stem,
    validate_submission,
    write_template,
)
from tests.results import bumpy_store, good_predictions, save_maps

Maps = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return bumpy_store(tmp_path_factory.mktemp("submission") / "faces.h5", 5, 48, yaws=(0.0, 30.0))


@pytest.fixture(scope="module")
def maps(store: Store) -> Maps:
    return good_predictions(store)


@pytest.fixture(scope="module")
def reference(store: Store, maps: Maps, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    folder = save_maps(tmp_path_factory.mktemp("reference"), maps)
    return dict(evaluate_submission(folder, store, Declaration("ours")).metrics)


def mean(folder: Path, store: Store, **declared: Any) -> float:
    return evaluate_submission(folder, store, Declaration("ours", **declared)).metrics["mean_px"]


def save_png(folder: Path, maps: Maps, dtype: Any, encoding: str = "127.5") -> Path:
    for name, one in maps.items():
        write_png(folder / f"{name}.png", encoded(one, encoding, dtype))
    return folder


# Formats


def test_saved_maps_score_as_the_same_model_live(store: Store, maps: Maps, reference: dict[str, float]) -> None:
    class Live:
        name = "live"
        at = 0

        def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            keys = {store.image(i).tobytes(): store.ids[i] for i in range(len(store))}
            return np.stack([maps[keys[np.rint(image * 255).astype(np.uint8).tobytes()]] for image in images])

    assert evaluate(Live(), store).metrics == reference


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npy_of_every_floating_type(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path, dtype: Any
) -> None:
    folder = save_maps(tmp_path, {name: one.astype(dtype) for name, one in maps.items()})
    assert mean(folder, store) == pytest.approx(reference["mean_px"], abs=1e-3)


def test_16_bit_png(store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path) -> None:
    folder = save_png(tmp_path, maps, np.uint16)
    assert mean(folder, store, encoding="127.5") == pytest.approx(reference["mean_px"], abs=1e-3)


@pytest.mark.parametrize("encoding", ["127.5", "128", "127"])
def test_8_bit_png_within_its_floor(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path, encoding: str
) -> None:
    folder = save_png(tmp_path, maps, np.uint8, encoding)
    result = evaluate_submission(folder, store, Declaration("ours", encoding=encoding, allow_8bit=True))
    assert result.metrics["mean_px"] == pytest.approx(reference["mean_px"], abs=0.05)
    assert result.provenance["model"]["quantisation_floor"] == {"mean": 0.17, "worst": 0.39}
    floors = [finding for finding in result.findings if finding.code == "FM-12"]
    assert "0.17 degrees on average and 0.39 at worst" in floors[0].text
    assert not [finding for finding in result.findings if finding.code == "FM-13"]


def test_one_npz_per_sample_and_one_for_all(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path
) -> None:
    for name, one in maps.items():
        (tmp_path / "each").mkdir(exist_ok=True)
        np.savez_compressed(tmp_path / "each" / f"{name}.npz", normals=one)
    np.savez(tmp_path / "all.npz", **maps)
    assert mean(tmp_path / "each", store) == mean(tmp_path / "all.npz", store) == reference["mean_px"]


def test_hdf5_by_name_and_as_one_array(store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "names.h5", "w") as file:
        for name, one in maps.items():
            file[name] = one
    backwards = sorted(maps, reverse=True)
    with h5py.File(tmp_path / "array.h5", "w") as file:
        file["id"] = backwards
        file["normals"] = np.stack([maps[name] for name in backwards])
    assert mean(tmp_path / "names.h5", store) == mean(tmp_path / "array.h5", store) == reference["mean_px"]


@pytest.mark.parametrize("channels", ["RGB", "R G B", "X Y Z"])
def test_exr(store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path, channels: str) -> None:
    exr = pytest.importorskip("OpenEXR", reason="needs the extra fnbench[exr]")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    for name, one in maps.items():
        planes = one if channels == "RGB" else np.moveaxis(one, -1, 0)
        content = (
            {"RGB": one}
            if channels == "RGB"
            else dict(zip(channels.split(), np.ascontiguousarray(planes), strict=True))
        )
        exr.File(header, content).write(str(tmp_path / f"{name}.exr"))
    assert mean(tmp_path, store) == reference["mean_px"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_files_come_back_bit_for_bit_and_pillow_agrees(tmp_path: Path, dtype: Any) -> None:
    from PIL import Image

    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (17, 23, 3)).astype(dtype)
    write_png(tmp_path / "a.png", values)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), values)
    if dtype == np.uint8:
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.asarray(image), values)
        smooth = np.add.outer(np.arange(40), np.arange(50))[..., None] * np.array([1, 2, 3])
        Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "b.png", optimize=True)  # uses all filters
        np.testing.assert_array_equal(read_png(tmp_path / "b.png"), smooth.astype(np.uint8))


def test_every_png_filter_is_undone(tmp_path: Path) -> None:
    """16-bit rows written with filters 0 to 4 by their definition (PNG specification, section 9)."""
    import struct
    import zlib

    rows = np.random.default_rng(1).integers(0, 256, (5, 7 * 6)).astype(np.int64)
    padded = np.zeros((6, 7 * 6 + 6), np.int64)
    padded[1:, 6:] = rows
    left, up, corner = padded[1:, :-6], padded[:-1, 6:], padded[:-1, :-6]
    estimate = left + up - corner
    distance = np.stack([abs(estimate - left), abs(estimate - up), abs(estimate - corner)])
    paeth = np.choose(distance.argmin(axis=0), [left, up, corner])
    guesses = [np.zeros_like(rows), left, up, (left + up) // 2, paeth]
    filtered = b"".join(bytes([k]) + ((rows[k] - guesses[k][k]) % 256).astype(np.uint8).tobytes() for k in range(5))
    content = [
        (b"IHDR", struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(filtered)),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in content)
    (tmp_path / "f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    expected = rows.astype(np.uint8).view(">u2").reshape(5, 7, 3)
    np.testing.assert_array_equal(read_png(tmp_path / "f.png"), expected)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_png_files_are_named(tmp_path: Path, damage: str) -> None:
    write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    data = bytearray((tmp_path / "a.png").read_bytes())
    if damage == "cut":
        data = data[:-6]
    else:
        data[45] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InvalidPredictionError, match=r"a\.png: damaged PNG"):
        read_png(tmp_path / "a.png")


def test_headers_say_shape_and_type_without_the_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 3), np.float16))
    header = map_header(Entry(tmp_path / "a.npy"))
    assert (header.format, header.shape, header.dtype, header.storage) == ("npy", (4, 5, 3), np.float16, "float16")
    assert read_map(Entry(tmp_path / "a.npy")).shape == (4, 5, 3)


# Conventions


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_decoding_undoes_coding(encoding: str) -> None:
    values = np.linspace(-1, 1, 2001)
    for dtype in (np.uint8, np.uint16):
        back = decoded(encoded(values, encoding, dtype), encoding)
        step = 0 if encoding in ("vectors", "unit") else (1 / 127 if dtype == np.uint8 else 1 / 32767)
        assert np.abs(back - values).max() <= step + 1e-6


def test_the_floors_are_what_storing_costs() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(100_000, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    stored = {
        "8 bit": decoded(encoded(normals, "127.5", np.uint8), "127.5"),
        "16 bit": decoded(encoded(normals, "127.5", np.uint16), "127.5"),
        "float16": normals.astype(np.float16).astype(np.float64),
        "float32": normals.astype(np.float32),
    }
    for kind, values in stored.items():
        cost = angular_error(values, normals)
        assert cost.mean() <= FLOORS[kind][0] * 1.05, kind
        assert cost.max() <= FLOORS[kind][1] * 1.05, kind


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_output_of_every_known_program_scores_the_same(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path, source: str
) -> None:
    known = source_named(source)
    arrays = {name: np.asarray(from_canonical(one, known.arrays.frame)) for name, one in maps.items()}
    assert mean(save_maps(tmp_path / "arrays", arrays), store, source=source) == pytest.approx(
        reference["mean_px"], abs=1e-6
    )
    for name, one in maps.items():
        codes = encoded(from_canonical(one, known.pictures.frame), known.pictures.encoding, np.uint16)
        write_png(tmp_path / "pictures" / f"{name}.png", codes if known.pictures.order == "rgb" else codes[..., ::-1])
    assert mean(tmp_path / "pictures", store, source=source) == pytest.approx(reference["mean_px"], abs=1e-3)


def test_mirrored_world_and_bgr_maps_are_turned_as_declared(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path
) -> None:
    rotations = {name: store.camera(index).rotation for index, name in enumerate(store.ids)}
    world = {name: (one @ rotations[name]).astype(np.float32) for name, one in maps.items()}
    assert mean(save_maps(tmp_path / "w", world), store, space="world") == pytest.approx(reference["mean_px"], abs=1e-5)
    mirrored = {name: one[:, ::-1] for name, one in maps.items()}
    assert mean(save_maps(tmp_path / "m", mirrored), store, mirror=True) == reference["mean_px"]
    reversed_ = {name: one[..., ::-1] for name, one in maps.items()}
    assert mean(save_maps(tmp_path / "b", reversed_), store, order="bgr") == reference["mean_px"]


def test_resizing_is_a_choice_and_recorded(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path
) -> None:
    folder = save_maps(tmp_path, {name: np.kron(one, np.ones((2, 2, 1), np.float32)) for name, one in maps.items()})
    result = evaluate_submission(folder, store, Declaration("ours", resize="bilinear"))
    assert result.metrics["mean_px"] == pytest.approx(reference["mean_px"], abs=0.5)
    assert result.provenance["settings"]["resize"].startswith("bilinear, in float, antialiased, renormalised")


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "dsin"},
        {"frame": "opncv"},
        {"encoding": "8bit"},
        {"order": "rbg"},
        {"space": "head"},
        {"missing": "skip"},
    ],
)
def test_unknown_declarations_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises((UnknownNameError, InvalidSettingError)):
        Declaration("x", **wrong)


def test_submission_toml_declares_and_options_override(tmp_path: Path) -> None:
    (tmp_path / "submission.toml").write_text('[submission]\nname = "mine"\nsource = "dsine"\nlicence = "MIT"\n')
    stated = read_declaration(tmp_path, name=None, source=None, allow_8bit=False)
    assert (stated.name, stated.source, stated.licence) == ("mine", "dsine", "MIT")
    assert read_declaration(tmp_path, source="moge").source == "moge"
    (tmp_path / "submission.toml").write_text('[submission]\ncolour = "red"\n')
    with pytest.raises(InvalidSettingError, match="unknown colour"):
        read_declaration(tmp_path)


# Template and pairing


def test_the_template_is_complete_and_its_names_are_taken(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path
) -> None:
    ids = write_template(store, tmp_path / "t")
    assert ids == sorted(store.ids)
    np.testing.assert_array_equal(read_png(tmp_path / "t" / "images" / f"{stem(ids[0])}.png"), store.image(0))
    predictions = tmp_path / "t" / "predictions"
    for name, one in maps.items():
        np.save(predictions / f"{stem(name)}.npy", one)
    declared = read_declaration(predictions)
    assert validate_submission(predictions, store, declared) == []
    assert evaluate_submission(predictions, store, declared).metrics == reference
    with pytest.raises(InvalidSettingError, match="not empty"):
        write_template(store, tmp_path / "t")


def test_stems_are_safe_and_different() -> None:
    names = ["a/b", "a-b", "a b", "CON", ".hidden", "x" * 300, "grüße", "a:b"]
    stems = [stem(name) for name in names]
    assert len({one.lower() for one in stems}) == len(names)
    assert all(len(one) < 120 and not set(one) & set('/\\:*?"<>| ') and one.upper() != "CON" for one in stems)
    assert stem("grüße") == "grüße"


def test_a_manifest_pairs_files_of_any_name(
    store: Store, maps: Maps, reference: dict[str, float], tmp_path: Path
) -> None:
    rows = ["id,file"]
    for number, (name, one) in enumerate(maps.items()):
        np.save(tmp_path / f"frame-{number:04d}.npy", one)
        rows.append(f"{name},frame-{number:04d}.npy")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    assert mean(tmp_path, store) == reference["mean_px"]


def test_damaged_archives_and_unpickled_arrays(store: Store, maps: Maps, tmp_path: Path) -> None:
    folder = save_maps(tmp_path / "a", maps)
    np.save(folder / "p000.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(InvalidPredictionError, match="FM-43: p000.*pickles are not opened"):
        mean(folder, store)
    (folder / "p000.npy").unlink()
    with zipfile.ZipFile(folder / "p000.npz", "w") as archive:
        archive.writestr("arr_0.npy", b"not an array")
    with pytest.raises(InvalidPredictionError, match="p000"):
        mean(folder, store)


# The verbs


def test_the_verbs_from_template_to_record(store: Store, maps: Maps, tmp_path: Path) -> None:
    data = ["--data", str(store.path)]
    runner = CliRunner()
    run = runner.invoke(main, ["submission", "template", *data, "--out", str(tmp_path / "t")])
    assert run.exit_code == 0, run.output
    predictions = tmp_path / "t" / "predictions"
    run = runner.invoke(main, ["submission", "validate", *data, "--predictions", str(predictions)])
    assert run.exit_code == 2
    assert "FM-04" in run.output
    for name, one in maps.items():
        np.save(predictions / f"{name}.npy", one)
    run = runner.invoke(main, ["submission", "validate", *data, "--predictions", str(predictions)])
    assert run.exit_code == 0, run.output
    assert "complete and well formed" in run.output
    run = runner.invoke(main, ["eval", *data, "--predictions", str(predictions), "--out", str(tmp_path / "run")])
    assert run.exit_code == 0, run.output
    record = json.loads((tmp_path / "run" / "my-method.json").read_text())
    assert record["provenance"]["model"]["entry_point"] == "saved predictions"


def test_eval_wants_a_model_or_predictions_and_not_both(store: Store, tmp_path: Path) -> None:
    for extra in ([], ["--model", "frontal", "--predictions", str(tmp_path)]):
        run = CliRunner().invoke(main, ["eval", "--data", str(store.path), "--out", str(tmp_path / "run"), *extra])
        assert run.exit_code == 2
        assert "either --model or --predictions" in run.output


def test_the_report_lists_every_id(store: Store, maps: Maps, tmp_path: Path) -> None:
    folder = save_maps(tmp_path / "maps", {"p000": maps["p000"], **{f"z{i}": maps["p000"] for i in range(30)}})
    arguments = ["submission", "validate", "--data", str(store.path), "--predictions", str(folder)]
    run = CliRunner().invoke(main, [*arguments, "--report", str(tmp_path / "r.json")])
    assert run.exit_code == 2
    assert "and 20 more" in run.output
    report = {finding["code"]: finding for finding in json.loads((tmp_path / "r.json").read_text())}
    assert len(report["FM-02"]["ids"]) == 30
    assert report["FM-01"]["ids"] == ["p001", "p002", "p003", "p004"]
