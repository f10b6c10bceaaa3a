"""Where the lights are: directions from a light file whose syntax, unit and order nobody documented.

Conventions
-----------
Directions are (K, 3) unit vectors from the surface towards each light, z towards the viewer. A file gives zenith t
(angle from the optical axis) and azimuth p, so l = (sin t cos p, sin t sin p, cos t). What no file says is where p = 0
points and in which sense p grows: that leaves the eight in-plane turns and mirrors of ``CASES``, of which one makes
the rig's x the image's right and its y up. ``fnbench.photometric.rig`` chooses it, once per rig.

What a file may look like: any text with numbers, in brackets or not, MATLAB comments allowed; a zenith and an azimuth
per light (K x 2 or 2 x K, in either order, degrees or radians), or a direction per light (K x 3 or 3 x K).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError

CASES: tuple[str, ...] = ("+0", "+90", "+180", "+270", "-0", "-90", "-180", "-270")
"""In-plane maps from the rig's axes to the canonical ones: the sense of the azimuth, then the turn in degrees."""

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_MAX_ZENITH_RANGE = 30.0  # degrees; the lights of one rig stand on a ring around the camera
_MAX_GAP = 200.0  # degrees of azimuth without a light
_MIN_SPREAD = 0.02  # smallest against largest singular value of the directions


@dataclass(frozen=True, slots=True, eq=False)
class Lights:
    """Directions of the lights in the rig's own axes.

    directions: (K, 3) float64 unit vectors, z towards the viewer, azimuth as the file has it.
    layout: how the numbers were understood, in words; goes into the attributes of every sample.
    """

    directions: NDArray[np.float64]
    layout: str


def case_matrix(case: str) -> NDArray[np.float64]:
    """(3, 3) in-plane turn or mirror that leads from the rig's axes to the canonical ones.

    >>> case_matrix("-90").round() @ [1, 0, 0]
    array([0., 1., 0.])
    """
    angle = np.radians(float(case[1:]))
    cos, sin = np.round(np.cos(angle)), np.round(np.sin(angle))
    mirror = -1.0 if case[0] == "-" else 1.0
    return np.array([[cos, -sin * mirror, 0.0], [sin, cos * mirror, 0.0], [0.0, 0.0, 1.0]])


def from_angles(zenith: NDArray[np.floating], azimuth: NDArray[np.floating]) -> NDArray[np.float64]:
    """(K, 3) directions from angles in degrees."""
    t, p = np.radians(zenith), np.radians(azimuth)
    return np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], axis=-1)


def parse_lights(text: str, name: str, count: int = 4) -> Lights:
    """Directions of ``count`` lights from the text of a light file.

    name: of the file, for messages.
    Raises InvalidDataError when the numbers are not ``count`` pairs of angles or ``count`` directions, when both
    columns could be the zenith, or when the lights nearly lie in one plane with the surface.
    """
    table = _table(text, name, count)
    if table.shape[1] == 3:
        directions, layout = _cartesian(table, name), "directions"
    else:
        directions, layout = _angular(table, name)
    spread = np.linalg.svd(directions, compute_uv=False)
    if spread[-1] < _MIN_SPREAD * spread[0]:
        raise InvalidDataError(
            f"{name}: the {count} light directions nearly lie in one plane (singular values "
            f"{', '.join(f'{value:.3g}' for value in spread)}); normals cannot follow from them. Check the file."
        )
    return Lights(directions, layout)


def _table(text: str, name: str, count: int) -> NDArray[np.float64]:
    """(count, 2) or (count, 3) numbers of a light file."""
    rows = _rows(re.sub(r"%.*", "", text), name)
    total = sum(map(len, rows))
    widths = {len(row) for row in rows}
    if total not in (2 * count, 3 * count):
        raise InvalidDataError(
            f"{name}: {total} numbers in {len(rows)} rows, expected {2 * count} (zenith and azimuth of {count} lights) "
            f"or {3 * count} (their directions). Compare it with another session's file."
        )
    width = total // count
    if len(rows) == count and widths == {width}:
        return np.array(rows)
    if len(rows) == width and widths == {count}:
        return np.array(rows).T
    flat = np.concatenate([np.array(row) for row in rows])
    if width == 2:  # one line of numbers: pairs, or all zeniths before all azimuths; the plausible one
        for table in (flat.reshape(count, 2), flat.reshape(2, count).T):
            if len(_zenith_columns(table)) == 1:
                return table
    return flat.reshape(count, width)


