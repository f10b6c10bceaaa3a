"""Normals that were measured in the pixels of photographs: cut out with them, never rendered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera, CropBox
from fnbench.errors import InvalidDataError
from fnbench.render.origin import Origin, photo_about, sample_id
from fnbench.render.plan import Plan
from fnbench.render.resample import resampled_image, resampled_mask, resampled_normals
from fnbench.render.views import photo_crop
from fnbench.types import Capture, NormalMap, Photograph, Sample


def measured_samples(capture: Capture, measured: NormalMap, plan: Plan, origin: Origin) -> Iterator[Sample]:
    """The samples of a capture whose normals were measured in the pixels of its photographs.

    Raises InvalidDataError when there is no photograph, or one of another size.
    """
    photographs = capture.photographs() if capture.photographs is not None else ()
    if not photographs:
        raise InvalidDataError(f"{capture.id}: measured normals without a photograph; expected at least one.")
    for photograph in photographs:
        yield _of_measured(capture, measured, photograph, plan, origin)


def _of_measured(capture: Capture, measured: NormalMap, photograph: Photograph, plan: Plan, origin: Origin) -> Sample:
    name = sample_id(capture, photograph.name)
    if photograph.image.shape[:2] != measured.mask.shape:
        raise InvalidDataError(
            f"{name}: photograph {photograph.image.shape[:2]}, measured normals {measured.mask.shape}; expected the "
            f"same pixels. Nothing is resized without being asked.",
            code="FM-31",
        )
    points, rule = _crop_points(measured, photograph, name)
    box, moved = photo_crop(photograph, points, plan.crop if rule == "landmarks" else 1.0)
    target = resampled_normals(measured, box, plan.size)
    if photograph.mask is not None:
        inside = resampled_mask(photograph.mask, box, plan.size) & target.mask
        target = NormalMap(np.where(inside[..., None], target.normals, np.float32(0)), inside)
    if not target.mask.any():
        raise InvalidDataError(f"{name}: no normal is known inside the crop; the mask would be empty.", code="FM-24")
    height, width = measured.mask.shape
    camera = photograph.camera or Camera(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), np.eye(4), width, height, True)
    return Sample(
        id=name,
        capture=capture.id,
        subject=capture.subject,
        split=origin.splits.of(origin.dataset, capture.subject),
        image=resampled_image(photograph.image, box, plan.size),
        target=target,
        region=np.zeros((plan.size, plan.size), np.uint8),
        camera=camera.crop(box, plan.size),
        landmarks=_cropped_points(photograph.landmarks, box, plan.size),
        attributes={
            **capture.attributes,
            "source": "photograph",
            "crop_rule": rule,
            **photo_about(photograph, box, moved),
        },
    )


def _crop_points(measured: NormalMap, photograph: Photograph, name: str) -> tuple[NDArray[np.floating], str]:
    if photograph.landmarks is not None and np.isfinite(photograph.landmarks).all(1).sum() >= 2:
        return photograph.landmarks, "landmarks"
    rows, columns = np.nonzero(measured.mask)
    if not len(rows):
        raise InvalidDataError(f"{name}: the mask of the measured normals is empty.", code="FM-24")
    return np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], np.float64), "box of the mask"


def _cropped_points(points: NDArray[np.float32] | None, box: CropBox, size: int) -> NDArray[np.float32]:
    if points is None:
        return np.full((68, 2), np.nan, np.float32)
    return ((points - [box.x, box.y]) * (size / box.side)).astype(np.float32)
