"""The unit of a scan, and whether its size is that of a head.

No unit is trusted: the longest side of the box around a face or head lies between 100 mm (a cropped face) and 750 mm
(head and shoulders). A mesh whose numbers say otherwise is refused with the factor that would fit. The finer check,
by the distance between the eyes, follows when the face has been located.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import compiled
from fnbench.errors import InvalidDataError, InvalidSettingError

MILLIMETRES = {"um": 0.001, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0}
"""Millimetres per unit, by name."""
HEAD_EXTENT = (100.0, 750.0)
"""Longest side of the box around a face, a head, or head and shoulders, in millimetres."""


def millimetres(unit: str | float, extent: float, name: str) -> float:
    """Millimetres per unit of a mesh whose longest side is ``extent`` units.

    unit: a name of MILLIMETRES, ``"auto"`` (the one unit that makes it a head), or millimetres per unit.
    InvalidDataError when the size is not that of a head, with the factor that would fit.

    >>> millimetres("auto", 0.25, "scan")
    1000.0
    """
    fitting = [word for word, factor in MILLIMETRES.items() if _is_head(extent * factor)]
    if unit == "auto":
        if len(fitting) == 1:
            return MILLIMETRES[fitting[0]]
        raise InvalidDataError(
            f"{name}: its longest side is {extent:.4g} units, which is a head of 100 to 750 mm in "
            f"{' or '.join(fitting) if fitting else 'no common unit'}; give the unit, or millimetres per unit."
        )
    factor = _factor(unit)
    if _is_head(extent * factor):
        return factor
    word = f"{unit:g} mm per unit" if not isinstance(unit, str) else unit
    hint = (
        f"the numbers fit {fitting[0]} (factor {MILLIMETRES[fitting[0]] / factor:g}): give unit={fitting[0]}"
        if fitting
        else "no common unit fits: give millimetres per unit"
    )
    raise InvalidDataError(
        f"{name}: its longest side is {extent * factor:.4g} mm when read as {word}, "
        f"expected 100 to 750 mm for a face or head; {hint}."
    )


def extent(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> float:
    """Longest side of the box around the vertices that faces use."""
    low, high = _box(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32))
    return float((high - low).max())


@compiled
def _box(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for f in range(len(faces)):
        for corner in range(3):
            for k in range(3):
                value = vertices[faces[f, corner], k]
                low[k] = min(low[k], value)
                high[k] = max(high[k], value)
    return low, high


def _factor(unit: str | float) -> float:
    if isinstance(unit, str):
        if unit not in MILLIMETRES:
            raise InvalidSettingError(
                f"unit {unit!r} is not known, expected one of {', '.join(MILLIMETRES)}, auto, or millimetres per unit."
            )
        return MILLIMETRES[unit]
    if not (np.isfinite(unit) and unit > 0):
        raise InvalidSettingError(f"{unit} millimetres per unit, expected a positive number.")
    return float(unit)


def _is_head(extent: float) -> bool:
    return HEAD_EXTENT[0] <= extent <= HEAD_EXTENT[1]
