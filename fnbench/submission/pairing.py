"""Which file belongs to which sample: by name, never by order."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from fnbench.errors import InvalidPredictionError
from fnbench.evaluate import some
from fnbench.maps import SUFFIXES, Entry, entries
from fnbench.record import Finding
from fnbench.submission.declaration import Declaration

MANIFEST = "manifest.csv"
_SIDE_FILES = {".txt", ".md", ".toml", ".csv", ".json", ".yml", ".yaml", ".log"}
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{name}{digit}" for name in ("COM", "LPT") for digit in range(1, 10))}


@dataclass(frozen=True, slots=True)
class Submission:
    """Files paired with sample ids.

    root: folder or file.  paired: id -> entry.  problems: what is wrong with the names.
    """

    root: Path
    declaration: Declaration
    paired: Mapping[str, Entry]
    problems: tuple[Finding, ...] = field(default=())


def open_submission(path: Path, ids: Sequence[str], others: Iterable[str], declaration: Declaration) -> Submission:
    """Pair the files below a path with sample ids; problems are collected, not raised.

    ids: samples that are to be scored.  others: ids of the store outside this split, for hints.
    """
    if not path.exists():
        raise InvalidPredictionError(f"{path}: no such file or folder. Give the folder with the saved predictions.")
    candidates = list(_candidates(path))
    names = {name: one for one in ids for name in {one, stem(one)}}
    claims: dict[str, list[Entry]] = {}
    unknown: list[tuple[str, Entry]] = []
    listed = _manifest(path)
    for name, entry in candidates:
        known = names.get(listed.get(name, name))
        if known is None:
            unknown.append((name, entry))
        else:
            claims.setdefault(known, []).append(entry)
    return Submission(
        path,
        declaration,
        {name: found[0] for name, found in claims.items()},
        tuple(_name_problems(path, ids, set(others), claims, unknown, declaration)),
    )


def stem(name: str) -> str:
    """A file name for a sample id: everything but letters, digits, dot, dash and underscore becomes a dash.

    A name that had to be changed carries four digits of its hash, so that no two ids share one.

    >>> stem("anna"), stem("anna/left")[:10]
    ('anna', 'anna-left-')
    """
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)
    if safe == name and len(name) <= 100 and name.upper() not in _RESERVED and not name.startswith("."):
        return name
    return f"{safe[:100].lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def _candidates(path: Path) -> Iterator[tuple[str, Entry]]:
    if path.is_file():
        yield from entries(path)
        return
    for file in sorted(path.rglob("*")):
        if not file.is_file() or file.name.startswith(".") or file.suffix.lower() in _SIDE_FILES:
            continue
        relative = file.relative_to(path).as_posix()
        yield _without_suffix(relative), Entry(file)


def _manifest(path: Path) -> dict[str, str]:
    """file name without ending -> id, from manifest.csv; empty when there is none."""
    file = path / MANIFEST
    if not path.is_dir() or not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if rows and not {"id", "file"} <= set(rows[0]):
        raise InvalidPredictionError(f"{MANIFEST}: columns {', '.join(rows[0])}; expected id, file.")
    return {_without_suffix(row["file"]): row["id"] for row in rows}


def _without_suffix(name: str) -> str:
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name


def _name_problems(
    path: Path,
    ids: Sequence[str],
    others: set[str],
    claims: Mapping[str, Sequence[Entry]],
    unknown: Sequence[tuple[str, Entry]],
    declaration: Declaration,
) -> Iterator[Finding]:
    if not claims:
        what = f"{len(unknown)} files, none named by a known id" if unknown else "no maps at all"
        yield Finding(
            "FM-04",
            "STOP",
            f"{path.name}: {what}; expected names like {stem(ids[0])}.npy. Maps are paired by id, never by order; "
            "fnbench submission template writes the list.",
        )
        return
    missing = [name for name in ids if name not in claims]
    if missing and declaration.missing != "worst":
        yield Finding(
            "FM-01",
            "STOP",
            f"{path.name}: {len(missing)} of {len(ids)} predictions missing: {some(missing)}. Supply them, or score "
            "each as 180 degrees with --missing worst; nothing is averaged over the rest.",
            tuple(missing),
        )
    for name, found in claims.items():
        if len(found) > 1:
            files = ", ".join(entry.label(path) for entry in found)
            yield Finding(
                "FM-03", "STOP", f"{name}: claimed by {len(found)} files: {files}; expected one. Remove the rest."
            )
    lowered = {name.lower(): name for name in ids}
    elsewhere = [name for name, _ in unknown if name in others]
    strange = []
    for name, entry in unknown:
        twin = lowered.get(name.lower())
        if twin is not None:
            text = (
                f"{twin}: {entry.label(path)} differs from the id only in case; expected the id. Rename or remove it."
            )
            yield Finding("FM-03", "STOP", f"{text}.", (twin,))
        elif name not in others:
            strange.append(name)
    verdict = "WARN" if declaration.ignore_extra else "STOP"
    if elsewhere:
        text = f"{len(elsewhere)} files belong to another split: {some(elsewhere)}; expected ids of this split. Choose "
        yield Finding(
            "FM-02", verdict, text + "the split with --split, or leave them out with --ignore-extra.", tuple(elsewhere)
        )
    if strange:
        close = [f"{name} (did you mean {near[0]}?)" if (near := get_close_matches(name, ids, n=1)) else name
                 for name in strange[:10]]  # fmt: skip
        more = f" and {len(strange) - 10} more" if len(strange) > 10 else ""
        text = f"{len(strange)} files with unknown ids: {', '.join(close)}{more}; expected ids of this split. Rename "
        yield Finding("FM-02", verdict, text + "them, or leave them out with --ignore-extra.", tuple(strange))
