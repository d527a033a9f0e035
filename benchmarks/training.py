"""A training step against the same network with kernels written out in full, as ratios.

    python benchmarks/training.py [--device cuda]

The peer is the layer as one writes it down: exp(l dt A) for every step l as one array (channels,
modes, length) in complex64, which autograd keeps, summed over the modes. This project's layers
build the same kernel from 2 sqrt(length) exponentials a mode, in complex128. Forward pass, gradient
and AdamW step; one thread on a CPU. Each variant runs in processes of its own, in turn; times are
medians of all steps but the first, memory is what the steps add to the process's peak (on a GPU
the peak of what is allocated).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustssm.execution import one_thread
from robustssm.layers.diagonal import S4D
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.training.loop import TrainingConfig, parameter_groups

# name -> (channels, layers, length, samples)
CASES = {
    "bundled": (32, 3, 256, 64),
    "wide": (128, 4, 1024, 16),
    "long": (64, 2, 16384, 1),
}
INITS = ("s4d", "s4ptd-rank1")
ROUNDS, STEPS = 3, 7


def written_out(layer: S4D, L: int) -> Tensor:
    """Return the kernel (1, d, L) as a sum over an array (d, m, L) of all exponentials."""
    log_Abar, CB = layer.modes(L)
    l = torch.arange(L, device=CB.device)  # noqa: E741
    powers = torch.exp(log_Abar.to(torch.complex64)[:, :, None] * l)
    return torch.einsum("cdm,dml->cdl", CB.to(torch.complex64), powers).real


def peer(network: Network) -> Network:
    """Let the network's layers write their kernels out."""
    for layer in network.ssm_layers():
        assert isinstance(layer, S4D)
        layer.kernels = partial(written_out, layer)  # type: ignore[method-assign]
    return network


def peak(device: torch.device) -> float:
    """Return the largest memory so far in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(init: str, case: str, plain: bool, device: torch.device) -> dict[str, Any]:
    """Return seconds of each step, MiB that the steps needed, and the last loss."""
    channels, layers, L, samples = CASES[case]
    network = build_network(Architecture(init, d_model=channels, layers=layers, dropout=0.0))
    network = (peer(network) if plain else network).to(device).train()
    optimizer = torch.optim.AdamW(parameter_groups(network, TrainingConfig(lr=1e-3)), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, L, 1, generator=generator).to(device)
    labels = torch.randint(10, (samples,), generator=generator).to(device)
    before, times = peak(device), []
    loss = torch.zeros(())
    for _ in range(STEPS):
        start = time.perf_counter()
        loss = nn.functional.cross_entropy(network(x), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        last = float(loss.detach())
        times.append(time.perf_counter() - start)
    return {"times": times[1:], "MiB": peak(device) - before, "loss": last}


def main() -> None:
    """Print a Markdown table, one line a case and initialisation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", nargs=3, metavar=("INIT", "CASE", "PLAIN"), help="internal")
    given = parser.parse_args()
    if given.one:
        init, case, plain = given.one
        with one_thread():
            print(json.dumps(measure(init, case, plain == "1", torch.device(given.device))))
        return
    print("| network | init | ours, ms | written out / ours | MiB ours | MiB written out | loss |")
    print("|---|---|---|---|---|---|---|")
    for case, (channels, layers, L, samples) in CASES.items():
        for init in INITS:
            found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
            for _ in range(ROUNDS):
                for plain in (False, True):
                    command = [sys.executable, __file__, "--device", given.device, "--one", init]
                    command += [case, str(int(plain))]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    found[plain].append(json.loads(done.stdout))
            ours, written = (
                statistics.median(t for one in found[plain] for t in one["times"])
                for plain in (False, True)
            )
            mib = [statistics.median(one["MiB"] for one in found[k]) for k in (False, True)]
            losses = [found[plain][0]["loss"] for plain in (False, True)]
            print(
                f"| {case}: {layers} x {channels}, length {L}, {samples} samples | {init} | "
                f"{1e3 * ours:.0f} | {written / ours:.2f} | {mib[0]:.0f} | {mib[1]:.0f} | "
                f"{losses[0]:.5f}, {losses[1]:.5f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
