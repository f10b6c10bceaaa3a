"""Records: what was written comes back, and what cannot be true is refused on load."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from fnbench.errors import InvalidRecordError
from fnbench.metrics import image_metrics
from fnbench.record import (
    EvalResult,
    contradictions,
    differing,
    file_name,
    read_record,
    read_records,
    shipped_records,
    smallest_std,
    tallies,
    write_record,
)
from fnbench.reproduce import reported_rows
from tests.results import sphere_result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> EvalResult:
    return sphere_result(tmp_path_factory.mktemp("record"))


@pytest.fixture
def path(result: EvalResult, tmp_path: Path) -> Path:
    return write_record(result, tmp_path / "run")


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


def test_every_row_recomputes_its_own_numbers(result: EvalResult) -> None:
    assert result.samples is not None
    for row, one in zip(result.samples.to_dict("records"), tallies(result.samples), strict=True):
        for name, value in image_metrics(one).items():
            assert row[name] == value, name


def test_writing_twice_gives_the_same_bytes_but_for_the_times(result: EvalResult, tmp_path: Path) -> None:
    first, second = (write_record(result, tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert (
        first.with_name("turned-10.samples.parquet").read_bytes()
        == second.with_name("turned-10.samples.parquet").read_bytes()
    )


def test_the_per_sample_table_opens_without_fnbench(path: Path) -> None:
    table = pandas.read_parquet(path.with_name("turned-10.samples.parquet"))
    assert {"id", "subject", "n", "mean", "median", "acc@20", "histogram", "group_n"} <= set(table.columns)
    assert list(table["histogram"].map(sum)) == list(table["n"])


def test_the_json_holds_the_provenance(path: Path) -> None:
    data = json.loads(path.read_text())
    assert data["record"] == "fnbench-record/1"
    assert data["provenance"]["fnbench"]["metrics"] == "1"
    assert set(data["provenance"]) == {"fnbench", "model", "settings", "statistics", "data", "environment", "seconds"}
    assert {"numpy", "numba", "h5py"} <= set(data["provenance"]["environment"]["libraries"])
    assert len(data["data_hash"]) == len(data["split_hash"]) == len(data["mask_hash"]) == 64
    assert data["started"] <= data["finished"]


def test_a_record_without_its_table_can_be_read_but_not_taken_apart(path: Path) -> None:
    path.with_name("turned-10.samples.parquet").unlink()
    record = read_record(path)
    assert record.samples is None
    with pytest.raises(InvalidRecordError, match="per-sample table is missing"):
        record.subject_values()


def test_the_table_of_another_run_is_refused(path: Path, tmp_path: Path) -> None:
    other = write_record(sphere_result(tmp_path, degrees=20.0), tmp_path / "other")
    other.with_name("turned-20.samples.parquet").replace(path.with_name("turned-10.samples.parquet"))
    with pytest.raises(InvalidRecordError, match="not the table that was written with this record"):
        read_record(path)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda d: d["metrics"].update(median_px=170.0), "median"),
        (lambda d: d["metrics"].update({"acc@11.25_px": 0.0}), "acc@10 .*above acc@11.25|median .* contradicts"),
        (lambda d: d["metrics"].update(mean_px=60.0), "mean"),
        (lambda d: d["metrics"].update(mean_img=d["metrics"]["mean_img"] + 0.01), "mean_img is .*the samples give"),
        (lambda d: d["metrics"].update(std_px=90.0), "std|rmse"),
        (lambda d: d["counts"].update(pixels=d["counts"]["pixels"] + 1), "pixels is .*the samples add up to"),
        (lambda d: d["counts"].update(images=25), "images"),
        (lambda d: d["metrics"].pop("rmse_px"), "metric rmse_px is missing"),
        (lambda d: d["metrics"].update(mean_px=None), "metric mean_px is None"),
        (lambda d: d["metrics"].update(mean_px=-1.0), "mean_px is -1"),
        (lambda d: d["counts"].pop("subjects"), "count subjects is missing"),
        (lambda d: d.pop("protocol"), "protocol is missing"),
        (lambda d: d.update(record="fnbench-record/9"), "record schema 'fnbench-record/9'"),
    ],
)
def test_fm57_impossible_numbers_are_refused_on_load(path: Path, change: Callable[[Any], object], rule: str) -> None:
    with pytest.raises(InvalidRecordError, match=rule):
        read_record(edited(path, change))


def test_fm57_the_rules_without_any_sample() -> None:
    assert contradictions({"median_px": 15.27, "acc@30_px": 45.21}) == [
        "median 15.27 contradicts acc@30 of 45.21 % (px)"
    ]
    assert "acc@11.25 70 is above acc@22.5 60 (px)" in contradictions({"acc@11.25_px": 70.0, "acc@22.5_px": 60.0})
    assert contradictions({"mean_px": float("nan")}) == ["mean_px is nan"]
    assert contradictions({"mean_px": 5.0, "acc@20_px": 10.0})[0].startswith("no errors have the mean 5")
    assert contradictions({"mean_px": 12.0, "std_px": 1.0, "acc@20_px": 80.0})[0].startswith("std 1 is below 4")
    assert contradictions({"mean_px": 12.0, "std_px": 9.0, "acc@20_px": 80.0}) == []


def test_the_smallest_std_is_that_of_the_best_distribution() -> None:
    """80 % at 10 and 20 % at 20 has the mean 12; nothing with 20 % at or above 20 is narrower."""
    assert smallest_std(12.0, {20: 80.0}) == pytest.approx(4.0, abs=1e-6)
    assert smallest_std(10.0, {20: 100.0}) == pytest.approx(0.0, abs=1e-6)


def test_reported_spreads_fall_below_the_pooled_bound_where_their_caveat_says_so() -> None:
    """The caveats of the reported tables quote this bound; it is recomputed here."""
    checked = 0
    for dataset in ("photoface", "florence"):
        for row in reported_rows(dataset):
            if "bound" not in row["caveat"]:
                continue
            quoted = float(row["caveat"].split("bound ")[1].split(" ")[0].rstrip(")"))
            shares = {t: float(row[f"acc{t}"]) for t in (20, 25, 30)}
            assert smallest_std(float(row["mean"]), shares) == pytest.approx(quoted, abs=0.06), row["method"]
            assert float(row["std"]) < quoted
            checked += 1
    assert checked >= 5


def test_reading_a_folder_finds_the_records_and_nothing_else(result: EvalResult, tmp_path: Path) -> None:
    write_record(result, tmp_path / "a")
    (tmp_path / "notes.json").write_text("{}")
    assert [record.model for record in read_records(tmp_path)] == ["turned-10"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRecordError, match="no records found"):
        read_records(tmp_path / "empty")


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("not json")
    with pytest.raises(InvalidRecordError, match="cannot be read as a record"):
        read_record(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("[1]")
    with pytest.raises(InvalidRecordError, match="record schema 'list'"):
        read_record(tmp_path / "b.json")


def test_differences_in_identity_are_named(result: EvalResult, tmp_path: Path) -> None:
    other = sphere_result(tmp_path, subjects=3)
    assert differing(result, result) == []
    assert any(text.startswith("data_hash: ") for text in differing(result, other))


def test_names_make_files() -> None:
    assert file_name("tests/est.py:Face Mesh") == "tests-est.py-Face-Mesh"
    assert file_name("...") == "model"


def test_without_shipped_records_a_folder_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("fnbench.catalog.folder", lambda _: tmp_path)
    with pytest.raises(InvalidRecordError, match="No records come with this version. Give a folder of your own"):
        shipped_records()
