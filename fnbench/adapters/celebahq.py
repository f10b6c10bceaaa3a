"""CelebAMask-HQ (Lee et al., CVPR 2020): 30,000 portraits with masks of face parts, no ground truth.

Tree: ``CelebA-HQ-img/<k>.jpg`` (1024 pixels) and ``CelebAMask-HQ-mask-anno/<k // 2000>/<k:05d>_<label>.png`` (512). A
missing part means that it is not in the picture; the skin always is. The face mask is skin, nose, brows, lips, mouth
and eyes without glasses. Who is who stands in another file of CelebA: here every picture is a subject.
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

from fnbench.adapters.contract import entries, given_root, nothing_found, required, unknown_capture
from fnbench.errors import InvalidDataError
from fnbench.images import read_image, read_mask
from fnbench.types import Capture, Photograph

PARTS = ("skin", "nose", "l_brow", "r_brow", "l_eye", "r_eye", "mouth", "u_lip", "l_lip")
"""Labels that make the face mask; ``eye_g`` (glasses) is taken out of it."""
PER_FOLDER = 2000
_IMAGE = re.compile(r"\d+\.jpg", re.IGNORECASE)


class CelebaHq:
    """Portraits as ``00017``, with face masks where the annotation folder is there.

    root: ``CelebAMask-HQ`` or the folder above it.
    """

    name: ClassVar[str] = "celebahq"
    reported: ClassVar[tuple[str, ...]] = ("mask", "glasses")

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def capture_ids(self) -> Sequence[str]:
        """Picture numbers with five digits, sorted."""
        return list(self._images)

    @cached_property
    def _folders(self) -> dict[str, Path]:
        root = given_root(self.name, self.root)
        files = entries(root)
        return files if "celeba-hq-img" in files else entries(files.get("celebamask-hq", root))

    @cached_property
    def _images(self) -> dict[str, str]:
        found = {}
        if "celeba-hq-img" in self._folders:
            with os.scandir(self._folders["celeba-hq-img"]) as listing:
                found = {f"{int(Path(e.name).stem):05d}": e.path for e in listing if _IMAGE.fullmatch(e.name)}
        if not found:
            raise nothing_found(self.name, given_root(self.name, self.root), "CelebAMask-HQ/CelebA-HQ-img/0.jpg …")
        return dict(sorted(found.items()))

    def load(self, capture_id: str) -> Capture:
        """One portrait and its face mask."""
        if capture_id not in self._images:
            raise unknown_capture(self.name, capture_id, self._images)
        image = read_image(Path(self._images[capture_id]))
        mask, glasses = None, False
        if (annotations := self._folders.get("celebamask-hq-mask-anno")) is not None:
            mask, glasses = _face_mask(annotations / str(int(capture_id) // PER_FOLDER), capture_id, image.shape[:2])
        return Capture(
            id=capture_id,
            subject=capture_id,
            photographs=partial(_photograph, image, capture_id, mask),
            attributes={"mask": "absent" if mask is None else "skin and features", "glasses": glasses},
        )


def _face_mask(folder: Path, capture_id: str, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], bool]:
    """The face of one picture at its size, and whether it wears glasses."""
    files = entries(folder) if folder.is_dir() else {}
    required(folder, files, f"{capture_id}_skin.png")
    parts = [files[key] for part in PARTS if (key := f"{capture_id}_{part}.png") in files]
    mask = np.logical_or.reduce([_part(path, shape) for path in parts])
    glasses = files.get(f"{capture_id}_eye_g.png")
    return (mask if glasses is None else mask & ~_part(glasses, shape)), glasses is not None


def _part(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    part = read_mask(path) > 127
    factor, rest = divmod(shape[0], part.shape[0])
    if rest or factor < 1 or part.shape != (shape[0] // factor, shape[1] // factor):
        raise InvalidDataError(
            f"{path}: mask of {part.shape[1]}x{part.shape[0]} pixels for a picture of {shape[1]}x{shape[0]}, "
            f"expected the same size or a whole fraction of it."
        )
    return part.repeat(factor, axis=0).repeat(factor, axis=1)


def _photograph(image: NDArray[np.uint8], name: str, mask: NDArray[np.bool_] | None) -> tuple[Photograph, ...]:
    return (Photograph(image, name=name, mask=mask),)
