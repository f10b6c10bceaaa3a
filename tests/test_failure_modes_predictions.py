"""Group A of the failure modes: what goes wrong with predictions, and what is said and done about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fnbench.encodings import encoded
from fnbench.png import write_png
from fnbench.store import Store
from fnbench.submission import Declaration, evaluate_submission, examined
from tests.failures import assert_stops, scored, texts
from tests.results import bumpy_sample, bumpy_store, good_predictions, save_maps, with_sample

Maps = dict[str, NDArray[np.float32]]
SIZE = 48


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return bumpy_store(tmp_path_factory.mktemp("fm") / "faces.h5", 4, SIZE, yaws=(0.0, 35.0))


@pytest.fixture(scope="module")
def maps(store: Store) -> Maps:
    return good_predictions(store)


@pytest.fixture(scope="module")
def clean(store: Store, maps: Maps, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The score without any fault; no fault may improve it."""
    folder = save_maps(tmp_path_factory.mktemp("clean") / "maps", maps)
    return dict(evaluate_submission(folder, store, Declaration("clean")).metrics)


@pytest.fixture
def folder(maps: Maps, tmp_path: Path) -> Path:
    return save_maps(tmp_path / "maps", maps)


def pixel(store: Store, name: str) -> tuple[int, int]:
    """A pixel inside the mask."""
    row, column = np.argwhere(store.mask(store.ids.index(name)))[200]
    return int(row), int(column)


def edit(folder: Path, name: str, where: tuple[int, int], value: list[float]) -> None:
    values = np.load(folder / f"{name}.npy")
    values[where] = value
    np.save(folder / f"{name}.npy", values)


def not_better(metrics: dict[str, float], clean: dict[str, float]) -> bool:
    worse = all(
        metrics[f"{name}_{f}"] >= clean[f"{name}_{f}"] for name in ("mean", "rmse") for f in ("px", "img", "sub")
    )
    return worse and all(metrics[f"acc@{t}_px"] <= clean[f"acc@{t}_px"] for t in (20, 25, 30))


def test_fm01_a_missing_prediction_stops_or_scores_as_worst(
    store: Store, folder: Path, clean: dict[str, float]
) -> None:
    (folder / "p002.npy").unlink()
    assert_stops(folder, store, "FM-01", ["1 of 4 predictions missing: p002", "--missing worst", "180 degrees"])
    result = scored(folder, store, missing="worst")
    assert result.counts["images_missing"] == 1
    assert result.coverage["images"] == 0.75
    assert result.coverage["pixels"] < 0.8
    assert texts(result, "FM-01") == ["SCORE 1 predictions are missing; each counts 180 degrees"]
    row = result.samples.set_index("id").loc["p002"]
    assert (row["mean"], row["acc@30"]) == (180, 0)
    assert not_better(dict(result.metrics), clean)
    assert "coverage 75.0% of images" in result.text()


def test_fm02_unknown_ids_are_listed_with_the_nearest_known_one(store: Store, maps: Maps, folder: Path) -> None:
    np.save(folder / "p0O1.npy", maps["p001"])
    assert_stops(folder, store, "FM-02", [r"1 files with unknown ids: p0O1 \(did you mean p001\?\)", "--ignore-extra"])
    result = scored(folder, store, ignore_extra=True)
    assert texts(result, "FM-02")[0].startswith("WARN 1 files with unknown ids")


def test_fm02_ids_of_another_split_hint_at_it(maps: Maps, folder: Path, tmp_path: Path) -> None:
    samples = [bumpy_sample(f"p{i:03d}", SIZE, seed=i, split="test" if i < 3 else "train") for i in range(4)]
    with with_sample(tmp_path / "split.h5", samples) as store:
        assert_stops(folder, store, "FM-02", ["1 files belong to another split: p003", "--split"])


