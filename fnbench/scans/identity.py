"""Who a parametric head is, and what face it makes: plain numbers, drawn from a generator.

Identity parameters are in standard deviations around the mean person; expression parameters are activations
between 0 and 1 (a few take -1 to 1). What each does to the surface stands in ``anatomy.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType

import numpy as np

_LIMIT = 2.2
"""Identity parameters are redrawn beyond this many standard deviations: no caricatures."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The build of a head, each number in standard deviations from the mean person.

    A positive number means wider, longer, fuller, deeper, further forward or further up, as the name says;
    ``eye_tilt`` lifts the outer corner, ``nose_turn`` lifts the tip, ``age`` deepens folds and hollows the cheeks.
    """

    head_width: float = 0.0
    head_length: float = 0.0
    face_width: float = 0.0
    midface_length: float = 0.0
    lip_length: float = 0.0
    chin_length: float = 0.0
    jaw_width: float = 0.0
    chin_width: float = 0.0
    chin_projection: float = 0.0
    forehead_slope: float = 0.0
    brow_ridge: float = 0.0
    cheekbones: float = 0.0
    cheek_fullness: float = 0.0
    eye_spacing: float = 0.0
    eye_opening: float = 0.0
    eye_tilt: float = 0.0
    eye_depth: float = 0.0
    lid_fold: float = 0.0
    nose_projection: float = 0.0
    nose_bridge: float = 0.0
    nose_hump: float = 0.0
    nose_width: float = 0.0
    nose_tip: float = 0.0
    nose_turn: float = 0.0
    mouth_width: float = 0.0
    upper_lip: float = 0.0
    lower_lip: float = 0.0
    lip_projection: float = 0.0
    philtrum: float = 0.0
    ear_size: float = 0.0
    ear_angle: float = 0.0
    neck_width: float = 0.0
    age: float = 0.0
    lean: float = 0.0
    tilt: float = 0.0


@dataclass(frozen=True, slots=True)
class Expression:
    """Activations of facial actions, 0 at rest and 1 in full.

    smile (negative: corners down), jaw (mouth open), brows (negative: drawn down and together), lids (1: closed),
    squint, puff, pucker, wrinkle (nose).
    """

    smile: float = 0.0
    jaw: float = 0.0
    brows: float = 0.0
    lids: float = 0.0
    squint: float = 0.0
    puff: float = 0.0
    pucker: float = 0.0
    wrinkle: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """One head: a person making a face."""

    identity: Identity = field(default_factory=Identity)
    expression: Expression = field(default_factory=Expression)


EXPRESSIONS = MappingProxyType(
    {
        "neutral": Expression(),
        "smile": Expression(smile=0.8, squint=0.25),
        "grin": Expression(smile=1.0, jaw=0.25, squint=0.45, brows=0.1),
        "mouth-open": Expression(jaw=0.8),
        "surprise": Expression(jaw=0.6, brows=1.0, lids=-0.25),
        "brow-raise": Expression(brows=1.0, lids=-0.1),
        "frown": Expression(brows=-1.0, smile=-0.25, squint=0.3),
        "sad": Expression(smile=-0.7, brows=0.35, lids=0.15),
        "squint": Expression(squint=1.0, brows=-0.35),
        "closed-eyes": Expression(lids=1.0),
        "cheek-puff": Expression(puff=1.0, pucker=0.15),
        "pucker": Expression(pucker=1.0),
        "disgust": Expression(wrinkle=1.0, brows=-0.6, smile=-0.35, squint=0.4),
    }
)
"""Named expressions, neutral first."""


def sample_identity(rng: np.random.Generator) -> Identity:
    """A random person: independent normal parameters, redrawn beyond 2.2 standard deviations."""
    values = rng.standard_normal(len(fields(Identity)))
    while (beyond := np.abs(values) > _LIMIT).any():
        values[beyond] = rng.standard_normal(int(beyond.sum()))
    return Identity(*(float(value) for value in values))
