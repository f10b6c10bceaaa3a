"""Two models on the same samples: scatter, wins and losses, regions."""

from __future__ import annotations

from collections.abc import Sequence

from fnbench.errors import InvalidRecordError
from fnbench.protocol import REGION, protocol_named
from fnbench.record import EvalResult
from fnbench.report import words
from fnbench.report.content import Cell, FaceMap, Line, Model, Pair
from fnbench.report.tables import breakdown_row, samples_of
from fnbench.statistics import SIGNIFICANCE, Paired, paired


def pair(records: tuple[EvalResult, EvalResult], models: tuple[Model, Model], face: FaceMap | None = None) -> Pair:
    """The comparison of two records of the same samples; InvalidRecordError when they hold others."""
    first, second = (samples_of(record).assign(id=lambda t: t["id"].astype(str)).set_index("id") for record in records)
    if set(first.index) != set(second.index):
        odd = sorted(set(first.index) ^ set(second.index))
        raise InvalidRecordError(
            f"{records[0].model} and {records[1].model} were scored on different samples ({len(odd)} are on one side, "
            f"such as {odd[0]}). Evaluate both on the whole split."
        )
    ids = sorted(first.index)
    errors = ([float(first.loc[name, "mean"]) for name in ids], [float(second.loc[name, "mean"]) for name in ids])
    subjects = (records[0].subject_values("mean"), records[1].subject_values("mean"))
    names = sorted(subjects[0])
    result = paired(subjects[0], subjects[1])
    wins = sum(a < b for a, b in zip(*errors, strict=True)), sum(a > b for a, b in zip(*errors, strict=True))
    a, b = models[0].name, models[1].name
    return Pair(
        models,
        verdict(a, b, result, len(names)),
        ids,
        errors,
        names,
        [subjects[0][name] - subjects[1][name] for name in names],
        regions(records),
        f"{a} is better on {words.count(wins[0])}, {b} on {words.count(wins[1])} of "
        f"{words.plural(len(ids), 'sample')}. Dots carry the colour of the better model.",
        f"{a} is better for {result.lower}, {b} for {result.higher} of {words.plural(len(names), 'subject')}. "
        f"Bars show {a} minus {b}, in the colour of the better model.",
        ""
        if face is None
        else f"Mean difference of the error over {words.plural(face.samples, 'sample')} of the random draw, laid on "
        "one face by their landmarks.",
        face,
    )


def verdict(first: str, second: str, result: Paired, subjects: int) -> str:
    """What the paired test says, in one sentence."""
    people = words.plural(subjects, "subject")
    size = words.number("mean_sub", abs(result.difference))
    # Turned so that the better model's advantage is positive, in the sentence as in its interval.
    turned = result.interval
    if turned and result.difference < 0:
        turned = (-turned[1], -turned[0])
    bounds = f" (95 % interval {_span(turned)})" if turned else ""
    p = "p < 0.001" if result.p < 0.001 else f"p = {result.p:.3f}"
    if result.p >= SIGNIFICANCE:
        return f"No difference is shown: {size}\u00b0 between their means over {people}{bounds}, {p} in a paired test."
    better = first if result.difference < 0 else second
    return f"{better} is better by {size}\u00b0 on average over {people}{bounds}, {p} in a paired test."


def _span(bounds: tuple[float, float]) -> str:
    low, high = (words.number("mean_sub", value).replace("-", words.MINUS) for value in bounds)
    return f"{low} to {high}"


def regions(records: tuple[EvalResult, EvalResult]) -> list[Line]:
    """Mean error per facial region of both, and the difference."""
    found: list[Line] = []
    for name in REGION.bins:
        rows = [breakdown_row(record, REGION.name, name) for record in records]
        if any(row is None or not row["pixels"] for row in rows):
            continue
        values = [float(row["metrics"]["mean_px"]) for row in rows if row]
        bounds = [row["intervals"].get("mean_px") for row in rows if row]
        cells = [
            Cell(
                "mean_px",
                words.number("mean_px", value),
                repr(float(value)),
                words.interval("mean_px", tuple(b) if b else None),
            )
            for value, b in zip(values, bounds, strict=True)
        ]
        difference = values[0] - values[1]
        found.append(
            Line(
                "unlabelled" if name == "none" else name,
                [*cells, Cell("difference", words.signed("mean_px", difference), repr(float(difference)))],
            )
        )
    return found


def compared_pair(models: Sequence[Model], names: Sequence[str] | None) -> tuple[Model, Model] | None:
    """The two models to compare: those named, or the only two, or none."""
    if names is not None:
        known = {model.name: model for model in models}
        unknown = [name for name in names if name not in known]
        if len(names) != 2 or unknown or names[0] == names[1]:
            raise InvalidRecordError(
                f"Cannot compare {' and '.join(names)}: expected two models of these records: {', '.join(known)}."
            )
        return known[names[0]], known[names[1]]
    return (models[0], models[1]) if len(models) == 2 else None


def headline_of(record: EvalResult) -> str:
    """The metric that the protocol ranks by."""
    return protocol_named(record.protocol).headline
