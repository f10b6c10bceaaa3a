"""3DDFA_V2's pose regressor with its mean face as an estimator: a second third party's check on us.

The regressor (MIT, Jianzhu Guo) gives a pose; the mean face posed by it gives normals of a face, though of nobody's in
particular. The mean face and its triangles derive from the Basel Face Model, whose terms allow non-commercial research
only: use this in local tests, and ship neither the arrays nor anything computed from them.

    fnbench eval --model tests/estimators/mb05.py:MeanFacePose --data florence.h5 --out run
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat
from torch import Tensor, nn
from torch.nn import functional

from fnbench.models.weights import load_strictly, sha256_of
from fnbench.registry import resolve

FaceMesh = resolve(f"{Path(__file__).with_name('facemesh.py')}:FaceMesh", "model")
facemesh = __import__(FaceMesh.__module__)

SIDE = 120
CROP = 1.58
"""Side of the crop relative to the mean side of the FaceMesh landmark box."""


class Separable(nn.Module):
    """Depthwise 3 x 3 and 1 x 1 convolution, each with batch norm and ReLU."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv_dw, self.bn_dw = nn.Conv2d(a, a, 3, stride, 1, groups=a, bias=False), nn.BatchNorm2d(a)
        self.conv_sep, self.bn_sep = nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn_dw(self.conv_dw(x)))
        return functional.relu(self.bn_sep(self.conv_sep(x)))


class Regressor(nn.Module):
    """MobileNet-V1 at half width: (N, 3, 120, 120) BGR to (N, 62) normalised parameters."""

    layers = (("dw2_1", 32, 1), ("dw2_2", 64, 2), ("dw3_1", 64, 1), ("dw3_2", 128, 2), ("dw4_1", 128, 1),
              ("dw4_2", 256, 2), ("dw5_1", 256, 1), ("dw5_2", 256, 1), ("dw5_3", 256, 1), ("dw5_4", 256, 1),
              ("dw5_5", 256, 1), ("dw5_6", 512, 2), ("dw6", 512, 1))  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        width = 16
        for name, out, stride in self.layers:
            setattr(self, name, Separable(width, out, stride))
            width = out
        self.fc_param = nn.Linear(512, 62)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for name, _, _ in self.layers:
            x = getattr(self, name)(x)
        return self.fc_param(x.mean((2, 3)))


class MeanFacePose:
    """Normals of the posed mean face; pixels it does not cover take the nearest covered pixel's normal."""

    name = "mb05-mean-face"

    def __init__(self) -> None:
        data = facemesh.test_data() / "weights"
        weights = data / "3ddfa_v2" / "mb05_120x120.pth"
        self.landmarks = FaceMesh()
        self.network = Regressor().eval()
        load_strictly(self.network, regressor_tensors(weights), str(weights))
        with np.load(data / "3ddfa_v2" / "param_mean_std_62d_120x120.npz", allow_pickle=False) as file:
            self.mean, self.deviation = file["mean"].astype(np.float64), file["std"].astype(np.float64)
        folder = data / "3ddfa_v1_mean_face"
        shapes = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("u_shp", "u_exp"))
        self.face = sum(shapes).reshape(-1, 3).astype(np.float64)
        triangles = loadmat(folder / "tri.mat")["tri"].T.astype(np.int32) - 1
        self.faces = np.ascontiguousarray(triangles[:, ::-1])  # the file winds inwards
        self.provenance = {
            "weights_sha256": sha256_of(weights),
            "licence": "MIT; mean face derived from the Basel Face Model, non-commercial research only",
            "training_data": "300W-LP (3DDFA_V2)",
            "untrained": False,
            "preprocessing": {"size": SIDE, "crop": f"{CROP} x FaceMesh landmark box"},
        }

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) images to (N, H, W, 3) unit normals."""
        return np.stack([facemesh.filled(*self.covered(image)) for image in images])

    def covered(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(H, W, 3) image to normals, zero outside the mesh, and the (H, W) mask of the mesh."""
        landmarks = self.landmarks.points(image)[:, :2]
        low, high = landmarks.min(0), landmarks.max(0)
        side = CROP * float((high - low).mean())
        corner = (low + high) / 2 - side / 2
        crop = facemesh.square(image, corner, side, SIDE).flip(1)  # BGR
        with torch.inference_mode():
            answer = self.network((crop * 255 - 127.5) / 128)[0].double().numpy()
        pose = (answer * self.deviation + self.mean)[:12].reshape(3, 4)
        vertices = self.face @ pose[:, :3].T + pose[:, 3]  # x right, y up, z to the viewer, in crop pixels
        scale = side / SIDE
        pixels = np.stack([vertices[:, 0] - 1, 119 - vertices[:, 1], -vertices[:, 2]], -1) * scale
        pixels[:, :2] += corner
        return facemesh.mesh_normals(pixels, self.faces, *image.shape[:2])


def regressor_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the regressor: under ``state_dict``, with a prefix, beside a head that is not used."""
    saved = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    named = {name.removeprefix("module."): tensor for name, tensor in saved.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith("fc_lm.")}
