"""What every adapter offers, and the errors they share, so that all datasets fail in the same words.

An adapter turns one dataset, as its owners distribute it, into Captures. It is read-only, cheap to list, lazy to
load, and small enough to be pickled into worker processes. Facts stand in its card, behaviour in its module.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fnbench.cards import load_card
from fnbench.errors import DatasetNotFoundError, InvalidDataError, InvalidSettingError
from fnbench.types import Capture

SETTINGS_FILE = "fnbench.toml"
"""A file of this name in a dataset's folder overrides settings of its card."""

_WEB_PAGE = (b"<!doctype html", b"<html")
_POINTER = b"version https://git-lfs"
_AXIS = re.compile(r"[+-][xyz]")


class DatasetAdapter(Protocol):
    """One dataset as its owners distribute it, read-only.

    name: the id of its card and its alias in the registry.

    Two members are optional. ``reported``, a tuple of attribute names whose values may stand in an anonymous
    validation report; and ``findings()``, a mapping of facts about the whole dataset for that report.
    """

    name: ClassVar[str]

    def __init__(self, root: Path | None) -> None: ...

    def capture_ids(self) -> Sequence[str]:
        """All captures, sorted, found by names alone: opens no scan and no image.

        Raises DatasetNotFoundError with the access instructions when there is none.
        """
        ...

    def load(self, capture_id: str) -> Capture:
        """The capture of this id.

        Raises DatasetNotFoundError when a file is missing, InvalidDataError when one is damaged; both
        name the file. Never half a capture.
        """
        ...


def given_root(name: str, root: Path | None) -> Path:
    """The folder of a dataset; DatasetNotFoundError when none was given or it does not exist."""
    if root is None:
        raise DatasetNotFoundError(f"{name}: no folder given. Give the dataset's folder with --root. {access(name)}")
    if not Path(root).is_dir():
        raise DatasetNotFoundError(f"{name}: {root} is not a folder. {access(name)}")
    return Path(root)