def test_fm03_two_files_for_one_id_are_both_shown(store: Store, maps: Maps, folder: Path) -> None:
    write_png(folder / "p001.png", encoded(maps["p001"], "127.5", np.uint16))
    assert_stops(folder, store, "FM-03", [r"p001: claimed by 2 files: p001\.npy, p001\.png", "expected one"])
    (folder / "p001.png").unlink()
    np.save(folder / "P001.npy", maps["p001"])
    assert_stops(folder, store, "FM-03", [r"p001: P001\.npy differs from the id only in case"])


def test_fm04_nothing_is_paired_by_order(store: Store, maps: Maps, folder: Path, tmp_path: Path) -> None:
    numbered = save_maps(tmp_path / "numbered", {f"{i:05d}": one for i, one in enumerate(maps.values())})
    assert_stops(
        numbered, store, "FM-04", ["4 files, none named by a known id", r"names like p000\.npy", "never by order"]
    )
    before = scored(folder, store)
    (folder / "p001.npy").unlink()
    shutil.rmtree(folder.parent / "maps-run")
    after = scored(folder, store, missing="worst")
    rows = [one.samples.set_index("id")["mean"].drop("p001") for one in (before, after)]
    assert rows[0].equals(rows[1])


def test_fm05_another_size_shows_both_and_the_way_on(store: Store, maps: Maps, folder: Path) -> None:
    np.save(folder / "p000.npy", np.kron(maps["p000"], np.ones((2, 2, 1), np.float32)))
    words = [r"p000 \(p000\.npy\): 96x96 pixels, expected 48x48", "--resize bilinear", "recorded"]
    assert_stops(folder, store, "FM-05", words)


def test_fm06_channels_first_and_exchanged_sides_are_named(
    tmp_path: Path, store: Store, maps: Maps, folder: Path
) -> None:
    np.save(folder / "p000.npy", maps["p000"].transpose(2, 0, 1))
    assert_stops(folder, store, "FM-06", [r"shape \(3, 48, 48\), expected \(48, 48, 3\)", r"transpose\(1, 2, 0\)"])
    turned = save_maps(tmp_path / "turned", {name: one.transpose(1, 0, 2) for name, one in maps.items()})
    found, _ = examined(turned, store, Declaration("turned"))  # square: only the doctor can see it
    assert [one.code for one in found] == ["FM-06"]
    assert "transposed" in found[0].what


@pytest.mark.parametrize(("channels", "words"), [(4, "4 channels, expected 3"), (1, "1 channel, expected 3")])
def test_fm07_alpha_and_grey_are_refused(store: Store, folder: Path, channels: int, words: str) -> None:
    np.save(folder / "p000.npy", np.zeros((SIZE, SIZE, channels), np.float32))
    assert_stops(folder, store, "FM-07", [words, "Alpha is not dropped silently"])


