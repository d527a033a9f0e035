"""Running the missing cells of a plan: what is finished is kept, what fails is on record."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from robustssm.errors import StorageError, UsageError
from robustssm.evaluations.sweep import backends
from robustssm.evaluations.sweep.plan import Cell, Plan
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.worker import Outcome, WorkOptions, failure, keep
from robustssm.execution import stop_if_asked

DEFAULT_BATCH = 1024
BACKENDS = ("processes", "threads")
# Cells of a model that a worker is given at a time, at most; and in how many rounds at least.
_CHUNK = 8
_ROUNDS = 16
# A cell that this many workers died with is computed in a process of its own.
_STRIKES = 2


@dataclass(frozen=True)
class Execution:
    """How a sweep is computed. None of it changes a result.

    jobs: workers on this machine; backend: `processes` or `threads`; cluster: Dask, `local:2` or
    a scheduler's address; batch_size: samples at a time, halved where memory runs out; device:
    as torch names it; retry_failed: compute cells that failed before; fail_fast: stop at the
    first failure.
    """

    jobs: int = 1
    backend: str = "processes"
    cluster: str | None = None
    batch_size: int = DEFAULT_BATCH
    device: str = "cpu"
    retry_failed: bool = False
    fail_fast: bool = False

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UsageError(
                f"backend: {self.backend!r} is unknown, expected {' or '.join(BACKENDS)}"
            )
        if self.jobs < 1 or self.batch_size < 1:
            raise UsageError(
                f"execution: {self.jobs} jobs, batches of {self.batch_size}; expected at least 1"
            )


def run_sweep(
    plan: Plan,
    run: RunDirectory,
    execution: Execution | None = None,
    *,
    report: Callable[[str, str], None] = lambda cell, error: None,
    notify: Callable[[str], None] = lambda message: None,
) -> dict[str, str]:
    """Compute the plan's missing cells; return the errors by cell id, old ones included.

    `report(cell id, error or "")` is called as cells finish, `notify` where workers die. Cells
    that failed before are left unless the execution says so. Raises StorageError where nothing can
    be written.
    """
    execution = execution or Execution()
    errors = {} if execution.retry_failed else run.failed(plan)
    todo = [cell for cell in run.missing(plan) if cell.id not in errors]
    if execution.fail_fast and errors:
        return errors
    for outcome in _outcomes(_by_model(plan, todo), run, execution, notify):
        if outcome.error:
            errors[outcome.cell] = outcome.error
        elif not run.has(outcome.cell):
            raise StorageError(
                f"output {run.path}: cell {outcome.cell} was computed and is not there; was the "
                "directory moved or emptied? Run the command again"
            )
        report(outcome.cell, outcome.error)
        stop_if_asked()
        if outcome.error and execution.fail_fast:
            break
    return errors


def _by_model(plan: Plan, cells: Sequence[Cell]) -> list[Cell]:
    """Return cells with those of a model together, so that a worker loads it once."""
    place = {model.content_hash: k for k, model in enumerate(plan.models)}
    return sorted(cells, key=lambda cell: place[cell.model.content_hash])


def _chunks(cells: Sequence[Cell], workers: int) -> Iterator[list[Cell]]:
    """Yield chunks of cells, so small that no worker waits long for the last of another."""
    size = max(1, min(_CHUNK, len(cells) // (_ROUNDS * workers)))
    for start in range(0, len(cells), size):
        yield list(cells[start : start + size])


def _outcomes(
    cells: Sequence[Cell],
    run: RunDirectory,
    execution: Execution,
    notify: Callable[[str], None],
) -> Iterator[Outcome]:
    """Yield the outcome of every cell, stored, by the backend asked for."""
    # Workers that are kept from an earlier sweep may be in another directory.
    options = WorkOptions(
        execution.batch_size, execution.device, run.path.resolve(), fail_fast=execution.fail_fast
    )
    workers = min(execution.jobs, len(cells))
    if execution.cluster is not None and cells:
        from robustssm.evaluations.sweep.cluster import cluster

        yield from cluster(_chunks(cells, max(workers, 2)), options, execution.cluster)
    elif workers <= 1:
        yield from backends.serial(_chunks(cells, 1), options)
    elif execution.backend == "threads":
        yield from backends.threads(_chunks(cells, workers), options, workers)
    else:
        yield from _in_processes(cells, run, options, workers, notify)


def _in_processes(
    cells: Sequence[Cell],
    run: RunDirectory,
    options: WorkOptions,
    workers: int,
    notify: Callable[[str], None],
) -> Iterator[Outcome]:
    """Yield outcomes from processes; where one dies, go on with new ones.

    A cell that workers died with repeatedly is computed alone, and fails where it kills that
    process, too: so none can hold up the others.
    """
    strikes: Counter[str] = Counter()
    rest = {cell.id: cell for cell in cells}
    while rest:
        suspects = [cell for cell in rest.values() if strikes[cell.id] >= _STRIKES]
        for cell, outcome in backends.one_by_one(suspects, options):
            del rest[cell.id]
            died = RuntimeError("its worker process was killed, each time (out of memory?)")
            yield outcome or keep(failure(cell, died), run)
        try:
            for outcome in backends.processes(
                _chunks(list(rest.values()), workers), options, workers
            ):
                rest.pop(outcome.cell, None)
                yield outcome
        except backends.WorkersLostError as lost:
            notify(f"{lost}; going on with new ones")
            for cell in lost.cells:
                if run.has(cell.id):
                    rest.pop(cell.id, None)
                    yield Outcome(cell.id)
                else:
                    strikes[cell.id] += 1
        else:
            return
