"""Noise generation against the forward pass that it feeds, as a ratio; and a million phases.

    python benchmarks/noise.py

S4D, 3 layers of width 128, 64 samples of length 1024, one thread, float32; medians of 7 in turn.
`input`: a perturbation of the input (one channel) over the whole forward pass. `layer`: of one
layer's input (128 channels) over that layer's block alone (SSM, GELU, GLU, norm), for the families
that act there. In brackets the same with the account of what was delivered. The kernels are kept,
as in evaluation. The peer of the phases is one Philox generator a sample, numpy's.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from robustssm.attacks import Budget, Delivered, Perturbation, Site, parse_perturbation
from robustssm.execution import one_thread
from robustssm.figures.perturbations import EXAMPLES
from robustssm.networks.network import Architecture, build_network
from robustssm.philox import uniform_tensor

BATCH, LENGTH, WIDTH = 64, 1024, 128
REPEATS = 7


def median_ms(*pieces: Callable[[], object]) -> list[float]:
    """Return the median time of each piece of work, milliseconds, taken in turn."""
    times: list[list[float]] = [[] for _ in pieces]
    for _ in range(REPEATS + 1):
        for taken, piece in zip(times, pieces, strict=True):
            start = time.perf_counter()
            piece()
            taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken[1:]) for taken in times]


def applied(perturbation: Perturbation, x: torch.Tensor, site: Site, account: bool) -> None:
    """Perturb x, and book what was delivered where `account` is set."""
    unit = perturbation.default_unit(site.name)
    budget = Budget(1.0 if unit == "mix" else 0.3, unit)
    after = perturbation.perturb(x, None, np.arange(len(x)), 0, budget=budget, site=site)
    if account:
        Delivered(len(x)).add(x, after, perturbation, site)


def phases() -> None:
    """Print the time of a million phases against one generator a sample."""
    ids = np.arange(1000)

    def one_generator_each() -> None:
        for k in ids:
            np.random.Generator(np.random.Philox(key=int(k))).random(1000)

    vectorised, looped = median_ms(lambda: uniform_tensor("key", ids, 1000), one_generator_each)
    print(f"10^6 phases of 1000 samples: {vectorised:.1f} ms, numpy one by one {looped:.1f} ms")
    ids = np.arange(1_000_000)
    (vectorised,) = median_ms(lambda: uniform_tensor("key", ids, 1))
    print(f"10^6 phases of 10^6 samples: {vectorised:.1f} ms")


def main() -> None:
    """Print one line a family."""
    with one_thread(), torch.no_grad():
        phases()
        network = build_network(Architecture("s4d", d_model=WIDTH)).eval()
        x = torch.rand(BATCH, LENGTH, 1, generator=torch.Generator().manual_seed(0))
        u = torch.randn(BATCH, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
        whole, block = median_ms(lambda: network(x), lambda: network.blocks[0](u))
        print(f"forward {whole:.0f} ms, one block {block:.0f} ms")
        headings = f"{'input ms':>9s} {'of forward':>16s} {'layer ms':>9s} {'of block':>16s}"
        print(f"{'family':28s} {headings}")
        std = torch.ones(1, dtype=torch.float64)
        dt = network.ssm_layers()[0].step_size()
        for text in EXAMPLES:
            p = parse_perturbation(text)[0]
            cells = []
            for site, signal, base in (
                (Site(scale=std, image=(32, 32)), x, whole),
                (Site(layer=0, dt=dt), u, block),
            ):
                if site.name not in p.sites:
                    cells += [f"{'-':>9s}", f"{'-':>16s}"]
                    continue
                bare, booked = median_ms(
                    partial(applied, p, signal, site, False),
                    partial(applied, p, signal, site, True),
                )
                cells += [f"{bare:9.1f}", f"{bare / base:7.1%} [{booked / base:6.1%}]"]
            print(f"{repr(p)[:28]:28s} " + " ".join(cells))


if __name__ == "__main__":
    main()
