"""The built-in dataset: parametric heads whose normals are known in closed form.

Needs no folder and no download. Subjects ``s000``, ``s001``, ... are drawn from fixed seeds; every subject has a
neutral capture and four of the other expressions, so the same id is the same head on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from fnbench.adapters.contract import unknown_capture
from fnbench.scans import head
from fnbench.types import Capture

SUBJECTS = 60
"""People in the dataset unless another number is asked for."""
EXPRESSIONS_EACH = 4
"""Expressions of each person beside neutral."""
SEED = 20200
"""First word of every seed; the second is the number of the subject."""


class Synthetic:
    """Parametric heads as captures. Implements DatasetAdapter; ``root`` is not used.

    subjects: how many people.  spacing: grid step of the meshes in millimetres.
    """

    name: ClassVar[str] = "synthetic"

    def __init__(self, root: Path | None = None, *, subjects: int = SUBJECTS, spacing: float = head.SPACING) -> None:
        self.subjects = subjects
        self.spacing = spacing

    def capture_ids(self) -> Sequence[str]:
        """``s000_neutral`` and so on, sorted."""
        return sorted(f"s{number:03d}_{name}" for number in range(self.subjects) for name in expressions_of(number))

    def load(self, capture_id: str) -> Capture:
        """Mesh the head of this id; DatasetNotFoundError when there is none."""
        number, expression = self._parse(capture_id)
        shape = head.Shape(identity_of(number), head.EXPRESSIONS[expression])
        return Capture(
            id=capture_id,
            subject=f"s{number:03d}",
            scan=head.mesh(shape, self.spacing),
            landmarks=head.landmarks(shape),
            attributes={
                "expression": expression,
                "seed": [SEED, number],
                "spacing_mm": self.spacing,
                "region_source": "built-in head",
            },
        )

    def shape(self, capture_id: str) -> head.Shape:
        """The parameters behind a capture, for exact normals: ``head.normals_at(shape, points)``."""
        number, expression = self._parse(capture_id)
        return head.Shape(identity_of(number), head.EXPRESSIONS[expression])

    def _parse(self, capture_id: str) -> tuple[int, str]:
        subject, _, expression = capture_id.partition("_")
        digits = subject.removeprefix("s")
        number = int(digits) if digits.isascii() and digits.isdigit() else -1
        if subject != f"s{number:03d}" or not 0 <= number < self.subjects or expression not in expressions_of(number):
            raise unknown_capture(self.name, capture_id, self.capture_ids())
        return number, expression


def identity_of(number: int) -> head.Identity:
    """The person of this number."""
    return head.sample_identity(np.random.default_rng([SEED, number]))


def expressions_of(number: int) -> list[str]:
    """Names of the expressions of a person: neutral, and four others that go round the list from person to person."""
    others = [name for name in head.EXPRESSIONS if name != "neutral"]
    return ["neutral", *(others[(EXPRESSIONS_EACH * number + k) % len(others)] for k in range(EXPRESSIONS_EACH))]
