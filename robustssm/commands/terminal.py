"""What a terminal shows: tables on stdout, progress and notes on stderr."""

import csv
import io
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from robustssm.files import finite

# Seconds between two plain progress lines where stderr is not a terminal.
PLAIN_INTERVAL = 30.0


def note(message: str) -> None:
    """Print a line on stderr."""
    click.echo(message, err=True)


def emit_json(content: dict[str, Any]) -> None:
    """Print strict JSON on stdout: NaN and infinities become null."""
    click.echo(json.dumps(finite(content), allow_nan=False))


def emit_table(
    title: str, columns: list[str], rows: list[list[str]], style: str, prose: bool = False
) -> None:
    """Print rows on stdout as a `table` (rich) or as `md` (Markdown).

    prose: cells hold sentences, which stand on the left and are broken into lines.
    """
    if style == "md":
        click.echo("| " + " | ".join(columns) + " |")
        click.echo("|" + "---|" * len(columns))
        for row in rows:
            click.echo("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        return
    table = Table(title=title, title_justify="left", min_width=min(len(title) + 2, 80))
    for number, column in enumerate(columns):
        left = prose or number == 0
        table.add_column(column, justify="left" if left else "right", no_wrap=not prose)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def emit_records(title: str, rows: list[dict[str, Any]], style: str, prose: bool = False) -> None:
    """Print records on stdout: `table` or `md` (a single record as name and value), csv, json.

    prose: as in `emit_table`.
    """
    if style == "json":
        emit_json({"schema": 1, "rows": rows})
        return
    columns = list(rows[0]) if rows else []
    if style == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        click.echo(text.getvalue(), nl=False)
        return
    cells = [[_shown(value) for value in row.values()] for row in rows]
    if len(rows) == 1:
        columns, cells = (
            ["quantity", "value"],
            [list(p) for p in zip(columns, cells[0], strict=True)],
        )
    emit_table(title, columns, cells, style, prose)


def _shown(value: Any) -> str:
    """Return a value for a table: floats to six digits, dashes for what is not a number."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.6g}"
    return str(value)


class Advance(Protocol):
    """Tells that a piece of work is done, or failed."""

    def __call__(self, failed: bool = False) -> None:
        """Count one piece."""


def _shown_as(mode: str) -> str:
    """Return how progress is shown: `auto` is a bar on a terminal, else plain."""
    return mode if mode != "auto" else "bar" if sys.stderr.isatty() else "plain"


def log(message: str, mode: str) -> None:
    """Print a line of a log on stderr, where progress is plain."""
    if _shown_as(mode) == "plain":
        note(message)


@contextmanager
def progress(total: int, what: str, mode: str = "auto") -> Iterator[Advance]:
    """Yield a function to call after each of `total` pieces of work.

    mode: `bar`, `plain` (a line now and then), `none`, or `auto`: bar on a terminal, else plain.
    """
    mode = _shown_as(mode)
    if mode == "none" or total == 0:
        yield lambda failed=False: None
        return
    if mode == "plain":
        yield _plain(total, what)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        failures = 0

        def advance(failed: bool = False) -> None:
            nonlocal failures
            failures += failed
            bar.update(
                task, advance=1, description=f"{what} [red]{failures} failed" if failures else what
            )

        yield advance


def _plain(total: int, what: str) -> Advance:
    start = last = time.monotonic()
    done = failures = 0

    def advance(failed: bool = False) -> None:
        nonlocal done, failures, last
        done, failures = done + 1, failures + failed
        now = time.monotonic()
        if done == total or now - last >= PLAIN_INTERVAL:
            last = now
            rate = done / max(now - start, 1e-9)
            trouble = f", {failures} failed" if failures else ""
            end = f"done in {duration(now - start)}"
            if done < total:
                end = f"{duration((total - done) / rate)} left"
            note(f"{what}: {done}/{total} ({done / total:.0%}){trouble}, {rate:.3g}/s, {end}")

    return advance


def duration(seconds: float) -> str:
    """Return a time for people: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
