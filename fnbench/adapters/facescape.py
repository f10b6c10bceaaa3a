"""FaceScape (Yang et al., CVPR 2020; Zhu et al., TPAMI 2023): template fits with 16-bit detail, multi-view captures.

Facts: datasets/facescape/card.toml. ``<id>/<n>_<expression>`` is a template model (``models_reg``) whose fine detail
lies in a displacement map (``dpmap``); ``mv/<id>/<n>_<expression>`` a raw multi-view mesh with calibrated photographs.
Template coordinates look like millimetres but are scaled by the distance of the eyes: not metric. Template models share
one topology: landmarks and regions are found on the first neutral one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import given_root, nothing_found, read_bytes, read_text, settings, unknown_capture
from fnbench.camera import Camera
from fnbench.errors import DatasetNotFoundError, InvalidDataError
from fnbench.images import read_image
from fnbench.lens import undistorted
from fnbench.scans.displace import displaced, subdivided
from fnbench.scans.read import read_scan
from fnbench.types import Capture, Photograph, Scan, Topology

FRONT = (0.0, 0.0, 1.0)
LARGEST_MM = 0.914
"""Displacement at the ends of the 16-bit range (zhuhao-nju/facescape issue 23)."""
SCALES = "Rt_scale_dict.json"
_EXPRESSION = re.compile(r"\d+_[a-z_]+")


class FaceScape:
    """Template models and multi-view captures, whichever are there.

    root: folder of the numbered person folders.
    subdivisions: how often triangles are split in four before the displacement; 2 gives about 1 mm triangles.
    views: names of the photographs of a multi-view capture; all valid ones when empty.
    """

    name: ClassVar[str] = "facescape"

    def __init__(self, root: Path | None, *, subdivisions: int = 2, views: Sequence[str] = ()) -> None:
        self.root, self.subdivisions, self.views = root, subdivisions, tuple(views)
        self._scale_first: bool = settings(self.name, root)["scale_first"]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_found"}

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._found)

    def load(self, capture_id: str) -> Capture:
        mesh = self._found.get(capture_id)
        if mesh is None:
            raise unknown_capture(self.name, capture_id, self._found)
        subject, expression = capture_id.split("/")[-2:]
        number, _, name = expression.partition("_")
        attributes = {"expression": name, "expression_number": int(number)}
        if capture_id.startswith("mv/"):
            return self._multiview(capture_id, mesh, subject, expression, attributes)
        map_path = mesh.parents[1] / "dpmap" / f"{expression}.png"
        times = self.subdivisions if map_path.is_file() else 0
        scan = _template(mesh, times)
        if map_path.is_file():
            scan = displaced(scan, read_displacement(map_path))
            attributes["detail"] = "template+displacement"
        else:
            scan = replace(scan, notes=(*scan.notes, f"no displacement map {map_path.name}: the smooth template alone"))
            attributes["detail"] = "template"
        scan = replace(scan, name=capture_id)
        topology = Topology(scan, partial(_reference, *self._neutral, times))
        return Capture(capture_id, subject, scan=scan, topology=topology, attributes=attributes)

    @cached_property
    def _found(self) -> dict[str, Path]:
        root = given_root(self.name, self.root)
        found = {
            f"{mesh.parents[1].name}/{mesh.stem}": mesh
            for mesh in root.glob("*/models_reg/*.obj")
            if mesh.parents[1].name.isdigit() and _EXPRESSION.fullmatch(mesh.stem)
        }
        found |= {
            f"mv/{mesh.parent.name}/{mesh.stem}": mesh
            for mesh in root.glob("*/*.ply")
            if mesh.parent.name.isdigit() and _EXPRESSION.fullmatch(mesh.stem)
        }
        if not found:
            raise nothing_found(self.name, root, f"{root}/1/models_reg/1_neutral.obj or {root}/1/1_neutral.ply")
        return found

    @property
    def _neutral(self) -> tuple[str, Path]:
        """The template model that stands for the topology: the most neutral one of the first person, by number."""

        def order(capture_id: str) -> tuple[int, int]:
            subject, _, expression = capture_id.partition("/")
            return int(expression.partition("_")[0]), int(subject)

        chosen = min((name for name in self._found if not name.startswith("mv/")), key=order)
        return chosen, self._found[chosen]

    def _multiview(
        self, capture_id: str, mesh: Path, subject: str, expression: str, attributes: Mapping[str, Any]
    ) -> Capture:
        scale, rotation, shift = _to_template(mesh, subject, expression)
        shift = shift if self._scale_first else scale * shift
        raw = read_scan(mesh, unit=scale)
        scan = replace(raw, vertices=raw.vertices @ rotation.T + shift, name=capture_id)
        folder = mesh.with_suffix("")
        return Capture(
            capture_id,
            subject,
            scan=scan,
            photographs=partial(_photographs, folder, scale, rotation, shift, self.views) if folder.is_dir() else None,
            attributes=attributes,
        )


def _template(mesh: Path, times: int) -> Scan:
    """A template model, its triangles split in four so many times."""
    scan = read_scan(mesh, unit="mm", front=FRONT, weld=False)
    for _ in range(times):
        scan = subdivided(scan)
    return scan


@lru_cache(maxsize=2)
def _reference(name: str, mesh: Path, times: int) -> Capture:
    """The smooth template model that stands for the topology, with as many triangles as those that it stands for."""
    return Capture(name, name, scan=_template(mesh, times))


def read_displacement(path: Path) -> NDArray[np.float64]:
    """A displacement map in millimetres outwards, (h, w); read at its full 16 bits."""
    from io import BytesIO

    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(BytesIO(read_bytes(path)))
        mode = image.mode
        values = np.asarray(image)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise InvalidDataError(f"{path}: not a readable image ({error}). Copy it again.") from error
    if not mode.startswith("I") or values.ndim != 2:
        raise InvalidDataError(
            f"{path}: mode {mode} {values.dtype}, expected one channel of 16 bits; a copy in 8 bits lost the detail."
        )
    return (values.astype(np.float64) - 32768) / 32768 * LARGEST_MM


def _to_template(mesh: Path, subject: str, expression: str) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, rotation (3, 3) and shift (3,) from the arbitrary frame of a multi-view mesh to the template's."""
    paths = [parent / place / SCALES for parent in mesh.parents[1:3] for place in (".", "toolkit/predef", "predef")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise DatasetNotFoundError(
            f"{mesh}: multi-view meshes have an arbitrary scale; {SCALES} of the toolkit gives the true one. Put it "
            f"beside the person folders."
        )
    number = expression.split("_")[0]
    try:
        scale, matrix = json.loads(read_text(path))[subject][number]
        transform = np.array(matrix, np.float64)[:3, :4]
        rotation, shift = transform[:, :3], transform[:, 3]
        factor = float(scale)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidDataError(f"{path}: no scale and transform for {subject}/{expression} ({error!r}).") from error
    if not (factor > 0 and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2) and np.linalg.det(rotation) > 0):
        raise InvalidDataError(f"{path}: scale {factor:g} and transform of {subject}/{expression} are no similarity.")
    return factor, rotation, shift