def test_fm07_the_colour_type_of_a_picture_is_named(store: Store, folder: Path) -> None:
    from PIL import Image

    (folder / "p000.npy").unlink()
    Image.new("RGBA", (SIZE, SIZE)).save(folder / "p000.png")
    assert_stops(folder, store, "FM-07", [r"4 channels \(RGB with alpha\)"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fm08_nan_and_infinity_count_180_and_are_counted(
    store: Store, folder: Path, clean: dict[str, float], value: float
) -> None:
    edit(folder, "p001", pixel(store, "p001"), [value, 0, 1])
    result = scored(folder, store)
    assert result.counts["pixels_nonfinite"] == 1
    assert texts(result, "FM-08") == ["SCORE 1 pixels in 1 images are NaN or infinite vectors; each counts 180 degrees"]
    assert result.coverage["pixels"] == 1 - 1 / result.counts["pixels"]
    assert not_better(dict(result.metrics), clean)


def test_fm08_outside_the_mask_nothing_counts(store: Store, folder: Path, clean: dict[str, float]) -> None:
    edit(folder, "p001", (0, 0), [np.nan, np.nan, np.nan])
    assert dict(scored(folder, store).metrics) == clean


def test_fm09_zero_vectors_have_their_own_counter(store: Store, folder: Path, clean: dict[str, float]) -> None:
    edit(folder, "p001", pixel(store, "p001"), [0, 0, 0])
    result = scored(folder, store)
    assert (result.counts["pixels_zero"], result.counts["pixels_nonfinite"]) == (1, 0)
    assert "zero vectors, which have no direction and often mean invalid" in texts(result, "FM-09")[0]
    assert not_better(dict(result.metrics), clean)


def test_fm10_a_few_odd_lengths_warn_and_many_stop(store: Store, maps: Maps, folder: Path) -> None:
    where = pixel(store, "p001")
    edit(folder, "p001", where, [*(1.2 * maps["p001"][where])])
    result = scored(folder, store)
    assert texts(result, "FM-10")[0].startswith("WARN 1 of ")
    np.save(folder / "p001.npy", 1.5 * maps["p001"])
    shutil.rmtree(folder.parent / "maps-run")
    words = [
        "p001: ",
        "predicted vectors are not of unit length",
        r"shortest 1\.5, median 1\.5, longest 1\.5",
        "Likely cause",
    ]
    assert_stops(folder, store, "FM-10", words)


@pytest.mark.parametrize(
    ("scale", "words"), [(1.0, [r"left in \[0, 1\]", r"n = 2 \* value - 1"]), (255.0, ["0-255", r"code / 127\.5 - 1"])]
)
def test_fm11_maps_that_were_not_decoded_are_recognised(
    store: Store, maps: Maps, tmp_path: Path, scale: float, words: list[str]
) -> None:
    folder = save_maps(tmp_path / "maps", {name: (one + 1) / 2 * np.float32(scale) for name, one in maps.items()})
    assert_stops(folder, store, "FM-11", ["not of unit length", *words], as_is=True)


def test_fm11_integer_codes_want_a_declared_coding(store: Store, maps: Maps, tmp_path: Path) -> None:
    for name, one in maps.items():
        write_png(tmp_path / "maps" / f"{name}.png", encoded(one, "127.5", np.uint16))
    assert_stops(tmp_path / "maps", store, "FM-11", ["uint16 codes without a declared coding", "--encoding 127.5"])


def test_fm12_8_bits_stop_or_print_their_floor(store: Store, maps: Maps, tmp_path: Path) -> None:
    for name, one in maps.items():
        write_png(tmp_path / "maps" / f"{name}.png", encoded(one, "127.5", np.uint8))
    words = ["4 maps of 8 bits", r"0\.17 degrees on\s+average and 0\.39 at worst", "--allow-8bit"]
    assert_stops(tmp_path / "maps", store, "FM-12", words, encoding="127.5")
    result = scored(tmp_path / "maps", store, encoding="127.5", allow_8bit=True)
    assert texts(result, "FM-12")[0].startswith("WARN 4 maps of 8 bits")
    assert "0.17 degrees" in result.text()


def test_fm13_mixed_storage_stops_and_the_wrong_coding_warns(store: Store, maps: Maps, tmp_path: Path) -> None:
    for name, one in maps.items():
        dtype = np.uint16 if name == "p000" else np.uint8
        write_png(tmp_path / "mixed" / f"{name}.png", encoded(one, "127.5", dtype))
        write_png(tmp_path / "other" / f"{name}.png", encoded(one, "128", np.uint8))
    words = ["mixed storage", r"1 x png uint16 \(e\.g\. p000\)", r"3 x png uint8"]
    assert_stops(tmp_path / "mixed", store, "FM-13", words, encoding="127.5", allow_8bit=True)
    result = scored(tmp_path / "other", store, encoding="127.5", allow_8bit=True)
    assert "the codes fit 128 better than the declared 127.5 in 4 files" in texts(result, "FM-13")[0]
    assert "0.63 degrees on average and 1.16 at worst" in texts(result, "FM-13")[0]


def test_fm13_files_of_one_set_that_are_coded_differently_stop(store: Store, maps: Maps, tmp_path: Path) -> None:
    for name, one in maps.items():
        write_png(tmp_path / "maps" / f"{name}.png", encoded(one, "128" if name == "p002" else "127.5", np.uint8))
    words = [
        "the files of this set are coded differently",
        r"127\.5 fits 3 \(e\.g\. p000\)",
        r"128 fits 1 \(e\.g\. p002\)",
    ]
    assert_stops(tmp_path / "maps", store, "FM-13", words, encoding="127.5", allow_8bit=True)


def test_fm14_exchanged_red_and_blue_are_named(store: Store, maps: Maps, tmp_path: Path) -> None:
    folder = save_maps(tmp_path / "maps", {name: one[..., ::-1] for name, one in maps.items()})
    assert_stops(folder, store, "FM-14", ["red and blue are exchanged", "--order bgr", "--as-is"])
    repaired = evaluate_submission(folder, store, Declaration("bgr", order="bgr"))
    assert repaired.metrics["mean_px"] < 15


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        ([-1, 1, 1], ["x is flipped", "--frame dsine"]),
        ([1, -1, 1], ["y is flipped", "--frame x,-y,z"]),
        ([1, 1, -1], ["z is flipped", "--frame x,y,-z"]),
        ([-1, -1, -1], ["the normals point inward", "--frame -x,-y,-z"]),
    ],
)
def test_fm15_flipped_axes_stop_and_are_never_repaired(
    store: Store, maps: Maps, tmp_path: Path, signs: list[int], words: list[str]
) -> None:
    folder = save_maps(tmp_path / "maps", {name: one * np.float32(signs) for name, one in maps.items()})
    message = assert_stops(folder, store, "FM-15", [*words, r"mean error \d+\.\d degrees as it is, \d+\.\d after"])
    assert "--as-is scores them unchanged" in message
    result = scored(folder, store, as_is=True)
    assert texts(result, "FM-15")[0].startswith("WARN")
    assert result.metrics["mean_px"] > 25


