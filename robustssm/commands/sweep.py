"""`robustssm sweep`: robustness curves of trained checkpoints."""

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands.common import BatchSize, CommandError, cores, nothing_kept, shared
from robustssm.commands.noise_options import noise_options, read_noises

if TYPE_CHECKING:
    from robustssm.evaluations.sweep.plan import Plan
    from robustssm.evaluations.sweep.run import Execution
    from robustssm.evaluations.sweep.run_directory import RunDirectory


@click.command()
@shared("models")
@noise_options
@click.option(
    "-b",
    "--batch-size",
    type=BatchSize(),
    default="auto",
    show_default=True,
    help="Samples at a time, or auto; halved where memory runs out. Never changes a result.",
)
@click.option(
    "--backend",
    type=click.Choice(["processes", "threads"]),
    default="processes",
    show_default=True,
    help="What --jobs counts on this machine.",
)
@click.option(
    "--cluster",
    help="Compute by Dask: local:2 (processes), or a scheduler's address, tcp://host:8786.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="cpu, cuda, cuda:1, or auto. Cells of CPU and GPU are kept apart.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Run directory. Default: runs/<task>-<noise>-<hash>.",
)
@click.option(
    "--reuse",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take finished cells from this run, where weights, data, noise and seed are the same.",
)
@click.option("--retry-failed", is_flag=True, help="Compute again what failed before.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first cell that fails.")
@click.option("--overwrite", is_flag=True, help="Discard what the directory holds.")
@click.option(
    "--figures/--no-figures",
    default=True,
    show_default=True,
    help="Draw the figures of the run; `robustssm draw` does it later.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be computed (cells, passes, time, disk, from a probe), and stop.",
)
@shared("task", "seed", "limit", "jobs", "style", "progress", "config")
def sweep(
    batch_size: int | None,
    backend: str,
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

    Results lie in the run directory: one Parquet file a cell, summary.csv, tests.csv, figures/.
    A second call computes nothing that is there already; one that was stopped goes on. Cells are
    known by the content of weights, data and perturbation, not by names.

    \b
    Examples:
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64
      robustssm sweep --model 's4d/*,s4ptd/*' --noise resonance --eps 0.1,0.3,1,3
      robustssm sweep --model s4d,s4ptd --noise 'BandNoise(1, 16)' --eps 20,10,5 --eps-unit snr-db
      robustssm sweep --model s4d --noise 'Gabor(mode, 0.5, 0.1)' --modes log:1:128:8 --eps 0.3
      robustssm sweep --model s4d,s4ptd --noise 'BandPGD(1, 128)' --noise 'Guided(1, 128)' --eps 0.3
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64 --dry-run
      printf 'model = ["s4d", "s4ptd"]\\nnoise = "fourier"\\n' > curves.toml
      robustssm sweep --config curves.toml --eps 0.3

    \b
    Exit codes: 0 done; 2 usage, or the directory holds another sweep; 3 some cells failed;
    4 a checkpoint or the data are rejected; 130 interrupted, what is finished is kept.
    """
    from robustssm.commands import terminal
    from robustssm.evaluations.results.tables import finish
    from robustssm.evaluations.sweep.plan import default_output
    from robustssm.evaluations.sweep.run import DEFAULT_BATCH, Execution
    from robustssm.evaluations.sweep.run_directory import RunDirectory
    from robustssm.execution import stopped_by_signals

    plan = sweep_plan(device=device, **options)
    execution = Execution(
        jobs=jobs or cores(),
        backend=backend,
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
    if plan.task.tokens is not None and any(
        cell.condition is not None and cell.condition.inject == "input" for cell in plan.cells
    ):
        terminal.note(
            f"{plan.task.spec}: inputs are tokens; noise is added to their embeddings, eps in the "
            "embeddings' standard deviations over the training tokens"
        )
    for model in plan.models:
        for note in model.notes:
            terminal.note(f"{model.ref}: {note}")
    others = [RunDirectory(path) for path in reuse]
    if overwrite and any(other.path.resolve() == run.path.resolve() for other in others):
        raise CommandError(f"reuse {run.path}: is what --overwrite discards; leave one out", 2)
    if cluster:
        from robustssm.evaluations.sweep.cluster import reach

        reach(cluster)
    with stopped_by_signals(), run.lock():
        run.open(plan, sys.argv[1:], overwrite, click.get_current_context().params)
        for other in others:
            taken = run.reuse(plan, other)
            terminal.note(f"{other.path}: {taken or 'no'} cells taken from there")
        there = len(plan.unique) - len(run.missing(plan))
        errors = _run(plan, run, execution, progress)
        done = len(plan.unique) - len(run.missing(plan))
        results = finish(run)
        if figures and not results.overview.empty:
            from robustssm.figures.sweep_figures import keep_drawn

            keep_drawn(
                results.summary,
                results.tests,
                results.overview,
                run.path / "figures",
                chance=plan.task.chance,
                length=plan.task.length,
                partial=plan.limit is not None,
            )
    from robustssm.commands.sweep_tables import show_sweep

    terminal.note(f"{done - there} cells computed, {there} were there; {run.path}")
    show_sweep(results, run.path, style, partial=plan.limit is not None)
    if errors:
        first = next(iter(errors.values()))
        raise CommandError(
            f"sweep: {len(errors)} cells failed, the first with: {first}; see "
            f"{run.path / 'errors'}, then run the command again with --retry-failed",
            3,
        )


def sweep_plan(
    models: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    settings: tuple[str, ...],
    task: str | None,
    seed: int,
    limit: int | None,
    device: str,
    **noise: Any,
) -> "Plan":
    """Return the plan that the options of `sweep` describe; UsageError, RejectedInputError else."""
    from robustssm.checkpoints.model_names import resolve
    from robustssm.evaluations.sweep.plan import make_plan
    from robustssm.execution import resolve_device

    return make_plan(
        resolve(",".join(models), checkpoints, settings),
        read_noises(**noise),
        task=task,
        seed=seed,
        limit=limit,
        device=resolve_device(device).type,
    )


def _run(
    plan: "Plan", run: "RunDirectory", execution: "Execution", progress: str
) -> dict[str, str]:
    """Compute what is missing, with progress; return the errors. Exits where interrupted."""
    from robustssm.commands import terminal
    from robustssm.errors import StorageError
    from robustssm.evaluations.sweep.run import run_sweep

    before = run.missing(plan)
    failed = {} if execution.retry_failed else run.failed(plan)
    todo = len(before) - len(failed)
    if todo:
        where = f"on {execution.cluster}" if execution.cluster else f"{execution.jobs} at a time"
        trouble = f", {len(failed)} failed before (--retry-failed)" if failed else ""
        terminal.note(
            f"{run.path}: {todo} of {len(plan.unique)} cells to compute, {where}{trouble}"
        )
        _detectable(plan)
    try:
        with terminal.progress(todo, "sweep", progress) as advance:
            return run_sweep(
                plan,
                run,
                execution,
                report=lambda cell, error: advance(failed=bool(error)),
                notify=terminal.note,
            )
    except KeyboardInterrupt:
        _goodbye("interrupted", len(before), run, plan)
        sys.exit(130)
    except StorageError:
        _goodbye("stopped", len(before), run, plan)
        raise


def _goodbye(what: str, before: int, run: "RunDirectory", plan: "Plan") -> None:
    from robustssm.commands import terminal

    for number in (signal.SIGINT, signal.SIGTERM):  # Nobody is helped by a second one now.
        signal.signal(number, signal.SIG_IGN)
    left = len(run.missing(plan))
    terminal.note(
        f"{what}, {before - left} of {before} cells saved, {left} left; resume with\n  "
        f"{shlex.join(['robustssm', *sys.argv[1:]])}"
    )


def _dry_run(plan: "Plan", run: "RunDirectory", execution: "Execution", style: str) -> None:
    """Print what would be computed; nothing is written."""
    from robustssm.commands import terminal
    from robustssm.evaluations.sweep.estimate import estimate

    missing, failed = run.missing(plan), run.failed(plan)
    todo = missing if execution.retry_failed else [c for c in missing if c.id not in failed]
    found = estimate(plan, todo, execution.batch_size)
    seconds = found.core_seconds / execution.jobs
    record = {
        "output": str(run.path),
        "cells": len(plan.unique),
        "done": len(plan.unique) - len(missing),
        "failed before": len(failed),
        "to compute": len(todo),
        "samples a cell": len(plan.task.splits["test"].first(plan.limit)),
        "forward passes": round(found.forwards),
        "backward passes": round(found.backwards),
        "core seconds": float(f"{found.core_seconds:.3g}"),
        "seconds": float(f"{seconds:.3g}"),
        "disk bytes": round(found.disk),
    }
    terminal.emit_records(f"dry run of {run.path}: nothing is computed", [record], style)
    terminal.note(
        f"about {terminal.duration(seconds)} with {execution.jobs} at a time, "
        f"{found.disk / 2**20:.3g} MiB"
    )
    for error in found.errors:
        terminal.note(f"would fail: {error}")
    _detectable(plan)


def _detectable(plan: "Plan") -> None:
    """Say how large a difference of two models has to be to be found in this sweep."""
    from robustssm.commands import terminal
    from robustssm.evaluations.results.paired_tests import pairs
    from robustssm.evaluations.statistics.power import smallest_difference

    compared = pairs([(model.ref.label, model.train_seed) for model in plan.models])
    if not compared:
        return
    samples = len(plan.task.splits["test"].first(plan.limit))
    conditions = len(plan.cells) // len(plan.models) - 1
    tests = max(1, len(compared) * conditions)
    one, all_of_them = (smallest_difference(samples, k) for k in (1, tests))
    terminal.note(
        f"smallest difference of two checkpoints' accuracies found with power 0.8 (n = {samples}, "
        f"one in ten samples discordant): {one:.3f} in one test, {all_of_them:.3f} among {tests}"
    )
