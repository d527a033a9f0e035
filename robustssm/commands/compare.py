"""`robustssm compare`: models of finished sweeps side by side, paired by sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustssm.commands import compare_tables, terminal
from robustssm.commands.common import CommandError, names_in, shared

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.comparison.comparison import Comparison


@click.command()
@shared("runs", "models of runs")
@click.option(
    "--reference",
    metavar="MODEL",
    help="Model that the others are compared with, and errors divided by. Default: the first.",
)
@click.option(
    "--fail-if",
    "thresholds",
    multiple=True,
    metavar="'NAME OP NUMBER'",
    help="Exit with 5 where it is true of any model, noise and eps, as in 'worst < 0.5'. Names: "
    "clean, mean, worst, worst_crossfit, auc, eps50, mce, relative_mce; difference, "
    "conditions_differ, conditions_better, conditions_worse (model minus reference). Repeatable.",
)
@click.option("--full", is_flag=True, help="Print all tables, and how numbers are computed.")
@shared("wide", "style")
def compare(
    runs: tuple[Path, ...],
    models: tuple[str, ...],
    reference: str | None,
    thresholds: tuple[str, ...],
    full: bool,
    style: str,
) -> None:
    """Compare models of finished sweeps, paired by sample.

    All models saw the same samples with the same noise, so differences are paired. Runs must agree
    in data, limit and noise seeds. Nothing is computed by a model, and nothing is written.
    Intervals are 95%; with several training seeds the seeds are the replicates. Printed are the
    differences from the reference at each strength; --full adds accuracies, whole curves and
    modes. csv and json always hold all of it.

    \b
    Examples:
      robustssm sweep -m s4d,s4ptd --noise fourier --modes 1-3 -L 100 -o runs/mine
      robustssm compare runs/mine --model s4d,s4ptd
      robustssm compare runs/mine --reference s4ptd --format json
      robustssm compare runs/mine --fail-if 'worst_crossfit < 0.02'

    Exit codes: 0 done; 2 usage, or the runs are not comparable; 3 no threshold is known to be
    crossed, but cells are missing, or an eps50 and the number both lie beyond the strengths tried;
    4 cells are damaged: they are named, and the comparison is of the others; 5 a threshold of
    --fail-if is crossed.
    """
    from robustssm.evaluations.comparison.comparable import gather
    from robustssm.evaluations.comparison.comparison import compare as compare_models
    from robustssm.evaluations.comparison.thresholds import parse_threshold
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    limits = [parse_threshold(text) for text in thresholds]
    compared = gather([RunDirectory(path) for path in runs], names_in(models))
    comparison = compare_models(compared, reference)
    judged = [limit.judge(comparison) for limit in limits]
    _show(comparison, [str(path) for path in runs], style, full)
    failed = [line for lines, _ in judged for line in lines]
    undecided = [line for _, lines in judged for line in lines]
    if failed:
        raise CommandError(f"compare --fail-if: {_some(failed)}", 5)
    if compared.damaged:
        raise CommandError(
            f"compare: {len(compared.damaged)} damaged and left out: {_some(compared.damaged)}; "
            "the sweep's command, called again, computes them anew",
            4,
        )
    if undecided:
        raise CommandError(
            f"compare --fail-if: undecided by the strengths tried: {_some(undecided)}; sweep more "
            "strengths, or choose a number within them",
            3,
        )
    if limits and compared.missing:
        raise CommandError(
            f"compare --fail-if: no threshold is crossed so far, but {compared.missing} cells of "
            "the runs have no result; finish them first",
            3,
        )


def _some(lines: Sequence[str]) -> str:
    more = f", and {len(lines) - 3} more" if len(lines) > 3 else ""
    return f"{'; '.join(lines[:3])}{more}"


def _show(comparison: "Comparison", runs: list[str], style: str, full: bool) -> None:
    from robustssm.evaluations.comparison.notes import caveats, notes

    lines = notes(comparison)
    compared = comparison.compared
    content = {
        "schema": 1,
        "runs": runs,
        "task": compared.task,
        "n": compared.n,
        "partial": compared.partial,
        "missing": compared.missing,
        "damaged": list(compared.damaged),
        "chance": compared.chance,
        "reference": comparison.reference,
        "models": comparison.models.to_dict("records"),
        "differences": comparison.differences.to_dict("records"),
        "modes": comparison.modes.to_dict("records"),
        "components": comparison.components.to_dict("records"),
        "notes": lines,
    }
    parts: list[terminal.Table | str] = []
    for table in compare_tables.digest(comparison):
        parts += [terminal.Heading(table.title), table, ""]
    for table in compare_tables.tables(comparison) if full else ():
        parts += [terminal.Heading(table.title), table, ""] if style == "md" else [table]
    parts += map(terminal.Item, lines if full else caveats(comparison))
    if style == "table" and not full:
        parts.append("--full adds accuracies, whole curves, modes, and how numbers are computed.")
    terminal.show(style, *parts, content=content, rows=_tidy(comparison))
    if style == "csv":
        terminal.note(*lines)


def _tidy(comparison: "Comparison") -> "DataFrame":
    """Return all three tables as one; the column `table` says which one a row is from."""
    import pandas as pd

    modes = comparison.modes.rename(columns={"difference": "value"})
    if len(modes):
        of = comparison.compared.kind
        modes = modes.assign(quantity=f"{of.short}_difference_at_mode", p_test=of.test)
    components = comparison.components.rename(columns={"sd": "value"})
    components["quantity"] = "sd_" + components.pop("varies").astype(str).str.replace(" ", "_")
    parts = {"model": comparison.models, "difference": comparison.differences, "mode": modes}
    parts["component"] = components
    tables = [part.assign(table=name) for name, part in parts.items() if len(part)]
    whole = pd.concat(tables, ignore_index=True)
    return whole[["table", *(name for name in whole.columns if name != "table")]]
