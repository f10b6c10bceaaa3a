"""Multiface (Wuu et al., 2022): 13 people, tracked meshes with many calibrated photographs, openly downloadable.

Facts: datasets/multiface/card.toml. A sequence folder ``m--YYYYMMDD--####--<id>--GHS`` holds tracked template meshes
per expression and frame in a head frame, the rigid transform of every frame into the world, and photographs whose
cameras stand in ``KRT``. The truth is the tracked template: smooth, of one topology. Cameras are handed out in the
frame of the mesh.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import given_root, nothing_found, read_text, settings, unknown_capture
from fnbench.camera import Camera
from fnbench.errors import InvalidDataError, InvalidSettingError
from fnbench.images import read_image
from fnbench.lens import LARGEST, corner_shift, undistorted
from fnbench.scans.read import read_scan
from fnbench.types import Capture, Photograph, Scan, Topology

CONVENTIONS = {"opencv": np.diag([1.0, 1.0, 1.0]), "opengl": np.diag([1.0, -1.0, -1.0])}
"""From the axes of a camera in ``KRT`` to those of OpenCV."""
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

    Unit, axes, camera convention and whether distortion is taken out are settings (card, or ``fnbench.toml``).
    """

    name: ClassVar[str] = "multiface"

    def __init__(self, root: Path | None, *, cameras: Sequence[str] = ()) -> None:
        self.root, self.cameras = root, tuple(cameras)
        self._settings = settings(self.name, root)
        if self._settings["convention"] not in CONVENTIONS:
            raise InvalidSettingError(
                f"{self.name}: convention is {self._settings['convention']!r}, expected {' or '.join(CONVENTIONS)}."
            )

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._found())

    def load(self, capture_id: str) -> Capture:
        found = self._found()
        mesh = found.get(capture_id)
        if mesh is None:
            raise unknown_capture(self.name, capture_id, found)
        sequence, expression, frame = capture_id.split("/")
        folder = mesh.parents[2]
        match = _SEQUENCE.fullmatch(sequence)
        scan = _read_mesh(mesh, self._settings["unit"], tuple(self._settings["front"]))
        images = sorted(folder.glob(f"images/{expression}/*/{frame}.png"))
        images = [path for path in images if not self.cameras or path.parent.name in self.cameras]
        return Capture(
            id=capture_id,
            subject=match[1] if match else sequence,
            scan=scan,
            photographs=partial(_photographs, folder, mesh, scan, images, self._settings) if images else None,
            topology=Topology(scan, partial(self.load, min(found, key=_neutral_first))),
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


def _neutral_first(capture_id: str) -> tuple[bool, str]:
    """Order in which captures may stand for the topology; expressions are named like E001_Neutral_Eyes_Open."""
    return "neutral" not in capture_id.split("/")[1].lower(), capture_id


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


def _photographs(
    folder: Path, mesh: Path, scan: Scan, images: Sequence[Path], settings: Mapping[str, Any]
) -> tuple[Photograph, ...]:
    cameras = read_krt(folder / "KRT")
    to_world = _transform(mesh.with_name(f"{mesh.stem}_transform.txt"))
    to_opencv = CONVENTIONS[settings["convention"]]
    found = []
    for path in images:
        calibration = cameras.get(path.parent.name)
        if calibration is None:
            raise InvalidDataError(f"{path}: KRT has no camera {path.parent.name!r}. Copy KRT of the same sequence.")
        image = read_image(path)
        distortion = calibration.distortion if settings["distortion"] else np.zeros(5)
        shift = corner_shift(calibration.K, (image.shape[1], image.shape[0]), distortion)
        if shift > LARGEST:
            raise InvalidDataError(
                f"{path}: the distortion in KRT moves a corner by {shift:.0%} of its distance from the centre, "
                f"expected at most {LARGEST:.0%}. Another order or unit in this copy? "
                "Set distortion = false in fnbench.toml."
            )
        image = undistorted(image, calibration.K, distortion)
        extrinsics = np.vstack([to_opencv @ calibration.extrinsics, [0, 0, 0, 1]]) @ to_world
        camera = Camera.from_opencv(calibration.K, extrinsics, image.shape[1], image.shape[0])
        pixels, depth = camera.project(scan.vertices)
        inside = (depth > 0) & (pixels > 0).all(axis=1) & (pixels < image.shape[1::-1]).all(axis=1)
        if inside.mean() < 0.2:
            raise InvalidDataError(
                f"{path}: {inside.mean():.0%} of the mesh projects into the photograph. Unit or camera convention of "
                "this copy differ from what is known: set unit or convention in fnbench.toml."
            )
        found.append(
            Photograph(
                image,
                path.parent.name,
                camera,
                attributes={"camera": path.parent.name, "distortion_at_corner": round(shift, 5)},
            )
        )
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
def _read_mesh(path: Path, unit: str, front: tuple[float, ...]) -> Scan:
    return read_scan(path, unit=unit, front=front, weld=False)
