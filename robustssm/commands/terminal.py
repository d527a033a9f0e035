"""What a terminal shows: tables on stdout, progress and notes on stderr."""

import json
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from robustssm.commands.loudness import asked
from robustssm.plain_text import markdown, visible
from robustssm.storage.writing import finite

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

# Where results go while `results_alone` keeps everything else from there.
_results: list[TextIO] = []


def note(*messages: str, always: bool = False) -> None:
    """Print lines on stderr, with --quiet only if `always`; control characters are spelt out."""
    for message in messages if always or not asked("quiet") else ():
        click.echo(visible(message, keep="\n"), err=True)


def say(text: str) -> None:
    """Print a line of results on stdout; control characters in it are spelt out."""
    _write(visible(text, keep="\n"))


def _write(text: str, nl: bool = True) -> None:
    click.echo(text, nl=nl, file=_results[-1] if _results else None)


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep stdout for what this module prints: what modules of others print goes to stderr."""
    if sys.stdout is None:  # closed by the shell
        yield
        return
    _results.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results.pop()


# A column of a table: heading; key of the row, or a function of the row; format ("": the table's).
Column = tuple[str, "str | Callable[[Any], object]", str]


@dataclass(frozen=True)
class Table:
    """Rows, and how a reader sees them; csv and json hold the rows themselves.

    title: printed above the table, not in Markdown; columns: what is shown, all keys under their
    own names by default; digits: format of the floats of columns without a format; words: the
    text of a row, which `table` prints instead of a table; upright: a single row is shown as names
    and values, one below the other; prose: cells hold sentences, which stand on the left and are
    broken into lines; aside: headings that --wide alone shows.
    """

    title: str
    rows: "pd.DataFrame | Sequence[Mapping[str, Any]]"
    columns: Sequence[Column] | None = None
    digits: str = ".6g"
    words: Callable[[Any], str] | None = None
    upright: bool = False
    prose: bool = False
    aside: Collection[str] = ()

    def records(self) -> list[dict[str, Any]]:
        """Return the rows, one mapping per row."""
        rows = self.rows if isinstance(self.rows, Sequence) else self.rows.to_dict("records")
        return [{str(key): value for key, value in row.items()} for row in rows]

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the cells that are shown, one list of cells per row."""
        rows = self.records()
        names = dict.fromkeys(name for row in rows for name in row)
        columns = self.columns or [(name, name, "") for name in names]
        columns = [one for one in columns if one[0] not in self.aside or asked("wide")]
        headings = [heading for heading, _, _ in columns]
        cells = [
            [
                self._text(key(row) if callable(key) else row.get(key), form)
                for _, key, form in columns
            ]
            for row in rows
        ]
        if self.upright and len(cells) == 1:
            pairs = zip(headings, cells[0], strict=True)
            return ["quantity", "value"], [list(pair) for pair in pairs]
        return headings, cells

    def _text(self, value: object, form: str) -> str:
        """Return a value as a reader sees it; a dash stands for what is not known."""
        if value is None or value != value:
            return "-"
        if form and not isinstance(value, str):
            return format(value, form)
        return f"{value:{self.digits}}" if isinstance(value, float) else str(value)


def spaced(names: Iterable[object], skip: Collection[str] = ()) -> list[Column]:
    """Return columns under their own names, with spaces for underscores."""
    return [(str(name).replace("_", " "), str(name), "") for name in names if name not in skip]


def written(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of texts."""
    columns = [(heading, str(place), "") for place, heading in enumerate(headings)]
    return Table(title, [{str(k): text for k, text in enumerate(row)} for row in rows], columns)


def facts(title: str, values: Mapping[str, object]) -> list[Table | str]:
    """Return a title and a table of names and values, which `table` prints as lines."""
    form = f"  {{what:{max(map(len, values))}}}  {{value}}"
    rows = [{"what": name, "value": value} for name, value in values.items()]
    return [Heading(title), Table(title, rows, words=form.format_map)]


def show(
    style: str,
    *parts: Table | str,
    content: dict[str, Any] | None = None,
    rows: "pd.DataFrame | Sequence[Mapping[str, Any]] | None" = None,
) -> None:
    """Print the result of a command on stdout.

    style: `table` and `md` (Markdown) print all parts, tables and lines between them; `csv` prints
    `rows`, `json` prints `content`, with null for NaN and infinities. Both are the rows of the
    first table by default.
    """
    tables = [part for part in parts if isinstance(part, Table)]
    if style == "json":
        content = {"schema": 1, "rows": tables[0].records()} if content is None else content
        _write(json.dumps(finite(content), allow_nan=False))
        return
    if style == "csv":
        import pandas as pd

        frame = tables[0].rows if rows is None else rows
        if isinstance(frame, Sequence):  # object: integers stay integers beside missing ones
            frame = pd.DataFrame(list(frame), dtype=object)
        _write(frame.to_csv(index=False), nl=False)
        return
    from robustssm.commands.table_layout import print_table
    from robustssm.evaluations.reports.markdown import markdown_table

    for part in parts:
        if isinstance(part, str):
            say(_line(part, style))
        elif style == "table" and part.words is not None:
            for row in part.records():
                say(part.words(row))
        elif style == "table":
            one = part.upright and len(part.rows) == 1
            print_table(_console(), part.title, *part.texts(), prose=part.prose, upright=one)
        else:
            say(markdown_table(*part.texts()))


class Heading(str):
    """A line above what follows it, a heading in Markdown."""


class Item(str):
    """A line of a list."""


def _line(part: str, style: str) -> str:
    """Return a text as `table` or Markdown prints it: what is data in it stays text."""
    dash = "- " if isinstance(part, Item) else ""
    if style == "table":
        return "\n".join(map(_wrapped, (dash + part).split("\n")))
    if isinstance(part, Heading):
        return f"\n### {markdown(part)}\n"
    return dash + "\n".join(markdown(line) for line in part.split("\n"))


def _wrapped(line: str) -> str:
    """Return a sentence in lines of a terminal's width; a line that is indented stays whole."""
    width = _console().width
    return line if line.startswith("  ") else textwrap.fill(line, width, break_long_words=False)


def _console() -> "Console":
    """Return the console of results: as wide as the terminal, 200 columns elsewhere."""
    from rich.console import Console

    console = Console(file=_results[-1] if _results else None)
    return console if console.is_terminal else Console(file=console.file, width=200)
