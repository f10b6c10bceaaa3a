"""Where the cameras stand: the face's own frame, a camera per view, and the crop.

Face frame
----------
x to the image right of the frontal view, y up, z out of the face; origin in the middle of the known landmarks from
brows to mouth (17-67). The rotation is the one that best lays the rigid upper face (brows, nose, eyes: 17-47) on
the built-in head's, so yaw and pitch mean the same on every scan, whatever its axes and its expression.

Landmarks of samples
--------------------
A landmark is the projection of its 3D point: also where the face hides it, as with all 3D landmarks. NaN means
that nobody knows it. The attribute ``landmarks_visible`` says per point whether the surface at that
pixel is the one it lies on (within 10 mm).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera, CropBox, landmark_crop, look_at
from fnbench.errors import InvalidDataError
from fnbench.types import Photograph

_RIGID = slice(17, 48)
_INNER = slice(17, 68)
_VISIBLE_WITHIN = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """A face in the world of its scan.

    rotation: (3, 3), rows right, up, out.  centre: (3,) mm.
    """

    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]

    def angles(self, camera: Camera) -> tuple[float, float, float]:
        """Yaw, pitch and roll of a camera around this face in degrees; see ``camera.look_at``."""
        towards = camera.rotation[2] if camera.orthographic else camera.centre - self.centre
        out = self.rotation @ towards / np.linalg.norm(towards)
        yaw, pitch = np.arctan2(out[0], out[2]), np.arcsin(np.clip(out[1], -1, 1))
        level = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])  # the right of a camera here that does not roll
        right = self.rotation @ camera.rotation[0]
        roll = np.arctan2(right @ np.cross(out, level), right @ level)
        return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


@lru_cache(maxsize=1)
def template_landmarks() -> NDArray[np.float64]:
    """(68, 3) landmarks of the built-in mean head, millimetres, x right, y up, z out."""
    from fnbench.scans import head

    return head.landmarks(head.Shape())


def face_frame(landmarks: NDArray[np.floating], name: str) -> FaceFrame:
    """The frame of a face from its 3D landmarks.

    landmarks: (68, 3) in the frame of the scan, NaN where unknown; at least four of 17-47.
    name: for the message.
    """
    points, template = np.asarray(landmarks[_RIGID], np.float64), template_landmarks()[_RIGID]
    known = np.isfinite(points).all(1)
    if known.sum() < 4:
        raise InvalidDataError(
            f"{name}: {int(known.sum())} landmarks of brows, nose and eyes are known, expected at least 4 of 31; "
            f"the face cannot be oriented."
        )
    a, b = points[known] - points[known].mean(0), template[known] - template[known].mean(0)
    u, size, vt = np.linalg.svd(b.T @ a)
    if size[1] < 1e-6 * size[0]:
        raise InvalidDataError(f"{name}: the known landmarks lie on one line; the face cannot be oriented.")
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return FaceFrame(rotation, np.nanmean(np.asarray(landmarks[_INNER], np.float64), axis=0))


def view_camera(
    frame: FaceFrame,
    landmarks: NDArray[np.floating],
    view: tuple[float, float],
    distance: float,
    crop: float,
    size: int,
) -> Camera:
    """The perspective crop camera of one view.

    The camera looks at the middle of the face from ``distance`` mm; the crop is ``crop`` times the box of
    the projected landmarks, so the focal length chosen before cropping does not matter.
    """
    focal = 1000.0
    K = np.array([[focal, 0, focal / 2], [0, focal, focal / 2], [0, 0, 1]])
    extrinsics = look_at(frame.centre, distance, yaw=view[0], pitch=view[1], frame=frame.rotation)
    camera = Camera(K, extrinsics, int(focal), int(focal))
    return camera.crop(landmark_crop(camera.project(landmarks)[0], crop), size)


def photo_crop(photograph: Photograph, points: NDArray[np.floating], crop: float) -> tuple[CropBox, bool]:
    """The crop of a photograph, and whether it had to be moved or reduced to stay inside.

    points: (N, 2) pixel positions of the landmarks. The rule is that of ``CropBox.inside``.
    """
    wanted = landmark_crop(points, crop)
    height, width = photograph.image.shape[:2]
    box = wanted.inside(width, height)
    return box, box != wanted


def projected(camera: Camera, landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """(68, 2) float32 pixel x, y of 3D landmarks; NaN where unknown or behind the camera."""
    return camera.project(landmarks)[0].astype(np.float32)


def landmark_visibility(camera: Camera, landmarks: NDArray[np.floating], depth: NDArray[np.floating]) -> str:
    """One character per landmark: 1 when the surface at its pixel lies within 10 mm of it, else 0.

    depth: (H, W) millimetres, NaN where there is no surface.
    """
    pixels, distance = camera.project(landmarks)
    known: NDArray[np.bool_] = np.isfinite(pixels[:, 0] + pixels[:, 1])
    column, row = np.floor(np.where(known[:, None], pixels, -1)).astype(int).T
    known &= (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    surface = depth[np.where(known, row, 0), np.where(known, column, 0)]
    seen = known & (np.abs(surface - distance) < _VISIBLE_WITHIN)  # NaN compares as not visible
    return "".join("1" if value else "0" for value in seen)


def view_name(yaw: float, pitch: float) -> str:
    """The name of a view in sample ids.

    >>> view_name(-30, 0), view_name(7.5, -15)
    ('yaw-30_pitch+0', 'yaw+7.5_pitch-15')
    """
    return f"yaw{yaw + 0.0:+g}_pitch{pitch + 0.0:+g}"


def whereabouts(camera: Camera, vertices: NDArray[np.floating]) -> str:
    """Camera position and bounding box in words, for messages about empty renders."""
    where = "at infinity" if camera.orthographic else f"at {_point(camera.centre)} mm"
    return f"camera {where}, scan from {_point(vertices.min(0))} to {_point(vertices.max(0))} mm"


def _point(values: NDArray[np.floating]) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in values) + ")"
