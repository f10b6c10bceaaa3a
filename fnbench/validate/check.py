"""Loading a whole dataset and keeping count of what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fnbench import __version__
from fnbench.adapters.contract import DatasetAdapter
from fnbench.cards import DatasetCard, load_card
from fnbench.errors import DatasetNotFoundError, FnbenchError, UnknownNameError
from fnbench.types import Capture
from fnbench.validate.measure import Concern, concerns, measure

REPORT = "fnbench dataset validation/1"
_SHOWN = 10  # problems of a kind that are printed; the others go to a file


@dataclass(frozen=True, slots=True)
class Problem:
    """One capture that cannot be loaded.

    kind: "missing" (a file is not there) or "damaged" (it is, but not what it should be).
    capture, text: for the owner of the data.  anonymous: the same without names and paths.
    """

    kind: str
    capture: str
    text: str
    anonymous: str
    code: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """What ``validate`` found.

    captures, subjects: captures per subject, of all that are listed and could be read.
    checked: captures that were loaded.  problems: those that could not be.
    measured: measurements of each loaded capture, see ``measure``.  concerns: what does not hold for faces.
    attributes: attribute -> word -> count, of those the adapter declares harmless (its ``reported``).
    own: what the adapter itself found about the whole dataset.
    """

    dataset: str
    card: DatasetCard | None
    captures: int
    checked: int
    subjects: Mapping[str, int]
    problems: Sequence[Problem]
    measured: Sequence[Mapping[str, float]]
    concerns: Sequence[Concern]
    attributes: Mapping[str, Mapping[str, int]]
    own: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Nothing missing, nothing damaged, nothing that does not hold for faces."""
        return not self.problems and not self.concerns

    def lines(self) -> list[str]:
        """The report for the owner of the data; ids of at most ten captures per kind."""
        counts = sorted(self.subjects.values())
        people = f"{len(counts)} subjects ({counts[0]} to {counts[-1]} each)" if counts else "no readable subject"
        lines = [f"{self.dataset}: {self.captures} captures listed, {self.checked} checked, {people}"]
        for kind in ("missing", "damaged"):
            of_kind = [problem for problem in self.problems if problem.kind == kind]
            if of_kind:
                lines.append(f"{kind}: {len(of_kind)} of {self.checked} captures")
                lines += [f"  {problem.capture}: {problem.text}" for problem in of_kind[:_SHOWN]]
                lines += [f"  and {len(of_kind) - _SHOWN} more"] * (len(of_kind) > _SHOWN)
        for name, numbers in _statistics(self.measured).items():
            spread = "" if numbers["min"] == numbers["max"] else f"  ({numbers['min']:.4g} to {numbers['max']:.4g})"
            lines.append(f"{name}: {numbers['median']:.4g}{spread}")
        for name, values in self.attributes.items():
            lines.append(f"{name}: " + "; ".join(f"{count} x {value}" for value, count in values.items()))
        lines += [f"{name}: {value}" for name, value in self.own.items()]
        lines += [f"check {concern.about}: {concern.text}" for concern in self.concerns]
        lines.append("whole, and what a face must be" if self.ok else "not in order: see above")
        return lines

    def anonymous(self) -> dict[str, Any]:
        """Counts and statistics without a name, a path, an id or a picture; safe to send to others."""
        refused = Counter((problem.kind, problem.code, problem.anonymous) for problem in self.problems)
        per_subject = Counter(self.subjects.values())
        return {
            "report": REPORT,
            "fnbench": __version__,
            "dataset": self.dataset,
            "card": None if self.card is None else self.card.hash[:16],
            "captures": self.captures,
            "checked": self.checked,
            "subjects": len(self.subjects),
            "subjects_by_number_of_captures": {str(count): per_subject[count] for count in sorted(per_subject)},
            "problems": [
                {"kind": kind, "code": code, "problem": text, "count": count}
                for (kind, code, text), count in sorted(refused.items())
            ],
            "measurements": _statistics(self.measured),
            "attributes": {name: dict(values) for name, values in self.attributes.items()},
            "findings": dict(self.own),
            "concerns": [{"about": concern.about, "text": concern.text} for concern in self.concerns],
            "ok": self.ok,
        }


