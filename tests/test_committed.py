"""The committed records are whole, of the shipped models and the files written down, and give the committed tables."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from fnbench import registry
from fnbench.adapters.synthetic import Synthetic
from fnbench.cli import main
from fnbench.estimator import provenance
from fnbench.evaluate import evaluate
from fnbench.models.load import load_estimator
from fnbench.record import read_record, record_paths
from fnbench.render.groundtruth import patterns_of, render_dataset
from fnbench.render.plan import read_plan
from fnbench.report.board import write_leaderboard
from fnbench.store import Store

REPOSITORY = Path(__file__).resolve().parent.parent
BOARD = REPOSITORY / "leaderboard"
RECORDS = {str(path.relative_to(BOARD / "records")): read_record(path) for path in record_paths(BOARD / "records")}
PAGES = ("synthetic.csv", "synthetic.md", "ict.csv", "ict.md", "index.html")


def test_the_shipped_models_are_there_on_both_files():
    for dataset in ("synthetic", "ict"):
        models = {record.model for record in RECORDS.values() if record.dataset == dataset}
        assert {"frontal", "mean-face"} <= models <= set(registry.MODELS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_whole_and_lies_in_its_place(name):
    record = RECORDS[name]
    assert name == f"{record.dataset}/{record.split}/{record.model}.json"
    assert record.samples is not None
    assert not record.partial
    assert record.counts["images_missing"] == 0
    assert not record.provenance["model"].get("untrained")
    captures = patterns_of([f"@{BOARD / 'data' / record.dataset}.txt"])
    assert sorted(set(record.samples["capture"])) == sorted(captures)
    settings = record.provenance["data"]["settings"]
    plan = read_plan(BOARD / "data" / f"{record.dataset}.toml").settings
    assert {key: settings[key] for key in plan} == plan


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_of_the_weights_that_ship(name):
    record = RECORDS[name]
    folder = REPOSITORY / "baselines" / record.model
    if record.weights_sha256 is not None and not (folder / "weights.safetensors").is_file():
        pytest.skip(f"the weights of {record.model} are not in this checkout")
    assert provenance(load_estimator(record.model))["weights_sha256"] == record.weights_sha256


def test_the_committed_tables_are_those_of_the_committed_records(tmp_path):
    paths = write_leaderboard(list(RECORDS.values()), tmp_path, unmeasured=True)
    assert sorted(path.name for path in paths) == sorted(PAGES)
    for path in paths:
        committed = (BOARD / path.name).read_bytes()
        assert path.read_bytes() == committed, f"{path.name}: run fnbench leaderboard as leaderboard/README.md says"


def test_a_head_rendered_again_gives_the_numbers_of_the_record(tmp_path):
    record = RECORDS["synthetic/test/frontal.json"]
    capture = sorted(set(record.samples["capture"]))[1]
    subjects = record.provenance["data"]["settings"]["adapter"]["subjects"]
    plan = read_plan(BOARD / "data" / "synthetic.toml")
    adapter = Synthetic(None, subjects=subjects)
    render_dataset(adapter, tmp_path / "one.h5", plan, samples=[capture], options={"subjects": subjects})
    with Store(tmp_path / "one.h5") as store:
        again = evaluate(load_estimator("frontal"), store).samples.set_index("id")
    committed = record.samples.set_index("id").loc[list(again.index)]
    assert list(again["capture"].unique()) == [capture]
    np.testing.assert_allclose(again["mean"], committed["mean"], atol=0.01)
    np.testing.assert_allclose(again["n"], committed["n"], rtol=0.001)


def test_a_record_names_no_machine():
    for path in record_paths(BOARD / "records"):
        text = json.dumps(json.loads(path.read_text())["provenance"])
        assert not re.search(r"/(home|root|tmp|work|Users)/", text), path


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_pictures", REPOSITORY / "pictures" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_of_the_readme_is_made_by_a_command_beside_it(make):
    readme = (REPOSITORY / "README.md").read_text()
    shown = set(re.findall(r"\]\((pictures/[\w.-]+)\)", readme))
    lines = [*make.commands(*make.PARTS["pictures"]), *make.commands(*make.PARTS["heads"])]
    made = {word for line in lines for word in shlex.split(line) if re.fullmatch(r"pictures/[\w-]+\.(png|jpg)", word)}
    assert shown == made
    for name in shown:
        assert (REPOSITORY / name).stat().st_size < 1_500_000
    for line in lines:
        words = shlex.split(line)
        assert words[0] in ("fnbench", "python", "cp"), line
        if words[0] == "fnbench":
            main.get_command(None, words[1]).make_context(words[1], words[2:])  # the options exist


def test_the_records_are_made_for_every_model_with_weights(make):
    models, absent = make.trained_models()
    assert {"frontal", "mean-face"} <= set(models)
    assert len(models) + len(absent) == len(registry.MODELS)
    nowhere = dict.fromkeys(make.DATA)
    lines = list(
        make.expanded(make.commands(*make.PARTS["records"]), ["a", "b"], nowhere | {"ICT-FaceKit": Path("ict root")})
    )
    assert [words[1] for words in lines] == ["render-gt", "render-gt", *["eval"] * 4, "leaderboard"]
    assert lines[1][lines[1].index("--root") + 1] == "ict root"
    assert [words[3] for words in lines[2:6]] == ["a", "b", "a", "b"]
    without = list(make.expanded(make.commands(*make.PARTS["records"]), ["a"], nowhere))
    assert [words[1] for words in without] == ["render-gt", "eval", "leaderboard"]
    assert not any("ict" in word for words in without[:-1] for word in words)


def test_pictures_of_data_that_was_not_given_are_left_out(make):
    lines = make.commands(*make.PARTS["heads"])
    for named, (dataset, _) in make.DATA.items():
        found = list(make.expanded(lines, [], dict.fromkeys(make.DATA) | {named: Path("there")}))
        assert [words[1] for words in found] == ["render-gt", "view"]
        assert found[0][2] == dataset
        assert found[0][found[0].index("--root") + 1] == "there"
