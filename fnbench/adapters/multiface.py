"""Multiface (Wuu et al., 2022): 13 people, tracked meshes with many calibrated photographs, openly downloadable.

Facts: datasets/multiface/card.toml. A sequence folder ``m--YYYYMMDD--####--<id>--GHS`` holds tracked template meshes
per expression and frame in a head frame, the rigid transform of every frame into the world, and photographs whose
cameras stand in ``KRT``. The truth is the tracked template: smooth. Cameras are handed out in the frame of the mesh.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import given_root, nothing_found, read_text, unknown_capture
from fnbench.camera import Camera
from fnbench.errors import InvalidDataError
from fnbench.images import read_image
from fnbench.lens import undistorted
from fnbench.scans.read import read_scan
from fnbench.types import Capture, Photograph, Scan

UNIT = "mm"
FRONT = (0.0, 0.0, 1.0)
"""The tracked mesh stands upright in its head frame (low confidence): visible front faces are checked on reading."""
_SEQUENCE = re.compile(r"m--\d{8}--\d{4}--(\w+)--GHS", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """One camera of ``KRT``: K (3, 3), distortion (5,), world to OpenCV camera (3, 4)."""

    K: NDArray[np.float64]
    distortion: NDArray[np.float64]
    extrinsics: NDArray[np.float64]


class Multiface:
    """Tracked frames as ``<sequence folder>/<expression>/<frame>``.

    root: folder with sequence folders, or one of them.
    cameras: names of the cameras whose photographs are handed out; all of them when empty.
    """

    name: ClassVar[str] = "multiface"

    def __init__(self, root: Path | None, *, cameras: Sequence[str] = ()) -> None:
        self.root, self.cameras = root, tuple(cameras)

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._found())

    def load(self, capture_id: str) -> Capture:
        mesh = self._found().get(capture_id)
        if mesh is None:
            raise unknown_capture(self.name, capture_id, self._found())
        sequence, expression, frame = capture_id.split("/")
        folder = mesh.parents[2]
        match = _SEQUENCE.fullmatch(sequence)
        images = sorted(folder.glob(f"images/{expression}/*/{frame}.png"))
        images = [path for path in images if not self.cameras or path.parent.name in self.cameras]
        return Capture(
            id=capture_id,
            subject=match[1] if match else sequence,
            scan=_read_mesh(mesh),
            photographs=partial(_photographs, folder, mesh, images) if images else None,
            attributes={"expression": expression, "frame": frame},
        )

    def _found(self) -> Mapping[str, Path]:
        root = given_root(self.name, self.root)
        parents = [root] if _SEQUENCE.fullmatch(root.name) else sorted(root.iterdir())
        found = {
            f"{folder.name}/{mesh.parent.name}/{mesh.stem}": mesh
            for folder in parents
            if _SEQUENCE.fullmatch(folder.name)
            for mesh in folder.glob("tracked_mesh/*/*.obj")
        }
        if not found:
            raise nothing_found(
                self.name, root, f"{root}/m--<date>--<number>--<id>--GHS/tracked_mesh/<expression>/<frame>.obj"
            )
        return found


def read_krt(path: Path) -> dict[str, Calibration]:
    """The cameras of a ``KRT`` file by name: a name line, three lines K, one line distortion, three lines [R | t]."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if len(lines) % 8:
        raise InvalidDataError(
            f"{path}: {len(lines)} lines, expected eight per camera (name, K, distortion, [R|t]). Copy it again."
        )
    found = {}
    for start in range(0, len(lines), 8):
        name = " ".join(lines[start])
        try:
            K, distortion, extrinsics = (
                np.array([[float(word) for word in line] for line in lines[start + low : start + high]])
                for low, high in ((1, 4), (4, 5), (5, 8))
            )
        except ValueError as error:
            raise InvalidDataError(f"{path}: camera {name}: {error}. Copy it again.") from error
        if K.shape != (3, 3) or extrinsics.shape != (3, 4):
            raise InvalidDataError(
                f"{path}: camera {name}: K {K.shape} and [R|t] {extrinsics.shape}, expected (3, 3) and (3, 4). "
                "Copy it again."
            )
        found[name] = Calibration(K, distortion.ravel(), extrinsics)
    return found


def _photographs(folder: Path, mesh: Path, images: Sequence[Path]) -> tuple[Photograph, ...]:
    cameras = read_krt(folder / "KRT")
    to_world = _transform(mesh.with_name(f"{mesh.stem}_transform.txt"))
    vertices = _read_mesh(mesh).vertices
    found = []
    for path in images:
        calibration = cameras.get(path.parent.name)
        if calibration is None:
            raise InvalidDataError(f"{path}: KRT has no camera {path.parent.name!r}. Copy KRT of the same sequence.")
        image = undistorted(read_image(path), calibration.K, calibration.distortion)
        extrinsics = np.vstack([calibration.extrinsics, [0, 0, 0, 1]]) @ to_world
        camera = Camera.from_opencv(calibration.K, extrinsics, image.shape[1], image.shape[0])
        pixels, depth = camera.project(vertices)
        inside = (depth > 0) & (pixels > 0).all(axis=1) & (pixels < image.shape[1::-1]).all(axis=1)
        if inside.mean() < 0.2:
            raise InvalidDataError(
                f"{path}: {inside.mean():.0%} of the mesh projects into the photograph. Unit or camera convention of "
                "this copy differ from what is known (see datasets/multiface/card.toml)."
            )
        found.append(Photograph(image, path.parent.name, camera, attributes={"camera": path.parent.name}))
    return tuple(found)


def _transform(path: Path) -> NDArray[np.float64]:
    """(4, 4) from the frame of the mesh into the world."""
    try:
        numbers = np.array([float(word) for word in read_text(path).split()])
    except ValueError as error:
        raise InvalidDataError(f"{path}: {error}; expected 12 numbers. Copy it again.") from error
    if numbers.size != 12 or not np.isfinite(numbers).all():
        raise InvalidDataError(f"{path}: {numbers.size} numbers, expected 12 (a 3 x 4 matrix). Copy it again.")
    return np.vstack([numbers.reshape(3, 4), [0, 0, 0, 1]])


@lru_cache(maxsize=2)
def _read_mesh(path: Path) -> Scan:
    return read_scan(path, unit=UNIT, front=FRONT, weld=False)
