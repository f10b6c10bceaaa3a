"""One capture becomes samples: rendered from its scan, paired with its photographs, or cut from measured normals.

The mask, in words (also written into every file)
-------------------------------------------------
A pixel counts when the surface there is visible, its triangle and its normal face the camera (along the
ray of the pixel, not along z), and it belongs to the face: by the region labels that the scan brings along, or, for a
scan without labels, within ``radius`` millimetres of the tip of the nose. A photograph's own mask narrows it further.
Measured normals count where they were measured.

The regions
-----------
A scan that brings no labels gets those of the built-in head, by its topology or by its landmarks (``render.marks``).
They tell regions apart and do not bound the mask; how they were found, and their residual, stand in every sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.errors import InvalidDataError
from fnbench.render.backends import Renderer
from fnbench.render.counted import counted
from fnbench.render.marks import landmarks_of, regions_of, template_of
from fnbench.render.measured import measured_samples
from fnbench.render.origin import Origin, photo_about, sample_id
from fnbench.render.plan import Plan
from fnbench.render.resample import resampled_image, resampled_mask
from fnbench.render.shade import SurfaceMaps, surface_maps
from fnbench.render.views import (
    FaceFrame,
    face_frame,
    landmark_visibility,
    photo_crop,
    projected,
    view_camera,
    view_name,
    whereabouts,
)
from fnbench.scans.landmarks import eye_distance, head_pose
from fnbench.scans.normals import vertex_normals
from fnbench.types import Capture, Photograph, Sample, Scan

NOSE_TIP = 30
EYES_MM = (60.0, 130.0)
"""Distance of the outer eye corners of children and adults, with some room."""
_INVERTED = 0.5
"""Share of back faces among the visible pixels of the face above which the winding must be wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """A scan with all that its views share."""

    capture: Capture
    scan: Scan
    normals: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    frame: FaceFrame
    inside: NDArray[np.float32]
    attributes: dict[str, Any]


def samples_of(capture: Capture, plan: Plan, renderer: Renderer, origin: Origin) -> Iterator[Sample]:
    """The samples of one capture, one at a time.

    Raises InvalidDataError when the capture has no ground truth, no face, an inverted winding, or a view
    in which nothing of it is visible.
    """
    if capture.scan is not None:
        face = _face(capture, capture.scan, plan)
        yield from (_rendered if plan.images == "render" else _photographed)(face, plan, renderer, origin)
    elif capture.measured is not None:
        yield from measured_samples(capture, capture.measured, plan, origin)
    else:
        raise InvalidDataError(
            f"{capture.id}: photographs alone, neither a scan nor measured normals; there is no ground truth to "
            f"render. Such a dataset serves as input for predictions only."
        )


def _face(capture: Capture, scan: Scan, plan: Plan) -> _Face:
    template = template_of(capture, scan)
    landmarks, attributes = landmarks_of(capture, scan, template)
    _check_size(landmarks, capture.id)
    inside = _near_nose(capture, scan, landmarks, plan.radius) if scan.labels is None else _labelled(scan.labels)
    labels, about_regions = regions_of(scan, landmarks, template)
    scan = replace(scan, labels=labels)
    attributes = {**attributes, **about_regions, **template.attributes}
    normals = vertex_normals(scan.vertices, scan.faces)
    frame = face_frame(landmarks, capture.id)
    turned = zip(("scan_yaw", "scan_pitch", "scan_roll"), head_pose(frame.rotation), strict=True)
    attributes |= {name: round(degrees, 1) for name, degrees in turned}
    return _Face(capture, scan, normals, landmarks, frame, inside, attributes)


def _check_size(landmarks: NDArray[np.float64], name: str) -> None:
    """Refuse a face whose eyes say that it is not in millimetres."""
    eyes = eye_distance(landmarks)
    if eyes < EYES_MM[0] or eyes > EYES_MM[1]:  # NaN, unknown corners, passes
        factor = next((f for f in (1000, 10, 0.1, 0.001) if EYES_MM[0] <= eyes * f <= EYES_MM[1]), None)
        hint = (
            "another unit, another order, or points of another scan?" if factor is None else f"a factor of {factor:g}?"
        )
        raise InvalidDataError(
            f"{name}: the outer eye corners are {eyes:.3g} mm apart, expected {EYES_MM[0]:g} to {EYES_MM[1]:g}; {hint}",
            code="FM-29",
        )


def _near_nose(capture: Capture, scan: Scan, landmarks: NDArray[np.float64], radius: float) -> NDArray[np.float32]:
    """Millimetres to the border of the sphere, positive inside."""
    tip = landmarks[NOSE_TIP]
    if not np.isfinite(tip).all():
        raise InvalidDataError(
            f"{capture.id}: the tip of the nose (landmark {NOSE_TIP}) is not known, and the scan has no region "
            f"labels; the face cannot be told from the rest."
        )
    return np.asarray(radius - np.linalg.norm(scan.vertices - tip, axis=1), np.float32)


