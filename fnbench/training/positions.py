"""Targets for models that predict a mesh: where in its picture each vertex of the template lies.

A rendered file holds the camera of every sample and the capture it shows. Heads of ICT-FaceKit all have one topology,
so the template's vertices are found again in every capture, projected with the sample's camera, and written into a
second file beside the rendered one:

    vertices   (N, V, 3) uint16, samples in the order of the rendered file; code / 65535 * 4 - 1.5 is the position in
               units of the picture's longer side: x right and y down from its corner, z to the viewer
    id         (N,) str, sample ids;  attributes: schema, source (content hash of the rendered file)

The step of the code is 1/16384 of the side, a 64th of a pixel at 256 pixels. z is f ln(d0 / d) for depth d and its mean
d0 over the vertices, which has the scale of x and y at every depth; under an orthographic camera f (d0 - d).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnbench.adapters.contract import DatasetAdapter
from fnbench.adapters.ict import Ict
from fnbench.camera import Camera, landmark_crop, look_at
from fnbench.errors import InvalidDataError, InvalidStoreError
from fnbench.files import replacing
from fnbench.models.prn import Template
from fnbench.registry import resolve
from fnbench.store import Store
from fnbench.training.augment import Placement

SCHEMA = "fnbench-positions/1"
_LOW, _RANGE = -1.5, 4.0

ICT_FACE, ICT_NARROW = 9409, 6706
"""Vertices of the face with ears and neck, and of the face alone (ICT-FaceKit README)."""
ICT_EYES = (14069, 15639)
"""The foremost vertex of each eyeball (21458 and 23028 of the model) in the adapter's numbering."""
ICT_LICENCE = "MIT; Copyright (c) 2020 USC Institute for Creative Technologies"


def projected_vertices(points: NDArray[np.floating], camera: Camera) -> NDArray[np.float64]:
    """Where points lie in a picture.

    points: (V, 3) world millimetres.
    Returns (V, 3) in units of the picture's longer side: x right, y down from its corner, z to the viewer.
    """
    pixels, depth = camera.project(points)
    focal, middle = camera.K[0, 0], depth.mean()
    towards = focal * (middle - depth) if camera.orthographic else focal * np.log(middle / depth)
    return np.column_stack([pixels, towards]) / max(camera.width, camera.height)


