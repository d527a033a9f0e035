"""Throughput of a sweep of Fourier modes against the plain loop, and against bare forward passes.

    python benchmarks/sweep.py            # both settings, about 15 minutes
    python benchmarks/sweep.py zoo 2      # one setting, 2 repetitions

Milliseconds a sample and mode; 64 modes at one strength, so that they times 64 times the samples
are a sweep. What is compared:

- bare: the evaluation program on the same number of samples, nothing else;
- sweep: the whole of it, planning apart: noise, forward, what was delivered, rows, files;
- two processes: the same sweep with two workers, which are there already (what starting them
  takes is printed as well);
- plain, network: a user's loop over modes and batches of 64 of a DataLoader, the noise added in
  float32, one call of the network, argmax. Kernels are those that the layers keep by themselves.
- plain, kernels rebuilt: the same, the layers' kept kernels dropped before each call;
- plain, reference kernels: the same, and each kernel is the sum that the reference code of S4D
  (state-spaces/s4, models/s4/s4d.py) computes in every call: all exponentials, in complex64. It is
  what users of that code have.

One thread each, and `plain` once more with torch's own number of threads. A plain loop runs in a
process of its own, as a user's does: whether the C library keeps freed memory there, or fetches it
page by page from the system for every batch, decides a third of its time. Everything is repeated
in turn. Where one thread is compared with one thread it is by processor time, which other work on
the machine disturbs less; the rest is wall time. Medians, and minima beside them.
"""

import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import resolve
from robustssm.checkpoints.native import Card, save_checkpoint
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.execution import one_thread
from robustssm.layers import S4D
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, build_network
from robustssm.tasks import load_task

EPS, BATCH, MODES = 0.3, 64, 64
_TWO = "two processes"
# What a plain loop does about kernels.
KEPT, REBUILT, REFERENCE = range(3)


# Seconds of wall time and of processor time.
Seconds = tuple[float, float]


def clock() -> Seconds:
    """Return both clocks of this process."""
    return time.perf_counter(), time.process_time()


def since(start: Seconds) -> Seconds:
    """Return what has passed on both."""
    now = clock()
    return now[0] - start[0], now[1] - start[1]


@dataclass(frozen=True)
class Setting:
    """A model and its data; some: how many modes a plain loop is timed on."""

    name: str
    title: str
    task: str
    limit: int | None
    some: int


SETTINGS = (
    Setting("zoo", "zoo s4d: width 32, 3 layers, length 256, 539 samples", "digits", None, 8),
    Setting("s5", "zoo s5: width 32, 3 layers, length 256, 539 samples", "digits", None, 8),
    Setting("wide", "s4d: width 128, 4 layers, length 1024, 64 samples", "digits:side=32", 64, 2),
)


def checkpoint(setting: Setting, folder: Path) -> Path:
    """Return the setting's checkpoint; the wide network is untrained."""
    if setting.name != "wide":
        return zoo_path("s4d" if setting.name == "zoo" else "s5", 0)
    architecture = Architecture("s4d", d_model=128, layers=4)
    task, path = load_task(setting.task), folder / "wide.safetensors"
    card = Card(
        architecture=asdict(architecture),
        init_diagnostics={},
        task=task.spec,
        task_hash=task.content_hash,
        train_seed=0,
        training={},
        clean_accuracy=0.0,
        n_test=len(task.splits["test"]),
        command="benchmarks/sweep.py",
    )
    save_checkpoint(path, build_network(architecture), card)
    return path


def reference_kernel(layer: S4D, L: int) -> Tensor:
    """Return the kernel (1, d, L) as the reference code of S4D computes it."""
    A = torch.complex(-torch.exp(layer.log_neg_real), layer.imag)
    C, B = (torch.view_as_complex(pair) for pair in (layer.C, layer.B))
    z = A * torch.exp(layer.log_dt)[:, None]
    exponentials = torch.exp(z[..., None] * torch.arange(L))
    weights = C * B * (torch.exp(z) - 1) / A
    return 2 * torch.einsum("hn,hnl->hl", weights, exponentials).real[None]


def plain_loop(path: str, name: str, threads: int) -> None:
    """Answer each line `modes kernels` of the standard input with seconds and page faults."""
    if threads:
        torch.set_num_threads(threads)
    setting = next(setting for setting in SETTINGS if setting.name == name)
    network = load_checkpoint(Path(path)).network.eval()
    task = load_task(setting.task)
    split = task.splits["test"].first(setting.limit)
    data = TensorDataset(torch.from_numpy(split.inputs), torch.from_numpy(split.labels))
    amplitude = EPS * float(task.std[0]) * math.sqrt(2.0)
    t = torch.arange(task.length)[None, :, None]
    for line in sys.stdin:
        modes, kernels = map(int, line.split())
        for layer in network.ssm_layers():
            own = type(layer).kernels if kernels < REFERENCE else reference_kernel
            layer.kernels = own.__get__(layer)  # type: ignore[method-assign]
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = clock()
        for k in range(1, modes + 1):
            correct = 0
            for x, labels in DataLoader(data, batch_size=BATCH):
                if kernels >= REBUILT:
                    for layer in network.ssm_layers():
                        layer._operators.clear()
                phase = 2.0 * math.pi * torch.rand(len(x), 1, 1)
                noisy = x + amplitude * torch.cos(2.0 * math.pi * k * t / task.length + phase)
                with torch.no_grad():
                    correct += int((network(noisy).argmax(1) == labels).sum())
        seconds = since(start)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        print(*seconds, faults / (modes * len(split)), flush=True)


