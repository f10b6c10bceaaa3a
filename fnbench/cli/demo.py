"""The verb that shows everything once."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fnbench-demo"),
    show_default=True,
    help="Folder for everything the demo makes.",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes that render.")
def demo(out: Path, workers: int) -> None:
    """Render built-in heads, evaluate every built-in model, rank them, draw pictures.

    \b
    Example:
        fnbench demo
    """  # fmt: skip
    from fnbench.demo import run_demo

    for line in run_demo(out, click.echo, workers=workers).lines():
        click.echo(line)
