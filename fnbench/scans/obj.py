"""Wavefront OBJ text, parsed at the speed of the disk, with position and texture indices kept apart.

Why an own parser: the public ones either make one vertex per (v, vt) pair, which creases normals along every texture
seam, or read damaged text without a word. tinyobjloader 2.0.0rc13 turns ``nan``, missing and half-written
coordinates into zeros, and its arrays arrive with stride zero under numpy 2. Here every number is checked and
every complaint carries its line.

Conventions
-----------
One compiled pass over the bytes fills arrays and stops when one is full, to go on with a larger one; nothing is ever
written out of bounds. Positions as in the file, no unit. Polygons become fans (a polygon whose fan folds is
fanned from another corner). ``vn`` lines are not read: normals come from geometry, and some sets write ``/0``.
Negative indices count back from the lines read so far. Colours ``v x y z r g b`` in 0..1 or 0..255.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import AVAILABLE, compiled
from fnbench.errors import InvalidDataError

_V, _VT, _F, _USEMTL, _MTLLIB, _OTHER, _UNKNOWN = 1, 2, 3, 4, 5, 0, -1
_KEYWORDS = (
    b"vn vp g o s l p mg usemap maplib bevel c_interp d_interp lod shadow_obj trace_obj ctech stech cstype deg bmat "
    b"step curv curv2 surf parm trim hole scrv sp end con call csh"
)
_BAD_NUMBER, _FEW_NUMBERS, _MANY_NUMBERS, _NOT_FINITE, _BAD_CORNER, _FEW_CORNERS, _NO_VERTEX, _NO_UV, _MIXED = range(
    1, 10
)
_FULL_V, _FULL_VT, _FULL_F, _FULL_M = -1, -2, -3, -4
_AT, _LINE, _AT_V, _AT_VT, _AT_F, _AT_M, _POLYGONS, _UNKNOWNS, _COLORED, _TOP_P, _TOP_T = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    9,
    10,
    13,
)
_STATE = 16
_HUGE = 1 << 31
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class ObjMesh:
    """What an OBJ file says, before units and repairs.

    vertices: (V, 3) float64.  faces: (F, 3) int32.  colors: (V, 3) uint8 or None.
    uv: (T, 2) float64, v upwards, or None.  uv_faces: (F, 3) int32 or None.
    materials: (F,) int32 index into ``material_names``, -1 before the first ``usemtl``.
    libraries: the names behind ``mtllib``.  notes: oddities worth a line in the report.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None
    uv: NDArray[np.float64] | None
    uv_faces: NDArray[np.int32] | None
    materials: NDArray[np.int32]
    material_names: tuple[str, ...]
    libraries: tuple[str, ...]
    notes: tuple[str, ...] = ()


class _Read(NamedTuple):
    """What the compiled pass leaves: arrays of the length that was read, and where it stands."""

    vertices: NDArray[np.float64]  # (V, 3)
    colors: NDArray[np.float64]  # (V, 3), meaningful where every vertex had one
    uv: NDArray[np.float64]  # (T, 2)
    corners: NDArray[np.int32]  # (2, F, 3): position and texture indices
    first: NDArray[np.bool_]  # (F,) first triangle of its polygon
    marks: NDArray[np.int64]  # (M, 4): kind, start, end, triangle of each usemtl and mtllib
    problem: int
    at: int
    line: int
    v: int
    t: int
    f: int
    m: int
    polygons: int
    unknown: int
    unknown_line: int
    colored: int


