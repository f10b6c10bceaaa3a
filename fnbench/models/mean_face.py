"""The mean normal map of a training split: the floor that knows where a face is, but not whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fnbench.errors import InvalidSettingError, InvalidStoreError
from fnbench.models.layers import unit
from fnbench.models.weights import WeightsCard, check_names, packaged_weights, read_weights, write_weights
from fnbench.store import Store

ARCHITECTURE = "mean-face"
SIDE = 128
"""Side of the stored map; the mean of many faces holds no finer detail."""


class MeanFace:
    """Answers every image with the same map, resized. What a crop alone tells about the normals in it.

    weights: a file of ``fnbench fit mean-face``; the packaged one by default.
    """

    name = "mean-face"

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or packaged_weights(self.name)
        if path is None:
            raise InvalidSettingError(
                "Model mean-face needs the mean of a training split, and none comes with this version. Make one: "
                "fnbench fit mean-face --data F.h5 --out W.safetensors, then pass --weights W.safetensors."
            )
        read = read_weights(path, ARCHITECTURE)
        side = int(read.card.options.get("side", SIDE))
        check_names({"normals": (3, side, side), "coverage": (side, side)}, read.tensors, str(path))
        self.map: Tensor = read.tensors["normals"]
        self.coverage: NDArray[np.float32] = read.tensors["coverage"].numpy()
        self.provenance: dict[str, Any] = {**read.provenance, "preprocessing": {"size": side}}

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) images to (N, H, W, 3) float32 unit normals, the same for every image."""
        count, height, width = images.shape[:3]
        resized = functional.interpolate(self.map[None], (height, width), mode="bilinear", antialias=True)
        one = unit(resized)[0].permute(1, 2, 0).numpy()
        return np.broadcast_to(one, (count, height, width, 3)).copy()


def mean_normals(store: Store, split: str = "train", side: int = SIDE) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean direction per pixel over the masks of a split.

    Returns (side, side, 3) float32 unit normals, the nearest known one where no mask ever reaches, and
    (side, side) float32, the share of samples whose mask covers the pixel.
    Raises InvalidStoreError when the split is empty.
    """
    indices = store.indices(split)
    if not indices:
        raise InvalidStoreError(f"{store.path}: no samples in split {split!r}; the mean of nothing is not a face.")
    total, covered = np.zeros((*store.size, 3)), np.zeros(store.size)
    for index in indices:
        target = store.target(index)
        total += target.normals
        covered += target.mask
    sums = _shrunk(total, side)
    share = _shrunk(covered[..., None], side)[..., 0] / len(indices)
    return _filled(sums, share), share.astype(np.float32)


def fit_mean_face(data: Path, out: Path, *, split: str = "train", side: int = SIDE) -> WeightsCard:
    """Write the mean normals of a split as a weights file of mean-face. Returns its card."""
    with Store(data) as store:
        normals, share = mean_normals(store, split, side)
        told = f"{store.attributes['dataset']}, split {split}, {len(store.indices(split))} samples"
        content = str(store.attributes["content_hash"])
    card = WeightsCard(
        ARCHITECTURE,
        {"side": side},
        licence="MIT" if told.startswith("synthetic") else "that of the training data",
        training_data=told,
        recipe="fnbench fit mean-face",
        source_sha256=content,
        preprocessing={"size": side},
    )
    planes = torch.from_numpy(np.moveaxis(normals, -1, 0)).half()
    write_weights(out, {"normals": planes, "coverage": torch.from_numpy(share).half()}, card)
    return card


def _shrunk(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    planes = torch.from_numpy(np.moveaxis(values, -1, 0).copy())
    pooled = functional.adaptive_avg_pool2d(planes[None], side)[0]
    return np.moveaxis(pooled.numpy(), 0, -1)


def _filled(sums: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float32]:
    from scipy.ndimage import distance_transform_edt

    length = np.linalg.norm(sums, axis=-1)
    known = (share > 0) & (length > 0)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    mean = sums[tuple(nearest)]
    unit_mean: NDArray[np.float32] = (mean / np.linalg.norm(mean, axis=-1, keepdims=True)).astype(np.float32)
    return unit_mean
