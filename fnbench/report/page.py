"""``fnbench report``: records, and the data they were made on, become one HTML file and figures for papers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.cards import card_names, load_card
from fnbench.errors import InvalidRecordError
from fnbench.leaderboard import measured_rows
from fnbench.record import EvalResult, differing
from fnbench.report import tables, words
from fnbench.report.content import FaceMap, Model, Page
from fnbench.report.gallery import Predict, Specimen, check_store, chosen, face_map, gallery, specimens
from fnbench.report.grid import ERROR_COLOURS
from fnbench.report.html import rendered, write_page
from fnbench.report.pair import compared_pair, headline_of, pair
from fnbench.store import Store
from fnbench.types import REGIONS

STYLES = ("theme.css", "report.css")
SCRIPTS = ("theme.js", "tables.js", "charts.js", "maps.js", "samples.js", "report.js")
BETTER = ((11, 107, 176), (201, 86, 10))
"""Colours of the face map where the first and where the second model is better; told apart by any eye."""


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What a reader asked for.

    samples_of: the model that chooses worst and best samples; the first of the table when None.
    compare: two models to compare; the only two when None.  seed: of the random samples.
    """

    samples_of: str | None = None
    compare: Sequence[str] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A page, and the samples behind its gallery at full size, for figures.

    groups: ids per group.  shown: the samples of all groups.
    """

    page: Page
    groups: Mapping[str, Sequence[str]]
    shown: Sequence[Specimen]


def report(
    records: Sequence[EvalResult],
    store: Store | None = None,
    predict: Mapping[str, Predict] | None = None,
    choices: Choices | None = None,
) -> Report:
    """Gather everything that a report says.

    records: of one dataset and protocol, with their per-sample tables.
    store, predict: the data file and, per model name, what predicts its samples; without them no samples are shown.
    Raises InvalidRecordError when records do not fit together, when the file is another, or when predictions are not
    those of the record.
    """
    wanted = choices or Choices()
    ordered, stands = ranked(records)
    models = [Model(record.model, index) for index, record in enumerate(ordered)]
    two = compared_pair(models, wanted.compare)
    numbers = _numbers(ordered, models, stands)
    if store is None or predict is None:
        return Report(replace(numbers, pair=_pair(ordered, two, None)), {}, ())
    check_store(ordered, store)
    focus = _focus(models, wanted.samples_of)
    groups = chosen(ordered[focus.index], seed=wanted.seed)
    ids = list(dict.fromkeys(name for group in groups.values() for name in group))
    shown = list(specimens(ids, ordered, store, [predict[model.name] for model in models]))
    face = None
    if two is not None:
        drawn = [one for one in shown if one.id in set(groups["random"])]
        face = face_map(drawn, two[0].index, two[1].index)
    full = replace(numbers, gallery=gallery(groups, shown, ordered, focus), pair=_pair(ordered, two, face))
    return Report(full, groups, shown)


def ranked(records: Sequence[EvalResult]) -> tuple[list[EvalResult], list[Mapping[str, Any]]]:
    """Records in the order of the table, and how each stands there; a partial result alone has no rank.

    Raises InvalidRecordError when there is none, or when they cannot stand in one table.
    """
    if not records:
        raise InvalidRecordError("No records to report. Write some with: fnbench eval ... --out DIR")
    first = records[0]
    for record in records:
        tables.samples_of(record)
        fields = differing(first, record)
        if fields:
            raise InvalidRecordError(
                f"{first.model} and {record.model} cannot stand in one report: {'; '.join(fields)}. "
                "Choose with --dataset, --split and --protocol, or keep the records in separate folders.",
                code="FM-49",
            )
    if len(records) == 1 and first.partial:
        return [first], [{}]
    rows = measured_rows(records)
    by_name = {record.model: record for record in records}
    return [by_name[row["model"]] for row in rows], list(rows)


def write_report(path: Path, content: Page) -> None:
    """Write the page as one HTML file; OutputError when it cannot be written."""
    write_page(path, html(content))


def html(content: Page) -> str:
    """The text of the page."""
    values = {"page": _printed(content), "data": data_of(content), "models": content.models}
    return rendered("report.html", STYLES, SCRIPTS, {**values, "kinds": ("target", "predicted", "error")})


def data_of(content: Page) -> dict[str, Any]:
    """What the page's script draws: numbers rounded to what a screen can show."""
    found: dict[str, Any] = {
        "curve": {
            "degrees": list(content.degrees),
            "series": [
                {
                    "name": one.model.name,
                    "index": one.model.index,
                    "share": _rounded(one.share),
                    "low": _rounded(one.low),
                    "high": _rounded(one.high),
                }
                for one in content.curves
            ],
        },
        "strips": {
            "series": [
                {
                    "name": one.model.name,
                    "index": one.model.index,
                    "subjects": list(one.subjects),
                    "values": _rounded(one.values, 4),
                    "images": list(one.images),
                    "mean": round(one.mean, 4),
                    "low": None if one.interval is None else round(one.interval[0], 4),
                    "high": None if one.interval is None else round(one.interval[1], 4),
                }
                for one in content.strips
            ]
        },
    }
    if content.pair is not None:
        both = content.pair
        indices = [model.index for model in both.models]
        first, second = (model.name for model in both.models)
        x, y = (_rounded(errors, 4) for errors in both.errors)
        found["scatter"] = {"first": first, "second": second, "indices": indices, "ids": list(both.ids), "x": x, "y": y}
        found["wins"] = {
            "indices": indices,
            "subjects": list(both.subjects),
            "difference": _rounded(both.difference, 4),
        }
        if both.face is not None:
            found["face_colours"] = base64.b64encode(_ramp(both.face).tobytes()).decode("ascii")
    if content.gallery is not None:
        found["regions"] = ["no region" if name == "none" else name for name in REGIONS]
        found["error_scale"] = content.gallery.scale
        found["error_colours"] = base64.b64encode(error_colours().tobytes()).decode("ascii")
        found["samples"] = [
            {
                "id": one.id,
                "subject": one.subject,
                "about": list(one.about),
                "means": list(one.means),
                "width": one.width,
                "height": one.height,
                "full_width": one.full_width,
                "full_height": one.full_height,
            }
            for one in content.gallery.samples
        ]
    return found


