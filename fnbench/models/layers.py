"""Layers that several models share.

Channels come first inside torch models: tensors are (N, C, H, W). "Same" zero padding everywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

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


class Pointwise(nn.Conv2d):
    """1 x 1 convolution without bias that looks at every ``stride``-th pixel only.

    The pixels are taken before the convolution: the same numbers as from its own stride, whose gradient writes
    beyond its memory on the CPU for few channels in channels-last order (torch 2.13, several threads).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(channels_in, channels_out, 1, bias=False)
        self.every = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        return super().forward(x[:, :, :: self.every, :: self.every])


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
            self.downsample = nn.Sequential(Pointwise(channels_in, channels_out, stride), nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


def residual_stage(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """Two residual blocks, the first of which changes size and width."""
    return nn.Sequential(BasicBlock(channels_in, channels_out, stride), BasicBlock(channels_out, channels_out))


def doubled(x: Tensor) -> Tensor:
    """Bilinear x2 with aligned corners: the first and last pixel keep their values."""
    if x.device.type == "cpu" and torch.is_grad_enabled() and x.requires_grad:
        return cast(Tensor, _Doubled.apply(x))  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return _interpolated(x)


def merged(x: Tensor, skip: Tensor) -> Tensor:
    """Element-wise maximum of a skip and the last channels of a tensor.

    x: (N, C, H, W).  skip: (N, K, H, W) with K <= C.
    """
    if torch.is_grad_enabled() and (x.requires_grad or skip.requires_grad):
        return cast(Tensor, _Merged.apply(x, skip))  # type: ignore[no-untyped-call]  # torch leaves it untyped
    extra = skip.shape[1]
    return torch.cat([x[:, :-extra], torch.maximum(x[:, -extra:], skip)], 1)


class _Doubled(torch.autograd.Function):
    """``doubled`` whose gradient is two matrix products; the stock one scatters pixel by pixel, many times slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _interpolated(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        count, channels, height, width = gradient.shape
        last = gradient.permute(0, 2, 3, 1).contiguous()  # (N, 2h, 2w, C), the memory order of channels-last
        down = _weights(height // 2, gradient.dtype).mT @ last.reshape(count, height, width * channels)
        down = _weights(width // 2, gradient.dtype).mT @ down.reshape(count * (height // 2), width, channels)
        return down.reshape(count, height // 2, width // 2, channels).permute(0, 3, 1, 2)


class _Merged(torch.autograd.Function):
    """``merged`` in one copy; where both are equal the gradient goes to the tensor, not half to each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, skip: Tensor) -> Tensor:
        extra = skip.shape[1]
        larger = skip > x[:, -extra:]
        ctx.save_for_backward(larger)
        out = x.clone()
        out[:, -extra:] = torch.where(larger, skip, x[:, -extra:])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (larger,) = ctx.saved_tensors
        extra = larger.shape[1]
        to_x, to_skip = gradient.clone(), gradient[:, -extra:] * larger
        to_x[:, -extra:] -= to_skip
        return to_x, to_skip


def _interpolated(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


@lru_cache(maxsize=32)
def _weights(side: int, dtype: torch.dtype) -> Tensor:
    """(2 side, side) interpolation weights of ``doubled`` along one axis."""
    ones = torch.eye(side, dtype=torch.float64)[None]
    return functional.interpolate(ones, scale_factor=2, mode="linear", align_corners=True)[0].mT.to(dtype)


def unit(vectors: Tensor, smallest: float = 1e-8) -> Tensor:
    """Divide by the length, or by ``smallest`` where a vector is shorter than that.

    vectors: (N, 3, H, W).
    """
    return vectors / squared_length(vectors).clamp_min(smallest**2).sqrt()


def squared_length(vectors: Tensor) -> Tensor:
    """(N, 1, H, W) of (N, 3, H, W); torch's vector_norm over channels is many times slower on the CPU."""
    x, y, z = vectors.unbind(1)
    return (x * x + y * y + z * z)[:, None]
