"""`robustssm sweep`: robustness curves of trained checkpoints."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, cores, nothing_kept, output, shared
from robustssm.commands.noise_options import noise_options, read_noises
from robustssm.commands.parameter_types import BatchSize
from robustssm.commands.progress import duration
from robustssm.commands.sections import SectionedCommand

if TYPE_CHECKING:
    from robustssm.evaluations.sweep.plan import Plan
    from robustssm.evaluations.sweep.run import Execution
    from robustssm.evaluations.sweep.run_directory import RunDirectory


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
    device: str,
    output: Path | None,
    reuse: tuple[Path, ...],
    retry_failed: bool,
    fail_fast: bool,
    overwrite: bool,
    figures: bool,
    dry_run: bool,
    jobs: int | None,
    style: str,
    progress: str,
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
    from robustssm.api.runs import measure
    from robustssm.commands.show import show_sweep
    from robustssm.commands.sweep_watching import watched
    from robustssm.errors import StorageError
    from robustssm.evaluations.sweep.cluster import ClusterError
    from robustssm.evaluations.sweep.plan import default_output
    from robustssm.evaluations.sweep.run import DEFAULT_BATCH, Execution
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    plan = sweep_plan(device=device, **options)
    execution = Execution(
        jobs=jobs or cores(),
        alone_first=jobs is None,
        cluster=cluster,
        batch_size=batch_size or DEFAULT_BATCH,
        device=device,
        retry_failed=retry_failed,
        fail_fast=fail_fast,
    )
    run = RunDirectory(output or default_output(plan))
    if dry_run:
        run.check(plan, overwrite)
        with nothing_kept():
            _dry_run(plan, run, execution, style)
        return
    _note_inputs(plan)
    if cluster:
        from robustssm.evaluations.sweep.cluster import reach

        reach(cluster)
    try:
        with watched("sweep", progress) as watcher, run.lock():
            swept, tables = measure(
                plan,
                run,
                execution,
                figures=figures,
                reuse=[RunDirectory(path) for path in reuse],
                overwrite=overwrite,
                argv=sys.argv[1:],
                options=click.get_current_context().params,
                watcher=watcher,
            )
    except (KeyboardInterrupt, StorageError, ClusterError) as error:
        if watcher.state is None:
            raise
        stopped = not isinstance(error, KeyboardInterrupt)
        left = len(run.state(plan.unique).to_compute(retry_failed=True))
        before = len(watcher.state.to_compute(retry_failed=True))
        terminal.note(
            f"{'stopped' if stopped else 'interrupted'}, {before - left} of {before} cells saved, "
            f"{left} left; resume with\n  {shlex.join(['robustssm', *sys.argv[1:]])}",
            always=True,
        )
        if stopped:
            raise
        sys.exit(130)
    reused = len(swept.before.done)
    terminal.note(f"{swept.computed} cells computed, {reused} reused; {run.path}")
    show_sweep(tables, run.path, style, partial=plan.limit is not None)
    rows = tables.summary.to_dict("records") if plan.limit is None else []
    below = (row["model"] for row in rows if row["clean_accuracy"] <= plan.task.chance)
    for name in dict.fromkeys(below):
        terminal.note(
            f"{name}: its clean accuracy is no better than that of the best constant answer, "
            f"{plan.task.chance:.3f}; look at its weights, and at how its inputs are scaled"
        )
    clean = {(row["model"], row["train_seed"]): row["clean_accuracy"] for row in rows}
    for model in plan.models if clean else ():
        measured = clean.get((model.ref.label, model.train_seed))
        if compared := model.card.against_stored(measured):
            terminal.note(f"{model.ref}: {compared}")
    if swept.errors:
        first = next(iter(swept.errors.values()))
        raise CommandError(
            f"sweep: {len(swept.errors)} cells failed, the first with: {first}; see "
            f"{run.path / 'errors'}, then run the command again with --retry-failed",
            3,
        )


def sweep_plan(
    models: tuple[str, ...],
    settings: tuple[str, ...],
    task: str | None,
    seed: int,
    limit: int | None,
    device: str,
    noise_seeds: int = 1,
    **noise: Any,
) -> "Plan":
    """Return the plan that options of `sweep` describe; an error has one line per problem."""
    from robustssm.evaluations.sweep.planning import find_models, make_plan
    from robustssm.evaluations.sweep.problems import Problems
    from robustssm.execution import resolve_device

    problems = Problems()
    place = problems.attempt(resolve_device, device)
    return make_plan(
        find_models(models, settings, problems),
        read_noises(**noise),
        task=task,
        seed=seed,
        noise_seeds=noise_seeds,
        limit=limit,
        device="cpu" if place is None else place.type,
        problems=problems,
    )


def _note_inputs(plan: "Plan") -> None:
    if plan.task.tokens is not None and any(cell.inject == "input" for cell in plan.cells):
        terminal.note(
            f"{plan.task.spec}: inputs are tokens; noise is added to their embeddings, eps in the "
            "embeddings' standard deviations over the training tokens"
        )
    for model in plan.models:
        for note in model.notes:
            terminal.note(f"{model.ref}: {note}")


def _dry_run(plan: "Plan", run: "RunDirectory", execution: "Execution", style: str) -> None:
    from robustssm.commands.sweep_watching import note_detectable
    from robustssm.evaluations.sweep.estimate import estimate

    state = run.state(plan.unique)
    todo = state.to_compute(execution.retry_failed)
    estimated = estimate(plan, [plan.unique[cell] for cell in todo], execution.batch_size)
    seconds = estimated.core_seconds / execution.jobs
    record = {
        "output": str(run.path),
        "cells": len(state.planned),
        "done": len(state.done),
        "failed before": len(state.failed),
        "to compute": len(todo),
        "samples a cell": plan.samples,
        "forward passes": round(estimated.forwards),
        "backward passes": round(estimated.backwards),
        "core seconds": float(f"{estimated.core_seconds:.3g}"),
        "seconds": float(f"{seconds:.3g}"),
        "disk bytes": round(estimated.disk),
    }
    title = f"dry run of {run.path}: nothing is computed"
    terminal.show(style, terminal.Table(title, [record], upright=True))
    terminal.note(
        f"about {duration(seconds)} with {execution.jobs} at a time, "
        f"{estimated.disk / 2**20:.3g} MiB"
    )
    for error in estimated.errors:
        terminal.note(f"would fail: {error}")
    note_detectable(plan)
