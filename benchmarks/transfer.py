"""Transfer functions of HiPPO-LegS against the solvers that users have, as ratios in one run.

    python benchmarks/transfer.py
    python benchmarks/transfer.py --n 64,256 --frequencies 2000 --budget 2 --format md

C = default_rng(0).standard_normal(n), omega on a log grid from 1e-2 to 1e7, one thread, medians of
rounds in which every method runs in turn. A method too slow for its budget is timed at m of the
frequencies, in proportion: marked `*m`. The error is the largest relative one at 20 frequencies
against Horner's rule with 50 digits (`(m)`: at m). Left out, with a line on stderr: what is not
installed, or has no time for five frequencies.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import mpmath
import numpy as np
import scipy.linalg
import torch
from timing import in_turn, output, save

from robustssm.commands.terminal import Column, Table, note, show
from robustssm.execution import one_thread, versions
from robustssm.hippo import legs
from robustssm.hippo.transfer_grid import transfer_grid
from robustssm.typing import ComplexArray, FloatArray

Response = Callable[[FloatArray], ComplexArray]
LOW, HIGH = 1e-2, 1e7
CHECKED = 20
# Fewest frequencies in a subset.
FEWEST = 5
# Complex entries of the matrices in a batch, 256 MiB.
BATCH = 1 << 24


def horner(C: FloatArray) -> Response:
    """Return G by `legs.transfer`, the method that ratios are over."""
    return lambda omega: legs.transfer(C, 1j * omega)


def normal_part(C: FloatArray) -> Response:
    """Return S4D-LegS in closed form: Horner and phase."""
    return lambda omega: legs.transfer(C, 1j * omega) / legs.normal_ratio(len(C), omega)


def grid(dtype: torch.dtype, device: str = "cpu") -> Callable[[FloatArray], Response]:
    """Return G by `transfer_grid`."""

    def make(C: FloatArray) -> Response:
        return lambda omega: transfer_grid(C, omega, device=device, dtype=dtype).cpu().numpy()

    return make


def triangular(C: FloatArray) -> Response:
    """Return a loop of scipy.linalg.solve_triangular."""
    A, B = legs.matrices(len(C))
    I, solve = np.eye(len(C)), scipy.linalg.solve_triangular  # noqa: E741
    return lambda omega: np.array([C @ solve(1j * w * I - A, B, lower=True) for w in omega])


def triangular_in_place(C: FloatArray) -> Response:
    """Return the same without forming the matrix anew: its diagonal rewritten, nothing checked."""
    A, B = legs.matrices(len(C))
    M, right = -A.astype(np.complex128), B.astype(np.complex128)
    i, diagonal, solve = np.arange(len(C)), np.diag(A).copy(), scipy.linalg.solve_triangular

    def one(w: float) -> complex:
        M[i, i] = 1j * w - diagonal
        return complex(C @ solve(M, right, lower=True, check_finite=False))

    return lambda omega: np.array([one(w) for w in omega])


def hessenberg(C: FloatArray) -> Response:
    """Return slycot.tb05ad: job NG at the first frequency, NH at the others."""
    slycot = import_module("slycot")
    n = len(C)
    A, B = legs.matrices(n)

    def response(omega: FloatArray) -> ComplexArray:
        *reduced, first, _, _ = slycot.tb05ad(n, 1, 1, 1j * omega[0], A, B[:, None], C[None], "NG")
        rest = [slycot.tb05ad(n, 1, 1, 1j * w, *reduced, "NH")[0] for w in omega[1:]]
        return np.concatenate([first, *rest])[:, 0]

    return response


def python_control(C: FloatArray) -> Response:
    """Return control.ss(A, B, C, 0) called at s."""
    control = import_module("control")
    A, B = legs.matrices(len(C))
    system = control.ss(A, B[:, None], C[None], 0.0)
    return lambda omega: np.atleast_1d(system(1j * omega))


def dense(C: FloatArray, library: str) -> Response:
    """Return batched dense solves in complex128, by torch or numpy."""
    A, B = legs.matrices(len(C))
    # Three axes: two would be read as a stack of vectors at n = 1.
    identity, right = np.eye(len(C)), B[None, :, None].astype(np.complex128)

    def solve(omega: FloatArray) -> ComplexArray:
        matrices = 1j * omega[:, None, None] * identity - A
        if library == "numpy":
            return np.linalg.solve(matrices, right)[..., 0] @ C
        solution = torch.linalg.solve(torch.from_numpy(matrices), torch.from_numpy(right))
        return solution.numpy()[..., 0] @ C

    def response(omega: FloatArray) -> ComplexArray:
        step = max(1, BATCH // len(C) ** 2)
        return np.concatenate([solve(omega[j : j + step]) for j in range(0, len(omega), step)])

    return response


@dataclass(frozen=True)
class Method:
    """A way to the response; needs: the library that it comes from, if that may be missing."""

    label: str
    make: Callable[[FloatArray], Response]
    needs: str = ""


OURS = Method("hippo.transfer (numpy)", horner)
METHODS = [
    OURS,
    Method("transfer_grid complex128", grid(torch.complex128)),
    Method("transfer_grid complex64", grid(torch.complex64)),
    Method("S4D-LegS, Horner and phase", normal_part),
    Method("scipy solve_triangular", triangular),
    Method("the same, diagonal in place", triangular_in_place),
    Method("slycot tb05ad NG, NH", hessenberg, "slycot"),
    Method("python-control sys(jw)", python_control, "control"),
    Method("torch.linalg.solve batched", lambda C: dense(C, "torch")),
    Method("numpy.linalg.solve batched", lambda C: dense(C, "numpy")),
]


def clock(response: Response, omega: FloatArray) -> float:
    """Return the seconds that the response takes."""
    start = time.perf_counter()
    response(omega)
    return time.perf_counter() - start


def spread(omega: FloatArray, count: int) -> FloatArray:
    """Return `count` of the frequencies, over the whole range."""
    return omega[np.linspace(0, len(omega) - 1, count).round().astype(int)]


def exact(C: FloatArray, omega: FloatArray) -> tuple[ComplexArray, ComplexArray]:
    """Return G and G / (1 + phi_n) from 50 digits."""
    values = []
    with mpmath.workdps(50):
        Cb = [mpmath.mpf(c) * mpmath.sqrt(2 * i + 1) for i, c in enumerate(C.tolist())]
        for w in omega.tolist():
            s, h, phi = mpmath.mpc(0, w), mpmath.mpf(0), mpmath.mpf(1)
            for i in range(len(Cb) - 1, -1, -1):
                h = Cb[i] + (s - i) / (s + i + 2) * h
                phi *= (s - i) / (s + i + 1)
            values.append((complex(h / (s + 1)), complex(h / (s + 1) / (1 + phi))))
    G, normal = np.array(values).T
    return G, normal


def measure(n: int, frequencies: int, budget: float, repeats: int) -> list[dict[str, Any]]:
    """Return a row of the table for each method that has time for a few frequencies at this n."""
    C = np.random.default_rng(0).standard_normal(n)
    omega, checked = (np.geomspace(LOW, HIGH, count) for count in (frequencies, CHECKED))
    G, normal = exact(C, checked)
    running: list[tuple[Method, Response, FloatArray]] = []
    for method in METHODS:
        if method.needs and find_spec(method.needs) is None:
            note(f"n = {n}: {method.label} left out, {method.needs} is not installed")
            continue
        response = method.make(C)
        once, count = clock(response, omega[:1]), FEWEST  # this first call warms caches, too
        if once * FEWEST > budget / repeats:
            note(f"n = {n}: {method.label} left out, {once:.1f} s for one frequency")
            continue
        while count < frequencies and clock(response, omega[:count]) < budget / repeats / 4:
            count = min(frequencies, 4 * count)
        running.append((method, response, spread(omega, count)))
    pieces = {method.label: partial(response, at) for method, response, at in running}
    times = in_turn(pieces, repeats, warm=0)
    rows, seconds = [], dict[str, float]()
    for method, response, at in running:
        truth = normal if method.make is normal_part else G
        some = slice(None) if len(at) >= CHECKED else slice(len(at))
        error = float(np.max(np.abs(response(checked[some]) / truth[some] - 1.0)))
        seconds[method.label] = statistics.median(times[method.label]) * frequencies / len(at)
        timed = {"seconds": seconds[method.label], "timed": len(at)}
        ratio = {"ratio": seconds[method.label] / seconds[OURS.label]}
        errors = {"error": error, "checked": len(checked[some])}
        rows.append({"n": n, "method": method.label, **timed, **ratio, **errors})
    return rows


def shown(rows: list[dict[str, Any]], frequencies: int) -> Table:
    """Return the rows as a table, with the marks that the module explains."""

    def marked(row: Mapping[str, Any]) -> str:
        mark = f"*{row['timed']}" if row["timed"] < frequencies else ""
        return f"{row['seconds']:.3g}{mark}"

    def error(row: Mapping[str, Any]) -> str:
        mark = f" ({row['checked']})" if row["checked"] < CHECKED else ""
        return f"{row['error']:.0e}{mark}"

    columns: list[Column] = [
        ("n", "n", ""),
        ("method", "method", ""),
        (f"s for {frequencies}", marked, ""),
        ("ratio", "ratio", ".3g"),
        ("max rel error", error, ""),
    ]
    return Table("ratio: time over that of hippo.transfer", rows, columns)


@click.command(help=(__doc__ or "").replace("\n\n    python", "\n\n\b\n    python"))
@click.option("--n", "sizes", default="64,256,1024,4096", show_default=True, help="State sizes.")
@click.option("--frequencies", default=10_000, show_default=True, type=click.IntRange(10))
@click.option(
    "--budget",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0.0, min_open=True),
    help="Seconds per method and n.",
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1))
@click.option("--format", "style", default="table", type=click.Choice(["table", "md"]))
@output
def main(
    sizes: str,
    frequencies: int,
    budget: float,
    repeats: int,
    style: str,
    output: Path | None,
) -> None:
    """Print the tables."""
    try:
        orders = [int(text) for text in sizes.split(",")]
    except ValueError:
        orders = []
    if not orders or min(orders) < 1:
        raise click.BadParameter(f"--n is {sizes}, expected positive integers such as 64,256")
    for method in METHODS:  # A library loads at its first call, before it is held to one thread.
        if not method.needs or find_spec(method.needs) is not None:
            method.make(np.ones(4))(np.ones(2))
    measured: list[dict[str, Any]] = []
    with one_thread():
        for n in orders:
            of_n = measure(n, frequencies, budget, repeats)
            show(style, shown(of_n, frequencies))
            measured += of_n
        call = f"python benchmarks/transfer.py --frequencies {frequencies} --budget {budget:g}"
        save(output, f"{call}; ratio: to the time of hippo.transfer, in turn, one thread", measured)
    note(", ".join(f"{name} {number}" for name, number in versions().items()))


if __name__ == "__main__":
    main()
