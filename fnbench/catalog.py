"""Where the content folders are: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
KINDS = ("datasets", "baselines", "leaderboard")


def folder(kind: str) -> Path:
    """The folder of a kind of content: ``datasets``, ``baselines`` or ``leaderboard``.

    >>> folder("datasets").name
    'datasets'
    """
    if kind not in KINDS:
        raise ValueError(f"no content folder {kind!r}; there are {', '.join(KINDS)}")
    installed = _PACKAGE / "_catalog" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind
