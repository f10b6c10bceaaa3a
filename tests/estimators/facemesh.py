"""FaceMesh (MediaPipe, Apache-2.0; PyTorch conversion by Zak Murez) as an estimator: a third party's check on us.

The network finds 468 points; the canonical mesh (Apache-2.0) through these points, seen orthographically in
pixels, gives smooth normals. Nothing of it was trained for normals: it checks frame, projection, rendering and
metric against something none of us made. Weights and mesh lie beside the project and are found through
FNBENCH_TEST_DATA, or ``../shared/data`` beside the checkout.

    fnbench eval --model tests/estimators/facemesh.py:FaceMesh --data florence.h5 --out run
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn import functional

from fnbench.camera import Camera
from fnbench.errors import FnbenchError
from fnbench.models.weights import load_strictly, read_checkpoint, sha256_of
from fnbench.render.raster import Raster
from fnbench.render.shade import surface_maps
from fnbench.types import Scan

SIDE = 192
"""Side of the crop that the network sees."""
CROP = 1.5
"""Side of a crop relative to the longer side of the landmark box found in the one before it."""
ITERATIONS = 4


def test_data() -> Path:
    """The folder of third-party data."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FNBENCH_TEST_DATA", beside))
    if not (folder / "weights").is_dir():
        raise FnbenchError(f"No third-party networks under {folder}. Set FNBENCH_TEST_DATA to their folder.")
    return folder


test_data.__test__ = False  # a name that pytest would collect


class Block(nn.Module):
    """Depthwise and 1x1 convolution beside a shortcut, which grows by zero channels."""

    def __init__(self, a: int, b: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.grows = stride, b - a
        depthwise = nn.Conv2d(a, a, 3, stride, 0 if stride == 2 else 1, groups=a)
        self.convs = nn.Sequential(depthwise, nn.Conv2d(a, b, 1))
        self.act = nn.PReLU(b)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.stride == 2:
            shortcut, x = functional.max_pool2d(x, 2), functional.pad(x, (0, 2, 0, 2))
        return self.act(self.convs(x) + functional.pad(shortcut, (0, 0, 0, 0, 0, self.grows)))


class Landmarks(nn.Module):
    """Crops (N, 3, 192, 192) in [0, 1] to (N, 468, 3) points in units of the side, and a face flag (N,)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(16, 16), (16, 16), (16, 32), (32, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 128)]
        sizes += [(128, 128)] * 5
        halving = {2, 5, 8, 11}
        blocks = [Block(a, b, 2 if index in halving else 1) for index, (a, b) in enumerate(sizes)]
        self.backbone1 = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.PReLU(16), *blocks)
        self.backbone2a = nn.Sequential(
            Block(128, 128, 2), Block(128, 128), Block(128, 128),
            nn.Conv2d(128, 32, 1), nn.PReLU(32), Block(32, 32), nn.Conv2d(32, 1404, 3),
        )  # fmt: skip
        self.backbone2b = nn.Sequential(
            Block(128, 128, 2), nn.Conv2d(128, 32, 1), nn.PReLU(32), Block(32, 32), nn.Conv2d(32, 1, 3)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.backbone1(functional.pad(x, (0, 1, 0, 1)))
        points, flag = self.backbone2a(x), self.backbone2b(x)
        return points.reshape(len(x), 468, 3) / SIDE, torch.sigmoid(flag).reshape(len(x))


class FaceMesh:
    """Normals of the predicted 468-point mesh; pixels it does not cover take the nearest covered pixel's normal."""

    name = "facemesh"

    def __init__(self) -> None:
        data = test_data() / "weights"
        weights = data / "mediapipe_pytorch" / "blazeface_landmark.pth"
        self.network = Landmarks().eval()
        load_strictly(self.network, read_checkpoint(weights), str(weights))
        self.faces = mesh_faces(data / "mediapipe_canonical_mesh" / "canonical_face_model.obj")
        self.provenance = {
            "weights_sha256": sha256_of(weights),
            "licence": "Apache-2.0",
            "training_data": "not documented with the weights (MediaPipe)",
            "untrained": False,
            "preprocessing": {"size": SIDE, "crop": CROP, "iterations": ITERATIONS, "start": "the whole image"},
        }

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) images to (N, H, W, 3) unit normals."""
        return np.stack([filled(*self.covered(image)) for image in images])

    def covered(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(H, W, 3) image to normals, zero outside the mesh, and the (H, W) mask of the mesh."""
        return mesh_normals(self.points(image), self.faces, *image.shape[:2])

    def points(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """(468, 3) points of the face: pixel x, pixel y (down), and depth away from the camera in pixels."""
        height, width = image.shape[:2]
        side = float(max(height, width))
        centre = np.array([width / 2, height / 2])
        for _ in range(ITERATIONS):
            corner = centre - side / 2
            with torch.inference_mode():
                points = self.network(square(image, corner, side, SIDE))[0][0].double().numpy() * side
            points[:, :2] += corner
            low, high = points[:, :2].min(0), points[:, :2].max(0)
            centre, side = (low + high) / 2, CROP * float((high - low).max())
        return points


def square(image: NDArray[np.float32], corner: NDArray[np.float64], side: float, size: int) -> Tensor:
    """A square of an image resampled to (1, 3, size, size); black where it leaves the image."""
    height, width = image.shape[:2]
    steps = (torch.arange(size, dtype=torch.float64) + 0.5) / size * side
    x, y = (corner[0] + steps) / width * 2 - 1, (corner[1] + steps) / height * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None].float()
    batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    shrink = side / size
    if shrink > 1:  # a plain bilinear sample would alias
        sizes = [max(1, round(height / shrink)), max(1, round(width / shrink))]
        batch = functional.interpolate(batch, sizes, mode="bilinear", antialias=True)
    return functional.grid_sample(batch, grid, "bilinear", "zeros", align_corners=False)


def mesh_normals(
    points: NDArray[np.float64], faces: NDArray[np.int32], height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A mesh in pixels (x right, y down, z away), seen along z: normals (H, W, 3), zero outside, and mask (H, W)."""
    vertices = points * [1.0, -1.0, -1.0]
    camera_from_world = np.eye(4)
    camera_from_world[2, 3] = -10_000.0 - vertices[:, 2].max()
    camera = Camera(np.eye(3), camera_from_world, width, height, orthographic=True)
    scan = Scan(vertices, faces, name="predicted mesh")
    maps = surface_maps(scan, area_weighted(vertices, faces), camera, Raster().visibility(scan, camera))
    mask = maps.mask & maps.facing
    return np.where(mask[..., None], maps.normals, 0), mask


def area_weighted(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """(V, 3) unit normals of a mesh that winds outwards, each face weighted by its area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    cross = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], cross)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def filled(normals: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Every pixel outside the mask takes the normal of the nearest pixel inside; (0, 0, 1) when there is none."""
    if not mask.any():
        return np.broadcast_to(np.array([0, 0, 1], np.float32), normals.shape).copy()
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return normals[tuple(nearest)]


def mesh_faces(path: Path) -> NDArray[np.int32]:
    """(F, 3) position indices of a plain OBJ file of triangles."""
    rows = [line.split()[1:] for line in path.read_text().splitlines() if line.startswith("f ")]
    return np.array([[int(corner.split("/")[0]) - 1 for corner in row] for row in rows], np.int32)
