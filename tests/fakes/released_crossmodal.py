"""The released cross-modal network under its released names, with random weights.

Written from the description of the release (names, shapes, order of operations), and independently of
fnbench.models.crossmodal, so that the two can check each other. Nothing of the release is stored here.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(b)
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.fc = nn.Linear(512, 1000)


def conv(a: int, b: int, k: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, k, 1, k // 2), nn.ReLU())


class ReleasedNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base_model = ResNet18()
        for suffix, source in (("", self.base_model), ("_2", copy.deepcopy(self.base_model))):
            setattr(self, f"layer0{suffix}", nn.Sequential(source.conv1, source.bn1, nn.ReLU()))
            setattr(self, f"layer1{suffix}", nn.Sequential(nn.MaxPool2d(3, 2, 1), source.layer1))
            for level in (2, 3, 4):
                setattr(self, f"layer{level}{suffix}", getattr(source, f"layer{level}"))
            setattr(self, f"conv_original_size0{suffix}", conv(3, 64, 3))
            setattr(self, f"conv_original_size1{suffix}", conv(64, 64, 3))
        self.layer4_1x1 = conv(512, 768, 1)
        self.layer3_1x1, self.layer2_1x1 = conv(256, 256, 1), conv(128, 128, 1)
        self.layer1_1x1, self.layer0_1x1 = conv(64, 64, 1), conv(64, 64, 1)
        self.conv_up3, self.conv_up2 = conv(768, 640, 3), conv(640, 320, 3)
        self.conv_up1, self.conv_up0 = conv(320, 320, 3), conv(320, 192, 3)
        self.conv_original_size2, self.conv_last = conv(192, 64, 3), nn.Conv2d(64, 3, 1)
        self.conv_up3_2, self.conv_up2_2 = conv(512, 512, 3), conv(512, 256, 3)
        self.conv_up1_2, self.conv_up0_2 = conv(256, 256, 3), conv(256, 128, 3)
        self.conv_original_size2_2, self.conv_last_2 = conv(128, 64, 3), nn.Conv2d(64, 3, 1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x, mode: int):
        """Mode 0: image to (normals, image).  Mode 1: normals to normals."""
        s = "_2" if mode else ""
        features = [x]
        for level in range(5):
            features.append(getattr(self, f"layer{level}{s}")(features[-1]))
        d = self.up(self.layer4_1x1(features[5]))
        for level in (3, 2, 1, 0):
            if not mode:
                d = self.merged(d, getattr(self, f"layer{level}_1x1")(features[level + 1]))
            d = self.up(getattr(self, f"conv_up{level}")(d))
        if not mode:
            d = self.merged(d, self.conv_original_size1(self.conv_original_size0(x)))
        normals = self.conv_last(self.conv_original_size2(d))
        if mode:
            return normals
        d = features[5]
        for level in (3, 2, 1, 0):
            d = getattr(self, f"conv_up{level}_2")(self.up(d))
        return normals, self.conv_last_2(self.conv_original_size2_2(self.up(d)))

    @staticmethod
    def merged(d, skip):
        k = skip.shape[1]
        return torch.cat((d[:, :-k], torch.max(d[:, -k:], skip)), 1)


def released_network(seed: int = 0) -> ReleasedNetwork:
    """The network with random weights and random running statistics, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ReleasedNetwork().eval()
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return network


def old_state_dict(network: nn.Module) -> dict[str, torch.Tensor]:
    """Its state dict as PyTorch 0.3 wrote it: without batch counters."""
    return {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
