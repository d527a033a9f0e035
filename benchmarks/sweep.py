"""Throughput of a sweep of Fourier modes against the plain loop, and against bare forward passes.

    python benchmarks/sweep.py            # all settings, about 20 minutes
    python benchmarks/sweep.py zoo 2      # one setting, 2 repetitions

Milliseconds per sample and cell; 64 modes at one strength are a sweep. What is compared:

- bare: the evaluation program on the same number of samples, nothing else;
- sweep: the whole of it, planning apart: noise, forward, what was delivered, rows, files;
- several processes: the same sweep with two workers (--jobs);
- at layers: sweeps of six strengths of some perturbations (benchmarks/noise.py: of all);
- plain, network: a user's loop over modes and batches of 64 of a DataLoader, the noise added in
  float32, one call of the network, argmax. Kernels are those that the layers keep by themselves.
- plain, kernels rebuilt: the same, the layers' kept kernels dropped before each call;
- plain, reference kernels: the same, and each kernel is the sum that the reference code of S4D
  (state-spaces/s4, models/s4/s4d.py) computes in every call: all exponentials, in complex64. S5
  has no such sum, so that its setting leaves this row out.

One thread each, and `plain` once more with torch's own number of threads. A plain loop runs in a
process of its own, as a user's does: whether the C library keeps freed memory there, or fetches it
page by page from the system for every batch, decides a third of its time. All in turn; one thread
against one thread by processor time, the rest by wall time. Medians, and minima beside them.
"""

import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import click
import numpy as np
import torch
from timing import Work, output, own_process, save
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import resolve
from robustssm.checkpoints.native import save_checkpoint, unknown_checkpoint
from robustssm.commands.terminal import Table, note, show, written
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.execution import one_thread
from robustssm.layers import S4D
from robustssm.layers.kept import forget
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.tasks import load_task
from robustssm.typing import FloatArray

EPS, BATCH = 0.3, 64
# What a plain loop does about kernels.
KERNELS = ("network", "kernels rebuilt", "reference kernels")
OWN = ", own threads"
BARE, SWEEP, MANY = "bare", "sweep", "several processes"
INNER = " at layers"
INSIDE = ("resonance", "MultiTone((5, 23, 71))", "ColouredNoise(1)", "LowPass(30)")
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
# What times are pairs of: on the clock, and of a processor.
WALL, PROCESSOR = 0, 1


@dataclass(frozen=True)
class Setting:
    """A model and its data; some: how many modes a plain loop is timed on."""

    init: str
    title: str
    task: str
    limit: int | None
    some: int


SETTINGS = {
    "zoo": Setting("s4d", "zoo s4d: width 32, 3 layers, length 256", "digits", None, 8),
    "s5": Setting("s5", "zoo s5: width 32, 3 layers, length 256", "digits", None, 8),
    "wide": Setting("s4d", "s4d: width 128, 4 layers, length 1024", "digits:side=32", 64, 2),
}


def wide_checkpoint(path: Path) -> Path:
    """Write an untrained network of four layers of 128 channels."""
    network = build_network(Architecture("s4d", d_model=128, layers=4))
    save_checkpoint(path, network, unknown_checkpoint(network, {}, ()).card)
    return path


def reference_kernel(layer: S4D, L: int) -> Tensor:
    """Return the kernel (1, d, L) as the reference code of S4D computes it."""
    A = torch.complex(-torch.exp(layer.log_neg_real), layer.imag)
    C, B = (torch.view_as_complex(pair) for pair in (layer.C, layer.B))
    z = A * torch.exp(layer.log_dt)[:, None]
    exponentials = torch.exp(z[..., None] * torch.arange(L))
    weights = C * B * (torch.exp(z) - 1) / A
    return 2 * torch.einsum("hn,hnl->hl", weights, exponentials).real[None]


def seconds(work: Work) -> FloatArray:
    """Do some work; return its seconds on the clock, and of a processor."""
    start = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - start


@cache
def loaded(path: Path) -> Network:
    """Return the network of a checkpoint, which keeps its kernels from one loop to the next."""
    return load_checkpoint(path).own


def prepare(network: Network, kernels: str) -> None:
    """Let the layers make their kernels as one of KERNELS says."""
    for layer in network.ssm_layers():
        vars(layer).pop("kernels", None)
        if kernels == KERNELS[2]:
            assert isinstance(layer, S4D)
            layer.kernels = partial(reference_kernel, layer)  # type: ignore[method-assign]


def plain_loop(
    path: Path, setting: Setting, modes: int, kernels: str, threads: int
) -> tuple[FloatArray, float]:
    """Return what a loop over modes 1 to `modes` takes, and new pages of memory per sample."""
    torch.set_num_threads(threads)
    network = loaded(path)
    prepare(network, kernels)
    task = load_task(setting.task)
    split = task.splits["test"].first(setting.limit)
    data = TensorDataset(torch.from_numpy(split.inputs), torch.from_numpy(split.labels))
    amplitude = EPS * float(task.std[0]) * math.sqrt(2.0)
    t = torch.arange(task.length)[None, :, None]

    def loop() -> None:
        for k in range(1, modes + 1):
            correct = 0
            for x, labels in DataLoader(data, batch_size=BATCH):
                if kernels != KERNELS[0]:
                    for layer in network.ssm_layers():
                        forget(layer)
                phase = 2.0 * math.pi * torch.rand(len(x), 1, 1)
                noisy = x + amplitude * torch.cos(2.0 * math.pi * k * t / task.length + phase)
                with torch.no_grad():
                    correct += int((network(noisy).argmax(1) == labels).sum())

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    taken = seconds(loop)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return taken, faults / (modes * len(split))


