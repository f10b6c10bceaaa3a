"""What can be measured on one capture of a face, and what must hold for any face.

Conventions: lengths in millimetres, angles in degrees, shares and correlations in [-1, 1]. A measurement is a flat
mapping from a name to a number; a name is absent where it cannot be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera, look_at
from fnbench.errors import FnbenchError
from fnbench.types import Capture, NormalMap, Photograph, Scan

OUTER_EYES = (70.0, 115.0)
"""Plausible distance of the outer eye corners in millimetres: real scans have 89 to 95 in the median."""
FRONT_SHARE = 0.9
"""Smallest share of visible triangles whose outside faces the viewer."""
TURNED = 50.0
"""Largest median yaw, pitch or roll of faces in their scans, in degrees."""
FACING = 0.5
"""Smallest median of the mean z of measured normals."""
LEANING = {"x_right": 0.15, "y_up": 0.1}
"""Smallest median correlation of a normal's component with the position along its axis: a face is convex."""

FACES_FOUND = 0.8
"""Smallest share of searched scans without landmarks in which the face must be found."""

RESIDUALS = ("reprojection_median_px", "reprojection_p90_px", "marked_points_miss_px", "distortion_at_corner")
"""Attributes of photographs that say how well a camera was recovered; see the adapters."""

_SIDE = 128  # pixels of the picture in which front faces are counted


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that does not hold for faces, and what it would mean.

    about: "unit", "axes" or "landmarks".  text: found, expected, likely cause.
    """

    about: str
    text: str


def measure(capture: Capture, *, locate: bool = False) -> dict[str, float]:
    """All measurements of one capture, photographs included.

    locate: look for the face in a scan that comes without landmarks; takes some seconds.
    """
    found: dict[str, float] = {}
    if capture.scan is not None:
        found |= _of_scan(capture.scan)
        landmarks = capture.landmarks
        if landmarks is None and locate:
            landmarks = _located(capture.scan)
            found["face_found"] = float(landmarks is not None)
        if landmarks is not None:
            found |= _of_landmarks(landmarks, capture.id)
    if capture.measured is not None:
        found |= _of_normals(capture.measured)
    if capture.photographs is not None:
        found |= _of_photographs(capture.photographs(), capture.landmarks)
    return found


def concerns(measured: Sequence[Mapping[str, float]]) -> list[Concern]:
    """What does not hold for faces in the median over captures."""
    median = {name: float(np.median([one[name] for one in measured if name in one])) for name in _names(measured)}
    found = []
    eyes = median.get("outer_eyes_mm", OUTER_EYES[0])
    if not OUTER_EYES[0] <= eyes <= OUTER_EYES[1]:
        found.append(
            Concern(
                "unit",
                f"outer eye corners are {eyes:.3g} mm apart in the median, expected {OUTER_EYES[0]:g} to "
                f"{OUTER_EYES[1]:g}: the unit of the files is another by about {90 / eyes:.3g}",
            )
        )
    front = median.get("front_share", 1.0)
    if front < FRONT_SHARE:
        found.append(
            Concern(
                "axes",
                f"{100 * front:.0f} % of the triangles seen from the front face the viewer, expected over "
                f"{100 * FRONT_SHARE:.0f} %: wound inwards, or the faces do not look along +z",
            )
        )
    for name in ("yaw", "pitch", "roll"):
        angle = median.get(f"{name}_deg", 0.0)
        if abs(angle) > TURNED:
            found.append(
                Concern("axes", f"median {name} is {angle:.0f} degrees, expected within {TURNED:g}: axes exchanged?")
            )
    if median.get("mean_z", 1.0) < FACING:
        found.append(
            Concern(
                "axes",
                f"the mean z of measured normals is {median['mean_z']:.2f} in the median, expected over {FACING}: "
                f"channels exchanged, or normals that point inwards",
            )
        )
    for name, least in LEANING.items():
        if median.get(name, 1.0) < least:
            axis, towards = name.split("_")
            found.append(
                Concern(
                    "axes",
                    f"the {axis} of measured normals correlates {median[name]:.2f} with the position to the {towards}, "
                    f"expected over {least}: {axis} flipped or exchanged",
                )
            )
    located = [one["face_found"] for one in measured if "face_found" in one]
    if located and np.mean(located) < FACES_FOUND:
        found.append(
            Concern(
                "unit",
                f"no face was found in {len(located) - int(sum(located))} of {len(located)} scans that were searched, "
                f"expected in at most {100 * (1 - FACES_FOUND):.0f} %: another unit, other axes, or not heads",
            )
        )
    if median.get("landmarks_inside", 1.0) < 0.9:
        found.append(
            Concern(
                "landmarks",
                f"{100 * median['landmarks_inside']:.0f} % of the landmarks fall into their photographs, expected over "
                f"90 %: origin, order or camera differ",
            )
        )
    return found


def _names(measured: Sequence[Mapping[str, float]]) -> list[str]:
    return sorted({name for one in measured for name in one})


def _of_scan(scan: Scan) -> dict[str, float]:
    used = scan.vertices[np.unique(scan.faces)]
    return {
        "vertices": float(len(scan.vertices)),
        "triangles": float(len(scan.faces)),
        "extent_mm": float(np.ptp(used, axis=0).max()),
        "textured": float(scan.texture is not None),
        "front_share": _front_share(scan, used),
    }


def _located(scan: Scan) -> NDArray[np.float64] | None:
    """Landmarks of the face by the rule of ``render.locate``, or None when it refuses."""
    from fnbench.render.locate import locate

    try:
        return np.asarray(locate(scan).landmarks, np.float64)
    except FnbenchError:
        return None  # counted: how often no face is found is what the report says


def _front_share(scan: Scan, used: NDArray[np.float64]) -> float:
    """Share of the pixels of a frontal, unculled view whose triangle turns its outside to the viewer."""
    from fnbench.render.backends import renderer

    extent = float(np.ptp(used, axis=0).max())
    scale = 0.95 * _SIDE / extent
    K = np.array([[scale, 0, _SIDE / 2], [0, scale, _SIDE / 2], [0, 0, 1.0]])
    middle = (used.min(axis=0) + used.max(axis=0)) / 2
    camera = Camera(K, look_at(middle, 4 * extent), _SIDE, _SIDE, orthographic=True)
    faces = renderer("raster").visibility(scan, camera).faces
    seen = scan.vertices[scan.faces[faces[faces >= 0]]]
    if not len(seen):
        return 0.0
    z = np.cross(seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 0])[:, 2]
    return float((z > 0).mean())


def _of_landmarks(landmarks: NDArray[np.float64], name: str) -> dict[str, float]:
    from fnbench.render.views import face_frame

    found: dict[str, float] = {"landmarks_known": float(np.isfinite(landmarks).all(axis=1).mean())}
    eyes = float(np.linalg.norm(landmarks[45] - landmarks[36]))
    if np.isfinite(eyes):
        found["outer_eyes_mm"] = eyes
    try:
        right, up, out = face_frame(landmarks, name).rotation
    except FnbenchError:
        return found  # too few landmarks; their share is among the measurements
    found["yaw_deg"] = float(np.degrees(np.arctan2(out[0], out[2])))
    found["pitch_deg"] = float(np.degrees(np.arcsin(np.clip(out[1], -1, 1))))
    found["roll_deg"] = float(np.degrees(np.arctan2(right[1], up[1])))
    return found


def _of_normals(target: NormalMap) -> dict[str, float]:
    rows, columns = np.nonzero(target.mask)
    found = {"known_share": float(target.mask.mean())}
    if len(rows) < 100:
        return found
    normals = target.normals[rows, columns].astype(np.float64)
    return found | {
        "mean_z": float(normals[:, 2].mean()),
        "x_right": _correlation(columns, normals[:, 0]),
        "y_up": _correlation(-rows, normals[:, 1]),
    }


def _of_photographs(photographs: Sequence[Photograph], points: NDArray[np.float64] | None) -> dict[str, float]:
    found = {
        "photographs": float(len(photographs)),
        "width": float(np.median([one.image.shape[1] for one in photographs])),
        "height": float(np.median([one.image.shape[0] for one in photographs])),
        "with_camera": float(np.mean([one.camera is not None for one in photographs])),
    }
    for name in RESIDUALS:
        values = [float(one.attributes[name]) for one in photographs if name in one.attributes]
        if values:
            found[name] = float(np.median(values))
    inside = [share for share in (_inside(one, points) for one in photographs) if share is not None]
    masks = [float(one.mask.mean()) for one in photographs if one.mask is not None]
    if inside:
        found["landmarks_inside"] = float(np.mean(inside))
    if masks:
        found["mask_share"] = float(np.mean(masks))
    return found


def _inside(photograph: Photograph, points: NDArray[np.float64] | None) -> float | None:
    """Share of known landmarks, its own or projected, that fall into a photograph."""
    height, width = photograph.image.shape[:2]
    if photograph.landmarks is not None:
        pixels = np.asarray(photograph.landmarks, np.float64)
    elif photograph.camera is not None and points is not None:
        pixels = photograph.camera.project(points)[0]
    else:
        return None
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(pixels):
        return None
    return float(((pixels >= 0) & (pixels <= [width, height])).all(axis=1).mean())


def _correlation(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / size if size > 0 else 0.0
