"""Cells with noise over the bare passes, every family; and a million phases.

    python benchmarks/noise.py

S4D of two sizes, one thread, float32, processor time in turn: logits of samples with noise at the
input, or at the inputs of all layers, with the account of what was delivered, over the logits of
the same samples alone. Medians of the ratios, in brackets ratios of the least times. The kernels
are kept, as in evaluation. The peer of the phases is one Philox generator per sample, numpy's.
"""

import math
import statistics
import time
from functools import partial

import click
import numpy as np
import torch
from timing import Work, in_turn, medians

from robustssm.attacks import Budget, Perturbation, Site, parse_perturbation, perturbed_logits
from robustssm.commands.terminal import show, written
from robustssm.execution import one_thread
from robustssm.figures.perturbations import EXAMPLES
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.philox import uniform_tensor


def cell(network: Network, x: torch.Tensor, inject: str, perturbation: Perturbation) -> None:
    """Compute what a cell computes, the account of what was delivered included."""
    unit = perturbation.default_unit(inject)
    side = math.isqrt(x.shape[1])
    site = Site(scale=torch.ones(1, dtype=torch.float64), image=(side, side))
    budget = Budget(1.0 if unit == "mix" else 0.3, unit)
    ids = np.arange(len(x))
    perturbed_logits(network, x, perturbation, budget, ids, 0, inject=inject, site=site)


def phases(count: int, rounds: int) -> None:
    """Print the time of `count` phases against one generator per sample."""
    ids = np.arange(1000)

    def one_generator_each() -> None:
        for k in ids:
            np.random.Generator(np.random.Philox(key=int(k))).random(count // len(ids))

    together: dict[str, Work] = {
        "1000 samples": partial(uniform_tensor, "key", ids, count // len(ids)),
        "1000 samples, numpy one by one": one_generator_each,
        f"{count} samples": partial(uniform_tensor, "key", np.arange(count), 1),
    }
    for name, milliseconds in medians(together, rounds).items():
        click.echo(f"{count} phases of {name}: {milliseconds:.1f} ms")


NETWORKS = {
    "zoo: width 32, 3 layers, length 256": (Architecture("s4d", d_model=32), 256, 128),
    "wide: width 128, 4 layers, length 1024": (Architecture("s4d", d_model=128, layers=4), 1024, 8),
}


@click.command(help=__doc__)
@click.option("--phases", "count", default=1_000_000, show_default=True)
@click.option("--rounds", default=7, show_default=True)
def main(count: int, rounds: int) -> None:
    """Print one row per family."""
    perturbations = [parse_perturbation(text)[0] for text in EXAMPLES]
    with one_thread(), torch.no_grad():
        phases(count, rounds)
        for title, (architecture, length, samples) in NETWORKS.items():
            network = build_network(architecture).eval()
            x = torch.rand(samples, length, 1, generator=torch.Generator().manual_seed(0))
            pieces: dict[tuple[str, str], Work] = {("bare", ""): partial(logits, network, x)}
            for perturbation in perturbations:
                for inject in {"input", "layers"} & set(perturbation.sites):
                    work = partial(cell, network, x, inject, perturbation)
                    pieces[repr(perturbation), inject] = work
            times = in_turn(pieces, rounds, clock=time.process_time)
            bare = times["bare", ""]
            rows = []
            for name in map(repr, perturbations):
                cells = [name]
                for inject in ("input", "layers"):
                    taken = times.get((name, inject), [])
                    ratios = [own / base for own, base in zip(taken, bare, strict=False)]
                    least = min(taken, default=math.nan) / min(bare)
                    shown = f"{statistics.median(ratios):.2f} ({least:.2f})" if ratios else "-"
                    cells.append(shown)
                rows.append(cells)
            columns = ["over the bare pass (of minima)", "at the input", "at all layers"]
            show("table", written(title, columns, rows))


if __name__ == "__main__":
    main()
