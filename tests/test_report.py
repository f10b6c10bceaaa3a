"""The report: its numbers are those of the records, its maps those of the file, and names are only ever text."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fnbench.cli import main
from fnbench.errors import InvalidRecordError, InvalidSettingError, InvalidStoreError
from fnbench.evaluate import evaluate
from fnbench.metrics import FAMILIES, IMAGE_METRICS, angular_error
from fnbench.record import read_record, write_record
from fnbench.report import gallery as gallery_module
from fnbench.report import words
from fnbench.report.figures import write_figures
from fnbench.report.gallery import chosen, face_map, gallery, kept_pixels
from fnbench.report.page import Choices, report
from fnbench.report.page import html as page_html
from fnbench.report.planes import error_plane, normal_planes, packed, unpacked
from fnbench.report.sources import Sources, predictors, running, sources_from
from tests.results import Turned, sphere_normals, sphere_store, turned

HOSTILE = "<img src=x onerror=\"document.title='broken'\"></script><script>alert(1)</script>{{7*7}}"
SIZE = 40


class Better(Turned):
    """Errs less than its neighbour, and on the left half of the image only."""

    def predict(self, images):
        truth = sphere_normals(images.shape[1])
        half = turned(truth, self.degrees)
        half[:, images.shape[2] // 2 :] = truth[:, images.shape[2] // 2 :]
        return np.stack([half] * len(images))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with sphere_store(tmp_path_factory.mktemp("report") / "spheres.h5", 12, 3, SIZE) as opened:
        yield opened


@pytest.fixture(scope="module")
def models():
    return {
        "turned": Turned(12.0, 0.7, "turned"),
        HOSTILE: Turned(9.0, 0.4, HOSTILE),
        "$half$": Better(14.0, 0.0, "$half$"),
    }


@pytest.fixture(scope="module")
def records(store, models):
    return [evaluate(model, store) for model in models.values()]


@pytest.fixture(scope="module")
def made(records, store, models):
    return report(records, store, {name: running(model, store) for name, model in models.items()})


@pytest.fixture(scope="module")
def text(made):
    return page_html(made.page)


class Page(HTMLParser):
    """The elements of a page: tables as rows of texts, scripts by id."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.cells, self.here, self.table = [], {}, [], None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "script":
            self.here = ("script", attributes.get("id", ""))
            self.scripts[self.here[1]] = ""
        if tag == "table":
            self.table = attributes.get("id", "")
        if tag == "small" and self.here == ("cell", None):
            self.cells[-1][2] += " "
        if tag in ("td", "th") and self.table is not None:
            self.cells.append([self.table, attributes, ""])
            self.here = ("cell", None)

    def handle_endtag(self, tag):
        if tag in ("script", "td", "th"):
            self.here = None

    def handle_data(self, data):
        if self.here and self.here[0] == "script":
            self.scripts[self.here[1]] += data
        elif self.here:
            self.cells[-1][2] += data


integers = arrays(
    np.int32, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1800, 1800)
)


@given(integers)
def test_planes_come_back_as_they_were(planes):
    np.testing.assert_array_equal(unpacked(packed(planes), planes.shape), planes)


