"""Coordinate frames of normals, and the one place that changes a sign.

Conventions
-----------
Canonical: camera frame, x to the image right, y up, z towards the viewer; normals point outward and
have unit length, so a frontal surface is (0, 0, 1). Every file written by fnbench names this frame.

A ``Frame`` describes how another source stores the same vector: ``n_canonical = matrix @ n_native``,
with a signed permutation as matrix. Confidence and evidence of each preset stand in the
dataset cards and in ``PRESETS``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import UnknownNameError

CANONICAL = "x-right y-up z-viewer"
"""Name of the canonical frame, written into every file as attribute ``frame``."""
OUTWARD = "outward"
"""Normals leave the surface; written into every file as attribute ``orientation``."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A named convention of stored normals.

    name: what users type.
    rows: three signed axes of the native vector that make canonical x, y, z: ``("+0", "-1", "+2")``
        reads channel 0 as x, minus channel 1 as y, channel 2 as z.
    confidence: high, medium or low, as far as the source could be checked.
    note: the native axes in words.
    """

    name: str
    rows: tuple[str, str, str]
    confidence: str
    note: str

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) signed permutation M with n_canonical = M @ n_native."""
        matrix = np.zeros((3, 3))
        for row, axis in enumerate(self.rows):
            matrix[row, int(axis[1])] = -1.0 if axis[0] == "-" else 1.0
        return matrix


_SPELLED = re.compile(r"-?[xyz],-?[xyz],-?[xyz]")
_RIGHT_UP_OUT = ("+0", "+1", "+2")
_OPENCV = ("+0", "-1", "-2")
_DOWN_RIGHT_OUT = ("+1", "-0", "+2")

PRESETS: dict[str, Frame] = {
    frame.name: frame
    for frame in (
        Frame("canonical", _RIGHT_UP_OUT, "high", "right, up, towards the viewer"),
        Frame("crossmodal", _RIGHT_UP_OUT, "high", "right, up, out (boukhayma/face_normals, FNR2R, HFN)"),
        Frame("opengl", _RIGHT_UP_OUT, "high", "right, up, out (Blender and OpenGL cameras)"),
        Frame("opencv", _OPENCV, "high", "right, down, forward; outward normals"),
        Frame("sfsnet", _DOWN_RIGHT_OUT, "high", "down, right, out"),
        Frame("photoface", _DOWN_RIGHT_OUT, "high", "down, right, out: px, py, pz of sn.mat"),
        Frame("hdnet", _DOWN_RIGHT_OUT, "high", "down, right, out; white outside the mask"),
        Frame("dsine", ("-0", "+1", "+2"), "high", "right, down, forward, pointing into the surface"),
        Frame("omnidata", ("+0", "-1", "+2"), "low", "right, down, out by its author; users measured otherwise"),
        Frame("marigold", _RIGHT_UP_OUT, "high", "right, up, out"),
        Frame("geowizard", _OPENCV, "medium", "OpenCV: right, down, forward"),
        Frame("metric3d", _OPENCV, "medium", "OpenCV-like: right, down, forward"),
        Frame("moge", _OPENCV, "high", "arrays in OpenCV axes; its pictures are right, up, out"),
        Frame("sapiens", _RIGHT_UP_OUT, "medium", "right, up, out; saved pictures are channel-reversed"),
        Frame("david", _RIGHT_UP_OUT, "high", "right, up, out (DAViD, SynthHuman)"),
        Frame("diligent", _RIGHT_UP_OUT, "high", "right, up, out (DiLiGenT, PS-FCN)"),
        Frame("pytorch3d", ("-0", "+1", "-2"), "high", "left, up, into the screen"),
    )
}
"""Known conventions by name; sources in datasets/README.md."""


def frame_preset(name: str) -> Frame:
    """The preset of this name, or a convention spelled out as canonical x, y, z in terms of the native channels.

    Raises UnknownNameError with a suggestion otherwise.

    >>> frame_preset("x,-y,-z").rows == frame_preset("opencv").rows
    True
    """
    if _SPELLED.fullmatch(name.replace(" ", "")) and len(set(name) & set("xyz")) == 3:
        rows = [
            ("-" if axis[0] == "-" else "+") + str("xyz".index(axis[-1])) for axis in name.replace(" ", "").split(",")
        ]
        return Frame(name, (rows[0], rows[1], rows[2]), "declared", "spelled out by the user")
    if name not in PRESETS:
        close = get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UnknownNameError(
            f"Frame {name!r} is not known.{hint} Known frames: {', '.join(PRESETS)}; or spell it out, e.g. x,-y,-z."
        )
    return PRESETS[name]


def to_canonical(normals: NDArray[np.floating], frame: str) -> NDArray[np.floating]:
    """Turn normals of a named convention into the canonical frame.

    normals: (..., 3) in the axes of ``frame``.
    Returns (..., 3) of the same type; x right, y up, z to the viewer.

    >>> to_canonical(np.array([0.0, 0.0, -1.0]), "opencv")
    array([0., 0., 1.])
    """
    return _apply(normals, frame_preset(frame).matrix)


def from_canonical(normals: NDArray[np.floating], frame: str) -> NDArray[np.floating]:
    """The inverse of ``to_canonical``: write canonical normals in the axes of ``frame``."""
    return _apply(normals, frame_preset(frame).matrix.T)


def signed_permutations() -> list[tuple[str, NDArray[np.float64]]]:
    """All 48 signed axis permutations, named by what they make of (x, y, z), identity first.

    >>> [name for name, _ in signed_permutations()][:3]
    ['(x, y, z)', '(x, y, -z)', '(x, -y, z)']
    """
    found = []
    for axes in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), axes] = signs
            words = ("-" * (sign < 0) + "xyz"[axis] for sign, axis in zip(signs, axes, strict=True))
            found.append((f"({', '.join(words)})", matrix))
    return found


def _apply(normals: NDArray[np.floating], matrix: NDArray[np.float64]) -> NDArray[np.floating]:
    # A signed permutation moves and negates channels: indexing keeps the numbers bit for bit.
    axes = np.abs(matrix).argmax(axis=1)
    signs = matrix[range(3), axes].astype(normals.dtype)
    turned: NDArray[np.floating] = normals[..., axes] * signs + 0  # + 0 turns -0.0 into 0.0
    return turned
