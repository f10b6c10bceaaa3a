"""Where the predictions of shown samples come from: saved maps are read, or the model is run again.

Maps that ``fnbench eval --keep-maps`` left beside a record are taken as they are. Without them, the record names the
model's entry point; a report constructs it and predicts only the samples that it shows. What cannot be constructed
from the record alone (a class in a file, weights in a file, predictions that somebody sent) is named by the user.
Weights must be those of the record, and ``gallery.specimens`` checks each sample's mean error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import FnbenchError, InvalidRecordError, InvalidSettingError
from fnbench.estimator import NormalEstimator, predictions, provenance
from fnbench.maps import map_header
from fnbench.record import EvalResult
from fnbench.report.gallery import Predict
from fnbench.report.tables import samples_of
from fnbench.store import Store
from fnbench.submission import Declaration, open_submission
from fnbench.submission.numbers import SavedMaps

BATCH = 8
"""Images per call of a model that is run again."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the user names, by the model's name in the records.

    models: name, ``file.py:Class`` or ``package.module:Class``.  weights: files.  predictions: folders or files.
    device: for models that take one.  kept: maps found beside the records; what the user names comes first.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Path] = field(default_factory=dict)
    predictions: Mapping[str, Path] = field(default_factory=dict)
    device: str | None = None
    kept: Mapping[str, Path] = field(default_factory=dict)


def predictors(records: Sequence[EvalResult], store: Store, sources: Sources) -> dict[str, Predict]:
    """For each record, what predicts samples of the store.

    Raises InvalidSettingError for names without a record and InvalidRecordError when a model cannot be had again.
    """
    names = {record.model for record in records}
    for option in ("models", "weights", "predictions"):
        unknown = sorted(set(getattr(sources, option)) - names)
        if unknown:
            raise InvalidSettingError(
                f"--{option.removesuffix('s') if option == 'models' else option} names {', '.join(unknown)}, but the "
                f"records are of {', '.join(sorted(names))}."
            )
    return {record.model: _predictor(record, store, sources) for record in records}


def running(estimator: NormalEstimator, store: Store) -> Predict:
    """Predictions of a model, image by image."""

    def predict(indices: Sequence[int]) -> Iterator[NDArray[np.floating] | None]:
        return predictions(estimator, (store.image(index) for index in indices), batch=BATCH)

    return predict


def saved(path: Path, record: EvalResult, store: Store) -> Predict:
    """Predictions that were saved, read as the record says that they were declared; None where one is missing."""
    ids = [str(name) for name in samples_of(record)["id"]]
    stated: Mapping[str, Any] = record.provenance.get("model", {}).get("declaration") or {"name": record.model}
    known = {one.name for one in fields(Declaration)}
    declared = Declaration(**{name: value for name, value in stated.items() if name in known})
    submission = open_submission(path, ids, store.ids, declared)

    def predict(indices: Sequence[int]) -> Iterator[NDArray[np.floating] | None]:
        paired = {name: submission.paired.get(name) for name in (store.ids[index] for index in indices)}
        headers = {name: map_header(entry) for name, entry in paired.items() if entry is not None}
        return SavedMaps(submission, headers).maps(store, indices)

    return predict


def _predictor(record: EvalResult, store: Store, sources: Sources) -> Predict:
    name = record.model
    path = sources.predictions.get(name)
    if path is None and name not in sources.models and name not in sources.weights:
        path = sources.kept.get(name)
    return running(_estimator(record, sources), store) if path is None else saved(path, record, store)


def _estimator(record: EvalResult, sources: Sources) -> NormalEstimator:
    from fnbench.models.load import load_estimator

    model: Mapping[str, Any] = record.provenance.get("model", {})
    name = sources.models.get(record.model) or model.get("entry_point")
    again = f"Name it: --model {record.model}=file.py:Class (or a known name)"
    if "declaration" in model and record.model not in sources.models:
        raise InvalidRecordError(
            f"Record of {record.model} was made from saved predictions. Name them: --predictions {record.model}=DIR; "
            "without --data the report shows numbers alone."
        )
    if not name:
        raise InvalidRecordError(f"Record of {record.model}: its entry point is not stated. {again}.")
    try:
        estimator = load_estimator(
            str(name),
            weights=sources.weights.get(record.model),
            device=sources.device,
            untrained=bool(model.get("untrained")),
        )
    except FnbenchError as error:
        raise InvalidRecordError(
            f"Samples of {record.model} cannot be predicted again: {error} {again}, --weights {record.model}=FILE, or "
            f"--predictions {record.model}=DIR; without --data the report shows numbers alone."
        ) from error
    found = provenance(estimator).get("weights_sha256")
    if found != record.weights_sha256:
        raise InvalidRecordError(
            f"Model {record.model} has weights {_short(found)} now, but the record was made with "
            f"{_short(record.weights_sha256)}. Give those of the evaluation with --weights {record.model}=FILE."
        )
    return estimator


def _short(digest: Any) -> str:
    return str(digest)[:12] if digest else "without a hash"


def sources_from(
    models: Sequence[str], weights: Sequence[str], predictions: Sequence[str], device: str | None
) -> Sources:
    """Sources from ``NAME=VALUE`` texts; InvalidSettingError for a text without a name."""
    files, folders = ({name: Path(value) for name, value in _pairs(each)} for each in (weights, predictions))
    return Sources(dict(_pairs(models)), files, folders, device)


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise InvalidSettingError(f"{text!r}: expected NAME=VALUE, with the model's name of the record.")
        found.append((name, value))
    return found
