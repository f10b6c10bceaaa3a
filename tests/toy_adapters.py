"""Tiny datasets for testing the pipeline, used through ``tests/toy_adapters.py:Spheres`` like a user's own.

The root holds ``captures.txt``: one capture per line, id and optionally what happens when it is loaded:
``fail`` (a damaged file), ``bug`` (an exception of ours), ``die`` (the process is killed),
``die-once``, ``slow SECONDS``, ``wide`` (a size of its own), ``empty`` (nothing measured).
"""

from __future__ import annotations

import os
import signal
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from fnbench.errors import DatasetNotFoundError, InvalidDataError
from fnbench.types import Capture, NormalMap, Photograph
from tests.spheres import sphere_sample


def write_captures(root: Path, lines: Sequence[str]) -> Path:
    """A root with these captures."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "captures.txt").write_text("\n".join(lines) + "\n")
    return root


class Spheres:
    """Measured normals of spheres with pictures of noise: rendered in a millisecond."""

    name: ClassVar[str] = "spheres"

    def __init__(self, root: Path | None, side: int = 48) -> None:
        self.root = Path(root or ".")
        self.side = side

    def capture_ids(self) -> Sequence[str]:
        try:
            lines = (self.root / "captures.txt").read_text().splitlines()
        except OSError:
            raise DatasetNotFoundError(f"spheres: no captures.txt under {self.root}.") from None
        return sorted(line.split()[0] for line in lines if line.strip())

    def load(self, capture_id: str) -> Capture:
        self._suffer(capture_id)
        seed = zlib.crc32(capture_id.encode())
        sample = sphere_sample("x/0", self.side, seed)
        target = sample.target
        if self._fate(capture_id)[:1] == ["empty"]:
            target = NormalMap(np.zeros_like(target.normals), np.zeros_like(target.mask))
        photographs = tuple(Photograph(np.roll(sample.image, k, axis=0), f"light{k}") for k in range(2))
        return Capture(capture_id, capture_id.split("/")[0], measured=target, photographs=lambda: photographs)

    def _fate(self, capture_id: str) -> list[str]:
        lines = [line.split() for line in (self.root / "captures.txt").read_text().splitlines() if line.strip()]
        return next(words[1:] for words in lines if words[0] == capture_id)

    def _suffer(self, capture_id: str) -> None:
        fate = self._fate(capture_id)
        if not fate:
            return
        if fate[0] == "fail":
            raise InvalidDataError(f"{capture_id}: the file is truncated; copy it again.")
        if fate[0] == "bug":
            raise ZeroDivisionError("a bug")
        if fate[0] == "slow":
            time.sleep(float(fate[1]))
        marker = self.root / "died"
        if fate[0] == "die" or (fate[0] == "die-once" and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
