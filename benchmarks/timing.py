"""What the benchmarks share: work timed in turn, and a process of its own for each measurement."""

import os
import resource
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import click
import pandas as pd

Name = TypeVar("Name", bound=Hashable)
Work = Callable[[], object]
output = click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="CSV file to write."
)


def save(path: Path | None, comment: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows to a CSV file, if there is to be one, below the comment and the machine's load."""
    if path:
        text = pd.DataFrame(rows).to_csv(index=False, float_format="%.4g", lineterminator="\n")
        load = f"load of {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores at the end"
        path.write_text(f"# {comment}; {load}\n{text}")


def in_turn(
    pieces: Mapping[Name, Work],
    rounds: int,
    warm: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, list[float]]:
    """Return each piece's seconds in each round; the `warm` rounds before fill caches alone."""
    times: dict[Name, list[float]] = {name: [] for name in pieces}
    for number in range(-warm, rounds):
        for name, piece in pieces.items():
            start = clock()
            piece()
            if number >= 0:
                times[name].append(clock() - start)
    return times


def medians(pieces: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each piece of work over rounds in turn."""
    times = in_turn(pieces, rounds)
    return {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}


def own_process() -> Executor:
    """Return an executor with one new process, which begins with an empty memory."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
