"""Where chunks of cells are computed: here, in threads, in processes, or on a Dask cluster.

Each backend is a function (chunks, options, workers) -> iterator of outcomes, as they finish, that
keeps a bounded number of chunks in flight. What a cell's rows are never depends on it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice

import joblib
from joblib.externals import loky

from robustssm.errors import RobustssmError
from robustssm.evaluations.sweep.plan import Cell
from robustssm.evaluations.sweep.worker import Outcome, WorkOptions, run_chunk
from robustssm.execution import one_thread

Chunk = Sequence[Cell]
# Chunks given out per worker: one at work, one waiting.
_IN_FLIGHT = 2


class WorkersLostError(RobustssmError):
    """Worker processes died; cells: what they had been given and did not give back."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        super().__init__(f"a worker process died, {len(cells)} cells were given out")
        self.cells = list(cells)


def serial(chunks: Iterable[Chunk], options: WorkOptions) -> Iterator[Outcome]:
    """Compute chunks in this process."""
    for chunk in chunks:
        yield from run_chunk(chunk, options)


def threads(chunks: Iterable[Chunk], options: WorkOptions, workers: int) -> Iterator[Outcome]:
    """Compute chunks in threads of this process, each with models of its own."""
    # The number of threads of torch and BLAS belongs to the process: it is set once, out here.
    with one_thread(), ThreadPoolExecutor(workers) as pool:
        try:
            yield from _flow(chunks, lambda chunk: pool.submit(run_chunk, chunk, options), workers)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _flow(
    chunks: Iterable[Chunk], submit: Callable[[Chunk], "Future[list[Outcome]]"], workers: int
) -> Iterator[Outcome]:
    """Yield outcomes of submitted chunks as they finish, few chunks in flight."""
    rest = iter(chunks)
    running = {submit(chunk) for chunk in islice(rest, _IN_FLIGHT * workers)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield from future.result()
        running |= {submit(chunk) for chunk in islice(rest, len(done))}


def processes(chunks: Iterable[Chunk], options: WorkOptions, workers: int) -> Iterator[Outcome]:
    """Compute chunks in processes of this machine (joblib), one BLAS thread each.

    They end with this process. Raises WorkersLostError where one dies; what was stored by then is.
    """
    options = replace(options, parent=os.getpid())
    given: dict[str, Cell] = {}

    def tasks() -> Iterator[object]:
        for chunk in chunks:
            given.update((cell.id, cell) for cell in chunk)
            yield joblib.delayed(run_chunk)(chunk, options)

    parallel = joblib.Parallel(
        n_jobs=workers,
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch=_IN_FLIGHT * workers,
    )
    try:
        for outcomes in parallel(tasks()):
            for outcome in outcomes:
                given.pop(outcome.cell, None)
                yield outcome
    except (loky.process_executor.TerminatedWorkerError, loky.process_executor.BrokenProcessPool):
        raise WorkersLostError(list(given.values())) from None


def one_by_one(
    cells: Sequence[Cell], options: WorkOptions
) -> Iterator[tuple[Cell, Outcome | None]]:
    """Yield each cell with its outcome, computed in one process; None where that died of it."""
    options = replace(options, parent=os.getpid())
    rest = iter(cells)
    for cell in rest:
        with loky.ProcessPoolExecutor(max_workers=1) as pool:
            while True:
                try:
                    yield cell, pool.submit(run_chunk, [cell], options).result()[0]
                except loky.process_executor.BrokenProcessPool:
                    yield cell, None
                    break
                try:
                    cell = next(rest)
                except StopIteration:
                    return
