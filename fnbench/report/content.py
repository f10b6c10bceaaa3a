"""What a report says, as plain values: gathered once, printed by the page and drawn by the figures.

Texts are final (rounded, with units); numbers beside them are what charts draw and tables sort by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Model:
    """A model on the page: its name and its place, which gives its colour and dash."""

    name: str
    index: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    key: what it is (``mean_px``).  text: as printed.  sort: what a column sorts by.
    small: a second line, mostly the interval.  title: more, under the pointer.  shade: CSS class of its background.
    """

    key: str
    text: str
    sort: str = ""
    small: str = ""
    title: str = ""
    shade: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a column; ``first`` is the direction of the first press, ``text`` aligns left."""

    title: str
    help: str = ""
    unit: str = ""
    first: str = ""
    text: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One model in the headline table."""

    model: Model
    cells: Sequence[Cell]
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A named row of cells."""

    name: str
    cells: Sequence[Cell]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Heat:
    """A table whose background shows the size of its numbers."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Cumulative error of one model: (T,) percent below each threshold, with a band or without."""

    model: Model
    share: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Strip:
    """Mean error of each subject under one model, and the mean over subjects with its interval."""

    model: Model
    subjects: Sequence[str]
    values: Sequence[float]
    images: Sequence[int]
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class FaceMap:
    """Where on the face which of two models is better.

    difference: (H, W) mean error of the first minus that of the second in degrees, NaN where too few samples speak.
    backdrop: (H, W) mean grey image of the same samples, 0 to 255.
    scale: degrees at the ends of the colours.  samples: how many went in.
    """

    difference: NDArray[np.float64]
    backdrop: NDArray[np.float64]
    scale: float
    samples: int


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two models on the same samples."""

    models: tuple[Model, Model]
    verdict: str
    ids: Sequence[str]
    errors: tuple[Sequence[float], Sequence[float]]
    subjects: Sequence[str]
    difference: Sequence[float]
    regions: Sequence[Line]
    samples_note: str
    subjects_note: str
    face_note: str
    face: FaceMap | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One sample with its maps at the size of the page.

    picture: data address of the image.  target: packed planes x, y, z, region.
    maps: per model, packed predicted planes and packed error plane.  means: per model, as printed.
    places: group -> position in it.  about: short facts.  Sizes in pixels: of the page's maps, and of the file.
    """

    id: str
    subject: str
    about: Sequence[str]
    means: Sequence[str]
    places: Mapping[str, int]
    picture: str
    target: str
    maps: Sequence[tuple[str, str]]
    width: int
    height: int
    full_width: int
    full_height: int


@dataclass(frozen=True, slots=True)
class Group:
    """A choice of samples: ``worst``, ``best`` or ``random``."""

    key: str
    title: str


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """The samples of a page; ``model`` is the one that chose worst and best."""

    model: int
    note: str
    groups: Sequence[Group]
    samples: Sequence[Shown]
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Everything a report prints, top to bottom."""

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    models: Sequence[Model]
    results_note: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    families_note: str
    numbers: Sequence[Line]
    sensitivity: Sequence[Line]
    curve_note: str
    degrees: Sequence[float]
    curves: Sequence[Curve]
    strip_note: str
    strips: Sequence[Strip]
    heat_note: str
    heats: Sequence[Sequence[Heat]]
    provenance: Sequence[tuple[str, Sequence[str]]]
    pair: Pair | None = None
    gallery: Gallery | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
