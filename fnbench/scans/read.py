"""Mesh files become Scans in millimetres: read, checked, cleaned, wound outwards.

Order of steps: parse -> exclude parts -> texture -> weld positions -> drop faces without area -> one winding -> unit ->
outwards.
Vertex indices stay those of the file (OBJ), so landmark lists and part ranges keep their meaning. Everything that was
repaired or missing stands in ``Scan.notes``; everything that cannot be repaired is an InvalidDataError that names
the file, what was found, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError
from fnbench.files import printable
from fnbench.scans import clean, units
from fnbench.scans.formats import Part, read_parts
from fnbench.scans.obj import ObjMesh, parse_obj
from fnbench.scans.texture import find_textures, read_image, stack
from fnbench.types import Scan

SUFFIXES = (".obj", ".ply", ".glb", ".gltf", ".stl", ".off", ".wrl", ".vtk")
"""File types that read_scan opens."""

_CERTAIN = 0.02
_ABSURD = 1e12
_BINARY_HINTS = (b"<!doctype", b"<html", b"<?xml")


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Parts of a mesh that are no skin: inner mouth, eye shells, lashes.

    materials: names behind ``usemtl``, compared without regard to case; ``"M_Eye*"`` matches by its beginning.
    vertices: half-open ranges of vertex indices; a face that touches one is left out.
    """

    materials: tuple[str, ...] = ()
    vertices: tuple[tuple[int, int], ...] = ()


def read_scan(
    path: Path | str,
    *,
    unit: str | float | None = "mm",
    front: Sequence[float] | None = None,
    exclude: Exclusion | None = None,
    weld: bool = True,
    texture: bool = True,
) -> Scan:
    """Read a mesh file into a Scan in millimetres.

    path: .obj, .ply, .glb, .gltf, .stl, .off, VRML 2 .wrl or legacy ASCII .vtk.
    unit: um, mm, cm, dm, m, ``"auto"``, or millimetres per unit; the size must then be that of a face or head.
        None takes the numbers as millimetres and checks nothing (a sphere in a test, a part of a face).
    front: (3,) direction from the face to the viewer in the axes of the file, when the set declares it; the winding
        is then decided by the visible front faces, else by whether the surface bulges outwards.
    exclude: parts to leave out.
    weld: let faces share one vertex per position. Off for templates whose lips or lids touch on purpose.
    texture: read the texture image; off when only the geometry is wanted.
    """
    path = Path(path)
    name = printable(path)
    content = _content(path, name)
    if path.suffix.lower() == ".obj":
        mesh = parse_obj(content, name)
        part, notes = _from_obj(mesh, path, exclude or Exclusion(), texture)
    else:
        parts, notes = read_parts(path, content, texture)
        part = _without_ranges(_joined(parts), (exclude or Exclusion()).vertices)
    return _clean(part, name, list(notes), unit, front, weld)


