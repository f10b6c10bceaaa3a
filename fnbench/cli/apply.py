"""Verbs that use models on one's own photographs and meshes: predict, refine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from fnbench.cli.terminal import INTERRUPTED, in_order, shown

_PATH = click.Path(path_type=Path)


@click.command("predict")
@click.argument("photographs", nargs=-1, required=True, type=_PATH)
@click.option("--model", required=True, help="A name, file.py:Class or package.module:Class.")
@click.option("--out", type=_PATH, required=True, help="Folder for the results.")
@click.option("--weights", type=_PATH, help="Weights file of the model.")
@click.option("--untrained", is_flag=True, help="Go on without trained weights.")
@click.option("--device", help="cpu, cuda, cuda:1 ...")
@click.option("--detector", default="cascade", show_default=True, help="What finds faces: cascade or dlib.")
@click.option(
    "--faces", type=click.Choice(["largest", "all"]), default="largest", show_default=True, help="Which ones."
)
@click.option("--box", "boxes", multiple=True, metavar="X,Y,SIDE", help="The square of a face in pixels; repeatable.")
@click.option("--landmarks", type=_PATH, help="68 points (.pts, or lines of x y), or a folder with NAME.pts of each.")
@click.option("--size", type=int, default=256, show_default=True, help="Side of the square that the model sees.")
@click.option("--format", "format_", default="png16", show_default=True, help="png16, png8, npy or exr.")
@click.option("--frame", default="canonical", show_default=True, help="Convention of the written normals.")
@click.option("--encoding", help="Of PNG: 127.5, 128 or 127 [127.5]; of arrays: vectors or unit [vectors].")
@click.option("--border", type=click.Choice(["soft", "clear"]), default="soft", show_default=True, help="Of the mask.")
@click.option("--pictures/--no-pictures", default=True, show_default=True, help="Write pictures to look at too.")
@click.option("--batch-size", type=int, default=8, show_default=True, help="Squares per call of the model.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Skip what an earlier run finished.")
def predict(photographs: tuple[Path, ...], model: str, out: Path, **options: Any) -> None:
    """Predict the normals of faces in PHOTOGRAPHS (files, or folders of them).

    Each face is cut out by the protocol's square, predicted, and put back at full resolution. Below --out:
    normals/NAME.png, mask/NAME.png (0 = no normal), look/NAME.jpg and relit/NAME.jpg to look at, and about/NAME.json.
    Exit code 1 when photographs failed, 2 when all did.

    \b
    Example:
        fnbench predict photo.jpg --model crossmodal --out normals
        fnbench predict holiday --model mean-face --faces all --format exr --frame opencv --out normals
    """
    from fnbench.models.load import load_estimator
    from fnbench.predict import Choices, Form, predict_photographs
    from fnbench.predict.landmarks import read_box

    form = Form(options["format_"], options["frame"], options["encoding"] or "")
    same = ("detector", "faces", "landmarks", "size", "border", "pictures", "resume")
    choices = Choices(
        boxes=tuple(read_box(text) for text in options["boxes"]),
        form=form,
        batch=options["batch_size"],
        **{key: options[key] for key in same},
    )
    made = load_estimator(model, **{key: options[key] for key in ("weights", "device", "untrained")})
    with in_order(), shown() as progress:
        report = predict_photographs(made, photographs, out, choices, progress)
    click.echo("\n".join(report.lines()))
    if report.interrupted:
        click.echo(f"to continue: fnbench {shlex.join(sys.argv[1:])}")
    if report.failed and not (report.written or report.skipped) and not report.interrupted:
        sys.exit(2)  # bad input: not one photograph could be used
    sys.exit(INTERRUPTED if report.interrupted else 0 if report.ok else 1)


@click.command("refine")
@click.option("--mesh", type=_PATH, required=True, help="The coarse mesh.")
@click.option("--normals", type=_PATH, required=True, help="Normal map of the photograph: PNG, NPY or EXR.")
@click.option("--camera", type=_PATH, required=True, help="Camera of the photograph as JSON: K, world_to_camera, ...")
@click.option("--out", type=_PATH, required=True, help="The OBJ file to write.")
@click.option("--mask", type=_PATH, help="Picture of the map's size: 0 = leave this pixel out, 255 = trust it fully.")
@click.option("--frame", default="canonical", show_default=True, help="Convention of the map.")
@click.option("--encoding", help="Of PNG: 127.5, 128 or 127 [127.5]; of arrays: vectors or unit [vectors].")
@click.option(
    "--subdivide", type=int, default=0, show_default=True, help="Split edges of over 2 pixels, N times at most."
)
@click.option("--detail", type=float, help="Waves shorter than this are the map's, in units of the mesh.  [half of it]")
@click.option("--picture", type=_PATH, help="PNG of before, map and after to look at.")
def refine(mesh: Path, normals: Path, camera: Path, out: Path, **options: Any) -> None:
    """Give a coarse mesh the detail of a normal map of the same face.

    Visible vertices move along their normals until the surface agrees with the map; wide shapes, borders and what the
    camera does not see stay those of the mesh. Lengths are in the units of the mesh, which must be those of the camera.

    \b
    Example:
        fnbench refine --mesh coarse.obj --normals normals/photo.png --camera camera.json --out fine.obj --subdivide 2
    """
    from fnbench.refine import refine_files

    report = refine_files(mesh, normals, camera, out, **options)
    click.echo("\n".join(report.lines()))
