"""Weights files: safetensors with a card inside, read strictly.

A file says what it is: architecture, constructor options, licence, frame, preprocessing, training data, and the
SHA-256 of what it was converted from. Loading gives the three lists (missing, unexpected, wrong shape) and
never loads a part. A ``.pth`` is opened only to be converted, and only with torch's restricted unpickler.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fnbench.catalog import folder
from fnbench.errors import FnbenchError, InvalidSettingError, InvalidWeightsError
from fnbench.files import replacing
from fnbench.frames import CANONICAL

VERSION = "1"
"""Version of the card inside a weights file."""

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """What a weights file says about itself.

    architecture: id of the network.  options: keyword arguments of its constructor.
    licence: of these weights.  training_data: in words.  recipe: name of the training recipe.
    source_sha256: of the file this was converted from.  seed: of the training.
    preprocessing: keyword arguments of Preprocessing.  frame: of the predicted normals; only canonical is loaded.
    """

    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "unknown"
    training_data: str = "unknown"
    recipe: str = ""
    source_sha256: str = ""
    seed: int | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    frame: str = CANONICAL
    version: str = VERSION


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A weights file in memory: tensors by name, its card, and the SHA-256 of the file."""

    path: Path
    tensors: dict[str, Tensor]
    card: WeightsCard
    sha256: str

    @property
    def provenance(self) -> dict[str, Any]:
        """What a record says about these weights."""
        card = self.card
        return {
            "weights_sha256": self.sha256,
            "licence": card.licence,
            "training_data": card.training_data,
            "untrained": False,
            "seed": card.seed,
            "recipe": card.recipe,
            "options": dict(card.options),
        }


def write_weights(path: Path, tensors: Mapping[str, Tensor], card: WeightsCard) -> None:
    """Write tensors and card under a temporary name beside ``path``, then rename.

    Raises OutputError.
    """
    metadata = {key: json.dumps(value) for key, value in asdict(card).items()}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(plain, metadata)  # save_file would leave a file that only its owner can read
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(content)


