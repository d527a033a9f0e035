"""`robustssm worst-mode`: the worst Fourier mode of a checkpoint, without sweeping them all."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, nothing_kept, shared
from robustssm.commands.option_types import Numbers
from robustssm.errors import UsageError


@click.command("worst-mode")
@shared("models")
@click.option("--modes", default="all", help="DFT bins, as in sweep.")
@click.option("--eps", type=Numbers("eps"), default="0.3,1", help="Strengths in std.")
@click.option(
    "--part",
    default=20,
    type=click.IntRange(1),
    help="Use at most one in so many of a full sweep's passes, passes back counted double.",
)
@click.option(
    "--prior/--no-prior",
    default=True,
    help="Use the response of encoder and first layer.",
)
@click.option(
    "--gradients/--no-gradients",
    default=True,
    help="Use the linearisation at a few samples.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Run directory of a sweep of the same modes: says whether its worst mode was found.",
)
@shared("task", "seed", "jobs", "style", "progress")
@nothing_kept()
def worst_mode(
    modes: str,
    eps: tuple[float, ...],
    part: int,
    prior: bool,
    gradients: bool,
    against: Path | None,
    **options: Any,
) -> None:
    """Find the worst Fourier mode by layer response, gradients and successive halving.

    The first mode's accuracy is over `samples` test samples, as a sweep of random phases measures
    it: all of them with the default --modes and --part.

    \b
    Examples:
      robustssm worst-mode --model 's4d/*,s4ptd-rank1/*' --eps 0.3
      robustssm worst-mode --model s4d --modes 1-64 --part 40 --no-prior
      robustssm sweep --model s4d --noise fourier --modes all -o runs/all
      robustssm worst-mode --model s4d --against runs/all
    """
    import pandas as pd

    from robustssm.attacks import check_eps
    from robustssm.attacks.frequencies import parse_modes
    from robustssm.evaluations.searches import worst_mode as study
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    asked = SharedOptions(**options)
    strengths = [check_eps(value) for value in eps]
    if not min(strengths) > 0.0:
        raise UsageError("worst-mode: eps is 0, which no mode tells apart; give a strength")
    plan = asked.plan(Noise("fourier", modes, eps=strengths))
    listed = parse_modes(modes, top=plan.task.length // 2)
    searches = [
        study.Search(listed, value, asked.seed, part, prior, gradients) for value in strengths
    ]
    run = None if against is None else RunDirectory(against)
    if run is not None:  # refusals come before any work
        for search in searches:
            for model in plan.models:
                study.swept(run, plan.task, search, model)
    pieces = [(model.ref, plan.task, search) for search in searches for model in plan.models]
    table = pd.DataFrame(asked.each(study.worst_modes, pieces, "checkpoints"))
    lines = []
    columns = _COLUMNS
    if run is not None:
        table = study.against(table, run, plan.task, searches, plan.models)
        lines = study.verdicts(table)
        columns += _FOUND
    title = f"{plan.task.spec}, noise seed {asked.seed}"
    asked.show_lines(terminal.Table(title, table, columns, upright=True), lines)


# The columns that a reader compares; json and csv have all.
_COLUMNS: tuple[terminal.Column, ...] = (
    ("model", lambda row: f"{row['model']}/{row['train_seed']}", ""),
    ("eps", "eps", ""),
    (
        "first modes",
        lambda row: " ".join(str(row[f"mode_{k}"]) for k in (1, 2, 3) if f"mode_{k}" in row),
        "",
    ),
    ("accuracy", "accuracy", ".3f"),
    ("samples", "samples", ""),
    ("passes", "passes", ""),
    ("sweep", "exhaustive_passes", ""),
    ("times fewer", "times_fewer", ".1f"),
)
_FOUND: tuple[terminal.Column, ...] = (
    ("sweep's worst", "true_modes", ""),
    ("its accuracy", "true_accuracy", ".3f"),
    ("found at", lambda row: row["place"] or "not in 3", ""),
)
