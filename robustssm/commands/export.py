"""`robustssm export`: a run in the formats of others."""

from pathlib import Path

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, output, shared

# As in robustssm.evaluations.exports.formats.WRITERS, which is heavy to import.
FORMATS = ("parquet", "csv", "json", "md")


@click.command()
@shared("run")
@click.option(
    "--to",
    "kind",
    required=True,
    type=click.Choice(FORMATS),
    help="parquet: every sample of every cell, one file; csv: the summary; json: all tables in one "
    "document; md: the report.",
)
@output(required=True, help="File to write, new or replaced.")
def export(run: Path, kind: str, output: Path) -> None:
    """Export a run for other programs.

    Samples, or tables. Equal runs give equal bytes. What is finished is exported; a note says what
    is missing.

    \b
    Examples:
      robustssm sweep -m s4d --noise fourier --modes 1-2 --eps 1 -o runs/small
      robustssm export runs/small --to parquet -o small.parquet
      robustssm export runs/small --to csv -o small.csv

    Exit codes: 0 written; 2 usage, or nothing finished; 4 files of the run are damaged: the rest is
    exported.
    """
    from robustssm.evaluations.exports.formats import WRITERS
    from robustssm.evaluations.results.inspection import inspect
    from robustssm.evaluations.sweep.run_directory import check_outside

    state = inspect(run)
    write, counted = WRITERS[kind]
    check_outside(output, run)
    count = write(state, output)
    counts = state.counts
    lost = counts["cells"] - counts["done"]
    lacking = "" if not lost else f"; {lost} cell{'s have' if lost > 1 else ' has'} no result"
    partial = "; PARTIAL (--limit)" if state.partial else ""
    what = f"{count} {counted if count != 1 else counted.removesuffix('s')}"
    terminal.note(f"{output}: {what} written{lacking}{partial}")
    if state.damaged:
        raise CommandError(f"run {run}: damaged: {', '.join(sorted(state.damaged))}", 4)
