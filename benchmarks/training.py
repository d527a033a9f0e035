"""A training step against the same network with kernels written out in full, as ratios.

    python benchmarks/training.py [--device cuda]

The peer is the layer as one writes it down: exp(l dt A) for every step l as one array (channels,
modes, length) in complex64, which autograd keeps, summed over the modes. This project's layers
build the same kernel from 2 sqrt(length) exponentials a mode, in complex128. Forward pass, gradient
and AdamW step; one thread on a CPU. Each variant runs in processes of its own, in turn; times are
medians of all steps but the first, memory is what the steps add to the process's peak (on a GPU
the peak of what is allocated).
"""

import statistics
import time
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
from robustssm.networks.network import Architecture, build_network
from robustssm.training.loop import TrainingConfig, parameter_groups

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


def measure(init: str, case: str, plain: bool, device: str, steps: int) -> Measured:
    """Train a network for some steps; `plain`: with the kernels written out."""
    channels, layers, L, samples = CASES[case]
    where = torch.device(device)

    def peak() -> float:
        cuda = where.type == "cuda"
        return torch.cuda.max_memory_allocated(where) / 2**20 if cuda else peak_mib()

    network = build_network(Architecture(init, d_model=channels, layers=layers, dropout=0.0))
    for layer in network.ssm_layers() if plain else ():
        assert isinstance(layer, S4D)
        layer.kernels = partial(written_out, layer)  # type: ignore[method-assign]
    network = network.to(where).train()
    optimizer = torch.optim.AdamW(parameter_groups(network, TrainingConfig(lr=1e-3)), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, L, 1, generator=generator).to(where)
    labels = torch.randint(10, (samples,), generator=generator).to(where)
    before, times, last = peak(), [], 0.0
    with one_thread():
        for _ in range(steps):
            start = time.perf_counter()
            loss = nn.functional.cross_entropy(network(x), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            last = float(loss.detach())
            times.append(time.perf_counter() - start)
    return Measured(times[1:], peak() - before, last)


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
        ("written out / ours", "ratio", ".2f"),
        ("MiB ours", "ours_mib", ".0f"),
        ("MiB written out", "written_out_mib", ".0f"),
        ("loss ours", "loss", ".5f"),
        ("loss written out", "written_out_loss", ".5f"),
    ]
    show("md", Table("a step of training", rows, columns))
    threads = "one thread" if device == "cpu" else f"one {device} device"
    save(output, f"python benchmarks/training.py, {threads}, {rounds} rounds in turn", rows)


if __name__ == "__main__":
    main()
