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

    def brief(self) -> "Table":
        """Return the table without the columns whose cells are all the same; the caption has them.

        The first column stays, and so do all columns of a single row, or of two columns.
        """
        many = len(self.rows) > 1 and len(self.columns) > 2
        same = [
            many and k > 0 and len({row[k] for row in self.rows}) == 1
            for k in range(len(self.columns))
        ]
        found = [f"{n} {self.rows[0][k]}" for k, n in enumerate(self.columns) if same[k]]
        kept = [name for name, gone in zip(self.columns, same, strict=True) if not gone]
        words = f" (everywhere: {'; '.join(found)})" if found else ""
        return replace(self.only(kept), caption=self.caption + words, note=self.note)

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
    """A figure of the run as PNG, beside it PDF and CSV; its name, and in words what it shows."""

    path: Path
    name: str
    words: str


@dataclass(frozen=True)
class Curves:
    """The accuracies over the training seeds, drawn where the format can draw them.

    spikes: omega of each by its number.
    """

    frame: pd.DataFrame
    chance: float | None
    spikes: Mapping[float, float]
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
