"""Photoface: four photographs per session under four lights, and normals by photometric stereo.

Tree (``PhotofaceDB`` or the folder above it)::

    PhotofaceDB/<subject>/<date_time>/im0.bmp … im3.bmp  LightSource.m  metadata.txt  metadataII.txt  [sn.mat]

The data come without normals. Where their owner ran the set's own MATLAB code, ``sn.mat`` holds them (axes: down,
right, out); otherwise they are recovered here. All four photographs of a session share one ground truth. Which way
the light azimuths turn is documented nowhere: it is decided once per rig, from sessions with ``sn.mat`` or from the
shape of faces, and refused when unclear. Facts and their confidence: datasets/photoface/card.toml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

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
from fnbench.camera import landmark_crop
from fnbench.errors import FnbenchError, InvalidDataError, InvalidSettingError
from fnbench.frames import to_canonical
from fnbench.images import read_image
from fnbench.photometric import rig
from fnbench.photometric.exposures import linear_intensity, shifted, shifts_between
from fnbench.photometric.lights import CASES, Lights, parse_lights
from fnbench.photometric.stereo import Recovered, photometric_stereo
from fnbench.scans.few_points import FittedLandmarks, fit_landmarks
from fnbench.types import Capture, NormalMap, Photograph

POINTS = np.array([36, 39, 27, 42, 45, 31, 30, 35, 48, 54, 8])
"""The 11 marked points as indices of the usual 68, the left of the image first (as ``read_points`` returns them)."""

_MIRRORED = np.array([4, 3, 2, 1, 0, 7, 6, 5, 9, 8, 10])
_Folder = TypeVar("_Folder", str, Path)
_FIELDS = ("sex", "spectacles", "facial_hair", "pose", "quality", "occlusion", "emotion", "other")
_SESSION = re.compile(r"\d{4}-\d{2}-\d{2}.")
_GAMMAS = (1.0, 1.8, 2.2)  # linear, and the two codings that cameras have
_STILL = 0.15  # pixels; a smaller shift is measurement noise, and resampling would only blur
_GAIN = 0.9  # of the median residual; what a registration must reach to be believed
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """The files of one session, read and checked, nothing computed.

    images: four (H, W, 3) uint8.  lights: in rig axes.  landmarks: fitted to the 11 points.
    details: the fields of metadataII.txt.  stored: sn.mat in canonical axes with its mask, or None.
    """

    name: str
    images: tuple[NDArray[np.uint8], ...]
    lights: Lights
    landmarks: FittedLandmarks
    details: Mapping[str, Any]
    stored: NormalMap | None


class Photoface:
    """Photoface sessions as captures with measured normals.

    root: ``PhotofaceDB`` or the folder that holds it.
    normals: "auto" takes sn.mat where there is one, "stereo" always recovers them here, "sn.mat" asks for it.
    azimuth: "auto" decides the light azimuth, or one of ``lights.CASES``.
    gamma: exponent that makes the photographs linear.

    What is not given comes from ``fnbench.toml`` in the folder, else from the card's settings.
    """

    name: ClassVar[str] = "photoface"
    reported: ClassVar[tuple[str, ...]] = (
        "pose", "quality", "spectacles", "details", "normals_source", "lights", "azimuth", "azimuth_agrees",
        "sn_mat_angle", "residual_median", "residual_p95", "three_lights_share", "registration_disagreement_px",
        "landmark_residual",
    )  # fmt: skip

    def __init__(
        self,
        root: Path | None,
        *,
        normals: str | None = None,
        azimuth: str | None = None,
        gamma: float | None = None,
    ) -> None:
        chosen = settings(self.name, root, normals=normals, azimuth=azimuth, gamma=gamma)
        self.root = root
        self.normals = _choice("normals", chosen["normals"], ("auto", "stereo", "sn.mat"))
        self.azimuth = _choice("azimuth", chosen["azimuth"], ("auto", *CASES))
        self.gamma: float = chosen["gamma"]
        self._max_residual: float = chosen["max_residual"]
        self._max_shift: float = chosen["max_shift"]
        self._rig_sessions: int = chosen["rig_sessions"]
        self._first_pixel: float = chosen["first_pixel"]

    def capture_ids(self) -> Sequence[str]:
        """Sessions as ``<subject>_<date_time>``, sorted."""
        return list(self._sessions)

    @cached_property
    def _sessions(self) -> dict[str, str]:
        root = given_root(self.name, self.root)
        database = entries(root).get("photofacedb", root)
        found = {
            f"{subject.name}_{session.name}": session.path
            for subject in subfolders(database)
            if subject.name.isdigit()
            for session in subfolders(subject.path)
            if _SESSION.match(session.name)
        }
        if not found:
            raise nothing_found(self.name, root, "PhotofaceDB/<subject>/<date_time>/im0.bmp … im3.bmp")
        return dict(sorted(found.items()))

    def load(self, capture_id: str) -> Capture:
        """One session: its four photographs and their common normals."""
        if capture_id not in self._sessions:
            raise unknown_capture(self.name, capture_id, self._sessions)
        folder = Path(self._sessions[capture_id])
        session = self._read(folder)
        decision = self.rig
        recovered, shifts, disagreement = self._recover(session, 1)
        own = turned(recovered, decision.matrix, self._face(session, recovered))
        target, compared = self._choose(session, own)
        votes = rig.scores(_evidence(session, recovered, 1))
        attributes = {
            **session.details,
            "normals_source": "stereo" if target is own else "sn.mat",
            **compared,
            **_quality(recovered, own.mask),
            "lights": session.lights.layout,
            "azimuth": decision.case,
            "azimuth_by": decision.by,
            "azimuth_agrees": max(votes, key=votes.__getitem__) == decision.case,
            "gamma": self.gamma,
            "registration_disagreement_px": round(disagreement, 2),
            "landmarks": f"{int(session.landmarks.marked.sum())} marked, the others fitted",
            "landmark_residual": round(session.landmarks.residual, 4),
        }
        return Capture(
            id=capture_id,
            subject=folder.parent.name,
            measured=target,
            photographs=lambda: _photographs(session, shifts, decision),
            attributes=attributes,
        )

    def _read(self, folder: Path) -> Session:
        return read_session(folder, self._first_pixel)

    def recover(self, capture_id: str) -> Recovered:
        """Normals (canonical), albedo, quality map and trusted observations of a session, by photometric stereo."""
        if capture_id not in self._sessions:
            raise unknown_capture(self.name, capture_id, self._sessions)
        recovered, _, _ = self._recover(self._read(Path(self._sessions[capture_id])), 1)
        normals = (recovered.normals @ self.rig.matrix.T).astype(np.float32)
        return Recovered(normals, recovered.mask, recovered.albedo, recovered.residual, recovered.used)

    @cached_property
    def rig(self) -> rig.Decision:
        """Which way the light azimuths turn: decided once per folder, pooled over sessions."""
        if self.azimuth != "auto":
            return rig.Decision(self.azimuth, "setting", 1.0, 1.0, 0, 1.0)
        folders = [Path(path) for path in self._sessions.values()]
        stored = [folder for folder in folders if "sn.mat" in entries(folder)]
        where = f"{self.name}: {self.root}"
        spoken, problems = self._testimonies(stored)
        if spoken:
            return rig.decide_by_reference(spoken, where)
        spoken, more = self._testimonies([folder for folder in folders if folder not in stored] or folders)
        if not spoken:
            raise (problems + more)[0]
        return rig.decide(spoken, where)

    def findings(self) -> Mapping[str, Any]:
        """About the whole rig, for a validation report: the light azimuth, and which coding the photographs fit."""
        try:
            decision = self.rig
            azimuth = f"case {decision.case} by {decision.by}, score {decision.score:.2f}, lead {decision.margin:.2f}"
        except FnbenchError:
            azimuth = "unclear"
        readable = self._readable()
        found = {}
        for gamma in _GAMMAS:
            medians = [_coding_residual(session, gamma) for session in readable]
            found[f"residual_at_gamma_{gamma:g}"] = round(float(np.median(medians)), 4) if medians else None
        return {"light azimuth": azimuth, **found}

    def _readable(self) -> list[Session]:
        found = []
        for folder in self._spread(list(self._sessions.values())):
            try:
                found.append(self._read(Path(folder)))
            except FnbenchError:
                continue  # reported when it is loaded
        return found

    def _spread(self, folders: Sequence[_Folder]) -> Sequence[_Folder]:
        """As many folders as decide about a rig, evenly over the list."""
        return folders[:: max(1, len(folders) // self._rig_sessions)][: self._rig_sessions]

    def _testimonies(self, folders: Sequence[Path]) -> tuple[list[Any], list[FnbenchError]]:
        """What sessions spread evenly over a list say about the rig; damaged ones are passed over."""
        spoken: list[Any] = []
        problems: list[FnbenchError] = []
        for folder in self._spread(folders):
            try:
                spoken.append(self._testimony(self._read(folder)))
            except FnbenchError as error:
                problems.append(error)  # it speaks for itself when it is loaded
        return spoken, problems

    def _testimony(self, session: Session) -> Any:
        """What one session says about the rig: angles to its sn.mat, or evidence of its face."""
        height, width, _ = session.images[0].shape
        step = max(1, int(np.sqrt(height * width / 40_000)))
        recovered, _, _ = self._recover(session, step)
        if session.stored is None:
            return _evidence(session, recovered, step)
        face: NDArray[np.bool_] = recovered.mask & _oval(session, (height, width))[::step, ::step]
        face &= session.stored.mask[::step, ::step]
        return rig.angles_to(session.stored.normals[::step, ::step], recovered.normals, face)

    def _recover(self, session: Session, step: int) -> tuple[Recovered, NDArray[np.float64], float]:
        """Photometric stereo in rig axes on every ``step``-th pixel; the shifts in pixels and their disagreement."""
        exposures = [linear_intensity(image, self.gamma) for image in session.images]
        around = landmark_crop(session.landmarks.points, 1.3)
        top, left = max(0, int(around.y)), max(0, int(around.x))
        window = np.s_[top : int(around.y + around.side), left : int(around.x + around.side)]
        faces = [exposure[window] for exposure in exposures]
        shifts, disagreement = shifts_between(faces, int(self._max_shift * around.side))
        shifts[np.abs(shifts).max(axis=1) < _STILL] = 0
        still = photometric_stereo(np.stack(exposures)[:, ::step, ::step], session.lights.directions)
        if disagreement > 1.0 or not shifts.any():
            return still, np.zeros_like(shifts), disagreement
        moved = np.stack([shifted(exposure, shift) for exposure, shift in zip(exposures, shifts, strict=True)])
        aligned = photometric_stereo(moved[:, ::step, ::step], session.lights.directions)
        # Shadows can fool the registration; the surface itself judges: motion undone brings it closer to Lambert.
        face = _oval(session, exposures[0].shape)[::step, ::step] & still.mask & aligned.mask
        if np.median(aligned.residual[face]) > _GAIN * np.median(still.residual[face]):
            return still, np.zeros_like(shifts), disagreement
        return aligned, shifts, disagreement

    def _face(self, session: Session, recovered: Recovered) -> NDArray[np.bool_]:
        """The connected surface that carries the marked points, without what is too far from Lambert."""
        from scipy.ndimage import label

        good = recovered.mask & (recovered.residual <= self._max_residual)
        parts, _ = label(good)
        oval = _oval(session, good.shape)
        counts = np.bincount(parts[oval & good], minlength=2)
        return np.asarray(parts == 1 + counts[1:].argmax()) & good

    def _choose(self, session: Session, own: NormalMap) -> tuple[NormalMap, dict[str, Any]]:
        if session.stored is None:
            if self.normals == "sn.mat":
                raise InvalidDataError(
                    f"{session.name}: sn.mat is missing, and normals='sn.mat' asks for it. "
                    f"Run the set's generateSNAndZ, or take normals='auto'."
                )
            return own, {}
        both = own.mask & session.stored.mask
        angle = rig.angles_to(session.stored.normals, own.normals, both)["+0"] if both.any() else float("nan")
        compared = {"sn_mat_angle": round(angle, 2)}
        if self.normals == "stereo":
            return own, compared
        return NormalMap(np.where(both[..., None], session.stored.normals, 0).astype(np.float32), both), compared


def _coding_residual(session: Session, gamma: float) -> float:
    """Median departure of a face from Lambert when its photographs are taken to be coded with ``gamma``."""
    exposures = np.stack([linear_intensity(image, gamma)[::2, ::2] for image in session.images])
    recovered = photometric_stereo(exposures, session.lights.directions)
    height, width, _ = session.images[0].shape
    face: NDArray[np.bool_] = recovered.mask & _oval(session, (height, width))[::2, ::2]
    return float(np.median(recovered.residual[face])) if face.any() else float("nan")


def turned(recovered: Recovered, matrix: NDArray[np.float64], face: NDArray[np.bool_]) -> NormalMap:
    """Recovered normals of a face in canonical axes."""
    normals = np.where(face[..., None], recovered.normals @ matrix.T, 0).astype(np.float32)
    return NormalMap(normals, face)


def read_session(folder: Path, first_pixel: float = 1.0) -> Session:
    """All files of a session, read and checked against each other; errors name the file.

    first_pixel: coordinate of the first pixel's centre in metadata.txt.
    """
    files = entries(folder)
    paths = [_image(folder, files, k) for k in range(4)]
    images = tuple(read_image(path, modes=("RGB", "L", "P")) for path in paths)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        listed = ", ".join(
            f"{path.name} {image.shape[1]}x{image.shape[0]}" for path, image in zip(paths, images, strict=True)
        )
        raise InvalidDataError(f"{folder}: the four photographs differ in size ({listed}). Copy the session again.")
    lights = required(folder, files, "LightSource.m")
    points = required(folder, files, "metadata.txt")
    shape = images[0].shape[:2]
    return Session(
        name=str(folder),
        images=images,
        lights=parse_lights(read_text(lights), str(lights)),
        landmarks=_landmarks(read_points(read_text(points), str(points), first_pixel), shape, str(points)),
        details=read_details(read_text(files["metadataii.txt"]))
        if "metadataii.txt" in files
        else {"details": "missing"},
        stored=read_normals(files["sn.mat"], shape) if "sn.mat" in files else None,
    )


def read_points(text: str, name: str, first_pixel: float = 1.0) -> NDArray[np.float64]:
    """The 11 marked points of metadata.txt, whatever separates the numbers.

    Returns (11, 2) pixel x, y in the order of ``POINTS``: the left of the image first, decided by x because nobody
    says whose left the file means.
    """
    numbers = [float(number) for number in _NUMBER.findall(text)]
    if len(numbers) != 22:
        raise InvalidDataError(
            f"{name}: {len(numbers)} numbers, expected 22 (x and y of 11 points). Copy the file again."
        )
    points = np.array(numbers).reshape(11, 2) + 0.5 - first_pixel
    # outer and inner eye corners, nose sides, mouth corners: the first of each pair should lie further left
    leaning = sum(points[right, 0] - points[left, 0] for left, right in ((0, 4), (1, 3), (5, 7), (8, 9)))
    return points if leaning > 0 else points[_MIRRORED]


def read_details(text: str) -> dict[str, Any]:
    """The fields of metadataII.txt: one line, commas, one more at its end.

    >>> read_details("male,no,none,1,ok,,blankstare,mouth ajar,")["expression"]
    'neutral'
    """
    values = [value.strip() for value in text.strip().split("\n")[0].split(",")]
    details: dict[str, Any] = dict(zip(_FIELDS, values, strict=False))
    emotion = details.get("emotion", "").lower()
    details["expression"] = {"blankstare": "neutral"}.get(emotion, emotion or "unknown")
    details["occlusion"] = details.get("occlusion") or "none"
    return details


def read_normals(path: Path, shape: tuple[int, ...]) -> NormalMap:
    """sn.mat as canonical normals; InvalidDataError when it is damaged, of another size, or holds no normals."""
    import io

    from scipy.io import loadmat

    content = read_bytes(path)
    try:
        variables = loadmat(io.BytesIO(content))
    except Exception as error:  # scipy raises whatever the bytes lead it to
        raise InvalidDataError(f"{path}: not a readable MATLAB file ({error}). Run generateSNAndZ again.") from None
    missing = [key for key in ("px", "py", "pz") if key not in variables]
    if missing:
        held = ", ".join(key for key in variables if not key.startswith("__")) or "nothing"
        raise InvalidDataError(f"{path}: variables {', '.join(missing)} are missing, found {held}.")
    native = np.stack([np.asarray(variables[key], np.float64) for key in ("px", "py", "pz")], axis=-1)
    if native.shape != (*shape, 3):
        raise InvalidDataError(
            f"{path}: normals of {'x'.join(map(str, native.shape[:-1]))} pixels (rows x columns), expected "
            f"{shape[0]}x{shape[1]} like the photographs. Run generateSNAndZ again on this session."
        )
    length = np.linalg.norm(native, axis=-1)
    mask = np.isfinite(length) & (np.abs(length - 1) < 0.02) & (native[..., 2] > 0)
    if mask.mean() < 0.05:
        raise InvalidDataError(
            f"{path}: {100 * mask.mean():.1f} % of its vectors are unit normals that face the camera; expected most. "
            f"Check that px, py, pz are the components of unit normals."
        )
    unit = np.where(mask[..., None], native / np.where(mask, length, 1)[..., None], 0)
    return NormalMap(to_canonical(unit, "photoface").astype(np.float32), mask)


def _landmarks(points: NDArray[np.float64], shape: tuple[int, ...], name: str) -> FittedLandmarks:
    outside: NDArray[np.int_] = ((points < 0) | (points > np.array(shape[::-1]))).sum(axis=1)
    inside = outside == 0
    if inside.sum() < 6:
        raise InvalidDataError(
            f"{name}: {int(inside.sum())} of 11 points lie in the {shape[1]}x{shape[0]} image, expected at least 6. "
            f"Check that the file belongs to this session."
        )
    fitted = fit_landmarks(np.where(inside[:, None], points, np.nan), POINTS, _template()[0])
    if fitted.residual > 0.15:
        raise InvalidDataError(
            f"{name}: the points miss a face by {100 * fitted.residual:.0f} % of their extent, expected below 15 %. "
            f"Expected order: eye, eye, sellion, eye, eye, nose, nose tip, nose, mouth, mouth, chin."
        )
    return fitted


@cache
def _template() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Landmarks (68, 3), vertices and vertex normals (V, 3) of the mean synthetic head: right, up, out."""
    from fnbench.scans.head import template
    from fnbench.scans.normals import vertex_normals

    scan, landmarks = template()
    return landmarks, scan.vertices, vertex_normals(scan.vertices, scan.faces)