def error_colours() -> NDArray[np.uint8]:
    """(256, 3) uint8 colours of errors from 0 to the end of the scale."""
    from matplotlib import colormaps

    colours: NDArray[np.uint8] = np.rint(255 * colormaps[ERROR_COLOURS](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    return colours


def face_picture(face: FaceMap) -> NDArray[np.uint8]:
    """(H, W, 4) uint8: grey mean face, tinted where one of two models is better; clear where too few samples speak."""
    known = np.isfinite(face.difference)
    level = np.clip(np.nan_to_num(face.difference) / face.scale, -1, 1)
    backdrop = np.clip(face.backdrop, 0, 255) * 0.55 + 100
    colour = _tinted(level, backdrop)
    return np.dstack([colour, np.where(known, 255, 0)]).astype(np.uint8)


def _tinted(level: NDArray[np.float64], backdrop: NDArray[np.float64]) -> NDArray[np.float64]:
    """level: -1 (the first is better) to 1 (the second is)."""
    strength = np.abs(level)[..., None] ** 0.8
    end = np.where((level < 0)[..., None], BETTER[0], BETTER[1])
    return np.rint(backdrop[..., None] * (1 - strength) + end * strength)


def _ramp(face: FaceMap) -> NDArray[np.uint8]:
    level = np.linspace(-1, 1, 256)
    return _tinted(level, np.full(256, 205.0)).astype(np.uint8)


def _numbers(records: Sequence[EvalResult], models: Sequence[Model], stands: Sequence[Mapping[str, Any]]) -> Page:
    first = records[0]
    pairs = list(zip(records, models, strict=True))
    curves = [tables.curve(*each) for each in pairs]
    return Page(
        title=f"{_title(first.dataset)}: surface normals",
        lead=_lead(records, stands),
        facts=_facts(first),
        warnings=[f"{record.model}: {one.text.rstrip('.')}." for record in records for one in record.findings],
        models=models,
        results_note=_results_note(first),
        columns=tables.headline_columns(first),
        rows=[tables.headline_row(r, m, stand) for (r, m), stand in zip(pairs, stands, strict=True)],
        families_note="_px: over the pixels of all images together. _img: one number per image, then their mean. "
        "_sub: per image, averaged within each subject, then over subjects. Second lines are 95 % intervals over "
        "subjects. Degrees, except acc and auc (percent) and grad_l1.",
        numbers=tables.all_numbers(records),
        sensitivity=tables.sensitivity(records),
        curve_note="Share of all pixels whose error is smaller"
        + (", with the 95 % band over subjects." if curves[0].low is not None else f". {_note(first)}"),
        degrees=[float(d) for d in tables.CURVE],
        curves=curves,
        strip_note="One dot per subject: the mean error over its images. The bar is the mean over subjects"
        + (" with its 95 % interval." if first.intervals else "."),
        strips=[tables.strip(*each) for each in pairs],
        heat_note="Mean error over the pixels of each cell, in degrees. Point at a cell for its interval and for "
        "the pixels, images and subjects behind it. Colours are the same in every report.",
        heats=[tables.heats(record) for record in records],
        provenance=_provenance(records),
    )


def _title(dataset: str) -> str:
    return load_card(dataset).title if dataset in card_names() else dataset


def _lead(records: Sequence[EvalResult], stands: Sequence[Mapping[str, Any]]) -> str:
    best = records[0]
    metric = headline_of(best)
    bounds = best.intervals.get(metric)
    sizes = f"{words.plural(best.counts['images'], 'image')} of {words.plural(best.counts['subjects'], 'subject')}"
    rank = f"the smallest mean error of {len(records)} models:" if len(records) > 1 else "a mean error of"
    text = (
        f"{best.model} has {rank} {words.number(metric, best.metrics[metric])}\u00b0 "
        f"({metric}{f', 95 % interval {words.interval(metric, bounds)}' if bounds else ''}) on {sizes}."
    )
    tied = [r.model for r, stand in zip(records, stands, strict=True) if stand.get("tie_group") == 1][1:]
    if tied:
        text += f" The paired tests cannot tell it from {', '.join(tied)}."
    return text


def _note(record: EvalResult) -> str:
    return f"{record.interval_note[:1].upper()}{record.interval_note[1:]}." if record.interval_note else ""


def _results_note(record: EvalResult) -> str:
    text = f"Ranked by {headline_of(record)}. Press a heading to sort. "
    text += "Second lines are 95 % intervals over subjects." if record.intervals else _note(record)
    return text


def _facts(record: EvalResult) -> list[tuple[str, str]]:
    return [
        ("Protocol", f"{record.protocol} v{record.protocol_version}, mask {record.mask}"),
        ("Split", record.split),
        ("Images", words.count(record.counts["images"])),
        ("Subjects", words.count(record.counts["subjects"])),
        ("Pixels", words.count(record.counts["pixels"])),
        ("Targets", record.gt_kind),
        ("Data", record.data_hash[:12]),
        ("Metrics", f"version {record.metric_version}"),
    ]


def _provenance(records: Sequence[EvalResult]) -> list[tuple[str, list[str]]]:
    """Rows of the provenance table; a row that nobody fills is left out."""

    def own(record: EvalResult) -> dict[str, Any]:
        model = record.provenance.get("model", {})
        ours = record.provenance.get("fnbench", {})
        environment = record.provenance.get("environment", {})
        return {
            "entry point": model.get("entry_point"),
            "weights sha256": record.weights_sha256,
            "licence": model.get("licence"),
            "training data": model.get("training_data"),
            "preprocessing": model.get("preprocessing"),
            "predictions": record.provenance.get("predictions"),
            "settings": record.provenance.get("settings"),
            "data hash": record.data_hash,
            "split hash": record.split_hash,
            "mask hash": record.mask_hash,
            "fnbench": " ".join(str(ours[key]) for key in ("version", "commit") if ours.get(key))
            + (" with local changes" if ours.get("dirty") else ""),
            "python": environment.get("python"),
            "platform": environment.get("platform"),
            "seconds": record.provenance.get("seconds"),
            "finished": record.finished,
        }

    columns = [own(record) for record in records]
    return [
        (name, [_words(column[name]) for column in columns]) for name in columns[0] if any(c[name] for c in columns)
    ]


def _words(value: Any) -> str:
    if value is None or value == "":
        return "not stated"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(each)}" for key, each in value.items() if each not in (None, [], {}, ""))
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _focus(models: Sequence[Model], name: str | None) -> Model:
    if name is None:
        return models[0]
    found = [model for model in models if model.name == name]
    if not found:
        raise InvalidRecordError(f"No record of a model {name!r}; there are {', '.join(m.name for m in models)}.")
    return found[0]


def _pair(records: Sequence[EvalResult], two: tuple[Model, Model] | None, face: FaceMap | None) -> Any:
    return None if two is None else pair((records[two[0].index], records[two[1].index]), two, face)


def _printed(content: Page) -> dict[str, Any]:
    """The page as its template reads it: the pair with its picture as a data address."""
    values = {name: getattr(content, name) for name in Page.__slots__}
    if content.pair is not None:
        both = content.pair
        values["pair"] = {
            **{name: getattr(both, name) for name in type(both).__slots__},
            "first": both.models[0].name,
            "second": both.models[1].name,
            "face": None if both.face is None else png(face_picture(both.face)),
            "face_alt": f"Face tinted where {both.models[0].name} or {both.models[1].name} has the smaller error",
            "face_scale": f"{both.face.scale:g}" if both.face else "",
        }
    return values


def png(picture: NDArray[np.uint8]) -> str:
    """A picture as a data address."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _rounded(values: Any, digits: int = 3) -> list[float] | None:
    return None if values is None else [round(float(value), digits) for value in values]
