"""What the owner of saved predictions says about them, and which policies a run follows."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fnbench.encodings import ORDERS, Convention, check_encoding, source_named
from fnbench.errors import InvalidSettingError
from fnbench.frames import frame_preset
from fnbench.maps import Header

DECLARATION = "submission.toml"
RESIZES = ("bilinear",)
SPACES = ("camera", "world")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the owner says about a submission, and which policies the run follows.

    name: on the leaderboard.  source: a known program; sets frame, encoding and order.
    frame: name in ``fnbench.frames`` or spelled out ("x,-y,-z").  encoding, order: see ``fnbench.encodings``.
    mirror: the maps are mirrored left to right.  space: "world" when normals are in the frame of the scan.
    resize: "bilinear" to accept another size.  missing: "worst" to score missing maps as 180 degrees.
    on_error: "score" to count a damaged file as missing.
    constant: a declared constant baseline.  self_test: the ground truth may be among the maps.
    as_is: score although the doctor sees a convention mistake; the finding stays in the record.
    """

    name: str = ""
    source: str | None = None
    frame: str | None = None
    encoding: str | None = None
    order: str | None = None
    mirror: bool = False
    space: str = "camera"
    resize: str | None = None
    missing: str | None = None
    on_error: str | None = None
    allow_8bit: bool = False
    allow_lossy: bool = False
    ignore_extra: bool = False
    constant: bool = False
    self_test: bool = False
    as_is: bool = False
    training_data: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if self.source is not None:
            source_named(self.source)
        if self.frame is not None:
            frame_preset(self.frame)
        if self.encoding is not None:
            check_encoding(self.encoding)
        for name, allowed in (("order", ORDERS), ("space", SPACES), ("resize", RESIZES), ("missing", ("worst",)),
                              ("on_error", ("score",))):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise InvalidSettingError(f"Submission: {name} is {value!r}, expected {' or '.join(allowed)}.")

    def convention(self, header: Header) -> Convention | None:
        """Frame, encoding and order of a stored map; None when codes are stored and nobody said how."""
        codes = header.picture or header.dtype.kind in "ui"
        base = Convention(encoding="" if codes else "vectors")
        if self.source is not None:
            source = source_named(self.source)
            base = source.pictures if codes else source.arrays
        found = Convention(self.frame or base.frame, self.encoding or base.encoding, self.order or base.order)
        return found if found.encoding else None


def read_declaration(path: Path, **given: Any) -> Declaration:
    """The declaration of a submission folder, overridden by what is given (None keeps what the file says)."""
    stated: dict[str, Any] = {}
    file = path / DECLARATION
    if path.is_dir() and file.is_file():
        try:
            stated = dict(tomllib.loads(file.read_text(encoding="utf-8")).get("submission", {}))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidSettingError(f"{DECLARATION}: not a TOML file ({error}).") from None
    known = {one.name for one in fields(Declaration)}
    unknown = sorted(set(stated) - known)
    if unknown:
        raise InvalidSettingError(f"{DECLARATION}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
    chosen = stated | {name: value for name, value in given.items() if value not in (None, False, "")}
    if not chosen.get("name"):
        chosen["name"] = path.stem
    return Declaration(**chosen)