def _content(path: Path, name: str) -> bytes:
    """The bytes of the file, after the checks that need no parser."""
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidDataError(f"{name}: file type {path.suffix or 'missing'!r}, expected {', '.join(SUFFIXES)}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidDataError(f"{name}: cannot be read ({error.strerror or error}); check path and rights.") from error
    if not content:
        raise InvalidDataError(f"{name}: the file is empty (0 bytes), expected a mesh; copy it again.")
    head = content[:4096].lstrip().lower()
    if head.startswith(_BINARY_HINTS):
        raise InvalidDataError(
            f"{name}: this is a web page, expected a mesh; probably a download confirmation was saved."
        )
    if head.startswith(b"version https://git-lfs"):
        raise InvalidDataError(f"{name}: a Git LFS pointer, expected a mesh; fetch the file itself (git lfs pull).")
    if content[:65536].count(b"\xef\xbf\xbd") > 8:
        raise InvalidDataError(
            f"{name}: full of replacement characters (EF BF BD): a binary file that was sent through a text "
            "conversion; the data is lost, copy the original again."
        )
    if path.suffix.lower() == ".obj" and b"\0" in content[:65536]:
        raise InvalidDataError(f"{name}: binary data, expected OBJ text; copy it again.")
    return content


def _from_obj(mesh: ObjMesh, path: Path, exclude: Exclusion, texture: bool) -> tuple[Part, tuple[str, ...]]:
    notes = list(mesh.notes)
    faces, uv_faces, materials = mesh.faces, mesh.uv_faces, mesh.materials
    dropped = [i for i, word in enumerate(mesh.material_names) if _matches(word, exclude.materials)]
    if dropped or exclude.vertices:
        keep = ~np.isin(materials, dropped) & ~_touching(faces, len(mesh.vertices), exclude.vertices)
        notes.append(f"{int((~keep).sum())} faces of excluded parts left out")
        faces, materials = faces[keep], materials[keep]
        uv_faces = None if uv_faces is None else uv_faces[keep]
    uv, image = mesh.uv, None
    if texture and uv is not None and uv_faces is not None and len(faces):
        uv, uv_faces, image, more = _textured(path, mesh, uv, uv_faces, materials)
        notes += more
    return Part(mesh.vertices, faces, uv, uv_faces, image, mesh.colors), tuple(notes)


def _textured(
    path: Path, mesh: ObjMesh, uv: NDArray[np.float64], uv_faces: NDArray[np.int32], materials: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.uint8] | None, list[str]]:
    """The texture of an OBJ; several images (one per material) go side by side into one."""
    used = tuple(mesh.material_names[i] for i in np.unique(materials) if i >= 0)
    found = find_textures(path, mesh.libraries, used)
    notes = list(found.notes)
    files = sorted(set(found.files.values()))
    if not files:
        image = None if found.fallback is None else read_image(found.fallback)
        if image is None:
            notes.append("no texture found")
        return uv, uv_faces, image, notes
    images = [read_image(file) for file in files]
    if len(images) == 1:
        return uv, uv_faces, images[0], notes
    notes.append(f"{len(images)} textures put side by side")
    sheet, places = stack(images)
    which = np.zeros(len(materials), np.int32)
    for word, file in found.files.items():
        which[materials == mesh.material_names.index(word)] = files.index(file)
    moved = np.concatenate([np.clip(uv, 0, 1) * (su, sv) + (du, dv) for su, du, sv, dv in places])
    return moved, uv_faces + (which * len(uv))[:, None].astype(np.int32), sheet, notes


def _joined(parts: list[Part]) -> Part:
    """Several pieces of a scene as one, their textures side by side."""
    if len(parts) == 1:
        return parts[0]
    shifts = np.cumsum([0] + [len(p.vertices) for p in parts])
    vertices = np.concatenate([p.vertices for p in parts])
    faces = np.concatenate([p.faces + np.int32(s) for p, s in zip(parts, shifts, strict=False)])
    colors = None
    if all(p.colors is not None for p in parts):
        colors = np.concatenate([p.colors for p in parts if p.colors is not None])
    textured = [p for p in parts if p.texture is not None and p.uv is not None and p.uv_faces is not None]
    if not textured:
        return Part(vertices, faces, colors=colors)
    sheet, places = stack([p.texture for p in textured if p.texture is not None])
    row = iter(places)
    uvs, uv_faces, offset = [], [], 0
    for part in parts:
        if part.texture is not None and part.uv is not None and part.uv_faces is not None:
            su, du, sv, dv = next(row)
            uvs.append(np.clip(part.uv, 0, 1) * (su, sv) + (du, dv))
            uv_faces.append(part.uv_faces + np.int32(offset))
        else:
            uvs.append(np.zeros((1, 2)))
            uv_faces.append(np.full_like(part.faces, offset))
        offset += len(uvs[-1])
    return Part(vertices, faces, np.concatenate(uvs), np.concatenate(uv_faces), sheet, colors)


