"""All that a GPU is for, checked and timed in at most 8 minutes; and a CPU beside it.

    python benchmarks/gpu.py --device cuda --output gpu.csv
    python benchmarks/gpu.py --device cpu --small

ours_ms: median of rounds in turn with a peer (on a CPU processor time, one thread); ratio: the
peer's time over ours, least and most beside it. floor_ms: counted operations at the rate of a
matrix product, or bytes of inputs and weights at that of a copy, whichever is more; traffic_ms:
bytes of all operations, one by one; rates are measured here. Networks have random weights; the
peer is the same by plain torch: kernels written out, a scan step by step, white noise. Solvers are
timed on fewer frequencies, in proportion. A part has a process and a budget of seconds; what fails
or runs out is one row that says so. Rows are printed and written as they come.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from noise import cells as at_strengths
from scipy.linalg import solve_triangular
from timing import Counted, Work, append, finished, in_turn, output, own_process, peak_mib, rates
from torch import Tensor, nn
from training import written_out

from robustssm import sweep
from robustssm.attacks import BandNoise, Budget, Fourier, Resonance, Site
from robustssm.attacks.adversaries import BandPGD, Target, Victim
from robustssm.execution import one_thread, repeatable, resolve_device
from robustssm.hippo import legs
from robustssm.hippo.transfer_grid import transfer_grid
from robustssm.networks.foreign import Blueprint, SequenceModel
from robustssm.networks.inference import logits, program
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.philox import dense_tensor, uniform_tensor
from robustssm.typing import FloatArray

COLUMNS = "part,case,peer,ours_ms,ratio,least,most,floor_ms,traffic_ms,mib,off,note"
Row = dict[str, Any]
Case = tuple[str, Callable[[], list[Row]]]
# Channels, layers, length, samples; and those of a small run.
SIZES = {"zoo": (32, 3, 256, 512), "wide": (512, 8, 4096, 32)}
SIZES |= dict.fromkeys(("mamba", "mamba2"), (768, 24, 2048, 64))
SMALL = 32, 2, 128, 64
# Budget of a part: with a start of a process each, six take less than 8 minutes.
SECONDS = 75.0


def timed(ours: Work, peer: Work, *read: Tensor, times: float = 1.0) -> Row:
    """Return a row of work beside a peer, whose time counts so often; read: by ours."""
    device, began = read[-1].device, time.monotonic()
    pieces = {"ours": finished(ours, device), "peer": finished(peer, device)}
    in_turn(pieces, 0)
    fitting = int(SECONDS / 20 / (time.monotonic() - began))
    gpu, rate = device.type == "cuda", rates(device)
    clock = time.perf_counter if gpu else time.process_time
    found = in_turn(pieces, max(1, min(5, fitting)), 0, clock)
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
    with Counted() as counted:
        ours()
    done = sum(count / rate[str(size)] for size, count in counted.operations.items())
    moved = sum(value.nbytes for value in read) / rate["bytes"]
    ratio = times * np.divide(found["peer"], found["ours"])
    row = {"ours_ms": 1e3 * np.median(found["ours"]), "ratio": np.median(ratio)}
    row |= {"least": ratio.min(), "most": ratio.max(), "floor_ms": 1e3 * max(moved, done)}
    mib = peak_mib(str(device)) if gpu else np.nan
    return row | {"traffic_ms": 1e3 * counted.traffic / rate["bytes"], "mib": mib}


def solvers(C: FloatArray, device: torch.device) -> dict[str, Callable[[FloatArray], Any]]:
    """Return ways to G of HiPPO-LegS by name."""
    A, B = legs.matrices(len(C))
    M, i = -A.astype(complex), np.arange(len(C))
    there, column = (torch.from_numpy(v).to(device) for v in (M.copy(), B[:, None].astype(complex)))
    eye, most = torch.eye(len(C), device=device), 1 << (24 if device.type == "cpu" else 30)
    step = max(1, most // len(C) ** 2)

    def closed(omega: FloatArray, dtype: torch.dtype, tau: float = 0.0) -> Any:
        return transfer_grid(C, omega, tau=tau, device=device, dtype=dtype).cpu().numpy()

    def batched(omega: FloatArray) -> Any:
        points = (1j * torch.from_numpy(omega).to(device))[:, None, None].split(step)
        solved = torch.cat([torch.linalg.solve(s * eye + there, column) for s in points])
        return solved[..., 0].cpu().numpy() @ C

    def triangular(w: float) -> complex:
        M[i, i] = 1j * w - np.diag(A)
        return complex(C @ solve_triangular(M, B, lower=True, check_finite=False))

    return {
        "closed form": partial(closed, dtype=torch.complex128),
        "closed form, complex64": partial(closed, dtype=torch.complex64),
        "closed form of S4D, complex64": partial(closed, dtype=torch.complex64, tau=1.0),
        "closed form, numpy": lambda omega: legs.transfer(C, 1j * omega),
        "scipy solve_triangular": lambda omega: np.array([triangular(w) for w in omega]),
        "torch.linalg.solve, batched": batched,
    }


def transfer(device: torch.device, small: bool) -> Iterator[Case]:
    """Yield closed forms on a grid, against the solvers that users have."""
    cpu = device.type == "cpu"
    grid = np.geomspace(1e-2, 1e7, 100 if small else 10**4 if cpu else 10**6)

    def beside(n: int, name: str) -> list[Row]:
        C, few = np.random.default_rng(0).standard_normal(n), np.geomspace(1e-2, 1e7, 20)
        ways = solvers(C, device)
        began, values = time.perf_counter(), ways[name](few)
        most = int(SECONDS / 4 / (time.perf_counter() - began))
        some = len(grid) if "closed" in name else max(5, min(len(grid), most))
        at = grid[np.linspace(0, len(grid) - 1, some).astype(int)]
        ours, peer = partial(ways["closed form"], grid), partial(ways[name], at)
        row = timed(ours, peer, torch.from_numpy(grid).to(device), times=len(grid) / some)
        truth = legs.transfer(C, 1j * few) / legs.normal_ratio(n, few, float("S4D" in name))
        said = f"off: relative, from numpy's; peer timed on {some} frequencies"
        return [row | {"peer": name, "off": np.abs(values / truth - 1.0).max(), "note": said}]

    for n in (16,) if small else (64, 256, 1024, 4096) if cpu else (4096,):
        for name in solvers(np.ones(1), device):
            yield f"n = {n}", partial(beside, n, name)


def plain_scan(mixer: Any, s: Any) -> Tensor:
    """Return C h of every step, (batch, L, E), as one writes it down."""
    u, h, outputs = s.u.unflatten(-1, (mixer.heads, -1)), s.u.new_zeros(()), []
    for t in range(u.shape[1]):
        shared = (v[:, t].repeat_interleave(mixer.heads // mixer.o.groups, 1) for v in (s.B, s.C))
        dt, B, C = s.dt[:, t, :, None], *(v[:, :, None] for v in shared)
        h = torch.exp(dt * mixer.A)[:, :, None] * h + (dt * u[:, t])[..., None] * B
        outputs.append((h * C).sum(-1))
    return torch.stack(outputs, 1).flatten(2)


def model(name: str, device: torch.device, small: bool) -> tuple[Any, Any, Tensor]:
    """Return a network of random weights, the same by plain torch, and inputs of it."""
    d, layers, L, samples = SMALL if small else SIZES[name]
    network: Any = build_network(Architecture("s4d", d_model=d, layers=layers, dropout=0.0))
    if name.startswith("mamba"):
        own: Row = {"kind": name, "inner": 2 * d, "conv": 4, "n": 16, "rank": d // 16}
        own |= {"n": 128, "heads": d // 32, "norm_eps": 1e-5} if name == "mamba2" else {}
        frame: Row = {"d_output": 50280, "encoder": "embedding", "tokens": 50280, "norm": "rms"}
        frame |= {"prenorm": True, "final_norm": True, "pooling": "last", "activation": "none"}
        frame |= {"output": "none", "mixers": (own,) * layers}
        network = SequenceModel(Blueprint(name, d, d, **frame))
    plain = copy.deepcopy(network.to(device).eval())
    for part in plain.modules():
        if hasattr(part, "kernels"):
            part.kernels = partial(written_out, part)
        elif hasattr(part, "scan"):
            part.scan = partial(plain_scan, part)
    x = torch.rand(samples, L, len(network.mean), generator=torch.Generator().manual_seed(0))
    return network, plain, x.to(device)


def checks(network: Any, x: Tensor) -> list[Row]:
    """Return what has to agree: with the CPU, and with itself in other batches."""
    few, here = x[:4, :64], copy.deepcopy(network).cpu()
    there, cpu = logits(network, few).double().cpu(), logits(here, few.cpu()).double()
    truth = logits(here.double(), few.cpu().double())
    off, usual = (float((v - truth).abs().max()) for v in (there, cpu))
    clear = -truth.topk(2).values.diff(dim=1)[:, 0] > 8.0 * usual
    flipped = (there.argmax(1) != truth.argmax(1))[clear]
    batches = torch.ne(logits(network, x), logits(network, x, len(x) // 2)).any(1)
    found = {f"largest error of logits; float32 on the CPU: {usual:.2g}": off}
    found["samples of other bits in smaller batches"] = int(batches.sum())
    found[f"predictions other than the CPU's, of {len(flipped)} outside ties"] = int(flipped.sum())
    for draw in (uniform_tensor, dense_tensor):
        pair = (draw("a", np.arange(1000), 101, device).cpu() for device in (x.device, "cpu"))
        found[f"{draw.__name__}: draws other than the CPU's"] = int(torch.ne(*pair).sum())
    return [{"off": value, "note": f"off: {words}"} for words, value in found.items()]


def networks(name: str, device: torch.device, small: bool) -> Iterator[Case]:
    """Yield what is done to a network: passes, noise, checks, gradients, a training step."""
    network, plain, x = model(name, device, small)
    few = x[:64] if isinstance(network, Network) else x[:2, :256]
    labels = torch.zeros(len(few), dtype=torch.int64, device=device)

    def against(case: str, ours: Work, peer: Work, name: str = "", times: float = 1.0) -> Case:
        read, words = (*network.state_dict().values(), x), {"peer": f"plain torch{name}"}
        return case, lambda: [timed(ours, peer, *read, times=times) | words]

    def louder(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0] + 0.3 * torch.randn_like(inputs[0])

    @torch.no_grad()
    def simply(*noisy: nn.Module) -> Tensor:
        hooks = [part.register_forward_pre_hook(louder) for part in noisy]
        found = torch.cat([plain(part).argmax(1) for part in x.split(64)])
        for hook in hooks:
            hook.remove()
        return found

    def attacked() -> None:
        site = Site(scale=torch.ones(x.shape[2], dtype=torch.float64, device=x.device))
        with Victim(network) as victim:
            target = Target(victim, few, labels, np.arange(len(few)), 0, Budget(0.1), site)
            BandPGD(2, 9, steps=2).attack(target)

    def slopes() -> None:
        leaf = few.clone().requires_grad_()
        torch.autograd.grad(nn.functional.cross_entropy(plain(leaf), labels), leaf)

    def step(network: Any) -> None:
        nn.functional.cross_entropy(network.train()(few), labels).backward()
        torch.optim.SGD(network.parameters(), 1e-9).step()

    def graph() -> list[Row]:
        own, recorded = program(network, x), torch.cuda.CUDAGraph()
        eager = partial(own.logits, x[: own.rows].clone())
        expected = eager()
        with torch.cuda.graph(recorded):
            values = eager()
        recorded.replay()
        same = {"off": int((values != expected).sum()), "note": "off: logits of other bits"}
        return [timed(recorded.replay, eager, x[: own.rows]) | same | {"peer": "no graph"}]

    bare, noisy = partial(logits, network, x), partial(at_strengths, network, x)
    yield against("bare pass", bare, simply)
    yield against("Fourier, input", partial(noisy, "input", Fourier(3), 1), partial(simply, plain))
    yield "checks", partial(checks, network, x)
    yield against("BandPGD, 2 steps", attacked, slopes, ", 2 gradients", 2.0)
    if not isinstance(network, Network):
        return
    for own in (Resonance(3.0), BandNoise(2, 9)):
        inside = partial(noisy, "layers", own, 1), partial(simply, *plain.ssm_layers())
        yield against(f"{type(own).__name__}, layers", *inside)
    if device.type == "cuda":
        yield "a block as a CUDA graph", graph
    if not small:
        yield against("bare pass", bare, torch.compile(simply), ", compiled")
    yield against("gradients and SGD", partial(step, network), partial(step, plain))


def cells(device: torch.device, small: bool) -> Iterator[Case]:
    """Yield whole sweeps of a sample: planning, storing and tables of cells."""

    def kept(count: int) -> list[Row]:
        began, eps = time.process_time(), np.linspace(0.01, 1.0, -(-count // 64)).tolist()
        sweep("s4d", modes=f"1-{min(64, count)}", eps=eps, limit=1)
        return [{"ours_ms": 1e3 * (time.process_time() - began) / count, "mib": peak_mib()}]

    for count in (4,) if small else (640, 6_400):
        yield f"each of {count} cells", partial(kept, count)


PARTS: Any = {"transfer": transfer, **{n: partial(networks, n) for n in SIZES}, "cells": cells}


def measure(part: str, device: torch.device, small: bool, output: Path | None) -> None:
    """Write the rows of a part; what fails is a row."""
    repeatable(device)
    with nullcontext() if device.type == "cuda" else one_thread():
        for case, work in PARTS[part](device, small):
            try:
                rows = work()
            except Exception as error:
                rows = [{"note": repr(error)[:200]}]
            for row in rows:
                append({"part": part, "case": case, **row}, COLUMNS, output)


@click.command(help=(__doc__ or "").replace("\n\n    python", "\n\n\b\n    python"))
@click.option("--device", default="auto", show_default=True, help="As torch names it, or auto.")
@click.option("--small", is_flag=True, help="Seconds of work: whether all of it runs.")
@click.option("--part", "parts", multiple=True, default=(*PARTS,), type=click.Choice([*PARTS]))
@output
def main(device: str, small: bool, parts: tuple[str], output: Path | None) -> None:
    """Print the rows of every part."""
    where = resolve_device(device)
    named = torch.cuda.get_device_name(where) if where.type == "cuda" else "one thread of a CPU"
    head = f"# python {' '.join(sys.argv)}; {named}, torch {torch.__version__}\n{COLUMNS}"
    click.echo(head)
    if output:
        output.write_text(f"{head}\n")
    for part in parts:
        with own_process() as process:
            try:
                process.submit(measure, part, where, small, output).result(SECONDS)
            except Exception as error:
                append({"part": part, "note": repr(error)[:200]}, COLUMNS, output)
                for one in (getattr(process, "_processes", None) or {}).values():
                    one.kill()


if __name__ == "__main__":
    main()
