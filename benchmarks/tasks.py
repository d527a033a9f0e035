"""Samples per second that the generated tasks make, and how that grows with their number.

    python benchmarks/tasks.py [--samples 500]

CPU time of one process, so that neighbours disturb it little. The peer is what a sample needs at
least: its draws alone, by the same counter-based generator.
"""

import time
from functools import partial

import click
import numpy as np
from timing import Work, in_turn

from robustssm.commands.terminal import show, written
from robustssm.philox import uniform
from robustssm.tasks import load_task

# Task, and about how many draws a sample of it is made of, what is drawn again included.
CASES = {
    "listops": 2300,
    "pathfinder": 2600,
    "path-x": 3300,
    "pathfinder:side=64": 25_000,
    "noise-padded": 256,
    "delayed-copy": 128,
    "frequency-discrimination": 257,
}
# Samples of the task whose number follows from another task.
PADDED = ("noise-padded", 1797)


@click.command(help=__doc__)
@click.option("--samples", default=500, show_default=True)
def main(samples: int) -> None:
    """Print one row per task."""
    load_task("digits")
    rows = []
    for name, draws in CASES.items():
        large = ":side" in name or name == "path-x"
        number = max(10, samples // (10 if large else 1))
        spec = f"{name}:train={number}:validation=1:test=1:seed=1"
        if name == PADDED[0]:
            spec, number = PADDED
        pieces: dict[str, Work] = {
            "task": partial(load_task, spec),
            "draws": partial(uniform, "peer", np.arange(number), draws),
        }
        # A task stays in a cache once it is made, so that it is made once here.
        times = in_turn(pieces, 1, warm=0, clock=time.process_time)
        (taken,), (alone,) = times.values()
        each = [f"{1e3 * taken / number:.3f}", f"{number / taken:.0f}", f"{taken / alone:.1f}"]
        rows.append([name, str(number), *each])
    columns = ["task", "samples", "ms/sample", "samples/s", "of draws alone"]
    show("table", written("making the generated tasks", columns, rows))


if __name__ == "__main__":
    main()
