"""Cells with noise over the bare passes, every family; and a million phases.

    python benchmarks/noise.py

S4D of two sizes, one thread, float32, processor time in turn: logits of samples with noise at the
input, or at the inputs of all layers, with the account of what was delivered, over the logits of
the same samples alone. Medians of the ratios, in brackets ratios of the least times. The kernels
are kept, as in evaluation. The peer of the phases is one Philox generator per sample, numpy's.
"""

import math
import statistics
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import click
import numpy as np
import torch
from timing import Work, in_turn, medians, output, save

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
@output
def main(count: int, rounds: int, output: Path | None) -> None:
    """Print one row per family."""
    perturbations = [parse_perturbation(text)[0] for text in EXAMPLES]
    stored: dict[str, dict[str, Any]] = {}
    with one_thread(), torch.no_grad():
        phases(count, rounds)
        for title, (architecture, length, samples) in NETWORKS.items():
            network = build_network(architecture).eval()
            x = torch.rand(samples, length, 1, generator=torch.Generator().manual_seed(0))
            bare: Work = partial(logits, network, x)
            rows = []
            for perturbation in perturbations:
                name = repr(perturbation)
                cells, kept = [name], stored.setdefault(name, {"family": name})
                for inject in ("input", "layers"):
                    of = f"{title.partition(':')[0]}_{inject}"
                    kept |= {of: math.nan, f"{of}_least": math.nan}
                    if inject in perturbation.sites:
                        work = partial(cell, network, x, inject, perturbation)
                        times = in_turn({"bare": bare, "cell": work}, rounds, clock=process_time)
                        pairs = zip(times["cell"], times["bare"], strict=True)
                        kept[of] = statistics.median(own / base for own, base in pairs)
                        kept[f"{of}_least"] = min(times["cell"]) / min(times["bare"])
                    shown = f"{kept[of]:.2f} ({kept[f'{of}_least']:.2f})"
                    cells.append(shown if inject in perturbation.sites else "-")
                rows.append(cells)
            columns = ["over the bare pass (of minima)", "at the input", "at all layers"]
            show("table", written(title, columns, rows))
    comment = f"python benchmarks/noise.py, one thread, {rounds} rounds in turn"
    save(output, comment, list(stored.values()))


if __name__ == "__main__":
    main()
