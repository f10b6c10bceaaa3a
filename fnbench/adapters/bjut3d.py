"""BJUT-3D (Beijing University of Technology, 2005): laser scans of 500 Chinese faces; layout unknown, unverified.

No public reader of the original files is known. Whatever meshes lie below the folder are taken: OBJ, PLY, STL, OFF
and legacy VTK, VRML 2, and NPZ with ``vertices``, ``faces`` and optionally ``colors``. Point clouds without triangles
are refused. Who is on a scan, the axes and the unit are settings (card, or ``fnbench.toml`` in the folder).
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import (
    axes_matrix,
    given_root,
    nothing_found,
    read_bytes,
    settings,
    unknown_capture,
)
from fnbench.errors import InvalidDataError, InvalidSettingError
from fnbench.scans import clean
from fnbench.scans.read import read_scan
from fnbench.scans.units import extent, millimetres
from fnbench.types import Capture, Scan

SUFFIXES = (".obj", ".ply", ".stl", ".off", ".vtk", ".wrl", ".npz")


class Bjut3d:
    """Scans as their path without suffix.

    root: any folder of meshes.
    """

    name: ClassVar[str] = "bjut3d"
    reported: ClassVar[tuple[str, ...]] = ("format",)

    def __init__(self, root: Path | None, **given: Any) -> None:
        self.root = root
        self.settings = settings(self.name, root, **given)
        self._axes = axes_matrix(self.name, self.settings["axes"])
        try:
            self._subject = re.compile(self.settings["subject"])
        except re.error as error:
            raise InvalidSettingError(f"{self.name}: subject is no regular expression ({error}).") from None

    def capture_ids(self) -> Sequence[str]:
        """Meshes, sorted."""
        return list(self._files)

    @cached_property
    def _files(self) -> dict[str, str]:
        root = given_root(self.name, self.root)
        files = sorted(_walk(str(root), ""))
        stems = Counter(os.path.splitext(name)[0] for name, _ in files)
        # Two formats of one scan are two captures with their suffix, so that none is chosen silently.
        found = {stem if stems[stem := os.path.splitext(name)[0]] == 1 else name: path for name, path in files}
        if not found:
            raise nothing_found(self.name, root, f"meshes ({', '.join(SUFFIXES)})")
        return dict(sorted(found.items()))

    def load(self, capture_id: str) -> Capture:
        """One scan in millimetres, its axes turned to right, up, out."""
        if capture_id not in self._files:
            raise unknown_capture(self.name, capture_id, self._files)
        path = Path(self._files[capture_id])
        match = self._subject.search(capture_id)
        if match is None:
            raise InvalidSettingError(
                f"{self.name}: the setting subject ({self.settings['subject']!r}) finds nobody in {capture_id!r}. "
                f"Give a regular expression whose first group is the person."
            )
        return Capture(
            id=capture_id,
            subject=match[1] if match.groups() else match[0],
            scan=self._scan(path, capture_id),
            attributes={"format": path.suffix.lower()[1:], "expression": "neutral", "verified": False},
        )

    def _scan(self, path: Path, name: str) -> Scan:
        unit = self.settings["unit"]
        if path.suffix.lower() == ".npz":
            return self._of_arrays(*read_npz(path), name, str(path))
        front = tuple(self._axes[2])
        scan = read_scan(path, unit=unit, front=front)
        return Scan(
            scan.vertices @ self._axes.T, scan.faces, scan.uv, scan.uv_faces, scan.texture, scan.colors, None, name,
            scan.notes,
        )  # fmt: skip

    def _of_arrays(
        self,
        vertices: NDArray[np.float64],
        faces: NDArray[np.int32],
        colors: NDArray[np.uint8] | None,
        name: str,
        where: str,
    ) -> Scan:
        if not len(faces):
            raise InvalidDataError(f"{where}: points without triangles; a surface needs triangles. Export a mesh.")
        scan = Scan(vertices, faces, colors=colors, name=where)  # checks indices, NaN and extent by name
        factor = millimetres(self.settings["unit"], extent(scan.vertices, scan.faces), where)
        placed = scan.vertices * factor @ self._axes.T
        kept = scan.faces[clean.with_area(placed, scan.faces)]
        if clean.outward_share(placed, kept, np.array([0.0, 0.0, 1.0])) < 0.5:
            kept = kept[:, ::-1].copy()
        return Scan(placed, kept, colors=colors, name=name)


def read_npz(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.uint8] | None]:
    """Vertices (V, 3), faces (F, 3; empty when absent) and colours (V, 3) or None; pickled arrays are refused."""
    import zipfile

    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files if key in ("vertices", "faces", "colors")}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidDataError(f"{path}: not a plain NPZ archive ({error}).", code="FM-43") from None
    vertices, faces = arrays.get("vertices"), arrays.get("faces", np.zeros((0, 3), np.int32))
    if vertices is None or vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        held = ", ".join(f"{key} {value.shape}" for key, value in arrays.items()) or "none of them"
        raise InvalidDataError(f"{path}: found {held}, expected vertices (V, 3) and faces (F, 3).")
    colors = arrays.get("colors")
    return vertices.astype(np.float64), faces.astype(np.int32), None if colors is None else colors.astype(np.uint8)


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as listing:
        for entry in listing:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__MACOSX":
                    yield from _walk(entry.path, f"{prefix}{entry.name}/")
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.name.startswith("."):
                yield f"{prefix}{entry.name}", entry.path
