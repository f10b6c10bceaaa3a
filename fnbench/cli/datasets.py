"""Verbs around datasets as their owners distribute them: list, show, validate."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("datasets", invoke_without_command=True)
@click.pass_context
def datasets(context: click.Context) -> None:
    """List all datasets that fnbench reads, or look into one.

    \b
    Example:
        fnbench datasets
        fnbench datasets show photoface
        fnbench datasets validate photoface --root ~/data/photoface
    """
    if context.invoked_subcommand is None:
        from fnbench.cards import card_names, load_card, table

        click.echo(table([load_card(name) for name in card_names()]))


@datasets.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print the card of dataset NAME: facts with their confidence, licence, access, splits.

    \b
    Example:
        fnbench datasets show photoface
    """
    from fnbench.cards import describe, load_card

    click.echo(describe(load_card(name)))


@datasets.command("validate")
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the dataset as distributed.")
@click.option("--limit", type=click.IntRange(min=1), help="Check only this many captures, spread evenly.")
@click.option("--locate", type=click.IntRange(min=0), default=10, show_default=True, help="Scans to search for eyes.")
@click.option("--json", "json_file", type=_FILE, help="Write an anonymous report: no names, paths or pictures.")
@click.option("--problems", "problems_file", type=_FILE, help="Write every problem with its capture, one per line.")
def validate_dataset(
    name: str, root: Path | None, limit: int | None, locate: int, json_file: Path | None, problems_file: Path | None
) -> None:
    """Check a copy of dataset NAME: what is missing, damaged, in another unit or turned.

    In some scans that come without landmarks the face is searched, to measure the unit by the distance of the eyes.

    NAME is a known name, file.py:Class or package.module:Class. Exit code 1 when something is not in order.
    The JSON file can be sent to others: it proves how a dataset is laid out without showing any of it.

    \b
    Example:
        fnbench datasets validate photoface --root ~/data/photoface --json report.json
    """
    import json

    from fnbench.cli.terminal import bar
    from fnbench.files import write_text
    from fnbench.registry import resolve
    from fnbench.validate import validate

    found = validate(resolve(name, "dataset")(root), limit=limit, locate=locate, progress=bar("captures"))
    if json_file is not None:
        write_text(json_file, json.dumps(found.anonymous(), indent=2) + "\n")
    if problems_file is not None:
        write_text(problems_file, "".join(f"{one.kind}\t{one.capture}\t{one.text}\n" for one in found.problems))
    click.echo("\n".join(found.lines()))
    sys.exit(0 if found.ok else 1)


@datasets.command("leaks")
@click.argument("training", nargs=-1, required=True, type=_FILE)
@click.option("--test", "test_file", type=_FILE, required=True, help="The .h5 file that models are tested on.")
def leaks(training: tuple[Path, ...], test_file: Path) -> None:
    """Look for people and pictures that TRAINING files share with a test file.

    Subjects are compared within a dataset and across datasets whose cards say that they share people; pictures
    are compared by a hash that survives resizing. Exit code 1 when a subject is certainly on both sides.

    \b
    Example:
        fnbench datasets leaks train.h5 --test florence.h5
    """
    from fnbench.splits import leaks_between

    found = leaks_between(training, test_file)
    click.echo("\n".join(leak.line() for leak in found) or "nobody and nothing is on both sides")
    sys.exit(1 if any(leak.certain for leak in found) else 0)
