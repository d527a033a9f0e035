"""Evaluation with kept kernels against building them in every forward pass, as a ratio.

    python benchmarks/kernels.py

The plain loop is the same network with its layers made to rebuild kernel and spectrum each time,
as the reference implementations do. One thread, float32, 64 samples; medians of passes of each,
taken in turn. The largest difference of the logits stands beside the ratio.
"""

import click
import torch
from timing import medians

from robustssm.commands.terminal import show, written
from robustssm.execution import one_thread
from robustssm.hippo.initializations import NAMES
from robustssm.layers.kept import forget
from robustssm.networks.network import Architecture, build_network


def compare(init: str, L: int, rounds: int) -> list[str]:
    """Return one row of the table: the network of an initialisation on sequences of length L."""
    network = build_network(Architecture(init)).eval()
    x = torch.rand(64, L, 1, generator=torch.Generator().manual_seed(L))

    def rebuilt() -> torch.Tensor:
        forget(network)
        return network(x)

    difference = float((network(x) - rebuilt()).abs().max())
    times = medians({"rebuilt": rebuilt, "kept": lambda: network(x)}, rounds)
    ratio = times["rebuilt"] / times["kept"]
    milliseconds = [f"{times[name]:.1f}" for name in ("rebuilt", "kept")]
    return [init, str(L), *milliseconds, f"{ratio:.2f}", f"{difference:.0e}"]


@click.command(help=__doc__)
@click.option("--length", "lengths", type=int, multiple=True, default=(256, 1024))
@click.option("--rounds", default=9, show_default=True)
def main(lengths: tuple[int, ...], rounds: int) -> None:
    """Print one row per initialisation and length."""
    with one_thread(), torch.no_grad():
        rows = [compare(init, L, rounds) for init in NAMES for L in lengths]
    columns = ["init", "length", "rebuilt ms", "kept ms", "ratio", "difference"]
    show("table", written("kernels rebuilt in every pass, and kept", columns, rows))


if __name__ == "__main__":
    main()
