"""From a name on the command line to a model that predicts."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from fnbench.errors import InvalidSettingError
from fnbench.estimator import NormalEstimator
from fnbench.registry import resolve


def load_estimator(
    name: str, *, weights: Path | None = None, device: str | None = None, untrained: bool = False
) -> NormalEstimator:
    """Construct the model of this name.

    name: an alias, ``file.py:Class`` or ``package.module:Class``; ``onnx:FILE.toml`` or ``external:NAME`` for networks
        that others made (``models.declared``).
    weights: a weights file, for models whose constructor takes ``weights``; others refuse it.
    device, untrained: handed on to constructors that take them; other models have no use for them.
    Raises UnknownNameError, InvalidSettingError, and what the constructor raises.
    """
    if name.startswith(("onnx:", "external:")):
        from fnbench.models.declared import declared_network

        return declared_network(name, weights, device)
    made = resolve(name, "model")
    if not callable(made):
        raise InvalidSettingError(f"Model {name} is a {type(made).__name__}, expected a class with name and predict.")
    signature = inspect.signature(made)
    wanted: dict[str, Any] = {"weights": weights, "device": device, "untrained": untrained or None}
    given = {key: value for key, value in wanted.items() if value is not None and key in signature.parameters}
    if weights is not None and "weights" not in given:
        raise InvalidSettingError(f"Model {name} takes no weights file; leave --weights {weights} out.")
    try:
        signature.bind(**given)
    except TypeError as error:
        raise InvalidSettingError(
            f"Model {name}: its constructor needs more than fnbench gives ({error}). Give every parameter a default; "
            "weights and device are passed by name."
        ) from error
    estimator = made(**given)
    if not isinstance(estimator, NormalEstimator):
        lacking = [part for part in ("name", "predict") if not hasattr(estimator, part)]
        raise InvalidSettingError(
            f"Model {name}: {type(estimator).__qualname__} has no {' and no '.join(lacking)}; a model has a name and "
            "predict(images (N,H,W,3)) -> normals (N,H,W,3)."
        )
    return estimator
