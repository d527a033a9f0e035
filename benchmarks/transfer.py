"""Transfer functions of HiPPO-LegS against the solvers that users have, as ratios in one run.

    python benchmarks/transfer.py
    python benchmarks/transfer.py --n 64,256 --frequencies 2000 --budget 2 --format md

C = default_rng(0).standard_normal(n), omega on a log grid from 1e-2 to 1e7, one thread, medians of
rounds in which every method runs (five times where it is fast). A method too slow for its budget
is timed on a subset of m frequencies and on one, and continued linearly: marked `*m`. The error is
the largest relative one at 20 frequencies against Horner's rule with 50 digits (`(m)`: at m). Left
out, with a line on stderr: what is not installed, or needs a third of its share of the budget for
one frequency. Then: growth with n, eigenvalues at n = 10^6, and the GPU where there is one.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import scipy.linalg
import torch
from timing import output, save

from robustssm.commands.terminal import Column, Table, note, show, written
from robustssm.execution import one_thread, versions
from robustssm.hippo import legs, spectrum
from robustssm.hippo.transfer_grid import transfer_grid
from robustssm.typing import ComplexArray, FloatArray

Response = Callable[[FloatArray], ComplexArray]
LOW, HIGH = 1e-2, 1e7
CHECKED = 20
# Fewest frequencies in a subset.
PILOT = 5
# Seconds of one frequency below which a method that fits its budget runs five times a round.
FAST = 1e-2
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


@dataclass
class Method:
    """A way to the response; power: its cost at one frequency grows like n^power."""

    label: str
    make: Callable[[FloatArray], Response]
    power: int = 1
    needs: str = ""
    # What one frequency took at the last n: (n, seconds).
    last: tuple[int, float] | None = None
    times: list[float] = field(default_factory=list)
    subset: int = 0
    # Largest relative error, and at how many frequencies.
    error: float = math.nan
    checked: int = 0

    def seconds(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.times)


OURS = Method("hippo.transfer (numpy)", horner)
METHODS = [
    OURS,
    Method("transfer_grid complex128", grid(torch.complex128)),
    Method("transfer_grid complex64", grid(torch.complex64)),
    Method("S4D-LegS, Horner and phase", normal_part),
    Method("scipy solve_triangular", triangular, 2),
    Method("the same, diagonal in place", triangular_in_place, 2),
    Method("slycot tb05ad NG, NH", hessenberg, 3, "slycot"),
    Method("python-control sys(jw)", python_control, 3, "control"),
    Method("torch.linalg.solve batched", lambda C: dense(C, "torch"), 3),
    Method("numpy.linalg.solve batched", lambda C: dense(C, "numpy"), 3),
]


def clock(response: Response, omega: FloatArray) -> float:
    """Return the seconds that the response takes."""
    start = time.perf_counter()
    response(omega)
    return time.perf_counter() - start


def spread(omega: FloatArray, count: int) -> FloatArray:
    """Return `count` of the frequencies, over the whole range."""
    return omega[np.linspace(0, len(omega) - 1, count).round().astype(int)]


def exact(C: FloatArray, omega: FloatArray) -> tuple[ComplexArray, ComplexArray] | None:
    """Return G and G / (1 + phi_n) from 50 digits, None where mpmath is not installed."""
    if find_spec("mpmath") is None:
        return None
    mpmath = import_module("mpmath")
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


def prepare(
    method: Method, C: FloatArray, omega: FloatArray, budget: float, repeats: int
) -> tuple[Response, float] | None:
    """Set the subset that fits the budget; return the response and the time of one frequency."""
    # A subset has to take several times as long as one frequency to show what each adds.
    n, most = len(C), 0.3 * budget / repeats
    if method.needs and find_spec(method.needs) is None:
        note(f"n = {n}: {method.label} left out, {method.needs} is not installed")
        return None
    if method.last is not None:
        expected = method.last[1] * (n / method.last[0]) ** method.power
        if expected > most:
            note(f"n = {n}: {method.label} left out, about {expected:.0f} s for one frequency")
            return None
    response = method.make(C)
    once = clock(response, omega[:1])
    if once <= most:
        # The first call warms caches up.
        once = min(once, clock(response, omega[:1]))
    method.last = (n, once)
    if once > most:
        note(f"n = {n}: {method.label} left out, {once:.1f} s for one frequency")
        return None
    pilot, seconds = PILOT, clock(response, spread(omega, PILOT))
    while seconds < 0.03 * budget and 10 * pilot <= len(omega):
        pilot *= 10
        seconds = clock(response, spread(omega, pilot))
    # Setup may take nearly all of a call, noise more than that.
    each = max(seconds - once, 0.02 * seconds) / (pilot - 1)
    fits = int((budget / repeats - once) / each)
    method.subset = len(omega) if fits >= len(omega) else max(fits, PILOT)
    return response, once


def measure(n: int, frequencies: int, budget: float, repeats: int) -> list[dict[str, Any]]:
    """Return a row of the table for each method that runs at this n."""
    C = np.random.default_rng(0).standard_normal(n)
    omega = np.geomspace(LOW, HIGH, frequencies)
    checked = np.geomspace(LOW, HIGH, CHECKED)
    reference = exact(C, checked)
    running = []
    for method in METHODS:
        method.times, method.error, method.checked = [], math.nan, 0
        prepared = prepare(method, C, omega, budget, repeats)
        if prepared is None:
            continue
        response, once = prepared
        running.append((method, response, once))
        if reference is not None:
            each = budget / method.subset / repeats
            some = CHECKED if method.subset == frequencies else min(CHECKED, int(budget / each))
            at = np.linspace(0, CHECKED - 1, max(2, some)).round().astype(int)
            truth = reference[1 if method.make is normal_part else 0][at]
            found = np.abs(response(checked[at]) - truth) / np.abs(truth)
            method.error, method.checked = float(np.max(found)), len(at)
    for _ in range(repeats):
        for method, response, once in running:
            at = spread(omega, method.subset)
            for _ in range(1 if method.subset < frequencies or once > FAST else 5):
                seconds = clock(response, at)
                if method.subset < frequencies:
                    seconds += (seconds - once) / (len(at) - 1) * (frequencies - len(at))
                method.times.append(seconds)
    if not OURS.times:
        raise click.ClickException(
            f"--budget is {budget:g} s, too short at n = {n} for {OURS.label}, which the ratios "
            "are over; give more"
        )
    rows = []
    for method, _, _ in running:
        timed = {"seconds": method.seconds(), "timed": method.subset}
        ratio = {"ratio": method.seconds() / OURS.seconds()}
        errors = {"error": method.error, "checked": method.checked}
        rows.append({"n": n, "method": method.label, **timed, **ratio, **errors})
    return rows


def shown(rows: list[dict[str, Any]], frequencies: int) -> Table:
    """Return the rows as a table, with the marks that the module explains."""

    def marked(row: Mapping[str, Any]) -> str:
        mark = f"*{row['timed']}" if row["timed"] < frequencies else ""
        return f"{row['seconds']:.3g}{mark}"

    def error(row: Mapping[str, Any]) -> str:
        mark = f" ({row['checked']})" if row["checked"] < CHECKED else ""
        return f"{row['error']:.0e}{mark}" if row["checked"] else "-"

    columns: list[Column] = [
        ("n", "n", ""),
        ("method", "method", ""),
        (f"s for {frequencies}", marked, ""),
        ("ratio", "ratio", ".3g"),
        ("max rel error", error, ""),
    ]
    return Table("ratio: time over that of hippo.transfer", rows, columns)


def growth(frequencies: int, repeats: int) -> tuple[list[list[str]], float]:
    """Return rows for n = 10^3, 10^4, 10^5 and the fitted exponent of time in n."""
    omega = np.geomspace(LOW, HIGH, frequencies)
    sizes = [10**3, 10**4, 10**5]
    seconds = []
    for n in sizes:
        response = horner(np.random.default_rng(0).standard_normal(n))
        seconds.append(statistics.median(clock(response, omega) for _ in range(repeats)))
    slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return [[str(n), f"{t:.3g}"] for n, t in zip(sizes, seconds, strict=True)], slope


def eigenvalues(n: int) -> str:
    """Return a line on all eigenvalues of the normal part, checked by |K|_F^2 = 2 sum y^2."""
    start = time.perf_counter()
    y = spectrum.spikes(n)
    seconds = time.perf_counter() - start
    defect = 2.0 * float(np.sum(y * y)) / ((n**4 - n * (4 * n * n - 1) // 3) / 4) - 1.0
    return f"all eigenvalues at n = {n}: {seconds:.2f} s, 2 sum y^2 / |K|_F^2 - 1 = {defect:.0e}"


def gpu(repeats: int) -> list[list[str]]:
    """Return rows that compare cuda with the CPU of the same run."""
    rows = []
    for n, frequencies in ((1024, 10_000), (1024, 1_000_000)):
        C = np.random.default_rng(0).standard_normal(n)
        omega = np.geomspace(LOW, HIGH, frequencies)
        truth = legs.transfer(C, 1j * omega)
        cpu = clock(horner(C), omega)
        for dtype in (torch.complex128, torch.complex64):
            response = grid(dtype, "cuda")(C)
            error = np.max(np.abs(response(omega) - truth)) / np.abs(truth).max()
            seconds = statistics.median(clock(response, omega) for _ in range(repeats))
            case = [str(n), str(frequencies), str(dtype).removeprefix("torch.")]
            rows.append([*case, f"{seconds:.3g}", f"{cpu / seconds:.3g}", f"{error:.0e}"])
    return rows


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
@click.option("--largest", default=10**6, show_default=True, help="State size for eigenvalues.")
@click.option("--format", "style", default="table", type=click.Choice(["table", "md"]))
@output
def main(
    sizes: str,
    frequencies: int,
    budget: float,
    repeats: int,
    largest: int,
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
        rows, slope = growth(frequencies, repeats)
        show(style, written("growth with n", ["n", f"s for {frequencies}"], rows))
        click.echo(f"hippo.transfer: time ~ n^{slope:.2f}")
        click.echo(eigenvalues(largest))
    if torch.cuda.is_available():
        columns = ["n", "frequencies", "dtype", "s", "CPU / GPU", "error / max"]
        show(style, written(torch.cuda.get_device_name(), columns, gpu(repeats)))
    else:
        note("no GPU here: device against CPU left out")
    note(", ".join(f"{name} {number}" for name, number in versions().items()))


if __name__ == "__main__":
    main()
