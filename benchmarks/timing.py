"""What the benchmarks share: work timed in turn, in processes of its own, and what it has to do."""

import math
import os
import resource
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import click
import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

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


def append(row: Mapping[str, object], columns: str, path: Path | None) -> None:
    """Print a row as CSV, and add it to a file if there is one."""
    frame = pd.DataFrame([row], columns=columns.split(","))
    text = frame.to_csv(header=False, index=False, float_format="%.4g", lineterminator="\n")
    click.echo(text, nl=False)
    if path:
        with path.open("a") as file:
            file.write(text)


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


def own_process() -> Executor:
    """Return an executor with one new process, which begins with an empty memory."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def peak_mib(device: str = "cpu") -> float:
    """Return the largest memory of this process so far, MiB: resident, or allocated on a GPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class Counted(TorchDispatchMode):
    """Counts what torch does in the body.

    operations, by bytes of a real number, 4 or 8: those of matrix products, 2.5 n log2 n of an FFT
    of n real and twice as many of n complex numbers, else one per number of the largest tensor.
    traffic: bytes that are read and written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.traffic = {4: 0.0, 8: 0.0}, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        held = {id(v): v for v in tree_leaves((result, args, kwargs)) if isinstance(v, Tensor)}
        if func.is_view or not held:
            return result
        self.traffic += sum(value.nbytes for value in held.values())
        largest = max(held.values(), key=Tensor.numel)
        count = float(largest.numel())
        if func.overloadpacket in flop_registry:
            count = flop_registry[func.overloadpacket](*args, out_val=result)
        elif "fft" in func.__name__:
            count *= (5.0 if "c2c" in func.__name__ else 2.5) * math.log2(largest.shape[-1] + 1)
        self.operations[8 if largest.dtype in (torch.float64, torch.complex128) else 4] += count
        return result


def finished(work: Work, device: torch.device) -> Work:
    """Return work that is over when it returns, on a GPU as well."""

    def whole() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return whole


@cache
def rates(device: torch.device) -> dict[str, float]:
    """Return bytes per second of a copy, and operations per second of products by bytes."""
    size, side = (1 << 24, 512) if device.type == "cpu" else (1 << 30, 8192)
    rows = torch.empty(2, size, dtype=torch.uint8, device=device)
    pieces: dict[str, Work] = {"bytes": lambda: rows[0].copy_(rows[1])}
    for dtype in (torch.float32, torch.float64):
        a = torch.rand(side, side, dtype=dtype, device=device)
        pieces[str(dtype.itemsize)] = partial(torch.matmul, a, a)
    times = in_turn({name: finished(work, device) for name, work in pieces.items()}, 5)
    amount = {name: 2.0 * (size if name == "bytes" else side**3) for name in pieces}
    return {name: amount[name] / min(seconds) for name, seconds in times.items()}
