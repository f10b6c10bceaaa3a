"""Model cards and citations: every number is the record's, every name has an entry."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from click.testing import CliRunner

from fnbench.cards import card_names
from fnbench.cite import citations, names_of
from fnbench.cli import main
from fnbench.errors import InvalidRecordError, UnknownNameError
from fnbench.evaluate import evaluate
from fnbench.record import write_record
from fnbench.registry import names
from fnbench.report.card import model_card, weakest
from tests.results import Turned, sphere_store


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    with sphere_store(tmp_path_factory.mktemp("card") / "s.h5", 12, 2) as store:
        return evaluate(Turned(12.345, 0.8, "a|<b>"), store)


def test_a_card_holds_the_numbers_of_the_record(record):
    text = model_card("a|<b>", [record])
    assert "# a\\|&lt;b&gt;\n" in text
    assert "<b>" not in text.split("---")[2]
    (row,) = (line for line in text.splitlines() if line.startswith("| spheres | test |"))
    for name in ("mean_sub", "mean_px", "median_px"):
        low, high = record.intervals[name]
        assert f"| {record.metrics[name]:.2f} ({low:.2f} to {high:.2f}) |" in row
    assert f"{record.metrics['mean_img']:.2f} ± {record.metrics['std_img']:.2f}" in row
    assert f"| {record.metrics['acc@30_px']:.1f}" in row
    assert record.data_hash[:12] in text
    for line in text.split("---")[1].strip().splitlines():
        key, _, value = line.partition(": ")
        assert key in ("license", "tags", "model-index")
        json.loads(value)


def test_the_weakest_bins_are_those_with_the_largest_error(record):
    found = weakest(record)
    means = [row["metrics"]["mean_px"] for row in found]
    assert means == sorted(means, reverse=True)
    large = [row for row in record.breakdowns if row["pixels"] >= 0.01 * record.counts["pixels"]]
    regions = [row for row in large if row["breakdown"] == "region" and row["bin"] != "none"]
    assert means[0] >= max(row["metrics"]["mean_px"] for row in regions)


def test_a_card_describes_one_model(record):
    other = dataclasses.replace(record, dataset="other", weights_sha256="ab" * 32)
    with pytest.raises(InvalidRecordError, match=r"different weights: None \(spheres\) and abababababab \(other\)"):
        model_card("a|<b>", [record, other])
    with pytest.raises(InvalidRecordError, match=r"No record of 'x'; there are records of a\|<b>"):
        model_card("x", [record])


def test_the_written_part_of_a_built_in_model_is_kept(record):
    text = model_card("crossmodal", [dataclasses.replace(record, model="crossmodal")])
    assert "Deactivable Skip Connections" in text
    assert "### Limits" in text
    assert "@inproceedings{abrevaya2020crossmodal," in text


@pytest.mark.parametrize("name", ["fnbench", *card_names(), *names("model")])
def test_everything_can_be_cited(name):
    text = citations([name])
    assert re.match(r"@\w+\{\w+,\n", text)
    assert text.count("{") == text.count("}")


def test_records_are_cited_with_all_that_they_rest_on(record):
    known = dataclasses.replace(record, dataset="florence", model="crossmodal")
    assert names_of([record, known]) == ["fnbench", "florence", "crossmodal"]
    assert citations(["frontal", "mean-face", "fnbench"]).count("@software{fnbench,") == 1
    with pytest.raises(UnknownNameError, match="Did you mean florence"):
        citations(["florenc"])


def test_the_verbs(record, tmp_path):
    write_record(record, tmp_path / "records")
    run = CliRunner().invoke
    arguments = ["card", "a|<b>", "--records", str(tmp_path / "records")]
    printed = run(main, arguments).output
    assert printed == model_card("a|<b>", [record])
    assert run(main, [*arguments, "--out", str(tmp_path / "card.md")]).output == f"{tmp_path / 'card.md'}\n"
    assert (tmp_path / "card.md").read_text() == printed
    assert run(main, ["cite"]).output.startswith("@software{fnbench,")
    assert "bagdanov2011" in run(main, ["cite", "florence", "--records", str(tmp_path / "records")]).output
    for bad in (["card", "x", "--records", str(tmp_path / "records")], ["cite", "florenc"]):
        result = run(main, bad)
        assert result.exit_code == 2
        assert result.output.count("\n") == 1
