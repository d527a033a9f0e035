"""Memory and bookkeeping of a sweep against the number of its cells.

    python benchmarks/memory.py

Cells are simulated: their rows (539 samples) are made once and written for every cell, so that
what is measured is the engine itself: planning, verification, storing, finding what is missing,
tables. Each size runs in a process of its own, whose peak resident memory is printed.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

SIZES = (100, 1_000, 10_000, 100_000)


def measure(count: int, tables: bool) -> dict[str, float]:
    """Return seconds of each step and the peak memory in MiB of a sweep of about `count` cells."""
    import numpy as np

    from robustssm.checkpoints.model_names import resolve
    from robustssm.evaluations.results.tables import finish
    from robustssm.evaluations.sweep import worker
    from robustssm.evaluations.sweep.cell_rows import cell_columns
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.planning import make_plan
    from robustssm.evaluations.sweep.run import Execution, run_sweep
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
    timed("plan", start)
    network = worker._checkpoint(plan.cells[0], resolve_device("cpu")).network
    rows = cell_columns(network, plan.cells[0], plan.task, 256)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "run")
        run.open(plan, [])
        start = time.perf_counter()
        with patch.object(worker, "cell_columns", lambda *_: rows):
            assert run_sweep(plan, run, Execution()).errors == {}
        timed("run", start)
        start = time.perf_counter()
        run.open(plan, [])
        assert run.state(plan.unique).to_compute(True) == []
        timed("resume", start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if tables:
            start = time.perf_counter()
            finish(run)
            timed("tables", start)
        whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cells": len(plan.unique), **times, "MiB": peak, "MiB with tables": whole}


def main() -> None:
    """Print a Markdown table, one row a plan."""
    print(
        "| cells | plan, s | run, s | resume, s | tables, s | peak MiB | more than the smallest |"
    )
    print("|---|---|---|---|---|---|---|")
    smallest = 0.0
    for size in SIZES:
        command = [sys.executable, __file__, str(size)]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        smallest = smallest or found["MiB with tables"]
        print(
            f"| {found['cells']} | {found['plan']:.1f} | {found['run']:.1f} | "
            f"{found['resume']:.1f} | {found['tables']:.1f} | {found['MiB']:.0f}, with tables "
            f"{found['MiB with tables']:.0f} | {found['MiB with tables'] - smallest:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]), tables=True)))
    else:
        main()
