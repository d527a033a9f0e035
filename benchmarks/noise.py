"""Cells with noise over the bare passes, every family.

    python benchmarks/noise.py

S4D of two sizes, one thread, float32, processor time in turn: logits of samples with noise at the
input, or at the inputs of all layers, with the account of what was delivered, over the logits of
the same samples alone, as often; six strengths, for which a draw is made once, and one alone, with
nothing kept from before. Medians of the ratios, in brackets ratios of the least times. The kernels
are kept, as in evaluation. Share: what noise at layers and its account take within a pass of six
strengths, over all else of that pass, per cent.
"""

import math
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch
from timing import Work, in_turn, output, save

from robustssm.attacks import (
    Budget,
    Perturbation,
    Site,
    kept,
    parse_perturbation,
    perturbed_logits,
)
from robustssm.attacks.injection import LayerNoise
from robustssm.commands.terminal import show, written
from robustssm.execution import one_thread
from robustssm.figures.perturbations import EXAMPLES
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, Network, build_network


def cells(
    network: Network, x: torch.Tensor, inject: str, perturbation: Perturbation, count: int
) -> None:
    """Compute what cells of as many strengths compute, what was delivered included."""
    unit = perturbation.default_unit(inject)
    side = math.isqrt(x.shape[1])
    site = Site(scale=torch.ones(1, dtype=torch.float64, device=x.device), image=(side, side))
    kept.forget()
    for eps in np.linspace(0.1, 1.0, count):
        budget, ids = Budget(float(eps), unit), np.arange(len(x))
        perturbed_logits(network, x, perturbation, budget, ids, 0, inject=inject, site=site)


def share(work: Work, rounds: int) -> float:
    """Return the median of what noise at layers takes over what all else of the work takes."""
    spent = 0.0

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            nonlocal spent
            start = process_time()
            result = method(*given)
            spent += process_time() - start
            return result

        return run

    shares = []
    with patch.multiple(LayerNoise, change=timed(LayerNoise.change), book=timed(LayerNoise.book)):
        for _ in range(rounds):
            spent, start = 0.0, process_time()
            work()
            shares.append(spent / (process_time() - start - spent))
    return statistics.median(shares)


NETWORKS = {
    "zoo: 3 x 32, length 256": (Architecture("s4d", d_model=32), 256, 1),
    "wide: 4 x 128, length 1024": (Architecture("s4d", d_model=128, layers=4), 1024, 16),
}


@click.command(help=__doc__)
@click.option("--rounds", default=7, show_default=True)
@click.option("--samples", default=128, show_default=True, help="Of zoo; wide: a sixteenth.")
@click.option("--strengths", "several", default=6, show_default=True)
@output
def main(rounds: int, samples: int, several: int, output: Path | None) -> None:
    """Print one row per family."""
    perturbations = [parse_perturbation(text)[0] for text in EXAMPLES]
    stored: dict[str, dict[str, Any]] = {}
    with one_thread(), torch.no_grad():
        for title, (architecture, length, fewer) in NETWORKS.items():
            network = build_network(architecture).eval()
            shape = -(-samples // fewer), length, 1
            x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
            rows = []
            for perturbation in perturbations:
                name, seen = repr(perturbation), perturbation.extended(x)
                row, numbers = [name], stored.setdefault(name, {"family": name})
                ways = (("input", several, ""), ("layers", several, ""), ("layers", 1, "_one"))
                for inject, strengths, mark in ways:
                    ratio = least = math.nan
                    if inject in perturbation.sites:
                        bare: Work = partial(logits, network, seen.repeat(strengths, 1, 1), len(x))
                        work = partial(cells, network, x, inject, perturbation, strengths)
                        times = in_turn({"bare": bare, "cells": work}, rounds, clock=process_time)
                        pairs = zip(times["cells"], times["bare"], strict=True)
                        ratio = statistics.median(own / base for own, base in pairs)
                        least = min(times["cells"]) / min(times["bare"])
                    of = f"{title.partition(':')[0]}_{inject}{mark}"
                    numbers |= {of: ratio, f"{of}_least": least}
                    row.append(f"{ratio:.2f} ({least:.2f})".replace("nan (nan)", "-"))
                part = math.nan
                if "layers" in perturbation.sites:
                    work = partial(cells, network, x, "layers", perturbation, several)
                    part = share(work, rounds)
                numbers[f"{title.partition(':')[0]}_share"] = 100.0 * part
                rows.append([*row, f"{part:.0%}".replace("nan%", "-")])
            columns = ["over the bare pass (of minima)", "input", "layers", "alone", "share"]
            show("table", written(title, columns, rows))
    comment = f"python benchmarks/noise.py, one thread, {rounds} rounds in turn"
    save(output, comment, list(stored.values()))


if __name__ == "__main__":
    main()
