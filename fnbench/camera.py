"""Pinhole and orthographic cameras, and square crops: the one place with matrices.

Conventions
-----------
World points are millimetres. ``world_to_camera`` leads into the canonical camera frame: x to the image
right, y up, z towards the viewer, so the camera looks along -z and a rotated normal is already canonical.
Pixels: x to the right, y down, the centre of pixel (row r, column c) at (c + 0.5, r + 0.5).

    perspective    x = fx X / (-Z) + s Y / Z + cx      y = -fy Y / (-Z) + cy     depth = -Z
    orthographic   x = fx X - s Y + cx                 y = -fy Y + cy            depth = -Z

with K = [[fx, s, cx], [0, fy, cy], [0, 0, 1]] as OpenCV writes it (fx, fy in pixels, or in pixels per
millimetre when orthographic). ``from_opencv`` and ``opencv`` convert the extrinsics.

As JSON, wherever fnbench reads a camera from a file::

    K                [[fx, s, cx], [0, fy, cy], [0, 0, 1]]
    world_to_camera  3 or 4 rows of 4 numbers: [R | t]
    axes             of the camera frame: "opencv" (x right, y down, z forward; the default) or "canonical"
    width, height    of the picture in pixels (optional)
    distortion       up to five of k1, k2, p1, p2, k3 as OpenCV orders them (optional)
    orthographic     true for parallel rays (optional)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera without lens distortion.

    K: (3, 3) float64 intrinsics in pixels.
    world_to_camera: (4, 4) float64 rigid (or similarity) transform into the canonical camera frame.
    width, height: image size in pixels.
    orthographic: parallel rays along -z; fx, fy are pixels per millimetre.
    """

    K: NDArray[np.float64]
    world_to_camera: NDArray[np.float64]
    width: int
    height: int
    orthographic: bool = False

    def __post_init__(self) -> None:
        if self.K.shape != (3, 3) or self.world_to_camera.shape != (4, 4):
            raise ValueError(
                f"expected K (3, 3) and world_to_camera (4, 4), got {self.K.shape}, {self.world_to_camera.shape}"
            )
        if not (np.isfinite(self.K).all() and np.isfinite(self.world_to_camera).all()):
            raise ValueError("camera matrices hold NaN or infinite values")
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or self.width <= 0 or self.height <= 0:
            raise ValueError("focal lengths and image sides must be positive")
        if np.linalg.det(self.world_to_camera[:3, :3]) <= 0:
            raise ValueError("world_to_camera mirrors the scene (determinant <= 0)")

    @classmethod
    def from_opencv(
        cls, K: NDArray[np.float64], world_to_camera: NDArray[np.float64], width: int, height: int
    ) -> Camera:
        """A camera from OpenCV extrinsics (x right, y down, z forward); (3, 4) or (4, 4)."""
        full = np.eye(4)
        full[: world_to_camera.shape[0]] = world_to_camera
        return cls(np.asarray(K, np.float64), _FLIP @ full, width, height)

    @cached_property
    def opencv(self) -> NDArray[np.float64]:
        """(4, 4) world to the OpenCV camera frame: x right, y down, z forward."""
        return _FLIP @ self.world_to_camera

    @cached_property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3) rotation that turns world normals into canonical normals (scale removed)."""
        linear = self.world_to_camera[:3, :3]
        rotation: NDArray[np.float64] = linear / np.cbrt(np.linalg.det(linear))
        return rotation

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """(3,) camera position in the world (perspective), in millimetres."""
        linear, shift = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return np.asarray(-np.linalg.solve(linear, shift), np.float64)

    def to_camera(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 3) world points in the canonical camera frame."""
        return np.asarray(points, np.float64) @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]

    def project(self, points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel positions and depths of world points.

        points: (N, 3) in millimetres.
        Returns (N, 2) pixel x, y and (N,) depth in millimetres, positive before the camera. Points at or
        behind a perspective camera get NaN pixels.
        """
        x, y, z = self.to_camera(points).T
        depth = -z
        if self.orthographic:
            scale = np.ones_like(depth)
        else:
            with np.errstate(divide="ignore"):
                scale = np.where(depth > 0, 1.0 / depth, np.nan)
        u, v = x * scale, -y * scale
        return np.stack(
            [self.K[0, 0] * u + self.K[0, 1] * v + self.K[0, 2], self.K[1, 1] * v + self.K[1, 2]], -1
        ), depth

    def crop(self, box: CropBox, size: int) -> Camera:
        """The camera of a square crop resampled to ``size`` x ``size`` pixels."""
        factor = size / box.side
        resample = np.array([[factor, 0, -box.x * factor], [0, factor, -box.y * factor], [0, 0, 1.0]])
        return Camera(resample @ self.K, self.world_to_camera, size, size, self.orthographic)

    def view_directions(self, mask: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Unit vectors from the surface towards the camera, canonical frame, per pixel centre.

        mask: (H, W), only these pixels.
        Returns (H, W, 3), or (K, 3) in row order of the mask.
        """
        grid = np.indices((self.height, self.width)) if mask is None else np.array(np.nonzero(mask))
        rows, columns = grid + 0.5
        if self.orthographic:
            return np.broadcast_to([0.0, 0.0, 1.0], (*rows.shape, 3)).copy()
        v = (rows - self.K[1, 2]) / self.K[1, 1]
        u = (columns - self.K[0, 2] - self.K[0, 1] * v) / self.K[0, 0]
        towards = np.stack([-u, v, np.ones_like(u)], -1)
        towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
        return towards


@dataclass(frozen=True, slots=True, eq=False)
class StatedCamera:
    """A camera as a JSON file states it, with the axes turned to ours; see the module docstring.

    size: (width, height), or None when the file does not say.  distortion: (5,) k1, k2, p1, p2, k3.
    """

    K: NDArray[np.float64]
    world_to_camera: NDArray[np.float64]
    size: tuple[int, int] | None
    distortion: NDArray[np.float64]
    orthographic: bool

    def camera(self, width: int, height: int) -> Camera:
        """The pinhole camera of a picture of this size."""
        return Camera(self.K, self.world_to_camera, width, height, self.orthographic)


def camera_from_json(text: str, name: str) -> StatedCamera:
    """Read a camera; name: of the file, for the message of the InvalidDataError."""
    try:
        data = json.loads(text)
        K, extrinsics = (np.array(data[key], np.float64) for key in ("K", "world_to_camera"))
        distortion = np.ravel(np.array(data.get("distortion", []), np.float64))
        size = (int(data["width"]), int(data["height"])) if "width" in data else None
        axes, orthographic = data.get("axes", "opencv"), bool(data.get("orthographic", False))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidDataError(f"{name}: no camera ({error}); expected JSON with K and world_to_camera.") from error
    if K.shape != (3, 3) or extrinsics.shape not in ((3, 4), (4, 4)) or distortion.size > 5:
        raise InvalidDataError(
            f"{name}: K {K.shape}, world_to_camera {extrinsics.shape}, distortion {distortion.size} numbers; expected "
            "(3, 3), (3, 4) or (4, 4), and at most 5."
        )
    if axes not in ("opencv", "canonical"):
        raise InvalidDataError(f"{name}: axes {axes!r}, expected opencv or canonical.")
    full = np.eye(4)
    full[: extrinsics.shape[0]] = extrinsics
    full = _FLIP @ full if axes == "opencv" else full
    try:
        Camera(K, full, *(size or (1, 1)))
    except ValueError as error:
        raise InvalidDataError(f"{name}: {error}; expected the camera of a photograph.") from error
    return StatedCamera(K, full, size, np.concatenate([distortion, np.zeros(5)])[:5], orthographic)


@dataclass(frozen=True, slots=True)
class CropBox:
    """A square in pixel coordinates: left x, top y, side (may be fractional or leave the image)."""

    x: float
    y: float
    side: float

    def __post_init__(self) -> None:
        if not self.side > 0:
            raise ValueError(f"a crop needs a positive side, got {self.side}")

    def inside(self, width: int, height: int) -> CropBox:
        """The same square inside a picture, by the rule of the released cross-modal crop.

        Its side is at most the shorter side of the picture, and it is shifted inwards, never padded.

        >>> CropBox(-10.0, 5.0, 50.0).inside(100, 40)
        CropBox(x=0.0, y=0.0, side=40)
        """
        side = min(self.side, height, width)
        x, y = self.x + (self.side - side) / 2, self.y + (self.side - side) / 2
        return CropBox(float(np.clip(x, 0, width - side)), float(np.clip(y, 0, height - side)), side)


def landmark_crop(landmarks: NDArray[np.floating], factor: float = 1.2) -> CropBox:
    """The square around landmarks that the field evaluates in.

    landmarks: (N, 2) pixel x, y; rows with NaN are ignored.
    factor: side relative to the longer side of the landmark box (1.2: Abrevaya et al. 2020, released crop).

    >>> landmark_crop(np.array([[10.0, 0.0], [110.0, 50.0]]))
    CropBox(x=0.0, y=-35.0, side=120.0)
    """
    low, high = np.nanmin(landmarks, axis=0), np.nanmax(landmarks, axis=0)
    side = float(factor * (high - low).max())
    x, y = (low + high) / 2 - side / 2
    return CropBox(float(x), float(y), side)


def look_at(
    target: NDArray[np.floating],
    distance: float,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    frame: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """World to camera for a camera that looks at ``target`` from ``distance``.

    target: (3,) world point in millimetres.
    yaw, pitch: position of the camera around the face in degrees; at yaw 0, pitch 0 it looks into the
        face. Positive yaw moves it to the image right of the frontal view, positive pitch above it.
    frame: (3, 3) rotation whose rows are the face's right (image right), up and out directions in the
        world; identity when the world is already so.
    Returns (4, 4) into the canonical camera frame.
    """
    a, b = np.radians(yaw), np.radians(pitch)
    out = np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    rotation = np.stack([right, np.cross(out, right), out]) @ (np.eye(3) if frame is None else np.asarray(frame))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = np.array([0.0, 0.0, -distance]) - rotation @ np.asarray(target, np.float64)
    return matrix