def test_normals_come_back_with_the_digits_of_the_page():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(19, 23, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    mask = rng.random((19, 23)) > 0.3
    planes = normal_planes(normals, mask)
    np.testing.assert_array_equal(planes, np.moveaxis(np.where(mask[..., None], np.rint(normals * 1000), 0), -1, 0))
    labelled = np.concatenate([planes, rng.integers(0, 8, (1, 19, 23), np.int32)])
    np.testing.assert_array_equal(unpacked(packed(labelled, normals=True), labelled.shape, normals=True), labelled)


def test_the_maps_of_the_page_are_those_of_the_file(made, text, store, models):
    scripts = Page(text).scripts
    data = json.loads(scripts["data"])
    names = [model.name for model in made.page.models]
    for place, sample in enumerate(data["samples"]):
        shape = (sample["height"], sample["width"])
        assert shape == (SIZE, SIZE)
        index = store.ids.index(sample["id"])
        known = store[index]
        target = unpacked(scripts[f"t{place}"], (4, *shape), normals=True)
        np.testing.assert_array_equal(target[:3], normal_planes(known.target.normals, known.target.mask))
        np.testing.assert_array_equal(target[3], known.region)
        for column, name in enumerate(names):
            (predicted,) = models[name].predict(known.image[None] / np.float32(255))
            errors = angular_error(predicted, known.target.normals)
            mask = known.target.mask & (known.region > 0)
            np.testing.assert_array_equal(
                unpacked(scripts[f"p{place}-{column}"], (3, *shape), normals=True),
                normal_planes(predicted, known.target.mask),
            )
            np.testing.assert_array_equal(
                unpacked(scripts[f"e{place}-{column}"], (1, *shape)), error_plane(errors, mask)
            )


def test_numbers_of_the_page_are_those_of_the_records(made, text, records):
    cells = [cell for cell in Page(text).cells if cell[0] == "numbers" and "data-key" in cell[1]]
    by_name = {record.model: record for record in records}
    ordered = [by_name[model.name] for model in made.page.models]
    expected = [(f"{name}_{family}", record) for name in IMAGE_METRICS for record in ordered for family in FAMILIES]
    assert len(cells) == len(expected)
    for (_, attributes, printed), (name, record) in zip(cells, expected, strict=True):
        assert attributes["data-key"] == name
        value = words.number(name, record.metrics[name])
        assert printed == f"{value} {words.interval(name, record.intervals.get(name))}".strip()
        if value != words.NOTHING:
            assert value == f"{record.metrics[name]:.{words.digits_of(name)}f}"


def test_the_headline_table_is_ranked_and_complete(made, text, records):
    by_name = {record.model: record for record in records}
    rows = [row.model.name for row in made.page.rows]
    assert rows == sorted(rows, key=lambda name: by_name[name].metrics["mean_sub"])
    headline = [cell for cell in Page(text).cells if cell[0] == "headline" and "data-key" in cell[1]]
    keys = {attributes["data-key"] for _, attributes, _ in headline}
    assert {"mean_px", "mean_img", "mean_sub", "acc@20_px", "rank", "tie_group", "coverage", "floor"} <= keys
    for _, attributes, _ in headline:
        assert float(attributes["data-sort"]) >= 0  # every column sorts by a number


def test_the_curve_goes_through_the_accuracies_and_its_band_holds_it(made, records):
    by_name = {record.model: record for record in records}
    degrees = list(made.page.degrees)
    for curve in made.page.curves:
        record = by_name[curve.model.name]
        for threshold in (5, 7.5, 10, 20, 22.5, 25, 30):
            assert curve.share[degrees.index(threshold)] == pytest.approx(record.metrics[f"acc@{threshold:g}_px"])
            low, high = record.intervals[f"acc@{threshold:g}_px"]
            assert curve.low[degrees.index(threshold)] == pytest.approx(low)
            assert curve.high[degrees.index(threshold)] == pytest.approx(high)
        assert (np.diff(curve.share) >= 0).all()
        assert (curve.low <= curve.share + 1e-9).all()
        assert (curve.share <= curve.high + 1e-9).all()


def test_breakdowns_recombine_to_the_record(made, records):
    by_name = {record.model: record for record in records}
    for model, heats in zip(made.page.models, made.page.heats, strict=True):
        record = by_name[model.name]
        rows = {(row["breakdown"], row["bin"]): row["metrics"].get("mean_px") for row in record.breakdowns}
        yaw = heats[0]
        assert yaw.title == "Region by yaw"
        assert float(yaw.lines[0].cells[0].sort) == pytest.approx(record.metrics["mean_px"])
        for line in yaw.lines[1:]:
            assert float(line.cells[0].sort) == pytest.approx(rows["region", line.name])
        for name, cell in zip(yaw.columns[1:], yaw.lines[0].cells[1:], strict=True):
            assert float(cell.sort) == pytest.approx(rows["yaw", name])


def test_an_empty_bin_says_so(store, records):
    only = report(records[:1]).page.heats[0]
    facing = next(heat for heat in only if heat.title.startswith("Facing"))
    assert {line.name for line in facing.lines} <= {"all", "0-15°", "15-30°", "30-45°", "45-60°", "60-75°", "75-90°"}
    cells = [cell for heat in only for line in heat.lines for cell in line.cells]
    assert all(cell.text == "no data" for cell in cells if cell.shade == "none")


def test_names_are_only_ever_text(text):
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert "alert(1)" not in "".join(code for name, code in page.scripts.items() if name == "")
    assert all(attributes.get("src", "").startswith(("data:", "")) for tag, attributes in page.tags if tag == "img")
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert not any(attributes.get("src") == "x" for _, attributes in page.tags)
    assert "49" not in html.unescape(re.search(r"<h1>.*?</h1>", text, re.S)[0])
    assert HOSTILE in [row for cell in page.cells for row in [cell[2]]] or any(
        HOSTILE in cell[2] for cell in page.cells
    )
    assert names.count("script") == text.count("<script")


def test_the_page_loads_nothing_and_its_policy_allows_nothing(text):
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:", "#")), (tag, name, value[:60])
        assert "style" not in attributes, "the policy forbids inline styles"
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_groups_are_worst_best_and_an_unbiased_draw(records):
    record = records[0]
    groups = chosen(record, seed=1)
    means = dict(zip(record.samples["id"], record.samples["mean"], strict=True))
    assert [len(ids) for ids in groups.values()] == [24, 6, 24]
    assert groups["worst"] == sorted(means, key=lambda name: (-means[name], name))[:24] or means[
        groups["worst"][0]
    ] == max(means.values())
    assert [means[name] for name in groups["worst"]] == sorted(means.values(), reverse=True)[:24]
    assert [means[name] for name in groups["best"]] == sorted(means.values())[:6]
    assert chosen(record, seed=1) == groups
    assert chosen(record, seed=2)["random"] != groups["random"]


def test_maps_are_thinned_to_the_budget_and_every_pixel_kept_is_a_pixel_of_the_file(made, records, store):
    ordered = [next(r for r in records if r.model == m.name) for m in made.page.models]
    small = gallery(made.groups, made.shown, ordered, made.page.models[0], budget=1)
    # The smallest side is larger than these maps: nothing is thinned below the file.
    assert (small.samples[0].width, small.samples[0].height) == (SIZE, SIZE)
    assert kept_pixels(256, 128).tolist() == list(range(1, 256, 2))
    assert kept_pixels(5, 5).tolist() == list(range(5))


def test_large_noisy_maps_stay_within_the_budget(monkeypatch, records, made):
    rng = np.random.default_rng(0)

    def noise():
        normals = rng.normal(size=(300, 200, 3))
        return normals / np.linalg.norm(normals, axis=-1, keepdims=True)

    known = np.ones((300, 200), bool)
    shown = [
        dataclasses.replace(
            one,
            image=rng.integers(0, 256, (300, 200, 3), np.uint8),
            target=noise().astype(np.float32),
            known=known,
            mask=known,
            region=np.zeros((300, 200), np.uint8),
            predicted=[noise()],
            errors=[rng.uniform(0, 180, (300, 200))],
        )
        for one in made.shown[:6]
    ]
    found = gallery({"worst": [one.id for one in shown]}, shown, records[:1], made.page.models[0], budget=1_000_000)
    assert 64 <= found.samples[0].height < 256
    assert sum(gallery_module._size(one) for one in found.samples) <= 1_000_000
    one = found.samples[0]
    rows, columns = kept_pixels(300, one.height), kept_pixels(200, one.width)
    kept = unpacked(one.target, (4, one.height, one.width), normals=True)
    np.testing.assert_array_equal(kept[:3], normal_planes(shown[0].target, known)[:, rows][:, :, columns])


def test_the_face_map_shows_where_a_model_errs(made):
    ring = np.stack([np.cos(np.linspace(0, 6, 68)), np.sin(np.linspace(0, 6, 68))], -1) * 15 + SIZE / 2
    errs = np.where(np.arange(SIZE) < SIZE // 2, 14.0, 0.0) * np.ones((SIZE, 1))
    shown = [
        dataclasses.replace(one, landmarks=ring.astype(np.float32), errors=[errs, np.zeros_like(errs)])
        for one in made.shown[:8]
    ]
    face = face_map(shown, 0, 1)
    known = np.isfinite(face.difference)
    middle = face.difference.shape[1] // 2
    left, right = (slice(0, middle - 8), slice(middle + 8, None))
    assert face.samples == 8
    assert np.median(face.difference[:, left][known[:, left]]) == pytest.approx(14, abs=0.01)
    assert np.median(face.difference[:, right][known[:, right]]) == pytest.approx(0, abs=0.01)
    assert face.scale == 20
    assert face_map(shown[:2], 0, 1) is None


def test_two_records_are_compared(records):
    page = report(records[:2]).page
    pair = page.pair
    first, second = (next(r for r in records if r.model == m.name) for m in pair.models)
    assert sum(np.asarray(pair.errors[0]) < np.asarray(pair.errors[1])) >= 18
    a, b = first.subject_values("mean"), second.subject_values("mean")
    assert pair.difference == [a[name] - b[name] for name in pair.subjects]
    assert pair.verdict.startswith(f"{first.model} is better by {abs(np.mean(pair.difference)):.2f}°")
    assert report(records).page.pair is None
    assert report(records, choices=Choices(compare=("turned", "$half$"))).page.pair.models[0].name == "turned"


def test_figures_are_written_as_png_and_svg(made, tmp_path):
    few = dataclasses.replace(made, groups={"worst": made.groups["worst"][:2]})
    plain = dataclasses.replace(made.page, heats=[heats[:1] for heats in made.page.heats])
    paths = write_figures(tmp_path, dataclasses.replace(few, page=plain))
    assert {path.suffix for path in paths} == {".png", ".svg"}
    assert {"curve.png", "subjects.svg", "worst-turned.png", "worst--half-.svg"} <= {path.name for path in paths}
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width > 200
        else:
            names = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
            assert "svg" in names
            assert not names & {"script", "img"}
    assert "$half$" in (tmp_path / "curve.svg").read_text()


def test_equal_numbers_give_equal_figures(records, tmp_path):
    made = report(records[:2])
    made = dataclasses.replace(
        made, page=dataclasses.replace(made.page, heats=[heats[:1] for heats in made.page.heats])
    )
    for first, second in zip(write_figures(tmp_path / "a", made), write_figures(tmp_path / "b", made), strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_one_record_alone_makes_a_report(records, store, models):
    alone = report(records[:1], store, {"turned": running(models["turned"], store)}).page
    assert alone.pair is None
    assert "of 1 models" not in alone.lead
    assert page_html(alone)


def test_few_subjects_have_no_band_and_the_page_says_why(tmp_path):
    with sphere_store(tmp_path / "few.h5", 3) as few:
        page = report([evaluate(Turned(name="a"), few)]).page
    assert page.curves[0].low is None
    assert "at least 10 are needed" in page.curve_note
    assert "3 subjects" in page.results_note


def test_a_partial_record_alone_is_shown_without_a_rank(store, models):
    partial = evaluate(models["turned"], store, limit=5)
    page = report([partial]).page
    assert page.rows[0].cells[0].text == words.NOTHING
    assert "partial" in page.rows[0].tags
    assert any("never ranked" in warning for warning in page.warnings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "face-2020"}, r"turned and .* cannot stand in one report: protocol: fnbench-1 and face-2020"),
        ({"data_hash": "0" * 64}, r"turned and .* cannot stand in one report: data_hash: \w+ and 0000"),
        ({"samples": None}, r"turned on spheres: the per-sample table is missing.*Copy the .samples.parquet"),
    ],
)
def test_records_that_do_not_fit_are_refused_by_name(records, change, message):
    other = dataclasses.replace(records[0], model="other", **change)
    first = records[0] if "samples" not in change else dataclasses.replace(records[0], **change)
    with pytest.raises(InvalidRecordError, match=message):
        report([first, other])


