"""The leaderboard that people read says what the records say, to the last digit."""

from __future__ import annotations

import dataclasses
import html
import json
import re

import pandas
import pytest
from click.testing import CliRunner

from fnbench.cli import main
from fnbench.errors import InvalidRecordError
from fnbench.evaluate import evaluate
from fnbench.record import write_record
from fnbench.report import words
from fnbench.report.board import write_leaderboard
from fnbench.report.page import html as page_html
from fnbench.report.page import report
from tests.results import Turned, sphere_store
from tests.test_report import Page

HOSTILE = "<img src=x onerror=alert(1)>|_[a](b)_`"
PRINTED = ("mean_sub", "mean_img", "mean_px", "median_px", "acc@20_px", "acc@25_px", "acc@30_px")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with sphere_store(tmp_path_factory.mktemp("store") / "s.h5", 12, 2) as store:
        models = [Turned(12.3456, 0.7, HOSTILE), Turned(3.21, 0.9, "better"), Turned(25.0, 0.8, "third")]
        return [evaluate(model, store) for model in models]


@pytest.fixture(scope="module")
def out(tmp_path_factory, results):
    folder = tmp_path_factory.mktemp("board")
    (folder / "spheres.html").write_text("report")
    reported = folder / "reported"
    reported.mkdir()
    (reported / "spheres.csv").write_text(
        "dataset,method,year,mean,std,acc20,acc25,acc30,finetuned_on_dataset,source,caveat,median,acc5,acc11_25,acc22_5\n"
        "spheres,<b>Other,2020,22.0,6.5,49.0,,,no,a paper,reprint,,,,\n"
    )
    paths = write_leaderboard(results, folder, reported=reported)
    assert [path.name for path in paths] == ["spheres.csv", "spheres.md", "index.html"]
    return folder


