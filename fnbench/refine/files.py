"""From files to a file: mesh, normal map and camera in, refined mesh out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import read_text
from fnbench.camera import Camera, camera_from_json
from fnbench.encodings import encoded
from fnbench.errors import InvalidDataError
from fnbench.files import check_writable, replacing
from fnbench.refine.surface import Refined, refined
from fnbench.refine.target import Target, read_target
from fnbench.render.shade import SurfaceMaps
from fnbench.scans.read import read_scan
from fnbench.scans.write import check_mesh_path, write_scan

_LIGHT = np.array([-0.45, 0.45, 0.77])
"""Direction to the light of the pictures: from the upper left."""
_SURROUNDINGS = 1.08


@dataclass(frozen=True, slots=True, eq=False)
class RefineReport:
    """What was written, and what it changed."""

    files: tuple[Path, ...]
    result: Refined

    def lines(self) -> list[str]:
        """The report for a terminal."""
        result, moved = self.result, self.result.moved
        before, after = ([np.mean(e), np.median(e), 100 * np.mean(e < 11.25)] for e in result.errors)
        own = moved[moved > 0]
        rms, most = (float(np.sqrt(np.mean(own**2))), float(own.max())) if len(own) else (0.0, 0.0)
        return [
            f"angle between mesh and map over {int(result.compared.sum())} pixels, in degrees: before and after",
            f"  mean   {before[0]:6.2f} {after[0]:6.2f}",
            f"  median {before[1]:6.2f} {after[1]:6.2f}",
            f"  <11.25 {before[2]:6.1f} {after[2]:6.1f} %",
            f"{', '.join(str(file) for file in self.files)}: {len(result.scan.vertices)} vertices, "
            f"{len(result.scan.faces)} faces; {len(own)} vertices moved, by {rms:.3g} (root mean square), "
            f"at most {most:.3g}",
        ]


def refine_files(
    mesh: Path,
    normals: Path,
    camera: Path,
    out: Path,
    *,
    mask: Path | None = None,
    frame: str = "canonical",
    encoding: str | None = None,
    subdivide: int = 0,
    detail: float | None = None,
    picture: Path | None = None,
) -> RefineReport:
    """Refine a mesh file by a normal map and write the result as OBJ.

    mesh: any type of ``scans.read``, in the unit of the camera's world.  camera: JSON, see ``fnbench.camera``.
    mask, frame, encoding: of the map, see ``refine.target``.  subdivide, detail: see ``refine.surface``.
    picture: PNG of before, map and after.
    Raises a FnbenchError that names the file that does not fit; then nothing is written.
    """
    for path in (out, *([picture] if picture else [])):
        check_writable(path)
    check_mesh_path(out)
    target = read_target(normals, mask=mask, frame=frame, encoding=encoding)
    eye = read_camera(camera, target, normals)
    result = refined(read_scan(mesh, unit=None), eye, target, subdivide=subdivide, detail=detail, name=str(normals))
    files = write_scan(out, result.scan)
    if picture is not None:
        from PIL import Image

        with replacing(picture) as temporary:
            Image.fromarray(pictured(result, target)).save(temporary, "PNG")
        files.append(picture)
    return RefineReport(tuple(files), result)


def read_camera(path: Path, target: Target, normals: Path) -> Camera:
    """The camera of a normal map; InvalidDataError when it is none, or of another size."""
    stated = camera_from_json(read_text(path), str(path))
    height, width = target.weight.shape
    if stated.size not in (None, (width, height)):
        raise InvalidDataError(
            f"{path}: a camera of {stated.size[0]}x{stated.size[1]} pixels, but {normals} has {width}x{height}. "
            "Give the camera of this picture."
        )
    if stated.distortion.any():
        raise InvalidDataError(
            f"{path}: a camera with lens distortion; take it out of the photograph before predicting "
            "(fnbench.lens.undistorted), and leave it out of the camera."
        )
    return stated.camera(width, height)


def pictured(result: Refined, target: Target) -> NDArray[np.uint8]:
    """Before, map and after as normals in their usual colours, and before and after lit from the upper left."""
    rows, columns = (np.flatnonzero(result.before.mask.any(axis=axis)) for axis in (1, 0))
    middle, reach = (rows[0] + rows[-1]) / 2, _SURROUNDINGS * max(np.ptp(rows), np.ptp(columns)) / 2
    across = (columns[0] + columns[-1]) / 2
    place = np.s_[
        max(0, int(middle - reach)) : int(middle + reach) + 1, max(0, int(across - reach)) : int(across + reach) + 1
    ]
    known = target.weight > 0
    tiles = [
        _coloured(result.before.normals, result.before.mask),
        _coloured(target.normals, known),
        _coloured(result.after.normals, result.after.mask),
        _lit(result.before),
        _lit(result.after),
    ]
    return np.concatenate([np.pad(t[place], ((4, 4), (4, 4), (0, 0)), constant_values=255) for t in tiles], axis=1)


def _coloured(normals: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(mask[..., None], encoded(normals, "127.5"), 240).astype(np.uint8)


def _lit(maps: SurfaceMaps) -> NDArray[np.uint8]:
    shade = 40 + 200 * np.maximum(maps.normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0)
    return np.repeat(np.where(maps.mask, shade, 240)[..., None], 3, axis=2).astype(np.uint8)
