"""`robustssm sweep`: robustness curves of trained checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, output, shared
from robustssm.commands.noise_options import noise_options, read_noises
from robustssm.commands.parameter_types import BatchSize
from robustssm.commands.sections import SectionedCommand

if TYPE_CHECKING:
    from robustssm.evaluations.sweep.plan import Plan


@click.command(
    cls=SectionedCommand,
    sections={
        "What is measured": ("models", "settings", "task", "limit"),
        "Perturbation": (
            *("noises", "modes", "mode_unit", "omega", "phase", "channels", "inject", "seed"),
            "noise_seeds",
        ),
        "Strength": ("eps", "eps_unit", "clip", "limits"),
        "Execution": (
            *("jobs", "batch_size", "device", "cluster", "reuse", "retry_failed", "fail_fast"),
            *("overwrite", "dry_run", "config", "allow_code"),
        ),
        "Output": ("output", "figures", "wide", "style", "progress", "quiet", "verbose"),
    },
)
@shared("models")
@noise_options
@click.option(
    "-b",
    "--batch-size",
    type=BatchSize(),
    default="auto",
    metavar="N|auto",
    help="Batch size; halved when memory runs out. Does not affect results.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Compute by Dask: local:2 (processes), or a scheduler's address, tcp://host:8786.",
)
@shared("device")
@output(help="Run directory. Default: runs/<task>-<noise>-<hash>.")
@shared("reuse")
@click.option("--retry-failed", is_flag=True, help="Compute again the cells that failed before.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first cell that fails.")
@click.option("--overwrite", is_flag=True, help="Discard the results in the run directory.")
@click.option(
    "--figures/--no-figures",
    default=True,
    help="Draw the figures of the run; `robustssm draw` does it later.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Report what would be computed (cells, passes, time, disk), and stop.",
)
@shared("task", "seed")
@click.option(
    "--noise-seeds",
    default=1,
    type=click.IntRange(1),
    metavar="K",
    help="Draw each noise K times, with --seed and the next seeds.",
)
@shared("limit", "jobs", "wide", "style", "progress", "config")
def sweep(
    batch_size: int | None,
    cluster: str | None,
    output: Path | None,
    retry_failed: bool,
    fail_fast: bool,
    overwrite: bool,
    figures: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Measure robustness curves of trained checkpoints.

    Results are written to the run directory: one Parquet file per cell, summary.csv, tests.csv,
    figures/. Repeating the command computes only what is missing, so that an interrupted sweep
    resumes. Cells are identified by the content of weights, data and perturbation, not by names.

    \b
    Examples:
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64
      robustssm sweep --model 's4d/*,s4ptd/*' --noise resonance --eps 0.1,0.3,1,3
      robustssm sweep -m s4d --noise 'BandNoise(1, 16)' --eps 9 --eps-unit snr-db
      robustssm sweep -m s4d --noise 'Gabor(mode, 0.5, 0.1)' --modes log:1:128:8
      robustssm sweep -m s4d --noise 'BandPGD(1, 128)' --noise 'Guided(1, 128)'
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64 --dry-run
      printf 'model = ["s4d", "s4ptd"]\\nnoise = "fourier"\\n' > curves.toml
      robustssm sweep --config curves.toml --eps 0.3

    Exit codes: 0 done; 2 usage, or the directory holds another sweep; 3 some cells failed;
    4 a checkpoint or the data are rejected; 130 interrupted, what is finished is kept.
    """
    from robustssm.commands.show import show_sweep
    from robustssm.commands.sweep_watching import (
        check_errors,
        measure_watched,
        note_detectable,
        say_cost,
    )
    from robustssm.evaluations.sweep.plan import default_output
    from robustssm.evaluations.sweep.run import DEFAULT_BATCH
    from robustssm.evaluations.sweep.run_directory import RunDirectory
    from robustssm.targets import CLASSES

    asked = SharedOptions.taken(options)
    plan = sweep_plan(asked, **options)
    how = {"batch_size": batch_size or DEFAULT_BATCH, "cluster": cluster, "fail_fast": fail_fast}
    execution = asked.execution(retry_failed, **how)
    run = RunDirectory(output or default_output(plan))
    if dry_run:
        run.check(plan, overwrite)
        say_cost(plan, run, execution, asked.style)
        note_detectable(plan)
        return
    note_inputs(plan)
    if cluster:
        from robustssm.evaluations.sweep.cluster import reach

        reach(cluster)
    swept, tables = measure_watched(
        "sweep",
        plan,
        run,
        execution,
        asked.progress,
        figures=figures,
        reuse=[RunDirectory(path) for path in asked.reuse],
        overwrite=overwrite,
        options=click.get_current_context().params,
    )
    reused = len(swept.before.done)
    terminal.note(f"{swept.computed} cells computed, {reused} reused; {run.path}")
    show_sweep(tables, run.path, asked.style, partial=plan.limit is not None)
    rows = tables.summary.to_dict("records") if plan.limit is None else []
    of = plan.task.kind
    below = (row["model"] for row in rows if of.sign * (row[of.clean] - plan.task.chance) <= 0.0)
    for name in dict.fromkeys(below):
        terminal.note(
            f"{name}: its clean {of.words} is no better than that of the best constant answer, "
            f"{plan.task.chance:{of.digits}}; look at its weights, and at how its inputs are scaled"
        )
    clean = {(row["model"], row["train_seed"]): row[of.clean] for row in rows}
    for model in plan.models if clean and of is CLASSES else ():
        measured = clean.get((model.ref.label, model.train_seed))
        if compared := model.card.against_stored(measured):
            terminal.note(f"{model.ref}: {compared}")
    cure = f"; see {run.path / 'errors'}, then run the command again with --retry-failed"
    check_errors("sweep", swept.errors, cure)


def sweep_plan(asked: SharedOptions, noise_seeds: int = 1, **noise: Any) -> "Plan":
    """Return the plan that options of `sweep` describe; an error has one line per problem."""
    from robustssm.evaluations.sweep.planning import find_models, make_plan
    from robustssm.evaluations.sweep.problems import Problems
    from robustssm.execution import resolve_device

    problems = Problems()
    place = problems.attempt(resolve_device, asked.device)
    return make_plan(
        find_models(asked.models, asked.settings, problems),
        read_noises(**noise),
        task=asked.task,
        seed=asked.seed,
        noise_seeds=noise_seeds,
        limit=asked.limit,
        device="cpu" if place is None else place.type,
        problems=problems,
    )


def note_inputs(plan: "Plan") -> None:
    """Say how the models of a plan were read, and where noise is added to tokens."""
    if plan.task.tokens is not None and any(cell.inject == "input" for cell in plan.cells):
        terminal.note(
            f"{plan.task.spec}: inputs are tokens; noise is added to their embeddings, eps in the "
            "embeddings' standard deviations over the training tokens"
        )
    for model in plan.models:
        terminal.note(*(f"{model.ref}: {note}" for note in model.notes))
