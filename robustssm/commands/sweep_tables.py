"""How the results of a sweep are shown: overview, verdicts, and what a dry run found."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustssm.commands import terminal

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
    title = f"{path}" + (" PARTIAL (--limit)" if partial else "")
    lines = []
    if not results.overview.empty and bool((results.overview["modes"] > 1).any()):
        lines = [f"{WORST}: robustssm compare {shlex.quote(str(path))}"]
    content = {"schema": 1, "output": str(path), "partial": partial, **results.to_json()}
    table = results_table(results, title)
    lines += results.verdicts()
    terminal.show(style, table, *lines, content=content, rows=results.summary)


def results_table(results: "Tables", title: str) -> terminal.Table:
    """Return the overview of a run; its clean accuracies if it holds nothing else."""
    if results.overview.empty:
        return terminal.Table(title, results.summary, _CLEAN)
    return terminal.Table(title, results.overview, overview_columns(results.overview))


def overview_columns(frame: "DataFrame") -> list[terminal.Column]:
    """Return the columns of an overview that are shown; one mode needs no mean and no worst."""
    single = bool((frame["modes"] == 1).all())
    columns: list[terminal.Column] = [("model", "model", "")]
    if len(set(frame["noise"])) > 1:
        columns += [("noise", "noise", "")]
    columns += [
        ("seeds", "seeds", ""),
        ("n", "n", ""),
        ("clean", "clean_accuracy", ".3f"),
        ("eps", lambda row: f"{row['eps']:g} {row['eps_unit']}", ""),
    ]
    columns += [("accuracy", "acc_worst_over_modes", ".3f")] if single else _WORST
    if bool((frame["interval"] != "").any()):
        columns += [("95% interval", _interval, ""), ("of", lambda row: row["interval"] or "-", "")]
    if bool((frame["seeds"] > 1).any()):
        columns += [("seeds from..to", _spread, "")]
    return columns


def _interval(row: dict[str, Any]) -> str:
    return f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]" if row["interval"] else "-"


def _spread(row: dict[str, Any]) -> str:
    return f"{row['lowest_seed']:.3f}..{row['highest_seed']:.3f}"


_WORST: list[terminal.Column] = [
    ("mean over modes", "acc_mean_over_modes", ".3f"),
    ("worst (naive)", "acc_worst_over_modes", ".3f"),
    ("at mode", lambda row: f"{row['worst_mode']:g}" if row["mode_unit"] else "-", ""),
    ("worst, cross-fitted", "acc_worst_crossfit", ".3f"),
]
_CLEAN: list[terminal.Column] = [
    ("model", "model", ""),
    ("seed", "train_seed", ""),
    ("n", "n", ""),
    ("clean", "accuracy", ".3f"),
]
