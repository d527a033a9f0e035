"""How the results of a sweep are shown: overview, verdicts, and what a dry run found."""

import shlex
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.results.tables import Tables


# What a reader must know of the worst of many modes.
WORST = (
    "The naive worst mode was chosen on the samples it is read on, which biases it downwards; "
    "cross-fitted: chosen on one half of the samples and read on the other, both ways, with an "
    "interval that holds for the modes chosen. Whole curves and differences"
)


def show_sweep(results: "Tables", path: Path, style: str, partial: bool) -> None:
    """Print the tables of a run on stdout, as `style` says."""
    from robustssm.commands import terminal

    if style == "json":
        terminal.emit_json(
            {"schema": 1, "output": str(path), "partial": partial, **results.to_json()}
        )
        return
    if style == "csv":
        click.echo(results.summary.to_csv(index=False), nl=False)
        return
    title = f"{path}" + (" PARTIAL (--limit)" if partial else "")
    if results.overview.empty:
        terminal.emit_table(title, *clean_table(results.summary), style)
    else:
        terminal.emit_table(title, *overview_table(results.overview), style)
        if bool((results.overview["modes"] > 1).any()):
            click.echo(f"{WORST}: robustssm compare {shlex.quote(str(path))}")
    for line in results.verdicts():
        click.echo(line)


def clean_table(summary: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a run that holds clean evaluations only, or nothing."""
    rows = [
        [row.model, str(row.train_seed), str(row.n), f"{row.accuracy:.3f}"]
        for row in summary.itertuples()
    ]
    return ["model", "seed", "n", "clean"], rows


def overview_table(frame: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows that are shown; one mode needs no mean and no worst."""
    single = bool((frame["modes"] == 1).all())
    many = len(set(frame["noise"])) > 1
    columns = ["model", *(["noise"] if many else []), "seeds", "n", "clean", "eps"]
    worst_columns = ["mean over modes", "worst (naive)", "at mode", "worst, cross-fitted"]
    columns += ["accuracy"] if single else worst_columns
    columns += ["95% interval", "of"] if bool((frame["interval"] != "").any()) else []
    several = bool((frame["seeds"] > 1).any())
    columns += ["seeds from..to"] if several else []
    rows = []
    for row in frame.itertuples():
        worst = f"{row.acc_worst_over_modes:.3f}"
        mean = f"{row.acc_mean_over_modes:.3f}"
        at = f"{row.worst_mode:g}" if row.mode_unit else "-"
        fitted = "-" if isnan(row.acc_worst_crossfit) else f"{row.acc_worst_crossfit:.3f}"
        shown = [worst] if single else [mean, worst, at, fitted]
        known = bool(row.interval)
        interval = (f"[{row.ci_low:.3f}, {row.ci_high:.3f}]" if known else "-", row.interval or "-")
        spread = f"{row.lowest_seed:.3f}..{row.highest_seed:.3f}"
        rows.append(
            [
                *([row.model, row.noise] if many else [row.model]),
                *(str(row.seeds), str(row.n), f"{row.clean_accuracy:.3f}"),
                f"{row.eps:g} {row.eps_unit}",
                *shown,
                *(interval if "of" in columns else ()),
                *([spread] if several else []),
            ]
        )
    return columns, rows
