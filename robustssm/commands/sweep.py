"""`robustssm sweep`: robustness curves of trained checkpoints."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustssm.commands.common import FORMATS, PROGRESS, CommandError, cores
from robustssm.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.results import Results


@click.command()
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    help="Models: s4d, s4d/2 (training seed 2), 's4d/*' (all seeds), name=path.",
)
@click.option(
    "-c",
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Checkpoint files, named by their stems.",
)
@click.option(
    "--noise",
    type=click.Choice(["fourier", "resonance"]),
    required=True,
    help="fourier: one DFT mode of the input. resonance: the PTD paper's test.",
)
@click.option(
    "--modes",
    help="As in 1-64 or 1,2,4: DFT bins, or spikes of S4D (resonance). "
    "Default: 1-64 (fourier), 1 (resonance).",
)
@click.option("--omega", help="Frequencies of resonance by hand, rad per unit time: 162.7,325.4.")
@click.option(
    "--eps",
    default="0.1,0.3,1",
    show_default=True,
    help="Strengths, beside the clean accuracy (fourier: RMS in input standard "
    "deviations; resonance: largest amplitude).",
)
@click.option(
    "--eps-unit",
    type=click.Choice(["std", "linf"]),
    help="Unit of eps: follows from the noise; may be given to make sure.",
)
@click.option(
    "--inject",
    type=click.Choice(["input", "layers"]),
    help="Where: follows from the noise; may be given to make sure.",
)
@click.option("-d", "--data", "task", help="Task, as in digits:side=32. Default: the models' own.")
@click.option("--seed", default=0, show_default=True, help="Seed of the noise.")
@click.option("-L", "--limit", type=int, help="First so many test samples only; marks the result.")
@click.option(
    "-b",
    "--batch-size",
    default=64,
    show_default=True,
    type=click.IntRange(1),
    help="Samples at a time; never changes a result.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes. Default: all cores.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Run directory. Default: runs/<task>-<noise>-<hash>.",
)
@click.option("--overwrite", is_flag=True, help="Discard what the directory holds.")
@click.option("--dry-run", is_flag=True, help="Say what would be computed, and stop.")
@click.option("--format", "style", type=FORMATS, default="table", show_default=True)
@click.option("--progress", type=PROGRESS, default="auto", show_default=True)
def sweep(
    models: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    noise: str,
    modes: str | None,
    omega: str | None,
    eps: str,
    eps_unit: str | None,
    inject: str | None,
    task: str | None,
    seed: int,
    limit: int | None,
    batch_size: int,
    jobs: int | None,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    style: str,
    progress: str,
) -> None:
    """Measure robustness curves of trained checkpoints.

    Results lie in the run directory: one Parquet file a cell, summary.csv, tests.csv, figures/.
    A second call computes nothing that is there already.

    \b
    Examples:
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64
      robustssm sweep --model 's4d/*,s4ptd/*' --noise resonance --eps 0.1,0.3,1,3
    """
    from robustssm import ui
    from robustssm.evaluations.plan import default_output, make_plan, parse_modes, parse_numbers
    from robustssm.evaluations.results import finish
    from robustssm.evaluations.run import run_sweep
    from robustssm.evaluations.store import RunDirectory
    from robustssm.zoo import resolve

    if modes and omega:
        raise UsageError("sweep: --modes and --omega exclude each other; give one of them")
    plan = make_plan(
        resolve(",".join(models), checkpoints),
        noise=noise,
        modes=parse_modes(modes or ("1-64" if noise == "fourier" else "1")),
        omega=parse_numbers(omega, "omega") if omega else (),
        eps=parse_numbers(eps, "eps"),
        inject=inject,
        eps_unit=eps_unit,
        task=task,
        seed=seed,
        limit=limit,
    )
    run = RunDirectory(output or default_output(plan))
    if dry_run:
        missing = len(run.missing(plan))
        samples = len(plan.task.splits["test"].first(limit))
        ui.note(
            f"{run.path}: {missing} of {len(plan.cells)} cells to compute, "
            f"{missing * samples} forward passes of length {plan.task.length}"
        )
        return
    run.open(plan, sys.argv[1:], overwrite)
    missing = len(run.missing(plan))
    try:
        with ui.progress(missing, "sweep", progress) as advance:
            errors = run_sweep(
                plan,
                run,
                jobs=jobs or cores(),
                batch_size=batch_size,
                report=lambda cell, error: advance(),
            )
    except KeyboardInterrupt:
        left = len(run.missing(plan))
        ui.note(
            f"interrupted, {missing - left} of {missing} cells saved; resume with\n  "
            f"{shlex.join(['robustssm', *sys.argv[1:]])}"
        )
        sys.exit(130)
    computed = missing - len(errors)
    results = finish(plan, run)
    if not results.overview.empty and (computed or not any((run.path / "figures").iterdir())):
        from robustssm.figures import robustness

        robustness.draw_all(
            results.summary,
            run.path / "figures",
            chance=plan.task.chance,
            length=plan.task.length,
            partial=limit is not None,
        )
    ui.note(f"{computed} cells computed, {len(plan.cells) - missing} were there; {run.path}")
    _show_sweep(results, run.path, style, partial=limit is not None)
    if errors:
        first = next(iter(errors.values()))
        raise CommandError(
            f"sweep: {len(errors)} cells failed, the first with {first}; "
            f"see {run.path / 'errors'}, then run the command again",
            3,
        )


def _show_sweep(results: "Results", path: Path, style: str, partial: bool) -> None:
    from robustssm import ui

    if style == "json":
        ui.emit_json({"schema": 1, "output": str(path), "partial": partial, **results.to_json()})
        return
    if style == "csv":
        click.echo(results.summary.to_csv(index=False), nl=False)
        return
    title = f"{path}" + (" PARTIAL (--limit)" if partial else "")
    if results.overview.empty:
        ui.emit_table(title, *_clean(results.summary), style)
    else:
        ui.emit_table(title, *_overview(results.overview), style)
    for line in results.verdicts():
        click.echo(line)


def _clean(summary: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a run that holds clean evaluations only, or nothing."""
    rows = [
        [row.model, str(row.train_seed), str(row.n), f"{row.accuracy:.3f}"]
        for row in summary.itertuples()
    ]
    return ["model", "seed", "n", "clean"], rows


def _overview(frame: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows that are shown; one mode needs no mean and no worst."""
    single = bool((frame["modes"] == 1).all())
    columns = ["model", "seeds", "n", "clean", "eps"]
    columns += ["accuracy"] if single else ["mean over modes", "worst mode", "at mode"]
    columns += ["95% interval", "of"]
    several = bool((frame["seeds"] > 1).any())
    columns += ["seeds from..to"] if several else []
    rows = []
    for row in frame.itertuples():
        worst = f"{row.acc_worst_over_modes:.3f}"
        mean = f"{row.acc_mean_over_modes:.3f}"
        shown = [worst] if single else [mean, worst, f"{row.worst_mode:g}"]
        spread = f"{row.lowest_seed:.3f}..{row.highest_seed:.3f}"
        rows.append(
            [
                *(row.model, str(row.seeds), str(row.n), f"{row.clean_accuracy:.3f}"),
                f"{row.eps:g} {row.eps_unit}",
                *shown,
                f"[{row.ci_low:.3f}, {row.ci_high:.3f}]",
                row.interval,
                *([spread] if several else []),
            ]
        )
    return columns, rows
