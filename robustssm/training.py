"""Training: AdamW with cosine decay, a rate of its own for the dynamics, exact resume.

Randomness of an epoch (order of samples, dropout) is seeded by (seed, epoch) alone, so a run
that was interrupted after any epoch continues to the same bytes. On one CPU thread two runs of
the same command give the same file.

Settings follow the released robustness test of arXiv 2310.01698 (AdamW, rate 0.01, dynamics
0.001, weight decay 0.05 except on the dynamics, dropout 0.1).
"""

import hashlib
import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from robustssm.checkpoints.native import Card, save_checkpoint
from robustssm.errors import StabilityError, UsageError
from robustssm.execution import one_thread, versions
from robustssm.files import prepare, write_atomically
from robustssm.inference import accuracy
from robustssm.initializations import initialization
from robustssm.network import Architecture, Network, build_network
from robustssm.tasks import Task, load_task
from robustssm.typing import IntArray


@dataclass(frozen=True)
class TrainingConfig:
    """epochs; batch_size; lr and ssm_lr (peak rates); weight_decay (not on the dynamics).

    augment: text of the perturbation that training inputs undergo, empty for none.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 1e-2
    ssm_lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0
    augment: str = ""

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "lr", "ssm_lr"):
            if not getattr(self, key) > 0:
                raise UsageError(f"training: {key} is {getattr(self, key)}, expected > 0")
        for key in ("lr", "ssm_lr", "weight_decay"):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) >= 0.0):
                raise UsageError(
                    f"training: {key} is {getattr(self, key)}, expected a finite number >= 0"
                )
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"training: seed is {self.seed}, expected 0 to 2^63 - 1")


# (network, inputs, sample ids, seed of the epoch) -> the inputs to train on, while it is open.
Augment = Callable[[Network, Tensor, IntArray, int], AbstractContextManager[Tensor]]


def parameter_groups(network: Network, config: TrainingConfig) -> list[dict[str, object]]:
    """Return AdamW's two groups: the dynamics (A, B, P, dt) and everything else."""
    dynamics: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in network.parameters():
        if parameter.requires_grad:
            (dynamics if getattr(parameter, "ssm", False) else rest).append(parameter)
    return [
        {"params": rest, "peak": config.lr, "weight_decay": config.weight_decay},
        {"params": dynamics, "peak": config.ssm_lr, "weight_decay": 0.0},
    ]


def _epoch_seed(seed: int, epoch: int) -> int:
    return int.from_bytes(hashlib.sha256(f"epoch {seed} {epoch}".encode()).digest()[:7], "big")


def train(
    architecture: Architecture,
    task_spec: str,
    config: TrainingConfig,
    output: Path,
    *,
    command: str,
    report: Callable[[int, float, float], None] = lambda epoch, loss, accuracy: None,
    stop_after: int | None = None,
    augment: Augment | None = None,
    keep: Callable[[int, Network, Card], None] = lambda epoch, network, card: None,
) -> Card | None:
    """Train a network and write its checkpoint to `output`; return its card.

    Continues from `output` + ".state" where that exists (UsageError if it belongs to another
    run). `report(epoch, training loss, validation accuracy)` is called after every epoch.
    `keep(epochs done, network, card without accuracy)` is called before the first epoch (0) and
    after each, before the state is saved: what it writes is there whenever the state is.
    stop_after: end after so many epochs with the state saved, and return None. augment: what
    `config.augment` names, applied to every training batch.

    Samples that end early do so here as well: what is behind their end has no influence.

    Raises UsageError where the task has no labelled training samples, or does not fit the
    architecture; StabilityError where the loss is not finite, OSError before the first epoch where
    `output` cannot be written.
    """
    if bool(config.augment) != (augment is not None):
        raise UsageError("training: an augmentation and its text go together; give both")
    prepare(output)
    task = load_task(task_spec)
    _check_trainable(task, architecture, config)
    network = build_network(architecture, config.seed)
    if task.tokens is None:
        network.mean.copy_(torch.from_numpy(task.mean))
        network.std.copy_(torch.from_numpy(task.std))
    optimizer = torch.optim.AdamW(parameter_groups(network, config))
    identity = json.dumps(
        {
            "architecture": architecture.to_dict(),
            "config": asdict(config),
            "task": task.content_hash,
        },
        sort_keys=True,
    )
    state_path = output.with_name(output.name + ".state")
    first = _restore(state_path, identity, network, optimizer)
    card = Card(
        architecture=architecture.to_dict(),
        init_diagnostics=initialization(architecture.init, architecture.n).diagnostics,
        task=task.spec,
        task_hash=task.content_hash,
        train_seed=config.seed,
        training=asdict(config),
        clean_accuracy=None,
        n_test=len(task.splits["test"]),
        command=command,
        versions=versions(),
    )
    with one_thread():
        if first == 0:
            keep(0, network, card)
        for epoch in range(first, config.epochs):
            loss = _train_epoch(network, optimizer, task, config, epoch, augment)
            finite = all(bool(torch.isfinite(p).all()) for p in network.parameters())
            if not (finite and math.isfinite(loss)):
                what = "a weight is not finite" if math.isfinite(loss) else f"the loss is {loss}"
                raise StabilityError(
                    f"training: {what} after epoch {epoch + 1}; use a smaller --lr"
                )
            report(epoch, loss, accuracy(network, task.splits["validation"]))
            keep(epoch + 1, network, card)
            _save_state(state_path, identity, epoch + 1, network, optimizer)
            if stop_after is not None and epoch + 1 >= stop_after and epoch + 1 < config.epochs:
                return None
        clean_accuracy = accuracy(network, task.splits["test"])
    card = save_checkpoint(output, network, replace(card, clean_accuracy=clean_accuracy))
    state_path.unlink(missing_ok=True)
    return card


