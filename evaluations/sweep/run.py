"""The one function that sweeps: what is finished is kept, what fails is on record."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustssm.arguments import with_checked_fields
from robustssm.errors import StorageError, UsageError, require
from robustssm.evaluations.sweep import backends
from robustssm.evaluations.sweep.plan import Cell, Plan
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.run_state import RunState
from robustssm.evaluations.sweep.worker import CellEnd, WorkOptions, failure, keep, run_chunk
from robustssm.execution import stop_if_asked

DEFAULT_BATCH = 1024
# Cells of a model that a worker is given at a time, at most; and in how many rounds at least.
_CHUNK = 8
_ROUNDS = 16
# Seconds that a sweep may compute in its own process before it starts workers, which take as long
# to be there; and the steps of a batch up to which its memory is nobody's concern.
_ALONE = 3.0
_SMALL = 1 << 19
# A cell that this many workers died with is computed in a process of its own.
_STRIKES = 2


@with_checked_fields
@dataclass(frozen=True)
class Execution:
    """How a sweep is computed. None of it changes a result.

    Parameters
    ----------
    jobs : int
        Worker processes on this machine.
    alone_first : bool
        Begin in this process, and start workers if it takes longer than they take to be there.
        Only where batches are small and no code of others is run: what ends the process, ends all.
    cluster : str, optional
        Dask instead: `local:2`, or a scheduler's address.
    batch_size : int
        Samples at a time; halved if memory runs out.
    device : str
        As torch names it.
    retry_failed : bool
        Compute cells that failed before.
    fail_fast : bool
        Stop at the first failure.
    """

    jobs: int = 1
    alone_first: bool = False
    cluster: str | None = None
    batch_size: int = DEFAULT_BATCH
    device: str = "cpu"
    retry_failed: bool = False
    fail_fast: bool = False

    def __post_init__(self) -> None:
        require(self.jobs >= 1, "execution: jobs", self.jobs, "at least 1")
        require(self.batch_size >= 1, "execution: batch size", self.batch_size, "at least 1")


class Watcher:
    """What a sweep tells its caller on the way; this one keeps silent."""

    def begins(self, plan: Plan, run: RunDirectory, state: RunState, execution: Execution) -> None:
        """Hear what is there before anything is computed."""

    def finished(self, cell: str, error: str) -> None:
        """Hear that a cell ended; error is empty if it was computed."""

    def note(self, message: str) -> None:
        """Hear what a user should know, such as workers that died."""


@dataclass(frozen=True)
class Swept:
    """The end of a sweep.

    Parameters
    ----------
    before : RunState
        What the directory held, reused cells included.
    computed : int
        Number of cells computed.
    errors : dict
        Errors by cell id, those of earlier sweeps included if their cells were not tried again.
    """

    before: RunState
    computed: int
    errors: dict[str, str]


def run_sweep(
    plan: Plan,
    run: RunDirectory,
    execution: Execution | None = None,
    *,
    reuse: Sequence[RunDirectory] = (),
    overwrite: bool = False,
    argv: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
) -> Swept:
    """Compute the cells of a plan that a run directory lacks, and return the end of it.

    Every sweep goes through here: the command line's, those of checks against baselines, of the
    pytest plugin, of the paper's experiments and of `doctor`. Raises UsageError if the directory
    holds another sweep, or another one is writing there, StorageError if nothing can be written.

    Parameters
    ----------
    plan : Plan
        What is computed.
    run : RunDirectory
        Where cells are stored; it is made, or taken up again if its cells are in the plan.
    execution : Execution, optional
        How it is computed.
    reuse : sequence of RunDirectory
        Runs whose finished cells are taken if they are in the plan.
    overwrite : bool
        Discard what the directory holds.
    argv, options
        Of the command, kept in the manifest.
    watcher : Watcher, optional
        Who is told how far it is.
    """
    execution, watcher = execution or Execution(), watcher or Watcher()
    if overwrite and any(other.path.resolve() == run.path.resolve() for other in reuse):
        raise UsageError(f"reuse {run.path}: is what --overwrite discards; leave one out")
    with run.lock():
        run.open(plan, argv, overwrite, options)
        state = run.state(plan.unique)
        for other in reuse:
            taken = run.reuse(state.to_compute(retry_failed=True), other)
            watcher.note(f"{other.path}: {taken or 'no'} cells taken from there")
            state = run.state(plan.unique) if taken else state
        watcher.begins(plan, run, state, execution)
        return _computed(plan, run, state, execution, watcher)


def _computed(
    plan: Plan, run: RunDirectory, state: RunState, execution: Execution, watcher: Watcher
) -> Swept:
    missing = (plan.unique[cell] for cell in state.to_compute(execution.retry_failed))
    # Those of a model together, so that a worker loads it once; and those of a draw, for their
    # strengths follow each other.
    place = {model.content_hash: k for k, model in enumerate(plan.models)}
    todo = sorted(missing, key=lambda cell: (place[cell.model.content_hash], cell.seed))
    errors = {} if execution.retry_failed else {c: f.error for c, f in state.failed.items()}
    if execution.fail_fast and errors:
        return Swept(state, 0, errors)
    computed = 0
    small = plan.task.length * min(plan.samples, execution.batch_size) <= _SMALL
    plain = execution.device == "cpu" and not any(model.ref.runs_code for model in plan.models)
    alone = execution.alone_first and small and plain
    for end in _ends(todo, run, execution, watcher.note, alone):
        if end.error:
            errors[end.cell] = end.error
        elif run.has(end.cell):
            computed += 1
        else:
            raise StorageError(
                f"output {run.path}: cell {end.cell} was computed and is not there; was the "
                "directory moved or emptied? Run the command again"
            )
        watcher.finished(end.cell, end.error)
        stop_if_asked()
        if end.error and execution.fail_fast:
            break
    return Swept(state, computed, errors)


def _chunks(cells: Sequence[Cell], workers: int) -> Iterator[list[Cell]]:
    """Yield chunks of cells, so small that no worker waits long for the last of another."""
    size = max(1, min(_CHUNK, len(cells) // (_ROUNDS * workers)))
    for start in range(0, len(cells), size):
        yield list(cells[start : start + size])


def _ends(
    cells: Sequence[Cell],
    run: RunDirectory,
    execution: Execution,
    notify: Callable[[str], None],
    alone: bool,
) -> Iterator[CellEnd]:
    """Yield the end of every cell, stored, from the backend named; alone: begin in this process."""
    # Workers that are kept from an earlier sweep may be in another directory.
    options = WorkOptions(
        execution.batch_size, execution.device, run.path.resolve(), fail_fast=execution.fail_fast
    )
    workers = min(execution.jobs, len(cells))
    if execution.cluster is not None and cells:
        from robustssm.evaluations.sweep.cluster import cluster

        yield from cluster(_chunks(cells, max(workers, 2)), options, execution.cluster)
    elif workers <= 1:
        for chunk in _chunks(cells, 1):
            yield from run_chunk(chunk, options)
    else:
        rest, started = list(cells), time.monotonic()
        while alone and rest and time.monotonic() - started < _ALONE:
            yield from run_chunk([rest.pop(0)], options)
        if rest:
            yield from _in_processes(rest, run, options, workers, notify)


def _in_processes(
    cells: Sequence[Cell],
    run: RunDirectory,
    options: WorkOptions,
    workers: int,
    notify: Callable[[str], None],
) -> Iterator[CellEnd]:
    """Yield ends of cells from processes; if one dies, go on with new ones.

    A cell that workers died with repeatedly is computed alone, and fails where it kills that
    process, too: so none can hold up the others.
    """
    strikes: Counter[str] = Counter()
    rest = {cell.id: cell for cell in cells}
    while rest:
        suspects = [cell for cell in rest.values() if strikes[cell.id] >= _STRIKES]
        for cell, end in backends.one_by_one(suspects, options):
            del rest[cell.id]
            died = RuntimeError("its worker process was killed, each time (out of memory?)")
            yield end or keep(failure(cell, died), run)
        try:
            chunks = _chunks(list(rest.values()), workers)
            for end in backends.processes(chunks, options, workers):
                rest.pop(end.cell, None)
                yield end
        except backends.WorkersLostError as lost:
            notify(f"{lost}; going on with new ones")
            for cell in lost.cells:
                if run.has(cell.id):
                    rest.pop(cell.id, None)
                    yield CellEnd(cell.id)
                else:
                    strikes[cell.id] += 1
        else:
            return