def cells_of_markdown(text):
    """Rows of the first table: heading -> text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    end = next((i for i, row in enumerate(split[2:], 2) if len(row) != len(split[0])), len(split))
    return [dict(zip(split[0], row, strict=True)) for row in split[2:end]]


def test_page_csv_markdown_index_and_record_agree_to_the_last_digit(results, out, tmp_path):
    for record in results:
        write_record(record, tmp_path)
    by_name = {}
    for path in tmp_path.glob("*.json"):
        stated = json.loads(path.read_text())
        by_name[stated["model"]] = stated["metrics"], stated["intervals"]
    table = pandas.read_csv(out / "spheres.csv").set_index("model")
    marked = {row["model"]: row for row in cells_of_markdown((out / "spheres.md").read_text())}
    escaped = {"better": "better", "third": "third"}
    escaped[HOSTILE] = r"&lt;img src=x onerror=alert(1)&gt;\|\_\[a\](b)\_\`"
    shown, listed = Page(page_html(report(results).page)), Page((out / "index.html").read_text())
    ranked = sorted(by_name, key=lambda name: by_name[name][0]["mean_sub"])

    def column(page, table, key):
        return [text for name, given, text in page.cells if name == table and given.get("data-key") == key]

    checked = 0
    for metric in PRINTED:
        in_page = column(shown, "headline", metric)
        in_index = column(listed, "", metric)
        assert in_page == in_index
        for place, name in enumerate(ranked):
            metrics, intervals = by_name[name]
            digits = words.digits_of(metric)
            printed = f"{metrics[metric]:.{digits}f}"
            bounds = [f"{bound:.{digits}f}" for bound in intervals[metric]]
            numbers = re.findall(r"\d+\.\d+", in_page[place])
            assert numbers[0] == printed
            assert numbers[-2:] == bounds
            unit = words.unit_of(metric)
            cell = marked[escaped[name]][f"{metric} ({unit})"]
            assert re.findall(r"\d+\.\d+", cell)[0] == printed
            assert cell.endswith(f"({bounds[0]} to {bounds[1]})")
            assert table.loc[name, metric] == round(metrics[metric], 4)  # the CSV holds four digits
            checked += 1
    assert checked == len(PRINTED) * 3
    everything = column(shown, "numbers", "grad_l1_sub")
    assert [text.split()[0] for text in everything] == [f"{by_name[name][0]['grad_l1_sub']:.4f}" for name in ranked]


def test_reported_rows_are_marked_and_never_ranked(out):
    text = (out / "spheres.md").read_text()
    measured, reported = text.split("Reported by others, not measured by fnbench and not ranked:")
    assert "Other" not in measured
    assert "| &lt;b&gt;Other | 2020 | 22.0 | 6.5 | 49.0 | a paper | reprint |" in reported
    page = (out / "index.html").read_text()
    assert '&lt;b&gt;Other<span class="tag">reported</span>' in page
    assert "<b>Other" not in page


def test_names_cannot_break_the_tables(out):
    page = Page((out / "index.html").read_text())
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert all(tag != "img" for tag, _ in page.tags)
    rows = cells_of_markdown((out / "spheres.md").read_text())
    assert len(rows) == 3
    assert "<img" not in (out / "spheres.md").read_text()


def test_files_of_the_training_data_are_counted_and_their_hashes_stay_within_reach(results, tmp_path):
    hashes = ["0d9cded4ff95", "c09bf7a4d020", "7ed679101e40"]
    declared = f"9 pairs of the train split of ict {', ict '.join(hashes)}; 4 images of w300"
    stated = {**results[1].provenance, "model": {**results[1].provenance["model"], "training_data": declared}}
    record = dataclasses.replace(results[1], provenance=stated)

    write_leaderboard([record], tmp_path)

    page, plain = (tmp_path / "index.html").read_text(), (tmp_path / "spheres.md").read_text()
    short = "9 pairs of the train split of ict (3 files); 4 images of w300"
    assert f'title="{declared}">{short}' in page
    assert short in plain
    assert hashes[1] not in plain
    assert declared in (tmp_path / "spheres.csv").read_text()


def test_reports_are_linked(out):
    assert 'href="spheres.html"' in (out / "index.html").read_text()
    assert "(spheres.html)" in (out / "spheres.md").read_text()


def test_several_protocols_get_tables_of_their_own(results, tmp_path):
    other = [dataclasses.replace(results[1], protocol="face-2020", mask="hull68", mask_hash="0" * 64)]
    with pytest.raises(InvalidRecordError, match="cannot stand in one table: protocol: fnbench-1 and face-2020"):
        write_leaderboard([*results, *other], tmp_path)
    paths = write_leaderboard([*results, *other], tmp_path, protocols=("fnbench-1", "face-2020"))
    assert {path.name for path in paths} == {
        *("spheres-fnbench-1.csv", "spheres-face-2020.csv", "spheres-fnbench-1.md", "spheres-face-2020.md"),
        "index.html",
    }
    page = html.unescape((tmp_path / "index.html").read_text())
    assert 'data-protocol="face-2020 v1"' in page
    with pytest.raises(InvalidRecordError, match="No records under protocol 'x'; there are records under fnbench-1"):
        write_leaderboard(results, tmp_path, protocols=("x",))


def test_the_verb_writes_all_three_and_equal_records_give_equal_bytes(results, tmp_path):
    for record in results:
        write_record(record, tmp_path / "records")
    for name in ("a", "b"):
        result = CliRunner().invoke(
            main, ["leaderboard", "--records", str(tmp_path / "records"), "--out", str(tmp_path / name)]
        )
        assert result.exit_code == 0, result.output
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert pandas.read_csv(tmp_path / "a" / "spheres.csv")["rank"].tolist() == [1, 2, 3]


def test_what_others_alone_reported_is_listed_on_request_and_marked(results, tmp_path):
    write_leaderboard(results, tmp_path / "without")
    assert "Photoface" not in (tmp_path / "without" / "index.html").read_text()
    names = {path.name for path in write_leaderboard(results, tmp_path / "with", unmeasured=True)}
    assert names == {"spheres.csv", "spheres.md", "index.html"}
    text = (tmp_path / "with" / "index.html").read_text()
    board = text[text.index('id="photoface"') :]
    assert "No record yet: the numbers below are what others printed." in board
    assert 'Pix2Vertex<span class="tag">reported</span>' in board
    assert "3 measured results in 1 table," in text


def test_one_record_alone_is_a_table(results, tmp_path):
    write_leaderboard(results[:1], tmp_path)
    table = pandas.read_csv(tmp_path / "spheres.csv")
    assert (table["rank"].tolist(), table["tie_group"].tolist()) == ([1], [1])
    assert "1 measured result in 1 table," in (tmp_path / "index.html").read_text()


def test_bad_records_are_refused_in_one_line_and_nothing_is_written(results, tmp_path):
    def answer(*records):
        for record in records:
            write_record(record, tmp_path / "records" / record.protocol)
        command = ["leaderboard", "--records", str(tmp_path / "records"), "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, result.output
        assert result.output.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return result.output

    (tmp_path / "records").mkdir()
    assert "no records found" in answer()
    other = dataclasses.replace(results[2], protocol="face-2020", mask="hull68")
    message = answer(results[1], other)
    assert "third and better on spheres cannot stand in one table: protocol: face-2020 and fnbench-1" in message
    (tmp_path / "records" / "face-2020" / "third.json").unlink()
    (tmp_path / "records" / "fnbench-1" / "better.samples.parquet").unlink()
    assert "Record of better on spheres: the per-sample table is missing" in answer()
    path = tmp_path / "records" / "fnbench-1" / "better.json"
    path.write_text(re.sub(r'"mean_px": (\d)', r'"mean_px": 1\1', path.read_text()))
    assert "better.json: Record of better on spheres: impossible numbers: " in answer()