def swept(plan: Plan, jobs: int) -> FloatArray:
    """Return what a sweep into an empty directory takes."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "run")
        taken = seconds(partial(run_sweep, plan, run, Execution(jobs=jobs)))
        assert run.state(plan.unique).to_compute(True) == []
    return taken


def measure(
    path: Path, setting: Setting, modes: int, jobs: int, repetitions: int
) -> dict[str, list[FloatArray]]:
    """Return milliseconds per sample and cell of all that is compared, in turn."""
    noise = Noise("fourier", modes=f"1-{modes}", eps=(EPS,))
    refs = resolve(f"model={path}")
    plan = make_plan(refs, noise, task=setting.task, limit=setting.limit)
    split = plan.task.splits["test"].first(setting.limit)
    network, x = load_checkpoint(path).network, torch.from_numpy(split.inputs)
    some, faults = min(setting.some, modes), 0.0
    few = max(1, some // 4)

    def bare() -> None:
        with one_thread():
            for _ in range(some):
                logits(network, x)

    def plain(process: Executor, count: int, kernels: str, threads: int) -> FloatArray:
        nonlocal faults
        work = process.submit(plain_loop, path, setting, count, kernels, threads)
        taken, faults = work.result()
        return taken

    ways: dict[str, tuple[Callable[[], FloatArray], int]] = {
        BARE: (partial(seconds, bare), some),
        SWEEP: (partial(swept, plan, 1), len(plan.cells)),
    }
    if jobs > 1:
        ways[MANY] = (partial(swept, plan, jobs), len(plan.cells))
    for name in INSIDE:
        inner = Noise(name, eps=STRENGTHS, inject="layers")
        within = make_plan(refs, inner, task=setting.task, limit=setting.limit)
        ways[name + INNER] = (partial(swept, within, 1), len(within.cells))
    with own_process() as one, own_process() as free:
        for process, threads, mark in ((one, 1, ""), (free, torch.get_num_threads(), OWN)):
            for kernels in KERNELS if setting.init == "s4d" else KERNELS[:2]:
                count = some if kernels == KERNELS[0] else few
                work = partial(plain, process, count, kernels, threads)
                ways[f"plain, {kernels}{mark}"] = (work, count)
        times: dict[str, list[FloatArray]] = {name: [] for name in ways}
        for number in range(-1, repetitions):  # the first time is not counted
            for name, (way, count) in ways.items():
                each = 1e3 * way() / (count * len(split))
                if number >= 0:
                    times[name].append(each)
        plain(one, 1, KERNELS[0], 1)
    note(f"the plain loop gets {faults:.0f} new pages of memory per sample")
    return times


def print_times(title: str, times: dict[str, list[FloatArray]]) -> list[dict[str, str | float]]:
    """Print the times, and the ratios that the times are taken for; return these."""
    rows = []
    for name, taken in times.items():
        cells = [f"{f(v):.4f}" for v in np.transpose(taken) for f in (statistics.median, min)]
        # What workers compute is none of this process's processor time.
        rows.append([name, *cells[:2], *(("-", "-") if name == MANY else cells[2:])])
    columns = ["milliseconds", "median", "least", "of a processor", "least of a processor"]
    show("table", written(title, columns, rows))
    pairs = [("sweep over bare: overhead", SWEEP, BARE, PROCESSOR)]
    pairs += [(f"{name} over bare", name, BARE, PROCESSOR) for name in times if INNER in name]
    for kernels in KERNELS:
        plain = f"plain, {kernels}"
        pairs += [(f"one thread, {kernels}: times faster", plain, SWEEP, PROCESSOR)]
        pairs += [(f"own threads, {kernels}: {MANY} faster", plain + OWN, MANY, WALL)]
    pairs += [(f"{MANY}: times one", SWEEP, MANY, WALL)]
    ratios: list[dict[str, str | float]] = []
    for label, top, bottom, clock in pairs:
        if top not in times or bottom not in times:
            continue
        above, below = (np.array(times[name])[:, clock] for name in (top, bottom))
        ratio = statistics.median(above / below)
        ratios.append({"what": label, "median": ratio, "of_minima": min(above) / min(below)})
    numbers = ("median", "median", ".2f"), ("of minima", "of_minima", ".2f")
    show("table", Table("ratios", ratios, [("", "what", ""), *numbers]))
    return ratios


@click.command(help=__doc__)
@click.argument("setting", type=click.Choice(["all", *SETTINGS]), default="all")
@click.argument("repetitions", type=click.IntRange(1), default=5)
@click.option("--modes", default=64, show_default=True, type=click.IntRange(1))
@click.option("--limit", type=click.IntRange(1), help="Samples.  [default: as the setting says]")
@click.option("--jobs", default=2, show_default=True, help="Workers; 1 leaves that row out.")
@output
def main(
    setting: str,
    repetitions: int,
    modes: int,
    limit: int | None,
    jobs: int,
    output: Path | None,
) -> None:
    """Print the times of every setting, or of one."""
    rows: list[dict[str, str | float]] = []
    for name in SETTINGS if setting == "all" else [setting]:
        chosen = replace(SETTINGS[name], limit=limit or SETTINGS[name].limit)
        with tempfile.TemporaryDirectory() as folder:
            wide = name == "wide"
            path = Path(folder) / "wide.safetensors"
            path = wide_checkpoint(path) if wide else zoo_path(chosen.init, 0)
            times = measure(path, chosen, modes, jobs, repetitions)
            rows += [{"network": name, **row} for row in print_times(chosen.title, times)]
    call = f"python benchmarks/sweep.py {setting} {repetitions}"
    save(output, f"{call}: ratios of the times of pieces of work that run in turn", rows)


if __name__ == "__main__":
    main()
