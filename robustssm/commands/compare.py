"""`robustssm compare`: models of finished sweeps side by side, paired by sample."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, models_of_runs, names_in, shared

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.comparison.comparison import Comparison
    from robustssm.evaluations.comparison.strength_grid import StrengthGrid

_CURVES = {
    "acc_clean": "clean",
    "auc_log_eps_mean_over_modes": "AUC over log eps",
    "eps50_mean_over_modes": "eps50",
    "mce": "mCE",
    "relative_mce": "relative mCE",
}
_LABELS = {
    **_CURVES,
    "acc_mean_over_modes": "mean over modes",
    "acc_worst_crossfit": "worst mode, cross-fitted",
    "eps50_ratio": "eps50, ratio",
    "eps50_difference_db": "eps50, difference in dB",
    "conditions_differ": "conditions that differ",
    "conditions_better": "conditions better",
    "conditions_worse": "conditions worse",
}


@click.command()
@shared("runs")
@models_of_runs("--model", "--models")
@click.option(
    "--reference",
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
@shared("style")
def compare(
    runs: tuple[Path, ...],
    models: tuple[str, ...],
    reference: str | None,
    thresholds: tuple[str, ...],
    style: str,
) -> None:
    """Compare models on the perturbed samples of one or more sweeps.

    All models saw the same samples with the same noise, so differences are paired. Runs must agree
    in data, limit and noise seed. Nothing is computed by a model, and nothing is written. Intervals
    are 95%; with several training seeds the seeds are the replicates. csv is one tidy table.

    \b
    Examples:
      robustssm sweep -m s4d,s4ptd --noise fourier --modes 1-3 -L 100 -o runs/mine
      robustssm compare runs/mine --models s4d,s4ptd
      robustssm compare runs/mine --reference s4ptd --format json
      robustssm compare runs/mine --fail-if 'worst_crossfit < 0.02'

    Exit codes: 0 done; 2 usage, or the runs are not comparable; 3 no threshold is known to be
    crossed, but cells are missing, or an eps50 and the number both lie beyond the strengths tried;
    5 a threshold of --fail-if is crossed.
    """
    from robustssm.evaluations.comparison.comparable import gather
    from robustssm.evaluations.comparison.comparison import compare as compare_models
    from robustssm.evaluations.comparison.thresholds import parse_threshold
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    limits = [parse_threshold(text) for text in thresholds]
    compared = gather([RunDirectory(path) for path in runs], names_in(models))
    comparison = compare_models(compared, reference)
    judged = [limit.judge(comparison) for limit in limits]
    _show(comparison, [str(path) for path in runs], style)
    failed = [line for lines, _ in judged for line in lines]
    undecided = [line for _, lines in judged for line in lines]
    if failed:
        raise CommandError(f"compare --fail-if: {_some(failed)}", 5)
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


def _some(lines: list[str]) -> str:
    more = f", and {len(lines) - 3} more" if len(lines) > 3 else ""
    return f"{'; '.join(lines[:3])}{more}"


def _show(comparison: "Comparison", runs: list[str], style: str) -> None:
    """Print a comparison on stdout, as `style` says."""
    from robustssm.evaluations.comparison.notes import notes

    lines = notes(comparison)
    compared = comparison.compared
    content = {
        "schema": 1,
        "runs": runs,
        "task": compared.task,
        "n": compared.n,
        "partial": compared.partial,
        "missing": compared.missing,
        "chance": compared.chance,
        "reference": comparison.reference,
        "models": comparison.models.to_dict("records"),
        "differences": comparison.differences.to_dict("records"),
        "modes": comparison.modes.to_dict("records"),
        "notes": lines,
    }
    parts: list[terminal.Table | str] = []
    for table in _tables(comparison) if style in ("table", "md") else ():
        parts += [f"\n### {table.title}\n", table, ""] if style == "md" else [table]
    parts += [f"- {line}" for line in lines]
    terminal.show(style, *parts, content=content, rows=_tidy(comparison))
    if style == "csv":
        for line in lines:
            terminal.note(line)


def _tables(comparison: "Comparison") -> Iterator[terminal.Table]:
    """Yield the tables that a reader sees, one noise after the other."""
    partial = " PARTIAL (--limit)" if comparison.compared.partial else ""
    for grid in comparison.grids:
        title = f"{grid.title}, n = {grid.n}{partial}"
        models = _of(comparison.models, grid)
        yield terminal.written(f"{title}: accuracy at each strength", *_strengths_table(models))
        yield terminal.written(f"{title}: whole curves", *_curves_table(models))
        differences = _of(comparison.differences, grid)
        if len(differences):
            against = f"{title}: model minus {comparison.reference}"
            yield terminal.written(against, *_pairs_table(differences))
            modes = _of(comparison.modes, grid)
            if len(modes) and grid.modes.size > 1:
                yield terminal.written(
                    f"{title}: where they differ, max-T p < 0.05", *_modes_table(modes)
                )


def _of(table: "DataFrame", grid: "StrengthGrid") -> "DataFrame":
    """Return the rows of one noise."""
    from robustssm.evaluations.comparison.strength_grid import NOISE

    if table.empty:
        return table
    for name in NOISE:
        table = table[table[name] == getattr(grid, name)]
    return table


def _tidy(comparison: "Comparison") -> "DataFrame":
    """Return all three tables as one; the column `table` says which one a row is from."""
    import pandas as pd

    modes = comparison.modes.rename(columns={"difference": "value"})
    if len(modes):
        modes = modes.assign(quantity="acc_difference_at_mode", p_test="McNemar exact")
    parts = {"model": comparison.models, "difference": comparison.differences, "mode": modes}
    tables = [part.assign(table=name) for name, part in parts.items() if len(part)]
    whole = pd.concat(tables, ignore_index=True)
    return whole[["table", *(name for name in whole.columns if name != "table")]]


def _groups(
    table: "DataFrame", names: list[str]
) -> Iterable[tuple[Any, dict[str, dict[str, Any]]]]:
    """Yield key and rows by quantity; a model's mean over seeds comes after its seeds."""
    order = {model: k for k, model in enumerate(table["model"].drop_duplicates())}
    places = table["model"].map(order)
    table = table.assign(place=places, late=table["train_seed"] == "all")
    table = table.sort_values(["place", "late"], kind="stable")
    for key, group in table.groupby(names, sort=False, dropna=False):
        yield key, {row["quantity"]: row for row in group.to_dict("records")}


