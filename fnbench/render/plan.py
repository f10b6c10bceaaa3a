"""What is rendered of every capture: views, crop, image source, mask; stored with the result and hashed.

Two runs of equal plans on equal data give equal files. A plan is written as TOML or JSON with the names of
its fields; unknown keys are refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fnbench.errors import InvalidSettingError

IMAGES = ("render", "photo")
_RANGES = (
    ("size", 8, 8192),
    ("crop", 0.1, 10),
    ("distance", 100, 1e5),
    ("distance_scatter", 1, 10),
    ("radius", 1, 1e4),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of one rendering.

    views: (yaw, pitch) of each camera around the face, degrees; see ``camera.look_at``. Photographs
        bring their own.
    size: side of the square samples in pixels.
    crop: side of the crop relative to the longer side of the landmarks' box.
    distance: from the camera to the middle of the face in millimetres. The crop decides the field of view,
        so no focal length is needed.
    scatter: largest random turn of each view in yaw and in pitch, degrees; by the seed and the name of the sample.
    distance_scatter: the distance is multiplied by a random factor between 1 / this and this.
    images: "render" for pictures of the scan, "photo" for the photographs that belong to it.
    radius: a scan without region labels counts within this many millimetres of the tip of the nose.
    depth: store the depth maps too.
    renderer: which backend finds the visible triangles; see ``render.backends``.
    seed: of light, skin and background of rendered pictures.
    appearance: options of ``render.appearance.image``.
    """

    views: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    size: int = 256
    crop: float = 1.2
    distance: float = 1000.0
    scatter: tuple[float, float] = (0.0, 0.0)
    distance_scatter: float = 1.0
    images: str = "render"
    radius: float = 95.0
    depth: bool = True
    renderer: str = "raster"
    seed: int = 0
    appearance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple((float(yaw), float(pitch)) for yaw, pitch in self.views))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidSettingError(f"plan: {name} is {value}, expected {low} to {high:g}.")
        object.__setattr__(self, "scatter", tuple(float(degrees) for degrees in self.scatter))
        if len(self.scatter) != 2 or not all(0 <= degrees <= 90 for degrees in self.scatter):
            raise InvalidSettingError(f"plan: scatter is {list(self.scatter)}, expected degrees of yaw and of pitch.")
        if self.images not in IMAGES:
            raise InvalidSettingError(f"plan: images is {self.images!r}, expected {' or '.join(IMAGES)}.")
        if not self.views or len(set(self.views)) != len(self.views):
            raise InvalidSettingError("plan: views are empty or repeated; give each (yaw, pitch) once.")
        for yaw, pitch in self.views:
            if not (abs(yaw) <= 180 and abs(pitch) < 90):
                raise InvalidSettingError(f"plan: view {yaw:g},{pitch:g}; expected yaw within 180 and pitch within 89.")

    @property
    def settings(self) -> dict[str, Any]:
        """The plan as plain values, for files and comparisons."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def hash(self) -> str:
        """sha256 of the settings; equal plans have equal hashes."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()


def grid(yaws: Iterable[float], pitches: Iterable[float]) -> tuple[tuple[float, float], ...]:
    """All combinations of yaw and pitch, pitch by pitch.

    >>> grid([-30, 30], [0])
    ((-30.0, 0.0), (30.0, 0.0))
    """
    columns = list(yaws)
    return tuple((float(yaw), float(pitch)) for pitch in pitches for yaw in columns)


def plan_from(settings: Mapping[str, Any], name: str = "plan") -> Plan:
    """A plan from plain values; InvalidSettingError names the key that is unknown or of the wrong type."""
    known = {item.name for item in fields(Plan)}
    for key in settings:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise InvalidSettingError(f"{name}: there is no setting {key!r}.{hint} Known: {', '.join(sorted(known))}.")
    default = Plan()
    for key, value in settings.items():
        _check_type(name, key, value, getattr(default, key))
    return Plan(**dict(settings))


def read_plan(path: Path) -> Plan:
    """The plan of a TOML or JSON file."""
    try:
        text = path.read_text(encoding="utf-8")
        settings = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InvalidSettingError(
            f"{path}: cannot be read ({error.strerror}); expected a TOML or JSON file."
        ) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"{path}: neither TOML nor JSON ({error}).") from error
    if not isinstance(settings, dict):
        raise InvalidSettingError(f"{path}: expected settings by name, found {type(settings).__name__}.")
    return plan_from(settings, str(path))


def _check_type(name: str, key: str, value: Any, default: Any) -> None:
    if isinstance(default, bool) or isinstance(value, bool):
        fits = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, int):
        fits = isinstance(value, int)
    elif isinstance(default, float):
        fits = isinstance(value, int | float) and math.isfinite(value)
    elif key == "views":
        fits = isinstance(value, list | tuple) and all(_is_view(view) for view in value)
    elif key == "scatter":
        fits = _is_view(value)
    else:
        fits = isinstance(value, Mapping if key == "appearance" else type(default))
    if not fits:
        raise InvalidSettingError(f"{name}: {key} is {value!r}, expected something like {default!r}.")


def _is_view(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