def test_fm15_exchanged_axes_are_named_by_their_convention(store: Store, maps: Maps, tmp_path: Path) -> None:
    native = {name: np.stack([-one[..., 1], one[..., 0], one[..., 2]], -1) for name, one in maps.items()}
    folder = save_maps(tmp_path / "maps", native)
    assert_stops(folder, store, "FM-15", ["down, right, out", "--frame sfsnet"])


def test_fm16_world_and_head_frames_are_found_by_the_doctor(store: Store, maps: Maps, tmp_path: Path) -> None:
    world = {name: one @ store.camera(store.ids.index(name)).rotation for name, one in maps.items()}
    folder = save_maps(tmp_path / "maps", {name: one.astype(np.float32) for name, one in world.items()})
    found, _ = examined(folder, store, Declaration("world"))
    assert [one.code for one in found] == ["FM-16"]
    assert "frame of the world" in found[0].what
    assert "--space world" in found[0].option


def test_fm17_a_mirrored_picture_is_told_from_a_negated_x(store: Store, maps: Maps, tmp_path: Path) -> None:
    mirrored = save_maps(tmp_path / "mirrored", {name: one[:, ::-1] for name, one in maps.items()})
    assert_stops(mirrored, store, "FM-17", ["the picture is mirrored and x was not negated", "--mirror"])
    both = save_maps(tmp_path / "both", {name: one[:, ::-1] * np.float32([-1, 1, 1]) for name, one in maps.items()})
    found, _ = examined(both, store, Declaration("both"))
    assert "mirrored and x negated with it (both)" in found[0].what


def test_fm18_resized_and_not_renormalised_is_told(store: Store, maps: Maps, folder: Path) -> None:
    from scipy.ndimage import uniform_filter

    for name, one in maps.items():
        weight = 0.15  # of a neighbour, as between two pixels of a larger map
        np.save(folder / f"{name}.npy", (1 - weight) * one + weight * uniform_filter(one, (3, 3, 1)))
    result = scored(folder, store)
    assert texts(result, "FM-18")[0].startswith("WARN 4 maps hold vectors shorter than 1 and none longer")


