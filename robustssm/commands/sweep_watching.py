"""What a terminal shows while a sweep is computed; imported when a command sweeps."""

import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robustssm.api.runs import measure
from robustssm.commands import common, terminal
from robustssm.commands.progress import duration, progress
from robustssm.errors import StorageError
from robustssm.evaluations.results.paired_tests import pairs
from robustssm.evaluations.results.tables import Tables
from robustssm.evaluations.statistics.power import smallest_difference
from robustssm.evaluations.sweep.cluster import ClusterError
from robustssm.evaluations.sweep.estimate import estimate
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.run import Execution, Swept, Watcher, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.run_state import RunState
from robustssm.execution import stopped_by_signals
from robustssm.targets import CLASSES


class TerminalWatcher(Watcher):
    """Shows progress and notes on stderr; state is what the directory held, None before that.

    name: what is computed, before the bar; progress: as of `progress`; stack: ends the
    bar; chatty: whether to say what is computed where, and which differences it can find.
    """

    def __init__(self, name: str, progress: str, stack: ExitStack, chatty: bool) -> None:
        self._name, self._progress, self._stack, self._chatty = name, progress, stack, chatty
        self.state: RunState | None = None

    def begins(self, plan: Plan, run: RunDirectory, state: RunState, execution: Execution) -> None:
        """Say how many cells are computed, and start the bar."""
        self.state = state
        todo = len(state.to_compute(execution.retry_failed))
        if todo and self._chatty:
            jobs = f"{execution.jobs} at a time"
            where = f"on {execution.cluster}" if execution.cluster else jobs
            failed = 0 if execution.retry_failed else len(state.failed)
            trouble = f", {failed} failed before (--retry-failed)" if failed else ""
            planned = len(state.planned)
            self.note(f"{run.path}: {todo} of {planned} cells to compute, {where}{trouble}")
            note_detectable(plan)
        bar = progress(todo, self._name, self._progress)
        self._advance = self._stack.enter_context(bar)

    def finished(self, cell: str, error: str) -> None:
        """Move the bar."""
        self._advance(failed=bool(error))

    def note(self, message: str) -> None:
        """Print a line on stderr."""
        terminal.note(message)


@contextmanager
def watched(name: str, progress: str, chatty: bool = True) -> Iterator[TerminalWatcher]:
    """Yield a watcher for a sweep that Ctrl-C and SIGTERM end with KeyboardInterrupt."""
    with stopped_by_signals():
        try:
            with ExitStack() as stack:
                yield TerminalWatcher(name, progress, stack, chatty)
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):  # Nobody is helped by a second one now.
                signal.signal(number, signal.SIG_IGN)
            raise


def measure_watched(
    name: str, plan: Plan, run: RunDirectory, execution: Execution, shown: str, **how: Any
) -> tuple[Swept, Tables]:
    """Return what `measure` does, watched; where it is stopped, say what is kept, how to resume.

    shown: how progress is shown.
    """
    try:
        with watched(name, shown) as watcher, run.lock():
            return measure(plan, run, execution, argv=sys.argv[1:], watcher=watcher, **how)
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


@contextmanager
def measured_in(
    output: Path | None, name: str, plan: Plan, asked: common.SharedOptions
) -> Iterator[RunDirectory]:
    """Yield a directory, a temporary one if none is named, with the cells of a plan computed.

    Raises CommandError, with exit code 3, where cells fail.
    """
    with ExitStack() as stack:
        run = RunDirectory(output or Path(stack.enter_context(TemporaryDirectory())))
        others = [RunDirectory(other) for other in asked.reuse]
        try:
            with watched(name, asked.progress, chatty=False) as watcher:
                told: dict[str, Any] = {"argv": sys.argv[1:], "watcher": watcher}
                errors = run_sweep(plan, run, asked.execution(), reuse=others, **told).errors
        except KeyboardInterrupt:
            kept = f"what is finished is kept in {run.path}, the same command goes on"
            terminal.note(f"interrupted; {kept if output else 'nothing is kept'}")
            sys.exit(130)
        check_errors(name, errors)
        yield run


def check_errors(name: str, errors: Mapping[str, str], cure: str = "") -> None:
    """Raise CommandError, with exit code 3, if cells failed; cure: what to do then."""
    if errors:
        first = next(iter(errors.values()))
        said = f"{name}: {len(errors)} cells failed, the first with: {first}"
        raise common.CommandError(f"{said}{cure}", 3)


def say_cost(plan: Plan, run: RunDirectory, execution: Execution, style: str | None) -> None:
    """Say how long what a run directory lacks will take; in a `style`, print all that it takes."""
    state = run.state(plan.unique)
    todo = state.to_compute(execution.retry_failed)
    with common.nothing_kept():
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
    if style:
        terminal.show(style, terminal.Table(title, [record], upright=True))
    size = f"{estimated.disk / 2**20:.3g} MiB"
    terminal.note(f"about {duration(seconds)} with {execution.jobs} at a time, {size}")
    terminal.note(*(f"would fail: {error}" for error in estimated.errors))


def note_detectable(plan: Plan) -> None:
    """Say how large a difference of two models has to be to be found in this sweep."""
    compared = pairs([(model.ref.label, model.train_seed) for model in plan.models])
    if not compared or plan.task.kind is not CLASSES:  # of errors no spread is known before
        return
    conditions = len(plan.cells) // len(plan.models) - 1
    tests = max(1, len(compared) * conditions)
    one, all_of_them = (smallest_difference(plan.samples, k) for k in (1, tests))
    corrected = f" ({all_of_them:.2g} after correcting for {tests} tests)" if tests > 1 else ""
    terminal.note(
        f"with {plan.samples} samples, differences below about {one:.2g}{corrected} will probably "
        "be missed"
    )
