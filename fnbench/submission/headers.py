"""What is wrong with the shapes, types and formats of saved maps, before a pixel is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fnbench.encodings import FLOORS, TRUNCATED_FLOOR
from fnbench.errors import InvalidPredictionError
from fnbench.evaluate import some
from fnbench.maps import Header, map_header
from fnbench.record import Finding
from fnbench.submission.declaration import Declaration
from fnbench.submission.pairing import Submission


def header_problems(submission: Submission, size: tuple[int, int]) -> tuple[list[Finding], dict[str, Header]]:
    """What is wrong with shapes, types and formats, file by file, and the headers of the maps that can be read.

    size: height and width of the samples.
    """
    found: list[Finding] = []
    headers: dict[str, Header] = {}
    for name, entry in submission.paired.items():
        where = f"{name} ({entry.label(submission.root)})"
        try:
            header = map_header(entry)
        except InvalidPredictionError as error:
            if submission.declaration.on_error != "score":
                found.append(Finding(error.code or "FM-45", "STOP", f"{where}: {error}", (name,)))
            continue
        problems = list(_shape_problems(header, size, submission.declaration))
        found += [Finding(code, "STOP", f"{where}: {text}", (name,)) for code, text in problems]
        if all(code == "FM-11" for code, _ in problems):
            headers[name] = header
    return [*found, *_set_problems(submission, headers)], headers


def _shape_problems(header: Header, size: tuple[int, int], declaration: Declaration) -> Iterator[tuple[str, str]]:
    height, width = size
    expected = f"({height}, {width}, 3)"
    shape = header.shape
    if len(shape) == 3 and shape[0] == 3 and shape[2] != 3:
        yield "FM-06", f"shape {shape}, expected {expected}: the channels come first. Save array.transpose(1, 2, 0)."
    elif len(shape) == 2 or (len(shape) == 3 and shape[2] != 3):
        count = 1 if len(shape) == 2 else shape[2]
        kind = f" ({header.note})" if header.note else ""
        yield "FM-07", f"{count} channel{'s' * (count != 1)}{kind}, expected 3: x, y, z. Alpha is not dropped silently."
    elif len(shape) != 3:
        yield "FM-05", f"shape {shape}, expected {expected}."
    elif shape[:2] == (width, height) and height != width:
        yield "FM-06", f"shape {shape}, expected {expected}: height and width are exchanged. Transpose the map."
    elif shape[:2] != size and declaration.resize is None:
        text = f"{shape[1]}x{shape[0]} pixels, expected {width}x{height}. Predict at the size of the image, or choose "
        yield "FM-05", text + "--resize bilinear; the rule is recorded."
    if header.dtype.kind not in "fu" or header.dtype.itemsize > 8 or (header.dtype.kind == "u" and
                                                                      header.dtype.itemsize > 2):  # fmt: skip
        yield "FM-05", f"type {header.dtype}, expected float32, or uint8 and uint16 codes."
    elif declaration.convention(header) is None:
        text = f"{header.dtype} codes without a declared coding. Declare --encoding 127.5 (or 128, 127), or --source"
        yield "FM-11", f"{text} NAME for the output of a known program."


def _set_problems(submission: Submission, headers: Mapping[str, Header]) -> Iterator[Finding]:
    declared = submission.declaration
    lossy = [name for name, header in headers.items() if header.format == "jpeg"]
    if lossy:
        yield Finding(
            "FM-23",
            "WARN" if declared.allow_lossy else "STOP",
            f"{len(lossy)} JPEG files: {some(lossy)}; expected float arrays or PNG, because JPEG changes normals. The "
            "released cross-modal script writes JPEG: save its array with numpy.save before that line. --allow-lossy "
            "scores them all the same.",
            tuple(lossy),
        )
    coarse = [name for name, header in headers.items() if header.storage == "8 bit"]
    if coarse:
        mean, worst = FLOORS["8 bit"]
        yield Finding(
            "FM-12",
            "WARN" if declared.allow_8bit or (lossy and declared.allow_lossy) else "STOP",
            f"{len(coarse)} maps of 8 bits: {some(coarse)}; expected float or 16 bit. 8 bits cost {mean} degrees on "
            f"average and {worst} at worst by themselves; {TRUNCATED_FLOOR[0]} and {TRUNCATED_FLOOR[1]} if truncated. "
            "--allow-8bit scores them, with this floor beside the score.",
            tuple(coarse),
        )
    kinds: dict[str, list[str]] = {}
    for name, header in headers.items():
        kinds.setdefault(f"{header.format} {header.dtype}", []).append(name)
    if len(kinds) > 1:
        listed = "; ".join(f"{len(names)} x {kind} (e.g. {names[0]})" for kind, names in sorted(kinds.items()))
        yield Finding(
            "FM-13",
            "STOP",
            f"{submission.root.name}: mixed storage: {listed}; expected one format and type for all maps.",
        )