def test_no_records_at_all():
    with pytest.raises(InvalidRecordError, match="No records to report"):
        report([])


def test_another_data_file_is_refused(records, tmp_path, models):
    predict = dict.fromkeys(models)
    with (
        sphere_store(tmp_path / "fewer.h5", 11, 3, SIZE) as fewer,
        pytest.raises(
            InvalidStoreError, match=r"3 of 36 samples of the record of .* are not in the file: s011/0, s011/1, s011/2"
        ),
    ):
        report(records, fewer, predict)
    with (
        sphere_store(tmp_path / "other.h5", 12, 3, 32) as other,
        pytest.raises(InvalidRecordError, match=r"was made on data \w{12}, but .*other.h5 holds data \w{12}"),
    ):
        report(records, other, predict)


def test_predictions_that_are_not_those_of_the_record_are_refused(records, store):
    other = {record.model: running(Turned(20.0, name=record.model), store) for record in records}
    with pytest.raises(InvalidRecordError, match=r"for s\d+/\d are not those of the record: mean error 20.0\d degrees"):
        report(records, store, other)


def test_models_are_run_again_from_their_entry_points(records, store, monkeypatch):
    turned_record = records[0]
    assert turned_record.provenance["model"]["entry_point"] == "tests.results:Turned"
    with pytest.raises(InvalidRecordError, match="are not those of the record"):
        report([turned_record], store, predictors([turned_record], store, Sources()))  # Turned() errs by 10, not 12
    gone = dataclasses.replace(turned_record, provenance={"model": {"entry_point": "fnbench_user_gone:Model"}})
    with pytest.raises(InvalidRecordError, match=r"cannot be predicted again.*--model turned=file.py:Class"):
        predictors([gone], store, Sources())
    weights = dataclasses.replace(turned_record, weights_sha256="ab" * 32)
    with pytest.raises(InvalidRecordError, match=r"has weights without a hash now.*made with abababababab"):
        predictors([weights], store, Sources())
    with pytest.raises(InvalidSettingError, match="--model names nobody"):
        predictors([turned_record], store, Sources(models={"nobody": "frontal"}))
    with pytest.raises(InvalidSettingError, match="expected NAME=VALUE"):
        sources_from(["turned"], [], [], None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, store):
    from fnbench.models.frontal import Frontal

    out = tmp_path_factory.mktemp("records")
    write_record(evaluate(Frontal(), store), out)
    return out


