"""Our networks as ONNX, for programs that do not know torch, with a declaration that ``onnx:`` reads back.

The exported network takes (N, 3, H, W) prepared images of any number and of sides that are multiples of what the
network halves, and gives unit normals in the canonical frame. What "prepared" means stands in the TOML beside it.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from fnbench.errors import InvalidSettingError, MissingDependencyError
from fnbench.estimator import NormalEstimator
from fnbench.files import replacing
from fnbench.models.layers import unit
from fnbench.models.torch_estimator import SHORTEST, TorchEstimator

OPSET = 17
"""Version of the ONNX operators; read by runtimes since 2022."""


class _UnitNormals(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) prepared images to (N, 3, H, W) unit normals."""
        return unit(self.network(images), SHORTEST)


def export_onnx(estimator: NormalEstimator, out: Path) -> Path:
    """Write a network as ``out`` and its declaration beside it; returns the declaration's path.

    estimator: one of our torch models whose network gives a vector per pixel.
    Raises InvalidSettingError for other models, MissingDependencyError without onnx, OutputError.
    """
    if type(estimator).predict is not TorchEstimator.predict or not isinstance(estimator, TorchEstimator):
        raise InvalidSettingError(
            f"Model {estimator.name} cannot be exported: what it predicts is not one network's output per pixel. "
            "crossmodal and sfsnet can."
        )
    if out.suffix != ".onnx":
        raise InvalidSettingError(f"{out}: expected a name ending in .onnx.")
    try:
        import onnx  # noqa: F401 (the exporter needs it, and says so less clearly)
    except ImportError as error:
        raise MissingDependencyError("Writing ONNX needs onnx. Install it: pip install 'fnbench[onnx]'.") from error
    with replacing(out) as temporary:
        _write(estimator, temporary)
    declaration = out.with_suffix(".toml")
    with replacing(declaration) as temporary:
        temporary.write_text(declared(estimator, out.name), encoding="utf-8")
    return declaration


def declared(estimator: TorchEstimator, file: str) -> str:
    """The TOML that ``onnx:`` reads."""
    seen, about = estimator.preprocessing, estimator.provenance
    lines = [
        f"name = {json.dumps(estimator.name + '-onnx')}",
        f"file = {json.dumps(file)}",
        f"licence = {json.dumps(about.get('licence') or 'none: random weights')}",
        f"training_data = {json.dumps(about.get('training_data') or 'unknown')}",
        "",
        "[input]",
        'name = "images"',
        *([f"size = {seen.size}"] if seen.size is not None else []),
        f"multiple = {seen.multiple}",
        f"mean = {json.dumps(list(seen.mean))}",
        f"std = {json.dumps(list(seen.std))}",
        "",
        "[output]",
        'name = "normals"',
        'encoding = "vectors"',
        'frame = "canonical"',
    ]
    return "\n".join(lines) + "\n"


def _write(estimator: TorchEstimator, path: Path) -> None:
    network = _UnitNormals(estimator.network).cpu().eval()
    side = max(64, estimator.preprocessing.multiple)
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("images", "normals")}
    with warnings.catch_warnings():
        # The tracing exporter is deprecated; its successor needs minutes and a further package for the same file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, side, side + estimator.preprocessing.multiple),),
            str(path),
            input_names=["images"],
            output_names=["normals"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    estimator.network.to(estimator.device)
