"""What a worker does: compute cells from names and hashes, and store or return their bytes."""

import json
import os
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustssm.checkpoints import Checkpoint
from robustssm.checkpoints.bundled import FOLDER, trained_on
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import RejectedInputError, RobustssmError, StorageError, out_of_memory
from robustssm.evaluations.sweep.cell_files import cell_bytes
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.plan import Cell
from robustssm.evaluations.sweep.run_directory import ARRAYS, DATA, RunDirectory
from robustssm.execution import one_thread, print_to_stderr, repeatable, resolve_device
from robustssm.storage.writing import write_atomically
from robustssm.tasks import Task, load_task

# Models and tasks that a worker keeps between its cells.
_KEPT = 4


@dataclass(frozen=True)
class WorkOptions:
    """How cells are computed; none of this changes a result.

    batch_size: samples at a time; directory: where cells are stored, None returns their bytes;
    parent: process whose end ends the work, None where nobody waits; fail_fast: leave a chunk at
    its first failure.
    """

    batch_size: int
    device: str = "cpu"
    directory: Path | None = None
    parent: int | None = None
    fail_fast: bool = False


@dataclass(frozen=True)
class CellEnd:
    """The end of a cell: stored (or its bytes in `data`), or what went wrong.

    error: what to tell in one line, empty if all went well; record: the content of its file in
    errors/.
    """

    cell: str
    error: str = ""
    data: bytes | None = None
    record: bytes | None = None


class _Kept(threading.local):
    """The last models and tasks of each thread of a worker: a network is changed while in use."""

    def __init__(self) -> None:
        self.values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the value kept under a key, made where there is none."""
        if key not in self.values:
            self.values[key] = make()
            if len(self.values) > _KEPT:
                self.values.popitem(last=False)
        self.values.move_to_end(key)
        return self.values[key]


_kept = _Kept()


def _checkpoint(cell: Cell, device: torch.device) -> Checkpoint:
    """Return a cell's checkpoint, whatever its file is called on this machine."""
    ref, expected = cell.model.ref, cell.model.content_hash
    path = ref.path
    known = Path(os.environ.get("ROBUSTSSM_CACHE_DIR", "")) / "checkpoints"
    kept = [trained_on(FOLDER / path.name, cell.task), known / f"{expected}.safetensors"]

    def make() -> Checkpoint:
        there = ref.held is not None or path.exists()
        elsewhere = None if there else next((p for p in kept if p.is_file()), None)
        own = ref if elsewhere is None else ModelRef(ref.label, elsewhere, ref.train_seed)
        checkpoint = own.load()
        if checkpoint.content_hash != expected:
            raise RejectedInputError(
                f"checkpoint {path}: has content hash {checkpoint.content_hash[:12]}, the plan "
                f"says {expected[:12]}; it changed since the sweep was planned"
            )
        checkpoint.network.to(device)
        return checkpoint

    return _kept.get((expected, device), make)


def _task(spec: str, expected: str, run: Path | None) -> Task:
    """Return a task, its data checked against the plan; ARRAYS lie in the run directory."""

    def make() -> Task:
        task = load_task(f"file:{run / DATA}" if run and spec == ARRAYS else spec)
        if task.content_hash != expected:
            raise RejectedInputError(
                f"task {spec}: has data hash {task.content_hash[:12]}, the plan says "
                f"{expected[:12]}; its data changed since the sweep was planned"
            )
        return task

    return _kept.get((spec, expected), make)


def compute(cell: Cell, options: WorkOptions) -> bytes:
    """Return a cell's rows as Parquet; where memory runs out, in batches of half the size, to 1."""
    device = resolve_device(options.device)
    repeatable(device)
    size = options.batch_size
    while True:
        try:
            network = _checkpoint(cell, device).network
            task = _task(cell.task, cell.task_hash, options.directory)
            return cell_bytes(cell.id, cell_columns(network, cell, task, size))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or size == 1:
                raise
            size //= 2
        if device.type == "cuda":
            torch.cuda.empty_cache()


def run_chunk(cells: Sequence[Cell], options: WorkOptions) -> list[CellEnd]:
    """Compute cells; a cell that fails leaves its traceback and does not stop the others.

    Cells that are stored already are left as they are. Raises StorageError if the directory
    cannot be written: then nothing further can be kept.
    """
    ends: list[CellEnd] = []
    with one_thread():
        for cell in cells:
            if options.parent is not None and os.getppid() != options.parent:
                os._exit(1)  # Whoever asked is gone; another sweep may be at these cells.
            ends.append(_end(cell, options))
            if ends[-1].error and options.fail_fast:
                break
    return ends


def run_chunk_apart(cells: Sequence[Cell], options: WorkOptions) -> list[CellEnd]:
    """Compute cells as `run_chunk` in a process that has no other purpose.

    What modules print there goes to stderr: stdout is for the results of the command.
    """
    print_to_stderr()
    return run_chunk(cells, options)


def _end(cell: Cell, options: WorkOptions) -> CellEnd:
    run = None if options.directory is None else RunDirectory(options.directory)
    if run is not None and run.has(cell.id):
        return CellEnd(cell.id)
    try:
        data = compute(cell, options)
    except Exception as error:
        end = failure(cell, error)
    else:
        end = CellEnd(cell.id, data=data)
    return end if run is None else keep(end, run)


def failure(cell: Cell, error: BaseException) -> CellEnd:
    """Return the end of a cell that failed: one line, and the record with its traceback."""
    said = str(error) if isinstance(error, RobustssmError) else repr(error)
    record = {
        "cell": cell.id,
        "model": str(cell.model.ref),
        **cell.names,
        "error": said,
        "traceback": "".join(traceback.format_exception(error)),
    }
    return CellEnd(cell.id, said, record=json.dumps(record, indent=1).encode())


def keep(end: CellEnd, run: RunDirectory) -> CellEnd:
    """Store the end of a cell in a run directory, and return it without its bytes."""
    try:
        if end.data is not None:
            write_atomically(run.cell_path(end.cell), end.data)
            run.error_path(end.cell).unlink(missing_ok=True)
        elif end.record is not None:
            write_atomically(run.error_path(end.cell), end.record)
    except OSError as error:
        raise StorageError(
            f"output {run.path}: cannot be written ({error.strerror or error}); what is finished "
            "is kept, make room or choose another directory, then run the command again"
        ) from None
    return CellEnd(end.cell, end.error)
