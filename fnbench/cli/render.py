"""Verbs around the file of ground truth: render-gt, verify, merge, export, ls."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from fnbench.cli.terminal import INTERRUPTED, in_order, shown

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("render-gt")
@click.argument("dataset")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the dataset as distributed.")
@click.option("--out", type=_FILE, required=True, help="The .h5 file to write.")
@click.option("--set", "options", multiple=True, metavar="NAME=VALUE", help="Option of the dataset; repeatable.")
@click.option("--plan", "plan_file", type=_FILE, help="TOML or JSON file with any of the settings below.")
@click.option("--yaw", metavar="DEG,...", help="Yaw angles of the views.  [0]")
@click.option("--pitch", metavar="DEG,...", help="Pitch angles; every yaw is combined with every pitch.  [0]")
@click.option("--size", type=int, help="Side of the samples in pixels.  [256]")
@click.option("--images", type=click.Choice(["render", "photo"]), help="Pictures of the scan, or its photographs.")
@click.option("--renderer", help="Backend that finds the visible triangles.  [raster]")
@click.option("--seed", type=int, help="Seed of light, skin and background.  [0]")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes on this machine.")
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler (tcp://host:8786) instead of local processes.")
@click.option("--limit", type=int, help="Only the first captures.")
@click.option(
    "--samples",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only captures that match, or that a file lists (@FILE, one pattern a line); repeatable.",
)
@click.option("--resume/--no-resume", default=True, help="Keep what an earlier run of the same settings finished.")
@click.option("--reorder", is_flag=True, help="Sort faces first; for large meshes in random order.")
@click.option("--strict", is_flag=True, help="Stop at the first capture that fails.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def render_gt(dataset: str, root: Path | None, out: Path, **options: Any) -> None:
    """Render ground-truth normals of DATASET into one HDF5 file.

    DATASET is a known name, file.py:Class or package.module:Class. An interrupted run goes on where it
    stopped when the same command is given again. Exit code 1 when captures failed, 2 when all did.

    \b
    Example:
        fnbench render-gt synthetic --out synthetic.h5
        fnbench render-gt florence --root ~/data/florence --out florence.h5 --yaw -30,0,30 --workers 4
    """
    from fnbench.registry import options_of, resolve
    from fnbench.render.groundtruth import patterns_of, render_dataset

    plan = _plan(options)
    adapter = resolve(dataset, "dataset")
    chosen = options_of(adapter, options["options"])
    keep = ("workers", "scheduler", "limit", "resume", "strict", "dry_run", "reorder")
    with in_order(), shown() as progress:
        report = render_dataset(
            adapter(root, **chosen),
            out,
            plan,
            samples=patterns_of(options["patterns"]),
            options=chosen,
            progress=progress,
            **{key: options[key] for key in keep},
        )
    click.echo("\n".join(report.lines()))
    if report.interrupted:
        click.echo(f"to continue: fnbench {shlex.join(sys.argv[1:])}")
    if report.failed and not report.samples and not report.interrupted:
        sys.exit(2)  # bad input: nothing at all could be rendered
    sys.exit(INTERRUPTED if report.interrupted else 0 if report.ok else 1)


@click.command("verify")
@click.argument("file", type=_FILE)
def verify(file: Path) -> None:
    """Prove that FILE is whole: schema, counts, the hash of every sample, normals, masks, splits.

    Exit code 1 when anything but warnings was found.

    \b
    Example:
        fnbench verify synthetic.h5
    """
    from fnbench.store import verify_store

    found = verify_store(file)
    click.echo("\n".join(found.lines()))
    sys.exit(0 if found.ok else 1)


@click.command("merge")
@click.argument("shards", nargs=-1, required=True, type=_FILE)
@click.option("--out", type=_FILE, required=True, help="The .h5 file to write.")
def merge(shards: tuple[Path, ...], out: Path) -> None:
    """Join SHARDS of one dataset, rendered with the same settings, into one file.

    \b
    Example:
        fnbench merge florence-a.h5 florence-b.h5 --out florence.h5
    """
    from fnbench.store import Store, merge_stores

    merged = Store(merge_stores(shards, out))
    click.echo(
        f"{out}: {len(merged)} samples from {len(shards)} files, content {merged.attributes['content_hash'][:16]}"
    )


@click.command("export")
@click.argument("file", type=_FILE)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["png16", "exr", "npy", "webdataset"]),
    required=True,
    help="What the files are.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only this split.")
@click.option("--frame", default="canonical", show_default=True, help="Convention of the written normals.")
@click.option("--shard-size", type=click.IntRange(1), default=1000, show_default=True, help="Samples per tar.")
def export(file: Path, out: Path, **options: Any) -> None:
    """Write the samples of FILE as plain files, for other people's code.

    \b
    Example:
        fnbench export synthetic.h5 --format png16 --out synthetic-png
    """
    from fnbench.export import export_store
    from fnbench.store import Store

    click.echo(export_store(Store(file), out, **options).summary())


@click.command("ls")
@click.argument("file", type=_FILE)
@click.option("--samples", is_flag=True, help="List every sample: id, subject, split.")
def ls(file: Path, samples: bool) -> None:
    """Say what is in FILE: dataset, protocol, settings, and how many samples, subjects and captures.

    \b
    Example:
        fnbench ls synthetic.h5
    """
    from fnbench.store import Store

    click.echo("\n".join(Store(file).described(samples=samples)))


def _plan(options: dict[str, Any]) -> Any:
    from fnbench.errors import InvalidSettingError
    from fnbench.render.plan import grid, plan_from, read_plan

    settings = read_plan(options["plan_file"]).settings if options["plan_file"] else {}
    settings |= {k: options[k] for k in ("size", "images", "renderer", "seed") if options[k] is not None}
    if options["yaw"] is not None or options["pitch"] is not None:
        try:
            yaws, pitches = ([float(v) for v in (options[k] or "0").split(",")] for k in ("yaw", "pitch"))
        except ValueError as error:
            raise InvalidSettingError(
                f"--yaw and --pitch: expected numbers with commas, like -30,0,30 ({error})."
            ) from error
        settings["views"] = grid(yaws, pitches)
    return plan_from(settings)
