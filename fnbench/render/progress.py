"""How far a rendering is, and what became of it: values for whoever shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """State after a capture, or what ``things`` names.

    ``seconds`` counts from the start of this run; ``total`` includes the skipped.
    """

    total: int
    written: int
    skipped: int
    failed: int
    seconds: float
    things: str = "captures"

    @property
    def done(self) -> int:
        """Captures that need no more work."""
        return self.written + self.skipped + self.failed

    @property
    def rate(self) -> float:
        """Captures per second in this run."""
        return (self.written + self.failed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds left at this rate; None before the first capture."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    def line(self) -> str:
        """The state on one line."""
        left = "" if self.remaining is None else f", {clock(self.remaining)} left"
        failed = f", {self.failed} failed" if self.failed else ""
        rate = f", {self.rate:.2g}/s" if self.rate else ""
        return f"{self.done}/{self.total} {self.things}{failed}{rate}{left}"


@dataclass(frozen=True, slots=True)
class RenderReport:
    """What a rendering did.

    out: the file; there unless nothing was rendered, the run was interrupted, or it was a dry one.
    written, skipped: ids of captures rendered now, and found finished.  failed: id -> message.
    samples: in the file.  pending: captures that a dry or interrupted run leaves to be done.
    notes: what the user should know: a lock taken over, a texture that was missing.
    """

    out: Path
    written: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    samples: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    dry_run: bool = False

    @property
    def ok(self) -> bool:
        """True when nothing failed and nothing was left undone."""
        return not self.failed and not self.interrupted

    def lines(self) -> list[str]:
        """The report for a terminal; the last line says written, skipped, failed."""
        lines = [f"note: {note}" for note in self.notes]
        lines += [f"failed: {name}: {message.removeprefix(f'{name}: ')}" for name, message in self.failed.items()]
        return [*lines, self.summary()]

    def summary(self) -> str:
        """One line: what is where, and how many captures were written, skipped, failed (with their ids)."""
        if self.dry_run:
            return f"{self.out}: dry run, {len(self.pending)} captures to render, {len(self.skipped)} already done"
        counts = f"{len(self.written)} written, {len(self.skipped)} skipped, {len(self.failed)} failed"
        ids = ", ".join(list(self.failed)[:_SHOWN]) + (", ..." if len(self.failed) > _SHOWN else "")
        counts += f" ({ids})" if ids else ""
        if self.interrupted:
            return f"{self.out}: interrupted; captures: {counts}, {len(self.pending)} left"
        what = f"{self.samples} samples" if self.samples else "not written, there is nothing to write"
        return f"{self.out}: {what}; captures: {counts}; {clock(self.seconds)}"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss.

    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
