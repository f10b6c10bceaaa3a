"""How far a verb is, on a terminal; nothing where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click


def bar(what: str) -> Callable[[int, int], None]:
    """A callback (done, total) that keeps one line of stderr up to date: "3 of 12 samples"."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{done} of {total} {what}" + ("\n" if done == total else ""), nl=False, err=True)

    return show
