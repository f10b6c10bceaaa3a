"""SynthHuman (the training data of DAViD, 2025): rendered people with exact normals, depth and camera; no agreement.

Files per sample, anywhere below the folder: ``rgb_0000000.png``, ``alpha_0000000.png``, ``depth_0000000.exr`` (cm,
65504 = nothing), ``normal_0000000.exr`` (camera space: right, up, out) and ``cam_0000000.txt`` (3x3 K). Whether the EXR
channels R, G, B hold x, y, z or z, y, x is not documented: pooled over a few samples, the one whose z faces the camera
is taken, and nothing is read when neither clearly does. Reading EXR needs the extra ``fnbench[exr]``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import (
    entries,
    given_root,
    nothing_found,
    read_bytes,
    read_text,
    required,
    settings,
    unknown_capture,
)
from fnbench.camera import Camera
from fnbench.errors import FnbenchError, InvalidDataError, InvalidSettingError, MissingDependencyError
from fnbench.frames import to_canonical
from fnbench.images import read_image, read_mask
from fnbench.types import Capture, NormalMap, Photograph

ORDERS = {"rgb": ("R", "G", "B"), "bgr": ("B", "G", "R"), "xyz": ("X", "Y", "Z")}
"""Names of the EXR channels that hold x, y, z."""
NOTHING = 65504.0
"""Depth of pixels without a surface: the largest number of half precision."""
_SAMPLE = re.compile(r"rgb_(\d+)\.png", re.IGNORECASE)
_MARGIN = 0.15  # by which the mean z of the right channel order must lead
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class SynthHuman:
    """Rendered people as ``0000000``, or ``<folder>/0000000`` below sub-folders.

    root: a folder of unpacked archives.  channels: "auto", or a key of ``ORDERS``.
    """

    name: ClassVar[str] = "synthhuman"
    reported: ClassVar[tuple[str, ...]] = ("channels",)

    def __init__(self, root: Path | None, *, channels: str | None = None) -> None:
        self.root = root
        chosen = settings(self.name, root, channels=channels)
        self._channels: str = chosen["channels"]
        self._frame: str = chosen["frame"]
        if self._channels not in ("auto", *ORDERS):
            raise InvalidSettingError(
                f"synthhuman: channels is {self._channels!r}, expected one of auto, {', '.join(ORDERS)}."
            )

    def capture_ids(self) -> Sequence[str]:
        """Samples, sorted."""
        return list(self._samples)

    @cached_property
    def _samples(self) -> dict[str, str]:
        root = given_root(self.name, self.root)
        found = dict(sorted(_walk(str(root), "")))
        if not found:
            raise nothing_found(self.name, root, "rgb_0000000.png beside normal_0000000.exr")
        return found

    def load(self, capture_id: str) -> Capture:
        """One sample: its picture, camera and exact normals."""
        if capture_id not in self._samples:
            raise unknown_capture(self.name, capture_id, self._samples)
        folder, number = Path(self._samples[capture_id]), capture_id.split("/")[-1]
        files = entries(folder)
        path = {kind: required(folder, files, f"{kind}_{number}.{suffix}") for kind, suffix in _FILES.items()}
        image = read_image(path["rgb"], modes=("RGB",))
        shape = image.shape[:2]
        alpha = read_mask(path["alpha"])
        normals = _stacked(read_exr(path["normal"]), ORDERS[self.channels], str(path["normal"]))
        depth = next(iter(read_exr(path["depth"]).values()))
        for what, size in (("alpha", alpha.shape), ("normal", normals.shape[:2]), ("depth", depth.shape)):
            if size != shape:
                raise InvalidDataError(f"{path[what]}: {what} of {size}, expected {shape} as {path['rgb'].name}.")
        length = np.linalg.norm(normals, axis=-1)
        unit = to_canonical(normals / np.where(length > 0, length, 1)[..., None], self._frame)
        mask = (alpha > 127) & (depth < NOTHING) & (np.abs(length - 1) < 0.05) & (unit[..., 2] > 0)
        unit = np.where(mask[..., None], unit, 0)
        camera = _camera(read_text(path["cam"]), shape, str(path["cam"]))
        return Capture(
            id=capture_id,
            subject=capture_id,
            measured=NormalMap(unit.astype(np.float32), mask),
            photographs=partial(_photograph, image, camera, number),
            attributes={"channels": self.channels, "light": "rendered"},
        )

    @cached_property
    def channels(self) -> str:
        """Which EXR channels hold x, y, z; decided once, from a few samples spread over the folder."""
        if self._channels != "auto":
            return self._channels
        ids = list(self._samples)
        pooled: dict[str, list[float]] = {}
        problems: list[FnbenchError] = []
        for capture_id in ids[:: max(1, len(ids) // 8)][:8]:
            folder, number = Path(self._samples[capture_id]), capture_id.split("/")[-1]
            try:
                path = required(folder, entries(folder), f"normal_{number}.exr")
                for order, z in _facing(read_exr(path)).items():
                    pooled.setdefault(order, []).append(z)
            except MissingDependencyError:
                raise
            except FnbenchError as error:
                problems.append(error)
        if not pooled:
            raise problems[0]
        ranked = sorted(((float(np.mean(values)), order) for order, values in pooled.items()), reverse=True)
        if ranked[0][0] < 0.3 or (len(ranked) > 1 and ranked[0][0] - ranked[1][0] < _MARGIN):
            listed = ", ".join(f"{order} {z:.2f}" for z, order in ranked)
            raise InvalidDataError(
                f"{self.name}: {self.root}: the channel order of normal_*.exr stays unclear (mean z: {listed}); "
                f"expected one over 0.3 and {_MARGIN} ahead. Give channels= one of {', '.join(ORDERS)}."
            )
        return ranked[0][1]


_FILES = {"rgb": "png", "alpha": "png", "depth": "exr", "normal": "exr", "cam": "txt"}


def read_exr(path: Path) -> Mapping[str, NDArray[np.float32]]:
    """Channels of an EXR file by upper-case name, each (H, W) float32."""
    content = read_bytes(path)
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingDependencyError(f"{path}: reading EXR needs OpenEXR: pip install 'fnbench[exr]'.") from error
    if not content.startswith(b"\x76\x2f\x31\x01"):
        raise InvalidDataError(f"{path}: no EXR file, it begins with {content[:4]!r}. Copy it again.")
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            return {
                name.upper()[-1:]: np.asarray(channel.pixels, np.float32) for name, channel in file.channels().items()
            }
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidDataError(f"{path}: damaged EXR file ({error}). Copy it again.") from None


def _facing(channels: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """Mean z of the surface under each channel order that the file offers."""
    offered = {order: names for order, names in ORDERS.items() if set(names) <= set(channels)}
    found = {}
    for order, names in offered.items():
        normals = np.stack([channels[name] for name in names], axis=-1)
        surface = np.abs(np.linalg.norm(normals, axis=-1) - 1) < 0.05
        found[order] = float(normals[surface][:, 2].mean()) if surface.any() else -1.0
    return found


def _stacked(channels: Mapping[str, NDArray[np.float32]], names: tuple[str, ...], where: str) -> NDArray[np.float64]:
    missing = [name for name in names if name not in channels]
    if missing:
        raise InvalidDataError(
            f"{where}: channels {', '.join(channels)}, expected {', '.join(names)} for x, y, z. Give channels=."
        )
    return np.stack([channels[name] for name in names], axis=-1).astype(np.float64)


def _camera(text: str, shape: tuple[int, ...], name: str) -> Camera:
    numbers = [float(number) for number in _NUMBER.findall(text)]
    K = np.array(numbers[:9]).reshape(3, 3) if len(numbers) == 9 else np.zeros((3, 3))
    if len(numbers) != 9 or not (K[0, 0] > 0 and K[1, 1] > 0 and abs(K[2, 2] - 1) < 1e-6):
        raise InvalidDataError(
            f"{name}: {len(numbers)} numbers that are no camera matrix, expected 3x3 with 1 at its end."
        )
    return Camera(K, np.eye(4), shape[1], shape[0])  # without a scan the world is the camera


def _photograph(image: NDArray[np.uint8], camera: Camera, name: str) -> tuple[Photograph, ...]:
    return (Photograph(image, name=name, camera=camera),)


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as listing:
        for entry in listing:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{prefix}{entry.name}/")
            elif sample := _SAMPLE.fullmatch(entry.name):
                yield f"{prefix}{sample[1]}", folder