def test_the_verb_writes_the_page_and_the_figures(folder, store, tmp_path):
    arguments = ["report", "--records", str(folder), "--out", str(tmp_path / "r.html")]
    result = CliRunner().invoke(main, [*arguments, "--data", str(store.path)])
    assert result.exit_code == 0, result.output
    assert result.output == f"{tmp_path / 'r.html'}\n"
    assert 'id="samples"' in (tmp_path / "r.html").read_text()
    result = CliRunner().invoke(main, [*arguments, "--figures", str(tmp_path / "figures")])
    assert result.exit_code == 0, result.output
    assert 'id="samples"' not in (tmp_path / "r.html").read_text()
    assert (tmp_path / "figures" / "curve.svg").is_file()
    assert len(result.output.splitlines()) == 1 + len(list((tmp_path / "figures").iterdir()))


def test_the_verb_answers_bad_input_in_one_line(folder, store, tmp_path):
    def answer(*arguments):
        result = CliRunner().invoke(main, ["report", "--out", str(tmp_path / "bad.html"), *map(str, arguments)])
        assert result.exit_code == 2, result.output
        assert result.output.count("\n") == 1
        assert not (tmp_path / "bad.html").exists()
        return result.output

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no records found" in answer("--records", empty)
    assert "there are records of spheres test fnbench-1" in answer("--records", folder, "--dataset", "florence")
    (path,) = folder.glob("*.json")
    broken = tmp_path / "broken"
    broken.mkdir()
    numbers = json.loads(path.read_text())
    numbers["metrics"]["median_px"] = 170.0
    (broken / "frontal.json").write_text(json.dumps(numbers, indent=1))
    assert "impossible numbers" in answer("--records", broken)
    (broken / "frontal.json").write_text(path.read_text())
    assert read_record(broken / "frontal.json").samples is None
    assert "per-sample table is missing" in answer("--records", broken)
    assert "No record of a model 'x'" in answer("--records", folder, "--data", store.path, "--samples-of", "x")
    assert "Cannot compare a and b" in answer("--records", folder, "--compare", "a", "b")


