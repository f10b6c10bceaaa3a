"""The folder of parts beside an output: one finished file per capture, the settings of the run, and a lock.

``F.h5.parts/`` exists while a run is unfinished. A part is a whole store under its final name (temporary name,
sync, rename), so whatever killed a run, what lies there counts. ``run.json`` holds the settings; a run
with others is refused. ``F.h5.lock`` keeps a second run away; it is held by the operating system, so
that a lock whose owner died is recognised, and said.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from fnbench.errors import InvalidStoreError, OutputError
from fnbench.files import printable, write_text
from fnbench.store import Store, is_finished
from fnbench.store.schema import GENERATOR, canonical_json

_NAME_LENGTH = 60


def parts_folder(out: Path) -> Path:
    """Where the parts of an output lie while it is unfinished."""
    return out.with_name(out.name + ".parts")


def part_path(folder: Path, capture_id: str) -> Path:
    """The file of one capture: readable where the id allows, unique by its hash, short, safe on every system.

    >>> part_path(Path("F.h5.parts"), "subject_01/frontal1").name
    'subject_01-frontal1-acaef7dcc96d.h5'
    """
    readable = re.sub(r"[^A-Za-z0-9_+.-]+", "-", capture_id)[:_NAME_LENGTH].strip(".-")
    return folder / f"{readable}-{hashlib.sha256(printable(capture_id).encode()).hexdigest()[:12]}.h5"


def failure_path(folder: Path, capture_id: str) -> Path:
    """Where the traceback of a capture that failed unexpectedly is kept."""
    return part_path(folder, capture_id).with_suffix(".failed.txt")


def kept_captures(out: Path, attributes: Mapping[str, Any], capture_ids: Sequence[str]) -> dict[str, Path]:
    """Captures that are finished already, by id: as parts, or in the output of an earlier run.

    attributes: of this run, as ``store.schema.file_attributes`` takes them. OutputError when what is
    there was made with others.
    """
    found = _in_output(out, attributes)
    folder = parts_folder(out)
    noted = folder / "run.json"
    if noted.is_file():
        check_same(json.loads(noted.read_text(encoding="utf-8")), _plain(attributes), folder, out)
        found |= _in_parts(folder, capture_ids)
    return {name: found[name] for name in capture_ids if name in found}


def begin_parts(out: Path, attributes: Mapping[str, Any], *, fresh: bool) -> Path:
    """The folder for the parts of this run; what a killed run left half written is removed.

    fresh: remove finished parts too.
    """
    folder = parts_folder(out)
    if fresh:
        end_parts(out)
    _remove_leftovers(out, folder)
    write_text(folder / "run.json", json.dumps(_plain(attributes), indent=2, ensure_ascii=False) + "\n")
    return folder


def end_parts(out: Path) -> None:
    """Remove the parts of a finished output."""
    shutil.rmtree(parts_folder(out), ignore_errors=True)


def _in_output(out: Path, attributes: Mapping[str, Any]) -> dict[str, Path]:
    if not out.exists():
        return {}
    try:
        store = Store(out)
    except InvalidStoreError as error:
        raise OutputError(f"{error} It stands where the output shall go; --no-resume replaces it.") from error
    before = {name: value for name, value in store.attributes.items() if name in attributes or name == "generator"}
    check_same(before, _plain(attributes), out, out)
    return dict.fromkeys(store.captures, out)


def _in_parts(folder: Path, capture_ids: Sequence[str]) -> dict[str, Path]:
    """The parts that are there and whole; a damaged one is left out and made again."""
    found = {}
    for capture_id in capture_ids:
        path = part_path(folder, capture_id)
        if path.is_file() and is_finished(path):
            found[capture_id] = path
    return found


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(canonical_json({"generator": GENERATOR, **attributes}))
    return plain


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], where: Path, out: Path) -> None:
    """Refuse to go on with other settings than those of what is already there; both are shown."""
    old, new = (_flat({key: value for key, value in all_.items() if key != "protocol"}) for all_ in (before, now))
    different = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if different:
        lines = "; ".join(f"{key}: {_shown(old.get(key))} there, {_shown(new.get(key))} now" for key in different)
        raise OutputError(
            f"{where}: made with other settings ({lines}). Use the same settings, choose another output than "
            f"{out.name}, or start afresh with --no-resume.",
            code="FM-52",
        )


@contextmanager
def locked(out: Path) -> Iterator[str | None]:
    """Hold the lock of an output; OutputError when another run holds it.

    Yields a note when a lock was left behind by a run that died, else None.
    """
    path = out.with_name(out.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, reliable = _acquire(path)
    except OSError as error:
        raise OutputError(f"{path}: the lock cannot be written ({error.strerror}); choose another output.") from error
    try:
        note = _stale(path, os.read(descriptor, 4096).decode("utf-8", errors="replace"), reliable)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _owner().encode(), 0)
        try:
            yield note
        finally:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def _acquire(path: Path) -> tuple[int, bool]:
    """An open lock file that is ours, and whether the operating system vouches for that."""
    while True:
        reliable = True
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _described(os.read(descriptor, 4096).decode("utf-8", errors="replace"))
            os.close(descriptor)
            raise OutputError(
                f"{path}: another run writes this output ({owner}). Wait for it, or choose another output.",
                code="FM-60",
            ) from None
        except OSError:  # a file system without locks: the owner's words in the file are all there is
            reliable = False
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor, reliable
        os.close(descriptor)  # the owner removed the file between our two steps


def _stale(path: Path, before: str, reliable: bool) -> str | None:
    if not before.strip():
        return None if reliable else "this file system has no locks: a second run on this output would not be noticed"
    if not reliable and _field(before, "host") == socket.gethostname() and _alive(_field(before, "process")):
        raise OutputError(f"{path}: another run writes this output ({_described(before)}). Wait for it.", code="FM-60")
    if _field(before, "host") != socket.gethostname():
        raise OutputError(
            f"{path}: locked by a run on another machine ({_described(before)}). If that run is over, remove this "
            f"file and run the command again.",
            code="FM-60",
        )
    return f"took over the lock of a run that ended without releasing it ({_described(before)})"


def _alive(process: Any) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _owner() -> str:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return json.dumps({"host": socket.gethostname(), "process": os.getpid(), "started": now})


def _field(owner: str, name: str) -> Any:
    try:
        return json.loads(owner).get(name)
    except (ValueError, AttributeError):
        return None


def _described(owner: str) -> str:
    parts = (f"{name} {_field(owner, name)}" for name in ("process", "host", "started"))
    return ", ".join(parts) if _field(owner, "host") else "owner not noted"


def _remove_leftovers(out: Path, folder: Path) -> None:
    """Temporary files of killed runs; nobody else writes here while we hold the lock."""
    for path in (*folder.glob(".*.tmp"), *out.parent.glob(f".{_escaped(out.name)}.*.tmp")):
        with suppress(OSError):
            path.unlink()


def _escaped(name: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", name)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat


def _shown(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 80 else text[:77] + "..."
