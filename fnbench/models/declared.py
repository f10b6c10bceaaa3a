"""Any network in a file, ONNX or TorchScript, behind ``predict``: a small TOML declares what the file does not say.

    name = "my-net"
    file = "my-net.onnx"          # beside the TOML; or give --weights FILE
    licence = "CC BY-NC 4.0"
    training_data = "unknown"

    [input]
    size = 512                    # longer side, then padding to multiples; or [height, width] to stretch to
    multiple = 32
    order = "RGB"                 # or "BGR"
    scale = 1.0                   # images in [0, 1] are multiplied by this first: 255.0 for 8-bit ranges
    mean = [0.485, 0.456, 0.406]  # in the order and the scale above
    std = [0.229, 0.224, 0.225]

    [output]
    name = "normals"              # of an ONNX output; the only or first one by default
    encoding = "vectors"          # or "unit-interval" (v + 1) / 2, or "prnet-positions"
    layout = "NCHW"               # or "NHWC"
    frame = "opencv"              # of fnbench.frames, or spelled like "x,-y,-z"

``onnx:net.toml`` reads such a file; ``external:NAME`` reads the declaration of a known network (``baselines/NAME``), to
which the user brings the weights. An ONNX file holds no code; TorchScript is opened by torch's own loader. Position
maps of the released PRNet become a mesh and its normals (``models.prn``), with the release's ``face_ind.txt`` and
``triangles.txt`` named under [output] as ``face_index`` and ``triangles``.
"""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fnbench.catalog import folder
from fnbench.errors import InvalidSettingError, InvalidWeightsError, MissingDependencyError, UnknownNameError
from fnbench.frames import frame_preset, to_canonical
from fnbench.models.layers import squared_length, unit
from fnbench.models.torch_estimator import SHORTEST, Preprocessing, prepared, restored, usable_device
from fnbench.models.weights import refuse_page, sha256_of

DECLARATION = "network.toml"
"""Name of a known network's declaration in its folder of ``baselines``."""
ENCODINGS = ("vectors", "unit-interval", "prnet-positions")

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N, 3, h, w) prepared images to whatever the file gives."""


@dataclass(frozen=True, slots=True)
class Input:
    """How images are prepared; see the module."""

    name: str = ""
    size: int | tuple[int, int] | None = None
    multiple: int = 1
    order: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Output:
    """What the numbers mean that come out; see the module."""

    name: str = ""
    encoding: Literal["vectors", "unit-interval", "prnet-positions"] = "vectors"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    frame: str = "canonical"
    face_index: str = ""
    triangles: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A network that somebody else made; see the module. path: of the TOML."""

    name: str
    path: Path
    file: str = ""
    licence: str = "unknown"
    training_data: str = "unknown"
    notes: str = ""
    input: Input = field(default_factory=Input)
    output: Output = field(default_factory=Output)


