"""`robustssm export`: a run in the formats of others."""

from pathlib import Path

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, output, shared

# As in robustssm.evaluations.exports.formats.WRITERS, which is heavy to import.
FORMATS = ("parquet", "csv", "json", "md", "xarray", "mlflow", "wandb")


@click.command()
@shared("run")
@click.option(
    "--to",
    "kind",
    required=True,
    type=click.Choice(FORMATS),
    help="parquet: every sample of every cell, one file; csv: the summary; json: all tables in one "
    "document; md: the report; xarray: samples as netCDF; mlflow, wandb: files, and a script that "
    "logs them to MLflow or W&B.",
)
@output(
    required=True,
    help="File to write, new or replaced; mlflow, wandb: a new folder, or an earlier export.",
)
def export(run: Path, kind: str, output: Path) -> None:
    """Export a run for other programs.

    Samples, tables, or files for experiment trackers.

    Equal runs give equal bytes. What is finished is exported; a note says what is missing. The
    folders for MLflow and W&B hold `import.py`, which logs the run where that library is
    installed; neither is needed here.

    \b
    Examples:
      robustssm sweep -m s4d --noise fourier --modes 1-2 --eps 1 -o runs/small
      robustssm export runs/small --to parquet -o small.parquet
      robustssm export runs/small --to mlflow -o tracked

    Exit codes: 0 written; 1 an optional library is missing; 2 usage, nothing finished, or the
    output exists and was not written by robustssm; 4 files of the run are damaged: the rest is
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