def _without_ranges(part: Part, ranges: tuple[tuple[int, int], ...]) -> Part:
    if not ranges:
        return part
    keep = ~_touching(part.faces, len(part.vertices), ranges)
    uv_faces = None if part.uv_faces is None else part.uv_faces[keep]
    return Part(part.vertices, part.faces[keep], part.uv, uv_faces, part.texture, part.colors)


def _clean(
    part: Part, name: str, notes: list[str], unit: str | float | None, front: Sequence[float] | None, weld: bool
) -> Scan:
    vertices, faces, uv_faces = part.vertices, part.faces, part.uv_faces
    _check_coordinates(vertices, name)
    if len(faces) == 0:
        raise InvalidDataError(f"{name}: no faces are left, expected a surface; check the excluded parts.")
    if weld:
        faces = clean.weld(vertices, faces)
    keep = clean.with_area(vertices, faces)
    if not keep.any():
        raise InvalidDataError(
            f"{name}: zero extent, none of its {len(faces)} faces has an area (an undecoded or flattened mesh?); "
            "export it again."
        )
    if not keep.all():
        notes.append(f"{int((~keep).sum())} of {len(keep)} faces without area removed")
        faces = faces[keep]
        uv_faces = None if uv_faces is None else uv_faces[keep]
    turned = clean.against_neighbours(np.ascontiguousarray(faces), len(vertices))
    if turned is not None:
        notes.append(f"{int(turned.sum())} of {len(faces)} faces were wound against their neighbours and reversed")
        faces = np.where(turned[:, None], faces[:, ::-1], faces)
        uv_faces = None if uv_faces is None else np.where(turned[:, None], uv_faces[:, ::-1], uv_faces)
    if unit is not None:
        factor = units.millimetres(unit, units.extent(vertices, faces), name)
        vertices = vertices * factor if factor != 1 else vertices
    if _wound_inwards(vertices, faces, front, notes):
        faces = faces[:, ::-1]
        uv_faces = None if uv_faces is None else uv_faces[:, ::-1]
        notes.append("faces were wound inwards; all reversed")
    return Scan(
        vertices=np.ascontiguousarray(vertices, np.float64),
        faces=np.ascontiguousarray(faces, np.int32),
        uv=part.uv,
        uv_faces=None if uv_faces is None else np.ascontiguousarray(uv_faces, np.int32),
        texture=part.texture,
        colors=part.colors,
        name=name,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_coordinates(vertices: NDArray[np.float64], name: str) -> None:
    """Refuse NaN, infinite and absurd coordinates, whether a face uses them or not."""
    if len(vertices) and np.abs(vertices).max() < _ABSURD:
        return
    bad = int(np.count_nonzero(~np.isfinite(vertices).all(axis=1)))
    what = f"{bad} of {len(vertices)} vertices are NaN or infinite" if bad else "a coordinate beyond 1e12"
    raise InvalidDataError(f"{name}: {what}, expected finite positions of a face; repair or re-export the mesh.")


def _wound_inwards(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], front: Sequence[float] | None, notes: list[str]
) -> bool:
    if front is not None:
        return clean.outward_share(vertices, faces, np.asarray(front, np.float64)) < 0.5
    outward = clean.bulge(vertices, faces)
    if abs(outward) < _CERTAIN:
        notes.append("the winding could not be told from the shape and was kept")
    return outward < -_CERTAIN


def _matches(word: str, patterns: tuple[str, ...]) -> bool:
    word = word.lower()
    return any(word.startswith(p[:-1].lower()) if p.endswith("*") else word == p.lower() for p in patterns)


def _touching(faces: NDArray[np.int32], count: int, ranges: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    out = np.zeros(count, np.bool_)
    for low, high in ranges:
        out[low:high] = True
    return np.asarray(out[faces].any(axis=1), np.bool_)
