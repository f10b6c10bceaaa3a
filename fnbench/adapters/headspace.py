"""Headspace (Dai et al., IJCV 2020; the data behind the Liverpool-York head model): 1519 textured head scans.

Facts: datasets/headspace/card.toml. A subject folder holds one scan ``<stamp>.obj`` with colours on its vertices, its
texture, and 68 landmarks as vertex numbers. Photographs and ``.tka`` calibrations come in a second archive. The raw
scans are probably not frontal: the face is oriented by its landmarks. In which unit the radial distortion is written is
known with low confidence: a setting, and a reading that no lens has is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import given_root, nothing_found, read_text, settings, unknown_capture
from fnbench.camera import Camera
from fnbench.errors import InvalidDataError, InvalidSettingError
from fnbench.images import read_image
from fnbench.lens import LARGEST, corner_shift, undistorted
from fnbench.scans.read import read_scan
from fnbench.types import Capture, Photograph

EYE_CORNERS_MM = (65.0, 120.0)
DISTORTIONS = ("sensor-mm", "normalised", "none")
"""How ``%K`` is read: coefficients of the radius on the sensor in mm, or in focal lengths; or not at all."""
_SUBJECT = re.compile(r"\d{5}")
_COLOUR_PODS = "[1-5][cC].png"
"""The colour camera of each of the five pods; A and B are monochrome stereo cameras."""


class Headspace:
    """Scans as ``00001``: one per subject.

    root: the folder that holds ``headspaceOnline`` (and ``headspacePngTka``), or ``subjects`` itself.

    The unit and the reading of the distortion are settings (card, or ``fnbench.toml`` in the folder).
    """

    name: ClassVar[str] = "headspace"

    def __init__(self, root: Path | None) -> None:
        self.root = root
        chosen = settings(self.name, root)
        self._unit: str = chosen["unit"]
        self._distortion: str = chosen["distortion"]
        if self._distortion not in DISTORTIONS:
            raise InvalidSettingError(
                f"{self.name}: distortion is {self._distortion!r}, expected one of {', '.join(DISTORTIONS)}."
            )

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._folders())

    def load(self, capture_id: str) -> Capture:
        folders = self._folders()
        if capture_id not in folders:
            raise unknown_capture(self.name, capture_id, folders)
        folder = folders[capture_id]
        mesh = _one(folder, "*.[oO][bB][jJ]", "one .obj")
        # Landmarks are vertex numbers, so equal positions must stay vertices of their own.
        scan = read_scan(mesh, unit=self._unit, weld=False)
        landmarks = scan.vertices[read_landmarks(_one(folder, "ldmks*.txt", "ldmks<stamp>.txt"), len(scan.vertices))]
        corners = float(np.linalg.norm(landmarks[36] - landmarks[45]))
        if not EYE_CORNERS_MM[0] <= corners <= EYE_CORNERS_MM[1]:
            raise InvalidDataError(
                f"{mesh}: the outer eye corners are {corners:.4g} mm apart, expected {EYE_CORNERS_MM[0]:.0f} to "
                f"{EYE_CORNERS_MM[1]:.0f}. Another unit, or landmarks of another file?"
            )
        pods = self._pods(capture_id, mesh.stem)
        return Capture(
            id=capture_id,
            subject=capture_id,
            scan=replace(scan, name=capture_id),
            landmarks=landmarks,
            photographs=partial(_photographs, pods, self._distortion) if pods else None,
            attributes=_person(folder),
        )

    def _folders(self) -> dict[str, Path]:
        root = given_root(self.name, self.root)
        for parent in (root / "headspaceOnline" / "subjects", root / "subjects", root):
            found = {path.name: path for path in parent.glob("*") if _SUBJECT.fullmatch(path.name)}
            if found:
                return found
        raise nothing_found(self.name, root, f"{root}/headspaceOnline/subjects/00001/<stamp>.obj")

    def _pods(self, subject: str, stamp: str) -> tuple[Path, ...]:
        """Colour photographs that come with a calibration."""
        root = given_root(self.name, self.root)
        for top in (root, root.parent, root.parent.parent):
            folder = top / "headspacePngTka" / "subjects" / subject / stamp
            if folder.is_dir():
                return tuple(path for path in sorted(folder.glob(_COLOUR_PODS)) if _calibration(path) is not None)
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class Tka:
    """A ``.tka`` calibration: X_camera = R (X - C), lengths in millimetres.

    rotation: (3, 3).  centre: (3,).  focal: mm.  radial: (2,) distortion.  pixel: (2,) mm.  principal: (2,) px.
    size: width, height in pixels.
    """

    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]
    focal: float
    radial: NDArray[np.float64]
    pixel: NDArray[np.float64]
    principal: NDArray[np.float64]
    size: tuple[int, int]

    @property
    def K(self) -> NDArray[np.float64]:  # noqa: N802 (the field's name)
        """(3, 3) intrinsics in pixels."""
        fx, fy = self.focal / self.pixel
        return np.array([[fx, 0, self.principal[0]], [0, fy, self.principal[1]], [0, 0, 1.0]])

    def coefficients(self, reading: str) -> NDArray[np.float64]:
        """(2,) radial coefficients of the radius in focal lengths; reading: one of DISTORTIONS."""
        if reading == "none":
            return np.zeros(2)
        # In 1/mm^2 on the sensor; with coordinates in units of the focal length it grows by its square.
        return self.radial * ([self.focal**2, self.focal**4] if reading == "sensor-mm" else 1.0)


def read_tka(path: Path) -> Tka:
    """A ``.tka`` file: keys ``%M`` (three rows), ``%X %Y %Z``, ``%f``, ``%K %K2``, ``%x %y``, ``%a %b``, ``%is``."""
    words = read_text(path).replace(":", " ").split()
    values: dict[str, list[float]] = {}
    key = ""
    for word in words:
        if word.startswith("%"):
            key = word
            values[key] = []
            continue
        try:
            values.setdefault(key, []).append(float(word))
        except ValueError as error:
            raise InvalidDataError(f"{path}: {error}. Copy it again.") from error
    counts = {"%M": 9, "%X": 1, "%Y": 1, "%Z": 1, "%f": 1, "%K": 1, "%x": 1, "%y": 1, "%a": 1, "%b": 1, "%is": 2}
    wrong = [name for name, count in counts.items() if len(values.get(name, ())) != count]
    if wrong:
        raise InvalidDataError(
            f"{path}: {', '.join(wrong)} missing or of another length; expected a calibration. Copy it again."
        )
    one = {name: numbers[0] for name, numbers in values.items() if numbers}
    rotation = np.array(values["%M"]).reshape(3, 3)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2) or np.linalg.det(rotation) < 0:
        raise InvalidDataError(f"{path}: %M is no rotation. Copy it again.")
    return Tka(
        rotation,
        np.array([one["%X"], one["%Y"], one["%Z"]]),
        one["%f"],
        np.array([one["%K"], one.get("%K2", 0.0)]),
        np.array([one["%x"], one["%y"]]),
        np.array([one["%a"], one["%b"]]),
        (int(values["%is"][0]), int(values["%is"][1])),
    )


def read_landmarks(path: Path, vertices: int) -> NDArray[np.int64]:
    """(68,) vertex indices, counted from 0; the file counts from 1 and may go on after the 68th."""
    words = read_text(path).split()
    try:
        numbers = np.array([int(float(word)) for word in words[:68]])
    except ValueError as error:
        raise InvalidDataError(f"{path}: {error}; expected vertex numbers. Copy it again.") from error
    if len(numbers) < 68 or numbers.min() < 1 or numbers.max() > vertices:
        found = f"{len(numbers)} numbers" + (f" from {numbers.min()} to {numbers.max()}" if len(numbers) else "")
        raise InvalidDataError(f"{path}: {found}, expected 68 from 1 to {vertices}. Copy it again.")
    return numbers - 1


def _photographs(pods: Sequence[Path], distortion: str) -> tuple[Photograph, ...]:
    found = []
    for path in pods:
        calibration = _calibration(path)
        if calibration is None:
            continue
        tka = read_tka(calibration)
        image = read_image(path)
        if image.shape[1::-1] != tka.size:
            raise InvalidDataError(
                f"{path}: {image.shape[1]}x{image.shape[0]} pixels, {calibration.name} says {tka.size}."
            )
        extrinsics = np.hstack([tka.rotation, -(tka.rotation @ tka.centre)[:, None]])
        coefficients = tka.coefficients(distortion)
        shift = corner_shift(tka.K, tka.size, coefficients)
        if shift > LARGEST:
            fitting = [name for name in DISTORTIONS if corner_shift(tka.K, tka.size, tka.coefficients(name)) <= LARGEST]
            raise InvalidDataError(
                f"{calibration}: %K read as {distortion} moves a corner by {shift:.0%} of its distance from the "
                f"centre, expected at most {LARGEST:.0%}. Set distortion in fnbench.toml to {' or '.join(fitting)}."
            )
        found.append(
            Photograph(
                undistorted(image, tka.K, coefficients),
                path.stem,
                Camera.from_opencv(tka.K, extrinsics, *tka.size),
                attributes={"camera": path.stem, "distortion": distortion, "distortion_at_corner": round(shift, 5)},
            )
        )
    return tuple(found)


def _calibration(photograph: Path) -> Path | None:
    found = sorted(photograph.parent.glob(f"calib*{photograph.stem}*.[tT][kK][aA]"))
    return found[0] if found else None


def _one(folder: Path, pattern: str, expected: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InvalidDataError(f"{folder}: expected {expected}, found {names}. Copy the folder again.")
    return found[0]


def _person(folder: Path) -> dict[str, str]:
    """What ``person*.txt`` says, key by key; nothing when it is absent."""
    found = {}
    for path in sorted(folder.glob("person*.txt"))[:1]:
        for line in read_text(path).splitlines():
            key, colon, value = line.partition(":")
            if colon and key.strip() in ("age", "gender", "ethnicity", "beardDescriptor", "capDescriptor"):
                found[key.strip()] = value.strip()
    return found
