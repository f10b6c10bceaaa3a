"""Which pixels of a rendered view count, and what they show.

A pixel counts when its surface belongs to the face, and triangle and normal face the camera. The normal is compared
with the ray of its own pixel: under perspective a surface with z > 0 may still face away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.compiled import AVAILABLE, compiled
from fnbench.render.shade import SurfaceMaps
from fnbench.types import NormalMap, Scan


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The target of a view.

    target: normals where the pixel counts.  region: (H, W) uint8 labels of the visible surface.
    back: pixels of the face that show the back of their triangle or whose normal faces away.
    """

    target: NormalMap
    region: NDArray[np.uint8]
    back: int

    @property
    def share_of_backs(self) -> float:
        """Back-facing pixels among all visible ones of the face."""
        return self.back / max(1, self.back + int(np.count_nonzero(self.target.mask)))


def counted(
    scan: Scan,
    inside: NDArray[np.float32],
    camera: Camera,
    seen: NDArray[np.int32],
    maps: SurfaceMaps,
    own: NDArray[np.bool_] | None = None,
) -> Counted:
    """The pixels that count in a view.

    inside: (V,) positive within the face, negative outside (millimetres to its border, or 1 and -1); a pixel
        belongs where the value interpolated over its triangle is positive, so the border is not ragged.
    seen, maps: visible triangle per pixel, and its maps.
    own: (H, W) further restriction, such as a photograph's mask.
    """
    labels = scan.labels if scan.labels is not None else np.zeros(len(scan.vertices), np.uint8)
    allowed = np.ones(seen.shape, bool) if own is None else own
    arrays = (seen, scan.faces, maps.weights, maps.normals, maps.facing, _rays(camera), inside, labels, allowed)
    normals, mask, region, back = _counted(*arrays) if AVAILABLE else counted_numpy(*arrays)
    return Counted(NormalMap(normals, mask), region, back)


def _rays(camera: Camera) -> NDArray[np.float64]:
    """fx, fy, cx, cy, skew, 1 when orthographic: what the rays of the pixels follow from."""
    K = camera.K
    return np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], K[0, 1], float(camera.orthographic)])


_Found = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8], int]


@compiled
def _counted(
    seen: NDArray[np.int32],
    faces: NDArray[np.int32],
    weights: NDArray[np.float32],
    normals: NDArray[np.float32],
    facing: NDArray[np.bool_],
    rays: NDArray[np.float64],
    inside: NDArray[np.float32],
    labels: NDArray[np.uint8],
    allowed: NDArray[np.bool_],
) -> _Found:
    height, width = seen.shape
    kept = np.zeros((height, width, 3), np.float32)
    mask, region = np.zeros((height, width), np.bool_), np.zeros((height, width), np.uint8)
    back = 0
    for row in range(height):
        for column in range(width):
            face = seen[row, column]
            if face < 0:
                continue
            corner = 0
            if weights[row, column, 1] > weights[row, column, 0]:
                corner = 1
            if weights[row, column, 2] > weights[row, column, corner]:
                corner = 2
            region[row, column] = labels[faces[face, corner]]
            a, b, c = weights[row, column, 0], weights[row, column, 1], weights[row, column, 2]
            within = (a * inside[faces[face, 0]] + b * inside[faces[face, 1]]) + c * inside[faces[face, 2]]
            if not (within > 0.0 and allowed[row, column]):
                continue
            x, y = 0.0, 0.0
            if rays[5] == 0.0:
                y = (row + 0.5 - rays[3]) / rays[1]
                x = -(column + 0.5 - rays[2] - rays[4] * y) / rays[0]
            nx, ny, nz = normals[row, column, 0], normals[row, column, 1], normals[row, column, 2]
            if facing[row, column] and nx * x + ny * y + nz > 0.0:
                mask[row, column] = True
                kept[row, column, 0] = nx
                kept[row, column, 1] = ny
                kept[row, column, 2] = nz
            else:
                back += 1
    return kept, mask, region, back


def counted_numpy(
    seen: NDArray[np.int32],
    faces: NDArray[np.int32],
    weights: NDArray[np.float32],
    normals: NDArray[np.float32],
    facing: NDArray[np.bool_],
    rays: NDArray[np.float64],
    inside: NDArray[np.float32],
    labels: NDArray[np.uint8],
    allowed: NDArray[np.bool_],
) -> _Found:
    """The same without numba."""
    row, column = np.nonzero(seen >= 0)
    face, share = faces[seen[row, column]], weights[row, column]
    region = np.zeros(seen.shape, np.uint8)
    region[row, column] = labels[np.take_along_axis(face, share.argmax(axis=1)[:, None], axis=1)[:, 0]]
    a, b, c = (share * inside[face]).T
    y = (row + 0.5 - rays[3]) / rays[1]
    x = -(column + 0.5 - rays[2] - rays[4] * y) / rays[0]
    nx, ny, nz = normals[row, column].astype(np.float64).T
    towards = nz if rays[5] else nx * x + ny * y + nz
    ours = ((a + b) + c > 0) & allowed[row, column]
    front = ours & facing[row, column] & (towards > 0)
    mask = np.zeros(seen.shape, bool)
    mask[row, column] = front
    return np.where(mask[..., None], normals, np.float32(0)), mask, region, int(np.count_nonzero(ours & ~front))
