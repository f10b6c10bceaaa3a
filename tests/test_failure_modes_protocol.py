"""Groups B and D of the failure modes, as far as no other file tests them: masks, contamination, caches, workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from fnbench.cards import contamination, load_card
from fnbench.errors import InvalidDataError
from fnbench.evaluate import ModelRecipe, ModelSource, evaluate, loaded
from fnbench.images import binary_mask
from fnbench.protocol import protocol_named
from fnbench.record import EvalResult
from fnbench.scoring import Scored, score
from fnbench.store import Store
from tests.fakes import diligent
from tests.results import Turned, sphere_store, with_sample
from tests.spheres import sphere_sample

TESTS = Path(__file__).parent
PREDICTIONS, TRUTH, PROTOCOL = range(1, 24), range(24, 33), range(47, 58)


def test_every_failure_mode_of_the_scoring_groups_has_a_test() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    tested = {int(number) for number in re.findall(r"^def test_fm(\d\d)_", source, re.MULTILINE)}
    assert not {*PREDICTIONS, *TRUTH, *PROTOCOL} - tested


def warned(result: EvalResult, code: str) -> list[str]:
    return [finding.text for finding in result.findings if finding.code == code and finding.verdict == "WARN"]


@pytest.mark.parametrize("pair", [(0, 1), (0, 255), (3, 200)])
def test_fm25_masks_of_two_values_are_taken_and_soft_ones_want_a_threshold(
    tmp_path: Path, pair: tuple[int, int]
) -> None:
    inside = np.zeros((6, 8), bool)
    inside[2:4, 1:7] = True
    path = tmp_path / "mask.png"
    Image.fromarray(np.where(inside, pair[1], pair[0]).astype(np.uint8)).save(path)
    np.testing.assert_array_equal(binary_mask(path), inside)
    soft = np.where(inside, 255, 0).astype(np.uint8)
    soft[2, 1] = 90
    Image.fromarray(soft).save(path)
    with pytest.raises(
        InvalidDataError, match=r"mask\.png: a mask of 3 values between 0 and 255, expected two"
    ) as caught:
        binary_mask(path)
    assert caught.value.code == "FM-25"
    assert binary_mask(path, threshold=127).sum() == inside.sum() - 1


def test_fm25_a_mask_of_another_size_shows_both(tmp_path: Path) -> None:
    from fnbench.adapters.diligent import Diligent

    diligent.write(tmp_path)
    (path,) = list(tmp_path.rglob("mask.png"))[:1]
    with Image.open(path) as whole:
        small = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.NEAREST)
    small.save(path)
    adapter = Diligent(tmp_path)
    with pytest.raises(InvalidDataError, match=r"normals of shape \(\d+, \d+, 3\), expected .* as mask\.png") as caught:
        adapter.load(path.parent.name.removesuffix("PNG"))
    assert caught.value.code == "FM-25"


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        (None, "unknown"),
        ("", "unknown"),
        ("unknown: the release does not say", "unknown"),
        ("none", "none declared"),
        ("own scans, and Photoface/train", "trained on this dataset"),
        (["ict", "photoface (train)"], "trained on this dataset"),
    ],
)
def test_fm48_contamination_follows_from_the_declared_training_data(declared: object, found: str) -> None:
    assert contamination(declared, load_card("photoface")) == found  # type: ignore[arg-type]


def test_fm48_a_shared_source_is_named_and_stays_in_the_record(tmp_path: Path) -> None:
    assert contamination("MICA", load_card("florence")) == "shares people: mica"

    class Trained(Turned):
        provenance: ClassVar = {"training_data": "synthetic"}

    class Silent(Turned):
        provenance: ClassVar = {}

    with sphere_store(tmp_path / "s.h5", 2, 1) as store:
        store.attributes["dataset"] = "synthetic"
        text = "contamination: trained on this dataset; the score is no test on new people"
        assert warned(evaluate(Trained(), store), "FM-48") == [text]
        text = "contamination unknown: the training data of the model are not declared"
        assert warned(evaluate(Silent(), store), "FM-48") == [text]


_MODEL = """
import numpy as np

class Constant:
    name = "constant"

    def __init__(self, weights=None):
        self.vector = np.float32([float(word) for word in weights.read_text().split()])

    def predict(self, images):
        return np.broadcast_to(self.vector, images.shape).copy()
"""


def test_fm51_other_weights_or_other_code_under_the_same_name_are_never_taken_from_before(tmp_path: Path) -> None:
    """A worker keeps the model that it loaded; what it keeps is known by content, not by name."""
    code, weights = tmp_path / "model.py", tmp_path / "weights.txt"
    code.write_text(_MODEL)
    weights.write_text("0 0 1")
    recipe = ModelRecipe(f"{code}:Constant", weights)
    first = loaded(recipe)
    assert loaded(ModelRecipe(f"{code}:Constant", weights)) is first
    with sphere_store(tmp_path / "s.h5", 2, 1) as store:
        before = evaluate(recipe, store).metrics["mean_px"]
        weights.write_text("0 1 0")  # one byte moved, the same name and size
        changed = ModelRecipe(f"{code}:Constant", weights)
        assert changed != recipe
        assert evaluate(changed, store).metrics["mean_px"] == pytest.approx(90, abs=0.5) != before
        code.write_text(_MODEL.replace("np.broadcast_to(self.vector", "-np.broadcast_to(self.vector"))
        negative = loaded(ModelRecipe(f"{code}:Constant", weights))
        assert negative.predict(np.zeros((1, 1, 1, 3), np.float32)).ravel().tolist() == [0, -1, 0]


@pytest.mark.slow
def test_fm53_any_number_of_workers_gives_the_same_bits(tmp_path: Path) -> None:
    """Seven samples over one, two and three processes, which take some seconds to start."""
    with sphere_store(tmp_path / "s.h5", 7, 1) as store:
        answers = [scored(store, workers) for workers in (1, 2, 3)]
    for other in answers[1:]:
        assert other.quantiles == answers[0].quantiles
        assert table(other) == table(answers[0])


def scored(store: Store, workers: int) -> Scored:
    source = ModelSource(ModelRecipe("frontal"), 2)
    return score(store, protocol_named("fnbench-1"), source, range(len(store)), batch=2, workers=workers)


def table(found: Scored) -> dict[str, str]:
    """Every row, by id; repr shows every bit of a number."""
    with np.printoptions(threshold=100_000):
        return {row["id"]: repr(row) for row in found.rows}


def test_fm55_a_dominating_subject_and_too_few_of_them_are_told(tmp_path: Path) -> None:
    samples = [sphere_sample(f"{'anna' if i < 6 else f'p{i}'}/{i}", seed=i) for i in range(9)]
    with with_sample(tmp_path / "s.h5", samples) as store:
        result = evaluate(Turned(jitter=0.5), store)
    texts = warned(result, "FM-55")
    assert "no interval: 4 subjects, at least 10 are needed" in texts
    assert any(re.fullmatch(r"subject anna holds 6\d% of the images", text) for text in texts)
    assert result.intervals == {}
    assert result.interval_note == texts[0]
