"""A training step against the same network as one writes it down, as ratios.

    python benchmarks/training.py [--device cuda]

The peer has the same parameters, kernels of exp(l dt A) for every step l as one array (channels,
modes, length) in complex64, summed over the modes, and convolutions by torch's FFT functions; all
gradients are autograd's, and AdamW is torch's default. This project's layers build the same kernel
from 2 sqrt(length) exponentials per mode, in complex128, and write the convolution's gradient out.
Forward pass, gradient and AdamW step; one thread on a CPU. Each variant runs in processes of its
own, in turn; times are medians of all steps but the first, of processor time on a CPU; memory is
what the steps add to the process's peak (on a GPU the peak of what is allocated).
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import torch
from timing import output, own_process, peak_mib, save
from torch import Tensor, nn

from robustssm.commands.terminal import Table, show
from robustssm.execution import one_thread
from robustssm.layers.diagonal import S4D
from robustssm.networks.network import Architecture, Block, Network, build_network
from robustssm.networks.program import keep_memory
from robustssm.training.loop import TrainingConfig, adamw, parameter_groups

# name -> (channels, layers, length, samples)
CASES = {
    "bundled": (32, 3, 256, 64),
    "wide": (128, 4, 1024, 16),
    "long": (64, 2, 16384, 1),
}
INITS = ("s4d", "s4ptd-rank1")


class Measured(NamedTuple):
    """Seconds of each step but the first, MiB that the steps needed, and the last loss."""

    seconds: list[float]
    mib: float
    loss: float


def written_out(layer: S4D, L: int) -> Tensor:
    """Return the kernel (1, d, L) as a sum over an array (d, m, L) of all exponentials."""
    log_Abar, CB = layer.modes(L)
    l = torch.arange(L, device=CB.device)  # noqa: E741
    powers = torch.exp(log_Abar.to(torch.complex64)[:, :, None] * l)
    return torch.einsum("cdm,dml->cdl", CB.to(torch.complex64), powers).real


def straightforward(network: Network, x: Tensor) -> Tensor:
    """Return the logits of a network of S4D layers, without dropout, as one writes it down."""
    x = network.encoder((x - network.mean) / network.std)
    for block in network.blocks:
        assert isinstance(block, Block) and isinstance(block.ssm, S4D)
        L = x.shape[1]
        spectrum = torch.fft.rfft(written_out(block.ssm, L)[0], n=2 * L)
        y = torch.fft.irfft(torch.fft.rfft(x.mT, n=2 * L) * spectrum, n=2 * L)[..., :L].mT
        x = block.norm.norm(nn.functional.glu(block.output(nn.functional.gelu(y))))
    logits: Tensor = network.decoder(x.mean(1))
    return logits


def measure(init: str, case: str, plain: bool, device: str, steps: int) -> Measured:
    """Train a network for some steps; `plain`: as one writes it down."""
    channels, layers, L, samples = CASES[case]
    network = build_network(Architecture(init, d_model=channels, layers=layers, dropout=0.0))
    network = network.to(device).train()
    forward: Callable[[Tensor], Tensor]
    config = TrainingConfig(lr=1e-3)
    if plain:
        forward = partial(straightforward, network)
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameter_groups(network, config))
    else:
        keep_memory()
        forward, optimizer = network, adamw(network, config)
    clock = time.process_time if device == "cpu" else time.perf_counter
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, L, 1, generator=generator).to(device)
    labels = torch.randint(10, (samples,), generator=generator).to(device)
    before, times, last = peak_mib(device), [], 0.0
    with one_thread():
        for _ in range(steps):
            start = clock()
            loss = nn.functional.cross_entropy(forward(x), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            last = float(loss.detach())
            times.append(clock() - start)
    return Measured(times[1:], peak_mib(device) - before, last)


@click.command(help=__doc__)
@click.option("--device", default="cpu", show_default=True)
@click.option("--case", "cases", multiple=True, default=tuple(CASES), type=click.Choice([*CASES]))
@click.option("--rounds", default=3, show_default=True)
@click.option("--steps", default=7, show_default=True, type=click.IntRange(2))
@output
def main(device: str, cases: tuple[str, ...], rounds: int, steps: int, output: Path | None) -> None:
    """Print one row per case and initialisation."""
    rows = []
    for case in cases:
        channels, layers, L, samples = CASES[case]
        for init in INITS:
            measured: dict[bool, list[Measured]] = {False: [], True: []}
            for _ in range(rounds):
                for plain in (False, True):
                    with own_process() as process:
                        work = process.submit(measure, init, case, plain, device, steps)
                        measured[plain].append(work.result())
            ours, plainly = (
                statistics.median(t for one in measured[plain] for t in one.seconds)
                for plain in (False, True)
            )
            mib = [statistics.median(one.mib for one in measured[k]) for k in (False, True)]
            rows.append(
                {
                    "network": f"{case}: {layers} x {channels}, length {L}, {samples} samples",
                    "init": init,
                    "ours_ms": 1e3 * ours,
                    "ratio": plainly / ours,
                    "ours_mib": mib[0],
                    "written_out_mib": mib[1],
                    "loss": measured[False][0].loss,
                    "written_out_loss": measured[True][0].loss,
                }
            )
    columns = [
        ("network", "network", ""),
        ("init", "init", ""),
        ("ours, ms", "ours_ms", ".0f"),
        ("straightforward / ours", "ratio", ".2f"),
        ("MiB ours", "ours_mib", ".0f"),
        ("MiB straightforward", "written_out_mib", ".0f"),
        ("loss ours", "loss", ".5f"),
        ("loss straightforward", "written_out_loss", ".5f"),
    ]
    show("md", Table("a step of training", rows, columns))
    threads = "one thread" if device == "cpu" else f"one {device} device"
    save(output, f"python benchmarks/training.py, {threads}, {rounds} rounds in turn", rows)


if __name__ == "__main__":
    main()
