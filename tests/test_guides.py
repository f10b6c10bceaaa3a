"""What the guides tell people to type is true: their Python runs, their model scores."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fnbench.cards import card_names, load_card
from fnbench.registry import resolve

REPOSITORY = Path(__file__).resolve().parent.parent


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / path).read_text(), flags=re.DOTALL | re.MULTILINE)


def test_the_example_model_of_the_guide_predicts(tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(blocks("baselines/README.md", "python")[0])
    monkeypatch.chdir(tmp_path)
    model = resolve("my_model.py:MyModel", "model")()
    normals = model.predict(np.zeros((2, 8, 8, 3), np.float32))
    np.testing.assert_array_equal(np.linalg.norm(normals, axis=-1), 1)
    assert normals.dtype == np.float32


def test_the_readme_lists_every_dataset_as_its_card_says():
    readme = (REPOSITORY / "README.md").read_text()
    for name in card_names():
        card = load_card(name)
        verified = "yes" if card.verified_on_real_data else "no"
        assert f"| [`{name}`](datasets/{name}/ACCESS.md) | {card.title} | {card.gt_kind} | {verified} |" in readme
