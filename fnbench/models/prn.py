"""A position map in UV space: the network predicts a mesh, and our renderer turns it into normals.

Y. Feng, F. Wu, X. Shao, Y. Wang, X. Zhou, "Joint 3D Face Reconstruction and Dense Alignment with Position Map
Regression Network", ECCV 2018, section 3. An independent implementation:

    image -> 10 residual blocks -> latent -> transposed convolutions -> position map (x, y, z at every texel)
    position map -> vertices of the template -> visible triangles, smooth normals at every pixel

A texel of the map holds where in the picture one point of the face lies: x to the right and y down in units of the
side of the (square) input, z to the viewer in the same unit, zero at the mean depth.

What differs from the paper: ``width`` scales all channels (16 is the paper); 3 x 3 kernels except where the decoder
doubles its resolution; shortcuts average where the encoder halves it; the map is added to the mean face instead of
leaving a sigmoid; inputs are 128 x 128, not 256 x 256; the template is the face of ICT-FaceKit (MIT) with its own
texture coordinates, not that of the Basel model; z is f ln(d0 / d) for depth d, so that it keeps the scale of x and y
at every depth under perspective. Normals of the mesh, which the paper does not evaluate, are interpolated between
vertices and continued smoothly outside the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fnbench.camera import Camera
from fnbench.catalog import folder
from fnbench.errors import InvalidSettingError
from fnbench.models.layers import unit
from fnbench.models.torch_estimator import SHORTEST, Preprocessing, TorchEstimator, prepared
from fnbench.models.weights import WeightsCard, read_weights, ready, write_weights
from fnbench.render.raster import Raster
from fnbench.render.shade import surface_maps
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan

ARCHITECTURE = "prn"
TEMPLATE = "prn-template"
SIZE = 128
"""Side of the network's square input, and of its map, in pixels."""
REDUCTION = 32
"""The latent is this many times smaller than the input."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The mesh that all position maps share.

    mean: (V, 3) float32 positions of the mean face in a frontal crop of the protocol, in units of its side: x right
        and y down from its corner, z to the viewer.
    uv: (V, 2) float32 place of each vertex in the map, x right and y down in [0, 1].
    faces: (F, 3) int32, counter-clockwise seen from outside.
    mirror: (V,) int64, the vertex on the other side of the face.
    weight: (V,) float32, how much a vertex counts in training.
    source: (V,) int64, the vertex of the dataset's scans that each one is.
    """

    mean: NDArray[np.float32]
    uv: NDArray[np.float32]
    faces: NDArray[np.int32]
    mirror: NDArray[np.int64]
    weight: NDArray[np.float32]
    source: NDArray[np.int64]


@lru_cache(maxsize=2)
def template(path: Path | None = None) -> Template:
    """The template in a file of ``write_template``; the packaged one by default. Raises InvalidWeightsError."""
    read = read_weights(path or folder("baselines") / ARCHITECTURE / "template.safetensors", TEMPLATE)
    arrays = {name: tensor.numpy() for name, tensor in read.tensors.items()}
    return Template(
        arrays["mean"],
        arrays["uv"],
        arrays["faces"].astype(np.int32),
        arrays["mirror"].astype(np.int64),
        arrays["weight"],
        arrays["source"].astype(np.int64),
    )


def write_template(path: Path, mesh: Template, *, licence: str, source: str) -> None:
    """Write a template as safetensors, its licence and source inside. Vertices must fit 16 bits."""
    tensors = {
        "mean": torch.from_numpy(mesh.mean).half(),
        "uv": torch.from_numpy(mesh.uv),
        "faces": torch.from_numpy(mesh.faces.astype(np.int16)),
        "mirror": torch.from_numpy(mesh.mirror.astype(np.int16)),
        "weight": torch.from_numpy(mesh.weight).half(),
        "source": torch.from_numpy(mesh.source.astype(np.int16)),
    }
    write_weights(path, tensors, WeightsCard(TEMPLATE, licence=licence, training_data=source))


class Texels(NamedTuple):
    """Which point of the mesh each texel of a square map holds.

    corners: (s * s, 3) int64 vertex indices.  shares: (s * s, 3) float32 barycentric weights.
    inside: (s, s) bool; a texel outside the chart holds what the nearest one inside it holds.
    """

    corners: Tensor
    shares: Tensor
    inside: Tensor


def texels(mesh: Template, size: int) -> Texels:
    """The texels of a (size, size) map, found with our renderer on the flattened mesh."""
    from scipy.ndimage import distance_transform_edt

    flat = np.column_stack([mesh.uv * size * [1, -1], np.zeros(len(mesh.uv))]).astype(np.float64)
    scan, camera = Scan(flat, mesh.faces, name="texture chart"), _pixel_camera(size, size)
    seen = Raster().visibility(scan, camera)
    maps = surface_maps(scan, np.tile([0.0, 0.0, 1.0], (len(flat), 1)), camera, seen)
    nearest = tuple(distance_transform_edt(~seen.mask, return_distances=False, return_indices=True))
    corners = mesh.faces[seen.faces[nearest].ravel()].astype(np.int64)
    return Texels(
        torch.from_numpy(corners),
        torch.from_numpy(maps.weights[nearest].reshape(-1, 3)),
        torch.from_numpy(seen.mask),
    )


