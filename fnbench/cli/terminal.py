"""What verbs that take long share: progress on the terminal, and an orderly end on a signal."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fnbench.render.progress import Progress

INTERRUPTED = 130
"""Exit code of a run that was interrupted and ended in order."""
_PLAIN_EVERY = 10.0
"""Seconds between lines when the output is no terminal."""


@contextmanager
def in_order() -> Iterator[None]:
    """SIGTERM ends a run like Ctrl-C does: in order, with what is finished kept."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """A callback that shows progress on stderr: one line that changes on a terminal, a line now and then elsewhere."""
    terminal = sys.stderr.isatty()
    last = [time.monotonic()]

    def show(progress: Progress) -> None:
        if terminal:
            click.echo(f"\r\033[K{progress.line()}", nl=False, err=True)
        elif progress.done and (time.monotonic() - last[0] > _PLAIN_EVERY or progress.done == progress.total):
            last[0] = time.monotonic()
            click.echo(progress.line(), err=True)

    try:
        yield show
    finally:
        if terminal:
            click.echo(err=True)


def bar(what: str) -> Callable[[int, int], None]:
    """A callback (done, total) that keeps one line of stderr up to date: "3 of 12 samples"."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{done} of {total} {what}" + ("\n" if done == total else ""), nl=False, err=True)

    return show
