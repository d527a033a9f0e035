"""`robustssm baseline` and `robustssm check`: regression tests on robustness curves."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, cores, models_of_runs, names_in, output, shared

if TYPE_CHECKING:
    from robustssm.evaluations.baselines.verdicts import Check
    from robustssm.evaluations.sweep.plan import Plan
    from robustssm.evaluations.sweep.run import Execution
    from robustssm.evaluations.sweep.run_directory import RunDirectory

# Falls named in the line that ends a check.
_NAMED = 3


@click.command()
@shared("runs")
@models_of_runs("--model")
@output(required=True, dir_okay=False, help="File to write, JSON.")
def baseline(runs: tuple[Path, ...], models: tuple[str, ...], output: Path) -> None:
    """Keep what models did in finished sweeps, to hold later models against (`check`).

    The file holds the conditions, the data's hash, and which samples each model of each training
    seed got right; it needs neither run nor checkpoints afterwards. Equal runs give equal files.
    Give it three training seeds of a model or more if retrained models are to be held against it:
    one seed says nothing of how much seeds differ.

    \b
    Examples:
      robustssm sweep -m 's4ptd/*' --noise resonance --eps 0.3,1 -o runs/spike
      robustssm baseline runs/spike -o curve.json
      robustssm check s4ptd/1 --baseline curve.json

    \b
    Exit codes: 0 done; 2 usage, an unfinished sweep, or runs that do not belong together.
    """
    from robustssm.evaluations.baselines.baseline import make_baseline
    from robustssm.evaluations.baselines.files import write_baseline
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    made = make_baseline([RunDirectory(path) for path in runs], names_in(models))
    write_baseline(output, made)
    partial = "" if made.data.limit is None else f", PARTIAL: the first {made.data.samples} samples"
    terminal.note(
        f"{output}: {len(made.conditions)} conditions and the clean accuracy of "
        f"{', '.join(member.name for member in made.members)}{partial}"
    )


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--baseline",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File written by `robustssm baseline`.",
)
@click.option(
    "--against",
    help="Model of the baseline: s4ptd (all its training seeds), s4ptd/0 (one of them). Default: "
    "the one of MODEL's name, or the only one.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.02,
    help="Falls of accuracy up to this never count.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    help="Probability of a false alarm, for each model, as the band assumes.",
)
@output(help="Run directory to keep what is measured in. Default: none, it is thrown away.")
@shared("reuse")
@click.option("--device", default="cpu", help="cpu, cuda, cuda:1, or auto.")
@shared("settings", "jobs", "style", "progress")
def check(
    models: tuple[str, ...],
    settings: tuple[str, ...],
    path: Path,
    against: str | None,
    margin: float,
    alpha: float,
    output: Path | None,
    reuse: tuple[Path, ...],
    device: str,
    jobs: int | None,
    style: str,
    progress: str,
) -> None:
    """Fail where a model's robustness curve fell below a baseline.

    MODEL: s4d, s4d/2, 's4d/*', name=path or a checkpoint file. It sees the samples and noise of
    the baseline, the clean accuracy included. Against one training seed, samples are paired: a
    condition has fallen where McNemar's exact one-sided p, Holm-adjusted, is below --alpha and the
    fall exceeds --margin. Against more seeds, where it is below the prediction bound of one more
    seed (moderated Student, Bonferroni; arcsine scale) and the margin. The mean over conditions is
    held against a bound of its own; both share --alpha. What rose is reported and never fails.

    \b
    Examples:
      robustssm sweep -m 's4ptd/*' --noise resonance --eps 0.3,1 -o runs/spike
      robustssm baseline runs/spike -o curve.json
      robustssm check s4ptd/1 --baseline curve.json
      robustssm check s4ptd/2 --baseline curve.json --against s4ptd/0 --format json

    \b
    Exit codes: 0 nothing fell; 2 usage; 3 some cells failed; 4 a checkpoint, the baseline or the
    data are rejected; 5 the curve fell; 130 interrupted.
    """
    from contextlib import nullcontext
    from tempfile import TemporaryDirectory

    from robustssm.checkpoints.model_names import references
    from robustssm.commands.check_tables import show_checks
    from robustssm.evaluations.baselines.files import read_baseline
    from robustssm.evaluations.baselines.regression import checks, plan_check
    from robustssm.evaluations.sweep.run import Execution
    from robustssm.evaluations.sweep.run_directory import RunDirectory
    from robustssm.execution import resolve_device

    held = read_baseline(path)
    plan = plan_check(held, references(models, settings), against, resolve_device(device).type)
    place = TemporaryDirectory() if output is None else nullcontext(output)
    with place as folder:
        run = RunDirectory(Path(folder))
        execution = Execution(jobs=jobs or cores(), device=device, retry_failed=True)
        _measure(plan, run, reuse, execution, progress, kept=output is not None)
        found = checks(held, plan, run, against, margin, alpha)
    show_checks(found, held, str(path), style)
    _fail(found)


def _measure(
    plan: "Plan",
    run: "RunDirectory",
    reuse: tuple[Path, ...],
    execution: "Execution",
    progress: str,
    kept: bool,
) -> None:
    """Compute what is missing, with progress; CommandError if cells failed."""
    from robustssm.commands.sweep_watching import watched
    from robustssm.evaluations.sweep.run import run_sweep
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    others = [RunDirectory(path) for path in reuse]
    try:
        with watched("check", progress, chatty=False) as watcher:
            errors = run_sweep(
                plan, run, execution, reuse=others, argv=sys.argv[1:], watcher=watcher
            ).errors
    except KeyboardInterrupt:
        terminal.note(
            f"interrupted; what is finished is kept in {run.path}, the same command goes on"
            if kept
            else "interrupted; nothing is kept, -o DIRECTORY keeps what is finished"
        )
        sys.exit(130)
    if errors:
        raise CommandError(
            f"check: {len(errors)} cells failed, the first with: {next(iter(errors.values()))}", 3
        )


def _fail(found: "list[Check]") -> None:
    """Raise CommandError, with exit code 5, where a model fell."""
    from robustssm.evaluations.baselines.verdicts import describe

    lines = []
    for one in found:
        fallen = one.fallen
        if len(fallen):
            named = "; ".join(describe(row) for _, row in fallen.head(_NAMED).iterrows())
            more = f"; and {len(fallen) - _NAMED} more" if len(fallen) > _NAMED else ""
            lines.append(f"{one.model}/{one.train_seed} fell at {len(fallen)}: {named}{more}")
    if lines:
        raise CommandError("check: " + "\n  ".join(lines), 5)
