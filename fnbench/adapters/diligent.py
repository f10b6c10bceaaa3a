"""DiLiGenT layout (Shi et al., 2019): photometric stereo under many known lights, with measured normals.

Tree: ``pmsData/<object>PNG/`` with linear pictures (16 bit in the original), ``filenames.txt`` that orders them,
``light_directions.txt`` and ``light_intensities.txt`` line by line, ``mask.png`` and ``Normal_gt.mat``. Objects, no
faces: a test of photometric stereo on real light, and of methods that take it for granted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    subfolders,
    unknown_capture,
)
from fnbench.errors import FnbenchError, InvalidDataError
from fnbench.frames import to_canonical
from fnbench.images import binary_mask
from fnbench.png import read_png
from fnbench.types import Capture, NormalMap, Photograph

_OBJECT = re.compile(r"(.+)PNG", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WHITE = 99.5  # percentile of the object's brightness that a shown picture puts at white


@dataclass(frozen=True, slots=True, eq=False)
class Exposures:
    """The measured light of one object.

    intensity: (K, H, W, 3) float32 linear, divided by the intensity of each light.
    directions: (K, 3) unit vectors towards the lights, canonical axes.
    """

    intensity: NDArray[np.float32]
    directions: NDArray[np.float64]


class Diligent:
    """Objects as the name of their folder without ``PNG``.

    root: ``pmsData`` or the folder above it.
    """

    name: ClassVar[str] = "diligent"

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._divided: bool = settings(self.name, root)["divide_by_intensity"]

    def capture_ids(self) -> Sequence[str]:
        """Objects, sorted."""
        return list(self._objects)

    @cached_property
    def _objects(self) -> dict[str, str]:
        root = given_root(self.name, self.root)
        top = entries(root).get("pmsdata", root)
        found = {match[1]: e.path for e in subfolders(top) if (match := _OBJECT.fullmatch(e.name)) is not None}
        if not found:
            raise nothing_found(self.name, root, "pmsData/<object>PNG/001.png and Normal_gt.mat")
        return dict(sorted(found.items()))

    def load(self, capture_id: str) -> Capture:
        """One object: measured normals, and one picture per light."""
        folder = self._folder(capture_id)
        files = entries(folder)
        mask = binary_mask(required(folder, files, "mask.png"))
        target = read_normals(required(folder, files, "Normal_gt.mat"), mask)
        exposures = self.exposures(capture_id)
        if exposures.intensity.shape[1:3] != mask.shape:
            raise InvalidDataError(
                f"{folder}: pictures of {exposures.intensity.shape[1:3]} and a mask of {mask.shape} pixels, "
                f"expected one size. Masks are not resized: copy the one that belongs to the pictures.",
                code="FM-25",
            )
        return Capture(
            id=capture_id,
            subject=capture_id,
            measured=target,
            photographs=partial(_photographs, exposures, target.mask),
            attributes={"lights": len(exposures.directions)},
        )

    def exposures(self, capture_id: str) -> Exposures:
        """The pictures of one object as linear light, with the direction of each light."""
        folder = self._folder(capture_id)
        files = entries(folder)
        names = read_text(required(folder, files, "filenames.txt")).split()
        directions = _table(required(folder, files, "light_directions.txt"), len(names))
        intensities = _table(required(folder, files, "light_intensities.txt"), len(names))
        stack = (
            np.stack([_linear(required(folder, files, name)) for name in names]) if names else np.zeros((0, 1, 1, 3))
        )
        return Exposures(
            (stack / intensities[:, None, None, :] if self._divided else stack).astype(np.float32),
            directions / np.linalg.norm(directions, axis=1, keepdims=True),
        )

    def _folder(self, capture_id: str) -> Path:
        if capture_id not in self._objects:
            raise unknown_capture(self.name, capture_id, self._objects)
        return Path(self._objects[capture_id])


def read_normals(path: Path, mask: NDArray[np.bool_]) -> NormalMap:
    """Normal_gt.mat as a canonical normal map inside the mask."""
    from scipy.io import loadmat

    try:
        variables: Mapping[str, NDArray[np.float64]] = loadmat(io.BytesIO(read_bytes(path)))
    except FnbenchError:
        raise
    except Exception as error:  # scipy raises whatever the bytes lead it to
        raise InvalidDataError(f"{path}: not a readable MATLAB file ({error}). Copy it again.") from None
    if "Normal_gt" not in variables:
        held = ", ".join(key for key in variables if not key.startswith("__")) or "nothing"
        raise InvalidDataError(f"{path}: the variable Normal_gt is missing, found {held}.")
    native = np.asarray(variables["Normal_gt"], np.float64)
    if native.shape != (*mask.shape, 3):
        raise InvalidDataError(
            f"{path}: normals of shape {native.shape}, expected {(*mask.shape, 3)} as mask.png. Copy both again.",
            code="FM-25",
        )
    length = np.linalg.norm(native, axis=-1)
    known = mask & (np.abs(length - 1) < 0.02)
    if not known.any():
        raise InvalidDataError(f"{path}: no unit normal inside the mask. Copy it again.")
    unit = np.where(known[..., None], native / np.where(known, length, 1)[..., None], 0)
    return NormalMap(to_canonical(unit, "diligent").astype(np.float32), known)


def _linear(path: Path) -> NDArray[np.float32]:
    try:
        pixels = read_png(path)
    except FnbenchError as error:
        raise InvalidDataError(f"{path}: {error}") from None
    if pixels.shape[2] != 3:
        raise InvalidDataError(f"{path}: {pixels.shape[2]} channels, expected 3.")
    return (pixels / np.float32(np.iinfo(pixels.dtype).max)).astype(np.float32)


def _table(path: Path, rows: int) -> NDArray[np.float64]:
    lines = [[float(number) for number in _NUMBER.findall(line)] for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    if len(lines) != rows or rows == 0 or any(len(line) != 3 for line in lines):
        raise InvalidDataError(
            f"{path}: {len(lines)} lines, expected {rows} of three numbers, one per picture of filenames.txt."
        )
    table = np.array(lines)
    if not (np.linalg.norm(table, axis=1) > 0).all():
        raise InvalidDataError(f"{path}: a line of zeros is no light. Copy it again.")
    return table


def _photographs(exposures: Exposures, mask: NDArray[np.bool_]) -> tuple[Photograph, ...]:
    """Pictures as a screen shows them: scaled to the object's brightness, sRGB."""
    white = max(float(np.percentile(exposures.intensity[:, mask], _WHITE)), 1e-6)
    shown = np.clip(exposures.intensity / white, 0, 1)
    coded = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * np.maximum(shown, 1e-9) ** (1 / 2.4) - 0.055)
    return tuple(
        Photograph(
            np.rint(255 * image).astype(np.uint8),
            name=f"{k + 1:03d}",
            attributes={"light": k, "light_direction": [round(float(value), 4) for value in direction]},
        )
        for k, (image, direction) in enumerate(zip(coded, exposures.directions, strict=True))
    )
