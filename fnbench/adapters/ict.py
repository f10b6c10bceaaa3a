"""ICT-FaceKit: an open morphable head (Li et al., CVPR 2020), sampled into heads by seed.

Facts: datasets/ict/card.toml. The public "light" model is a neutral head, 100 identity shapes and 57 expression
shapes, every one a complete mesh of the same topology in centimetres:

    head = neutral + sum_i a_i (identity_i - neutral) + sum_j b_j (expression_j - neutral)

with a ~ N(0, 1) and b in 0..1. Two layouts are read: the repository (``FaceXModel/*.obj``), and a compact ``.npz``
of the same numbers (keys ``neutral``, ``triangles``, ``identity``, ``expression``, ... ; deltas in centimetres).
Only what a camera sees as a solid surface is kept: face, head and neck, mouth and eye sockets, eyeballs. Teeth,
gums, and the shells for tears, lashes and occlusion would hide the skin and are dropped.

Facial regions follow the topology: the neutral head is labelled once, and a vertex is in the same region in every
head. They bound the face; the mouth socket is none of it, eyeballs belong to the eye sockets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import given_root, nothing_found, read_bytes, read_text, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.scans.regions import Labelled, label_regions
from fnbench.types import REGIONS, Capture, Scan

MM_PER_UNIT = 10.0
VERTICES = 26719
EYEBALLS = (21451, 24591)
MOUTH_SOCKET = (11248, 13294)
KEPT = ((0, 14062), EYEBALLS)
"""Vertex ranges that stay: face, head, neck, mouth and eye sockets; eyeballs (ICT-FaceKit README)."""
EYE_CORNERS_MM = (70.0, 115.0)
"""Plausible distance of the outer eye corners; 89.2 mm on the neutral head."""

NAMED = ("mouthSmile", "jawOpen", "browInnerUp", "eyeBlink", "mouthPucker", "cheekPuff", "noseSneer", "mouthFrown")
"""Expressions that are enumerated by name; further ones are random mixtures of all shapes."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadModel:
    """The linear model, in millimetres.

    neutral: (V, 3).  identity: (I, V, 3) and expression: (E, V, 3) deltas.  faces: (F, 3).
    uv, uv_faces: texture coordinates.  landmarks: (68,) vertex indices, iBUG order.
    """

    neutral: NDArray[np.float64]
    faces: NDArray[np.int32]
    uv: NDArray[np.float64]
    uv_faces: NDArray[np.int32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    expression_names: tuple[str, ...]
    landmarks: NDArray[np.int64]

    def head(self, identity: NDArray[np.floating], expression: NDArray[np.floating]) -> NDArray[np.float64]:
        """(V, 3) vertices in millimetres for (I,) identity and (E,) expression coefficients."""
        shape: NDArray[np.float64] = np.tensordot(identity, self.identity, 1)
        shape += np.tensordot(expression, self.expression, 1)
        shape += self.neutral
        return shape


class Ict:
    """Heads sampled from the model: ``h0007_neutral``, ``h0007_mouthSmile``, ``h0007_mix0``, ...

    root: folder with ``FaceXModel`` (a checkout of the repository), the folder itself, or one with the compact npz.
    heads: number of identities.  seed: of all coefficients.  mixtures: random expressions per head.
    expressions: how many of NAMED each head shows, taken in turn, so that all occur.
    """

    name: ClassVar[str] = "ict"

    def __init__(
        self, root: Path | None, *, heads: int = 200, seed: int = 0, expressions: int = 1, mixtures: int = 1
    ) -> None:
        self.root, self.heads, self.seed, self.expressions, self.mixtures = root, heads, seed, expressions, mixtures

    def capture_ids(self) -> Sequence[str]:
        _layout(given_root(self.name, self.root))
        return sorted(f"h{head:04d}_{shown}" for head in range(self.heads) for shown in self._shown(head))

    def load(self, capture_id: str) -> Capture:
        subject, _, shown = capture_id.partition("_")
        digits = subject.removeprefix("h")
        number = int(digits) if digits.isascii() and digits.isdigit() else -1
        if subject != f"h{number:04d}" or not 0 <= number < self.heads or shown not in self._shown(number):
            raise unknown_capture(self.name, capture_id, self.capture_ids())
        model = _model(given_root(self.name, self.root))
        identity = np.random.default_rng([self.seed, number]).normal(size=len(model.identity))
        vertices = model.head(identity, self._coefficients(model, number, shown))
        regions = _regions(given_root(self.name, self.root))
        return Capture(
            id=capture_id,
            subject=subject,
            scan=_solid(model, vertices, regions.labels, capture_id),
            landmarks=vertices[model.landmarks],
            attributes={
                "expression": shown,
                "coefficient_seed": self.seed,
                "landmarks": "from topology",
                **regions.attributes,
                "region_source": "topology: neutral head labelled once",
            },
        )

    def neutral(self) -> tuple[Scan, NDArray[np.float64]]:
        """The mean head, with the topology that every head has, and its (68, 3) landmarks."""
        root = given_root(self.name, self.root)
        model = _model(root)
        return _solid(model, model.neutral, _regions(root).labels, "neutral"), model.neutral[model.landmarks]

    def _shown(self, head: int) -> list[str]:
        named = [NAMED[(head * self.expressions + k) % len(NAMED)] for k in range(self.expressions)]
        return ["neutral", *named, *(f"mix{k}" for k in range(self.mixtures))]

    def _coefficients(self, model: HeadModel, head: int, shown: str) -> NDArray[np.float64]:
        names = model.expression_names
        if shown.startswith("mix"):
            rng = np.random.default_rng([self.seed, head, 1 + int(shown[3:])])
            chosen = rng.choice(len(names), size=min(4, len(names)), replace=False)
            return _both_sides(names, {names[k]: rng.uniform(0.2, 0.8) for k in chosen})
        if shown == "neutral":
            return np.zeros(len(names))
        matching = [name for name in names if name == shown or name in (f"{shown}_L", f"{shown}_R")]
        return np.array([0.9 if name in matching else 0.0 for name in names])


def _both_sides(names: tuple[str, ...], weights: dict[str, float]) -> NDArray[np.float64]:
    """Coefficients; the other side of a face moves with four fifths of the drawn weight, as faces do."""
    found = dict(weights)
    for name, weight in weights.items():
        other = name[:-1] + {"L": "R", "R": "L"}[name[-1]] if name[-2:] in ("_L", "_R") else name
        found.setdefault(other, 0.8 * weight)
    return np.array([found.get(name, 0.0) for name in names])


@lru_cache(maxsize=1)
def _regions(root: Path) -> Labelled:
    """Facial regions of the vertices, and how well the neutral head lies on the built-in one that gives them."""
    model = _model(root)
    found = label_regions(Scan(model.neutral, model.faces, name=str(root)), model.neutral[model.landmarks])
    found.labels[slice(*MOUTH_SOCKET)] = 0
    found.labels[slice(*EYEBALLS)] = REGIONS.index("eye sockets")
    return found


def _solid(model: HeadModel, vertices: NDArray[np.float64], labels: NDArray[np.uint8], name: str) -> Scan:
    keep = np.zeros(len(vertices), bool)
    for low, high in KEPT:
        keep[low:high] = True
    faces = keep[model.faces].all(axis=1)
    renumbered = np.cumsum(keep) - 1
    return Scan(
        vertices=vertices[keep],
        faces=renumbered[model.faces[faces]].astype(np.int32),
        uv=model.uv,
        uv_faces=model.uv_faces[faces],
        labels=labels[keep],
        name=name,
    )


def _layout(root: Path) -> Path:
    """The folder of OBJ files, or the compact npz."""
    for folder in (root / "FaceXModel", root):
        if (folder / "generic_neutral_mesh.obj").is_file():
            return folder
    compact = sorted(root.glob("ict_facekit*.npz"))
    if not compact:
        raise nothing_found(Ict.name, root, f"{root}/FaceXModel/generic_neutral_mesh.obj or {root}/ict_facekit*.npz")
    return compact[0]


@lru_cache(maxsize=1)
def _model(root: Path) -> HeadModel:
    layout = _layout(root)
    model = _read_compact(layout) if layout.is_file() else _read_objs(layout)
    corners = np.linalg.norm(np.subtract(*model.neutral[model.landmarks[[36, 45]]]))
    if not EYE_CORNERS_MM[0] < corners < EYE_CORNERS_MM[1]:
        raise InvalidDataError(
            f"{layout}: the outer eye corners are {corners:.1f} mm apart after scaling centimetres to millimetres, "
            f"expected {EYE_CORNERS_MM[0]:.0f}-{EYE_CORNERS_MM[1]:.0f}. Is the model in another unit?"
        )
    return model


def _read_compact(path: Path) -> HeadModel:
    read_bytes(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise InvalidDataError(f"{path}: not a readable npz ({error}). Make or copy it again.") from error
    missing = [
        key for key in ("neutral", "triangles", "uv", "triangles_uv", "identity", "expression") if key not in arrays
    ]
    if missing:
        raise InvalidDataError(f"{path}: the arrays {', '.join(missing)} are missing. See datasets/ict/ACCESS.md.")
    _check_count(path, len(arrays["neutral"]))
    return HeadModel(
        neutral=arrays["neutral"].astype(np.float64) * MM_PER_UNIT,
        faces=arrays["triangles"].astype(np.int32),
        uv=arrays["uv"].astype(np.float64),
        uv_faces=arrays["triangles_uv"].astype(np.int32),
        identity=arrays["identity"] * np.float32(MM_PER_UNIT),
        expression=arrays["expression"] * np.float32(MM_PER_UNIT),
        expression_names=tuple(str(name) for name in arrays["expression_names"]),
        landmarks=_landmarks(path.parent),
    )


def _read_objs(folder: Path) -> HeadModel:
    from fnbench.scans.obj import parse_obj

    def vertices(path: Path) -> NDArray[np.float64]:
        mesh = parse_obj(read_bytes(path), str(path))
        _check_count(path, len(mesh.vertices))
        return mesh.vertices * MM_PER_UNIT

    neutral = parse_obj(read_bytes(folder / "generic_neutral_mesh.obj"), str(folder / "generic_neutral_mesh.obj"))
    _check_count(folder / "generic_neutral_mesh.obj", len(neutral.vertices))
    if neutral.uv is None or neutral.uv_faces is None:
        raise InvalidDataError(f"{folder}/generic_neutral_mesh.obj: no texture coordinates; copy it again.")
    base = neutral.vertices * MM_PER_UNIT
    identities = sorted(folder.glob("identity[0-9]*.obj"))
    expressions = sorted(
        path for path in folder.glob("*.obj") if path not in identities and path.stem != "generic_neutral_mesh"
    )
    if not identities:
        raise InvalidDataError(f"{folder}: no identity000.obj ... beside the neutral head; copy the whole FaceXModel.")
    return HeadModel(
        neutral=base,
        faces=neutral.faces,
        uv=neutral.uv,
        uv_faces=neutral.uv_faces,
        identity=np.stack([(vertices(path) - base).astype(np.float32) for path in identities]),
        expression=np.array([(vertices(path) - base).astype(np.float32) for path in expressions]).reshape(
            -1, len(base), 3
        ),
        expression_names=tuple(path.stem for path in expressions),
        landmarks=_landmarks(folder),
    )


def _landmarks(folder: Path) -> NDArray[np.int64]:
    path = folder / "vertex_indices.json"
    try:
        indices = np.array(json.loads(read_text(path))["idx_to_landmark_verts"], np.int64)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"{path}: no list idx_to_landmark_verts ({error}). Copy it again.") from error
    if indices.shape != (68,) or indices.min() < 0 or indices.max() >= VERTICES:
        raise InvalidDataError(f"{path}: idx_to_landmark_verts has shape {indices.shape}, expected 68 vertex indices.")
    return indices


def _check_count(path: Path, count: int) -> None:
    if count != VERTICES:
        raise InvalidDataError(
            f"{path}: {count} vertices, expected {VERTICES}. Every shape of the model has the same mesh; copy it again."
        )