def _photographs(
    folder: Path, scale: float, rotation: NDArray[np.float64], shift: NDArray[np.float64], views: Sequence[str]
) -> tuple[Photograph, ...]:
    path = folder / "params.json"
    try:
        params = json.loads(read_text(path))
    except ValueError as error:
        raise InvalidDataError(f"{path}: not JSON ({error}). Copy it again.") from error
    found = []
    for photograph in sorted(folder.glob("*.jpg"), key=lambda path: (len(path.stem), path.stem)):
        view = photograph.stem
        if (views and view not in views) or not params.get(f"{view}_valid", True):
            continue
        try:
            K, extrinsics = (np.array(params[f"{view}_{key}"], np.float64) for key in ("K", "Rt"))
            distortion = np.array(params.get(f"{view}_distortion", [0.0]), np.float64)
        except (KeyError, ValueError, TypeError) as error:
            raise InvalidDataError(f"{path}: no camera for {photograph.name} ({error!r}). Copy it again.") from error
        if K.shape != (3, 3) or extrinsics.shape != (3, 4):
            raise InvalidDataError(f"{path}: K {K.shape} and Rt {extrinsics.shape} of view {view}; copy it again.")
        image = undistorted(read_image(photograph), K, distortion)
        turned = extrinsics[:, :3] @ rotation.T
        world = np.hstack([turned, (scale * extrinsics[:, 3] - turned @ shift)[:, None]])
        camera = Camera.from_opencv(K, world, image.shape[1], image.shape[0])
        found.append(Photograph(image, view, camera, attributes={"camera": view}))
    if not found:
        raise InvalidDataError(f"{folder}: no valid photograph with a camera in params.json. Copy the folder again.")
    return tuple(found)
