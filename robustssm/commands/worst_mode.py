"""`robustssm worst-mode`: the worst Fourier mode of a checkpoint, without sweeping them all."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands.common import cores, nothing_kept, shared
from robustssm.errors import UsageError


@click.command("worst-mode")
@shared("models")
@click.option("--modes", default="all", show_default=True, help="DFT bins, as in sweep.")
@click.option("--eps", default="0.3,1", show_default=True, help="Strengths in std.")
@click.option(
    "--part",
    default=20,
    show_default=True,
    type=click.IntRange(1),
    help="Use at most one in so many of a full sweep's passes, passes back counted double.",
)
@click.option(
    "--prior/--no-prior",
    default=True,
    show_default=True,
    help="Use the response of encoder and first layer.",
)
@click.option(
    "--gradients/--no-gradients",
    default=True,
    show_default=True,
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
    models: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    settings: tuple[str, ...],
    modes: str,
    eps: str,
    task: str | None,
    seed: int,
    part: int,
    prior: bool,
    gradients: bool,
    against: Path | None,
    jobs: int | None,
    style: str,
    progress: str,
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
    import joblib
    import pandas as pd

    from robustssm.attacks import check_eps
    from robustssm.attacks.frequencies import parse_modes
    from robustssm.checkpoints.model_names import resolve
    from robustssm.commands import terminal
    from robustssm.evaluations.searches import worst_mode as study
    from robustssm.evaluations.sweep.noises import Noise, parse_numbers
    from robustssm.evaluations.sweep.planning import make_plan
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    refs = resolve(",".join(models), checkpoints, settings)
    strengths = [check_eps(value) for value in parse_numbers(eps, "eps")]
    if not min(strengths) > 0.0:
        raise UsageError("worst-mode: eps is 0, which no mode tells apart; give a strength")
    # A plan checks models, task and modes as a sweep does.
    plan = make_plan(refs, Noise("fourier", modes, eps=strengths), task=task, seed=seed)
    listed = parse_modes(modes, top=plan.task.length // 2)
    searches = [study.Search(listed, value, seed, part, prior, gradients) for value in strengths]
    cells = [(ref, search) for search in searches for ref in refs]
    run = None if against is None else RunDirectory(against)
    if run is not None:  # refusals come before any work
        for search in searches:
            for model in plan.models:
                study.swept(run, plan.task, search, model)
    with terminal.progress(len(cells), "checkpoints", progress) as advance:
        found = []
        parallel = joblib.Parallel(n_jobs=min(jobs or cores(), len(cells)), return_as="generator")
        for row in parallel(
            joblib.delayed(study.worst_modes)(ref, plan.task, search) for ref, search in cells
        ):
            found.append(row)
            advance()
    table = pd.DataFrame(found)
    lines = []
    if run is not None:
        table = study.against(table, run, plan.task, searches, plan.models)
        lines = study.verdicts(table)
    rows = table.to_dict("records")
    if style in ("table", "md"):
        rows = [_short(row) for row in rows]
    terminal.emit_records(f"{plan.task.spec}, noise seed {seed}", rows, style)
    for line in lines:
        if style in ("table", "md"):
            click.echo(line)
        else:
            terminal.note(line)


def _short(row: dict[str, Any]) -> dict[str, object]:
    """Return the columns that a reader compares; json and csv have all."""
    modes = [str(row[key]) for key in ("mode_1", "mode_2", "mode_3") if key in row]
    short: dict[str, object] = {
        "model": f"{row['model']}/{row['train_seed']}",
        "eps": row["eps"],
        "first modes": " ".join(modes),
        "accuracy": f"{row['accuracy']:.3f}",
        "samples": row["samples"],
        "passes": row["passes"],
        "sweep": row["exhaustive_passes"],
        "times fewer": f"{row['times_fewer']:.1f}",
    }
    if "place" in row:
        short |= {
            "sweep's worst": row["true_modes"],
            "its accuracy": f"{row['true_accuracy']:.3f}",
            "found at": row["place"] or "not in 3",
        }
    return short
