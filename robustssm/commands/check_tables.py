"""How checks against a baseline are shown."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.baselines.baseline import Baseline
    from robustssm.evaluations.baselines.verdicts import Check

# Conditions that a table shows whole; of more, those that fell or rose, and the mean.
_WHOLE = 24


def show_checks(found: "list[Check]", baseline: "Baseline", path: str, style: str) -> None:
    """Print checks on stdout, as `style` says."""
    import pandas as pd

    from robustssm.commands import terminal

    if style == "json":
        data = baseline.data
        terminal.emit_json(
            {
                "schema": 1,
                "baseline": path,
                "task": data.task,
                "n": data.samples,
                "partial": data.limit is not None,
                "passed": all(one.passed for one in found),
                "checks": [_record(one) for one in found],
            }
        )
        return
    if style == "csv":
        tables = []
        for one in found:
            names = {"model": one.model, "train_seed": one.train_seed, "against": one.against}
            tables.append(one.table.assign(**names))
        click.echo(pd.concat(tables)[[*names, *found[0].table]].to_csv(index=False), nl=False)
    else:
        partial = "" if baseline.data.limit is None else ", PARTIAL (--limit)"
        for one in found:
            terminal.emit_table(one.headline() + partial, *_rows(one), style)
    for line in dict.fromkeys(line for one in found for line in one.notes()):
        terminal.note(line)


def _record(check: "Check") -> dict[str, Any]:
    return {
        "model": check.model,
        "train_seed": check.train_seed,
        "against": check.against,
        "seeds": check.seeds,
        "same_checkpoint": check.same,
        "passed": check.passed,
        "conditions": check.table.to_dict("records"),
        "notes": check.notes(),
    }


def _rows(check: "Check") -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of a check, the lowest against the baseline first where many."""
    from robustssm.evaluations.baselines.verdicts import FELL, MEAN, ROSE

    table: DataFrame = check.table
    if len(table) > _WHOLE:
        telling = table["verdict"].isin([FELL, ROSE]) | table["noise"].isin([MEAN, "clean"])
        table = table[telling].sort_values("change", kind="stable")
        table = table[(table["verdict"] != ROSE) | (table["noise"] == MEAN)]
    columns = [
        "noise",
        "mode",
        "eps",
        "baseline",
        "measured",
        "change",
        "band from",
        "p",
        "verdict",
    ]
    rows = [
        [
            row["noise"],
            f"{row['mode']:g} {row['mode_unit']}" if row["mode_unit"] else "",
            f"{row['eps']:g} {row['eps_unit']}" if row["eps_unit"] else "",
            f"{row['baseline']:.3f}",
            f"{row['measured']:.3f}",
            f"{row['change']:+.3f}",
            f"{row['low']:.3f}",
            f"{row['p']:.2g}",
            row["verdict"],
        ]
        for _, row in table.iterrows()
    ]
    return columns, rows