def validate(
    adapter: DatasetAdapter,
    *,
    limit: int | None = None,
    locate: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Load the captures of a dataset and report everything that is missing, damaged or implausible.

    limit: at most this many captures, spread evenly over the list.
    locate: in how many scans without landmarks, spread evenly, the face is searched to measure the unit by the
        distance of the eyes; some seconds each.
    progress: called with the number done and the number to do.
    Raises DatasetNotFoundError when nothing of the dataset is under the adapter's folder.
    """
    ids = list(adapter.capture_ids())
    chosen = ids if limit is None or limit >= len(ids) else [ids[k * len(ids) // limit] for k in range(limit)]
    subjects: Counter[str] = Counter()
    problems: list[Problem] = []
    measured: list[Mapping[str, float]] = []
    searched = {1 + k * len(chosen) // locate for k in range(locate)} if locate else set()
    reported: tuple[str, ...] = getattr(adapter, "reported", ())
    attributes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    root = getattr(adapter, "root", None)
    for done, capture_id in enumerate(chosen, 1):
        try:
            capture = adapter.load(capture_id)
            numbers, words = _told(capture, reported)
            measured.append(measure(capture, locate=done in searched) | numbers)
            subjects[capture.subject] += 1
            for name, word in words.items():
                attributes[name][word] += 1
        except FnbenchError as error:
            kind = "missing" if isinstance(error, DatasetNotFoundError) else "damaged"
            text = str(error)
            problems.append(Problem(kind, capture_id, text, anonymised(text, capture_id, root), error.code))
        if progress is not None:
            progress(done, len(chosen))
    own: Callable[[], Mapping[str, Any]] = getattr(adapter, "findings", dict)
    return Validation(
        dataset=adapter.name,
        card=_card(adapter.name),
        captures=len(ids),
        checked=len(chosen),
        subjects=subjects,
        problems=problems,
        measured=measured,
        concerns=concerns(measured),
        attributes={name: dict(attributes[name].most_common()) for name in reported if name in attributes},
        own=own(),
    )


def _told(capture: Capture, reported: tuple[str, ...]) -> tuple[dict[str, float], dict[str, str]]:
    """The attributes that may be reported: numbers for statistics, words for counting."""
    held = {name: capture.attributes[name] for name in reported if capture.attributes.get(name) is not None}
    numbers = {name: float(v) for name, v in held.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return numbers, {name: str(value) for name, value in held.items() if name not in numbers}


def anonymised(text: str, capture_id: str, root: Path | None) -> str:
    """A message without paths, ids and names: what went wrong, with which kind of file.

    >>> anonymised("/data/1001/a b/im2.bmp: this file is missing.", "1001_a b", Path("/data"))
    '*.bmp: this file is missing.'
    """
    if root is not None and str(root) in text:
        # A path may hold spaces: it reaches from the root to the colon that ends the place in every message.
        text = re.sub(re.escape(str(root)) + r"[^:]*", lambda path: "*" + Path(path.group()).suffix.lower(), text)
    text = re.sub(r"\S*[/\\]\S*", "*", text)
    parts = {part for part in [capture_id, *re.split(r"[/_ ]", capture_id)] if len(part) > 1}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "*")
    return text


def _statistics(measured: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    found = {}
    for name in sorted({name for one in measured for name in one}):
        values = [one[name] for one in measured if name in one]
        levels = np.percentile(values, [0, 5, 50, 95, 100])
        named = zip(("min", "p05", "median", "p95", "max"), levels, strict=True)
        found[name] = {"count": len(values), **{level: round(float(value), 5) for level, value in named}}
    return found


def _card(name: str) -> DatasetCard | None:
    try:
        return load_card(name)
    except UnknownNameError:
        return None  # somebody's own adapter may come without one
