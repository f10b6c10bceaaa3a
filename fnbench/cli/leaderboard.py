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
@click.option(
    "--protocol", multiple=True, help="Rank only the records of this protocol; repeated, each gets its own tables."
)
@click.option(
    "--reports", type=click.Path(path_type=Path), help="Folder with <dataset>.html to link to; --out if unset."
)
@click.option(
    "--unmeasured", is_flag=True, help="List on the page also datasets that others alone reported numbers on."
)
def leaderboard(records: Path, out: Path, protocol: tuple[str, ...], reports: Path | None, unmeasured: bool) -> None:
    """Rank records: one CSV and one Markdown table per dataset, and index.html, which sorts and filters.

    \b
    Example:
        fnbench leaderboard --records records --out board
    """  # fmt: skip
    from fnbench.record import read_records
    from fnbench.report.board import write_leaderboard

    for path in write_leaderboard(
        read_records(records), out, protocols=protocol, reports=reports, unmeasured=unmeasured
    ):
        click.echo(path)
