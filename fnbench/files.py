"""Files that are either whole or not there: written beside their place and renamed at the end; names that print."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fnbench.errors import OutputError


def printable(name: Path | str) -> str:
    """A file name or path as text that can be printed and stored: bytes that are not UTF-8 appear as escapes.

    >>> printable(os.fsdecode(b"caf\\xe9.obj"))
    'caf\\\\xe9.obj'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and renamed, else removed.

    Raises OutputError with the reason when the disk is full, the folder read-only or the parent a file.
    An interrupt or any other exception passes through, and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse an output that cannot be written before any work is done for it; OutputError says why.

    Nothing is left behind, no folder either: what is refused afterwards has not touched the disk.
    """
    try:
        if path.is_dir():
            raise OSError(errno.EISDIR, "")
        standing = _standing(path)
        with tempfile.TemporaryDirectory(prefix=".", dir=standing) as room:  # a name that no other process asks with
            probe = room / path.absolute().relative_to(standing)
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
    except OSError as error:
        raise output_error(path, error) from error


def _standing(path: Path) -> Path:
    """The nearest part of the way to ``path`` that is there already; whatever else hides the way is an OSError."""
    for folder in path.absolute().parents:
        with suppress(FileNotFoundError):
            folder.lstat()
            return folder
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def check_space(path: Path, needed: int) -> None:
    """Refuse what will not fit beside ``path``, whose folder need not exist yet; needed: bytes."""
    free = shutil.disk_usage(_standing(path)).free
    if free < needed:
        raise OutputError(
            f"{path}: cannot be written: {free / 1e6:.1f} MB are free on the disk and {needed / 1e6:.1f} MB are "
            f"needed; free some space and run the same command again.",
            code="FM-38",
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, as UTF-8 with line feeds, or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def output_error(path: Path, error: OSError) -> OutputError:
    """What a user can do about a file that could not be written."""
    full = "No space left" in str(error)  # HDF5 reports it without a number
    reasons = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
        errno.EFBIG: "the file is larger than this system allows; free some space or raise the limit",
        errno.EROFS: "the file system is read-only; choose another place",
        errno.EACCES: "no permission to write there; choose another place",
        errno.EPERM: "no permission to write there; choose another place",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
        errno.EEXIST: "a part of the path is a file, not a folder; choose another place",
        errno.EISDIR: "it is a folder; give a file name",
        errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    }
    number = errno.ENOSPC if full else error.errno or 0
    reason = reasons.get(number, os.strerror(number) if number else str(error))
    codes = {errno.ENOSPC: "FM-38", errno.EDQUOT: "FM-38", errno.EFBIG: "FM-38", errno.EROFS: "FM-39"}
    return OutputError(f"{path}: cannot be written: {reason}.", code=codes.get(number, ""))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)
