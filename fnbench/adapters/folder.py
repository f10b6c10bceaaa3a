"""Your own scans: any folder of meshes, described by a small ``fnbench.toml`` in it, without a line of Python.

::

    name = "our-lab"                     # the dataset's name in files, records and tables
    scans = '(?P<subject>[^/]+)/(?P<expression>[^/]+)\\.obj'     # regular expression on paths below the folder
    unit = "mm"                          # um, mm, cm, dm, m, "auto", or millimetres per unit
    front = [0, 0, 1]                    # from the face to the viewer, in the axes of the files (optional)
    gt_kind = "scan"                     # or registered-template, template+displacement, synthetic
    licence = "..."                      # optional, as are title, citation, access, publish

    landmarks = "{path}.lm.txt"          # 68 lines "x y z" in the units of the scan, "nan" where unknown (optional)
    photographs = "{folder}/{stem}_*.jpg"        # photographs with known cameras (optional), or "texture"
    cameras = "{photograph}.json"        # K, world_to_camera in millimetres ..., see fnbench/camera.py (optional)
    topology = "template.obj"            # all scans are this mesh, moved: fits of FLAME or another template (optional)

    [exclude]                            # parts that are no skin (optional)
    materials = ["Eye*"]
    vertices = [[9000, 9500]]

    [splits]                             # as in a dataset card; everybody is in the test split without it
    rule = "hash"

``{path}`` is the scan without its suffix, ``{folder}`` its folder, ``{stem}`` its name without suffix, ``{photograph}``
a photograph without its suffix. ``photographs = "texture"`` takes the uncropped photographs out of the texture of a
scanner such as a 3dMD, and recovers their cameras from the texture coordinates. With ``topology``, landmarks and
regions are found on that mesh, and are at its vertices in all scans. The group ``subject`` of the regular expression is
required: it is the unit of splits and of statistics. Other named groups become attributes, and ``expression`` a
breakdown.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fnbench.adapters.contract import access, given_root, nothing_found, read_bytes, read_text, unknown_capture
from fnbench.camera import camera_from_json
from fnbench.cards import SPLITS, DatasetCard, SplitRule
from fnbench.errors import DatasetNotFoundError, InvalidDataError, InvalidSettingError
from fnbench.files import printable
from fnbench.images import read_image
from fnbench.lens import undistorted
from fnbench.scans.atlas import atlas_photographs
from fnbench.scans.read import Exclusion, read_scan
from fnbench.scans.units import extent
from fnbench.types import GT_KINDS, Capture, Photograph, Scan, Topology

DESCRIPTION = "fnbench.toml"
IN_TEXTURE = "texture"
"""The word for photographs that lie uncropped in the texture of the scan."""
_TEXTS = ("title", "licence", "citation", "access", "publish")
_PATTERNS = ("landmarks", "photographs", "cameras")
_KEYS = ("name", "scans", "unit", "front", "gt_kind", *_TEXTS, *_PATTERNS, "topology", "exclude", "splits")


@dataclass(frozen=True, slots=True)
class Description:
    """The contents of ``fnbench.toml``, checked; fields as in the module docstring."""

    name: str
    scans: re.Pattern[str]
    unit: str | float
    front: tuple[float, ...] | None
    gt_kind: str
    landmarks: str | None
    photographs: str | None
    cameras: str | None
    topology: str | None
    exclude: Exclusion
    card: DatasetCard = field(repr=False)


class Folder:
    """The scans of a described folder; ids are their paths without suffix.

    root: the folder that holds ``fnbench.toml``.
    """

    name: ClassVar[str] = "folder"

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}  # a worker reads the description itself

    @property
    def card(self) -> DatasetCard:
        """The card that the description makes, under its own name."""
        return self._description.card

    def capture_ids(self) -> Sequence[str]:
        return sorted(self._scans)

    def load(self, capture_id: str) -> Capture:
        if capture_id not in self._scans:
            raise unknown_capture(self._description.name, capture_id, self._scans)
        path, groups = self._scans[capture_id]
        scan, landmarks = self._read(path)
        scan = replace(scan, name=capture_id)
        return Capture(
            id=capture_id,
            subject=str(groups["subject"]),
            scan=scan,
            landmarks=landmarks,
            topology=self._topology(scan),
            photographs=self._photographs(path, scan),
            attributes={key: value for key, value in groups.items() if key != "subject" and value is not None},
        )

    def _read(self, path: Path) -> tuple[Scan, NDArray[np.float64] | None]:
        """A mesh and its landmarks, both in millimetres."""
        about = self._description
        scan = read_scan(path, unit=about.unit, front=about.front, exclude=about.exclude)
        if not about.landmarks:
            return scan, None
        # Landmarks share the file's unit; the factor is that of the scan as it was read.
        raw = read_scan(path, unit=None, front=about.front, exclude=about.exclude, texture=False)
        scale = extent(scan.vertices, scan.faces) / extent(raw.vertices, raw.faces)
        return scan, _landmarks(Path(_filled(about.landmarks, path)), scale)

    def _topology(self, scan: Scan) -> Topology | None:
        """The mesh that the description names, read before it is needed: one that is not there is told at once."""
        if self._description.topology is None:
            return None
        reference = self._template
        return Topology(scan, lambda: reference)

    @cached_property
    def _template(self) -> Capture:
        name = str(self._description.topology)
        scan, landmarks = self._read(self._root / name)
        return Capture(name, name, scan=scan, landmarks=landmarks)

    def _photographs(self, path: Path, scan: Scan) -> Callable[[], tuple[Photograph, ...]] | None:
        about = self._description
        if about.photographs == IN_TEXTURE:
            return None if scan.texture is None else partial(atlas_photographs, scan)
        files = _matching(self._root, _filled(about.photographs, path)) if about.photographs else []
        return partial(_photographs, files, about.cameras) if files else None

    @cached_property
    def _root(self) -> Path:
        return given_root(self.name, self.root).resolve()

    @cached_property
    def _description(self) -> Description:
        path = self._root / DESCRIPTION
        if not path.is_file():
            raise DatasetNotFoundError(
                f"folder: no {DESCRIPTION} in {self._root}. Describe your scans in one. {access(self.name)}"
            )
        return read_description(path)

    @cached_property
    def _scans(self) -> dict[str, tuple[Path, dict[str, str | None]]]:
        found: dict[str, tuple[Path, dict[str, str | None]]] = {}
        for folder, subfolders, files in os.walk(self._root):
            subfolders.sort()
            for file in sorted(files):
                path = Path(folder) / file
                relative = printable(path.relative_to(self._root).as_posix())
                match = self._description.scans.fullmatch(relative)
                if match is None:
                    continue
                capture_id = relative.removesuffix(path.suffix)
                if not match["subject"]:
                    raise InvalidDataError(
                        f"{path}: 'scans' in {DESCRIPTION} finds no subject in this path; narrow it."
                    )
                if capture_id in found:
                    raise InvalidDataError(
                        f"{path}: {found[capture_id][0].name} has the same name; narrow 'scans' in {DESCRIPTION}."
                    )
                found[capture_id] = path, match.groupdict()
        if not found:
            raise nothing_found(self.name, self._root, f"paths that match {self._description.scans.pattern!r}")
        return found


def read_description(path: Path) -> Description:
    """Read and check ``fnbench.toml``; InvalidSettingError names the key that is wrong."""
    content = read_bytes(path)
    try:
        data = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"{path}: not a TOML file ({error}).") from error
    unknown = [key for key in data if key not in _KEYS]
    missing = [key for key in ("name", "scans", "unit") if key not in data]
    if unknown or missing:
        found = f"unknown {', '.join(unknown)}" if unknown else f"missing {', '.join(missing)}"
        raise InvalidSettingError(f"{path}: {found}. Expected {', '.join(_KEYS)}.")
    _check_types(path, data)
    return Description(
        name=data["name"],
        scans=_pattern(path, data["scans"]),
        unit=data["unit"],
        front=tuple(float(value) for value in data["front"]) if "front" in data else None,
        gt_kind=data.get("gt_kind", "scan"),
        landmarks=_beside(path, data.get("landmarks")),
        photographs=data.get("photographs"),
        cameras=data.get("cameras"),
        topology=data.get("topology"),
        exclude=_exclusion(path, data.get("exclude", {})),
        card=_card(path, data, hashlib.sha256(content).hexdigest()),
    )


def _check_types(path: Path, data: Mapping[str, Any]) -> None:
    for key in ("name", "scans", "gt_kind", "topology", *_TEXTS, *_PATTERNS):
        if key in data and not (isinstance(data[key], str) and data[key].strip()):
            raise InvalidSettingError(f"{path}: {key} is {data[key]!r}, expected text.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", data["name"]):
        raise InvalidSettingError(
            f"{path}: name is {data['name']!r}, expected lower-case letters, digits, dots and dashes."
        )
    if isinstance(data["unit"], bool) or not isinstance(data["unit"], str | int | float):
        raise InvalidSettingError(f"{path}: unit is {data['unit']!r}, expected a unit or millimetres per unit.")
    kinds = tuple(kind for kind in GT_KINDS if kind not in ("none", "photometric-stereo"))
    if data.get("gt_kind", "scan") not in kinds:
        raise InvalidSettingError(f"{path}: gt_kind is {data['gt_kind']!r}, expected one of {', '.join(kinds)}.")
    front = data.get("front", [0, 0, 1])
    if not (
        isinstance(front, list) and len(front) == 3 and all(isinstance(v, int | float) for v in front) and any(front)
    ):
        raise InvalidSettingError(f"{path}: front is {front!r}, expected three numbers, such as [0, 0, 1].")
    if "cameras" in data and "photographs" not in data:
        raise InvalidSettingError(f"{path}: cameras without photographs; give both or none.")


def _pattern(path: Path, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InvalidSettingError(f"{path}: scans is not a regular expression ({error}).") from error
    if "subject" not in pattern.groupindex:
        raise InvalidSettingError(
            f"{path}: scans has no group 'subject'. Write (?P<subject>...) around the part of the path that names the "
            "person: splits and intervals are by person."
        )
    return pattern


def _beside(path: Path, pattern: str | None) -> str | None:
    if pattern is not None and not any(name in pattern for name in ("{path}", "{stem}")):
        raise InvalidSettingError(f"{path}: {pattern!r} is the same for every scan; use {{path}} or {{stem}} in it.")
    return pattern


def _exclusion(path: Path, data: Any) -> Exclusion:
    ranges = data.get("vertices", []) if isinstance(data, dict) else None
    materials = data.get("materials", []) if isinstance(data, dict) else None
    whole = isinstance(ranges, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(value, int) for value in pair) for pair in ranges
    )
    named = isinstance(materials, list) and all(isinstance(name, str) for name in materials)
    if not (whole and named) or set(data) - {"materials", "vertices"}:
        raise InvalidSettingError(f"{path}: exclude takes materials (names) and vertices ([first, end] pairs) only.")
    return Exclusion(tuple(materials or ()), tuple((low, high) for low, high in ranges or ()))


def _card(path: Path, data: Mapping[str, Any], digest: str) -> DatasetCard:
    splits = data.get("splits", {})
    if not isinstance(splits, dict) or set(splits) - set(SplitRule.__slots__):
        raise InvalidSettingError(f"{path}: splits takes {', '.join(SplitRule.__slots__)} only.")
    rule = SplitRule(**splits)
    if rule.rule not in ("hash", *SPLITS):
        raise InvalidSettingError(f"{path}: splits.rule is {rule.rule!r}, expected one of hash, {', '.join(SPLITS)}.")
    return DatasetCard(
        name=data["name"],
        title=data.get("title", data["name"]),
        licence=data.get("licence", ""),
        citation=data.get("citation", ""),
        access=data.get("access", ""),
        publish=data.get("publish", ""),
        summary=f"own scans described by {DESCRIPTION}",
        gt_kind=data.get("gt_kind", "scan"),
        unit=str(data["unit"]),
        axes="as described",
        hash=digest,
        splits=rule,
        verified_on_real_data=True,
    )


def _filled(pattern: str, path: Path) -> str:
    """The pattern for one scan or photograph. Braces that are no known field stay as they are."""
    whole = path.with_suffix("").as_posix()
    parts = {"path": whole, "photograph": whole, "folder": path.parent.as_posix(), "stem": path.stem}
    return re.sub(r"\{(\w+)\}", lambda match: parts.get(match[1], match[0]), pattern)


def _matching(root: Path, pattern: str) -> list[Path]:
    base = Path(pattern)
    try:
        relative = base.relative_to(root) if base.is_absolute() else base
    except ValueError:
        raise InvalidSettingError(f"{pattern}: photographs must lie below {root}.") from None
    return sorted(path for path in root.glob(relative.as_posix()) if path.is_file())


def _landmarks(path: Path, scale: float) -> NDArray[np.float64] | None:
    """68 points in millimetres; None when this scan has no file."""
    if not path.is_file():
        return None
    rows = [line.replace(",", " ").split() for line in read_text(path).splitlines() if line.strip()]
    try:
        points = np.array([[float(word) for word in row] for row in rows if len(row) == 3])
    except ValueError as error:
        raise InvalidDataError(f"{path}: {error}; expected 68 lines of x y z.") from error
    if len(rows) != 68 or points.shape != (68, 3):
        raise InvalidDataError(f"{path}: {len(rows)} lines, {len(points)} of them with three numbers; expected 68.")
    return points * scale


def _photographs(paths: Sequence[Path], cameras: str | None) -> tuple[Photograph, ...]:
    found = []
    for path in paths:
        image = read_image(path)
        if cameras is None:
            found.append(Photograph(image, path.stem))
            continue
        file = Path(_filled(cameras, path))
        stated = camera_from_json(read_text(file), str(file))
        height, width = image.shape[:2]
        if stated.size not in (None, (width, height)):
            raise InvalidDataError(
                f"{file}: a camera of {stated.size[0]}x{stated.size[1]} pixels, but {path.name} has {width}x{height}."
            )
        image = undistorted(image, stated.K, stated.distortion)
        found.append(Photograph(image, path.stem, stated.camera(width, height)))
    return tuple(found)
