"""The verb that trains."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path)


@click.command("train")
@click.argument("recipe")
@click.option("--data", type=_FILE, multiple=True, required=True, help="Rendered .h5 of pairs; repeatable.")
@click.option("--normals", type=_FILE, multiple=True, help="Rendered .h5 used for its normals alone; repeatable.")
@click.option("--images", type=_FILE, help="Folder of pictures (or .h5) used for its pictures alone.")
@click.option("--positions", type=_FILE, multiple=True, help="Position file of each --data file, for prn; repeatable.")
@click.option("--out", type=_FILE, required=True, help="Folder of the run; an interrupted run goes on.")
@click.option("--init", type=_FILE, help="Weights to start from: of this model, or an ImageNet ResNet-18 (.pth).")
@click.option("--device", help="cpu, cuda, cuda:1, ...; chosen if unset.")
@click.option("--resume/--no-resume", default=True, help="Go on from the checkpoint in --out.")
@click.option("--smoke", is_flag=True, help="Run every path once in miniature, to see that all fits.")
def train(recipe: str, out: Path, **options: Any) -> None:
    """Train a model by RECIPE: a TOML file, or the id of a built-in model.

    Under torchrun every process takes its share. Validation uses the val split of --data.

    \b
    Example:
        fnbench render-gt synthetic --out synthetic.h5
        fnbench train crossmodal --data synthetic.h5 --out run --smoke
    """
    from fnbench.training.loop import train as run
    from fnbench.training.recipe import read_recipe, smoke

    chosen = read_recipe(recipe)
    small = options.pop("smoke")
    report = run(smoke(chosen) if small else chosen, out, tell=lambda line: click.echo(line, err=True), **options)
    if report.first:  # under torchrun the other processes have nothing of their own to say
        again = [f"to continue: fnbench {shlex.join(sys.argv[1:])}"] if report.interrupted else []
        click.echo("\n".join([*report.lines(), *again]))
    if report.interrupted:
        sys.exit(130)


@click.command("positions")
@click.option("--data", type=_FILE, required=True, help="A rendered .h5 of ict.")
@click.option("--root", type=_FILE, required=True, help="The dataset's folder, as it was given to render-gt.")
@click.option("--out", type=_FILE, required=True, help="The position file to write.")
def positions(data: Path, root: Path, out: Path) -> None:
    """Write where each vertex of prn's template lies in the samples of --data.

    \b
    Example:
        fnbench positions --data ict.h5 --root ICT-FaceKit --out ict-positions.h5
        fnbench train prn --data ict.h5 --positions ict-positions.h5 --out run
    """
    from fnbench.models.prn import template
    from fnbench.training.positions import write_positions

    def told(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            click.echo(f"{done} of {total} samples", err=True)

    count = write_positions(data, root, template(), out, progress=told)
    click.echo(f"{out}: positions of {count} samples.")
