"""Layers that several models share.

Channels come first inside torch models: tensors are (N, C, H, W). "Same" zero padding everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvReLU(nn.Conv2d):
    """k x k convolution with bias, stride 1, "same" padding, then ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W), never negative."""
        return functional.relu(super().forward(x))


class BasicBlock(nn.Module):
    """Residual block of ResNet-18 (He et al. 2016), with the parameter names of its common implementation."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


def residual_stage(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """Two residual blocks, the first of which changes size and width."""
    return nn.Sequential(BasicBlock(channels_in, channels_out, stride), BasicBlock(channels_out, channels_out))


def doubled(x: Tensor) -> Tensor:
    """Bilinear x2 with aligned corners: the first and last pixel keep their values."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def unit(vectors: Tensor, smallest: float = 1e-8) -> Tensor:
    """Divide by the length, or by ``smallest`` where a vector is shorter than that.

    vectors: (N, 3, H, W).
    """
    length: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / length.clamp_min(smallest)
