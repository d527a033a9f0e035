"""What a report is made of, whatever it is written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table of text. The first cell of a row names the row; rest: rows that are left out.

    note: what a reader has to know of its numbers, below it.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    rest: int = 0
    note: str = ""

    def only(self, columns: Sequence[str]) -> "Table":
        """Return the table with these columns alone, in this order, and without its note."""
        places = [list(self.columns).index(name) for name in columns]
        rows = [[row[k] for k in places] for row in self.rows]
        return replace(self, columns=columns, rows=rows, note="")

    def first(self, most: int) -> "Table":
        """Return the table with its first rows alone, which says how many are left out."""
        rest = self.rest + max(0, len(self.rows) - most)
        return replace(self, rows=self.rows[:most], rest=rest)


@dataclass(frozen=True)
class Code:
    """A command line."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of lines."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A figure of the run as PNG, beside it PDF and CSV, and in words what it shows."""

    path: Path
    words: str


@dataclass(frozen=True)
class Curves:
    """The accuracies over the training seeds, drawn where the format can draw them."""

    frame: pd.DataFrame
    chance: float | None
    points: Table


Part = str | Table | Code | Items | Picture | Curves


@dataclass(frozen=True)
class Report:
    """A report of a run.

    lead: the question and the verdict; marks: what a reader has to know of every number; counts:
    how many cells have results; sections: the parts under each heading.
    """

    title: str
    question: str
    lead: Sequence[Part]
    marks: Sequence[str]
    counts: str
    sections: Mapping[str, Sequence[Part]]
