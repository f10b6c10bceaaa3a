"""Verbs that show: reports, contact sheets, model cards, citations."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--records", type=click.Path(path_type=Path), required=True, help="Folder with records of fnbench eval.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The HTML file to write.")
@click.option("--data", type=click.Path(path_type=Path), help="The .h5 file of the evaluation; without it no samples.")
@click.option("--dataset", help="Take only records of this dataset.")
@click.option("--split", help="Take only records of this split.")
@click.option("--protocol", help="Take only records of this protocol.")
@click.option("--figures", type=click.Path(path_type=Path), help="Folder for the figures as PNG and SVG.")
@click.option("--samples-of", help="Model that chooses worst and best samples; the first of the table by default.")
@click.option("--compare", nargs=2, help="Two models to compare; with two records they are compared anyway.")
@click.option("--model", multiple=True, help="NAME=file.py:Class, for a model that is not built in. May be repeated.")
@click.option("--weights", multiple=True, help="NAME=FILE, the weights of the evaluation. May be repeated.")
@click.option("--predictions", multiple=True, help="NAME=DIR, saved predictions of a record. May be repeated.")
@click.option("--device", help="cpu, cuda, cuda:1 ... for models that are run again.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random samples.")
def report(
    records: Path,
    out: Path,
    data: Path | None,
    dataset: str | None,
    split: str | None,
    protocol: str | None,
    figures: Path | None,
    samples_of: str | None,
    compare: tuple[str, str] | None,
    model: tuple[str, ...],
    weights: tuple[str, ...],
    predictions: tuple[str, ...],
    device: str | None,
    seed: int,
) -> None:
    """Write one HTML file that shows records: tables, curves, breakdowns, and samples with their maps.

    The file loads nothing and opens from disk. Models are run again for the samples that are shown, unless eval
    was told to --keep-maps.

    \b
    Example:
        fnbench report --records run --data florence.h5 --out report.html
        fnbench report --records run --data florence.h5 --out report.html --figures figures
    """
    from fnbench.report.build import Choices, Selection, build
    from fnbench.report.sources import sources_from

    written = build(
        Selection(records, dataset, split, protocol),
        data,
        out,
        figures=figures,
        sources=sources_from(model, weights, predictions, device),
        choices=Choices(samples_of, compare, seed),
    )
    for path in written:
        click.echo(path)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The PNG or JPEG to write; <name of DATA>.png here if unset."
)
@click.option("--count", type=int, default=24, show_default=True, help="Samples on the sheet, spread over the file.")
@click.option("--split", help="Only train, val or test.")
@click.option("--images-only", is_flag=True, help="The images side by side, without maps: many at a glance.")
@click.option("--serve", is_flag=True, help="Open a page on this machine instead, to walk through sample by sample.")
@click.option("--port", type=int, default=0, help="Port of the page on 127.0.0.1; a free one if unset.")
def view(
    data: Path, out: Path | None, count: int, split: str | None, images_only: bool, serve: bool, port: int
) -> None:
    """Look at DATA: a contact sheet of images, normals, masks, landmarks and regions.

    \b
    Example:
        fnbench view florence.h5 --out sheet.png
        fnbench view florence.h5 --images-only --count 200 --out many.jpg
        fnbench view florence.h5 --serve
    """
    from fnbench.store import Store

    with Store(data) as store:
        if serve:
            from fnbench.report.serve import serve_forever

            serve_forever(store, port, click.echo)
        else:
            from fnbench.report.sheet import write_sheet

            path = out or Path(f"{data.stem}.png")
            shown = write_sheet(path, store, split=split, count=count, images_only=images_only)
            click.echo(f"{path}: {len(shown)} of {len(store)} samples")


@click.command()
@click.argument("model")
@click.option("--records", type=click.Path(path_type=Path), help="Folder with records; the shipped ones if unset.")
@click.option("--out", type=click.Path(path_type=Path), help="Markdown file to write; printed if unset.")
def card(model: str, records: Path | None, out: Path | None) -> None:
    """Write a model card for MODEL whose every number is read from its records.

    \b
    Example:
        fnbench card crossmodal --records records --out MODEL_CARD.md
    """
    from fnbench.files import write_text
    from fnbench.record import read_records, shipped_records
    from fnbench.report.card import model_card

    text = model_card(model, read_records(records or shipped_records()))
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(out)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--records", type=click.Path(path_type=Path), help="Folder with records: cite all that they rest on.")
def cite(names: tuple[str, ...], records: Path | None) -> None:
    """Print BibTeX for datasets and models by name; for fnbench itself when none is named.

    \b
    Example:
        fnbench cite crossmodal florence fnbench
        fnbench cite --records records
    """
    from fnbench.cite import citations, names_of
    from fnbench.record import read_records

    found = [] if records is None else names_of(read_records(records))
    click.echo(citations([*names, *found] or ["fnbench"]))
