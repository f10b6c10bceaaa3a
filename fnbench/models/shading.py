"""Shape from shading with a statistical model of face normals: the classical rival, without a network.

W. A. P. Smith, E. R. Hancock, "Recovering Facial Shape Using a Statistical Model of Surface Normal Direction", IEEE
PAMI 28(12), 2006. Normals vary around the mean of a training split: at every pixel they are mapped to the tangent plane
of the mean direction (azimuthal equidistant projection), and principal components are learned there. To fit a
picture, two steps alternate: light from normals by least squares, and coefficients from the brightness that this light
predicts, held back by how much each component varied.

What differs from the paper: light is unknown and of second order (nine spherical harmonics, Basri and Jacobs 2003)
instead of one known source; pixels are weighted down where constant albedo explains them badly (brows, lips, beard);
the last step, which bends every normal until it reproduces its pixel, is left out: it would carve albedo into the
shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fnbench.errors import InvalidSettingError, InvalidStoreError
from fnbench.models.layers import unit
from fnbench.models.mean_face import mean_normals
from fnbench.models.weights import WeightsCard, check_names, packaged_weights, read_weights, write_weights
from fnbench.store import Store

ARCHITECTURE = "shading"
SIDE = 64
"""Side of the model's maps; its components hold no finer detail."""
COMPONENTS = 32
MOST = 1500
"""Samples that are learned from, spread evenly over the split."""

_ROUNDS = 8
_NOISE = 0.08
"""Deviation of a pixel's brightness from constant albedo, relative to the mean; sets how far coefficients may go."""
_SEEN = 0.5
"""Share of the training masks that must cover a pixel for its brightness to count."""

Maps = NDArray[np.float64]


