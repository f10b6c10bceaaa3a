"""One writer per dataset: builds its real folder structure and formats, with invented content, in a given folder.

A fake proves that an adapter agrees with what we know of a layout, and nothing more. Each module
``fakes/<dataset>.py`` (dashes become underscores) offers

    CAPTURES             the ids its tree holds, sorted
    write(root)          builds the tree
    VARIANTS             name -> Variant: what goes wrong in real copies, and what must happen then
    OPTIONS              keyword arguments for the adapter beside ``root`` (optional)
    LISTING_READS        names of small descriptions that listing may open (optional; nothing else is opened)
    NEEDS                the module of an extra without which nothing of it can be tested (optional)

and tests/conformance/test_adapters.py does the rest for every registered adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """One way in which a copy of a dataset differs from a good one.

    change: alters a tree that ``write`` has just built.
    message: regular expression of the one-line error that must follow; None when the change must be
        tolerated: the same captures are listed, and all load.
    capture: the capture that the change damages: it alone must fail, listing and the others must not.
        None when the change hits the whole dataset.
    """

    change: Callable[[Path], None]
    message: str | None = None
    capture: str | None = None


def truncate(path: Path, keep: float = 0.5) -> None:
    """Cut a file, as an interrupted copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def reencode(path: Path) -> None:
    """Pass a binary through a text re-encoder: every byte that is not UTF-8 becomes EF BF BD."""
    path.write_bytes(path.read_bytes().decode("utf-8", errors="replace").encode())


def empty(path: Path) -> None:
    """Leave a file of size zero."""
    path.write_bytes(b"")


def web_page(path: Path) -> None:
    """What a failed download leaves behind."""
    path.write_text("<!DOCTYPE html><html><body>Please confirm the download.</body></html>")


def extra_files(root: Path) -> None:
    """What operating systems and people leave in every copy; none of it is a capture."""
    (root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / "notes äöü.txt").write_text("copied in May")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._x").write_bytes(b"\0")
    for folder in [path for path in root.rglob("*") if path.is_dir() and path.name != "__MACOSX"]:
        (folder / "desktop.ini").write_text("[.ShellClassInfo]")
