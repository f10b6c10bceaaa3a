"""What a camera does to light: exposure, tone curve, blur, noise and compression."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True, slots=True)
class Sensor:
    """Settings of one exposure.

    exposure: factor on linear light.  balance: linear RGB factors.  gamma: extra exponent of the tone curve.
    blur: pixels.  noise: standard deviation of a mid-grey pixel, in 1.  vignette: darkening of the corners.
    quality: JPEG quality, or 0 for none.
    """

    exposure: float = 1.0
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    blur: float = 0.35
    noise: float = 0.0
    vignette: float = 0.0
    quality: int = 0


def sample_sensor(rng: np.random.Generator) -> Sensor:
    """A random camera, from clean to that of an old phone."""
    balance = np.exp(rng.normal(0, 0.035, 3))
    poor = float(rng.beta(1.2, 4.0))
    return Sensor(
        exposure=float(np.exp(rng.normal(0, 0.16))),
        balance=(float(balance[0]), float(balance[1]), float(balance[2])),
        gamma=float(np.exp(rng.normal(0, 0.07))),
        blur=float(0.35 + 1.1 * poor * rng.uniform()),
        noise=float(0.03 * poor),
        vignette=float(0.25 * rng.uniform() * (rng.uniform() < 0.4)),
        quality=int(rng.integers(55, 96)) if rng.uniform() < 0.5 else 0,
    )


def develop(linear: NDArray[np.float32], sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear RGB (H, W, 3) to an sRGB picture (H, W, 3) uint8."""
    light = linear * np.float32(sensor.exposure) * np.asarray(sensor.balance, np.float32)
    height, width = light.shape[:2]
    if sensor.vignette:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        light = light * (1 - sensor.vignette * (x**2 + y**2) / 2)[..., None].astype(np.float32)
    if sensor.blur:
        light = gaussian_filter(light, (sensor.blur, sensor.blur, 0))
    if sensor.noise:
        grain = rng.standard_normal(light.shape).astype(np.float32)
        light = light + sensor.noise * np.sqrt(np.maximum(light, 0) * 0.8 + 0.02) * grain
    return _compressed(encode(_shoulder(light) ** np.float32(sensor.gamma)), sensor.quality)


def encode(linear: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Linear light in [0, 1] as sRGB bytes (IEC 61966-2-1)."""
    clipped = np.clip(linear, 0.0, 1.0)
    curve = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * curve), np.uint8)


def decode(srgb: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float32]:
    """sRGB values 0 to 255 as linear light in [0, 1]."""
    v = np.asarray(srgb, np.float32) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _shoulder(light: NDArray[np.float32]) -> NDArray[np.float32]:
    # Linear up to 0.7, then a soft approach to 1 instead of a clipped highlight.
    above = np.maximum(light - 0.7, 0.0)
    return np.asarray(np.where(light > 0.7, 0.7 + 0.3 * (1 - np.exp(-above / 0.3)), np.maximum(light, 0)), np.float32)


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    if not quality:
        return image
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))
