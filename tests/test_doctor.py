"""The doctor: names what is wrong, stays silent when nothing is, and never repairs by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fnbench.cli import main
from fnbench.doctor import Case, diagnose, permuted, spelled
from fnbench.encodings import encoded
from fnbench.evaluate import evaluate
from fnbench.frames import signed_permutations
from fnbench.metrics import angular_error
from fnbench.png import write_png
from fnbench.store import Store
from fnbench.submission import Declaration, examined
from tests.results import bumpy_normals, bumpy_store, good_predictions, imperfect, save_maps

Maps = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return bumpy_store(tmp_path_factory.mktemp("doctor") / "faces.h5", yaws=(0.0, -35.0, 40.0))


@pytest.fixture(scope="module")
def maps(store: Store) -> Maps:
    return good_predictions(store)


def cases(store: Store, maps: Maps) -> list[Case]:
    found = []
    for index, name in enumerate(store.ids):
        target = store.target(index)
        found.append(Case(name, maps[name], target.normals, target.mask, store.camera(index).rotation))
    return found


def changed(maps: Maps, change: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> Maps:
    return {name: np.ascontiguousarray(change(one)).astype(np.float32) for name, one in maps.items()}


def test_correct_predictions_get_no_diagnosis(store: Store, maps: Maps) -> None:
    assert diagnose(cases(store, maps)) == []


@pytest.mark.parametrize(("name", "matrix"), signed_permutations()[1:])
def test_every_axis_permutation_is_named(store: Store, maps: Maps, name: str, matrix: NDArray[np.float64]) -> None:
    found = diagnose(cases(store, changed(maps, lambda p: p @ matrix.T)), quick=True)
    assert len(found) == 1
    np.testing.assert_array_equal(permuted(found[0].axes) @ matrix, np.eye(3))
    assert "mirror" not in found[0].what
    assert found[0].after is not None
    assert found[0].after < 12 < found[0].before
    assert found[0].confidence == "high" or found[0].before < 20


@pytest.mark.parametrize("seed", range(100))
def test_silence_on_correct_predictions_of_any_quality(store: Store, seed: int) -> None:
    """A hundred sets, noise up to 25 degrees, from pixel noise to errors as wide as the face."""
    rng = np.random.default_rng(seed)
    degrees, smooth = rng.uniform(0, 25), rng.choice([0.0, 2.0, 6.0, 15.0])
    few = cases(store, good_predictions(store))[:5]
    noisy = [
        Case(c.id, imperfect(bumpy_normals(64, i)[0], degrees, 1000 * seed + i, smooth), c.target, c.mask, c.rotation)
        for i, c in enumerate(few)
    ]
    assert diagnose(noisy, quick=seed % 5 != 0) == []


def test_a_model_without_a_clue_has_no_convention(store: Store) -> None:
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(size=(64, 64, 3)) for name in store.ids}
    random = {name: (v / np.linalg.norm(v, axis=-1, keepdims=True)).astype(np.float32) for name, v in noise.items()}
    assert diagnose(cases(store, random)) == []
    sideways = {
        name: imperfect(np.broadcast_to([1.0, 0, 0], (64, 64, 3)), 5, index) for index, name in enumerate(store.ids)
    }
    assert diagnose(cases(store, sideways)) == []


def pad(predicted: NDArray[np.float32]) -> NDArray[np.float32]:
    from skimage.transform import resize

    padded = np.zeros_like(predicted)
    padded[..., 2] = 1
    padded[8:56, 8:56] = resize(predicted, (48, 48), order=1)
    return padded


@pytest.mark.parametrize(
    ("change", "code", "words", "option"),
    [
        (lambda p: p * [1, -1, -1], "FM-15", "y and z are flipped", "--frame opencv"),
        (lambda p: -p, "FM-15", "point inward", "--frame -x,-y,-z"),
        (lambda p: p[..., ::-1], "FM-14", "red and blue are exchanged", "--order bgr"),
        (lambda p: p[:, ::-1], "FM-17", "mirrored and x was not negated", "--mirror."),
        (lambda p: p[:, ::-1] * [-1, 1, 1], "FM-17", "mirrored and x negated with it", "--mirror --frame"),
        (lambda p: p.transpose(1, 0, 2), "FM-06", "transposed", "no option turns them"),
        (lambda p: (p + 1) / 2, "FM-11", "left in [0, 1]", "--encoding unit"),
        (lambda p: np.rint((p + 1) * 127.5), "FM-11", "codes 0-255", "--encoding 127.5"),
        (lambda p: np.roll(p, 3, axis=1), "FM-19", "shifted 3 px to the right", "no option"),
        (lambda p: np.roll(p, (-4, 5), axis=(0, 1)), "FM-19", "5 px to the right and 4 px up", "no option"),
        (pad, "FM-19", "padded", "Crop the padding"),
        (lambda p: np.broadcast_to([0.0, 0, 1], p.shape), "FM-20", "a constant", "--constant"),
    ],
)
def test_each_mistake_is_named_with_its_repair(
    store: Store, maps: Maps, change: Callable[..., NDArray[np.float32]], code: str, words: str, option: str
) -> None:
    found = diagnose(cases(store, changed(maps, change)))
    assert [diagnosis.code for diagnosis in found] == [code]
    assert words in found[0].what
    assert option in found[0].option
    if found[0].after is not None:
        assert found[0].after < found[0].before
        assert found[0].after < 14


def test_the_world_frame_is_told_from_a_head_frame(store: Store, maps: Maps) -> None:
    rotations = {name: store.camera(index).rotation for index, name in enumerate(store.ids)}
    world = {name: (one @ rotations[name]).astype(np.float32) for name, one in maps.items()}
    found = diagnose(cases(store, world))
    assert [diagnosis.code for diagnosis in found] == ["FM-16"]
    assert "frame of the world" in found[0].what
    assert "--space world" in found[0].option
    turns = Rotation.from_euler("xyz", np.random.default_rng(1).uniform(-50, 50, (12, 3)), degrees=True).as_matrix()
    head = {name: (one @ turns[i].T).astype(np.float32) for i, (name, one) in enumerate(maps.items())}
    found = diagnose(cases(store, head))
    assert [diagnosis.code for diagnosis in found] == ["FM-16"]
    assert "head-local" in found[0].what


def test_copied_predictions_are_counted(store: Store, maps: Maps) -> None:
    found = diagnose(cases(store, dict.fromkeys(maps, maps["p000"])))
    assert "12 of 12 images have the same prediction" in found[0].what


def test_one_map_for_all_images_still_has_axes_to_be_named(store: Store, maps: Maps, tmp_path: Path) -> None:
    """As the mean face has: a baseline that is saved like every other model."""
    mean = np.mean(list(maps.values()), axis=0)
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    wrong = dict.fromkeys(maps, (mean * [1, 1, -1]).astype(np.float32))
    found = diagnose(cases(store, wrong))
    assert [diagnosis.code for diagnosis in found] == ["FM-20", "FM-15"]
    assert "z is flipped" in found[1].what
    folder = save_maps(tmp_path, wrong)
    found, _ = examined(folder, store, Declaration("mean", constant=True))
    assert [diagnosis.code for diagnosis in found] == ["FM-15"]


def test_a_declared_constant_baseline_is_no_mistake(store: Store, maps: Maps, tmp_path: Path) -> None:
    forwards = np.broadcast_to(np.float32([0, 0, 1]), maps["p000"].shape)
    folder = save_maps(tmp_path, dict.fromkeys(maps, forwards))
    found, _ = examined(folder, store, Declaration("frontal", constant=True))
    assert found == []


def test_two_mistakes_are_both_named(store: Store, maps: Maps) -> None:
    found = diagnose(cases(store, changed(maps, lambda p: (p * [1, -1, -1] + 1) / 2)))
    assert [diagnosis.code for diagnosis in found] == ["FM-11", "FM-15"]


def test_the_repair_is_told_in_the_declared_frame(store: Store, maps: Maps) -> None:
    """Declared as opencv, stored as inward opencv: the option names the frame as stored."""
    found = diagnose(cases(store, changed(maps, lambda p: -p)), frame="opencv")
    assert "--frame -x,y,z" in found[0].option or "--frame dsine" in found[0].option
    assert spelled(permuted("-x,-y,-z") @ permuted("opencv")) in found[0].option


def test_background_that_counts_is_seen(store: Store, maps: Maps) -> None:
    """A mask that is set everywhere, with the background as a wall that the predictions do not follow."""
    everywhere = [
        Case(c.id, imperfect(c.predicted, 30, i, 0), bumpy_normals(64, i)[0], np.ones_like(c.mask), c.rotation)
        for i, c in enumerate(cases(store, maps))
    ]
    (found,) = diagnose(everywhere)
    assert found.code == "FM-26"
    assert "the background seems to count" in found.what
    assert "Correct the mask" in found.option
    assert (found.confidence, found.agreeing) == ("high", 1)
    inside = [angular_error(c.predicted, c.target)[bumpy_normals(64, i)[1]] for i, c in enumerate(everywhere)]
    assert found.after == pytest.approx(np.mean([one.mean() for one in inside]), abs=0.7)


@pytest.mark.parametrize("coding", ["127.5", "128", "127"])
@pytest.mark.parametrize("declared", ["127.5", "128", "127", None])
def test_the_coding_of_8_bit_maps_is_named(
    store: Store, maps: Maps, tmp_path: Path, coding: str, declared: str | None
) -> None:
    for name, one in maps.items():
        write_png(tmp_path / "maps" / f"{name}.png", encoded(one, coding, np.uint8))
    found, _ = examined(tmp_path / "maps", store, Declaration("codes", encoding=declared, allow_8bit=True))
    if coding == declared:
        assert found == []
        return
    (diagnosis,) = found
    assert diagnosis.code == ("FM-11" if declared is None else "FM-13")
    assert diagnosis.option == f"Add --encoding {coding}."
    assert diagnosis.confidence != "low"
    assert diagnosis.after is not None
    assert diagnosis.after < 12


def test_codes_and_axes_are_both_named(store: Store, maps: Maps, tmp_path: Path) -> None:
    for name, one in maps.items():
        write_png(tmp_path / "maps" / f"{name}.png", encoded(one * np.float32([1, -1, -1]), "128", np.uint8))
    found, _ = examined(tmp_path / "maps", store, Declaration("codes"))
    assert [one.option for one in found] == ["Add --encoding 128.", "Add --frame opencv."]


def test_resized_and_not_renormalised_is_named(store: Store, maps: Maps, tmp_path: Path) -> None:
    from scipy.ndimage import uniform_filter

    folder = save_maps(tmp_path, {name: 0.85 * p + 0.15 * uniform_filter(p, (3, 3, 1)) for name, p in maps.items()})
    (found,), _ = examined(folder, store, Declaration("resized"))
    assert found.code == "FM-18"
    assert "12 of 12 maps hold vectors shorter than 1" in found.what
    assert found.before == found.after


def test_a_single_copy_is_named(store: Store, maps: Maps) -> None:
    (found,) = diagnose(cases(store, {**maps, "p001": maps["p000"]}))
    assert found.code == "FM-20"
    assert "2 of 12 images have the same prediction" in found.what


def test_the_doctor_also_says_what_the_numbers_show(store: Store, maps: Maps, tmp_path: Path) -> None:
    truth = {name: store.target(index).normals for index, name in enumerate(store.ids)}
    found, findings = examined(save_maps(tmp_path, truth), store, Declaration("truth"))
    assert found == []
    assert "FM-21" in {finding.code for finding in findings}


def test_the_verb_names_the_mistake_and_changes_nothing(store: Store, maps: Maps, tmp_path: Path) -> None:
    folder = save_maps(tmp_path / "maps", changed(maps, lambda p: p * [1, -1, 1]))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    run = CliRunner().invoke(main, ["doctor", "--predictions", str(folder), "--data", str(store.path)])
    assert run.exit_code == 2
    assert "FM-15: y is flipped" in run.output
    assert "--frame x,-y,z" in run.output
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    repaired = [*("doctor", "--predictions", str(folder), "--data", str(store.path)), "--frame", "x,-y,z"]
    run = CliRunner().invoke(main, repaired)
    assert run.exit_code == 0, run.output
    assert "No convention mistake found" in run.output


def test_the_doctor_looks_at_codes_that_nobody_declared(store: Store, maps: Maps, tmp_path: Path) -> None:
    coded = {name: np.rint((-one + 1) * 127.5).astype(np.uint8) for name, one in maps.items()}
    folder = save_maps(tmp_path / "maps", coded)
    found, findings = examined(folder, store, Declaration("codes"))
    assert "FM-11" in {finding.code for finding in findings}
    assert [diagnosis.code for diagnosis in found] == ["FM-11", "FM-15"]


def test_eval_warns_about_a_model_in_another_frame(store: Store, maps: Maps) -> None:
    class Flipped:
        name = "flipped"

        def __init__(self) -> None:
            self.turn = iter(())

        def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            # the images of a bumpy store show their normals, which is all that this model needs
            normals = (images * 255 - 128) / 100
            normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 0.1)
            good = np.where(np.linalg.norm(normals, axis=-1, keepdims=True) > 0.9, normals, [0, 0, 1])
            return (good * [1, -1, 1]).astype(np.float32)

    result = evaluate(Flipped(), store)
    warned = [finding for finding in result.findings if finding.code == "FM-15"]
    assert len(warned) == 1
    assert warned[0].verdict == "WARN"
    assert "y is flipped" in warned[0].text
    assert result.metrics["mean_px"] > 30  # warned about, not repaired
