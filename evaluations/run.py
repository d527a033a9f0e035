"""Running the cells of a plan: in processes, one file of rows a cell, failures kept."""

import json
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np

from robustssm.checkpoints import Checkpoint, load_checkpoint
from robustssm.errors import RejectedInputError, RobustssmError
from robustssm.evaluations.outcomes import evaluate
from robustssm.evaluations.plan import Cell, Plan
from robustssm.evaluations.store import RunDirectory, write_parquet
from robustssm.execution import one_thread
from robustssm.files import write_atomically
from robustssm.tasks import Task, load_task

DEFAULT_BATCH = 64


@lru_cache(maxsize=8)
def _load(path: Path, expected_hash: str) -> Checkpoint:
    """Return a checkpoint, kept by each worker between its cells."""
    checkpoint = load_checkpoint(path)
    if checkpoint.content_hash != expected_hash:
        raise RejectedInputError(f"checkpoint {path}: has changed since the sweep was planned")
    return checkpoint


@lru_cache(maxsize=2)
def _task(spec: str, expected_hash: str) -> Task:
    """Return a task's data, kept by each worker between its cells."""
    task = load_task(spec)
    if task.content_hash != expected_hash:
        raise RejectedInputError(f"task {spec}: its data changed since the sweep was planned")
    return task


def run_cells(cells: Sequence[Cell], directory: Path, batch_size: int) -> list[tuple[str, str]]:
    """Compute and store cells; return (cell id, error message or "") for each.

    A cell that fails leaves its traceback in errors/ and does not stop the others.
    """
    run = RunDirectory(directory)
    outcomes = []
    with one_thread():
        for cell in cells:
            try:
                network = _load(cell.model.ref.path, cell.model.content_hash).network
                rows = evaluate(network, cell, _task(cell.task, cell.task_hash), batch_size)
                write_parquet(run.cell_path(cell.id), rows)
            except Exception as error:
                content = {
                    "cell": cell.id,
                    "error": repr(error),
                    "traceback": traceback.format_exc(),
                }
                write_atomically(run.error_path(cell.id), json.dumps(content, indent=1).encode())
                said = str(error) if isinstance(error, RobustssmError) else repr(error)
                outcomes.append((cell.id, said))
            else:
                run.error_path(cell.id).unlink(missing_ok=True)
                outcomes.append((cell.id, ""))
    return outcomes


def run_sweep(
    plan: Plan,
    run: RunDirectory,
    *,
    jobs: int = 1,
    batch_size: int = DEFAULT_BATCH,
    report: Callable[[str, str], None] = lambda cell, error: None,
) -> dict[str, str]:
    """Compute the plan's missing cells; return the errors by cell id.

    `report(cell id, error or "")` is called as cells finish. Cells of one model stay together,
    so that a worker loads a model once.
    """
    missing = run.missing(plan)
    order = np.argsort([plan.models.index(cell.model) for cell in missing], kind="stable")
    missing = [missing[i] for i in order]
    size = max(1, min(8, len(missing) // max(1, 4 * jobs)))
    chunks = [missing[i : i + size] for i in range(0, len(missing), size)]
    errors: dict[str, str] = {}
    if not chunks:
        return errors
    workers = min(jobs, len(chunks))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    tasks = (joblib.delayed(run_cells)(chunk, run.path, batch_size) for chunk in chunks)
    for outcomes in parallel(tasks):
        for cell_id, error in outcomes:
            if error:
                errors[cell_id] = error
            report(cell_id, error)
    return errors
