"""Training: AdamW with warm-up and cosine decay, a rate of its own for the dynamics, exact resume.

Randomness of an epoch (order of samples, dropout) is seeded by (seed, epoch) alone, so a run
that was interrupted after any epoch continues to the same bytes. On one CPU thread two runs of
the same command give the same file; on a GPU algorithms are those that torch calls deterministic.

Settings follow the released robustness test of arXiv 2310.01698 (AdamW, rate 0.01, dynamics
0.001, weight decay 0.05 except on the dynamics, dropout 0.1).
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from robustssm.checkpoints.cards import Card
from robustssm.checkpoints.native import save_checkpoint
from robustssm.errors import StabilityError, UsageError
from robustssm.execution import one_thread, repeatable, resolve_device, versions
from robustssm.hippo.initializations import initialization
from robustssm.networks.inference import accuracy
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.networks.program import keep_memory
from robustssm.storage.writing import locked, prepare
from robustssm.targets import Values
from robustssm.tasks import Task, load_task
from robustssm.training.config import TrainingConfig
from robustssm.training.objective import Batch, Objective, crest
from robustssm.training.state import Average, Best, averaged, moving_average, restore, save_state

__all__ = ["EpochRecord", "TrainingConfig", "adamw", "parameter_groups", "train"]


@dataclass(frozen=True)
class EpochRecord:
    """What is known of an epoch when it is done.

    epoch: from 1; steps: of the optimiser since the start of the run; loss: mean over the training
    samples; validation_accuracy: of values R2, of tokens the share of right ones, NaN if there is
    no such split; lr and ssm_lr: the rates of its last step; seconds: training and validation, the
    only thing in which equal runs differ.
    """

    epoch: int
    steps: int
    loss: float
    validation_accuracy: float
    lr: float
    ssm_lr: float
    seconds: float
    robust_validation: float = math.nan


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


def adamw(network: Network, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a training: AdamW, all parameters in one pass."""
    return torch.optim.AdamW(parameter_groups(network, config), fused=True)


def train(
    architecture: Architecture,
    task_spec: str,
    config: TrainingConfig,
    output: Path,
    *,
    command: str,
    stop_after: int | None = None,
    objective: Objective | None = None,
    keep: Callable[[int, Network, Card], None] = lambda epoch, network, card: None,
    logs: Sequence[Callable[[int], Callable[[EpochRecord], None]]] = (),
    start: Network | None = None,
) -> Card | None:
    """Train a network and write its checkpoint to `output`; return its card.

    Continues from `output` + ".state" if that exists (UsageError if it belongs to another
    run). `keep(epochs done, network, card without accuracy)` is called before the first epoch
    (0) and after each, before the state is saved: what it writes is there whenever the state is.
    stop_after: end after so many epochs with the state saved, and return None. objective: what
    `config.augment` or `config.adversary` names, ordinary training if neither does. Each of logs is
    called once with the epochs done before, and returns what takes every epoch's record, before the
    state is saved. start: the network of this architecture that `config.start` names, whose weights
    training begins with.
    With `config.ema` the network that is validated, kept and saved is the average.

    If the objective has a robust score, the weights of its highest validation value are written to
    `output`, those of the last epoch to `last(output)`, both with both values on the card.

    Samples that end early do so here as well: what is behind their end has no influence.

    Raises UsageError if another run is writing the same file, the task has no labelled training
    samples or does not fit the architecture, the device is not there, or the warm-up takes the
    whole run; StabilityError where the loss is not finite, OSError before the first epoch where
    `output` cannot be written.
    """
    if bool(config.augment or config.adversary) != (objective is not None):
        raise UsageError(
            "training: an augmentation or adversary and its text go together; give both"
        )
    if bool(config.start) != (start is not None):
        raise UsageError("training: a network to start from and its hash go together; give both")
    device = resolve_device(config.device)
    repeatable(device)
    prepare(output)
    task = load_task(task_spec)
    _check_trainable(task, architecture, config)
    batches = math.ceil(len(task.splits["train"]) / config.batch_size)
    config.check_steps(batches)
    network = build_network(architecture, config.seed)
    network.standardise(task)
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(device)
    config.check_precision(device)
    optimizer = adamw(network, config)
    average = moving_average(network, config)
    judged, best = averaged(network, average), Best()
    objective = objective or Objective()
    if config.penalty:
        loss_of, L = objective.loss, task.length
        objective = replace(
            objective, loss=lambda b: loss_of(b) + config.penalty * crest(b.network, L)
        )
    facts = {"architecture": architecture.to_dict(), "config": config.to_dict()}
    identity = json.dumps({**facts, "task": task.content_hash}, sort_keys=True)
    state_path = output.with_name(output.name + ".state")
    lock = output.with_name(f".{output.name}.lock")
    keep_memory()
    busy = f"training: another run is writing {output}; wait for its end, or name another file"
    with locked(lock, busy, passing=True), one_thread():
        first = restore(state_path, identity, network, optimizer, average, best)
        takes = [log(first) for log in logs]
        card = Card(
            architecture=architecture.to_dict(),
            init_diagnostics=initialization(architecture.init, architecture.n).diagnostics,
            task=task.spec,
            task_hash=task.content_hash,
            train_seed=config.seed,
            training=config.to_dict(),
            clean_accuracy=None,
            n_test=len(task.splits["test"]),
            command=command,
            versions=versions(),
        )
        if first == 0:
            keep(0, judged, card)
        for epoch in range(first, config.epochs):
            began = time.perf_counter()
            loss = _train_epoch(network, optimizer, task, config, epoch, objective, average)
            finite = all(bool(torch.isfinite(p).all()) for p in network.parameters())
            if not (finite and math.isfinite(loss)):
                what = "a weight is not finite" if math.isfinite(loss) else f"the loss is {loss}"
                raise StabilityError(
                    f"training: {what} after epoch {epoch + 1}; use a smaller --lr"
                )
            validated = accuracy(judged, task.splits["validation"], task.kind)
            due = (epoch + 1) % config.robust_every == 0 or epoch + 1 == config.epochs
            robust = objective.robust(judged) if due else math.nan
            best.take(epoch + 1, robust, task.kind.sign, judged)
            rest, dynamics = (float(group["lr"]) for group in optimizer.param_groups)
            seconds = time.perf_counter() - began
            steps = (epoch + 1) * batches
            record = EpochRecord(epoch + 1, steps, loss, validated, rest, dynamics, seconds, robust)
            for take in takes:
                take(record)
            keep(epoch + 1, judged, card)
            save_state(state_path, identity, epoch + 1, network, optimizer, average, best)
            if stop_after is not None and epoch + 1 >= stop_after and epoch + 1 < config.epochs:
                return None
        card = replace(card, training=card.training | best.facts)
        for path in (last(output), output) if best.facts else (output,):
            if path == output and best.facts:
                judged.load_state_dict(best.weights)
            clean = accuracy(judged, task.splits["test"], task.kind)
            saved = save_checkpoint(path, judged, card.measured(task.kind, clean))
        state_path.unlink(missing_ok=True)
    return saved