def parse_obj(content: bytes, name: str) -> ObjMesh:
    """Parse the bytes of an OBJ file; InvalidDataError with the line for anything that is not a triangle mesh.

    >>> parse_obj(b"v 0 0 0\\nv 1 0 0\\nv 1 1 0\\nv 0 1 0\\nf 1 2 3 -1\\n", "square").faces.tolist()
    [[0, 1, 2], [0, 2, 3]]
    """
    data = np.frombuffer(_one_line_per_statement(content), np.uint8)
    read = _read(data)
    if read.problem:
        raise InvalidDataError(_complaint(data, read, name))
    if len(read.first) == 0:
        raise InvalidDataError(
            f"{name}: {len(read.vertices)} vertices and no faces, expected an OBJ mesh with 'v' and 'f' lines; "
            "check that the file was exported as a surface and copied completely."
        )
    _refuse_cut_file(content, len(read.vertices), read.polygons, name)
    return _assemble(data, read)


def _read(data: _Bytes) -> _Read:
    """Run the compiled pass, with larger arrays whenever one is full."""
    guess = len(data) // 50 + 64
    vertices, colors, uv = np.empty((guess, 3)), np.empty((guess, 3)), np.empty((guess, 2))
    corners, first = np.empty((2, 2 * guess, 3), np.int32), np.empty(2 * guess, np.bool_)
    marks, state = np.empty((16, 4), np.int64), np.zeros(_STATE, np.int64)
    state[[_TOP_P, _TOP_T]] = -1
    text = data if AVAILABLE else _plain(data)
    while (code := _fill(text, vertices, colors, uv, corners, first, marks, state)) < 0:
        if code == _FULL_V:
            vertices, colors = _doubled(vertices), _doubled(colors)
        elif code == _FULL_VT:
            uv = _doubled(uv)
        elif code == _FULL_F:
            corners, first = _doubled(corners, axis=1), _doubled(first)
        else:
            marks = _doubled(marks)
    v, t, f, m = (int(state[k]) for k in (_AT_V, _AT_VT, _AT_F, _AT_M))
    if code == 0 and state[_TOP_P] >= v:
        code, state[_AT], state[_LINE] = _NO_VERTEX, state[_TOP_P + 1], state[_TOP_P + 2]
    elif code == 0 and state[_TOP_T] >= t:
        code, state[_AT], state[_LINE] = _NO_UV, state[_TOP_T + 1], state[_TOP_T + 2]
    return _Read(
        vertices[:v], colors[:v], uv[:t], corners[:, :f], first[:f], marks[:m], code, *(int(k) for k in state[:_TOP_P])
    )


