"""``fnbench card``: a model card whose every number is read from a record.

The card begins with the metadata block that model hubs read, states what the records state about the model, and lists
one row per dataset and protocol, with where the model is weakest. Text that a human wrote about a built-in model
(``baselines/<name>/MODEL_CARD.md``) is appended as it is, without its heading.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fnbench import catalog, cite
from fnbench.errors import InvalidRecordError
from fnbench.protocol import FACING, REGION, SAMPLE_BREAKDOWNS, protocol_named
from fnbench.record import EvalResult
from fnbench.report import words
from fnbench.report.markdown import escaped, table

WEAKEST = 3
"""Bins that a card names as the weakest of each result."""
METRICS = ("mean_sub", "mean_img", "mean_px", "median_px", "acc@20_px", "acc@30_px")
"""What a card prints of each result."""
SMALLEST = 0.01
"""Share of the pixels below which a bin is too small to be named."""


def model_card(model: str, records: Sequence[EvalResult]) -> str:
    """The card of a model as Markdown.

    records: of any models; those of ``model`` are used. Raises InvalidRecordError when there is none, or when they
    state different weights, because one card describes one model.
    """
    own = sorted(
        (record for record in records if record.model == model),
        key=lambda record: (record.dataset, record.protocol, record.split),
    )
    if not own:
        there = ", ".join(sorted({record.model for record in records})) or "none"
        raise InvalidRecordError(f"No record of {model!r}; there are records of {there}.")
    weights = {record.weights_sha256 for record in own}
    if len(weights) > 1:
        names = " and ".join(f"{str(one)[:12]} ({_where(one, own)})" for one in sorted(weights, key=str))
        raise InvalidRecordError(f"Records of {model} were made with different weights: {names}. Choose one set.")
    lines = [*_metadata(model, own), f"# {escaped(model)}", "", *_about(own), *_results(own), *_weak(own)]
    lines += [*_warnings(own), *_written(model), *_reproduce(own), *_citation(own)]
    return "\n".join(lines).rstrip() + "\n"


def _metadata(model: str, records: Sequence[EvalResult]) -> list[str]:
    """The YAML block of model hubs; every value is JSON, which is YAML too."""
    stated = records[0].provenance.get("model", {})
    results = [
        {
            "task": {"type": "other", "name": "face surface normals"},
            "dataset": {"name": record.dataset, "type": record.dataset, "split": record.split},
            "metrics": [
                {"type": name, "value": round(record.metrics[name], 4), "name": f"{name}, {record.protocol}"}
                for name in dict.fromkeys((protocol_named(record.protocol).headline, "mean_px", "acc@30_px"))
            ],
        }
        for record in records
    ]
    block = {
        "license": stated.get("licence") or "unknown",
        "tags": ["face", "surface-normals", "fnbench"],
        "model-index": [{"name": model, "results": results}],
    }
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in block.items()), "---", ""]


def _about(records: Sequence[EvalResult]) -> list[str]:
    stated = records[0].provenance.get("model", {})
    rows = [
        ("licence", stated.get("licence")),
        ("training data", stated.get("training_data")),
        ("preprocessing", stated.get("preprocessing")),
        ("entry point", stated.get("entry_point")),
        ("weights sha256", records[0].weights_sha256),
        ("output", "unit normals, x to the image right, y up, z towards the viewer"),
    ]
    if stated.get("untrained"):
        rows.insert(0, ("untrained", "yes: random weights; the numbers below say nothing about the architecture"))
    return table(["", ""], ["text", "text"], [[name, _stated(value)] for name, value in rows])


def _results(records: Sequence[EvalResult]) -> list[str]:
    rows = [
        [
            record.dataset,
            record.split,
            f"{record.protocol} v{record.protocol_version}",
            *(
                _number(record, name)
                for name in ("mean_sub", "mean_img", "mean_px", "median_px", "acc@20_px", "acc@30_px")
            ),
            words.count(record.counts["images"]),
            words.count(record.counts["subjects"]),
            words.share(record.coverage["pixels"]),
        ]
        for record in records
    ]
    headings = [
        "dataset",
        "split",
        "protocol",
        "mean_sub",
        "mean_img",
        "mean_px",
        "median_px",
        "acc@20_px",
        "acc@30_px",
    ]
    return [
        "## Measured",
        "",
        *table(headings, ["text"] * 3 + [""] * (len(headings) - 3), rows),
        "Errors in degrees, accuracies in percent; 95 % intervals over subjects in brackets. `_px` is pooled over "
        "pixels, `_img` averaged over images, `_sub` over subjects.",
        "",
    ]


def _weak(records: Sequence[EvalResult]) -> list[str]:
    lines = ["## Where it is weakest", ""]
    for record in records:
        found = weakest(record)
        if found:
            named = [(f"{row['breakdown']} {row['bin']}", row["metrics"]["mean_px"]) for row in found]
            listed = "; ".join(f"{escaped(name)} {words.number('mean_px', value)}" for name, value in named)
            lines.append(f"* {escaped(record.dataset)}, {record.protocol}: {listed} (mean_px, degrees)")
    return [*lines, ""] if len(lines) > 2 else []


def weakest(record: EvalResult, count: int = WEAKEST) -> list[Any]:
    """The bins with the largest mean error, among those with at least SMALLEST of the pixels."""
    kinds = {REGION.name, FACING.name, *SAMPLE_BREAKDOWNS}
    rows = [
        row
        for row in record.breakdowns
        if row["breakdown"] in kinds
        and row["bin"] not in ("none", "unknown")
        and row["pixels"] >= SMALLEST * record.counts["pixels"]
    ]
    return sorted(rows, key=lambda row: (-row["metrics"]["mean_px"], row["breakdown"], row["bin"]))[:count]


def _warnings(records: Sequence[EvalResult]) -> list[str]:
    texts = dict.fromkeys(f"* {escaped(one.dataset)}: {escaped(f.text)}" for one in records for f in one.findings)
    return ["## To know", "", *texts, ""] if texts else []


def _written(model: str) -> list[str]:
    path = catalog.folder("baselines") / model / "MODEL_CARD.md"
    if not model.replace("-", "").isalnum() or not path.is_file():
        return []
    body = path.read_text(encoding="utf-8").split("\n", 1)[1].strip()
    return ["## About", "", body.replace("\n## ", "\n### "), ""]


def _reproduce(records: Sequence[EvalResult]) -> list[str]:
    rows = [
        [record.dataset, record.data_hash[:12], record.split_hash[:12], record.mask_hash[:12], _version(record)]
        for record in records
    ]
    return ["## Provenance", "", *table(["dataset", "data", "split", "mask", "fnbench"], ["text"] * 5, rows)]


def _citation(records: Sequence[EvalResult]) -> list[str]:
    return ["## Citation", "", "```bibtex", cite.citations(cite.names_of(records)), "```", ""]


def _number(record: EvalResult, name: str) -> str:
    bounds = words.interval(name, record.intervals.get(name))
    text = words.number(name, record.metrics[name])
    if name == "mean_img":
        text += f" \u00b1 {words.number(name, record.metrics['std_img'])}"
    return f"{text} ({bounds})" if bounds else text


def _version(record: EvalResult) -> str:
    own = record.provenance.get("fnbench", {})
    return " ".join(str(own[key])[:12] for key in ("version", "commit") if own.get(key))


def _where(weights: str | None, records: Sequence[EvalResult]) -> str:
    return ", ".join(sorted({one.dataset for one in records if one.weights_sha256 == weights}))


def _stated(value: Any) -> str:
    if value in (None, ""):
        return "not stated"
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