def read_declaration(path: Path) -> Declaration:
    """A declaration from its TOML. InvalidSettingError: no file, no TOML, an unknown key, an impossible value."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidSettingError(f"{path}: no such file; expected a TOML that declares a network.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettingError(f"{path}: not a readable TOML file ({error}).") from error
    if "name" not in values:
        raise InvalidSettingError(f"{path}: 'name' is missing; records and tables need one.")
    parts = {
        "input": _part(Input, values.pop("input", {}), f"{path}, [input]"),
        "output": _part(Output, values.pop("output", {}), f"{path}, [output]"),
    }
    declared = _part(Declaration, {**values, "path": path}, str(path), parts)
    _check(declared)
    return declared


def known_networks() -> list[str]:
    """Names for ``external:NAME``."""
    return sorted(path.parent.name for path in folder("baselines").glob(f"*/{DECLARATION}"))


def declared_network(name: str, weights: Path | None = None, device: str | None = None) -> DeclaredNetwork:
    """The network behind ``onnx:FILE.toml`` or ``external:NAME``."""
    kind, _, rest = name.partition(":")
    if kind == "onnx":
        return DeclaredNetwork(read_declaration(Path(rest)), weights, device)
    if rest not in known_networks():
        close = get_close_matches(rest, known_networks(), n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UnknownNameError(f"No external network {rest!r}.{hint} Known: {', '.join(known_networks())}.")
    return DeclaredNetwork(read_declaration(folder("baselines") / rest / DECLARATION), weights, device)


class DeclaredNetwork:
    """A declared network as an estimator.

    weights: the ONNX or TorchScript file; by default the declaration's own.
    device: of TorchScript; ONNX runs where its runtime chooses.
    """

    def __init__(self, declaration: Declaration, weights: Path | None = None, device: str | None = None) -> None:
        self.declaration, self.name = declaration, declaration.name
        path = weights or (declaration.path.parent / declaration.file if declaration.file else None)
        if path is None:
            raise InvalidSettingError(
                f"Model {self.name}: fnbench ships no weights of it. Give your file with --weights FILE (.onnx or "
                f"TorchScript .pt, .pt2); where to get it: {declaration.path.parent / 'MODEL_CARD.md'}."
            )
        refuse_page(path)
        onnx = path.suffix.lower() == ".onnx"
        self._network = _onnx(path, declaration) if onnx else _torchscript(path, usable_device(device))
        self._mesh = _released_mesh(declaration) if declaration.output.encoding == "prnet-positions" else None
        self.degenerate = 0
        self.provenance: dict[str, Any] = {
            "untrained": False,
            "weights_sha256": sha256_of(path),
            "licence": declaration.licence,
            "training_data": declaration.training_data,
            "preprocessing": _plain(declaration.input),
            "frame": declaration.output.frame,
        }

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) float32 sRGB in [0, 1] to (N, H, W, 3) float32 unit normals, canonical frame."""
        if not len(images):
            return np.zeros(images.shape, np.float32)
        batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        fed, preprocessing = _fed(batch, self.declaration.input)
        answer = self._network(np.ascontiguousarray(fed.numpy(), np.float32))
        if self._mesh is not None:
            return self._of_positions(answer, images.shape[1:3])
        raw = _decoded(answer, self.declaration, fed)
        raw = raw if preprocessing is None else restored(raw, batch, preprocessing)
        if raw.shape[-2:] != batch.shape[-2:]:
            raw = functional.interpolate(unit(raw, SHORTEST), batch.shape[-2:], mode="bilinear", antialias=True)
        self.degenerate += int((squared_length(raw) < SHORTEST**2).sum())
        normals = unit(raw, SHORTEST).permute(0, 2, 3, 1).contiguous().numpy()
        return to_canonical(normals, self.declaration.output.frame).astype(np.float32)

    def _of_positions(self, maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        from fnbench.models.prn import mesh_normals, outward, released_vertices

        assert self._mesh is not None
        index, faces = self._mesh
        maps = maps if self.declaration.output.layout == "NHWC" else np.moveaxis(maps, 1, -1)
        found = released_vertices(maps, index) * max(size)
        return np.stack([mesh_normals(vertices, outward(vertices, faces), *size) for vertices in found])


def _fed(batch: Tensor, wanted: Input) -> tuple[Tensor, Preprocessing | None]:
    """What the network sees, and how to undo its size; None when the image was stretched."""
    batch = (batch.flip(1) if wanted.order == "BGR" else batch) * wanted.scale
    if isinstance(wanted.size, tuple):
        batch = functional.interpolate(batch, wanted.size, mode="bilinear", antialias=True)
        return prepared(batch, Preprocessing(multiple=1, mean=wanted.mean, std=wanted.std)), None
    preprocessing = Preprocessing(wanted.size, wanted.multiple, wanted.mean, wanted.std)
    return prepared(batch, preprocessing), preprocessing


def _decoded(answer: NDArray[np.float32], declared: Declaration, fed: Tensor) -> Tensor:
    raw = torch.from_numpy(np.asarray(answer, np.float32))
    raw = raw.permute(0, 3, 1, 2) if declared.output.layout == "NHWC" and raw.ndim == 4 else raw
    if raw.ndim != 4 or raw.shape[0] != len(fed) or raw.shape[1] < 3:
        raise InvalidWeightsError(
            f"Model {declared.name}: the network answered with shape {tuple(answer.shape)} to {tuple(fed.shape)}; "
            f"expected one map of 3 channels per image. Is [output] name or layout wrong in {declared.path}?"
        )
    raw = raw[:, :3]
    raw = 2 * raw - 1 if declared.output.encoding == "unit-interval" else raw
    if raw.shape[-2:] != fed.shape[-2:]:
        raw = functional.interpolate(unit(raw, SHORTEST), fed.shape[-2:], mode="bilinear", antialias=True)
    return raw


def _onnx(path: Path, declared: Declaration) -> Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"Model {declared.name}: reading {path} needs onnxruntime. Install it: pip install 'fnbench[onnx]'."
        ) from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    except Exception as error:  # the runtime's own exceptions share no base class
        reason = str(error).splitlines()[0]
        raise InvalidWeightsError(
            f"{path}: not a readable ONNX network ({reason}). Export or copy it again."
        ) from error
    inputs, outputs = {item.name: item for item in session.get_inputs()}, [item.name for item in session.get_outputs()]
    name, wanted = declared.input.name or next(iter(inputs)), declared.output.name or outputs[0]
    if name not in inputs or wanted not in outputs:
        raise InvalidWeightsError(
            f"{path}: inputs {', '.join(inputs)}, outputs {', '.join(outputs)}; {declared.path} names {name} and "
            f"{wanted}."
        )
    fixed = inputs[name].shape[0] if isinstance(inputs[name].shape[0], int) else None

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [images] if fixed is None else [images[k : k + 1] for k in range(len(images))]
        return np.concatenate([np.asarray(session.run([wanted], {name: part})[0]) for part in parts])

    if fixed not in (None, 1):
        raise InvalidWeightsError(f"{path}: exported for exactly {fixed} images; export it for 1 or any number.")
    return run


