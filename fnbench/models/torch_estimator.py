"""numpy at the border, torch inside: the one pre- and post-processing of all torch models.

The fairness of the table sits here, so there is no second copy. Images are resized when a network needs another
size (antialiased bilinear, longer side), scaled by the network's own mean and deviation, and padded by
repeating the border until both sides are multiples of what the network can halve. The raw vectors are cut,
resized back in float and divided by max(length, 1e-8); vectors shorter than that are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fnbench.errors import FnbenchError, InvalidSettingError
from fnbench.models.layers import squared_length, unit

_log = logging.getLogger("fnbench")

SHORTEST = 1e-8
"""A raw vector shorter than this has no direction (the release divides without a guard)."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a network wants to see; travels in its weights file.

    size: the longer side in pixels, or None to take images as they come.
    multiple: both sides are padded to multiples of this.
    mean, std: per channel R, G, B; (image - mean) / std with the image in [0, 1].
    mirrored: the network sees the mirror image as well, see ``Mirrored``.
    scales: the network sees each image at these sizes, see ``Scaled``; 1 is the image as it is.
    """

    size: int | None = None
    multiple: int = 32
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirrored: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))  # a list in a weights file
        if not self.scales or not all(0 < scale <= 1 for scale in self.scales):
            raise InvalidSettingError(
                f"Preprocessing {self}: scales must be shares of the size, above 0 and at most 1."
            )
        if self.multiple < 1 or (self.size is not None and self.size < 1) or min(self.std) <= 0:
            raise InvalidSettingError(f"Preprocessing {self}: size, multiple and deviation must be positive.")


class Mirrored(nn.Module):
    """A network that looks at each image and at its mirror image, and answers with the mean direction of both.

    A mirrored face then has exactly the mirrored normals, as long as nothing is padded, and what a network gets wrong
    on one side alone is halved. It takes two passes.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H, W) vectors of lengths up to 2."""
        seen, mirror = unit(self.network(images), SHORTEST), unit(self.network(images.flip(-1)), SHORTEST)
        return seen + mirror.flip(-1) * torch.tensor([-1.0, 1.0, 1.0], device=seen.device).reshape(1, 3, 1, 1)


class Scaled(nn.Module):
    """A network that looks at each image in several sizes, and answers with the mean direction of all.

    The frame stays: a smaller image stands in its middle, its border repeated outwards, so that a face is seen as if
    from further away, with a margin. It takes one pass for each size.
    """

    def __init__(self, network: nn.Module, scales: Sequence[float]) -> None:
        super().__init__()
        self.network, self.scales = network, tuple(scales)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H, W) vectors of lengths up to the number of sizes."""
        return torch.stack([self._seen(images, scale) for scale in self.scales]).sum(0)

    def _seen(self, images: Tensor, scale: float) -> Tensor:
        if scale == 1:
            return unit(self.network(images), SHORTEST)
        # Sides are read from the tensors and sizes given as factors, so that a traced network takes images of any size.
        small = functional.interpolate(images, scale_factor=scale, mode="bilinear")
        height, width = small.shape[-2:]
        top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
        bottom, right = images.shape[-2] - height - top, images.shape[-1] - width - left
        framed = functional.pad(small, (left, right, top, bottom), mode="replicate")
        raw = self.network(framed)[..., top : top + height, left : left + width]
        return functional.interpolate(unit(raw, SHORTEST), images.shape[-2:], mode="bilinear")


class TorchEstimator:
    """A torch network behind ``predict``.

    network: (N, 3, h, w) prepared images to (N, 3, h, w) raw vectors in the canonical frame.
    device: "cpu", "cuda", "cuda:1", "mps"; None takes a CUDA device when there is one.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        preprocessing: Preprocessing | None = None,
        device: str | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.preprocessing = preprocessing or Preprocessing()
        self.device = usable_device(device)
        network = Scaled(network, self.preprocessing.scales) if self.preprocessing.scales != (1.0,) else network
        network = Mirrored(network) if self.preprocessing.mirrored else network
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.degenerate = 0  # vectors without a direction, over all predictions
        self.provenance: dict[str, Any] = {
            "untrained": False,
            **(provenance or {}),
            "preprocessing": asdict(self.preprocessing),
            "device": str(self.device),
        }

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) float32 sRGB in [0, 1] to (N, H, W, 3) float32 unit normals, canonical frame."""
        if not len(images):
            return np.zeros(images.shape, np.float32)
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
            raw = restored(self._forward(prepared(batch, self.preprocessing)), batch, self.preprocessing)
            self.degenerate += int((squared_length(raw) < SHORTEST**2).sum())
            return unit(raw, SHORTEST).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _forward(self, batch: Tensor) -> Tensor:
        try:
            raw: Tensor = self.network(batch)
            return raw
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        # Outside the handler, so that the traceback no longer keeps the failed pass alive.
        half = len(batch) // 2
        if not half:
            raise FnbenchError(
                f"Model {self.name}: out of memory for one image of {batch.shape[-2]} x {batch.shape[-1]} pixels on "
                f"{self.device}. Use smaller images, or --device cpu."
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("Model %s: out of memory with %d images at once; going on with %d.", self.name, len(batch), half)
        return torch.cat([self._forward(part) for part in (batch[:half], batch[half:])])


def prepared(batch: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images as the network wants them.

    batch: (N, 3, H, W) in [0, 1].
    Returns (N, 3, h, w): resized, padded at the right and bottom by repeating the border, normalised.
    """
    height, width = _network_size(batch, preprocessing)
    if (height, width) != batch.shape[-2:]:
        batch = functional.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    right, bottom = -width % preprocessing.multiple, -height % preprocessing.multiple
    if right or bottom:
        batch = functional.pad(batch, (0, right, 0, bottom), mode="replicate")
    if preprocessing.mean != (0.0, 0.0, 0.0) or preprocessing.std != (1.0, 1.0, 1.0):
        batch = (batch - _per_channel(preprocessing.mean, batch)) / _per_channel(preprocessing.std, batch)
    return batch


def restored(raw: Tensor, batch: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Raw vectors in the pixels of the images they belong to.

    raw: (N, 3, h, w) from the network.  batch: the (N, 3, H, W) images before ``prepared``.
    Returns (N, 3, H, W) raw vectors; filtered in float, to be normalised afterwards.
    """
    height, width = _network_size(batch, preprocessing)
    raw = raw[..., :height, :width]
    if (height, width) != batch.shape[-2:]:
        raw = functional.interpolate(unit(raw, SHORTEST), batch.shape[-2:], mode="bilinear", antialias=True)
    return raw


def usable_device(name: str | None) -> torch.device:
    """The device of this name, or the best one when None; InvalidSettingError when it cannot be used."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidSettingError(
            f"Device {name!r} cannot be used here ({reason}). Leave it out, or use cpu."
        ) from error
    return device


def out_of_memory(error: BaseException) -> bool:
    """Whether this is a failed allocation; torch reports it as a plain RuntimeError on the CPU."""
    words = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in words


def _network_size(batch: Tensor, preprocessing: Preprocessing) -> tuple[int, int]:
    height, width = int(batch.shape[-2]), int(batch.shape[-1])
    if preprocessing.size is None:
        return height, width
    factor = preprocessing.size / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _per_channel(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(1, 3, 1, 1)
