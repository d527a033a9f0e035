"""What a sweep will take: passes, time and disk, from a probe of each kind of cell."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from robustssm.errors import RobustssmError
from robustssm.evaluations.sweep.cell_files import cell_bytes
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.plan import Cell, Plan
from robustssm.execution import one_thread
from robustssm.typing import FloatArray

# Samples of the larger probe; the smaller one has half of them.
_SAMPLES = 32


@dataclass(frozen=True)
class Estimate:
    """Passes of samples, seconds on one core and bytes of cells; errors: of probes that failed."""

    forwards: float
    backwards: float
    core_seconds: float
    disk: float
    errors: tuple[str, ...] = ()


def estimate(plan: Plan, cells: Iterable[Cell], batch_size: int) -> Estimate:
    """Return what cells of a plan will take; the first of each kind is tried on a few samples."""
    probes: dict[str, FloatArray] = {}
    total = np.zeros(4)
    errors: list[str] = []
    for cell in cells:
        noise, inject = cell.names["noise"], cell.inject
        architecture = json.dumps(cell.model.card.architecture, sort_keys=True)
        kind = f"{architecture}|{noise}|{inject}"
        if kind not in probes:
            try:
                probes[kind] = _probe(plan, cell, batch_size)
            except Exception as error:  # a cell that fails does not stop a sweep either
                probes[kind] = np.zeros(4)
                said = str(error) if isinstance(error, RobustssmError) else repr(error)
                errors.append(f"{cell.model.ref}, {noise}: {' '.join(said.split())}")
        total = total + probes[kind]
    forwards, backwards, seconds, disk = map(float, total)
    return Estimate(forwards, backwards, seconds, disk, tuple(errors))


def _probe(plan: Plan, cell: Cell, batch_size: int) -> FloatArray:
    """Return what a whole cell takes: forwards, backwards, seconds on one core, bytes; (4,)."""
    samples = plan.samples
    many = min(_SAMPLES, samples)
    few = max(1, many // 2)
    network = cell.model.ref.load().network
    with one_thread():
        small = cell_columns(network, replace(cell, limit=few), plan.task, batch_size)
        start = time.perf_counter()
        large = cell_columns(network, replace(cell, limit=many), plan.task, batch_size)
        seconds = time.perf_counter() - start
    sizes = len(cell_bytes(cell.id, small)), len(cell_bytes(cell.id, large))
    slope = max(0.0, (sizes[1] - sizes[0]) / max(1, many - few))
    forwards, backwards = large["forwards"].mean(), large["backwards"].mean()
    fixed = max(0.0, sizes[1] - slope * many)
    return np.array([forwards, backwards, seconds / many, slope]) * samples + [0.0, 0.0, 0.0, fixed]
