"""Verbs of the leaderboard."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--records",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder with the records of fnbench eval; searched with its subfolders.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for <dataset>.csv."
)
@click.option("--protocol", help="Rank only the records of this protocol.")
def leaderboard(records: Path, out: Path, protocol: str | None) -> None:
    """Rank records into one table per dataset.

    \b
    Example:
        fnbench leaderboard --records records --out board
    """  # fmt: skip
    from fnbench.leaderboard import boards, write_boards
    from fnbench.record import read_records

    for path in write_boards(boards(read_records(records), protocol), out):
        click.echo(path)