def position_map(vertices: Tensor, lookup: Texels) -> Tensor:
    """(N, V, C) values at vertices to (N, C, s, s) maps."""
    flat = (vertices[:, lookup.corners] * lookup.shares[..., None]).sum(2)  # (N, s * s, C)
    return flat.transpose(1, 2).reshape(len(vertices), -1, *lookup.inside.shape)


def mesh_vertices(maps: Tensor, uv: Tensor) -> Tensor:
    """(N, C, s, s) maps and (V, 2) places in [0, 1] to (N, V, C) values, bilinear between texels."""
    grid = (uv * 2 - 1).to(maps)[None, None].expand(len(maps), -1, -1, -1)
    sampled = functional.grid_sample(maps, grid, "bilinear", "border", align_corners=False)
    return sampled[:, :, 0].transpose(1, 2)


class Residual(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 with half the channels inside, normalised after the sum."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        inner = max(channels_out // 2, 1)
        self.inner = nn.Sequential(
            *_norm_relu(nn.Conv2d(channels_in, inner, 1, bias=False), inner),
            *_norm_relu(nn.Conv2d(inner, inner, 3, stride, 1, bias=False), inner),
            nn.Conv2d(inner, channels_out, 1, bias=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            # Averaged, not strided: a strided 1 x 1 convolution of few channels, channels last, breaks the heap in
            # the backward pass of torch 2.13 on CPUs.
            self.shortcut = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(channels_in, channels_out, 1, bias=False))
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        return functional.relu(self.norm(self.inner(x) + self.shortcut(x)))


class PrnNet(nn.Module):
    """Image to position map; its keyword arguments are stored with the weights.

    width: channels of the first layer; 16 is the paper.
    """

    mean_map: Tensor
    weight_map: Tensor
    corners: Tensor
    shares: Tensor
    inside: Tensor

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        if width < 1:
            raise InvalidSettingError(f"Width {width} is impossible; 16 is the paper.")
        w = width
        widths = [w * 2**level for level in range(6)]  # w at 128 pixels to 32 w at 4
        blocks: list[nn.Module] = [*_norm_relu(nn.Conv2d(3, w, 3, 1, 1, bias=False), w)]
        for low, high in pairwise(widths):
            blocks += [Residual(low, high, 2), Residual(high, high, 1)]
        self.encoder = nn.Sequential(*blocks)  # (N, 32 w, 4, 4)
        layers: list[nn.Module] = [*_norm_relu(nn.Conv2d(32 * w, 32 * w, 3, 1, 1, bias=False), 32 * w)]
        for count, high, low in zip((2, 2, 2, 1, 1), widths[:0:-1], widths[-2::-1], strict=True):
            layers += _norm_relu(nn.ConvTranspose2d(high, low, 4, 2, 1, bias=False), low)
            for _ in range(count):
                layers += _norm_relu(nn.Conv2d(low, low, 3, 1, 1, bias=False), low)
        self.decoder = nn.Sequential(*layers, nn.Conv2d(w, 3, 3, 1, 1))  # (N, 3, 128, 128)
        self._keep(template())
        with torch.no_grad():
            self.decoder[-1].weight.mul_(0.1)  # type: ignore[operator]  # a convolution by construction

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 128, 128) in [0, 1] to (N, 3, 128, 128) positions in units of the side."""
        if images.shape[-2:] != (SIZE, SIZE):
            raise InvalidSettingError(f"Input of {images.shape[-2]} x {images.shape[-1]} pixels, expected {SIZE} each.")
        maps: Tensor = self.decoder(self.encoder(images)).float() + self.mean_map
        return maps

    def rasterised(self, vertices: Tensor) -> Tensor:
        """(N, V, 3) vertices of the template to the (N, 3, 128, 128) map that shows them."""
        return position_map(vertices, Texels(self.corners, self.shares, self.inside))

    def _keep(self, mesh: Template) -> None:
        lookup = texels(mesh, SIZE)
        mean, weight = torch.from_numpy(mesh.mean)[None], torch.from_numpy(mesh.weight)[None, :, None]
        # The template is no part of the weights file: every file of this architecture has the same.
        for name, tensor in zip(Texels._fields, lookup, strict=True):
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("mean_map", position_map(mean, lookup), persistent=False)
        self.register_buffer("weight_map", position_map(weight / weight.mean(), lookup), persistent=False)


class PrnEstimator(TorchEstimator):
    """Image to position map to mesh to normals.

    weights: a safetensors file of ``fnbench train``; the packaged one by default.
    device: "cpu", "cuda", ... of the network; chosen when None. The mesh is drawn on the CPU.
    untrained: random weights (seed 0), whatever there is; for plumbing, not for results.
    """

    def __init__(self, weights: Path | None = None, device: str | None = None, untrained: bool = False) -> None:
        made = ready(ARCHITECTURE, PrnNet, weights, untrained)
        super().__init__(
            ARCHITECTURE,
            made.network,
            preprocessing=Preprocessing(SIZE, multiple=SIZE),
            device=device,
            provenance=made.provenance,
        )
        self._mesh = template()

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) float32 sRGB in [0, 1] to (N, H, W, 3) float32 unit normals, canonical frame."""
        height, width = images.shape[1:3]
        drawn = [mesh_normals(vertices, self._mesh.faces, height, width) for vertices in self.vertices(images)]
        return np.stack(drawn) if drawn else np.zeros(images.shape, np.float32)

    def vertices(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) images to (N, V, 3) float32 vertices in pixels: x right, y down, z to the viewer."""
        if not len(images):
            return np.zeros((0, len(self._mesh.uv), 3), np.float32)
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
            maps = self._forward(prepared(batch, self.preprocessing))
            found: NDArray[np.float32] = mesh_vertices(maps, torch.from_numpy(self._mesh.uv)).cpu().numpy()
        return found * np.float32(max(images.shape[1:3]))


def mesh_normals(
    vertices: NDArray[np.floating], faces: NDArray[np.int32], height: int, width: int
) -> NDArray[np.float32]:
    """Normals of a mesh that lies in a picture.

    vertices: (V, 3) in pixels: x right, y down, z to the viewer.  faces: (F, 3), counter-clockwise from outside.
    Returns (height, width, 3) float32 unit normals, canonical frame; outside the mesh they continue its border.
    """
    scan = Scan(np.asarray(vertices, np.float64) * [1.0, -1.0, 1.0], faces, name="predicted mesh")
    camera = _pixel_camera(height, width)
    maps = surface_maps(scan, vertex_normals(scan.vertices, faces), camera, Raster().visibility(scan, camera))
    return continued(maps.normals, maps.mask & maps.facing)


RELEASED_RANGE = 1.1
"""A released map of 1 stands for this many sides (YadiraF/PRNet, ``predictor.py``: 256 x 1.1)."""


def released_vertices(maps: NDArray[np.floating], face_index: NDArray[np.integer]) -> NDArray[np.float32]:
    """Vertices from maps in the convention of the released network (YadiraF/PRNet).

    maps: (N, s, s, 3) x right, y down, z to the viewer, as shares of 1.1 sides.
    face_index: (V,) texels that are vertices, row by row (``uv-data/face_ind.txt`` of the release).
    Returns (N, V, 3) float32 in units of the side.
    """
    flat = np.asarray(maps, np.float32).reshape(len(maps), -1, 3)
    vertices: NDArray[np.float32] = flat[:, face_index] * np.float32(RELEASED_RANGE)
    return vertices


def outward(vertices: NDArray[np.floating], faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """The faces, turned over when most of their area looks away from the viewer. vertices: (V, 3), y down."""
    a, b, c = (np.asarray(vertices, np.float64)[faces[:, corner]] * [1, -1, 1] for corner in range(3))
    away = np.cross(b - a, c - a)[:, 2].sum() < 0
    return np.ascontiguousarray(faces[:, ::-1]) if away else faces


def continued(normals: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Normals at every pixel: known ones as they are, the others from coarser and coarser means around them.

    normals: (H, W, 3).  mask: (H, W) bool.
    Returns (H, W, 3) float32 unit vectors, (0, 0, 1) where nothing is known at all.
    """
    known = torch.from_numpy(mask)[None, None].float()
    sums = torch.cat([torch.from_numpy(normals).permute(2, 0, 1)[None] * known, known], 1)
    filled = _filled(sums)[:, :3]
    whole = torch.where(known > 0, sums[:, :3], filled)
    nothing = torch.linalg.vector_norm(whole, dim=1, keepdim=True) < SHORTEST
    whole = torch.where(nothing, whole.new_tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1), whole)
    return unit(whole)[0].permute(1, 2, 0).contiguous().numpy()


def _filled(sums: Tensor) -> Tensor:
    """(1, 4, h, w) weighted sums with their weights: means, where there are none those of the next coarser level."""
    mean = sums / sums[:, 3:].clamp_min(1e-6)
    if max(sums.shape[-2:]) == 1:
        return mean
    height, width = sums.shape[-2:]
    coarse = _filled(functional.adaptive_avg_pool2d(sums, ((height + 1) // 2, (width + 1) // 2)))
    below = functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return torch.where(sums[:, 3:] > 0, mean, below)


def _pixel_camera(height: int, width: int) -> Camera:
    """The camera under which x and -y of a point are its pixel, far enough away to have everything before it."""
    away = np.eye(4)
    away[2, 3] = -1e6
    return Camera(np.eye(3), away, width, height, orthographic=True)


def _norm_relu(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