class Shading:
    """Fits light and the coefficients of a statistical model of normals to every picture.

    weights: a file of ``fnbench fit shading``; the packaged one by default.
    """

    name = ARCHITECTURE

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or packaged_weights(self.name)
        if path is None:
            raise InvalidSettingError(
                "Model shading needs statistics of a training split, and none come with this version. Make them: "
                "fnbench fit shading --data F.h5 --out W.safetensors, then pass --weights W.safetensors."
            )
        read = read_weights(path, ARCHITECTURE)
        side, count = int(read.card.options.get("side", SIDE)), int(read.card.options.get("components", COMPONENTS))
        shapes = {"mean": (3, side, side), "coverage": (side, side), "components": (count, 2, side, side)}
        check_names({**shapes, "deviations": (count,)}, read.tensors, str(path))
        arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in read.tensors.items()}
        mean = arrays["mean"].reshape(3, -1).T
        self._mean: Maps = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        self._tangents = tangents(self._mean)
        self._components: Maps = arrays["components"].reshape(count, 2, -1)
        self._deviations: Maps = arrays["deviations"]
        self._used = arrays["coverage"].ravel() > _SEEN
        self._side = side
        self.provenance: dict[str, Any] = {**read.provenance, "preprocessing": {"size": side}}

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) images to (N, H, W, 3) float32 unit normals."""
        if not len(images):
            return np.zeros(images.shape, np.float32)
        batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        # Least squares wants light, not code values: sRGB is close to a power of 2.2.
        light = batch.clamp(0, 1).pow(2.2).mean(1, keepdim=True)
        small = functional.interpolate(light, (self._side, self._side), mode="bilinear", antialias=True)
        fitted = np.stack([self._fitted(one) for one in small.numpy().astype(np.float64).reshape(len(images), -1)])
        maps = torch.from_numpy(fitted.astype(np.float32)).reshape(-1, self._side, self._side, 3).permute(0, 3, 1, 2)
        resized = functional.interpolate(maps, images.shape[1:3], mode="bilinear", antialias=True)
        return unit(resized).permute(0, 2, 3, 1).contiguous().numpy()

    def _fitted(self, brightness: Maps) -> Maps:
        """(P,) brightness to (P, 3) unit normals."""
        used, components = self._used, self._components
        seen = brightness[used] / max(brightness[used].mean(), 1e-6)
        parts = components[:, :, used].reshape(len(components), -1)
        coefficients = np.zeros(len(components))
        weight = np.ones(len(seen))
        for _ in range(_ROUNDS):
            flat = np.tensordot(coefficients, components, 1)
            normals, slopes = bent(self._mean[used], self._tangents[used], flat[:, used])
            basis = harmonics(normals)
            light = _ridge(basis * weight[:, None], seen * weight, 0.01 * len(seen))
            residual = seen - basis @ light
            weight = 1 / np.sqrt(1 + (residual / (2 * max(np.median(np.abs(residual)), 1e-3))) ** 2)
            # Brightness changes with the normal, the normal with its place in the tangent plane.
            change = np.einsum("pkc,k,pcj->jp", harmonic_slopes(normals), light, slopes).ravel()
            rows = (parts * change).reshape(len(parts), 2, -1).sum(1).T * self._deviations  # (P, K)
            target = residual + rows @ (coefficients / self._deviations)
            step = _ridge(rows * weight[:, None], target * weight, _NOISE**2 * _correlated(len(seen)))
            coefficients = np.clip(step, -2.5, 2.5) * self._deviations
        return bent(self._mean, self._tangents, np.tensordot(coefficients, components, 1))[0]


def fit_shading(
    data: Path, out: Path, *, split: str = "train", side: int = SIDE, components: int = COMPONENTS
) -> WeightsCard:
    """Write mean and principal components of the normals of a split as a weights file of shading. Returns its card."""
    with Store(data) as store:
        mean, share = mean_normals(store, split, side)
        indices = store.indices(split)
        indices = [indices[k] for k in np.unique(np.linspace(0, len(indices) - 1, min(MOST, len(indices))).astype(int))]
        if len(indices) < 3:
            raise InvalidStoreError(f"{store.path}: {len(indices)} samples in split {split!r}; components need 3.")
        flat = mean.reshape(-1, 3).astype(np.float64)
        rows = np.stack([_flattened(store, index, flat, side) for index in indices])
        told = f"{store.attributes['dataset']}, split {split}, {len(indices)} samples"
        content = str(store.attributes["content_hash"])
    rows -= rows.mean(0)
    _, values, vectors = np.linalg.svd(rows, full_matrices=False)
    count = min(components, len(indices) - 1)
    deviations = np.maximum(values[:count] / np.sqrt(len(indices) - 1), 1e-3)
    card = WeightsCard(
        ARCHITECTURE,
        {"side": side, "components": count},
        licence="MIT" if told.startswith(("synthetic", "ict")) else "that of the training data",
        training_data=told,
        recipe="fnbench fit shading",
        source_sha256=content,
        preprocessing={"size": side},
    )
    tensors = {
        "mean": np.moveaxis(mean, -1, 0),
        "coverage": share,
        "components": vectors[:count].reshape(count, 2, side, side),
        "deviations": deviations,
    }
    write_weights(out, {name: torch.from_numpy(np.ascontiguousarray(a)).half() for name, a in tensors.items()}, card)
    return card


def tangents(mean: Maps) -> Maps:
    """(P, 3) unit vectors to (P, 3, 2): two orthonormal directions across each."""
    across = np.cross([0.0, 1.0, 0.0], mean)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = np.where(length > 1e-6, across / np.maximum(length, 1e-6), [1.0, 0.0, 0.0])
    return np.stack([across, np.cross(mean, across)], -1)


def flattened(mean: Maps, across: Maps, normals: Maps) -> Maps:
    """(P, 3) unit normals to (2, P): direction and angle from the mean, in its tangent plane, in radians."""
    sideways = np.einsum("pcj,pc->jp", across, normals)
    length = np.linalg.norm(sideways, axis=0)
    angle = np.arctan2(length, (mean * normals).sum(1))
    flat: Maps = sideways * np.divide(angle, length, out=np.ones_like(angle), where=length > 1e-9)
    return flat


def bent(mean: Maps, across: Maps, flat: Maps) -> tuple[Maps, Maps]:
    """The inverse of ``flattened``, and how the normals move: (P, 3) unit normals, (P, 3, 2) derivatives."""
    angle = np.linalg.norm(flat, axis=0)
    small = angle < 1e-6
    safe = np.where(small, 1.0, angle)
    cardinal = np.where(small, 1.0, np.sin(safe) / safe)
    curve = np.where(small, -1 / 3, (np.cos(safe) - cardinal) / safe**2)
    sideways = np.einsum("pcj,jp->pc", across, flat)
    normals = np.cos(angle)[:, None] * mean + cardinal[:, None] * sideways
    slopes = cardinal[:, None, None] * across + (curve[:, None] * sideways)[..., None] * flat.T[:, None]
    return normals, slopes - (cardinal[:, None] * mean)[..., None] * flat.T[:, None]


def harmonics(n: Maps) -> Maps:
    """(P, 3) to (P, 9): polynomials that span second-order lighting; constants are left to the light."""
    x, y, z = n.T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], -1)


def harmonic_slopes(n: Maps) -> Maps:
    """(P, 3) to (P, 9, 3): derivatives of ``harmonics``."""
    x, y, z = n.T
    o, i = np.zeros_like(x), np.ones_like(x)
    rows = [
        (o, o, o),
        (i, o, o),
        (o, i, o),
        (o, o, i),
        (y, x, o),
        (o, z, y),
        (z, o, x),
        (2 * x, -2 * y, o),
        (o, o, 6 * z),
    ]
    return np.stack([np.stack(row, -1) for row in rows], 1)


def _flattened(store: Store, index: int, mean: Maps, side: int) -> Maps:
    """One sample as (2 P,) in the tangent planes; zero, the mean, where its mask does not reach."""
    target = store.target(index)
    planes = torch.from_numpy(np.moveaxis(target.normals * target.mask[..., None], -1, 0).copy())
    pooled = functional.adaptive_avg_pool2d(planes[None], side)[0].numpy().reshape(3, -1).T.astype(np.float64)
    length = np.linalg.norm(pooled, axis=1)
    known = length > 0.3
    flat = flattened(mean, tangents(mean), pooled / np.maximum(length, 1e-6)[:, None])
    kept: Maps = (flat * known).ravel()
    return kept


def _ridge(rows: Maps, target: Maps, price: float) -> Maps:
    return np.asarray(np.linalg.solve(rows.T @ rows + price * np.eye(rows.shape[1]), rows.T @ target), np.float64)


def _correlated(count: int) -> float:
    """Pixels that say the same: what albedo does to brightness is smooth, so some 400 pixels speak for themselves."""
    return max(count / 400, 1.0)