def _doubled(array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    return np.concatenate([array, np.empty_like(array)], axis)


def _plain(data: _Bytes) -> Any:
    """Bytes whose elements are Python integers: without numba, arithmetic on uint8 elements would wrap."""
    return data.tobytes()


def _one_line_per_statement(content: bytes) -> bytes:
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    if b"\\" in content:
        content = re.sub(rb"\\[ \t\r]*\n", b" ", content)
    # Every scan over a line stops at a newline, so the last byte has to be one.
    return content if content.endswith(b"\n") else content + b"\n"


def _refuse_cut_file(content: bytes, vertices: int, polygons: int, name: str) -> None:
    """Compare with the counts that MeshLab and others write as comments: a cut file often still parses."""
    for key, found in ((b"Vertices", vertices), (b"Faces", polygons)):
        said = re.search(rb"^# ?" + key + rb": *(\d{1,12})\s*$", content[:2000], re.MULTILINE | re.IGNORECASE)
        if said and int(said[1]) != found:
            raise InvalidDataError(
                f"{name}: its header says {int(said[1])} {key.decode().lower()}, the file holds {found}; "
                "it was cut or edited: copy it again (or delete the comment if the edit was yours)."
            )


def _assemble(data: _Bytes, read: _Read) -> ObjMesh:
    notes = []
    _unfold(read.vertices, read.corners, read.first)
    faces, uv_faces = np.ascontiguousarray(read.corners[0]), np.ascontiguousarray(read.corners[1])
    uv = np.ascontiguousarray(read.uv)
    if read.unknown:
        notes.append(f"{read.unknown} lines with an unknown keyword ignored, the first is line {read.unknown_line}")
    if not bool(np.isfinite(uv).all()):
        bad = ~np.isfinite(uv).all(axis=1)
        uv[bad] = 0
        notes.append(f"{int(bad.sum())} texture coordinates are NaN, read as 0")
    bare = uv_faces[:, 0] < 0
    has_uv = len(uv) > 0 and not bare.all()
    if has_uv and bare.any():
        uv_faces[bare] = len(uv)
        uv = np.vstack([uv, [[0.0, 0.0]]])
        notes.append(f"{int(bare.sum())} of {len(faces)} faces have no texture coordinates")
    names, materials, libraries = _materials(data, read.marks, len(faces))
    return ObjMesh(
        np.ascontiguousarray(read.vertices),
        faces,
        _colors(read.colors) if read.colored == len(read.vertices) else None,
        uv if has_uv else None,
        uv_faces if has_uv else None,
        materials,
        names,
        libraries,
        tuple(notes),
    )


def _colors(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    scale = 255.0 if values.max() <= 1 else 1.0
    return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)


def _materials(
    data: NDArray[np.uint8], marks: NDArray[np.int64], faces: int
) -> tuple[tuple[str, ...], NDArray[np.int32], tuple[str, ...]]:
    """Names behind usemtl and mtllib, and the material of each triangle. Row of marks: kind, start, end, triangle."""
    text = [os.fsdecode(data[start:end].tobytes().strip()) for _, start, end, _ in marks]
    libraries = tuple(word for word, mark in zip(text, marks, strict=True) if mark[0] == _MTLLIB)
    used = [(word, int(mark[3])) for word, mark in zip(text, marks, strict=True) if mark[0] == _USEMTL]
    names = tuple(dict.fromkeys(word for word, _ in used))
    materials = np.full(faces, -1, np.int32)
    for word, start in used:
        materials[start:] = names.index(word)
    return names, materials, libraries


def _unfold(vertices: NDArray[np.float64], corners: NDArray[np.int32], first: NDArray[np.bool_]) -> None:
    """Fan a polygon from another corner where its fan folds over itself (a concave quad), in place."""
    if first.all():
        return
    rest = np.flatnonzero(~first)  # triangles after the first of their polygon
    a, b, c = (vertices[corners[0, np.stack([rest - 1, rest]), k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    folded = rest[(normal[0] * normal[1]).sum(axis=-1) < 0]
    starts = np.flatnonzero(first)
    for start in np.unique(np.searchsorted(starts, folded, side="right") - 1):
        low = starts[start]
        high = starts[start + 1] if start + 1 < len(starts) else len(first)
        ring = np.concatenate([corners[:, low, :2].T, corners[:, low:high, 2].T])  # (n, 2) position, texture
        for apex in range(len(ring)):
            turned = np.roll(ring, -apex, axis=0)
            fan = np.stack([np.broadcast_to(turned[:1], turned[2:].shape), turned[1:-1], turned[2:]], -1)
            a, b, c = (vertices[fan[:, 0, k]] for k in range(3))
            normals = np.cross(b - a, c - a)
            if (normals @ normals.sum(axis=0) > 0).all():
                corners[:, low:high] = fan.transpose(1, 0, 2)
                break


def _complaint(data: _Bytes, read: _Read, name: str) -> str:
    rest = data[read.at :].tobytes()
    text = rest[:60].split(b"\n")[0].decode("utf-8", "replace").strip()
    where = f"{name}, line {read.line}: "
    last = rest[:10_000].count(b"\n") <= 2 and len(rest) < 10_000
    cut = "the file ends in the middle of a line: copy it again." if last else "repair or re-export the file."
    return (
        where
        + {
            _BAD_NUMBER: f"found {text!r}, expected numbers; {cut}",
            _FEW_NUMBERS: f"found {text!r}, expected 3 coordinates after 'v' or 2 after 'vt'; {cut}",
            _MANY_NUMBERS: f"found {text!r}, expected 3 coordinates and at most a weight and a colour; {cut}",
            _NOT_FINITE: f"found {text!r}, a NaN or infinite vertex, expected finite numbers; repair or re-export it.",
            _BAD_CORNER: f"found {text!r}, expected face corners like 3 or 3/7 or 3/7/2; {cut}",
            _FEW_CORNERS: f"found {text!r}, a face with fewer than 3 corners; {cut}",
            _NO_VERTEX: f"face {text!r} names a vertex that does not exist, expected 1 to {len(read.vertices)}; "
            "the file is truncated or damaged: copy or export it again.",
            _NO_UV: f"face {text!r} names a texture coordinate that does not exist, expected 1 to {len(read.uv)}; "
            "the file is truncated or damaged: copy or export it again.",
            _MIXED: f"face {text!r} has texture coordinates at some corners only, expected all or none; {cut}",
        }[read.problem]
    )


_WORDS = np.zeros((len(_KEYWORDS.split()), 16), np.uint8)
for _row, _word in enumerate(_KEYWORDS.split()):
    _WORDS[_row, : len(_word)] = np.frombuffer(_word, np.uint8)
_NAMED = np.zeros((2, 16), np.uint8)
for _row, _word in enumerate((b"usemtl", b"mtllib")):
    _NAMED[_row, : len(_word)] = np.frombuffer(_word, np.uint8)
_POWERS = 10.0 ** np.arange(23)  # exact in float64
_at = (
    np.uintp if AVAILABLE else int
)  # a place in the bytes: unsigned, numba does not look for negative ones, a fifth faster


@compiled
def _blank(c: int) -> bool:
    return c == 32 or c == 9 or c == 13


@compiled
def _end(c: int) -> bool:
    return c == 10 or c == 35  # newline, or '#': the rest is a comment


@compiled
def _is_word(data: _Bytes, i: int, word: _Bytes) -> bool:
    """Whether the token at i is ``word``; never reads beyond the newline that ends the data."""
    for k in range(len(word)):
        c = data[_at(i + k)]
        if word[k] == 0:
            return _blank(c) or c == 10
        if c != word[k]:
            return False
    return False


@compiled
def _keyword(data: _Bytes, i: int) -> tuple[int, int]:
    """What kind of line starts at i, and how many characters its keyword has."""
    c = data[_at(i)]
    if c == 118:
        n = data[_at(i + 1)]
        if _blank(n) or n == 10:
            return _V, 1
        if n == 116:
            n = data[_at(i + 2)]
            if _blank(n) or n == 10:
                return _VT, 2
        if n == 110 and _blank(data[_at(i + 2)]):
            return _OTHER, 2
    elif c == 102:
        n = data[_at(i + 1)]
        if _blank(n) or n == 10:
            return _F, 1
    elif _end(c):
        return _OTHER, 0
    for k in range(len(_NAMED)):
        if _is_word(data, i, _NAMED[k]):
            return _USEMTL + k, 6
    for k in range(len(_WORDS)):
        if _is_word(data, i, _WORDS[k]):
            return _OTHER, 0
    return _UNKNOWN, 0


@compiled
def _number(data: _Bytes, i: int) -> tuple[float, int, bool]:
    """Read a decimal number at i: value, next position, well-formed."""
    negative = data[_at(i)] == 45
    if negative or data[_at(i)] == 43:
        i += 1
    start = i
    mantissa = 0
    while 48 <= data[_at(i)] <= 57:
        mantissa = mantissa * 10 + (data[_at(i)] - 48)
        i += 1
    digits, exponent = i - start, 0
    if data[_at(i)] == 46:
        i += 1
        point = i
        while 48 <= data[_at(i)] <= 57:
            mantissa = mantissa * 10 + (data[_at(i)] - 48)
            i += 1
        digits += i - point
        exponent = point - i
    if digits == 0:
        return _word_number(data, i, negative)
    if digits > 18:  # more than 64 bits hold: the first 18 decide
        mantissa, exponent = _long(data, start)
    if data[_at(i)] == 101 or data[_at(i)] == 69:
        i += 1
        below = data[_at(i)] == 45
        if below or data[_at(i)] == 43:
            i += 1
        if not 48 <= data[_at(i)] <= 57:
            return 0.0, i, False
        power = 0
        while 48 <= data[_at(i)] <= 57:
            power = min(power * 10 + (data[_at(i)] - 48), 10000)
            i += 1
        exponent += -power if below else power
    value = np.float64(mantissa)
    if exponent < 0:
        value = value / _POWERS[-exponent] if exponent >= -22 else value * 10.0**exponent
    elif exponent > 0:
        value = value * _POWERS[exponent] if exponent <= 22 else value * 10.0**exponent
    ends = _blank(data[_at(i)]) or data[_at(i)] == 10
    return -value if negative else value, i, ends


@compiled
def _long(data: _Bytes, i: int) -> tuple[int, int]:
    """Mantissa and exponent of the first 18 significant digits of a long number."""
    mantissa = digits = exponent = 0
    point = False
    while 48 <= data[_at(i)] <= 57 or (data[_at(i)] == 46 and not point):
        if data[_at(i)] == 46:
            point = True
        elif digits < 18:
            mantissa = mantissa * 10 + (data[_at(i)] - 48)
            digits += mantissa > 0
            exponent -= point
        else:
            exponent += not point
        i += 1
    return mantissa, exponent


@compiled
def _word_number(data: _Bytes, i: int, negative: bool) -> tuple[float, int, bool]:
    """nan and inf in any spelling (nan, -nan(ind), 1.#QNAN is caught as malformed)."""
    a = data[_at(i)] | 32
    if a == 110 or a == 105:  # n, i
        b = data[_at(i + 1)] | 32
        if (a == 110 and b == 97) or (a == 105 and b == 110):
            while not (_blank(data[_at(i)]) or data[_at(i)] == 10):
                i += 1
            value = np.nan if a == 110 else np.inf
            return -value if negative else value, i, True
    return 0.0, i, False


@compiled
def _index(data: _Bytes, i: int, count: int) -> tuple[int, int]:
    """Read a one-based or negative index: zero-based value (-1 for 0 or nothing), next position."""
    negative = data[_at(i)] == 45
    if negative:
        i += 1
    start = i
    value = 0
    while 48 <= data[_at(i)] <= 57:
        value = value * 10 + (data[_at(i)] - 48)
        i += 1
    if i - start > 12:
        value = _HUGE
    if negative:
        return (count - value if 0 < value <= count else _HUGE), i
    return value - 1, i


@compiled
def _fill(
    data: _Bytes,
    vertices: NDArray[np.float64],
    colors: NDArray[np.float64],
    uv: NDArray[np.float64],
    corners: NDArray[np.int32],
    first: NDArray[np.bool_],
    marks: NDArray[np.int64],
    state: NDArray[np.int64],
) -> int:
    """Read lines from where ``state`` stands: 0 at the end, a problem, or which array is full (negative).

    ``state`` is written back whenever the pass leaves, so that it can go on with larger arrays. Indices may name
    vertices that come later; the largest ones are kept with their lines, for a check at the end.
    """
    i, line = state[_AT], state[_LINE] + 1
    v, t, f, m = state[_AT_V], state[_AT_VT], state[_AT_F], state[_AT_M]
    polygons, unknown, unknown_line, colored = state[_POLYGONS], state[_UNKNOWNS], state[_UNKNOWNS + 1], state[_COLORED]
    top_p, top_t = state[_TOP_P], state[_TOP_T]
    code = 0
    start = i
    while i < len(data):
        start = i
        while _blank(data[_at(i)]):
            i += 1
        kind, skip = _keyword(data, i)
        i += skip
        if kind in (_V, _VT):
            if kind == _V and v == len(vertices):
                code = _FULL_V
                break
            if kind == _VT and t == len(uv):
                code = _FULL_VT
                break
            k = 0
            while True:
                while _blank(data[_at(i)]):
                    i += 1
                if _end(data[_at(i)]):
                    break
                value, i, fine = _number(data, i)
                if not fine:
                    code = _BAD_NUMBER
                    break
                if kind == _V:
                    if k < 3:
                        if not np.isfinite(value):
                            code = _NOT_FINITE
                            break
                        vertices[v, k] = value
                    elif k < 6:
                        colors[v, k - 3] = value
                elif k < 2:
                    uv[t, k] = value
                k += 1
            if code != 0:
                break
            if k < (3 if kind == _V else 2):
                code = _FEW_NUMBERS
                break
            if kind == _V:
                if k == 5 or k > 8:
                    code = _MANY_NUMBERS
                    break
                colored += k >= 6
                v += 1
            else:
                t += 1
        elif kind == _F:
            k = 0
            begin = f
            p0 = p1 = t0 = t1 = -1
            while True:
                while _blank(data[_at(i)]):
                    i += 1
                if _end(data[_at(i)]):
                    break
                before = i
                p, i = _index(data, i, v)
                if i == before or p < 0 or p >= _HUGE:
                    bad = not (data[_at(before)] == 45 or 48 <= data[_at(before)] <= 57)
                    code = _BAD_CORNER if bad else _NO_VERTEX
                    break
                q = -1
                if data[_at(i)] == 47:
                    q, i = _index(data, i + 1, t)
                    if q >= _HUGE:
                        code = _NO_UV
                        break
                    if data[_at(i)] == 47:
                        _, i = _index(data, i + 1, _HUGE)
                if not (_blank(data[_at(i)]) or data[_at(i)] == 10):
                    code = _BAD_CORNER
                    break
                if k > 0 and (q < 0) != (t0 < 0):
                    code = _MIXED
                    break
                if p > top_p:
                    top_p = p
                    state[_TOP_P + 1], state[_TOP_P + 2] = start, line
                if q > top_t:
                    top_t = q
                    state[_TOP_T + 1], state[_TOP_T + 2] = start, line
                if k >= 2:
                    if f == len(first):
                        code = _FULL_F
                        break
                    first[f] = k == 2
                    corners[0, f, 0], corners[0, f, 1], corners[0, f, 2] = p0, p1, p
                    corners[1, f, 0], corners[1, f, 1], corners[1, f, 2] = t0, t1, q
                    f += 1
                if k == 0:
                    p0, t0 = p, q
                p1, t1 = p, q
                k += 1
            if code == _FULL_F:
                f = begin  # this polygon is read again
            if code != 0:
                break
            if k < 3:
                code = _FEW_CORNERS
                break
            polygons += 1
        elif kind in (_USEMTL, _MTLLIB):
            if m == len(marks):
                code = _FULL_M
                break
            marks[m, 0], marks[m, 1], marks[m, 3] = kind, i, f
            while data[_at(i)] != 10:
                i += 1
            marks[m, 2] = i
            m += 1
        elif kind == _UNKNOWN:
            if unknown == 0:
                unknown_line = line
            unknown += 1
        while data[_at(i)] != 10:
            i += 1
        i += 1
        line += 1
        start = i
    state[_AT], state[_LINE] = start, line if code > 0 else line - 1
    state[_AT_V], state[_AT_VT], state[_AT_F], state[_AT_M] = v, t, f, m
    state[_POLYGONS], state[_UNKNOWNS], state[_UNKNOWNS + 1], state[_COLORED] = polygons, unknown, unknown_line, colored
    state[_TOP_P], state[_TOP_T] = top_p, top_t
    return code