def read_weights(path: Path, architecture: str | None = None) -> Weights:
    """Read a weights file of ``write_weights``.

    architecture: refuse any other.  Tensors come as float32 where they are stored in half precision.
    Raises InvalidWeightsError: no such file, not safetensors, truncated, without a card, another architecture.
    """
    path = Path(path)
    _refuse_other_formats(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: _full_precision(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise InvalidWeightsError(
            f"{path}: damaged or truncated weights ({error}). Copy or download it again."
        ) from error
    card = _card(path, metadata)
    if architecture is not None and card.architecture != architecture:
        raise InvalidWeightsError(f"{path}: weights of {card.architecture}, expected {architecture}.")
    if card.frame != CANONICAL:
        raise InvalidWeightsError(f"{path}: its normals are in frame {card.frame!r}, expected {CANONICAL!r}.")
    return Weights(path, tensors, card, sha256_of(path))


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A network with its weights, what it wants to be given, and what a record says about it."""

    network: nn.Module
    preprocessing: Mapping[str, Any]
    provenance: Mapping[str, Any]


def ready(
    model: str, network: Callable[..., nn.Module], weights: Path | None, untrained: bool, **options: Any
) -> Ready:
    """The network of a built-in model: with the weights given, else with the packaged ones.

    untrained: with random weights (seed 0) instead, and these constructor options.
    Raises InvalidSettingError (weights and untrained), InvalidWeightsError, FnbenchError (there are no weights).
    """
    if untrained and weights is not None:
        raise InvalidSettingError(f"Model {model}: weights {weights} and --untrained exclude each other; give one.")
    if untrained:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Ready(network(**options), {}, {"untrained": True, "seed": 0, "training_data": "none"})
    path = weights or packaged_weights(model)
    if path is None:
        raise FnbenchError(
            f"Model {model} is untrained: no weights come with this version. Give a file with --weights FILE (from "
            f"fnbench train {model}), or pass --untrained to run random weights."
        )
    read = read_weights(path, model)
    return Ready(build(network, read), read.card.preprocessing, read.provenance)


def build(network: Callable[..., _Network], weights: Weights) -> _Network:
    """The network that the card describes, with exactly these tensors. Raises InvalidWeightsError."""
    try:
        built = network(**weights.card.options)
    except TypeError as error:
        raise InvalidWeightsError(
            f"{weights.path}: options {dict(weights.card.options)} do not fit {weights.card.architecture} ({error}). "
            "Was it written by a newer version?"
        ) from error
    load_strictly(built, weights.tensors, str(weights.path))
    return built


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a network, all or nothing.

    Raises InvalidWeightsError with three lists: missing, unexpected, wrong shape.
    """
    expected = network.state_dict()
    check_names({name: tuple(tensor.shape) for name, tensor in expected.items()}, tensors, source)
    network.load_state_dict(dict(tensors), strict=True)


def check_names(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], source: str) -> None:
    """Compare names and shapes. Raises InvalidWeightsError with three lists."""
    missing = expected.keys() - tensors.keys()
    unexpected = tensors.keys() - expected.keys()
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    lists = (("missing", sorted(missing)), ("unexpected", sorted(unexpected)), ("wrong shape", sorted(wrong)))
    problems = [f"{len(names)} {what}: {_shortened(names)}" for what, names in lists if names]
    if problems:
        raise InvalidWeightsError(
            f"{source}: the weights do not fit the network; nothing was loaded; {'; '.join(problems)}."
        )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """A bare state dict from a ``.pth`` file, on the CPU, through the restricted unpickler.

    A leading ``module.`` of all names is removed. Raises InvalidWeightsError; never unpickles code.
    """
    path = Path(path)
    refuse_page(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on old storage classes, which old files cannot avoid
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it names {named[1].rstrip('.')}, which is code" if named else "it is no tensor file"
        raise InvalidWeightsError(
            f"{path}: refused: {found}. Expected a state dict of plain tensors (an undamaged one); "
            "fnbench never unpickles code."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, KeyError):  # the unpickler met an instruction that does not exist
            reason = "no torch file, or not the whole one"
        raise InvalidWeightsError(
            f"{path}: damaged or truncated checkpoint ({reason}). Copy or download it again."
        ) from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()) or not loaded:
        raise InvalidWeightsError(f"{path}: expected a bare state dict (names to tensors), found {_kind(loaded)}.")
    tensors = {_text(name): value for name, value in loaded.items()}
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def packaged_weights(model: str) -> Path | None:
    """The weights that come with this version of a built-in model, or None."""
    path = folder("baselines") / model / "weights.safetensors"
    return path if path.is_file() else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_page(path: Path) -> None:
    """Raise InvalidWeightsError for a missing or empty file, a web page, or a Git LFS pointer."""
    if not path.is_file():
        raise InvalidWeightsError(f"{path}: no such file; expected a weights file.")
    with path.open("rb") as file:
        start = file.read(512)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise InvalidWeightsError(f"{path}: an HTML page, not weights. Download the file itself, not its page.")
    if start.startswith(b"version https://git-lfs"):
        raise InvalidWeightsError(f"{path}: a Git LFS pointer, not weights. Fetch the file itself (git lfs pull).")
    if not start:
        raise InvalidWeightsError(f"{path}: an empty file, expected weights. Copy or download it again.")


def _refuse_other_formats(path: Path) -> None:
    refuse_page(path)
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK" or start[:1] == b"\x80":
        raise InvalidWeightsError(
            f"{path}: a torch checkpoint (pickle), expected safetensors. "
            "Convert it first: fnbench convert-weights MODEL FILE --out weights.safetensors."
        )


def _card(path: Path, metadata: Mapping[str, str]) -> WeightsCard:
    known = {item.name for item in fields(WeightsCard)}
    if "architecture" not in metadata:
        raise InvalidWeightsError(f"{path}: safetensors without a card of fnbench; the architecture is not named.")
    try:
        values = {key: json.loads(value) for key, value in metadata.items() if key in known}
    except json.JSONDecodeError as error:
        raise InvalidWeightsError(f"{path}: the card inside the file is damaged ({error}).") from error
    card = WeightsCard(**values)
    if card.version != VERSION:
        raise InvalidWeightsError(f"{path}: card version {card.version}, expected {VERSION}. Use a matching fnbench.")
    return card


def _full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _text(name: object) -> str:
    # Python 2 wrote byte strings as keys.
    return name.decode("ascii") if isinstance(name, bytes) else str(name)


def _kind(value: object) -> str:
    if not isinstance(value, Mapping):
        return type(value).__name__
    return f"a dictionary with {_shortened([_text(name) for name in value])}" if value else "an empty dictionary"


def _shortened(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
