"""300-W (Sagonas et al., 2016): 600 photographs in the wild with 68 landmarks, no ground truth.

Tree: ``01_Indoor/indoor_001.png`` beside ``indoor_001.pts``, and ``02_Outdoor`` alike. Coordinates in ``.pts`` files
count the first pixel's centre as 1; here it is 0.5. Nobody says who is in the pictures: every picture is a subject.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import entries, given_root, nothing_found, read_text, required, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.images import read_image
from fnbench.types import Capture, Photograph

FOLDERS = {"01_indoor": "indoor", "02_outdoor": "outdoor"}
_IMAGE = re.compile(r"(?:in|out)door_\d+\.(?:png|jpg)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan", re.IGNORECASE)


class W300:
    """Photographs as ``indoor_001``, with their landmarks.

    root: the folder that holds ``01_Indoor`` and ``02_Outdoor``, or the one above it.
    """

    name: ClassVar[str] = "w300"
    reported: ClassVar[tuple[str, ...]] = ("place",)

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def capture_ids(self) -> Sequence[str]:
        """Names of the pictures, sorted."""
        return list(self._images)

    @cached_property
    def _images(self) -> dict[str, str]:
        root = given_root(self.name, self.root)
        found: dict[str, str] = {}
        for parent in (root, *(path for path in entries(root).values() if path.is_dir())):
            for key, folder in entries(parent).items():
                if key in FOLDERS and folder.is_dir():
                    with os.scandir(folder) as listing:
                        found |= {Path(e.name).stem.lower(): e.path for e in listing if _IMAGE.fullmatch(e.name)}
        if not found:
            raise nothing_found(self.name, root, "01_Indoor/indoor_001.png and 02_Outdoor/outdoor_001.png")
        return dict(sorted(found.items()))

    def load(self, capture_id: str) -> Capture:
        """One photograph with its 68 landmarks."""
        if capture_id not in self._images:
            raise unknown_capture(self.name, capture_id, self._images)
        image = Path(self._images[capture_id])
        points = required(image.parent, entries(image.parent), f"{image.stem}.pts")
        landmarks = read_pts(read_text(points), str(points))
        return Capture(
            id=capture_id,
            subject=capture_id,
            photographs=partial(_photograph, image, landmarks),
            attributes={"place": FOLDERS[image.parent.name.lower()]},
        )


def read_pts(text: str, name: str) -> NDArray[np.float32]:
    """(68, 2) pixel x, y of a ``.pts`` file, the first pixel's centre at 0.5.

    >>> lines = "\\n".join(f"{k + 1} 1" for k in range(68))
    >>> read_pts(f"version: 1\\nn_points:  68\\n{{\\n{lines}\\n}}", "x.pts")[0]
    array([0.5, 0.5], dtype=float32)
    """
    declared = re.search(r"n_points\s*:\s*(\d+)", text)
    body = re.search(r"\{([^}]*)\}", text)
    if declared is None or body is None:
        raise InvalidDataError(f"{name}: no points between braces; the file is cut off or of another kind.")
    numbers = [float(number) for number in _NUMBER.findall(body[1])]
    if int(declared[1]) != 68 or len(numbers) != 2 * 68:
        raise InvalidDataError(
            f"{name}: {declared[1]} points declared and {len(numbers)} numbers found, expected 68 and 136."
        )
    return np.asarray(numbers, np.float32).reshape(68, 2) - 0.5


def _photograph(image: Path, landmarks: NDArray[np.float32]) -> tuple[Photograph, ...]:
    return (Photograph(read_image(image, modes=("RGB", "L", "P")), name=image.stem, landmarks=landmarks),)
