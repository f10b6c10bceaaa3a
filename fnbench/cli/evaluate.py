"""Verbs that score: models, saved predictions, and what the scores mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fnbench.errors import InvalidSettingError

_DATA = click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="The .h5 file with the exact normals."
)
_SPLIT = click.option("--split", default="test", show_default=True, help="train, val or test.")
_PROTOCOL = click.option("--protocol", default="fnbench-1", show_default=True, help="fnbench-1 or face-2020.")
_DECLARED = (
    click.option("--name", help="Name of the predictions on the leaderboard."),
    click.option("--source", help="Program that wrote them: crossmodal, dsine, moge ... Sets frame and encoding."),
    click.option("--frame", help="Their frame: opencv, sfsnet, dsine ... or spelled out: x,-y,-z."),
    click.option("--encoding", help="Of integer codes: 127.5, 128 or 127; of floats in [0, 1]: unit."),
    click.option("--order", help="Channel order: rgb or bgr."),
    click.option("--mirror", is_flag=True, help="The maps are mirrored left to right."),
    click.option("--space", help="world, when the normals are in the frame of the scan."),
    click.option("--resize", help="bilinear: accept maps of another size; recorded."),
    click.option("--missing", help="worst: score missing maps as 180 degrees."),
    click.option("--on-error", help="score: count damaged files as missing."),
    click.option("--allow-8bit", is_flag=True, help="Score 8-bit maps; the floor is printed."),
    click.option("--allow-lossy", is_flag=True, help="Score JPEG maps."),
    click.option("--ignore-extra", is_flag=True, help="Leave files with unknown ids out."),
    click.option("--constant", is_flag=True, help="A declared constant baseline."),
    click.option("--self-test", is_flag=True, help="The ground truth may be among the maps."),
    click.option("--as-is", is_flag=True, help="Score although the doctor sees a convention mistake."),
)


def _declared(verb: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_DECLARED):
        verb = option(verb)
    return verb


@click.command("eval")
@click.option("--model", help="A name, file.py:Class or package.module:Class.")
@click.option("--predictions", type=click.Path(path_type=Path), help="Folder (or NPZ, HDF5 file) of saved predictions.")
@_DATA
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the record.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file of the model.")
@click.option("--untrained", is_flag=True, help="Go on without trained weights.")
@click.option("--device", help="cpu, cuda, cuda:1 ...")
@click.option("--batch-size", type=int, default=8, show_default=True, help="Images per call of the model.")
@_PROTOCOL
@_SPLIT
@click.option("--limit", type=int, help="Only the first samples; such a result is never ranked.")
@click.option("--exclude", multiple=True, help="Id of a sample to leave out; recorded. May be repeated.")
@click.option(
    "--keep-maps", is_flag=True, help="Keep the predicted maps beside the record: a report then runs nothing."
)
@click.option("--workers", type=int, default=1, show_default=True, help="Processes on this machine.")
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler (tcp://host:8786) instead of local processes.")
@_declared
def evaluate(
    model: str | None,
    predictions: Path | None,
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
    keep_maps: bool,
    workers: int,
    scheduler: str | None,
    **declared: Any,
) -> None:
    """Score a model, or saved predictions, against exact normals and write a record.

    \b
    Example:
        fnbench eval --model crossmodal --weights crossmodal.safetensors --data florence.h5 --out run
        fnbench eval --predictions maps --name dsine --source dsine --data florence.h5 --out run
    """
    from fnbench.cli.terminal import bar
    from fnbench.record import write_record
    from fnbench.store import Store

    if (model is None) == (predictions is None):
        raise InvalidSettingError("eval needs either --model or --predictions. See fnbench eval --help.")
    if scheduler is not None:
        out.mkdir(parents=True, exist_ok=True)  # the cluster leaves its parts there
    scoring: dict[str, Any] = {
        "protocol": protocol,
        "split": split,
        "limit": limit,
        "exclude": exclude,
        "workers": workers,
        "scheduler": scheduler,
        "scratch": out.resolve() if scheduler is not None else None,
        "progress": bar("samples"),
    }
    with Store(data) as store:
        if predictions is not None:
            from fnbench.submission import evaluate_submission, read_declaration

            result = evaluate_submission(predictions, store, read_declaration(predictions, **declared), **scoring)
        else:
            from fnbench.evaluate import ModelRecipe, evaluate

            recipe = ModelRecipe(str(model), weights, device, untrained)
            result = evaluate(recipe, store, batch=batch_size, keep=out if keep_maps else None, **scoring)
    path = write_record(result, out)
    click.echo(result.text())
    click.echo(f"record: {path}")


@click.command("doctor")
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="Folder of saved predictions.")
@_DATA
@_PROTOCOL
@_SPLIT
@_declared
def doctor(predictions: Path, data: Path, protocol: str, split: str, **declared: Any) -> None:
    """Name the convention mistake in saved predictions; change nothing.

    Ends with exit code 2 when something is wrong.

    \b
    Example:
        fnbench doctor --predictions maps --data florence.h5
    """
    from fnbench.errors import InvalidPredictionError
    from fnbench.store import Store
    from fnbench.submission import examined, read_declaration

    with Store(data) as store:
        found, findings = examined(
            predictions, store, read_declaration(predictions, **declared), protocol=protocol, split=split
        )
    for finding in findings:
        click.echo(str(finding))
    if found:
        raise InvalidPredictionError("\n".join(str(diagnosis) for diagnosis in found), code=found[0].code)
    click.echo("No convention mistake found.")


@click.group("submission")
def submission() -> None:
    """Take part without writing code: write a template, check what was saved."""


@submission.command("template")
@_DATA
@_SPLIT
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
def template(data: Path, split: str, out: Path) -> None:
    """Write the images to predict, the names of the maps, and a declaration to fill in.

    \b
    Example:
        fnbench submission template --data florence.h5 --out florence-submission
    """
    from fnbench.store import Store
    from fnbench.submission import write_template

    with Store(data) as store:
        ids = write_template(store, out, split=split)
    click.echo(f"{out}: {len(ids)} images; README.txt says what to save and where.")


@submission.command("validate")
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="Folder of saved predictions.")
@_DATA
@_PROTOCOL
@_SPLIT
@click.option("--exclude", multiple=True, help="Id of a sample to leave out. May be repeated.")
@click.option("--report", type=click.Path(path_type=Path), help="JSON file for every finding in full.")
@_declared
def validate(
    predictions: Path,
    data: Path,
    protocol: str,
    split: str,
    exclude: tuple[str, ...],
    report: Path | None,
    **declared: Any,
) -> None:
    """Check names, formats and numbers of saved predictions; list every problem at once.

    \b
    Example:
        fnbench submission validate --predictions maps --data florence.h5
    """
    from fnbench.store import Store
    from fnbench.submission import read_declaration, refuse, validate_submission, write_findings

    with Store(data) as store:
        findings = validate_submission(
            predictions, store, read_declaration(predictions, **declared), protocol=protocol, split=split,
            exclude=exclude,
        )  # fmt: skip
    if report is not None:
        write_findings(findings, report)
    for finding in findings:
        if finding.verdict != "STOP":
            click.echo(str(finding))
    refuse(findings)
    click.echo("The submission is complete and well formed.")


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap and the permutations.")
def compare(first: Path, second: Path, seed: int) -> None:
    """Compare the records FIRST and SECOND: paired difference, interval, wins per subject and region.

    \b
    Example:
        fnbench compare run/crossmodal.json run/mean-face.json
    """
    from fnbench.compare import compare
    from fnbench.record import read_record

    click.echo(compare(read_record(first), read_record(second), seed=seed).text())


@click.command("reproduce")
@click.argument("model")
@click.argument("dataset")
@click.option("--records", type=click.Path(path_type=Path), help="Folder of records; the shipped ones by default.")
@click.option("--method", help="Name in the reported table, when it is not like the model's.")
def reproduce(model: str, dataset: str, records: Path | None, method: str | None) -> None:
    """Compare the measured record of MODEL on DATASET with the reported numbers, and give a verdict.

    \b
    Example:
        fnbench reproduce crossmodal florence --records run
    """
    from fnbench.record import read_records, shipped_records
    from fnbench.reproduce import reproductions

    found = reproductions(model, dataset, read_records(records or shipped_records()), method=method)
    click.echo("\n\n".join(one.text() for one in found))
