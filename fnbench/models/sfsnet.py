"""A face image taken apart into normals, albedo and light, and put together again.

S. Sengupta, A. Kanazawa, C. D. Castillo, D. W. Jacobs, "SfSNet: Learning Shape, Reflectance and Illuminance of
Faces in the Wild", CVPR 2018, section 3 and figure 3. An independent implementation:

    image -> features --+--> 5 residual blocks --> normals (unit) --+
                        +--> 5 residual blocks --> albedo ----------+--> albedo x shading = image again
                        +--> all three, averaged --> 27 light ------+

Shading is that of a Lambertian surface under second-order spherical harmonics (equation 2 of the paper), 9
coefficients per colour. Because image, normals, albedo and light are tied by this product, a photograph without any
ground truth trains the network through its own reconstruction.

What differs from the paper: ``width`` scales all channels (64 is the paper); with two ``halvings`` the residual blocks
work at a quarter of the resolution, which sees twice as far for a quarter of the time; normals leave in the canonical
frame (x right, y up, z to the viewer) and not as down, right, out; albedo passes a sigmoid; the light's pooling covers
whatever size comes in; reconstruction of photographs replaces the pseudo ground truth of a first network (section
3.2), and priors replace the ground truth of albedo and light (``training.objectives``).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fnbench.errors import InvalidSettingError
from fnbench.models.layers import unit
from fnbench.models.torch_estimator import Preprocessing, TorchEstimator
from fnbench.models.weights import ready

ARCHITECTURE = "sfsnet"
SIZE = 128
"""Longer side of the images that the network is made for."""

HARMONICS = (0.8862269, 1.0233267, 0.2477080, 0.8580855, 0.4290428)
"""Harmonic times Lambertian attenuation, by order and kind (Ramamoorthi and Hanrahan 2001): pi and 2 pi / 3 and pi / 4
times the norms of the real harmonics."""


class Parts(NamedTuple):
    """What an image is made of.

    normals: (N, 3, H, W) unit vectors.  albedo: (N, 3, H, W) in [0, 1].
    light: (N, 27), nine coefficients for red, then green, then blue.
    shading: (N, 3, H, W).  image: (N, 3, H, W), albedo times shading, not clamped.
    """

    normals: Tensor
    albedo: Tensor
    light: Tensor
    shading: Tensor
    image: Tensor


def shading(normals: Tensor, light: Tensor) -> Tensor:
    """Light that a Lambertian surface sends back under second-order spherical harmonics.

    normals: (N, 3, H, W) unit vectors.  light: (N, 27).
    Returns (N, 3, H, W), one plane per colour; negative where the coefficients describe no real light.

    >>> shading(torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1), torch.eye(27)[:1]).flatten().tolist()
    [0.8862268924713135, 0.0, 0.0]
    """
    x, y, z = normals.unbind(1)
    c0, c1, c2, c3, c4 = HARMONICS
    basis = torch.stack(
        [
            torch.full_like(x, c0),
            c1 * z,
            c1 * x,
            c1 * y,
            c2 * (2 * z * z - x * x - y * y),
            c3 * x * z,
            c3 * y * z,
            c4 * (x * x - y * y),
            c3 * x * y,
        ],
        1,
    )
    return torch.einsum("nkhw,nck->nchw", basis, light.reshape(-1, 3, 9))


class ConvNormReLU(nn.Sequential):
    """k x k convolution without bias, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class PreActivation(nn.Module):
    """Residual block whose normalisation comes before each convolution (He et al. 2016, "Identity mappings")."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        inner: Tensor = self.conv1(functional.relu(self.bn1(x)))
        inner = self.conv2(functional.relu(self.bn2(inner)))
        return x + inner


class Branch(nn.Sequential):
    """Residual blocks at low resolution: what is special to normals, or to albedo."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__(*(PreActivation(channels) for _ in range(blocks)), nn.BatchNorm2d(channels), nn.ReLU())