def last(output: Path) -> Path:
    """Return where the weights of the last epoch are written if others are better."""
    return output.with_name(f"{output.stem}.last{output.suffix}")


def _check_trainable(task: Task, architecture: Architecture, config: TrainingConfig) -> None:
    if architecture.tokens != (task.tokens or 0):
        raise UsageError(
            f"training: {task.spec} has {task.tokens or 'no'} tokens, the architecture "
            f"{architecture.tokens or 'none'}; give it tokens={task.tokens or 0}"
        )
    if (architecture.target, architecture.d_output) != (task.kind.name, task.classes):
        raise UsageError(
            f"training: {task.spec} has {task.classes} {task.kind.name or 'classes'}, the "
            f"architecture {architecture.d_output} {architecture.target or 'classes'}"
        )
    if task.tokens is not None and (added := config.augment or config.adversary):
        raise UsageError(
            f"training: {task.spec} has tokens, which {added} cannot be added to; drop it"
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
    objective: Objective,
    average: Average | None,
) -> float:
    """Run one epoch; return the mean training loss."""
    split = task.splits["train"]
    inputs, labels = torch.from_numpy(split.inputs), torch.from_numpy(split.labels)
    labels = labels.float() if isinstance(task.kind, Values) else labels
    lengths = None
    if split.lengths is not None:
        lengths = torch.from_numpy(split.lengths)
        # Causal layers do not look ahead, but the rounding of their FFTs does.
        valid = torch.arange(inputs.shape[1]) < lengths[:, None]
        inputs = torch.where(valid if task.tokens else valid[..., None], inputs, 0)
    digest = hashlib.sha256(f"epoch {config.seed} {epoch}".encode()).digest()
    total, seed = 0.0, int.from_bytes(digest[:7], "big")
    device = network.mean.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network.train()
        batches = torch.randperm(len(split)).split(config.batch_size)
        for number, batch in enumerate(batches):
            done = (epoch + number / len(batches)) / config.epochs
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * config.factor(epoch, number, len(batches))
            optimizer.zero_grad(set_to_none=True)
            for index in batch.tensor_split(min(config.accumulate, len(batch))):
                ends = None if lengths is None else lengths[index]
                # Steps behind the end of the batch's longest sample cost time and change nothing.
                longest = inputs.shape[1] if ends is None else int(ends.max())
                x, ids = inputs[index, :longest].to(device), split.sample_id[index.numpy()]
                if task.tokens is not None:
                    x = network.embed(x)
                own, reduced = labels[index].to(device), config.precision != "float32"
                own = own[:, :longest] if task.kind.every_step else own
                part = Batch(network, x, own, ids, task.kind, seed, done, ends, reduced)
                loss = objective.loss(part)
                (loss * (len(index) / len(batch))).backward()
                total += float(loss.detach()) * len(index)
            if config.clip:
                nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimizer.step()
            if average is not None:
                average.update_parameters(network)
    network.eval()
    return total / len(split)
