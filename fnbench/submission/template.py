"""What somebody without Python needs to submit: images, file names, and a declaration to fill in."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from fnbench.errors import InvalidSettingError
from fnbench.files import write_text
from fnbench.png import write_png
from fnbench.store import Store
from fnbench.submission.declaration import DECLARATION
from fnbench.submission.pairing import MANIFEST, stem

_TEMPLATE = """[submission]
name = "my-method"
# A known program sets the next three by itself: crossmodal, sfsnet, dsine, omnidata, marigold, sapiens, david,
# metric3d, moge, geowizard.
# source = "dsine"
frame = "canonical"        # x to the image right, y up, z to the viewer; or another: fnbench.frames
# encoding = "127.5"       # only for integer codes: n = code / 127.5 - 1; or 128, 127
training_data = ""         # what the method was trained on
licence = ""
"""
_README = """{dataset}: {count} images of {width}x{height} pixels in images/.

Predict the surface normal at every pixel of every image and save one map per image into predictions/, under the name
that predictions/manifest.csv lists (column "file") with the ending of its format:

    .npy   (height, width, 3) float32 unit vectors           best
    .exr   the same
    .png   3 x 16 bit
    .png   3 x 8 bit, only with --allow-8bit: costs 0.17 degrees by itself

Frame: x to the image right, y up, z to the viewer; a wall facing the camera is (0, 0, 1). Another convention is fine
when predictions/submission.toml names it. The benchmark masks; fill every pixel.

    fnbench submission validate --predictions predictions --data {data}
    fnbench eval --predictions predictions --data {data} --out run
"""


def write_template(store: Store, out: Path, *, split: str = "test") -> list[str]:
    """Write what a submission needs: images, the names of the maps, and a declaration to fill in.

    Returns the ids. The folder must be new or empty.
    """
    indices = sorted(store.indices(split), key=lambda index: store.ids[index])
    if not indices:
        raise InvalidSettingError(f"{store.path.name}: no samples in split {split}.")
    if out.exists() and any(out.iterdir()):
        raise InvalidSettingError(f"{out}: the folder is not empty. Give a new one.")
    height, width = store.size
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["id", "file"])
    for index in indices:
        name = stem(store.ids[index])
        write_png(out / "images" / f"{name}.png", store.image(index))
        writer.writerow([store.ids[index], name])
    predictions = out / "predictions"
    write_text(predictions / MANIFEST, table.getvalue())
    write_text(predictions / DECLARATION, _TEMPLATE)
    write_text(
        out / "README.txt",
        _README.format(dataset=store.attributes["dataset"], count=len(indices), width=width, height=height,
                       data=store.path.name),
    )  # fmt: skip
    return [store.ids[index] for index in indices]
