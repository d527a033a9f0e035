"""Noise generation against the forward pass that it feeds, as a ratio; and a million phases.

    python benchmarks/noise.py

S4D, 3 layers of width 128, 64 samples of length 1024, one thread, float32; medians of 7 in turn.
`input`: a perturbation of the input (one channel) over the whole forward pass. `layer`: of one
layer's input (128 channels) over that layer's block alone (SSM, GELU, GLU, norm), for the families
that act there. In brackets the same with the account of what was delivered. The kernels are kept,
as in evaluation. The peer of the phases is one Philox generator per sample, numpy's.
"""

import math
from functools import partial

import click
import numpy as np
import torch
from timing import Work, medians

from robustssm.attacks import Budget, Delivered, Perturbation, Site, parse_perturbation
from robustssm.commands.terminal import show, written
from robustssm.execution import one_thread
from robustssm.figures.perturbations import EXAMPLES
from robustssm.networks.network import Architecture, build_network
from robustssm.philox import uniform_tensor


def applied(perturbation: Perturbation, x: torch.Tensor, site: Site, account: bool) -> None:
    """Perturb x, and book what was delivered if `account` is set."""
    unit = perturbation.default_unit(site.name)
    budget = Budget(1.0 if unit == "mix" else 0.3, unit)
    after = perturbation.perturb(x, None, np.arange(len(x)), 0, budget=budget, site=site)
    if account:
        Delivered(len(x)).add(x, after, perturbation, site)


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


@click.command(help=__doc__)
@click.option("--samples", default=64, show_default=True)
@click.option("--length", default=1024, show_default=True, help="The square of an integer.")
@click.option("--width", default=128, show_default=True)
@click.option("--phases", "count", default=1_000_000, show_default=True)
@click.option("--rounds", default=7, show_default=True)
def main(samples: int, length: int, width: int, count: int, rounds: int) -> None:
    """Print one row per family."""
    with one_thread(), torch.no_grad():
        phases(count, rounds)
        network = build_network(Architecture("s4d", d_model=width)).eval()
        x = torch.rand(samples, length, 1, generator=torch.Generator().manual_seed(0))
        u = torch.randn(samples, length, width, generator=torch.Generator().manual_seed(1))
        passes = {"input": partial(network, x), "layer": partial(network.blocks[0], u)}
        base = medians(passes, rounds)
        click.echo(f"forward {base['input']:.0f} ms, one block {base['layer']:.0f} ms")
        side = math.isqrt(length)
        at_input = Site(scale=torch.ones(1, dtype=torch.float64), image=(side, side))
        at_layer = Site(layer=0, dt=network.ssm_layers()[0].step_size())
        rows = []
        for text in EXAMPLES:
            perturbation = parse_perturbation(text)[0]
            cells = [repr(perturbation)]
            for site, signal in ((at_input, x), (at_layer, u)):
                if site.name not in perturbation.sites:
                    cells += ["-", "-"]
                    continue
                pieces = {
                    str(account): partial(applied, perturbation, signal, site, account)
                    for account in (False, True)
                }
                bare, booked = medians(pieces, rounds).values()
                whole = base["input" if site is at_input else "layer"]
                cells += [f"{bare:.1f}", f"{bare / whole:.1%} [{booked / whole:.1%}]"]
            rows.append(cells)
    columns = ["family", "input ms", "of forward", "layer ms", "of block"]
    show("table", written("noise over the pass that it feeds", columns, rows))


if __name__ == "__main__":
    main()
