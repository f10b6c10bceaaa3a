"""Values that travel through fnbench. Each checks itself on construction; an invalid one cannot travel.

Conventions: lengths in millimetres, angles in degrees, images (H, W, 3) sRGB uint8 in files and float32 in
[0, 1] in memory, normals (H, W, 3) in the canonical frame (x right, y up, z to the viewer), masks True
where a pixel counts, pixel centres at integer + 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.errors import InvalidDataError

UNIT_TOLERANCE = 1e-3
"""Largest deviation of a target normal's length from 1 (evaluation protocol, valid pixels)."""

REGIONS = ("none", "nose", "eye sockets", "cheeks", "forehead", "mouth", "chin", "jaw border")
"""Facial regions by label; 0 is no region."""

GT_KINDS = ("scan", "registered-template", "template+displacement", "photometric-stereo", "synthetic", "none")
"""What a target is made of; numbers are never pooled over kinds."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A triangle mesh as read from a scan, positions and texture indices kept apart.

    vertices: (V, 3) float64 millimetres.
    faces: (F, 3) int32 position indices, counter-clockwise seen from outside.
    uv: (T, 2) float64 texture coordinates, v upwards, or None.
    uv_faces: (F, 3) int32 indices into ``uv``, or None.
    texture: (h, w, 3) uint8 sRGB, first row is the top (v = 1), or None.
    colors: (V, 3) uint8 sRGB per vertex, or None.
    labels: (V,) uint8 facial region per vertex (see REGIONS), or None.
    name: where it came from, for messages.
    notes: what was repaired or missing, in words, for the report.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    uv: NDArray[np.float64] | None = None
    uv_faces: NDArray[np.int32] | None = None
    texture: NDArray[np.uint8] | None = None
    colors: NDArray[np.uint8] | None = None
    labels: NDArray[np.uint8] | None = None
    name: str = "scan"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.vertices)
        _check(
            self.vertices.ndim == 2 and self.vertices.shape[1] == 3,
            self.name,
            f"vertices of shape {self.vertices.shape}, expected (V, 3)",
        )
        _check(
            self.faces.ndim == 2 and self.faces.shape[1] == 3,
            self.name,
            f"faces of shape {self.faces.shape}, expected (F, 3)",
        )
        _check(len(self.faces) > 0, self.name, "no faces; a surface needs triangles")
        if not np.isfinite(self.vertices).all():
            bad = int(np.count_nonzero(~np.isfinite(self.vertices).all(axis=1)))
            _check(False, self.name, f"{bad} of {count} vertices are NaN or infinite; repair or re-export the mesh")
        _check_indices(self.faces, count, self.name, "vertices")
        _check(
            bool((self.vertices != self.vertices[:1]).any()),
            self.name,
            "zero extent: all vertices coincide (an undecoded or empty mesh?)",
        )
        if self.uv is not None:
            _check(
                self.uv_faces is not None and self.uv_faces.shape == self.faces.shape,
                self.name,
                "texture indices do not fit the faces",
            )
            _check_indices(self.uv_faces, len(self.uv), self.name, "texture coordinates")
        for what, per_vertex in (("colors", self.colors), ("labels", self.labels)):
            _check(per_vertex is None or len(per_vertex) == count, self.name, f"{what} do not fit the {count} vertices")


@dataclass(frozen=True, slots=True, eq=False)
class NormalMap:
    """Surface normals on a pixel grid.

    normals: (H, W, 3) float32, unit length where ``mask`` is True, zero elsewhere; canonical frame.
    mask: (H, W) bool, True where the surface is visible and its normal is known.
    """

    normals: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.normals.shape != (*self.mask.shape, 3):
            raise ValueError(f"normals {self.normals.shape} do not fit mask {self.mask.shape}")
        length = np.sqrt(np.einsum("hwc,hwc->hw", self.normals, self.normals))  # no gather: five times faster
        off = int(np.count_nonzero(self.mask & ~(np.abs(length - 1) <= UNIT_TOLERANCE)))
        if off:
            raise ValueError(f"{off} of {np.count_nonzero(self.mask)} normals inside the mask are not unit length")


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A photograph that belongs to a capture.

    image: (H, W, 3) uint8 sRGB, EXIF orientation applied.
    camera: the camera in the frame of the capture's scan, or None when not known.
    name: unique within the capture.
    landmarks: (68, 2) float32 pixel x, y or None.
    mask: (H, W) bool face mask or None.
    attributes: light, view and the like.
    """

    image: NDArray[np.uint8]
    name: str
    camera: Camera | None = None
    landmarks: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(
            self.image.ndim == 3 and self.image.shape[2] == 3 and self.image.dtype == np.uint8,
            self.name,
            f"photograph of shape {self.image.shape} and type {self.image.dtype}, expected (H, W, 3) uint8",
        )
        if self.camera is not None and (self.camera.height, self.camera.width) != self.image.shape[:2]:
            raise ValueError(
                f"{self.name}: camera {self.camera.width}x{self.camera.height} does not fit image {self.image.shape}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """A mesh whose vertices are the same places of the face in every capture of a dataset: a template fitted to people.

    mesh: in the coordinates of the capture's scan, on its surface; often that scan itself.
    reference: reads the one capture of the dataset, always the same, on whose scan landmarks and regions are found;
        they are at the same vertices of every mesh.
    """

    mesh: Scan
    reference: Callable[[], Capture]


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """One capture as its dataset distributes it: a scan, or measured normals, or photographs alone.

    id: unique in the dataset.  subject: the person; the unit of splits and of statistics.
    scan: the 3D scan in millimetres, or None.
    measured: a normal map measured in the photographs' pixel grid (photometric stereo, SynthHuman), or None.
    photographs: reads the photographs when called; None when the capture has none.
    landmarks: (68, 3) float64 in scan coordinates, NaN where unknown, or None when nobody marked them.
    topology: the template that all captures of the dataset share, or None.
    attributes: expression, light, quality, ... ; stored with every sample as JSON.
    """

    id: str
    subject: str
    scan: Scan | None = None
    measured: NormalMap | None = None
    photographs: Callable[[], tuple[Photograph, ...]] | None = None
    landmarks: NDArray[np.float64] | None = None
    topology: Topology | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id or not self.subject:
            raise ValueError("a capture needs an id and a subject")
        if self.scan is None and self.measured is None and self.photographs is None:
            raise ValueError(f"capture {self.id}: neither a scan, nor measured normals, nor photographs")
        if self.scan is not None and self.measured is not None:
            raise ValueError(f"capture {self.id}: a scan and measured normals; give one")
        if self.landmarks is not None and self.landmarks.shape != (68, 3):
            raise ValueError(f"capture {self.id}: landmarks {self.landmarks.shape}, expected (68, 3)")


@dataclass(frozen=True, slots=True, eq=False)
class Visibility:
    """Which triangle each pixel centre sees.

    faces: (H, W) int32 index into the scan's faces, -1 = nothing.
    """

    faces: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.faces.ndim != 2 or self.faces.dtype != np.int32:
            raise ValueError(f"expected (H, W) int32 face indices, got {self.faces.shape} {self.faces.dtype}")

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool, True where something is visible."""
        return self.faces >= 0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What the store holds: an image and its exact normals, pixel by pixel.

    id, capture, subject, split: identifiers; ``id`` is unique in its file.
    image: (H, W, 3) uint8 sRGB.  target: NormalMap of the same size.
    region: (H, W) uint8 labels (REGIONS).  depth: (H, W) float32 mm along the optical axis, NaN outside, or None.
    camera: of the crop.  landmarks: (68, 2) float32 pixel x, y, NaN where unknown.
    attributes: expression, light, yaw, pitch, source ("photograph" or "render"), ...
    """

    id: str
    capture: str
    subject: str
    split: str
    image: NDArray[np.uint8]
    target: NormalMap
    region: NDArray[np.uint8]
    camera: Camera
    landmarks: NDArray[np.float32]
    depth: NDArray[np.float32] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.target.mask.shape
        if self.image.shape != (*shape, 3) or self.image.dtype != np.uint8:
            raise ValueError(
                f"sample {self.id}: image {self.image.shape} {self.image.dtype} does not fit normals {shape}"
            )
        if self.region.shape != shape or (self.depth is not None and self.depth.shape != shape):
            raise ValueError(f"sample {self.id}: region or depth do not fit normals {shape}")
        if self.landmarks.shape != (68, 2):
            raise ValueError(f"sample {self.id}: landmarks {self.landmarks.shape}, expected (68, 2)")
        if self.split not in ("train", "val", "test"):
            raise ValueError(f"sample {self.id}: split {self.split!r}, expected train, val or test")
        if (self.camera.height, self.camera.width) != shape:
            raise ValueError(f"sample {self.id}: camera size does not fit normals {shape}")


def _check(condition: bool, name: str, problem: str) -> None:
    if not condition:
        raise InvalidDataError(f"{name}: {problem}.")


def _check_indices(indices: NDArray[np.integer] | None, count: int, name: str, what: str) -> None:
    if indices is not None and indices.size and (indices.min() < 0 or indices.max() >= count):
        raise InvalidDataError(
            f"{name}: a face names {what} {int(indices.min())} to {int(indices.max())}, but there are {count} {what}."
        )
