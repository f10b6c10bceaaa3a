"""A coarse mesh gets the detail of a normal map: which faces see it, which way they should look, and how far that went.

What is transferred is a difference. The mesh's own smooth normals are rendered with the camera of the map; where the
map says another direction, the rotation between the two turns the normals of the faces there, and the vertices move
until the faces follow (``refine.solve``). So a map without any detail of its own leaves the mesh as it was. Since a
moved vertex is seen by other pixels, this is done a few times over, each time from the coarse mesh: turning what is
turned already would exaggerate detail that the mesh is too coarse for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.errors import InvalidDataError, InvalidSettingError
from fnbench.metrics import angular_error
from fnbench.refine.solve import displaced
from fnbench.refine.subdivide import subdivided
from fnbench.refine.target import Target
from fnbench.render.backends import Renderer, renderer
from fnbench.render.shade import SurfaceMaps, surface_maps
from fnbench.render.views import whereabouts
from fnbench.scans.clean import weld
from fnbench.scans.edges import edges_of
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan, Visibility

ITERATIONS = 3
FINER = 2.0
"""Edges longer than this many pixels are cut when the mesh is subdivided."""
DETAIL = 0.5
"""Wavelength taken half from the map and half from the mesh, relative to the longest side of the mesh."""
FOREIGN = 45.0
"""A map whose median angle to the mesh is larger, in degrees, belongs to another mesh, camera or frame."""
_TURN = np.cos(np.radians(75))
"""Cosine of the largest turn that is believed."""
_GRAZING = (0.05, 0.3)
"""Cosine to the viewer between which the trust in a face rises from 0 to 1."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """A refined mesh, and what changed.

    coarse: the mesh at the start, subdivided.  before, after: maps of both as the camera sees them.
    compared: (H, W) bool, pixels where both and the map are known.
    errors: per compared pixel, angle to the map in degrees before and after.
    """

    scan: Scan
    coarse: Scan
    before: SurfaceMaps
    after: SurfaceMaps
    compared: NDArray[np.bool_]
    errors: tuple[Array, Array]

    @property
    def moved(self) -> Array:
        """(V,) how far each vertex moved."""
        return np.asarray(np.linalg.norm(self.scan.vertices - self.coarse.vertices, axis=1))


def refined(
    scan: Scan, camera: Camera, target: Target, *, subdivide: int = 0, detail: float | None = None, name: str = "map"
) -> Refined:
    """The mesh with the detail of a normal map.

    scan: the coarse mesh, in the world of the camera; any unit.  camera, target: of the same picture size.
    subdivide: how often edges longer than ``FINER`` pixels are cut.
    detail: wavelength up to which the map decides, in units of the mesh; ``DETAIL`` of its longest side when None.
    name: of the map, for messages.
    Raises InvalidDataError when the camera sees nothing of the mesh, or when the map does not belong to it.
    """
    if subdivide < 0 or subdivide > 8:
        raise InvalidSettingError(f"subdivide is {subdivide}, expected 0 to 8.")
    extent = float(np.ptp(scan.vertices[np.unique(scan.faces)], axis=0).max())
    wavelength = DETAIL * extent if detail is None else detail
    if not (np.isfinite(wavelength) and wavelength > 0):
        raise InvalidSettingError(f"detail is {wavelength}, expected a positive length in units of the mesh.")
    eye = renderer()
    same = weld(scan.vertices, np.arange(len(scan.vertices), dtype=np.int32)[:, None])[:, 0]
    coarse = replace(scan, faces=same[scan.faces])
    _check_belongs(coarse, camera, target, eye, name)
    for _ in range(subdivide):
        split = _long_edges(coarse, camera, eye.visibility(coarse, camera))
        if not split.any():
            break
        coarse = subdivided(coarse, split)
    same = np.concatenate([same, np.arange(len(same), len(coarse.vertices), dtype=same.dtype)])
    fine = coarse
    for _ in range(ITERATIONS):
        fine = _step(fine, coarse, camera, target, eye, wavelength / (2 * np.pi))
    fine = replace(fine, vertices=fine.vertices[same])  # copies of a position stay together
    before, after = _seen(coarse, camera, eye)[1], _seen(fine, camera, eye)[1]
    compared = before.mask & after.mask & (target.weight > 0)
    errors = tuple(angular_error(maps.normals[compared], target.normals[compared]) for maps in (before, after))
    return Refined(fine, coarse, before, after, compared, (errors[0], errors[1]))


def _step(fine: Scan, coarse: Scan, camera: Camera, target: Target, eye: Renderer, length: float) -> Scan:
    start, flat = vertex_normals(coarse.vertices, coarse.faces), _face_normals(coarse)
    visible = eye.visibility(fine, camera)
    # The coarse normals, carried along by the faces: what is turned is the coarse mesh, however far it has come.
    maps = surface_maps(fine, start, camera, visible)
    own, wanted, trust = face_normals_seen(fine, camera, visible, maps, target)
    seen = trust > 0
    turned = _turned(flat @ camera.rotation.T, own, wanted) @ camera.rotation
    targets = np.where(seen[:, None], turned, flat)  # unseen faces keep their own normal
    directions = vertex_normals(fine.vertices, fine.faces)
    free = _free(fine, seen) & (np.linalg.norm(directions, axis=1) > 0)
    weights = np.where(seen, trust, 1.0)
    return replace(
        fine,
        vertices=displaced(fine.vertices, fine.faces, directions, targets, weights, free, coarse.vertices, length),
    )


def face_normals_seen(
    scan: Scan, camera: Camera, visible: Visibility, maps: SurfaceMaps, target: Target
) -> tuple[Array, Array, Array]:
    """What the mesh's own maps and the target say about each face.

    A face takes the mean over the pixels that see it; a face between the pixel centres takes the pixel it lies in, when
    that shows the surface at its depth. Returns (F, 3) own and (F, 3) wanted unit normals, canonical frame, and (F,)
    the trust, 0 where nothing is known.
    """
    count = len(scan.faces)
    known = maps.mask & maps.facing & (target.weight > 0)
    face, weight = visible.faces[known], target.weight[known]
    pixels = np.bincount(face, minlength=count)

    def summed(values: NDArray[np.floating]) -> Array:
        return np.stack([np.bincount(face, weight * values[:, k], minlength=count) for k in range(3)], axis=-1)

    own, wanted = summed(maps.normals[known]), summed(target.normals[known])
    trust = np.bincount(face, weight, minlength=count) / np.maximum(pixels, 1)
    small = np.flatnonzero((pixels == 0) & ~np.isin(np.arange(count), visible.faces))
    row, column, shown = _pixels_of(scan, camera, maps, small)
    shown &= known[row, column]
    small, row, column = small[shown], row[shown], column[shown]
    own[small], wanted[small] = maps.normals[row, column], target.normals[row, column]
    trust[small] = target.weight[row, column]
    own, wanted = _unit(own), _unit(wanted)
    believed = np.einsum("fx,fx->f", own, wanted) > _TURN
    return own, wanted, trust * believed * _facing(scan, camera)


def _pixels_of(
    scan: Scan, camera: Camera, maps: SurfaceMaps, faces: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Row and column of the pixel that each face's middle lies in, and whether that pixel shows its surface."""
    corners = scan.vertices[scan.faces[faces]]
    pixel, depth = camera.project(corners.mean(axis=1))
    pixel = np.nan_to_num(pixel, nan=-1.0)
    inside = (pixel >= 0).all(axis=1) & (pixel[:, 0] < camera.width) & (pixel[:, 1] < camera.height)
    column, row = (np.where(inside, pixel[:, k], 0).astype(np.intp) for k in range(2))
    step = 1 / camera.K[0, 0] if camera.orthographic else depth / camera.K[0, 0]
    reach = np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=-1).max(axis=1)
    near = np.abs(maps.depth[row, column] - depth) < 2 * np.abs(step) + reach  # NaN is not near
    return row, column, inside & near