def _rows(text: str, name: str) -> list[list[float]]:
    blocks = re.findall(r"\[([^\]]*)\]", text)
    if not blocks and "[" in text:
        raise InvalidDataError(f"{name}: a bracket is never closed; the file is cut off. Copy it again.")
    content = "\n".join(blocks) if blocks else text
    if blocks and re.search(r"[\w*/^]", _NUMBER.sub("", content.replace("...", " "))):
        raise InvalidDataError(
            f"{name}: an expression where numbers are expected ({' '.join(content.split())[:60]!r}). "
            f"Write the light directions as plain numbers."
        )
    lines = re.split(r"[;\n]", content.replace("...", " ").replace("\r", "\n"))
    rows = [[float(number) for number in _NUMBER.findall(line)] for line in lines]
    return [row for row in rows if row]


def _cartesian(table: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if not (table[:, 2] > 0).all():
        raise InvalidDataError(
            f"{name}: {len(table)} rows of three numbers whose third is not positive everywhere "
            f"({', '.join(f'{value:g}' for value in table[:, 2])}); expected directions with z towards the camera. "
            f"Check the order of the columns."
        )
    directions: NDArray[np.float64] = table / np.linalg.norm(table, axis=1, keepdims=True)
    zenith = np.degrees(np.arccos(np.clip(directions[:, 2], -1, 1)))
    azimuth = np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))
    if not (_is_zenith(zenith) and _is_azimuth(azimuth)):
        listed = "; ".join(" ".join(f"{value:g}" for value in row) for row in table)
        raise InvalidDataError(
            f"{name}: these {len(table)} directions do not stand around the camera ({listed}). "
            f"Expected x, y, z per light. Check the file."
        )
    return directions


def _angular(table: NDArray[np.float64], name: str) -> tuple[NDArray[np.float64], str]:
    columns = _zenith_columns(table)
    if len(columns) != 1:
        listed = "; ".join(f"{a:g} {b:g}" for a, b in table)
        why = "both columns could be the zenith" if columns else "no column is a zenith beside an azimuth"
        raise InvalidDataError(
            f"{name}: {why} ({listed}). Expected one column of similar angles below 90 degrees (zenith from the "
            f"optical axis) and one that spreads over the circle (azimuth). Check the file."
        )
    (column,) = columns
    degrees = _in_degrees(table)
    unit = "degrees" if np.abs(table).max() > 2 * np.pi else "radians"
    order = "zenith first" if column == 0 else "zenith second"
    return from_angles(degrees[:, column], degrees[:, 1 - column]), f"{unit}, {order}"


def _in_degrees(table: NDArray[np.float64]) -> NDArray[np.float64]:
    # An azimuth that spreads over the circle exceeds 2 pi in degrees and never does in radians.
    return table if np.abs(table).max() > 2 * np.pi else np.degrees(table)


def _zenith_columns(table: NDArray[np.float64]) -> list[int]:
    """Columns (0, 1) that can be the zenith while the other is the azimuth."""
    degrees = _in_degrees(table)
    return [column for column in (0, 1) if _is_zenith(degrees[:, column]) and _is_azimuth(degrees[:, 1 - column])]


def _is_zenith(degrees: NDArray[np.float64]) -> bool:
    return bool((degrees > 0).all() and (degrees < 90).all() and np.ptp(degrees) <= _MAX_ZENITH_RANGE)


def _is_azimuth(degrees: NDArray[np.float64]) -> bool:
    around = np.sort(degrees % 360)
    gaps = np.diff(np.append(around, around[0] + 360))
    return bool(gaps.max() <= _MAX_GAP)
