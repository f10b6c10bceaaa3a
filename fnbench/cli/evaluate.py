"""Verbs that score: models, saved predictions, and what the scores mean."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("eval")
@click.option("--model", required=True, help="A name, file.py:Class or package.module:Class.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The .h5 file with the exact normals.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the record.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file of the model.")
@click.option("--untrained", is_flag=True, help="Go on without trained weights.")
@click.option("--device", help="cpu, cuda, cuda:1 ...")
@click.option("--batch-size", type=int, default=8, show_default=True, help="Images per call of the model.")
@click.option("--protocol", default="fnbench-1", show_default=True, help="fnbench-1 or face-2020.")
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option("--limit", type=int, help="Only the first samples; such a result is never ranked.")
@click.option("--exclude", multiple=True, help="Id of a sample to leave out; recorded. May be repeated.")
def evaluate(
    model: str,
    data: Path,
    out: Path,
    weights: Path | None,
    untrained: bool,
    device: str | None,
    batch_size: int,
    protocol: str,
    split: str,
    limit: int | None,
    exclude: tuple[str, ...],
) -> None:
    """Score a model against exact normals and write a record.

    \b
    Example:
        fnbench eval --model crossmodal --weights crossmodal.safetensors --data florence.h5 --out run
    """
    from fnbench.evaluate import evaluate
    from fnbench.models.load import load_estimator
    from fnbench.record import write_record
    from fnbench.store import Store

    with Store(data) as store:
        estimator = load_estimator(model, weights=weights, device=device, untrained=untrained)
        result = evaluate(
            estimator, store, protocol=protocol, split=split, batch=batch_size, limit=limit, exclude=exclude
        )
    path = write_record(result, out)
    click.echo(result.text())
    click.echo(f"record: {path}")