def _labelled(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.where(labels > 0, np.float32(1), np.float32(-1))


def _rendered(face: _Face, plan: Plan, renderer: Renderer, origin: Origin) -> Iterator[Sample]:
    from fnbench.render.appearance import picture, settings_from  # photographs need none of it

    for view in plan.views:
        name = sample_id(face.capture, view_name(*view))
        (yaw, pitch), distance = _scattered(view, plan, _generator(plan.seed, f"{name} camera"))
        camera = view_camera(face.frame, face.landmarks, (yaw, pitch), distance, plan.crop, plan.size)
        visibility = renderer.visibility(face.scan, camera)
        maps = surface_maps(face.scan, face.normals, camera, visibility)
        drawn = picture(
            face.scan,
            maps,
            camera,
            _generator(plan.seed, name),
            visibility=visibility,
            landmarks=face.landmarks if np.isfinite(face.landmarks).all() else None,  # skin is painted around them
            person=_generator(plan.seed, face.capture.subject),
            settings=settings_from(plan.appearance),
            backend=renderer,
        )
        about = {"source": "render", "yaw": yaw, "pitch": pitch, "roll": 0.0, **drawn.attributes}
        yield _sample(face, name, drawn.image, camera, visibility.faces, maps, None, about, plan, origin)


def _scattered(view: tuple[float, float], plan: Plan, rng: np.random.Generator) -> tuple[tuple[float, float], float]:
    """Yaw and pitch in degrees and the distance in millimetres of a view, with the plan's random turn."""
    turn = np.round(rng.uniform(-1, 1, 2) * plan.scatter, 3)
    pitch = float(np.clip(view[1] + turn[1], -85, 85))
    return (float(view[0] + turn[0]), pitch), plan.distance * plan.distance_scatter ** float(rng.uniform(-1, 1))


def _photographed(face: _Face, plan: Plan, renderer: Renderer, origin: Origin) -> Iterator[Sample]:
    photographs = face.capture.photographs() if face.capture.photographs is not None else ()
    usable = [(photograph, photograph.camera) for photograph in photographs if photograph.camera is not None]
    if not usable:
        problems = [str(photograph.attributes.get("camera_problem", "")) for photograph in photographs]
        reason = next((f" ({problem})" for problem in problems if problem), "")
        raise InvalidDataError(
            f"{face.capture.id}: {len(photographs)} photographs, none with a known camera{reason}; expected at least "
            f"one for images = photo. Render the scan instead: --images render."
        )
    for photograph, camera in usable:
        yield _of_photograph(face, photograph, camera, plan, renderer, origin)


def _of_photograph(
    face: _Face, photograph: Photograph, whole: Camera, plan: Plan, renderer: Renderer, origin: Origin
) -> Sample:
    box, moved = photo_crop(photograph, whole.project(face.landmarks)[0], plan.crop)
    camera = whole.crop(box, plan.size)
    visibility = renderer.visibility(face.scan, camera)
    maps = surface_maps(face.scan, face.normals, camera, visibility)
    own = None if photograph.mask is None else resampled_mask(photograph.mask, box, plan.size)
    yaw, pitch, roll = (round(angle, 3) for angle in face.frame.angles(camera))
    about = {"source": "photograph", "yaw": yaw, "pitch": pitch, "roll": roll, **photo_about(photograph, box, moved)}
    name = sample_id(face.capture, photograph.name)
    image = resampled_image(photograph.image, box, plan.size)
    return _sample(face, name, image, camera, visibility.faces, maps, own, about, plan, origin)


def _sample(
    face: _Face,
    name: str,
    image: NDArray[np.uint8],
    camera: Camera,
    seen: NDArray[np.int32],
    maps: SurfaceMaps,
    own: NDArray[np.bool_] | None,
    about: dict[str, Any],
    plan: Plan,
    origin: Origin,
) -> Sample:
    found = counted(face.scan, face.inside, camera, seen, maps, own)
    _check_mask(face, name, camera, found.target.mask, found.back)
    attributes = {
        **face.capture.attributes,
        **face.attributes,
        **about,
        "back_facing": round(found.share_of_backs, 6),
        "landmarks_visible": landmark_visibility(camera, face.landmarks, maps.depth),
    }
    return Sample(
        id=name,
        capture=face.capture.id,
        subject=face.capture.subject,
        split=origin.splits.of(origin.dataset, face.capture.subject),
        image=image,
        target=found.target,
        region=found.region,
        camera=camera,
        landmarks=projected(camera, face.landmarks),
        depth=maps.depth if plan.depth else None,
        attributes=attributes,
    )


def _check_mask(face: _Face, name: str, camera: Camera, mask: NDArray[np.bool_], back: int) -> None:
    visible = int(mask.sum()) + back
    if back > _INVERTED * visible:
        raise InvalidDataError(
            f"{name}: {back} of {visible} visible pixels of the face show the back of their triangle; the winding of "
            f"the mesh is inverted, or the camera is inside it. Reverse the faces.",
            code="FM-28",
        )
    if not mask.any():
        raise InvalidDataError(
            f"{name}: nothing of the face is visible ({whereabouts(camera, face.scan.vertices)}); expected a face "
            f"before the camera. Check the landmarks and the unit.",
            code="FM-30",
        )


def _generator(seed: int, name: str) -> np.random.Generator:
    """Chance for a sample or a person: from the plan's seed and the id alone, whatever the order of work."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], "<u4").tolist()])
