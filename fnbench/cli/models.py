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


@click.command("fit")
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="An .h5 file with a training split.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The safetensors file to write.")
def fit(model: str, data: Path, out: Path) -> None:
    """Compute the weights of MODEL from the training split of --data in one pass.

    \b
    Example:
        fnbench fit mean-face --data synthetic.h5 --out mean-face.safetensors
        fnbench eval --model mean-face --weights mean-face.safetensors --data florence.h5 --out run
    """
    from fnbench.models.fit import fit as fitted

    card = fitted(model, data, out)
    click.echo(f"{out}: {card.architecture} from {card.training_data}.")


@click.command("export-model")
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .onnx file to write.")
@click.option("--weights", type=click.Path(path_type=Path), help="A weights file; the packaged one by default.")
@click.option("--untrained", is_flag=True, help="Export random weights when there are none.")
def export_model(model: str, out: Path, weights: Path | None, untrained: bool) -> None:
    """Write MODEL as ONNX, with a TOML beside it that says how to feed it.

    \b
    Example:
        fnbench export-model crossmodal --out crossmodal.onnx
        fnbench eval --model onnx:crossmodal.toml --data florence.h5 --out run
    """
    from fnbench.models.exported import export_onnx
    from fnbench.models.load import load_estimator

    declaration = export_onnx(load_estimator(model, weights=weights, device="cpu", untrained=untrained), out)
    click.echo(f"{out}: any batch, sides in multiples; what to feed it says {declaration}.")