def _evidence(session: Session, recovered: Recovered, step: int) -> rig.Evidence:
    """What the face of a session, recovered on every ``step``-th pixel, says about the rig."""
    full = session.images[0].shape[0], session.images[0].shape[1]
    _, vertices, normals = _template()
    expected = session.landmarks.normals(vertices, normals, full)[::step, ::step]
    return rig.evidence(recovered.normals, recovered.mask & _oval(session, full)[::step, ::step], expected)


def _oval(session: Session, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool: forehead to chin, without ears and neck, from the fitted landmarks."""
    points = session.landmarks.points.astype(np.float64)
    eyes, chin = points[36:48].mean(axis=0), points[8]
    half = np.linalg.norm(chin - eyes)
    columns, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    centre = eyes + 0.2 * (chin - eyes)
    from_centre: NDArray[np.float64] = np.hypot((columns - centre[0]) / 0.62, (rows - centre[1]) / 0.8)
    return from_centre < half


def _quality(recovered: Recovered, face: NDArray[np.bool_]) -> dict[str, Any]:
    residual = recovered.residual[face]
    if not residual.size:
        return {"residual_median": None, "residual_p95": None, "three_lights_share": None}
    return {
        "residual_median": round(float(np.median(residual)), 4),
        "residual_p95": round(float(np.percentile(residual, 95)), 4),
        "three_lights_share": round(float((recovered.used.sum(axis=0)[face] < 4).mean()), 3),
    }


def _photographs(session: Session, shifts: NDArray[np.float64], decision: rig.Decision) -> tuple[Photograph, ...]:
    directions = session.lights.directions @ decision.matrix.T
    marked = np.flatnonzero(session.landmarks.marked).tolist()
    return tuple(
        Photograph(
            image=shifted(image, shift),
            name=f"im{k}",
            landmarks=session.landmarks.points,
            attributes={
                "light": k,
                "light_direction": [round(float(value), 4) for value in directions[k]],
                "shift_px": [round(float(value), 2) for value in shift],
                "landmarks_marked": marked,
            },
        )
        for k, (image, shift) in enumerate(zip(session.images, shifts, strict=True))
    )


def _image(folder: Path, files: Mapping[str, Path], k: int) -> Path:
    for suffix in ("bmp", "png"):
        if f"im{k}.{suffix}" in files:
            return files[f"im{k}.{suffix}"]
    return required(folder, files, f"im{k}.bmp")


def _choice(what: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InvalidSettingError(f"photoface: {what} is {value!r}, expected one of {', '.join(allowed)}.")
    return value
