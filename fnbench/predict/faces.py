"""Where the faces are in a photograph, and the square around each that a model is shown.

Conventions
-----------
A model sees the square of the protocol: 1.2 times the longer side of the box around the 68 landmarks, centred on that
box (``camera.landmark_crop``), shifted inwards at the border of the picture (``CropBox.inside``). A detector finds
another box, so each has a ``Fit`` that leads from its box to that square; ``tests/benchmarks/bench_face_boxes.py``
measures it on rendered heads, whose landmarks are known. Squares leave here in whole pixels, so that a result is pasted
back to the pixel.

Detectors
---------
cascade   the local-binary-pattern cascade of scikit-image: nothing to install; frontal, upright faces
dlib      the gradient-histogram detector of dlib (extra ``dlib``), as the released preprocessing uses it: fewer misses
          and false alarms, faces of 40 pixels and more
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import CropBox
from fnbench.errors import MissingDependencyError, UnknownNameError

_LONGEST = 400
"""The longer side of the picture that the cascade searches; larger ones are reduced first."""
_SCALES = (1.0, 0.9, 0.8)
_VOTES = 4
"""Of six searches, those that must find a face."""
_SMALLEST = 1 / 16
"""The smallest face that is looked for, relative to the longer side of the picture."""
_SAME = 0.4
"""Two boxes whose intersection is a larger share of their union are one face."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The protocol's square in terms of a detector's square: side, and centre to the right and below, in its sides."""

    side: float
    right: float
    below: float

    def crop(self, found: CropBox) -> CropBox:
        """The square of the protocol for a square of the detector."""
        side = self.side * found.side
        x = found.x + (0.5 + self.right) * found.side - side / 2
        y = found.y + (0.5 + self.below) * found.side - side / 2
        return CropBox(x, y, side)


FITS = {"cascade": Fit(1.12, 0.0, 0.16), "dlib": Fit(1.18, 0.0, 0.10)}
"""Means of the medians over built-in heads, over ICT heads, and of one portrait: for the cascade 1.09, 1.10 and 1.20 in
side, 0.19, 0.14 and 0.14 below; for dlib 1.14, 1.14 and 1.27, and 0.10, 0.10 and 0.09. Single faces differ: the middle
80 % of the cascade's lie between 0.93 and 1.87 in side, of dlib's between 0.95 and 1.20."""


def face_crops(image: NDArray[np.uint8], detector: str = "cascade") -> list[CropBox]:
    """The protocol's squares around the faces of a photograph, largest first; empty when there is none.

    image: (H, W, 3) uint8 sRGB.  detector: a name of ``FITS``.
    Raises UnknownNameError, and MissingDependencyError when the library of the detector is not installed.
    """
    found = detector_named(detector)(image)
    return [whole(FITS[detector].crop(box), image) for box in sorted(found, key=lambda box: -box.side)]


def whole(box: CropBox, image: NDArray[np.uint8]) -> CropBox:
    """The nearest square of whole pixels inside the picture (``CropBox.inside``)."""
    height, width = image.shape[:2]
    side = max(1, round(box.side))
    x, y = box.x + (box.side - side) / 2, box.y + (box.side - side) / 2
    moved = CropBox(x, y, side).inside(width, height)
    return CropBox(
        float(min(round(moved.x), width - moved.side)), float(min(round(moved.y), height - moved.side)), moved.side
    )


def detector_named(name: str) -> Callable[[NDArray[np.uint8]], list[CropBox]]:
    """What finds squares around faces in an image (H, W, 3); UnknownNameError with a suggestion otherwise."""
    detectors = {"cascade": cascade_boxes, "dlib": dlib_boxes}
    if name not in detectors:
        close = get_close_matches(name, detectors, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UnknownNameError(f"There is no face detector {name!r}.{hint} Known: {', '.join(detectors)}.")
    if name == "dlib":
        _dlib()  # asked for before work starts
    return detectors[name]


def cascade_boxes(image: NDArray[np.uint8]) -> list[CropBox]:
    """Squares of scikit-image's cascade around faces, in pixels of the image.

    The picture is searched in some sizes and mirrored; a face must be found in most of them, which false alarms
    rarely are, and is the mean of what was found, which is steadier than a single answer.
    """
    found: list[tuple[int, CropBox]] = []
    for search, (scale, mirror) in enumerate((scale, mirror) for scale in _SCALES for mirror in (False, True)):
        grey, reduction = _searched(image, scale)
        for box in _cascade_squares(grey[:, ::-1] if mirror else grey):
            x = grey.shape[1] - box.x - box.side if mirror else box.x
            found.append((search, CropBox(x * reduction, box.y * reduction, box.side * reduction)))
    boxes = []
    for group in _alike(found):
        if len({search for search, _ in group}) >= _VOTES:
            x, y, side = np.mean([(box.x, box.y, box.side) for _, box in group], axis=0)
            boxes.append(CropBox(float(x), float(y), float(side)))
    return boxes


def dlib_boxes(image: NDArray[np.uint8]) -> list[CropBox]:
    """Squares of dlib's frontal detector around faces, in pixels of the image."""
    detector, upsampling = _dlib(), int(max(image.shape[:2]) < 1000)
    rectangles, _, _ = detector.run(np.ascontiguousarray(image), upsampling, 0.0)
    boxes = [CropBox(float(r.left()), float(r.top()), float(max(r.width(), r.height()))) for r in rectangles]
    return [group[0][1] for group in _alike(list(enumerate(boxes)))]


def _searched(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.float64], float]:
    """The picture in grey, reduced to ``scale`` times the size that is searched, and how much it was reduced."""
    from PIL import Image

    reduction = max(1.0, max(image.shape[:2]) / _LONGEST) / scale
    size = max(1, round(image.shape[1] / reduction)), max(1, round(image.shape[0] / reduction))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return (small @ np.array([0.299, 0.587, 0.114])) / 255, reduction


def _cascade_squares(grey: NDArray[np.float64]) -> list[CropBox]:
    smallest = max(24, round(_SMALLEST * max(grey.shape)))
    largest = min(grey.shape)
    if largest < smallest:
        return []
    rectangles = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(grey),
        scale_factor=1.1,
        step_ratio=1,
        min_size=(smallest, smallest),
        max_size=(largest, largest),
    )
    return [CropBox(float(r["c"]), float(r["r"]), float(r["width"])) for r in rectangles]


def _alike(boxes: Sequence[tuple[int, CropBox]]) -> list[list[tuple[int, CropBox]]]:
    """Groups of numbered boxes that lie on the same face, each grown from its first member."""
    groups: list[list[tuple[int, CropBox]]] = []
    for number, box in boxes:
        group = next((one for one in groups if overlap(one[0][1], box) > _SAME), None)
        if group is None:
            groups.append([(number, box)])
        else:
            group.append((number, box))
    return groups


def overlap(a: CropBox, b: CropBox) -> float:
    """Area of the intersection over the area of the union of two squares.

    >>> round(overlap(CropBox(0, 0, 2), CropBox(1, 0, 2)), 3)
    0.333
    """
    across = max(0.0, min(a.x + a.side, b.x + b.side) - max(a.x, b.x))
    down = max(0.0, min(a.y + a.side, b.y + b.side) - max(a.y, b.y))
    both = across * down
    return both / (a.side**2 + b.side**2 - both)


@cache
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]  # no types


@cache
def _dlib() -> Any:
    try:
        import dlib
    except ImportError:
        raise MissingDependencyError(
            "The face detector dlib is not installed. Install it with: pip install 'fnbench[dlib]', or use "
            "--detector cascade."
        ) from None
    return dlib.get_frontal_face_detector()
