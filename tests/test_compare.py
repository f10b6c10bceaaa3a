"""Two records side by side, and a record beside reported numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from fnbench import catalog
from fnbench.cli import main
from fnbench.compare import compare
from fnbench.errors import InvalidRecordError, UnknownNameError
from fnbench.evaluate import evaluate
from fnbench.record import EvalResult, write_record
from fnbench.reproduce import COLUMNS, reported_rows, reproduce, reproductions
from tests.results import Turned, landmarks_of, sphere_result, sphere_store


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvalResult, EvalResult]:
    with sphere_store(tmp_path_factory.mktemp("compare") / "s.h5", 12) as store:
        return evaluate(Turned(10, 0.5, "better"), store), evaluate(Turned(13, 0.5, "worse"), store)


def test_a_paired_comparison_is_surer_than_two_intervals(results: tuple[EvalResult, EvalResult]) -> None:
    found = compare(*results)
    assert found.differences["mean_sub"] == pytest.approx(-3, abs=0.01)
    low, high = found.intervals["mean_sub"]
    assert low <= -3 + 0.01
    assert high >= -3 - 0.01
    assert high - low < 0.1  # the jitter of the images is the same in both
    assert (found.overall.lower, found.overall.higher) == (12, 0)
    assert found.overall.p == pytest.approx(2 / 2**12)
    assert found.differences == {
        name: results[0].metrics[name] - results[1].metrics[name] for name in found.differences
    }


def test_regions_are_compared_each_and_corrected_together(results: tuple[EvalResult, EvalResult]) -> None:
    found = compare(*results)
    assert set(found.regions) == {"nose", "eye sockets", "cheeks", "forehead", "mouth", "chin", "jaw border"}
    assert all(region.lower == 12 for region in found.regions.values())
    assert all(region.p == pytest.approx(7 * 2 / 2**12) for region in found.regions.values())


def test_the_text_names_the_better_one_or_nobody(results: tuple[EvalResult, EvalResult]) -> None:
    assert "better has the smaller error: p 0.0005" in compare(*results).text()
    assert "better has the smaller error" in compare(*reversed(results)).text()
    assert "No difference" in compare(results[0], results[0]).text()


def test_too_few_subjects_are_said_to_be_too_few(tmp_path: Path) -> None:
    result = sphere_result(tmp_path, subjects=4)
    assert "no interval: 4 subjects" in compare(result, result).text()


def test_fm49_records_of_different_runs_are_refused_with_the_differences(
    results: tuple[EvalResult, EvalResult], tmp_path: Path
) -> None:
    other = sphere_result(tmp_path, subjects=3)
    with pytest.raises(InvalidRecordError, match="cannot be compared: .*data_hash: ") as caught:
        compare(results[0], other)
    assert caught.value.code == "FM-49"
    changed = dataclasses.replace(results[1], protocol="face-2020", mask="hull68")
    with pytest.raises(InvalidRecordError, match="protocol: fnbench-1 and face-2020; mask: face and hull68"):
        compare(results[0], changed)


def test_fm32_records_of_two_versions_of_the_truth_are_refused(
    results: tuple[EvalResult, EvalResult], tmp_path: Path
) -> None:
    changed = dataclasses.replace(results[1], data_hash="0" * 64)
    with pytest.raises(InvalidRecordError, match=rf"data_hash: {results[0].data_hash} and 0+"):
        compare(results[0], changed)


def test_the_verb_prints_the_comparison(results: tuple[EvalResult, EvalResult], tmp_path: Path) -> None:
    paths = [str(write_record(result, tmp_path)) for result in results]
    run = CliRunner().invoke(main, ["compare", *paths])
    assert run.exit_code == 0, run.output
    assert "better minus worse" in run.output
    assert "forehead" in run.output


# Reported numbers


def test_every_reported_row_has_a_source_and_a_caveat() -> None:
    tables = sorted((catalog.folder("leaderboard") / "reported").glob("*.csv"))
    assert len(tables) == 7
    rows = [row for table in tables for row in reported_rows(table.stem)]
    assert len(rows) == 45
    assert all(row["source"] and row["caveat"] and row["method"] for row in rows)
    for row in rows:
        assert all(0 <= float(row[column]) <= 100 for column in COLUMNS if row[column])


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> EvalResult:
    folder = tmp_path_factory.mktemp("reproduce")
    with sphere_store(folder / "s.h5", 3, 1, 256, landmarks=landmarks_of(256)) as store:
        result = evaluate(Turned(11.3, 0.0, "crossmodal"), store, protocol="face-2020")
    return dataclasses.replace(result, dataset="florence")


def test_a_number_within_the_tolerance_agrees_and_another_does_not(face: EvalResult) -> None:
    (found,) = reproductions("crossmodal", "florence", [face])
    assert found.method == "Cross-modal"
    checks = {check.name: check for check in found.checks}
    assert checks["mean_img"].agrees
    assert (checks["mean_img"].reported, checks["mean_img"].tolerance) == (11.3, 0.5)
    assert not checks["acc@20_px"].agrees  # every pixel is below 20 here
    assert found.verdict == "partly reproduced"
    assert "not checked against the CVPR 2020 PDF" in found.text()


def test_everything_within_the_tolerance_is_reproduced(face: EvalResult) -> None:
    row = {**dict.fromkeys(COLUMNS, ""), "method": "m", "source": "s", "caveat": "c", "mean": "11.6", "acc20": "99"}
    assert reproduce(face, row).verdict == "reproduced"
    assert reproduce(face, {**row, "mean": "12.0", "acc20": "90"}).verdict == "not reproduced"


def test_another_protocol_cannot_be_compared(face: EvalResult) -> None:
    other = dataclasses.replace(face, protocol="fnbench-1", mask="face")
    (found,) = reproductions("crossmodal", "florence", [other])
    assert found.verdict == "not comparable"
    assert "the record follows fnbench-1" in found.reasons[0]


def test_unknown_rows_and_records_are_told(face: EvalResult) -> None:
    with pytest.raises(InvalidRecordError, match="No record of sfsnet on florence; found: crossmodal on florence"):
        reproductions("sfsnet", "florence", [face])
    with pytest.raises(UnknownNameError, match="Reported there: .*PRNet"):
        reproductions("crossmodal", "florence", [face], method="Nobody")


def test_the_verb_prints_the_verdict(face: EvalResult, tmp_path: Path) -> None:
    write_record(face, tmp_path)
    run = CliRunner().invoke(main, ["reproduce", "crossmodal", "florence", "--records", str(tmp_path)])
    assert run.exit_code == 0, run.output
    assert "verdict: partly reproduced" in run.output
