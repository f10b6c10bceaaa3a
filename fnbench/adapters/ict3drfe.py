"""ICT-3DRFE (Stratou et al., FG 2011): light-stage faces with geometry, albedo and photometric normals; unverified.

23 people, 15 expressions. No file name of the set is public, so files are found by patterns in ``fnbench.toml`` (or the
card): a folder that holds a mesh is a capture. A role that two files could play is refused. By default the truth is
the mesh; with ``truth = "specular_normal"`` (or ``"diffuse_normal"``) it is that picture, once its axes are declared
with ``normal_frame``, because nobody outside knows them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import entries, given_root, nothing_found, settings, unknown_capture
from fnbench.errors import DatasetNotFoundError, InvalidDataError, InvalidSettingError
from fnbench.frames import PRESETS, to_canonical
from fnbench.images import read_image
from fnbench.scans.read import read_scan
from fnbench.types import Capture, NormalMap, Photograph

ROLES = ("mesh", "diffuse_albedo", "specular_albedo", "diffuse_normal", "specular_normal")
TRUTHS = ("mesh", "diffuse_normal", "specular_normal")
_LENGTH = 0.2  # how far a decoded vector may be from unit length and still count as a normal


class Ict3dRfe:
    """Captures as the path of their folder.

    root: folder of the unpacked set; ``fnbench.toml`` in it holds the patterns that fit.
    """

    name: ClassVar[str] = "ict3drfe"
    reported: ClassVar[tuple[str, ...]] = ("roles", "truth")

    def __init__(self, root: Path | None, **given: Any) -> None:
        self.root = root
        self.settings = settings(self.name, root, **given)
        if self.settings["truth"] not in TRUTHS:
            raise InvalidSettingError(
                f"{self.name}: truth is {self.settings['truth']!r}, expected one of {', '.join(TRUTHS)}."
            )

    def capture_ids(self) -> Sequence[str]:
        """Folders that hold a mesh, sorted."""
        return list(self._folders)

    @cached_property
    def _folders(self) -> dict[str, str]:
        root = given_root(self.name, self.root)
        found = dict(sorted(_walk(str(root), "", self.settings["mesh"])))
        if not found:
            raise nothing_found(
                self.name, root, f"a folder per capture with a file like {' or '.join(self.settings['mesh'])}"
            )
        return found

    def load(self, capture_id: str) -> Capture:
        """One folder: the mesh with its diffuse albedo, or a normal picture when its axes are declared."""
        if capture_id not in self._folders:
            raise unknown_capture(self.name, capture_id, self._folders)
        folder = Path(self._folders[capture_id])
        files = entries(folder)
        played = {role: found for role in ROLES if (found := self._player(folder, files, role)) is not None}
        attributes = {"roles": " ".join(played), "truth": self.settings["truth"], "verified": False}
        subject = capture_id.split("/")[0]
        if self.settings["truth"] == "mesh":
            return Capture(capture_id, subject, scan=self._scan(played), attributes=attributes)
        target, image = self._normals(folder, played)
        return Capture(
            capture_id, subject, measured=target, photographs=partial(_photograph, image), attributes=attributes
        )

    def _player(self, folder: Path, files: Mapping[str, Path], role: str) -> Path | None:
        """The one file that fits the patterns of a role, or None."""
        fitting = [
            path for name, path in files.items() if any(fnmatchcase(name, p.lower()) for p in self.settings[role])
        ]
        if len(fitting) > 1:
            raise InvalidDataError(
                f"{folder}: {len(fitting)} files could be the {role} ({', '.join(path.name for path in fitting)}). "
                f'Give the pattern that fits one of them in fnbench.toml ({role} = ["..."]).'
            )
        return fitting[0] if fitting else None

    def _scan(self, played: Mapping[str, Path]) -> Any:
        scan = read_scan(played["mesh"], unit=self.settings["unit"], front=(0, 0, 1))
        albedo = played.get("diffuse_albedo")
        if scan.uv is None or albedo is None:
            return scan
        return replace(scan, texture=read_image(albedo), notes=(*scan.notes, f"texture {albedo.name}"))

    def _normals(self, folder: Path, played: Mapping[str, Path]) -> tuple[NormalMap, NDArray[np.uint8]]:
        role, frame = self.settings["truth"], self.settings["normal_frame"]
        if frame not in PRESETS:
            raise InvalidSettingError(
                f"{self.name}: truth = {role!r} needs the axes of that picture, which are not documented: "
                f"normal_frame is {frame!r}, expected one of {', '.join(PRESETS)}."
            )
        for needed in (role, "diffuse_albedo"):
            if needed not in played:
                raise DatasetNotFoundError(f"{folder}: no file fits the {needed} ({', '.join(self.settings[needed])}).")
        image, coded = read_image(played["diffuse_albedo"]), read_image(played[role])
        if image.shape != coded.shape:
            raise InvalidDataError(
                f"{played[role]}: {coded.shape[1]}x{coded.shape[0]} pixels, expected {image.shape[1]}x{image.shape[0]} "
                f"as {played['diffuse_albedo'].name}."
            )
        return decoded(coded, frame, str(played[role])), image


def decoded(coded: NDArray[np.uint8], frame: str, name: str) -> NormalMap:
    """Normals of an 8-bit picture n = v / 127.5 - 1 in the axes of ``frame``; what is no unit vector is left out."""
    native = coded.astype(np.float64) / 127.5 - 1
    length = np.linalg.norm(native, axis=-1)
    unit = native / np.where(length > 0, length, 1)[..., None]
    normals = np.asarray(to_canonical(unit, frame), np.float64)
    mask = (np.abs(length - 1) < _LENGTH) & (normals[..., 2] > 0)
    if mask.mean() < 0.02 or float(normals[mask][:, 2].mean()) < 0.3:
        raise InvalidDataError(
            f"{name}: {100 * mask.mean():.1f} % of the pixels are unit normals that face the camera when read as "
            f"{frame}. Is it another frame, or another coding?"
        )
    return NormalMap(np.where(mask[..., None], normals, 0).astype(np.float32), mask)


def _photograph(image: NDArray[np.uint8]) -> tuple[Photograph, ...]:
    return (Photograph(image, name="diffuse_albedo"),)


def _walk(folder: str, prefix: str, patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as listing:
        inside = list(listing)
    if prefix and any(fnmatchcase(e.name.lower(), p.lower()) for e in inside for p in patterns if not e.is_dir()):
        yield prefix.rstrip("/"), folder
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{prefix}{entry.name}/", patterns)
