"""How other programs write normals into numbers, and the one place that decodes them.

Conventions
-----------
An *encoding* says what a stored number means as a component in [-1, 1]; a *frame* (``fnbench.frames``) says which way
the components point. Both are declared by name, never guessed. A *source* names both for the output of a known
program, apart for its arrays and for its pictures, which often differ.

    vectors   floating components in [-1, 1], as they are
    unit      floating values in [0, 1]: n = 2 v - 1
    127.5     integer codes: n = code / 127.5 - 1; 16 bit: code / 32767.5 - 1
    128       integer codes: n = (code - 128) / 128; 16 bit: (code - 32768) / 32768
    127       integer codes: n = (code - 128) / 127; 16 bit: (code - 32768) / 32767

Floating arrays that hold codes 0-255 are decoded by 127.5, 128 or 127 as 8 bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidPredictionError, UnknownNameError

ENCODINGS = ("vectors", "unit", "127.5", "128", "127")
ORDERS = ("rgb", "bgr")

FLOORS = {
    "float32": (0.0001, 0.0001),
    "float16": (0.006, 0.023),
    "16 bit": (0.0007, 0.0015),
    "8 bit": (0.17, 0.39),
}
"""Mean and worst error in degrees of storing front-facing normals that way and rounding; measured on 10^6 of them."""
TRUNCATED_FLOOR = (0.34, 0.77)
MIXED_FLOOR = (0.63, 1.16)
"""8 bit truncated, and truncated with 127.5 but decoded with 128."""


@dataclass(frozen=True, slots=True)
class Convention:
    """Frame, encoding and channel order of stored normals."""

    frame: str = "canonical"
    encoding: str = "vectors"
    order: str = "rgb"


@dataclass(frozen=True, slots=True)
class Source:
    """What a program writes: its floating arrays and its pictures, and how sure that is."""

    name: str
    arrays: Convention
    pictures: Convention
    confidence: str
    note: str = ""


def _source(
    name: str,
    confidence: str,
    note: str = "",
    *,
    pictures: str | None = None,
    encoding: str = "127.5",
    order: str = "rgb",
) -> Source:
    """Arrays hold vectors in the frame of this name; pictures are codes, in the same frame unless named."""
    return Source(name, Convention(name), Convention(pictures or name, encoding, order), confidence, note)


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        _source("crossmodal", "high", "the released script writes JPEG: save the array instead"),
        _source("sfsnet", "high", encoding="128"),
        _source("dsine", "high"),
        _source("omnidata", "low", "its sources contradict each other: run the doctor"),
        _source("marigold", "high"),
        _source("sapiens", "medium", "its saved pictures have their channels reversed", order="bgr"),
        _source("david", "high"),
        _source("metric3d", "medium"),
        _source("moge", "high", "its pictures are already right, up, out", pictures="canonical"),
        _source("geowizard", "medium"),
    )
}
"""Known programs by name; evidence in datasets/README.md."""


def source_named(name: str) -> Source:
    """The source of this name; UnknownNameError with a suggestion otherwise."""
    if name not in SOURCES:
        close = get_close_matches(name, SOURCES, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UnknownNameError(f"There is no source {name!r}.{hint} Known: {', '.join(SOURCES)}.")
    return SOURCES[name]


def check_encoding(name: str) -> str:
    """The name itself when it is one of ENCODINGS; UnknownNameError otherwise."""
    if name not in ENCODINGS:
        raise UnknownNameError(f"There is no encoding {name!r}. Known: {', '.join(ENCODINGS)}.")
    return name


def decoded(values: NDArray[Any], encoding: str) -> NDArray[np.floating]:
    """Components in [-1, 1] of stored numbers.

    values: uint8, uint16 or floating, any shape.
    Returns float32, or float64 for float64 input. InvalidPredictionError when type and encoding do not fit.

    >>> decoded(np.array([0, 255], np.uint8), "127.5").tolist()
    [-1.0, 1.0]
    """
    check_encoding(encoding)
    floating = np.issubdtype(values.dtype, np.floating)
    if not floating and values.dtype not in (np.uint8, np.uint16):
        raise InvalidPredictionError(f"stored as {values.dtype}, expected floating numbers, uint8 or uint16.")
    if encoding in ("vectors", "unit"):
        if not floating:
            raise InvalidPredictionError(
                f"stored as {values.dtype} codes, but declared as {encoding}. Declare how they were coded: "
                f"--encoding 127.5 (or 128, 127).",
                code="FM-11",
            )
        vectors: NDArray[np.floating] = (
            values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
        )
        return vectors if encoding == "vectors" else 2 * vectors - 1
    half = 32768.0 if values.dtype == np.uint16 else 128.0
    codes: NDArray[np.floating] = values.astype(np.float64 if values.dtype == np.float64 else np.float32)
    if encoding == "127.5":
        return np.asarray(codes / (half - 0.5) - 1)
    return np.asarray((codes - half) / (half if encoding == "128" else half - 1))


def encoded(normals: NDArray[np.floating], encoding: str, dtype: Any = np.uint8) -> NDArray[Any]:
    """The inverse of ``decoded``, rounded to the nearest code.

    normals: components in [-1, 1].
    """
    check_encoding(encoding)
    if encoding == "vectors":
        return normals
    if encoding == "unit":
        return (normals + 1) / 2
    half = 32768.0 if np.dtype(dtype) == np.uint16 else 128.0
    scale = {"127.5": half - 0.5, "128": half, "127": half - 1}[encoding]
    offset = half - 0.5 if encoding == "127.5" else half
    return np.clip(np.rint(normals.astype(np.float64) * scale + offset), 0, 2 * half - 1).astype(dtype)


SURE_FIT = 0.8
"""A ratio of ``fitting_encoding`` below which it can be told: rounded codes give 0.3 to 0.7, truncated 0.75 to 1."""


def fitting_encoding(codes: NDArray[Any]) -> tuple[str, float]:
    """The integer encoding under which vectors are nearest to unit length, and how clear that is.

    codes: (K, 3) 8-bit codes, K > 0.
    Returns the name, and its mean deviation from length 1 relative to that of the next best.

    >>> fitting_encoding(encoded(np.array([[0.6, 0.0, 0.8], [0.0, -0.6, 0.8]]), "128"))[0]
    '128'
    """
    values = codes.astype(np.uint8)
    off = {
        name: float(np.abs(np.linalg.norm(decoded(values, name), axis=-1) - 1).mean())
        for name in ("127.5", "128", "127")
    }
    best, second = sorted(off, key=lambda name: off[name])[:2]
    return best, off[best] / max(off[second], 1e-12)


def floor_of(kind: str) -> tuple[float, float]:
    """Mean and worst error in degrees that a storage costs by itself: "8 bit", "16 bit", "float16", "float32"."""
    return FLOORS[kind]
