"""Chunks of cells computed in processes of this machine; a cell's rows never depend on that."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import joblib
from joblib.externals import loky

from robustssm.errors import RobustssmError
from robustssm.evaluations.sweep.plan import Cell
from robustssm.evaluations.sweep.worker import CellEnd, WorkOptions, run_chunk_apart
from robustssm.execution import sealed

Chunk = Sequence[Cell]
# Chunks given out per worker: one at work, one waiting.
IN_FLIGHT = 2


class WorkersLostError(RobustssmError):
    """Worker processes died; cells: what they had been given and did not give back."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        super().__init__(f"a worker process died, {len(cells)} cells were given out")
        self.cells = list(cells)


def processes(chunks: Iterable[Chunk], options: WorkOptions, workers: int) -> Iterator[CellEnd]:
    """Compute chunks in processes of this machine (joblib), one BLAS thread each.

    They end with this process. Raises WorkersLostError if one dies; what was stored by then is.
    """
    options = replace(options, parent=os.getpid())
    given: dict[str, Cell] = {}

    def tasks() -> Iterator[object]:
        for chunk in chunks:
            given.update((cell.id, cell) for cell in chunk)
            yield joblib.delayed(run_chunk_apart)(chunk, options)

    parallel = joblib.Parallel(
        n_jobs=workers,
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch=IN_FLIGHT * workers,
    )
    try:
        with sealed():
            for ends in parallel(tasks()):
                for end in ends:
                    given.pop(end.cell, None)
                    yield end
    except (loky.process_executor.TerminatedWorkerError, loky.process_executor.BrokenProcessPool):
        raise WorkersLostError(list(given.values())) from None


def one_by_one(
    cells: Sequence[Cell], options: WorkOptions
) -> Iterator[tuple[Cell, CellEnd | None]]:
    """Yield each cell with its end, computed in one process; None if the process died of it."""
    options = replace(options, parent=os.getpid())
    with sealed(), ExitStack() as stack:
        pool = None
        for cell in cells:
            pool = pool or stack.enter_context(loky.ProcessPoolExecutor(max_workers=1))
            try:
                yield cell, pool.submit(run_chunk_apart, [cell], options).result()[0]
            except loky.process_executor.BrokenProcessPool:
                stack.close()
                pool = None
                yield cell, None
