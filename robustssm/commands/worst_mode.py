"""`robustssm search worst-mode`: the worst Fourier mode without a full sweep."""

from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, nothing_kept, shared
from robustssm.commands.parameter_types import Numbers
from robustssm.errors import UsageError

if TYPE_CHECKING:
    from robustssm.targets import Kind


@click.command("worst-mode")
@shared("names", "models")
@click.option("--modes", default="all", metavar="MODES", help="DFT bins, as in sweep.")
@click.option("--eps", type=Numbers("eps"), default="0.3,1", help="Strengths in std.")
@click.option(
    "--part",
    default=20,
    type=click.IntRange(1),
    metavar="N",
    help="Use at most 1/N of a full sweep's passes (backward passes count twice).",
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
@shared("task", "seed", "jobs", "style", "progress")
@nothing_kept()
def worst_mode(
    modes: str,
    eps: tuple[float, ...],
    part: int,
    prior: bool,
    gradients: bool,
    **options: Any,
) -> None:
    """Find the worst Fourier mode with few passes.

    By layer response, gradients and successive halving.

    The first mode's accuracy is over `samples` test samples, as a sweep of random phases measures
    it: all of them with the default --modes and --part.

    \b
    Examples:
      robustssm search worst-mode --model 's4d/*,s4ptd-rank1/*' --eps 0.3
      robustssm search worst-mode --model s4d --modes 1-64 --part 40 --no-prior
    """
    from robustssm.attacks import check_eps
    from robustssm.attacks.frequencies import parse_modes
    from robustssm.evaluations.searches.mode_ranking import Search, worst_modes
    from robustssm.evaluations.sweep.noises import Noise

    asked = SharedOptions(**options)
    strengths = [check_eps(value) for value in eps]
    if not min(strengths) > 0.0:
        raise UsageError("worst-mode: eps is 0, which no mode tells apart; give a strength")
    plan = asked.plan(Noise("fourier", modes, eps=strengths))
    listed = parse_modes(modes, top=plan.task.length // 2)
    searches = [Search(listed, value, asked.seed, part, prior, gradients) for value in strengths]
    pieces = [(model.ref, plan.task, search) for search in searches for model in plan.models]
    rows = asked.each(worst_modes, pieces, "checkpoints")
    title = f"{plan.task.spec}, noise seed {asked.seed}"
    terminal.show(asked.style, terminal.Table(title, rows, _columns(plan.task.kind), upright=True))


# The columns that a reader compares; json and csv have all.
def _columns(of: "Kind") -> tuple[terminal.Column, ...]:
    return (
        ("model", lambda row: f"{row['model']}/{row['train_seed']}", ""),
        ("eps", "eps", ""),
        (
            "first modes",
            lambda row: " ".join(str(row[f"mode_{k}"]) for k in (1, 2, 3) if f"mode_{k}" in row),
            "",
        ),
        (of.words, of.score, of.digits),
        ("samples", "samples", ""),
        ("passes", "passes", ""),
        ("sweep", "exhaustive_passes", ""),
        ("times fewer", "times_fewer", ".1f"),
    )