def _facing(scan: Scan, camera: Camera) -> Array:
    """(F,) trust by how much each face looks at the camera."""
    normals = _face_normals(scan) @ camera.rotation.T
    if camera.orthographic:
        cosine = normals[:, 2]
    else:
        middle = camera.to_camera(scan.vertices[scan.faces].mean(axis=1))
        cosine = -np.einsum("fx,fx->f", normals, _unit(middle))
    low, high = _GRAZING
    return np.clip((cosine - low) / (high - low), 0, 1)


def _turned(normals: Array, start: Array, end: Array) -> Array:
    """Unit normals turned by the smallest rotation from ``start`` to ``end`` (Rodrigues); all (F, 3)."""
    axis = np.cross(start, end)
    cosine = np.einsum("fx,fx->f", start, end)[:, None]
    once = np.cross(axis, normals)
    return _unit(normals + once + np.cross(axis, once) / np.maximum(1 + cosine, 1e-6))


def _free(scan: Scan, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(V,) vertices of faces that see the map, except those on a border of the mesh."""
    free = np.zeros(len(scan.vertices), np.bool_)
    free[scan.faces[seen]] = True
    edges, of_face = edges_of(scan.faces)
    border = edges[np.bincount(of_face.ravel(), minlength=len(edges)) == 1]
    free[border.ravel()] = False
    return free


def _long_edges(scan: Scan, camera: Camera, visible: Visibility) -> NDArray[np.bool_]:
    """(E,) edges of visible faces that are longer than ``FINER`` pixels."""
    edges, of_face = edges_of(scan.faces)
    pixel = camera.project(scan.vertices)[0]
    with np.errstate(invalid="ignore"):
        long = np.linalg.norm(pixel[edges[:, 0]] - pixel[edges[:, 1]], axis=1) > FINER  # NaN is not longer
    seen = np.zeros(len(edges), np.bool_)
    seen[of_face[np.unique(visible.faces[visible.mask])]] = True
    return np.asarray(long & seen, np.bool_)


def _check_belongs(scan: Scan, camera: Camera, target: Target, eye: Renderer, name: str) -> None:
    _, maps = _seen(scan, camera, eye)
    both = maps.mask & (target.weight > 0)
    if not both.any():
        what = "where the map is known " if maps.mask.any() else ""
        raise InvalidDataError(
            f"{scan.name}: the camera sees nothing of it {what}({whereabouts(camera, scan.vertices)}). Check that mesh "
            "and camera share one world and one unit, and the axes of the camera."
        )
    median = float(np.median(angular_error(maps.normals[both], target.normals[both])))
    if median > FOREIGN:
        raise InvalidDataError(
            f"{name}: its normals are {median:.0f} degrees (median) from those of {scan.name}, expected less than "
            f"{FOREIGN:g}: it belongs to another mesh or camera, or has other axes. Declare them with --frame; the "
            "axes of a camera stand in its file. Nothing was written."
        )


def _seen(scan: Scan, camera: Camera, eye: Renderer) -> tuple[Visibility, SurfaceMaps]:
    visible = eye.visibility(scan, camera)
    return visible, surface_maps(scan, vertex_normals(scan.vertices, scan.faces), camera, visible)


def _face_normals(scan: Scan) -> Array:
    a, b, c = (scan.vertices[scan.faces[:, k]] for k in range(3))
    return _unit(np.cross(b - a, c - a))


def _unit(vectors: NDArray[np.floating]) -> Array:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float64)
