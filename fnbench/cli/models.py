"""Verbs about models and their weights."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("convert-weights")
@click.argument("model")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The safetensors file to write.")
@click.option("--dead-weights", is_flag=True, help="Keep tensors that the network never uses.")
def convert_weights(model: str, source: Path, out: Path, dead_weights: bool) -> None:
    """Convert the released weights SOURCE of MODEL into a file for --weights.

    SOURCE is opened with torch's restricted unpickler: a file that holds code is refused.

    \b
    Example:
        fnbench convert-weights crossmodal model.pth --out crossmodal.safetensors
        fnbench eval --model crossmodal --weights crossmodal.safetensors --data florence.h5 --out run
    """
    from fnbench.models.released import convert

    card = convert(model, source, out, dead_weights=dead_weights)
    click.echo(f"{out}: {card.architecture}, licence {card.licence} (it travels with the file).")
