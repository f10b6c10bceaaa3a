"""Markdown that shows names as they are and tables as tables."""

from __future__ import annotations

from collections.abc import Sequence


def table(headings: Sequence[str], kinds: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, with an empty line at the end.

    headings: our own words, not escaped.  kinds: ``text`` aligns left.  rows: texts, escaped here.
    """
    marks = "|" + "|".join(" :-- " if kind == "text" else " --: " for kind in kinds) + "|"
    printed = ["| " + " | ".join(escaped(text) for text in row) + " |" for row in rows]
    return ["| " + " | ".join(headings) + " |", marks, *printed, ""]


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, in one line and one cell.

    >>> escaped("<b>|a_b")
    '&lt;b&gt;\\\\|a\\\\_b'
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|~$#!" else letter for letter in plain)
