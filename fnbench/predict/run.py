"""Many photographs through a model: read ahead, predict in full batches, write behind.

Reading and looking for faces happens in one thread, writing in another, so that the model rarely waits; squares of
several photographs share a batch. A photograph that fails is named in the report and the others go on; what cannot be
written (a full disk) ends the run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench import __version__
from fnbench.camera import CropBox, landmark_crop
from fnbench.errors import FnbenchError, InvalidDataError, InvalidSettingError, OutputError
from fnbench.estimator import NormalEstimator, model_input, predict, provenance
from fnbench.files import check_writable
from fnbench.frames import CANONICAL, frame_preset
from fnbench.images import read_photograph
from fnbench.predict.faces import detector_named, face_crops, whole
from fnbench.predict.files import (
    Form,
    Photo,
    complete,
    photographs,
    sha256_of,
    write_about,
    write_mask,
    write_normals,
    write_picture,
)
from fnbench.predict.landmarks import points_file, read_points
from fnbench.predict.paste import check_border, pasted
from fnbench.predict.relight import LIGHTS, relit, side_by_side
from fnbench.render.progress import Progress, clock
from fnbench.render.resample import resampled_image

FACES = ("largest", "all")
_LISTED = 5
"""Photographs with several faces that the report names."""
_AHEAD = 4
"""Photographs that are read before they are needed, and results that wait to be written."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What is done with each photograph.

    detector, faces: which faces, see ``predict.faces`` and FACES.
    boxes: squares of the one photograph, instead of looking for faces.  landmarks: file or folder, likewise.
    size: side in pixels of the squares that the model sees.  border: see ``predict.paste``.
    form: how normals are written.  pictures: write ``look`` and ``relit`` too.  batch: squares per call of the model.
    resume: skip photographs whose results an earlier run of the same settings left.
    """

    detector: str = "cascade"
    faces: str = "largest"
    boxes: tuple[CropBox, ...] = ()
    landmarks: Path | None = None
    size: int = 256
    border: str = "soft"
    form: Form = field(default_factory=Form)
    pictures: bool = True
    batch: int = 8
    resume: bool = True

    def __post_init__(self) -> None:
        if self.faces not in FACES:
            raise InvalidSettingError(f"faces {self.faces!r}, expected {' or '.join(FACES)}.")
        if self.boxes and self.landmarks is not None:
            raise InvalidSettingError("A box and landmarks both say where the face is; give one of them.")
        if not 32 <= self.size <= 4096:
            raise InvalidSettingError(f"size is {self.size}, expected 32 to 4096 pixels.")
        if self.batch < 1:
            raise InvalidSettingError(f"batch is {self.batch}, expected at least 1.")
        check_border(self.border)
        if not self.boxes and self.landmarks is None:
            detector_named(self.detector)


@dataclass(frozen=True, slots=True)
class PredictReport:
    """What a run did. failed: photograph -> message.  faces: predicted in this run.

    several: photograph -> how many faces were found where only the largest was taken.
    """

    out: Path
    written: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    several: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    faces: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """True when nothing failed and nothing was left undone."""
        return not self.failed and not self.interrupted

    def lines(self) -> list[str]:
        """The report for a terminal; the last line says written, skipped, failed."""
        failed = [f"failed: {name}: {message.removeprefix(f'{name}: ')}" for name, message in self.failed.items()]
        counts = f"{len(self.written)} written, {len(self.skipped)} skipped, {len(self.failed)} failed"
        left = f", {self.pending} left" if self.interrupted else ""
        state = "interrupted; " if self.interrupted else ""
        faces = f"{self.faces} face{'s' if self.faces != 1 else ''}"
        others = [f"{name}: {count} faces, of which the largest was taken" for name, count in self.several.items()]
        if len(others) > _LISTED:
            others[_LISTED:] = [f"{len(others) - _LISTED} more photographs with several faces"]
        if others:
            others[-1] += "; --faces all takes every one."
        return [*failed, *others, f"{self.out}: {state}photographs: {counts}{left}; {faces}; {clock(self.seconds)}"]


def predict_photographs(
    model: NormalEstimator,
    given: Sequence[Path],
    out: Path,
    choices: Choices | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PredictReport:
    """Predict the normals of faces in photographs and write them, see ``predict.files``.

    given: photographs, or folders of them.  out: folder for the results.
    Raises DatasetNotFoundError and InvalidSettingError before anything is read, OutputError when a result cannot be
    written. An interrupt ends the run in order: what is finished stays.
    """
    choices = choices or Choices()
    photos = photographs(given, out)
    _check_given(choices, photos)
    check_writable(out / "about" / "x.json")
    return _Run(model, photos, out, choices, progress).report()


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A photograph, the squares of its faces among how many that were found, and these as the model sees them."""

    photo: Photo
    image: NDArray[np.uint8]
    boxes: tuple[CropBox, ...]
    found: int
    crops: tuple[NDArray[np.uint8], ...]
    stated: Mapping[str, Any]


