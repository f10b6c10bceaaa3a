"""The log of a run: one CSV row per event, columns as they appear, whole after every write."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from fnbench.files import write_text


class Journal:
    """Rows of numbers by step.

    path: the CSV file; rows that are there are kept, see ``cut``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []

    def cut(self, step: int) -> None:
        """Go on after ``step``: rows of later steps, which a resumed run writes again, are dropped."""
        self.rows = []
        if step and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One more row, or more columns of the row of this step."""
        texts = {name: f"{value:.6g}" for name, value in values.items()}
        if self.rows and self.rows[-1]["step"] == str(step):
            self.rows[-1] |= texts
        else:
            self.rows.append({"step": str(step), **texts})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, out.getvalue())
