"""Memory and bookkeeping of a sweep against the number of its cells.

    python benchmarks/memory.py

Cells are simulated: their rows (539 samples) are made once and written for every cell, so that
what is measured is the engine itself: planning, verification, storing, finding what is missing,
tables. Each size runs in a process of its own, whose peak resident memory is printed.
"""

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import click
from timing import own_process, peak_mib

from robustssm.commands.terminal import Table, show


def measure(count: int) -> dict[str, float]:
    """Return seconds of each step and the peak memory in MiB of a sweep of about `count` cells."""
    import numpy as np

    from robustssm.checkpoints.model_names import resolve
    from robustssm.evaluations.results.tables import finish
    from robustssm.evaluations.sweep import worker
    from robustssm.evaluations.sweep.cell_rows import cell_columns
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.planning import make_plan
    from robustssm.evaluations.sweep.run import run_sweep
    from robustssm.evaluations.sweep.run_directory import RunDirectory
    from robustssm.execution import resolve_device

    models = resolve("s4d,s4ptd")
    modes = min(128, count // 2)
    eps = tuple(np.linspace(0.01, 1.0, max(1, count // (2 * modes))))
    times = {}

    def timed(name: str, start: float) -> None:
        times[name] = time.perf_counter() - start

    start = time.perf_counter()
    plan = make_plan(models, Noise("fourier", modes=f"1-{modes}", eps=eps))
    timed("plan, s", start)
    network = worker._checkpoint(plan.cells[0], resolve_device("cpu")).network
    rows = cell_columns(network, plan.cells[0], plan.task, 256)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "run")
        start = time.perf_counter()
        with patch.object(worker, "cell_columns", lambda *_: rows):
            assert run_sweep(plan, run).errors == {}
        timed("run, s", start)
        start = time.perf_counter()
        run.open(plan, [])
        assert run.state(plan.unique).to_compute(True) == []
        timed("resume, s", start)
        peak = peak_mib()
        start = time.perf_counter()
        finish(run)
        timed("tables, s", start)
    return {"cells": len(plan.unique), **times, "MiB": peak, "MiB with tables": peak_mib()}


@click.command(help=__doc__)
@click.option("--cells", type=int, multiple=True, default=(100, 1_000, 10_000, 100_000))
def main(cells: tuple[int, ...]) -> None:
    """Print one row per number of cells."""
    rows = []
    for count in cells:
        with own_process() as process:
            rows.append(process.submit(measure, count).result())
    first = rows[0]["MiB with tables"]
    records = [row | {"MiB over the first": row["MiB with tables"] - first} for row in rows]
    show("table", Table("a sweep of simulated cells", records))


if __name__ == "__main__":
    main()
