"""What samples say about where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fnbench.camera import CropBox
from fnbench.cards import SplitRule
from fnbench.types import Capture, Photograph


@dataclass(frozen=True, slots=True)
class Origin:
    """What every sample of a dataset shares: its name and who is in which split."""

    dataset: str
    splits: SplitRule


def sample_id(capture: Capture, view: str) -> str:
    """The id of a sample: capture and view."""
    return f"{capture.id}/{view}"


def photo_about(photograph: Photograph, box: CropBox, moved: bool) -> dict[str, Any]:
    """Attributes of a sample that was cut from a photograph."""
    crop = [round(value, 3) for value in (box.x, box.y, box.side)]
    return {**photograph.attributes, "photograph": photograph.name, "crop": crop, "crop_moved": moved}