class Head(nn.Module):
    """Back to full resolution and down to three channels."""

    def __init__(self, width: int, halvings: int) -> None:
        super().__init__()
        self.mix = ConvNormReLU(2 * width, 2 * width, 1)
        widths = [2 * width] + [width] * halvings
        self.smooth = nn.ModuleList(ConvNormReLU(a, b, 3) for a, b in pairwise(widths))
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2w, h, w) to (N, 3, H, W)."""
        x = self.mix(x)
        for smooth in self.smooth:
            x = smooth(functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        maps: Tensor = self.out(x)
        return maps


class SfsNet(nn.Module):
    """The network; its keyword arguments are stored with the weights.

    width: channels of the first layer; 64 is the paper (3.4 million parameters).
    blocks: residual blocks per branch; 5 is the paper.
    halvings: 1 (the paper) or 2; both sides of an image must be multiples of 2 ** halvings.
    """

    def __init__(self, width: int = 64, blocks: int = 5, halvings: int = 1) -> None:
        super().__init__()
        if width < 1 or blocks < 1 or halvings not in (1, 2):
            raise InvalidSettingError(
                f"Width {width}, {blocks} blocks, {halvings} halvings are impossible; the paper has 64, 5 and 1."
            )
        w = width
        self.features = nn.Sequential(
            ConvNormReLU(3, w, 7), ConvNormReLU(w, 2 * w, 3, halvings), nn.Conv2d(2 * w, 2 * w, 3, 2, 1)
        )
        self.normal_branch = Branch(2 * w, blocks)
        self.albedo_branch = Branch(2 * w, blocks)
        self.normal_head = Head(w, halvings)
        self.albedo_head = Head(w, halvings)
        self.light_mix = ConvNormReLU(6 * w, 2 * w, 1)
        self.light_out = nn.Linear(2 * w, 27)
        with torch.no_grad():  # start from white light from everywhere, so that the first reconstruction is a picture
            self.light_out.weight.mul_(0.1)
            self.light_out.bias.zero_()
            self.light_out.bias[::9] = 1 / HARMONICS[0]

    def forward(self, images: Tensor) -> Parts:
        """(N, 3, H, W) in [0, 1] to everything the image is made of."""
        features, normal_features, albedo_features = self._features(images)
        # Geometry and its products in float32 whatever the precision around them: shading squares the normals.
        normals = unit(self.normal_head(normal_features).float())
        albedo = torch.sigmoid(self.albedo_head(albedo_features).float())
        mixed = self.light_mix(
            torch.cat([features, normal_features, albedo_features], 1)
        )  # (N, 2w, H/2, W/2), or a quarter
        light = self.light_out(mixed.mean((2, 3))).float()  # (N, 27)
        shade = shading(normals, light)
        return Parts(normals, albedo, light, shade, albedo * shade)

    def image_to_normals(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images in [0, 1] to (N, 3, H, W) raw vectors, without the rest."""
        vectors: Tensor = self.normal_head(self.normal_branch(self.features(images)))
        return vectors

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.features(images)  # (N, 2w, H/2, W/2), or a quarter
        return features, self.normal_branch(features), self.albedo_branch(features)


class _ImageToNormals(nn.Module):
    """The part of the network that prediction needs, as image -> vectors."""

    def __init__(self, network: SfsNet) -> None:
        super().__init__()
        self.features, self.normal_branch, self.normal_head = (
            network.features,
            network.normal_branch,
            network.normal_head,
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H, W)."""
        vectors: Tensor = self.normal_head(self.normal_branch(self.features(images)))
        return vectors


class SfsnetEstimator(TorchEstimator):
    """The normals of the decomposition.

    weights: a safetensors file of ``fnbench train``; the packaged one by default.
    device: "cpu", "cuda", ...; chosen when None.
    untrained: random weights (seed 0), whatever there is; for plumbing, not for results.
    """

    def __init__(self, weights: Path | None = None, device: str | None = None, untrained: bool = False) -> None:
        made = ready(ARCHITECTURE, SfsNet, weights, untrained)
        super().__init__(
            ARCHITECTURE,
            _ImageToNormals(cast(SfsNet, made.network)),
            preprocessing=Preprocessing(**(made.preprocessing or {"size": SIZE})),
            device=device,
            provenance=made.provenance,
        )
