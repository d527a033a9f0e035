"""Trainings that reproductions share: the network of every epoch as a checkpoint, made once.

A training is named by its content, so reproductions that ask for the same one find the same files.
One that was killed goes on after its last whole epoch and ends in the same bytes.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from robustssm.checkpoints import Card
from robustssm.checkpoints.native import save_checkpoint
from robustssm.errors import UsageError
from robustssm.evaluations.paper.reproduction import Reproduction, Settings
from robustssm.execution import sealed
from robustssm.networks.network import Architecture, Network
from robustssm.tasks import load_task
from robustssm.training.loop import TrainingConfig, train

FOLDER = "trainings"


@dataclass(frozen=True)
class Training:
    """A network trained on a task; fields as in `TrainingConfig` and `Architecture`."""

    init: str
    seed: int
    epochs: int
    task: str = "digits"
    ssm_lr: float = 1e-3
    lr: float = 1e-2
    n: int = 32
    d_model: int = 32
    layers: int = 3
    batch_size: int = 64

    def identity(self) -> str:
        """Return 12 hex digits of the settings and of the task's content.

        The batch size came later and is left out where it is what it was, so that names stay.
        """
        content = asdict(self) | {"data": load_task(self.task).content_hash}
        if self.batch_size == Training.batch_size:
            del content["batch_size"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def folder(self, shared: Path) -> Path:
        """Return where its checkpoints lie."""
        name = self.init.replace(":", "-").replace("=", "")
        return shared / FOLDER / f"{name}-{self.seed}-{self.identity()}"

    def paths(self, shared: Path) -> list[Path]:
        """Return the checkpoints after 0, 1, ..., `epochs` epochs; the first is untrained."""
        folder = self.folder(shared)
        return [folder / f"epoch-{epoch:03d}.safetensors" for epoch in range(self.epochs + 1)]


def asked_for(settings: Any, runs: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[Training]:
    """Return the trainings of a reproduction; runs: init, seed, and epochs and ssm_lr of each."""
    common = {key: settings[key] for key in ("task", "n", "d_model", "layers")}
    return [
        Training(init, seed, int(of["epochs"]), ssm_lr=float(of["ssm_lr"]), **common)
        for init, seed, of in runs
    ]


def in_processes(
    work: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int
) -> list[Any]:
    """Return what `work` makes of each tuple of arguments, in up to `jobs` processes."""
    with sealed():
        parallel = joblib.Parallel(n_jobs=min(jobs, len(calls)) or 1)
        return list(parallel(joblib.delayed(work)(*call) for call in calls))


def snapshots(
    trainings: Sequence[Training], shared: Path, jobs: int = 1
) -> dict[Training, list[Path]]:
    """Return the checkpoints of every epoch of each training; train what is not there yet.

    shared: folder that reproductions share; jobs: processes, a training each. Numbers do not depend
    on them. Raises what `robustssm.training.loop.train` raises.
    """
    todo = [one for one in dict.fromkeys(trainings) if not _done(one, shared).exists()]
    in_processes(_train, [(one, shared) for one in todo], jobs)
    return {one: one.paths(shared) for one in trainings}


def trained(trainings: Sequence[Training], shared: Path, jobs: int = 1) -> dict[Training, Path]:
    """Return the checkpoint of each training's end, without those of its epochs; else as above."""
    paths = {one: one.folder(shared) / "end.safetensors" for one in trainings}
    todo = [(one, path) for one, path in paths.items() if not path.exists()]
    in_processes(_run, todo, jobs)
    return paths


def other_data(reproductions: Sequence[Reproduction], spec: str) -> Settings:
    """Return the settings by which reproductions use other data: the task, and its content hash.

    The hash makes other steps of other data in the same file. Raises UsageError, which names them,
    for reproductions without a `task` setting, and for data that the networks cannot be trained on.
    """
    without = [
        reproduction.name for reproduction in reproductions if "task" not in reproduction.full
    ]
    if without:
        raise UsageError(
            f"reproduce: --data is not for {', '.join(without)}, which uses no task; leave it out, "
            "or name one that trains"
        )
    task = load_task(spec)
    if task.tokens is not None:
        raise UsageError(
            f"reproduce: {task.spec} holds tokens, expected sequences of numbers, since networks "
            "are trained without an embedding; name other data by --data"
        )
    if len(np.unique(task.splits["train"].labels)) < 2:
        raise UsageError(
            f"reproduce: {task.spec} has no labelled training samples, expected a task to train on "
            "(file:... holds test samples only); name other data by --data"
        )
    return {"task": task.spec, "task_hash": task.content_hash}


def _done(training: Training, shared: Path) -> Path:
    """Return the file that is written last."""
    return training.folder(shared) / "trained.safetensors"


def _train(training: Training, shared: Path) -> None:
    if _done(training, shared).exists():  # another process was quicker
        return
    paths = training.paths(shared)

    def keep(epoch: int, network: Network, card: Card) -> None:
        save_checkpoint(paths[epoch], network, card)

    _run(training, _done(training, shared), keep=keep)


def _run(training: Training, output: Path, **options: Any) -> None:
    task = load_task(training.task)
    settings = ("epochs", "lr", "ssm_lr", "seed", "batch_size")
    config = TrainingConfig(**{name: getattr(training, name) for name in settings})
    architecture = Architecture.for_task(
        training.init, task, n=training.n, d_model=training.d_model, layers=training.layers
    )
    command = "robustssm reproduce"
    train(architecture, training.task, config, output, command=command, **options)