def test_kept_maps_are_shown_without_running_the_model(store, tmp_path):
    class Gone(Turned):
        """Cannot be constructed again from its record: its class is local."""

    evaluated = evaluate(Gone(12.0, 0.7, "gone model"), store, keep=tmp_path)
    write_record(evaluated, tmp_path)
    assert (tmp_path / "gone-model.maps.h5").is_file()
    arguments = ["report", "--records", str(tmp_path), "--data", str(store.path), "--out", str(tmp_path / "r.html")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    scripts = Page((tmp_path / "r.html").read_text()).scripts
    first = json.loads(scripts["data"])["samples"][0]
    index = store.ids.index(first["id"])
    (predicted,) = Gone(12.0, 0.7).predict(store.image(index)[None] / np.float32(255))
    shown = unpacked(scripts["p0-0"], (3, SIZE, SIZE), normals=True)
    assert np.abs(shown - normal_planes(predicted, store[index].target.mask)).max() <= 1  # kept as float16
    (tmp_path / "gone-model.maps.h5").unlink()
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "cannot be predicted again" in result.output


def test_several_processes_keep_the_same_maps(store, tmp_path):
    from fnbench.evaluate import ModelRecipe
    from fnbench.maps import entries, read_map

    kept = []
    for workers in (1, 2):
        evaluate(ModelRecipe("tests.results:Turned"), store, keep=tmp_path / str(workers), workers=workers, batch=4)
        kept.append({name: read_map(entry) for name, entry in entries(tmp_path / str(workers) / "turned.maps.h5")})
        assert [path.name for path in (tmp_path / str(workers)).iterdir()] == ["turned.maps.h5"]
    assert list(kept[0]) == sorted(store.ids)
    for name, values in kept[0].items():
        np.testing.assert_array_equal(values, kept[1][name])


def test_saved_predictions_are_shown_as_they_were_declared(store, tmp_path):
    from fnbench.submission import Declaration, evaluate_submission

    for number, name in enumerate(store.ids):
        values = turned(sphere_normals(SIZE), 8.0 + 0.01 * number) * [1, -1, -1]  # y down, z away
        path = tmp_path / "maps" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values.astype(np.float32))
    record = evaluate_submission(tmp_path / "maps", store, Declaration(name="theirs", frame="x,-y,-z"))
    write_record(record, tmp_path / "records")
    arguments = ["report", "--records", str(tmp_path / "records"), "--data", str(store.path)]
    arguments += ["--out", str(tmp_path / "r.html")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "was made from saved predictions. Name them: --predictions theirs=DIR" in result.output
    result = CliRunner().invoke(main, [*arguments, "--predictions", f"theirs={tmp_path / 'maps'}"])
    assert result.exit_code == 0, result.output
    assert 'id="samples"' in (tmp_path / "r.html").read_text()
    (tmp_path / "maps" / "s000" / "0.npy").unlink()
    result = CliRunner().invoke(main, [*arguments, "--predictions", f"theirs={tmp_path / 'maps'}"])
    assert result.exit_code == 2
    assert "There is no readable prediction of theirs for s000/0" in result.output
