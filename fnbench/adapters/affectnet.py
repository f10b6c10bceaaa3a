"""AffectNet (Mollahosseini et al., 2017): faces in the wild with landmarks and expressions, no ground truth.

Two releases are read. The old one: ``Manually_Annotated/Manually_Annotated_Images/<folder>/<hash>.jpg`` with lists
``Manually_Annotated_file_lists/{training,validation}.csv``, of which some copies lack the header. The new one:
``{train_set,val_set}/images/<k>.jpg`` with ``annotations/<k>_{exp,val,aro,lnd}.npy``. Every picture is a subject.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import (
    entries,
    given_root,
    nothing_found,
    read_bytes,
    read_text,
    required,
    settings,
    subfolders,
    unknown_capture,
)
from fnbench.errors import InvalidDataError
from fnbench.images import read_image
from fnbench.types import Capture, Photograph

EXPRESSIONS = (
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt", "none", "uncertain", "no face",
)  # fmt: skip
"""Names of the numbers 0 to 10 in column ``expression``."""
COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
    "expression", "valence", "arousal",
)  # fmt: skip
LISTS = ("training.csv", "validation.csv")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


class AffectNet:
    """Pictures as ``103/29a31e`` (old release) or ``train_set/17`` (new release), with landmarks and expression.

    root: the folder that holds ``Manually_Annotated`` or ``train_set``, or that folder's own parent.
    """

    name: ClassVar[str] = "affectnet"
    reported: ClassVar[tuple[str, ...]] = ("release", "expression", "valence", "arousal")

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._origin: float = settings(self.name, root)["first_pixel"]

    def __getstate__(self) -> dict[str, Any]:
        # The lists of 400,000 pictures are read again where they are needed rather than sent to every worker.
        return {"root": self.root, "_origin": self._origin}

    def capture_ids(self) -> Sequence[str]:
        """Pictures, sorted; the lists are not opened."""
        return list(self._images)

    @cached_property
    def _images(self) -> dict[str, str]:
        root = given_root(self.name, self.root)
        found = dict(sorted({**_old(_inner(root)), **_new(root)}.items()))
        if not found:
            raise nothing_found(
                self.name, root, "Manually_Annotated/Manually_Annotated_Images/<folder>/<hash>.jpg or train_set/images"
            )
        return found

    @cached_property
    def _rows(self) -> Mapping[str, Sequence[str]]:
        """Row of the lists by picture, lower case and without suffix."""
        root = given_root(self.name, self.root)
        for parent in (root, _inner(root)):
            files = entries(parent)
            if "manually_annotated_file_lists" in files:
                parent = files["manually_annotated_file_lists"]
            lists = [path for key, path in entries(parent).items() if key in LISTS]
            if lists:
                return {key: row for path in lists for key, row in read_list(read_text(path), str(path))}
        required(root, {}, "Manually_Annotated_file_lists/training.csv")
        raise AssertionError  # required has raised

    def load(self, capture_id: str) -> Capture:
        """One picture with its landmarks and expression."""
        if capture_id not in self._images:
            raise unknown_capture(self.name, capture_id, self._images)
        image = Path(self._images[capture_id])
        if capture_id.split("/")[0] in ("train_set", "val_set"):
            landmarks, attributes = _from_arrays(image)
        else:
            row = self._rows.get(capture_id.lower())
            if row is None:
                raise InvalidDataError(
                    f"{image}: the picture is in neither {' nor '.join(LISTS)}. Remove it, or give the complete lists."
                )
            landmarks, attributes = _from_row(row, str(image))
        return Capture(
            id=capture_id,
            subject=capture_id,
            photographs=partial(_photograph, image, landmarks + np.float32(0.5 - self._origin)),
            attributes=attributes,
        )


def read_list(text: str, name: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Rows of a list by picture (lower case, no suffix), with or without a header line."""
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        if not row or (number == 1 and row[0] == COLUMNS[0]):
            continue
        if len(row) != len(COLUMNS):
            raise InvalidDataError(
                f"{name}: line {number} has {len(row)} columns, expected {len(COLUMNS)} ({', '.join(COLUMNS)})."
            )
        yield row[0].rsplit(".", 1)[0].lower(), row


def _inner(root: Path) -> Path:
    return entries(root).get("manually_annotated", root)


def _old(root: Path) -> dict[str, str]:
    images = entries(root).get("manually_annotated_images")
    if images is None:
        return {}
    return {f"{folder.name}/{name}": path for folder in subfolders(images) for name, path in _pictures(folder.path)}


def _new(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for part, folder in entries(root).items():
        if part in ("train_set", "val_set"):
            images = entries(folder).get("images")
            found |= {f"{part}/{name}": path for name, path in (_pictures(str(images)) if images else ())}
    return found


def _pictures(folder: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as listing:
        for entry in listing:
            name, dot, suffix = entry.name.rpartition(".")
            if name and dot + suffix.lower() in _SUFFIXES:
                yield name, entry.path


def _from_row(row: Sequence[str], name: str) -> tuple[NDArray[np.float32], dict[str, Any]]:
    try:
        points = [float(value) for value in row[5].split(";")]
        expression, valence, arousal = int(row[6]), float(row[7]), float(row[8])
    except ValueError as error:
        raise InvalidDataError(
            f"{name}: its row in the lists holds no number where one is expected ({error})."
        ) from None
    return _points(np.asarray(points), name), _attributes("old", expression, valence, arousal, name)


def _from_arrays(image: Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    folder = image.parent.parent / "annotations"
    files = entries(folder) if folder.is_dir() else {}
    values = {
        part: read_array(required(folder, files, f"{image.stem}_{part}.npy")) for part in ("exp", "val", "aro", "lnd")
    }
    single = [values[part].reshape(-1)[0] for part in ("exp", "val", "aro")]
    return _points(values["lnd"], str(image)), _attributes("new", int(single[0]), single[1], single[2], str(image))


def read_array(path: Path) -> NDArray[np.float64]:
    """Numbers of a .npy file, also when they were stored as text; pickled objects are refused."""
    try:
        return np.asarray(np.load(io.BytesIO(read_bytes(path)), allow_pickle=False), np.float64)
    except ValueError as error:
        raise InvalidDataError(f"{path}: not a plain array of numbers ({error}).", code="FM-43") from None


def _points(values: NDArray[np.float64], name: str) -> NDArray[np.float32]:
    if values.size != 2 * 68:
        raise InvalidDataError(f"{name}: {values.size} landmark numbers, expected 136 (x and y of 68 points).")
    return values.reshape(68, 2).astype(np.float32)


def _attributes(release: str, expression: int, valence: float, arousal: float, name: str) -> dict[str, Any]:
    if not 0 <= expression < len(EXPRESSIONS):
        raise InvalidDataError(f"{name}: expression {expression}, expected 0 to {len(EXPRESSIONS) - 1}.")
    return {
        "release": release,
        "expression": EXPRESSIONS[expression],
        "valence": float(valence),
        "arousal": float(arousal),
    }


def _photograph(image: Path, landmarks: NDArray[np.float32]) -> tuple[Photograph, ...]:
    return (Photograph(read_image(image, modes=("RGB", "L")), name=image.stem, landmarks=landmarks),)