def write_positions(
    data: Path, root: Path, mesh: Template, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write the position file of a rendered file; returns the number of samples.

    root: the dataset's folder, as it was given to ``render-gt``.  progress: called with done and total.
    Raises InvalidStoreError when the file's samples cannot be made again from this root; OutputError.
    """
    with Store(data) as store:
        settings = store.attributes.get("settings", {})
        adapter: DatasetAdapter = resolve(str(store.attributes["dataset"]), "dataset")(
            root, **settings.get("adapter", {})
        )
        with replacing(Path(out)) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["schema"] = SCHEMA
            file.attrs["source"] = str(store.attributes["content_hash"])
            file["id"] = store.ids
            shape = (len(store), len(mesh.source), 3)
            codes = file.create_dataset(
                "vertices", shape, np.uint16, chunks=(1, *shape[1:]), compression="gzip", shuffle=True
            )
            previous, points = "", np.empty((0, 3))
            for index, capture in enumerate(store.captures):
                if capture != previous:  # views of one capture lie together
                    previous, points = capture, _points(adapter, capture, mesh, data)
                codes[index] = _coded(projected_vertices(points, store.camera(index)))
                if progress is not None:
                    progress(index + 1, len(store))
        return len(store)


class Positions:
    """A position file: opened lazily, once per process, like a Store.

    store: the rendered file that it belongs to. Raises InvalidStoreError when it belongs to another.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self.path, self._file, self._process = Path(path), None, 0
        try:
            with h5py.File(path, "r") as file:
                schema, source = file.attrs.get("schema"), file.attrs.get("source")
                self.shape: tuple[int, ...] = file["vertices"].shape
        except (OSError, KeyError) as error:
            raise InvalidStoreError(f"{path}: no position file ({error}). Make one: fnbench positions.") from error
        if schema != SCHEMA or source != str(store.attributes["content_hash"]) or self.shape[0] != len(store):
            raise InvalidStoreError(
                f"{path}: positions of another file than {store.path}. Make them again: fnbench positions."
            )

    _file: h5py.File | None

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """(V, 3) float32 positions of one sample, in units of the picture's longer side."""
        if self._file is None or self._process != os.getpid():
            self._file, self._process = h5py.File(self.path, "r"), os.getpid()
        codes: NDArray[np.uint16] = self._file["vertices"][index]
        return codes.astype(np.float32) * np.float32(_RANGE / 65535) + np.float32(_LOW)


def placed_positions(positions: Tensor, place: Placement, side: int, mirror: Tensor) -> Tensor:
    """Positions after an augmentation, beside ``placed_images``.

    positions: (N, V, 3) in units of ``side``, the longer side of the sources in pixels.
    mirror: (V,) the vertex on the other side of the face.
    Returns (N, V, 3) in units of the output's side. A mirrored picture shows a face whose left was the right.
    """
    angle = torch.deg2rad(place.degrees)[:, None]
    cos, sin = angle.cos(), angle.sin()
    swapped = torch.where(place.mirrored[:, None, None], positions[:, mirror], positions)
    sign = torch.where(place.mirrored, -1.0, 1.0)[:, None]
    offset = (swapped[..., :2] * side - place.centre[:, None]) / place.side[:, None, None]
    x, y = offset[..., 0] * sign, offset[..., 1]
    z = swapped[..., 2] * side / place.side[:, None]
    return torch.stack([x * cos + y * sin + 0.5, y * cos - x * sin + 0.5, z], -1)


def ict_template(root: Path) -> Template:
    """The template of ``models.prn``, made from ICT-FaceKit (MIT).

    root: its folder, as the ``ict`` adapter takes it. The face with ears and neck; each eye is closed by a
    fan to its foremost vertex. Raises what the adapter raises.
    """
    from scipy.spatial import cKDTree

    scan, landmarks = Ict(root).neutral()
    assert scan.uv is not None
    assert scan.uv_faces is not None
    kept = (scan.faces < ICT_FACE).all(axis=1)
    faces, uv = scan.faces[kept], np.zeros((ICT_FACE + 2, 2))
    inside = (scan.uv[scan.uv_faces[kept]] <= 1).all(axis=(1, 2))  # one triangle lies in the tile of the back head
    uv[faces[inside]] = scan.uv[scan.uv_faces[kept][inside]]
    source = np.array([*range(ICT_FACE), *ICT_EYES])
    points = scan.vertices[source]
    eyes = [loop for loop in _border_loops(faces) if len(loop) == 42]
    if len(eyes) != 2:
        raise InvalidDataError(f"{root}: {len(eyes)} openings of 42 vertices, expected the two eyes.")
    for loop in eyes:
        eye = ICT_FACE + int(np.argmin([np.linalg.norm(points[loop].mean(0) - points[ICT_FACE + k]) for k in (0, 1)]))
        uv[eye] = uv[loop].mean(0)
        faces = np.vstack([faces, [(b, a, eye) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]])
    mean = _in_frontal_crop(points, landmarks)
    weight = np.where(np.arange(len(source)) < ICT_NARROW, 3.0, 1.0)
    weight[ICT_FACE:] = 3.0
    mirror = cKDTree(points).query(points * [-1, 1, 1])[1]
    return Template(
        mean.astype(np.float32),
        np.column_stack([uv[:, 0], 1 - uv[:, 1]]).astype(np.float32),
        faces.astype(np.int32),
        mirror.astype(np.int64),
        weight.astype(np.float32),
        source.astype(np.int64),
    )


def _in_frontal_crop(points: NDArray[np.float64], landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = landmarks.mean(axis=0)
    camera = Camera(np.diag([1000.0, 1000.0, 1.0]), look_at(middle, 1000.0), 1, 1)
    return projected_vertices(points, camera.crop(landmark_crop(camera.project(landmarks)[0]), 256))


def _points(adapter: DatasetAdapter, capture: str, mesh: Template, data: Path) -> NDArray[np.float64]:
    scan = adapter.load(capture).scan
    if scan is None or len(scan.vertices) <= mesh.source.max():
        found = "no scan" if scan is None else f"{len(scan.vertices)} vertices"
        raise InvalidStoreError(
            f"{data}: capture {capture} has {found}, but the template names vertex {mesh.source.max()}. Position maps "
            "need heads of the template's topology (ict)."
        )
    points: NDArray[np.float64] = scan.vertices[mesh.source]
    return points


def _coded(positions: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.rint((positions - _LOW) / _RANGE * 65535).clip(0, 65535).astype(np.uint16)


def _border_loops(faces: NDArray[np.int32]) -> Sequence[list[int]]:
    """Closed chains of edges that only one triangle has, in that triangle's direction."""
    edges = {(int(f[k]), int(f[(k + 1) % 3])) for f in faces for k in range(3)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loops = []
    while following:
        loop = [next(iter(following))]
        while (after := following.pop(loop[-1], loop[0])) != loop[0]:
            loop.append(after)
        loops.append(loop)
    return loops
