"""Samples a second that the generated tasks make, and how that grows with their number.

    python benchmarks/tasks.py [--samples 500]

CPU time of one process, so that neighbours disturb it little. The peer is what a sample needs at
least: its draws alone, by the same counter-based generator.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

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
SIZED = {"noise-padded"}


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of the work, s."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print one line a task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500)
    count = parser.parse_args().samples
    load_task("digits")
    print(f"{'task':<26}{'samples':>9}{'ms/sample':>11}{'samples/s':>11}{'of draws alone':>16}")
    for name, draws in CASES.items():
        number = max(10, count // (1 if ":side" not in name and name != "path-x" else 10))
        if name in SIZED:
            spec, number = name, 1797
        else:
            spec = f"{name}:train={number}:validation=1:test=1:seed=1"
        taken = seconds(lambda spec=spec: load_task(spec))  # type: ignore[misc]
        alone = seconds(
            lambda n=number, d=draws: uniform("peer", np.arange(n), d)  # type: ignore[misc]
        )
        each = 1e3 * taken / number
        print(f"{name:<26}{number:>9}{each:>11.3f}{1e3 / each:>11.0f}{taken / alone:>16.1f}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
