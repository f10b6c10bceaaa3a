"""FaceWarehouse (Cao et al., TVCG 2014): 150 people, 20 poses each, and 47 blendshapes, as template fits.

Facts: datasets/facewarehouse/card.toml. Ids: ``Tester_7/pose_3`` for the meshes in the pose of the photograph
(``TrainingPose/pose_3.obj``), ``Tester_7/shape_12`` for the frontal expression shapes, read from
``Blendshape/shape.bs`` (whose faces come from any ``pose_K.obj``), else from ``shape_12.obj``.
The truth is a template fitted to Kinect depth: smooth, without wrinkles; the card says ``registered-template``.

Photographs come without a camera. The texture coordinates of a pose address its photograph pixel by pixel, so the
camera is fitted to them, in the frame of the mesh; the marked points (``.land``) must then fall onto the projected
face. A fit that fails leaves the photograph without a camera and says why.

All meshes share one topology: landmarks and regions are found on one neutral pose, and are at its vertices in all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fnbench.adapters.contract import given_root, nothing_found, read_bytes, read_text, settings, unknown_capture
from fnbench.camera import Camera
from fnbench.errors import DatasetNotFoundError, InvalidDataError, InvalidSettingError
from fnbench.images import read_image
from fnbench.scans.atlas import recover_cameras
from fnbench.scans.normals import vertex_normals
from fnbench.scans.read import read_scan
from fnbench.scans.units import extent, millimetres
from fnbench.types import Capture, Photograph, Scan, Topology

LANDMARKS = 74
MISS_PX = 8.0
"""Largest median distance in pixels from a marked point to the nearest visible vertex in the photograph."""
EYE_CORNERS_MM = (70.0, 115.0)
_HEADER = 12
_TESTER = re.compile(r"tester_(\d+)", re.IGNORECASE)
_MESH = re.compile(r"(pose|shape)_(\d+)\.obj", re.IGNORECASE)
_FOLDERS = {"trainingpose": "pose", "blendshape": "shape"}


@dataclass(frozen=True, slots=True)
class Found:
    """One capture on disk: its mesh file, and the folder of its tester."""

    mesh: Path
    tester: Path


class FaceWarehouse:
    """FaceWarehouse as distributed, in whatever folders the archives were unpacked to.

    root: any folder above the ``Tester_N`` folders.
    shapes: list the frontal blendshapes beside the poses.

    Unit, axes, the origin of the texture coordinates and the vertices that are landmarks are settings (card, or
    ``fnbench.toml`` in the folder).
    """

    name: ClassVar[str] = "facewarehouse"

    def __init__(self, root: Path | None, *, shapes: bool = False) -> None:
        self.root, self.shapes = root, shapes
        chosen = settings(self.name, root)
        self._unit: str = chosen["unit"]
        self._front = tuple(float(value) for value in chosen["front"])
        self._v_from: str = chosen["v_from"]
        self._landmark_vertices = tuple(chosen["landmark_vertices"])
        if self._v_from not in ("bottom", "top"):
            raise InvalidSettingError(f"{self.name}: v_from is {self._v_from!r}, expected bottom or top.")
        if len(self._landmark_vertices) not in (0, 68):
            raise InvalidSettingError(
                f"{self.name}: landmark_vertices has {len(self._landmark_vertices)} entries, expected 68 vertex "
                "numbers from 0 in the usual order, or none."
            )

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._found())

    def load(self, capture_id: str) -> Capture:
        found = self._found().get(capture_id)
        if found is None:
            raise unknown_capture(self.name, capture_id, self._found())
        subject, _, shown = capture_id.partition("/")
        kind, _, number = shown.partition("_")
        scan = self._shape(found, int(number)) if kind == "shape" else self._mesh(found.mesh)
        photograph = found.mesh.with_suffix(".png")
        has_photograph = kind == "pose" and photograph.is_file()
        notes = () if has_photograph or kind == "shape" else (f"no photograph {photograph.name}",)
        scan = replace(scan, name=capture_id, notes=(*scan.notes, *notes))
        return Capture(
            id=capture_id,
            subject=subject,
            scan=scan,
            landmarks=self._landmarks(scan, found.mesh),
            topology=Topology(scan, partial(self.load, _reference(given_root(self.name, self.root)))),
            photographs=partial(_photographs, photograph, scan, self._v_from) if has_photograph else None,
            attributes={"expression": shown, "source": "TrainingPose" if kind == "pose" else "Blendshape"},
        )

    def _mesh(self, path: Path) -> Scan:
        return _read_mesh(path, self._unit, self._front)

    def _landmarks(self, scan: Scan, mesh: Path) -> NDArray[np.float64] | None:
        """The vertices that the settings name as the 68 landmarks, checked by the eyes and the nose."""
        if not self._landmark_vertices:
            return None
        chosen = np.array(self._landmark_vertices)
        if chosen.min() < 0 or chosen.max() >= len(scan.vertices):
            raise InvalidSettingError(
                f"{self.name}: landmark_vertices go from {chosen.min()} to {chosen.max()}, but {mesh.name} has "
                f"{len(scan.vertices)} vertices."
            )
        points: NDArray[np.float64] = scan.vertices[chosen]
        corners = float(np.linalg.norm(points[36] - points[45]))
        if not EYE_CORNERS_MM[0] <= corners <= EYE_CORNERS_MM[1] or points[30] @ self._front < points[8] @ self._front:
            raise InvalidDataError(
                f"{mesh}: by landmark_vertices the outer eye corners are {corners:.4g} mm apart and the nose does not "
                f"stand out, expected {EYE_CORNERS_MM[0]:.0f} to {EYE_CORNERS_MM[1]:.0f} and a nose before the chin. "
                "Vertices of another topology, counted from 1, or another unit?"
            )
        return points

    def _found(self) -> dict[str, Found]:
        return _listing(given_root(self.name, self.root), self.shapes)

    def _shape(self, found: Found, number: int) -> Scan:
        binary = found.mesh.with_name("shape.bs")
        if not binary.is_file():
            return self._mesh(found.mesh)
        topology = _any_pose(found.tester)
        vertices = read_shapes(binary)
        if number >= len(vertices):
            raise InvalidDataError(f"{binary}: holds shapes 0 to {len(vertices) - 1}, but {found.mesh.name} is listed.")
        scan = self._mesh(topology)
        if len(scan.vertices) != vertices.shape[1]:
            raise InvalidDataError(
                f"{binary}: {vertices.shape[1]} vertices, but {topology.name} has {len(scan.vertices)}; "
                "the two belong to different copies."
            )
        factor = millimetres(self._unit, extent(vertices[number], scan.faces), str(binary))
        return replace(scan, vertices=vertices[number] * factor)


def read_shapes(path: Path) -> NDArray[np.float64]:
    """All shapes of a ``shape.bs``: (S + 1, V, 3) in the unit of the meshes, neutral first; full shapes, not deltas.

    Layout: int32 expressions S, vertices V, faces F, then (S + 1) * V * 3 float32, all little-endian. Some copies
    carry trailing bytes, which are ignored up to one shape. InvalidDataError when the counts do not fit the size.
    """
    content = read_bytes(path)
    if len(content) < _HEADER:
        raise InvalidDataError(f"{path}: {len(content)} bytes, too short for the header of {_HEADER}. Copy it again.")
    expressions, count, faces = (int(value) for value in np.frombuffer(content[:_HEADER], "<i4"))
    if not (0 <= expressions < 1000 and 0 < count < 10**7 and 0 < faces < 10**7):
        raise InvalidDataError(
            f"{path}: its header claims {expressions} expressions, {count} vertices, {faces} faces, "
            "expected 46, 11510, 11540 or the like. Not a shape.bs, or re-encoded as text; copy it again."
        )
    shape = (expressions + 1, count, 3)
    needed = 4 * int(np.prod(shape))
    extra = len(content) - _HEADER - needed
    if not 0 <= extra < 12 * count:
        raise InvalidDataError(
            f"{path}: {len(content)} bytes, but its header ({expressions} expressions, {count} vertices) asks for "
            f"{_HEADER + needed}. Copy it again."
        )
    vertices = np.frombuffer(content, "<f4", needed // 4, _HEADER).reshape(shape).astype(np.float64)
    if not np.isfinite(vertices).all():
        raise InvalidDataError(f"{path}: holds NaN or infinite coordinates. Copy it again.")
    return vertices


def read_land(path: Path, width: int, height: int) -> NDArray[np.float32]:
    """The 74 marked points of a photograph as (74, 2) float32 pixel x, y (y down).

    The file counts them first, then gives ``x y`` in 0..1 with y from the bottom.
    """
    words = read_text(path).split()
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise InvalidDataError(f"{path}: {error}; expected a count and pairs of numbers. Copy it again.") from error
    if len(numbers) != 1 + 2 * LANDMARKS or numbers[0] != LANDMARKS:
        raise InvalidDataError(
            f"{path}: says {words[0] if words else 'nothing'} and holds {(len(numbers) - 1) / 2:g} points, "
            f"expected {LANDMARKS} and {LANDMARKS}. Copy it again."
        )
    points = numbers[1:].reshape(-1, 2)
    return np.stack([points[:, 0] * width, height - points[:, 1] * height], -1).astype(np.float32)


def _photographs(path: Path, scan: Scan, v_from: str) -> tuple[Photograph, ...]:
    image = read_image(path)
    land = path.with_suffix(".land")
    points = read_land(land, image.shape[1], image.shape[0]) if land.is_file() else None
    attributes = {} if points is None else {"points_74": points.tolist()}
    try:
        camera, found = fitted_camera(scan, image, v_from, points)
    except InvalidDataError as error:  # the photograph is whole without it
        return (Photograph(image, path.stem, attributes={**attributes, "camera_problem": str(error)}),)
    return (Photograph(image, path.stem, camera, attributes={**attributes, **found}),)


def fitted_camera(
    scan: Scan, image: NDArray[np.uint8], v_from: str, points: NDArray[np.floating] | None
) -> tuple[Camera, dict[str, object]]:
    """The camera of a photograph, fitted to the texture coordinates that address it, and the fit's residuals.

    v_from: "bottom" or "top", where v = 0 lies: pixel = (u (W - 1), v (H - 1)). A wrong one mirrors the face.
    points: (74, 2) marked pixels x, y, or None.
    InvalidDataError when no real camera fits, or the marked points miss the projected face.
    """
    if scan.uv is None or scan.uv_faces is None:
        raise InvalidDataError(f"{scan.name}: no texture coordinates, so no camera; render the images instead.")
    height, width = image.shape[:2]
    seen = vertex_normals(scan.vertices, scan.faces)[scan.faces].mean(axis=1)[:, 2] > 0  # the sides are stretched
    pixels = np.stack([scan.uv[:, 0] * (width - 1) + 0.5, scan.uv[:, 1] * (height - 1) + 0.5], -1)
    v = pixels[:, 1] / height
    uv = np.stack([pixels[:, 0] / width, v if v_from == "bottom" else 1 - v], -1)
    front = replace(scan, faces=scan.faces[seen], uv=uv, uv_faces=scan.uv_faces[seen], texture=image)
    (found, *others) = recover_cameras(front)
    if others:
        raise InvalidDataError(f"{scan.name}: {1 + len(others)} cameras in one photograph; render the images instead.")
    about: dict[str, object] = {
        "camera_source": "texture coordinates",
        "reprojection_median_px": round(found.median_px, 3),
        "reprojection_p90_px": round(found.p90_px, 3),
    }
    if points is not None:
        projected, _ = found.camera.project(scan.vertices[np.unique(front.faces)])
        miss = float(np.median(cKDTree(projected).query(points)[0]))
        if miss > MISS_PX:
            raise InvalidDataError(
                f"{scan.name}: the marked points lie {miss:.1f} px from the projected face in the median, expected at "
                f"most {MISS_PX:g}; the photograph, its points and the mesh do not belong together."
            )
        about["marked_points_miss_px"] = round(miss, 3)
    return found.camera, about


@lru_cache(maxsize=4)
def _read_mesh(path: Path, unit: str, front: tuple[float, ...]) -> Scan:
    # Lips and lids of the template touch on purpose: equal positions are not one vertex.
    return read_scan(path, unit=unit, front=front, weld=False)


def _any_pose(tester: Path) -> Path:
    poses = sorted(path for path in tester.glob("*/*") if (match := _MESH.fullmatch(path.name)) and match[1] == "pose")
    if not poses:
        raise DatasetNotFoundError(
            f"{tester}: shape.bs holds no triangles; they come from a TrainingPose/pose_K.obj, and there is none."
        )
    return poses[0]


@lru_cache(maxsize=8)
def _reference(root: Path) -> str:
    """The capture whose mesh stands for the topology: the most neutral pose of the first tester, by number."""

    def order(capture_id: str) -> tuple[int, int]:
        tester, _, pose = capture_id.partition("/")
        return int(pose.partition("_")[2]), int(tester.partition("_")[2])

    return min(_listing(root, False), key=order)


@lru_cache(maxsize=8)
def _listing(root: Path, shapes: bool) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for folder, subfolders, files in os.walk(root):
        subfolders.sort()
        here = Path(folder)
        kind = _FOLDERS.get(here.name.lower())
        tester = _TESTER.fullmatch(here.parent.name)
        if kind is None or tester is None or (kind == "shape" and not shapes):
            continue
        for file in sorted(files):
            match = _MESH.fullmatch(file)
            if match is None or match[1].lower() != kind:
                continue
            capture_id = f"Tester_{int(tester[1])}/{kind}_{int(match[2])}"
            if capture_id in found:
                raise InvalidDataError(
                    f"{here / file}: {capture_id} also lies in {found[capture_id].mesh.parent}. Remove one."
                )
            found[capture_id] = Found(here / file, here.parent)
    if not found:
        raise nothing_found(FaceWarehouse.name, root, f"{root}/.../Tester_<n>/TrainingPose/pose_<k>.obj")
    return found