@pytest.mark.parametrize(("shift", "words"), [(3, "3 px to the right"), (-6, "6 px to the left")])
def test_fm19_a_shift_is_measured(store: Store, maps: Maps, tmp_path: Path, shift: int, words: str) -> None:
    folder = save_maps(tmp_path / "maps", {name: np.roll(one, shift, axis=1) for name, one in maps.items()})
    found, _ = examined(folder, store, Declaration("shifted"))
    assert [one.code for one in found] == ["FM-19"]
    assert words in found[0].what


def test_fm20_copied_predictions_stop_and_a_constant_is_declared(store: Store, maps: Maps, tmp_path: Path) -> None:
    copied = save_maps(tmp_path / "copied", {**maps, "p001": maps["p000"], "p002": maps["p000"]})
    words = [r"3 images have bit for bit the same prediction \(p000, p001, p002\)", "inputs differ", "--constant"]
    assert_stops(copied, store, "FM-20", words)
    constant = np.broadcast_to(np.float32([0, 0, 1]), (SIZE, SIZE, 3))
    folder = save_maps(tmp_path / "constant", dict.fromkeys(maps, constant))
    assert_stops(folder, store, "FM-20", ["4 images have bit for bit the same prediction"])
    assert scored(folder, store, constant=True).counts["images"] == 4


def test_fm21_the_ground_truth_is_recognised(store: Store, maps: Maps, tmp_path: Path) -> None:
    truth = {name: store.target(index).normals for index, name in enumerate(store.ids)}
    folder = save_maps(tmp_path / "maps", {**maps, "p003": truth["p003"]})
    assert_stops(folder, store, "FM-21", ["ground truth found among the predictions: p003", "--self-test"])
    result = scored(save_maps(tmp_path / "all", truth), store, self_test=True)
    assert result.metrics["mean_px"] == 0
    assert result.metrics["acc@5_px"] == 100


def test_fm22_float16_overflow_names_the_type(
    store: Store, maps: Maps, tmp_path: Path, clean: dict[str, float]
) -> None:
    half = {name: one.astype(np.float16) for name, one in maps.items()}
    folder = save_maps(tmp_path / "maps", half)
    edit(folder, "p001", pixel(store, "p001"), [np.inf, 0, 0])
    result = scored(folder, store)
    assert texts(result, "FM-22") == [
        "SCORE 1 float16 files hold infinite values (p001): float16 ends at 65504. Save float32."
    ]
    assert result.counts["pixels_nonfinite"] == 1
    assert result.metrics["mean_px"] > clean["mean_px"]


def test_fm23_jpeg_is_refused_by_its_bytes(store: Store, maps: Maps, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "maps").mkdir()
    for name, one in maps.items():
        picture = Image.fromarray(encoded(one, "127.5", np.uint8))
        picture.save(tmp_path / "maps" / f"{name}.png", format="JPEG", quality=95)  # the name says PNG
    words = ["4 JPEG files", "released cross-modal script writes JPEG", r"numpy\.save", "--allow-lossy"]
    assert_stops(tmp_path / "maps", store, "FM-23", words, encoding="127.5", allow_8bit=True)
    result = scored(tmp_path / "maps", store, encoding="127.5", allow_lossy=True)
    assert texts(result, "FM-23")[0].startswith("WARN 4 JPEG files")


def test_every_problem_is_listed_at_once(store: Store, maps: Maps, tmp_path: Path) -> None:
    folder = save_maps(tmp_path / "maps", {"p000": maps["p000"][:40], "p001": maps["p001"][..., :1], "q": maps["p002"]})
    np.save(folder / "p003.npy", maps["p003"].transpose(2, 0, 1))
    message = assert_stops(folder, store, "FM-01", [])
    assert {line[:5] for line in message.splitlines()} == {"FM-01", "FM-02", "FM-05", "FM-06", "FM-07"}
