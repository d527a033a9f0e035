"""What the benchmarks share: work timed in turn, and a process of its own for each measurement."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

Work = Callable[[], object]


def in_turn(
    pieces: Mapping[str, Work],
    rounds: int,
    warm: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return each piece's seconds in each round; the `warm` rounds before fill caches alone."""
    times: dict[str, list[float]] = {name: [] for name in pieces}
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
