"""How checks against a baseline are shown."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from robustssm.commands import terminal

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.baselines.baseline import Baseline
    from robustssm.evaluations.baselines.verdicts import Check

# Conditions that a table shows whole; of more, those that fell or rose, and the mean.
_WHOLE = 24


def show_checks(found: "list[Check]", baseline: "Baseline", path: str, style: str) -> None:
    """Print checks on stdout, as `style` says."""
    import pandas as pd

    data = baseline.data
    content = {
        "schema": 1,
        "baseline": path,
        "task": data.task,
        "n": data.samples,
        "partial": data.limit is not None,
        "passed": all(one.passed for one in found),
        "checks": [_record(one) for one in found],
    }
    tables = []
    for one in found:
        names = {"model": one.model, "train_seed": one.train_seed, "against": one.against}
        tables.append(one.table.assign(**names)[[*names, *one.table]])
    partial = "" if data.limit is None else ", PARTIAL (--limit)"
    shown = [terminal.Table(one.headline() + partial, _telling(one), _COLUMNS) for one in found]
    terminal.show(style, *shown, content=content, rows=pd.concat(tables))
    if style == "json":
        return
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


def _telling(check: "Check") -> "DataFrame":
    """Return the rows of a check that are shown; of many, the lowest against the baseline first."""
    from robustssm.evaluations.baselines.verdicts import FELL, MEAN, ROSE

    table: DataFrame = check.table
    if len(table) > _WHOLE:
        telling = table["verdict"].isin([FELL, ROSE]) | table["noise"].isin([MEAN, "clean"])
        table = table[telling].sort_values("change", kind="stable")
        table = table[(table["verdict"] != ROSE) | (table["noise"] == MEAN)]
    return table


def _with_unit(name: str) -> "Callable[[dict[str, Any]], str]":
    """Return the text of a number and its unit, empty if it has none."""
    return lambda row: f"{row[name]:g} {row[f'{name}_unit']}" if row[f"{name}_unit"] else ""


_COLUMNS: tuple[terminal.Column, ...] = (
    ("noise", "noise", ""),
    ("mode", _with_unit("mode"), ""),
    ("eps", _with_unit("eps"), ""),
    ("baseline", "baseline", ".3f"),
    ("measured", "measured", ".3f"),
    ("change", "change", "+.3f"),
    ("band from", "low", ".3f"),
    ("p", "p", ".2g"),
    ("verdict", "verdict", ""),
)
