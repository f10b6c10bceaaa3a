"""Checkpoints: everything that the next step needs, in one safetensors file without pickle."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fnbench.errors import InvalidSettingError, InvalidWeightsError
from fnbench.files import replacing

_PARTS = ("network", "average", "moments")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state between two steps.

    network, average: weights by name.  moments: of the optimiser, by "<parameter>.<name>".
    about: step, best validation, recipe and data as plain values.
    """

    network: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    about: Mapping[str, Any]


def write_checkpoint(path: Path, state: Checkpoint) -> None:
    """Write the file whole or not at all; the last one stays until then. Raises OutputError."""
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().clone().contiguous()  # clone: shared storage is refused
        for part in _PARTS
        for name, tensor in getattr(state, part).items()
    }
    content = save(tensors, {"about": json.dumps(dict(state.about))})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_checkpoint(path: Path, identity: Mapping[str, str]) -> Checkpoint:
    """Read a checkpoint of the same run.

    identity: recipe and data of this run, compared with those in the file.
    Raises InvalidWeightsError when damaged, InvalidSettingError when it belongs to another recipe or other data.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InvalidWeightsError(
            f"{path}: damaged checkpoint ({error}). Delete it, or start again with --no-resume."
        ) from error
    for name, now in identity.items():
        if about[name] != now:
            raise InvalidSettingError(
                f"{path.parent} holds a run of another {name} ({_difference(about[name], now)}). Give another --out, "
                f"or start again with --no-resume."
            )
    parts = {part: {} for part in _PARTS}  # type: dict[str, dict[str, Tensor]]
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = tensor
    return Checkpoint(**parts, about=about)


def _difference(before: str, now: str) -> str:
    """The first lines that differ, both shown."""
    old, new = before.splitlines(), now.splitlines()
    changed = [line for line in difflib.ndiff(old, new) if line[:2] in ("- ", "+ ")]
    was = [line[2:] for line in changed if line.startswith("-")]
    new = [line[2:] for line in changed if line.startswith("+")]
    return f"there {', '.join(was[:3]) or 'nothing'}; here {', '.join(new[:3]) or 'nothing'}"