class Plain:
    """A process that runs plain loops; faults: pages that the last one got, a sample and mode."""

    def __init__(self, path: Path, setting: Setting, threads: int) -> None:
        command = [sys.executable, __file__, "plain", str(path), setting.name, str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.faults = 0.0

    def seconds(self, modes: int, kernels: int) -> Seconds:
        """Return what a loop over modes 1 to `modes` takes; kernels: KEPT, REBUILT, REFERENCE."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(modes, kernels, file=self._process.stdin, flush=True)
        wall, processor, self.faults = map(float, self._process.stdout.readline().split())
        return wall, processor

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def swept(plan: Plan, folder: Path, jobs: int) -> Seconds:
    """Return the seconds of a sweep into an empty directory."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        run = RunDirectory(Path(own) / "run")
        run.open(plan, [])
        start = clock()
        errors = run_sweep(plan, run, Execution(jobs=jobs)).errors
        seconds = since(start)
    assert errors == {}
    return seconds


def measure(setting: Setting, folder: Path, repetitions: int) -> dict[str, list[Seconds]]:
    """Return milliseconds a sample and mode of everything compared, one pair a repetition."""
    path = checkpoint(setting, folder)
    plan = make_plan(
        resolve(f"model={path}"), Noise("fourier", modes=f"1-{MODES}", eps=(EPS,)),
        limit=setting.limit,
    )  # fmt: skip
    split = plan.task.splits["test"].first(setting.limit)
    network, x = load_checkpoint(path).network, torch.from_numpy(split.inputs)
    samples = len(split)
    one, default = Plain(path, setting, 1), Plain(path, setting, 0)

    def bare() -> Seconds:
        start = clock()
        with one_thread():
            for _ in range(setting.some):
                logits(network, x)
        return since(start)

    some, whole = setting.some, len(plan.cells)
    few = max(1, some // 4)
    ways: dict[str, tuple[Callable[[], Seconds], int]] = {
        "bare": (bare, some),
        "sweep": (lambda: swept(plan, folder, 1), whole),
        "plain, network": (lambda: one.seconds(some, KEPT), some),
        "plain, kernels rebuilt": (lambda: one.seconds(few, REBUILT), few),
        "plain, reference kernels": (lambda: one.seconds(few, REFERENCE), few),
        _TWO: (lambda: swept(plan, folder, 2), whole),
        "plain, network, own threads": (lambda: default.seconds(some, KEPT), some),
        "plain, kernels rebuilt, own threads": (lambda: default.seconds(few, REBUILT), few),
        "plain, reference, own threads": (lambda: default.seconds(few, REFERENCE), few),
    }
    first, second = swept(plan, folder, 2), swept(plan, folder, 2)
    print(f"starting two processes takes {first[0] - second[0]:.1f} s more", flush=True)
    for way, _ in ways.values():
        way()
    times: dict[str, list[Seconds]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, (way, modes) in ways.items():
            wall, processor = (1e3 * value / (modes * samples) for value in way())
            times[name].append((wall, processor))
    one.seconds(1, KEPT)
    print(f"  the plain loop gets {one.faults:.0f} new pages of memory a sample", flush=True)
    one.close()
    default.close()
    return times


def show(times: dict[str, list[Seconds]]) -> None:
    """Print the table and the ratios."""
    for name, pairs in times.items():
        wall, processor = ([pair[k] for pair in pairs] for k in (0, 1))
        ours = "" if name == _TWO else f"; of a processor {statistics.median(processor):9.4f} ms"
        ours += "" if name == _TWO else f", least {min(processor):9.4f} ms"
        print(f"  {name:36s} {statistics.median(wall):9.4f} ms, least {min(wall):9.4f} ms{ours}")
    for title, top, bottom, by in (
        ("sweep over bare: overhead", "sweep", "bare", 1),
        ("one thread, network: times faster", "plain, network", "sweep", 1),
        ("one thread, kernels rebuilt: times faster", "plain, kernels rebuilt", "sweep", 1),
        ("one thread, reference kernels: times faster", "plain, reference kernels", "sweep", 1),
        ("two processes: times one", "sweep", _TWO, 0),
        ("own threads, network: two times faster", "plain, network, own threads", _TWO, 0),
        ("own threads, rebuilt: two times faster", "plain, kernels rebuilt, own threads", _TWO, 0),
        ("own threads, reference: two times faster", "plain, reference, own threads", _TWO, 0),
    ):
        above, below = ([pair[by] for pair in times[name]] for name in (top, bottom))
        ratios = [a / b for a, b in zip(above, below, strict=True)]
        print(
            f"  {title:48s} {statistics.median(ratios):6.2f} (of minima "
            f"{min(above) / min(below):.2f})",
            flush=True,
        )


def main(only: str = "", repetitions: int = 5) -> None:
    """Print the times of every setting, or of one."""
    for setting in SETTINGS:
        if only in ("", setting.name):
            with tempfile.TemporaryDirectory() as folder:
                print(f"{setting.title}; {torch.get_num_threads()} threads by torch's choice")
                show(measure(setting, Path(folder), repetitions))


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["plain"]:
        plain_loop(words[1], words[2], int(words[3]))
    else:
        main(words[0] if words else "", int(words[1]) if len(words) > 1 else 5)
