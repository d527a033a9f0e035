"""`robustssm baseline` and `robustssm check`: regression tests on robustness curves."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import common, terminal

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.baselines.baseline import Baseline
    from robustssm.evaluations.baselines.check import Check

# Conditions that a table shows whole; of more, those that fell or rose, and the mean.
_WHOLE = 24


@click.command()
@common.shared("runs", "models of runs")
@common.output(required=True, dir_okay=False, help="File to write, JSON.")
def baseline(runs: tuple[Path, ...], models: tuple[str, ...], output: Path) -> None:
    """Record finished sweeps as a baseline for `check`.

    The file holds the conditions, the data's hash, and which samples each model of each training
    seed got right, or their squared errors; it needs neither run nor checkpoints afterwards. Equal
    runs give equal files. Give it three training seeds of a model or more if retrained models are
    to be held against it: one seed says nothing about variation between seeds. It says the smallest
    fall that a check will find, and with how many seeds it would find enough.

    \b
    Examples:
      robustssm sweep -m 's4ptd/*' --noise resonance --eps 0.3,1 -o runs/spike
      robustssm baseline runs/spike -o curve.json
      robustssm check s4ptd/1 --baseline curve.json

    Exit codes: 0 done; 2 usage, an unfinished sweep, or runs that do not belong together.
    """
    from robustssm.evaluations.baselines.baseline import make_baseline
    from robustssm.evaluations.baselines.files import write_baseline
    from robustssm.evaluations.baselines.reach import reach
    from robustssm.evaluations.sweep.run_directory import RunDirectory
    from robustssm.targets import KINDS

    made = make_baseline([RunDirectory(path) for path in runs], common.names_in(models))
    write_baseline(output, made)
    partial = "" if made.data.limit is None else f", PARTIAL: the first {made.data.samples} samples"
    words, of = KINDS[made.data.target].words, ", ".join(member.name for member in made.members)
    count = len(made.conditions)
    terminal.note(f"{output}: {count} conditions and the clean {words} of {of}{partial}")
    for model in made.models:
        terminal.note(str(reach(made, model)))


@click.command()
@common.shared("names", "models")
@common.path_option(
    "--baseline",
    "path",
    required=True,
    dir_okay=False,
    help="File written by `robustssm baseline`.",
)
@click.option(
    "--against",
    metavar="MODEL",
    help="Model of the baseline: s4ptd (all its training seeds), s4ptd/0 (one of them). Default: "
    "the one of MODEL's name, or the only one.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.02,
    help="Falls of accuracy up to this never count; of values rises of the error by this share.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    help="Probability of a false alarm, for each model, as the band assumes.",
)
@click.option(
    "--unjudged",
    type=click.FloatRange(0, 1),
    default=0.2,
    help="Share of conditions that may have no band, so that no result above chance could fail "
    "there; more: exit 6.",
)
@common.output(help="Run directory to keep what is measured in. Default: not kept.")
@common.shared("reuse")
@common.shared("device", "task", "jobs", "style", "progress")
def check(
    path: Path,
    against: str | None,
    margin: float,
    alpha: float,
    unjudged: float,
    output: Path | None,
    **options: Any,
) -> None:
    """Fail if a robustness curve falls below a baseline.

    MODEL: s4d, s4d/2, 's4d/*', name=path or a checkpoint file. It sees the samples and noise of
    the baseline, the clean accuracy included. Against one training seed, samples are paired: a
    condition has fallen where McNemar's exact one-sided p, Holm-adjusted, is below --alpha and the
    fall exceeds --margin. Against more seeds, where it is below the prediction bound of one more
    seed (variances shared among conditions, Holm; arcsine scale) and the margin. Clean accuracy
    and the mean over conditions have bounds of their own; all share --alpha. What rose is reported
    and never fails. Where the bound is at chance no result above it could fail: `no band`. Fewer
    than seven seeds may have missed that trainings are of two kinds: of a model below them all at
    nine conditions of ten what would have fallen is `undecided`. Values: docs/tasks.md.

    \b
    Examples:
      robustssm sweep -m 's4ptd/*' --noise resonance --eps 0.3,1 -o runs/spike
      robustssm baseline runs/spike -o curve.json
      robustssm check s4ptd/1 --baseline curve.json
      robustssm check s4ptd/2 --baseline curve.json --against s4ptd/0 --format md

    Exit codes: 0 nothing fell; 2 usage; 3 some cells failed; 4 a checkpoint, the baseline or the
    data are rejected; 5 the curve fell; 6 nothing fell, but too few conditions could, or some are
    undecided; 130 interrupted.
    """
    from robustssm.commands.sweep_watching import measured_in
    from robustssm.evaluations.baselines.files import read_baseline
    from robustssm.evaluations.baselines.regression import checks, plan_check
    from robustssm.execution import resolve_device

    asked, held = common.SharedOptions(**options), read_baseline(path)
    refs, kind = asked.refs(), resolve_device(asked.device).type
    plan = plan_check(held, refs, against, kind, asked.task)
    with measured_in(output, "check", plan, asked) as run:
        found = checks(held, plan, run, against, margin, alpha, unjudged)
    _show(found, held, str(path), asked.style)
    _fail(found)


def _fail(found: "list[Check]") -> None:
    """Raise CommandError, with exit code 5 where a model fell, 6 where too little was judged."""
    from robustssm.evaluations.baselines.check import FELL

    lines = [
        f"{one.model}/{one.train_seed} fell at {len(one.fallen)}: {one.lowest(FELL)}"
        for one in found
        if len(one.fallen)
    ]
    if lines:
        raise common.CommandError("check: " + "\n  ".join(lines), 5)
    lines = [one.not_judged() for one in found if not one.judged]
    if lines:
        raise common.CommandError("check: " + "\n  ".join(lines), 6)


def _show(found: "list[Check]", baseline: "Baseline", path: str, style: str) -> None:
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
    columns = [(one, key, form.replace(".3f", found[0].kind.digits)) for one, key, form in _COLUMNS]
    shown = [terminal.Table(one.headline() + partial, _telling(one), columns) for one in found]
    terminal.show(style, *shown, content=content, rows=pd.concat(tables))
    if style != "json":
        terminal.note(*dict.fromkeys(line for one in found for line in one.notes()))


def _record(check: "Check") -> dict[str, Any]:
    return {
        "model": check.model,
        "train_seed": check.train_seed,
        "against": check.against,
        "seeds": check.seeds,
        "same_checkpoint": check.same,
        "passed": check.passed,
        "without_band": check.open,
        "undecided": check.undecided,
        "conditions": check.table.to_dict("records"),
        "notes": check.notes(),
    }


def _telling(check: "Check") -> "DataFrame":
    """Return the rows of a check that are shown; of many, the lowest against the baseline first."""
    from robustssm.evaluations.baselines.check import FELL, MEAN, ROSE, UNDECIDED

    table: DataFrame = check.table
    if len(table) > _WHOLE:
        telling = table["verdict"].isin([FELL, UNDECIDED, ROSE]) | table["noise"].isin(
            [MEAN, "clean"]
        )
        table = check.deepest(table[telling])
        table = table[(table["verdict"] != ROSE) | (table["noise"] == MEAN)]
    return table


def _with_unit(name: str) -> Callable[[dict[str, Any]], str]:
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