def _torchscript(path: Path, device: torch.device) -> Network:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated by torch, but what others have published
            network = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]  # untyped
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidWeightsError(
            f"{path}: not a TorchScript network ({reason}). Expected .onnx or an archive of torch.jit.save; weights "
            "alone are not enough."
        ) from error

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            answer = network(torch.from_numpy(images).to(device))
        answer = answer[-1] if isinstance(answer, list | tuple) else answer
        found: NDArray[np.float32] = answer.float().cpu().numpy()
        return found

    return run


def _released_mesh(declared: Declaration) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    names = {"face_index": declared.output.face_index, "triangles": declared.output.triangles}
    found = {}
    for key, name in names.items():
        path = declared.path.parent / name
        if not name or not path.is_file():
            raise InvalidSettingError(
                f"{declared.path}: [output] {key} is {name!r}, expected the release's file beside the TOML."
            )
        found[key] = np.loadtxt(path).astype(np.int64)
    return found["face_index"].ravel(), found["triangles"].reshape(-1, 3).astype(np.int32)


_Part = TypeVar("_Part")


def _part(kind: type[_Part], values: Mapping[str, Any], source: str, more: Mapping[str, Any] | None = None) -> _Part:
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]  # a dataclass by construction
    for key in values:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise InvalidSettingError(f"{source}: unknown key {key!r}.{hint} Known: {', '.join(known)}.")
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return kind(**plain, **(more or {}))


def _check(declared: Declaration) -> None:
    put, out = declared.input, declared.output
    size = put.size if isinstance(put.size, tuple) else (put.size or 1,) * 2
    wrong = [
        (f"size {put.size}", len(size) != 2 or min(size) < 1),
        (f"multiple {put.multiple}", put.multiple < 1),
        (f"order {put.order!r}, expected RGB or BGR", put.order not in ("RGB", "BGR")),
        (f"mean {put.mean} or std {put.std}", len(put.mean) != 3 or len(put.std) != 3 or min(put.std) <= 0),
        (f"encoding {out.encoding!r}, expected {', '.join(ENCODINGS)}", out.encoding not in ENCODINGS),
        (f"layout {out.layout!r}, expected NCHW or NHWC", out.layout not in ("NCHW", "NHWC")),
    ]
    for what, problem in wrong:
        if problem:
            raise InvalidSettingError(f"{declared.path}: {what} is impossible.")
    frame_preset(out.frame)


def _plain(put: Input) -> dict[str, Any]:
    return {item.name: getattr(put, item.name) for item in fields(put)}
