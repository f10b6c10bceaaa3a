"""Triangle meshes from VRML 2 text: the coordinates, faces and texture coordinates of its indexed face sets.

Only what face sets of scans hold is understood: ``Coordinate { point [...] }``, ``coordIndex [...]``,
``TextureCoordinate { point [...] }``, ``texCoordIndex [...]`` and ``url "..."``. Commas count as white space, polygons
end with -1 and are split as fans, comments run from ``#`` to the end of the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError

_COMMENT = re.compile(r"#[^\n]*")
_FIELD = re.compile(r"\b(coordIndex|texCoordIndex|(?:Texture)?Coordinate\s*\{\s*point)\s*\[([^\]]*)(\]?)")
_URL = re.compile(r'\burl\s*\[?\s*"([^"]*)"')


@dataclass(frozen=True, slots=True, eq=False)
class VrmlMesh:
    """All face sets of a file, joined.

    vertices: (V, 3) float64 as in the file.  faces: (F, 3) int32.
    uv: (T, 2) float64 or None.  uv_faces: (F, 3) int32 or None.  textures: the names behind ``url``.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    uv: NDArray[np.float64] | None
    uv_faces: NDArray[np.int32] | None
    textures: tuple[str, ...]


def parse_vrml(text: str, name: str) -> VrmlMesh:
    """Parse VRML 2 text; InvalidDataError names what is missing or does not fit.

    name: of the file, for messages.
    """
    if not text.lstrip().startswith("#VRML"):
        raise InvalidDataError(f"{name}: does not begin with #VRML, expected VRML 2 text. Copy it again.")
    textures = tuple(_URL.findall(text))  # before comments go: a file name may hold a hash sign
    fields: dict[str, list[NDArray[np.float64]]] = {"point": [], "coordIndex": [], "uv": [], "texCoordIndex": []}
    for kind, body, end in _FIELD.findall(_COMMENT.sub("", text)):
        key = "uv" if kind.startswith("Texture") else "point" if kind.startswith("Coordinate") else kind
        if not end:
            raise InvalidDataError(f"{name}: ends inside {key} [ ...; the file is cut off. Copy it again.")
        fields[key].append(_numbers(body, key, name))
    if not fields["point"] or len(fields["point"]) != len(fields["coordIndex"]):
        raise InvalidDataError(
            f"{name}: {len(fields['point'])} Coordinate nodes and {len(fields['coordIndex'])} coordIndex lists, "
            "expected one of each per surface. Copy it again."
        )
    vertices, faces = _joined(fields["point"], fields["coordIndex"], 3, name)
    if not fields["uv"] or len(fields["uv"]) != len(fields["point"]):
        return VrmlMesh(vertices, faces, None, None, textures)
    # Without lists of their own, texture coordinates follow the positions.
    lists = fields["texCoordIndex"] or fields["coordIndex"]
    uv, uv_faces = _joined(fields["uv"], lists, 2, name)
    if len(uv_faces) != len(faces):
        raise InvalidDataError(
            f"{name}: {len(faces)} triangles, but texCoordIndex gives {len(uv_faces)}. Copy it again."
        )
    return VrmlMesh(vertices, faces, uv, uv_faces, textures)


def _numbers(body: str, key: str, name: str) -> NDArray[np.float64]:
    try:
        return np.array(body.replace(",", " ").split(), np.float64)
    except ValueError as error:
        raise InvalidDataError(f"{name}: {key}: {error}. Copy it again.") from error


def _joined(
    points: list[NDArray[np.float64]], indices: list[NDArray[np.float64]], width: int, name: str
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    vertices, faces, offset = [], [], 0
    for numbers, order in zip(points, indices, strict=True):
        if numbers.size % width:
            raise InvalidDataError(f"{name}: {numbers.size} numbers do not make points of {width}. Copy it again.")
        triangles = _triangles(order, name)
        count = numbers.size // width
        if triangles.size and (triangles.min() < 0 or triangles.max() >= count):
            raise InvalidDataError(
                f"{name}: a face names point {int(triangles.max())}, but there are {count}. Copy it again."
            )
        vertices.append(numbers.reshape(-1, width))
        faces.append(triangles + offset)
        offset += count
    return np.concatenate(vertices), np.concatenate(faces).astype(np.int32)


def _triangles(order: NDArray[np.float64], name: str) -> NDArray[np.int64]:
    """Fans from polygons that end with -1."""
    if not ((order == np.rint(order)) & (order >= -1) & (order < 2**31)).all():  # NaN equals nothing
        raise InvalidDataError(f"{name}: indices that are no whole numbers from -1 on. Copy it again.")
    numbers = order.astype(np.int64)
    if numbers.size and numbers[-1] != -1:
        numbers = np.append(numbers, -1)
    ends = np.flatnonzero(numbers == -1)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts
    found = []
    for size in np.unique(sizes[sizes >= 3]):
        polygon = numbers[starts[sizes == size][:, None] + np.arange(size)]
        polygons = np.flatnonzero(sizes == size)
        shape = (len(polygons), size - 2)
        which = (np.broadcast_to(polygons[:, None], shape), np.broadcast_to(np.arange(size - 2), shape))
        fan = (np.broadcast_to(polygon[:, :1], shape), polygon[:, 1:-1], polygon[:, 2:])
        found.append(np.stack([*which, *fan], axis=-1).reshape(-1, 5))
    if not found:
        return np.empty((0, 3), np.int64)
    rows = np.concatenate(found)
    return rows[np.lexsort((rows[:, 1], rows[:, 0])), 2:]