class _Run:
    """One run: its state is what has been written, skipped and failed so far."""

    def __init__(
        self,
        model: NormalEstimator,
        photos: Sequence[Photo],
        out: Path,
        choices: Choices,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._model, self._photos, self._out, self._choices = model, photos, out, choices
        self._show = progress or (lambda _: None)
        self._started = time.perf_counter()
        self._settings = _settings(choices, model)
        self._written: list[str] = []
        self._skipped: list[str] = []
        self._failed: dict[str, str] = {}
        self._several: dict[str, int] = {}
        self._faces = 0
        self._writing: deque[tuple[Photo, int, Future[None]]] = deque()

    def report(self) -> PredictReport:
        """Do it all."""
        interrupted = False
        reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
        try:
            self._follow(reader, writer)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            writer.shutdown(wait=True, cancel_futures=interrupted)
        while self._writing:  # what was being written when the interrupt came is finished too
            photo, faces, future = self._writing.popleft()
            if not future.cancelled() and future.exception() is None:
                self._written.append(photo.name)
                self._faces += faces
        done = len(self._written) + len(self._skipped) + len(self._failed)
        return PredictReport(
            self._out,
            tuple(self._written),
            tuple(self._skipped),
            self._failed,
            self._several,
            len(self._photos) - done,
            self._faces,
            time.perf_counter() - self._started,
            interrupted,
        )

    def _follow(self, reader: ThreadPoolExecutor, writer: ThreadPoolExecutor) -> None:
        waiting: list[_Read] = []  # their squares are not predicted yet
        for read in self._read_ahead(reader):
            waiting.append(read)
            if sum(len(one.crops) for one in waiting) >= self._choices.batch:
                self._predict(waiting, writer)
                waiting = []
        if waiting:
            self._predict(waiting, writer)
        while self._writing:
            self._settle()

    def _read_ahead(self, reader: ThreadPoolExecutor) -> Iterator[_Read]:
        """Photographs in order, read by another thread; those that are done or fail are only counted."""
        photos = iter(self._photos)
        ahead = deque((photo, reader.submit(self._read, photo)) for photo in islice(photos, _AHEAD))
        while ahead:
            photo, future = ahead.popleft()
            try:
                read = future.result()
            except OutputError:
                raise
            except FnbenchError as error:
                self._failed[str(photo.path)] = str(error)
                self._report()
            else:
                if read is None:
                    self._skipped.append(photo.name)
                    self._report()
                else:
                    yield read
            ahead.extend((photo, reader.submit(self._read, photo)) for photo in islice(photos, 1))

    def _read(self, photo: Photo) -> _Read | None:
        stated = {"photograph_sha256": sha256_of(photo.path), **self._settings}
        if self._choices.resume and complete(photo.file(self._out, "about", ".json"), stated):
            return None
        image = read_photograph(photo.path)
        found = face_boxes(photo.path, image, self._choices, alone=len(self._photos) == 1)
        boxes = tuple(found if self._choices.faces == "all" or self._choices.boxes else found[:1])
        crops = tuple(resampled_image(image, box, self._choices.size) for box in boxes)
        return _Read(photo, image, boxes, len(found), crops, stated)

    def _predict(self, reads: Sequence[_Read], writer: ThreadPoolExecutor) -> None:
        crops = [crop for read in reads for crop in read.crops]
        batch = self._choices.batch
        maps: list[NDArray[np.float32]] = []
        for start in range(0, len(crops), batch):
            maps.extend(predict(self._model, model_input(np.stack(crops[start : start + batch]))))
        for read in reads:
            own, maps = maps[: len(read.crops)], maps[len(read.crops) :]
            if read.found > len(own):
                self._several[str(read.photo.path)] = read.found
            future = writer.submit(write_results, read, own, self._out, self._choices)
            self._writing.append((read.photo, len(own), future))
            while len(self._writing) > _AHEAD:
                self._settle()

    def _settle(self) -> None:
        """Wait for the oldest result to be written."""
        photo, faces, future = self._writing[0]
        future.result()
        self._writing.popleft()
        self._written.append(photo.name)
        self._faces += faces
        self._report()

    def _report(self) -> None:
        counts = len(self._written), len(self._skipped), len(self._failed)
        self._show(Progress(len(self._photos), *counts, time.perf_counter() - self._started, "photographs"))


def face_boxes(path: Path, image: NDArray[np.uint8], choices: Choices, *, alone: bool) -> list[CropBox]:
    """The squares of all faces of a photograph, whole pixels inside it, largest first; InvalidDataError when none."""
    height, width = image.shape[:2]
    if choices.boxes:
        for box in choices.boxes:
            if box.x >= width or box.y >= height or box.x + box.side <= 0 or box.y + box.side <= 0:
                raise InvalidDataError(
                    f"{path}: the box {box.x:g},{box.y:g},{box.side:g} lies outside the picture of {width}x{height}."
                )
        return [whole(box, image) for box in choices.boxes]
    if choices.landmarks is not None:
        points = read_points(points_file(choices.landmarks, path, alone=alone))
        found = sorted((landmark_crop(one) for one in points), key=lambda box: -box.side)
        boxes = [whole(box, image) for box in found]
    else:
        boxes = face_crops(image, choices.detector)
    if not boxes:
        raise InvalidDataError(
            f"{path}: no face found by the {choices.detector} detector. Say where it is with --box x,y,side or "
            f"--landmarks FILE{', or try --detector dlib' if choices.detector == 'cascade' else ''}."
        )
    return boxes


def write_results(read: _Read, maps: Sequence[NDArray[np.float32]], out: Path, choices: Choices) -> None:
    """Write everything about one photograph, ``about`` last."""
    photo, shape = read.photo, read.image.shape[:2]
    normals, mask = pasted(maps, read.boxes, (shape[0], shape[1]), choices.border)
    files = [photo.file(out, "normals", choices.form.suffix), photo.file(out, "mask", ".png")]
    write_normals(files[0], normals, mask, choices.form)
    write_mask(files[1], mask)
    if choices.pictures:
        files += [photo.file(out, "look", ".jpg"), photo.file(out, "relit", ".jpg")]
        write_picture(files[2], side_by_side(read.image, normals, mask, read.boxes))
        write_picture(files[3], relit(read.image, normals, mask, next(iter(LIGHTS.values()))))
    about = {
        "photograph": photo.path.name,
        **read.stated,
        "width": shape[1],
        "height": shape[0],
        "faces": [{"x": box.x, "y": box.y, "side": box.side} for box in read.boxes],
        "files": [file.relative_to(out).as_posix() for file in files],
    }
    write_about(photo.file(out, "about", ".json"), about)


def _check_given(choices: Choices, photos: Sequence[Photo]) -> None:
    if choices.boxes and len(photos) > 1:
        raise InvalidSettingError(
            f"--box says where the face of one photograph is, but there are {len(photos)}; run them one by one, or "
            "give a folder of landmarks with --landmarks."
        )
    if choices.landmarks is not None:
        if not choices.landmarks.exists():
            raise InvalidSettingError(f"--landmarks {choices.landmarks}: no such file or folder.")
        points_file(choices.landmarks, photos[0].path, alone=len(photos) == 1) if choices.landmarks.is_file() else None


def _settings(choices: Choices, model: NormalEstimator) -> dict[str, Any]:
    """What decides the result, as plain values."""
    form = choices.form
    where = {
        "detector": choices.detector,
        "faces": choices.faces,
        "boxes": [asdict(box) for box in choices.boxes],
        "landmarks": None if choices.landmarks is None else str(choices.landmarks),
    }
    stated = provenance(model)
    return {
        "fnbench": __version__,
        "model": {key: stated[key] for key in ("name", "weights_sha256", "untrained", "licence", "training_data")},
        "format": form.format,
        "frame": CANONICAL if form.frame == "canonical" else f"{form.frame}: {frame_preset(form.frame).note}",
        "encoding": form.coding,
        "size": choices.size,
        "border": choices.border,
        "pictures": choices.pictures,
        "found": where,
    }