def settings(name: str, root: Path | None, **given: Any) -> dict[str, Any]:
    """The settings of a dataset: those of its card, overlaid by ``fnbench.toml`` in its folder and by arguments.

    root: its folder may hold a file ``fnbench.toml`` with any of the card's settings, for a copy that differs.
    given: keyword arguments of the adapter; None stands for "not given".
    Raises InvalidSettingError for a key that the card does not know, or another type of value.
    """
    known = dict(load_card(name).settings)
    path = None if root is None else Path(root) / SETTINGS_FILE
    if path is not None and path.is_file():
        try:
            local = tomllib.loads(path.read_bytes().decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidSettingError(f"{path}: not a TOML file ({error}).") from error
        _overlay(known, local, str(path))
    _overlay(known, {key: value for key, value in given.items() if value is not None}, name)
    return known


def _overlay(known: dict[str, Any], new: Mapping[str, Any], where: str) -> None:
    for key, value in new.items():
        if key not in known:
            raise InvalidSettingError(f"{where}: unknown setting {key!r}. Known: {', '.join(known) or 'none'}.")
        kind = type(known[key])
        if isinstance(value, int) and not isinstance(value, bool) and kind is float:
            value = float(value)
        if not isinstance(value, kind):
            raise InvalidSettingError(
                f"{where}: setting {key} is {value!r}, expected a {kind.__name__} like {known[key]!r}."
            )
        known[key] = value


def axes_matrix(name: str, text: str) -> NDArray[np.float64]:
    """(3, 3) from the axes of a dataset's files to right, up, out.

    text: which signed axes of the files point right, up and out of the face.

    >>> axes_matrix("bjut3d", "+x +z -y") @ [1, 2, 3]
    array([ 1.,  3., -2.])
    """
    words = text.split()
    if len(words) != 3 or not all(_AXIS.fullmatch(word) for word in words) or len({word[1] for word in words}) != 3:
        raise InvalidSettingError(f"{name}: axes is {text!r}, expected three signed axes like '+x +y +z'.")
    matrix = np.zeros((3, 3))
    for row, word in enumerate(words):
        matrix[row, "xyz".index(word[1])] = -1.0 if word[0] == "-" else 1.0
    if np.linalg.det(matrix) < 0:
        raise InvalidSettingError(f"{name}: axes {text!r} mirror the face, expected a rotation.")
    return matrix


def nothing_found(name: str, root: Path, expected: str) -> DatasetNotFoundError:
    """The error for a folder without a single capture; ``expected`` is the pattern that was looked for."""
    return DatasetNotFoundError(f"{name}: no captures under {root}. Expected {expected}. {access(name)}")


def access(name: str) -> str:
    """Where a user reads how to get the data and how the folder must look."""
    return f"How to get the data, and the expected tree: datasets/{name}/ACCESS.md."


def unknown_capture(name: str, capture_id: str, ids: Iterable[str]) -> DatasetNotFoundError:
    """The error for an id that is not in the dataset, with the nearest one that is."""
    known = list(ids)
    close = get_close_matches(capture_id, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"There are {len(known)}, from {known[0]} to {known[-1]}."
    return DatasetNotFoundError(f"{name}: there is no capture {capture_id!r}. {hint}")


def entries(folder: Path) -> dict[str, Path]:
    """What lies directly in a folder, by lower-case name: copies differ in case, and opens nothing."""
    try:
        with os.scandir(folder) as listing:
            return {entry.name.lower(): Path(entry.path) for entry in sorted(listing, key=lambda entry: entry.name)}
    except OSError as error:
        raise InvalidDataError(f"{folder}: the folder cannot be listed ({error.strerror}).") from error


def subfolders(folder: Path | str) -> list[os.DirEntry[str]]:
    """The folders directly in a folder, unsorted; entries are much cheaper than paths when there are many."""
    with os.scandir(folder) as listing:
        return [entry for entry in listing if entry.is_dir()]


def required(folder: Path, files: Mapping[str, Path], name: str) -> Path:
    """The file of this name, in whatever case; DatasetNotFoundError when it is not among ``files``."""
    if name.lower() not in files:
        raise DatasetNotFoundError(
            f"{folder / name}: this file is missing. Copy it again, or leave the whole folder out."
        )
    return files[name.lower()]


def read_bytes(path: Path) -> bytes:
    """All bytes of a file that must exist and must not be one of the usual stand-ins.

    Raises DatasetNotFoundError when it is missing; InvalidDataError when it is empty, a web page, a Git LFS
    pointer, or a binary that went through a text re-encoder (every byte above 127 became EF BF BD).
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DatasetNotFoundError(f"{path}: this file is missing. Copy it again from the distribution.") from None
    except OSError as error:
        raise InvalidDataError(f"{path}: cannot be read ({error.strerror}).") from error
    head = content[:512].lstrip().lower()
    if not content:
        raise InvalidDataError(f"{path}: the file is empty (0 bytes). Copy it again from the distribution.")
    if head.startswith(_WEB_PAGE):
        raise InvalidDataError(f"{path}: this is a web page, probably a download confirmation. Download it again.")
    if head.startswith(_POINTER):
        raise InvalidDataError(f"{path}: this is a Git LFS pointer, not the file. Fetch the file itself.")
    if content[:4096].count(b"\xef\xbf\xbd") > 8:
        raise InvalidDataError(
            f"{path}: its bytes were re-encoded as text (EF BF BD everywhere) and are lost. Copy it again, as binary."
        )
    return content


def read_text(path: Path) -> str:
    """The text of a side file; InvalidDataError when it is binary. Undecodable bytes become U+FFFD."""
    content = read_bytes(path)
    if b"\0" in content:
        raise InvalidDataError(f"{path}: a binary file where text is expected. Copy it again from the distribution.")
    return content.decode("utf-8-sig", errors="replace")