def _check_trainable(task: Task, architecture: Architecture, config: TrainingConfig) -> None:
    """Raise UsageError where a network of this architecture cannot learn from a task."""
    if architecture.tokens != (task.tokens or 0):
        raise UsageError(
            f"training: {task.spec} has {task.tokens or 'no'} tokens, the architecture "
            f"{architecture.tokens or 'none'}; give it tokens={task.tokens or 0}"
        )
    if task.tokens is not None and config.augment:
        raise UsageError(
            f"training: {task.spec} has tokens, which {config.augment} cannot be added to; drop "
            "the augmentation"
        )
    labels = task.splits["train"].labels
    if len(labels) == 0 or (labels == labels[0]).all():
        raise UsageError(
            f"training: {task.spec} has {len(labels)} training samples of one label or none; a "
            "file: task holds test samples only, take a task with a training split"
        )


def _train_epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    task: Task,
    config: TrainingConfig,
    epoch: int,
    augment: Augment | None,
) -> float:
    """Run one epoch; return the mean training loss."""
    split = task.splits["train"]
    inputs, labels = torch.from_numpy(split.inputs), torch.from_numpy(split.labels)
    lengths = None
    if split.lengths is not None:
        lengths = torch.from_numpy(split.lengths)
        # Causal layers do not look ahead, but the rounding of their FFTs does.
        valid = torch.arange(inputs.shape[1]) < lengths[:, None]
        inputs = torch.where(valid if task.tokens else valid[..., None], inputs, 0)
    total = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_epoch_seed(config.seed, epoch))
        network.train()
        batches = torch.randperm(len(split)).split(config.batch_size)
        for number, index in enumerate(batches):
            progress = (epoch + number / len(batches)) / config.epochs
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * 0.5 * (1.0 + math.cos(math.pi * progress))
            x, ids = inputs[index], split.sample_id[index.numpy()]
            if task.tokens is not None:
                x = network.embed(x)
            seed = _epoch_seed(config.seed, epoch)
            with augment(network, x, ids, seed) if augment else nullcontext(x) as given:
                ends = None if lengths is None else lengths[index]
                loss = nn.functional.cross_entropy(network(given, ends), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(index)
    network.eval()
    return total / len(split)


def _save_state(
    path: Path, identity: str, epoch: int, network: Network, optimizer: torch.optim.Optimizer
) -> None:
    tensors = {f"model.{k}": v.contiguous() for k, v in network.state_dict().items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v.clone() for k, v in slots.items()}
    metadata = {"identity": identity, "epoch": str(epoch)}
    write_atomically(path, save_tensors(tensors, metadata=metadata))


def _restore(path: Path, identity: str, network: Network, optimizer: torch.optim.Optimizer) -> int:
    """Load a saved state into both and return the epoch to go on with, 0 where none."""
    if not path.exists():
        return 0
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_tensors(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise UsageError(
            f"training: {path} is damaged ({error}); delete it to start over"
        ) from None
    if metadata.get("identity") != identity:
        raise UsageError(
            f"training: {path} belongs to a run with other settings or data; finish that run "
            "with its own command, or delete the file to start over"
        )
    network.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, number, slot = key.split(".")
            slots.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return int(metadata["epoch"])
