"""Tables derive from records: ranked, tied where the tests say so, and never mixed."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from fnbench.cli import main
from fnbench.errors import InvalidRecordError
from fnbench.evaluate import evaluate
from fnbench.leaderboard import COLUMNS, METRICS, boards, write_boards
from fnbench.record import write_record
from tests.results import Turned, sphere_store


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with sphere_store(tmp_path_factory.mktemp("store") / "s.h5", 12, 1) as store:
        return [evaluate(Turned(degrees, name=name), store) for name, degrees in (("worse", 12.0), ("better", 3.0))]


def test_rows_are_ranked_by_the_headline_and_hold_the_numbers_of_the_records(results):
    (table,) = boards(results).values()
    assert list(table.columns) == list(COLUMNS)
    assert list(table["model"]) == ["better", "worse"]
    assert list(table["rank"]) == [1, 2]
    assert list(table["tie_group"]) == [1, 2]
    for record in results:
        row = table[table["model"] == record.model].iloc[0]
        for name in METRICS:
            assert row[name] == round(record.metrics[name], 4)
        assert (row["interval_low"], row["interval_high"]) == tuple(
            round(bound, 4) for bound in record.intervals["mean_sub"]
        )


def test_equal_results_share_a_tie_group(results):
    twin = dataclasses.replace(results[0], model="twin")
    (table,) = boards([*results, twin]).values()
    assert list(table["tie_group"]) == [1, 2, 2]
    assert list(table["rank_low"]) == [1, 2, 2]
    assert list(table["rank_high"]) == [1, 3, 3]


def test_numbers_are_written_as_numbers_and_equal_records_give_equal_bytes(results, tmp_path):
    (first,) = write_boards(boards(results), tmp_path / "a")
    (second,) = write_boards(boards(results[::-1]), tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    table = pandas.read_csv(first)
    assert table["rank"].dtype == np.int64
    assert table["mean_px"].dtype == np.float64
    assert table["images"].dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "face-2020", "mask": "hull68"}, "protocol: .*fnbench-1.*mask: "),
        ({"data_hash": "0" * 64}, "data_hash: "),
        ({"metric_version": "0"}, "metric_version: "),
        ({"model": "better"}, "more than one record"),
    ],
)
def test_fm49_what_does_not_belong_together_is_refused(results, changes, message):
    with pytest.raises(InvalidRecordError, match=message):
        boards([results[1], dataclasses.replace(results[0], **changes)])


def test_one_protocol_can_be_chosen(results):
    other = dataclasses.replace(results[0], protocol="face-2020", mask="hull68")
    (table,) = boards([*results, other], "fnbench-1").values()
    assert len(table) == 2
    with pytest.raises(InvalidRecordError, match="No records to rank under protocol 'fnbench-9'"):
        boards(results, "fnbench-9")


def test_fm50_a_partial_result_is_not_ranked(tmp_path):
    with sphere_store(tmp_path / "s.h5", 12, 1) as store:
        partial = evaluate(Turned(5.0, name="partial"), store, limit=3)
    with pytest.raises(InvalidRecordError, match="3 of 12 images were scored"):
        boards([partial])


def test_reported_numbers_stand_below_without_a_rank(results, tmp_path):
    (tmp_path / f"{results[0].dataset}.csv").write_text(
        "dataset,method,year,mean,std,acc20,acc25,acc30,finetuned_on_dataset,source,caveat,median,acc5,acc11_25,acc22_5\n"
        "x,Theirs,2020,1.0,0.5,99,99.5,,no,a paper,a reprint,,,,\n"
    )
    (table,) = boards(results, reported=tmp_path).values()
    row = table.iloc[-1]
    assert (row["model"], row["kind"], row["mean_reported"]) == ("Theirs", "reported", 1.0)
    assert pandas.isna(row["rank"])
    assert table[list(METRICS)].iloc[-1].isna().all()
    text = write_boards({"x": table}, tmp_path / "out")[0].read_text()
    assert pandas.read_csv(io.StringIO(text))["year"].iloc[-1] == 2020


def test_the_verb_reads_records_and_says_where_the_tables_are(results, tmp_path):
    for record in results:
        write_record(record, tmp_path / "records" / "test")
    answer = CliRunner().invoke(
        main, ["leaderboard", "--records", str(tmp_path / "records"), "--out", str(tmp_path / "board")]
    )
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "board" / f"{results[0].dataset}.csv").is_file()


def test_no_records_is_one_line(tmp_path):
    answer = CliRunner().invoke(main, ["leaderboard", "--records", str(tmp_path), "--out", str(tmp_path / "board")])
    assert answer.exit_code == 2
    assert "no records found" in answer.output
