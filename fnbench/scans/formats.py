"""Mesh files other than OBJ: PLY, glTF/GLB, STL and OFF through trimesh, VRML 2, and legacy ASCII VTK.

trimesh is given bytes and a resolver that only reads files beside the mesh: no network, no archive, no pickle. What
its parsers raise on damaged data (anything from KeyError to MemoryError) becomes one InvalidDataError. Headers that
promise more data than the file holds, and compressed meshes without a decoder, are refused before parsing: the
first exhausts memory, the second gives zeros without a word.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError
from fnbench.files import printable
from fnbench.scans.texture import bounded, find_textures, read_image
from fnbench.scans.vrml import parse_vrml

_PLY_BYTES = {"char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2}
_ADVICE = "copy or export the file again."


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A piece of a mesh with at most one texture.

    vertices: (V, 3).  faces: (F, 3).  uv: (T, 2), v upwards, or None.  uv_faces: (F, 3) or None.
    texture: (h, w, 3) uint8 or None.  colors: (V, 3) uint8 or None.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    uv: NDArray[np.float64] | None = None
    uv_faces: NDArray[np.int32] | None = None
    texture: NDArray[np.uint8] | None = None
    colors: NDArray[np.uint8] | None = None


def read_parts(path: Path, content: bytes, texture: bool) -> tuple[list[Part], tuple[str, ...]]:
    """The pieces of a PLY, GLB, glTF, STL, OFF, WRL or VTK file, and notes about it."""
    kind = path.suffix.lower()[1:]
    images: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if kind == "vtk":
        return [_vtk(content, printable(path))], ()
    if kind == "ply":
        _check_ply_header(content, printable(path))
    if kind in ("glb", "gltf"):
        _check_gltf(content, kind, printable(path))
    if kind == "wrl":
        mesh = parse_vrml(content.decode("utf-8", "replace"), printable(path))
        parts = [Part(mesh.vertices, mesh.faces, mesh.uv, mesh.uv_faces)]
        images = mesh.textures
    else:
        parts, notes = _through_trimesh(path, content, kind, texture)
    if texture and len(parts) == 1 and parts[0].uv is not None and parts[0].texture is None:
        found = find_textures(path, images=images)
        notes += found.notes
        if found.fallback is not None:
            parts = [_with_texture(parts[0], read_image(found.fallback))]
        elif kind == "wrl":
            notes += ("no texture found",)
    return parts, notes


def _with_texture(part: Part, image: NDArray[np.uint8]) -> Part:
    return Part(part.vertices, part.faces, part.uv, part.uv_faces, image, part.colors)


def _through_trimesh(path: Path, content: bytes, kind: str, texture: bool) -> tuple[list[Part], tuple[str, ...]]:
    import trimesh

    quiet = logging.getLogger("trimesh")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)  # it logs what becomes our error
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(
                io.BytesIO(content), file_type=kind, resolver=_Beside(path.parent), process=False, maintain_order=True
            )
            return _pieces(scene, printable(path), texture)
    except InvalidDataError:
        raise
    except Exception as error:  # trimesh's parsers leave with anything on damaged data
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:160]
        raise InvalidDataError(
            f"{printable(path)}: not a readable {kind.upper()} mesh ({reason}); {_ADVICE}"
        ) from error
    finally:
        quiet.setLevel(level)


def _pieces(scene: Any, name: str, texture: bool) -> tuple[list[Part], tuple[str, ...]]:
    notes: list[str] = []
    parts: list[Part] = []
    for node in sorted(scene.graph.nodes_geometry):
        matrix, geometry = scene.graph[node]
        mesh = scene.geometry[geometry]
        faces = np.asarray(getattr(mesh, "faces", np.zeros((0, 3))))
        if faces.ndim != 2 or faces.shape[1] != 3 or len(faces) == 0:
            notes.append(f"a part without faces ({type(mesh).__name__}) left out")
            continue
        parts.append(_piece(mesh, faces, np.asarray(matrix, np.float64), name, texture))
    if not parts:
        raise InvalidDataError(f"{name}: no triangles found, expected a surface mesh, not points or lines; {_ADVICE}")
    return parts, tuple(notes)


def _piece(mesh: Any, faces: NDArray[Any], matrix: NDArray[np.float64], name: str, texture: bool) -> Part:
    vertices = np.asarray(mesh.vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InvalidDataError(
            f"{name}: a face names vertices {int(faces.min())} to {int(faces.max())}, "
            f"expected 0 to {len(vertices) - 1}; {_ADVICE}"
        )
    faces = np.ascontiguousarray(faces, np.int32)
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1].copy()
    visual = mesh.visual
    uv = getattr(visual, "uv", None)
    if uv is not None and len(uv) == len(vertices):
        uv = np.asarray(uv, np.float64)[:, :2]
        uv = np.where(np.isfinite(uv), uv, 0.0)
        image = _image(visual.material) if texture else None
        return Part(vertices, faces, uv, faces, None if image is None else bounded(image, name))
    colors = None
    if getattr(visual, "kind", None) == "vertex":
        colors = np.ascontiguousarray(np.asarray(visual.vertex_colors)[:, :3], np.uint8)
    return Part(vertices, faces, colors=colors)


def _image(material: Any) -> Any:
    for attribute in ("baseColorTexture", "image"):
        image = getattr(material, attribute, None)
        if image is not None:
            return image
    return None


class _Beside(Mapping[str, bytes]):
    """Resolver for trimesh: files in the folder of the mesh (or below), nothing else, never the network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> bytes:
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()) or not path.is_file():
            raise KeyError(f"{name} is not beside the mesh")
        return path.read_bytes()

    def __iter__(self) -> Iterator[str]:
        return (f.name for f in self.folder.iterdir() if f.is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _check_ply_header(content: bytes, name: str) -> None:
    """Refuse element counts that the file cannot hold; a number of them would exhaust memory."""
    end = content.find(b"end_header")
    if not content.startswith(b"ply") or end < 0 or end > 1_000_000:
        raise InvalidDataError(f"{name}: no PLY header found, expected 'ply' ... 'end_header'; {_ADVICE}")
    body = len(content) - end
    ascii_file = b"format ascii" in content[:end]
    need, count = 0, 0
    for line in content[:end].decode("latin-1").splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "element":
            count = int(words[2]) if words[2].isascii() and words[2].isdigit() else -1
            if count < 0:
                raise InvalidDataError(f"{name}: PLY header says {line.strip()!r}, expected a count; {_ADVICE}")
        elif len(words) >= 3 and words[0] == "property":
            width = 1 if words[1] == "list" else _PLY_BYTES.get(words[1], 4)
            need += count * (2 if ascii_file else width)
    if need > body + 2:
        raise InvalidDataError(
            f"{name}: its PLY header promises at least {need} bytes of data, the file holds {body}; "
            f"it is truncated or damaged: {_ADVICE}"
        )


def _check_gltf(content: bytes, kind: str, name: str) -> None:
    """Check container sizes, extensions that need a decoder, and that arrays lie inside their buffers."""
    document = content
    if kind == "glb":
        if len(content) < 20 or content[:4] != b"glTF":
            raise InvalidDataError(f"{name}: does not begin with 'glTF', expected a binary glTF file; {_ADVICE}")
        total, length = struct.unpack("<I", content[8:12])[0], struct.unpack("<I", content[12:16])[0]
        if total > len(content) or 20 + length > len(content):
            raise InvalidDataError(
                f"{name}: its header claims {max(total, 20 + length)} bytes, the file holds {len(content)}; "
                f"it is truncated or was sent through a text conversion: {_ADVICE}"
            )
        document = content[20 : 20 + length]
    try:
        tree = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise InvalidDataError(f"{name}: its glTF description is not JSON ({error}); {_ADVICE}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("meshes"), list):
        raise InvalidDataError(f"{name}: no meshes in its glTF description, expected a surface; {_ADVICE}")
    used = tree.get("extensionsUsed", [])
    if "KHR_draco_mesh_compression" in used and importlib.util.find_spec("DracoPy") is None:
        raise InvalidDataError(
            f"{name}: Draco-compressed, and no decoder is installed, so it would read as zeros; "
            "pip install DracoPy, or export it without compression."
        )
    if "EXT_meshopt_compression" in used:
        raise InvalidDataError(f"{name}: meshopt-compressed, which cannot be read; export it without compression.")
    _check_accessors(tree, len(content), name)
    _check_nodes(tree, name)


def _check_accessors(tree: dict[str, Any], size: int, name: str) -> None:
    """Counts beyond any buffer are refused: zero-filled accessors of billions of entries exhaust memory."""
    buffers = tree.get("buffers", [])
    lengths = [b.get("byteLength", 0) for b in buffers if isinstance(b, dict)] if isinstance(buffers, list) else []
    room = size + sum(n for n in lengths if isinstance(n, int) and n > 0)
    for accessor in tree.get("accessors", []) if isinstance(tree.get("accessors", []), list) else []:
        count = accessor.get("count", 0) if isinstance(accessor, dict) else -1
        if not isinstance(count, int) or count < 0 or count > room or (room > 64 * size and "uri" not in str(buffers)):
            raise InvalidDataError(
                f"{name}: a glTF array of {count} entries in a file of {size} bytes; it is damaged: {_ADVICE}"
            )


def _check_nodes(tree: dict[str, Any], name: str) -> None:
    """Refuse node graphs with a cycle, which walking readers never leave."""
    nodes = tree.get("nodes", [])
    children = [n.get("children", []) if isinstance(n, dict) else [] for n in nodes] if isinstance(nodes, list) else []
    parents = np.zeros(len(children), np.int64)
    for below in children:
        for child in below if isinstance(below, list) else []:
            if not isinstance(child, int) or not 0 <= child < len(children):
                raise InvalidDataError(f"{name}: a glTF node names child {child!r} of {len(children)}; {_ADVICE}")
            parents[child] += 1
    free = [i for i in range(len(children)) if parents[i] == 0]
    seen = 0
    while free:
        seen += 1
        for child in children[free.pop()]:
            parents[child] -= 1
            if parents[child] == 0:
                free.append(child)
    if seen < len(children):
        raise InvalidDataError(f"{name}: its glTF nodes contain each other in a circle; {_ADVICE}")


def _vtk(content: bytes, name: str) -> Part:
    """Legacy VTK, ASCII, POLYDATA: POINTS, POLYGONS or TRIANGLE_STRIPS, and TEXTURE_COORDINATES of points."""
    head = content[:400].split(b"\n")
    if not head[0].startswith(b"# vtk DataFile") or len(head) < 4 or head[2].strip() != b"ASCII":
        raise InvalidDataError(
            f"{name}: not a legacy ASCII VTK file, expected '# vtk DataFile' and 'ASCII'; save it as ASCII or as PLY."
        )
    words = content.split(b"\n", 3)[3].split()
    places = {word: i for i, word in reversed(list(enumerate(words))) if word.isupper() and word.isascii()}
    if places.get(b"POLYDATA", -1) != 1 or b"POINTS" not in places or b"POLYGONS" not in places:
        raise InvalidDataError(f"{name}: expected a VTK POLYDATA with POINTS and POLYGONS; convert it to PLY.")
    try:
        points = _numbers(words, places[b"POINTS"] + 1, 3, 1)
        at = places[b"POLYGONS"]
        flat = np.array(words[at + 3 : at + 3 + int(words[at + 2])], np.int64)
        faces = _fans(flat, int(words[at + 1]))
        uv = None
        if b"TEXTURE_COORDINATES" in places:
            start = places[b"TEXTURE_COORDINATES"] + 2
            uv = np.array(words[start + 2 : start + 2 + 2 * len(points)], np.float64).reshape(len(points), 2)
    except (ValueError, IndexError, OverflowError) as error:
        raise InvalidDataError(f"{name}: damaged VTK arrays ({error}); {_ADVICE}") from error
    if len(faces) and (faces.min() < 0 or faces.max() >= len(points)):
        raise InvalidDataError(f"{name}: a polygon names a point beyond the {len(points)} points; {_ADVICE}")
    return Part(points, faces, uv, None if uv is None else faces)


def _numbers(words: list[bytes], at: int, columns: int, skip: int) -> NDArray[np.float64]:
    count = int(words[at])
    start = at + 1 + skip
    return np.array(words[start : start + columns * count], np.float64).reshape(count, columns)


def _fans(flat: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    triangles: list[tuple[int, int, int]] = []
    at = 0
    for _ in range(count):
        size = int(flat[at])
        if size < 3 or at + 1 + size > len(flat):
            raise ValueError(f"a polygon of {size} corners at entry {at}")
        ring = flat[at + 1 : at + 1 + size].tolist()
        triangles += [(ring[0], ring[k], ring[k + 1]) for k in range(1, size - 1)]
        at += 1 + size
    return np.array(triangles, np.int64).reshape(-1, 3).astype(np.int32)