def _seed(row: dict[str, Any]) -> str:
    return f"mean of {row['seeds']}" if row["train_seed"] == "all" else row["train_seed"]


def _strengths_table(models: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the accuracy at each eps; a single mode needs no worst."""
    worst = bool((models["quantity"] == "acc_worst_over_modes").any())
    columns = ["model", "seed", "eps", "mean over modes" if worst else "accuracy", "of"]
    columns += ["worst (naive)", "worst, cross-fitted", "chosen"] if worst else []
    rows = []
    noisy = models[models["eps"].notna()]
    for (model, _, eps), group in _groups(noisy, ["model", "train_seed", "eps"]):
        mean = group["acc_mean_over_modes"]
        shown = [model, _seed(mean), f"{eps:g} {mean['eps_unit']}", _value(mean), _kind(mean)]
        if worst:
            fitted = group["acc_worst_crossfit"]
            shown += [_value(group["acc_worst_over_modes"], interval=False), _value(fitted),
                      fitted["detail"]]  # fmt: skip
        rows.append(shown)
    return columns, rows


def _curves_table(models: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the quantities of whole curves."""
    shown = [name for name in _CURVES if (models["quantity"] == name).any()]
    rows = []
    whole = models[models["eps"].isna()]
    for (model, _), group in _groups(whole, ["model", "train_seed"]):
        any_row = next(iter(group.values()))
        rows.append([model, _seed(any_row), *(_value(group[name]) for name in shown)])
    return ["model", "seed", *(_CURVES[name] for name in shown)], rows


def _pairs_table(differences: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of model minus reference."""
    rows = []
    for (model, _, eps), group in _groups(differences, ["model", "train_seed", "eps"]):
        for name, row in group.items():
            label = _LABELS[name] + ("" if math.isnan(eps) else f" at eps {eps:g}")
            p = "" if math.isnan(row["p"]) else f"{row['p']:.3g}"
            value = _value(row, signed=not name.startswith(("conditions", "eps50_ratio")))
            rows.append([model, _seed(row), label, value, _kind(row), p, row["p_test"]])
    return ["model", "seed", "quantity", "difference", "of", "p", "by"], rows


def _modes_table(modes: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the modes at which two models differ, per seed and over all."""
    from robustssm.evaluations.reports.report_rows import numbers

    rows = []
    for (model, eps, unit), group in modes.groupby(["model", "eps", "eps_unit"], sort=False):
        differs = group["p_max_t"] < 0.05
        signs = (group["difference"] > 0).astype(int) - (group["difference"] < 0).astype(int)
        group = group.assign(sign=signs.where(differs, 0))
        wide = group.pivot_table(index="mode", columns="train_seed", values="sign", sort=False)
        names = [*wide.columns, *(["every seed"] if wide.shape[1] > 1 else [])]
        for name in names:
            sign = wide.mean(axis=1) if name == "every seed" else wide[name]
            better = wide.index[sign == 1].to_list()
            worse = wide.index[sign == -1].to_list()
            rows.append(
                [model, str(name), f"{eps:g} {unit}", str(len(wide)), str(len(better)),
                 numbers(better) or "-", str(len(worse)), numbers(worse) or "-"]
            )  # fmt: skip
    return ["model", "seed", "eps", "modes", "better", "at", "worse", "at"], rows


def _kind(row: dict[str, Any]) -> str:
    return row["interval"].replace("bootstrap ", "") or "-"


def _value(row: dict[str, Any], interval: bool = True, signed: bool = False) -> str:
    """Return a value with its interval; `> 1` if a strength lies beyond those tried."""
    sign = "+" if signed else ""
    value = row["value"]
    if math.isnan(value):
        return "-"
    text = f"{value:{sign}.3f}"
    if row["quantity"].startswith("conditions"):
        return f"{value:g}"
    if row["censored"]:
        up = (row["censored"] == "stronger") != (row["eps_unit"] == "snr-db")
        text = f"{'>' if up else '<'} {value:g}"
    if not interval or math.isnan(row["ci_low"]):
        return text
    return f"{text} [{row['ci_low']:{sign}.3f}, {row['ci_high']:{sign}.3f}]"
