"""Evaluation with kept kernels against building them in every forward pass, as a ratio.

    python benchmarks/kernels.py

The plain loop is the same network with its layers made to rebuild kernel and spectrum each time,
as the reference implementations do. One thread, float32, 64 samples; medians of 9 passes of
each, taken in turn. The largest difference of the logits stands beside the ratio.
"""

import statistics
import time

import torch

from robustssm.execution import one_thread
from robustssm.hippo.initializations import NAMES
from robustssm.networks.network import Architecture, Network, build_network


def forget(network: Network) -> None:
    """Drop every kept kernel of the network."""
    for layer in network.ssm_layers():
        layer._operators.clear()


def main() -> None:
    """Print one line an initialisation and length."""
    print("init          length  rebuilt ms  kept ms  ratio  difference")
    with one_thread(), torch.no_grad():
        for name in NAMES:
            for L in (256, 1024):
                network = build_network(Architecture(name)).eval()
                x = torch.rand(64, L, 1, generator=torch.Generator().manual_seed(L))
                times: dict[bool, list[float]] = {True: [], False: []}
                outputs = {}
                for _ in range(10):
                    for kept in (False, True):
                        if not kept:
                            forget(network)
                        start = time.perf_counter()
                        outputs[kept] = network(x)
                        times[kept].append(1e3 * (time.perf_counter() - start))
                rebuilt, kept_time = (statistics.median(times[kept][1:]) for kept in (False, True))
                difference = float((outputs[True] - outputs[False]).abs().max())
                print(
                    f"{name:12s} {L:7d} {rebuilt:11.1f} {kept_time:8.1f} "
                    f"{rebuilt / kept_time:6.2f}  {difference:.0e}"
                )


if __name__ == "__main__":
    main()
