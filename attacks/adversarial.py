"""Adversarial training: an adversary attacks every batch that a network is trained on.

The attack is on the network in evaluation mode (no dropout, running statistics), as in the code of
both papers; the loss of what it finds is taken in training mode. A sample's draws are a function of
the seed, the epoch and its id.

References: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks (arXiv
1706.06083), equation (2.1), for `pgd`; Zhang et al., Theoretically Principled Trade-off between
Robustness and Accuracy (arXiv 1901.08573), algorithm 1, for `trades`.
"""

import time
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from robustssm.attacks.adversaries import Adversary, Target, Victim
from robustssm.attacks.adversaries.table import ADVERSARIES
from robustssm.attacks.augmentation import Augmentation
from robustssm.attacks.base import input_site
from robustssm.attacks.expressions import make_budget, parse_expression
from robustssm.errors import UsageError
from robustssm.execution import one_thread
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.targets import CLASSES, Kind
from robustssm.targets.kind import Loss
from robustssm.tasks import Task
from robustssm.training.config import TrainingConfig
from robustssm.training.objective import Batch, Objective

# Validation samples that are attacked at a time.
_PART = 256


class Adversarial:
    """An adversary as a part of training.

    `config.adversary` is one as in `BandPGD(1, 64, steps=10)`, which may have the unit and the
    range of its budget, but not eps. Raises UsageError for what is none, is joint or does not suit
    the task. passes: those of attacks so far, forwards and backwards, in samples.
    """

    def __init__(self, config: TrainingConfig, task: Task) -> None:
        text = config.adversary
        adversary, settings = parse_expression(text)
        if not isinstance(adversary, Adversary) or adversary.joint:
            able = ", ".join(name for name, cls in ADVERSARIES.items() if not cls.joint)
            raise UsageError(
                f"adversary: {adversary.who} does not search for each sample by itself, expected "
                f"one of {able}; random perturbations go to --augment"
            )
        if "eps" in settings:
            raise UsageError(f"adversary: {text!r} has an eps of its own; give it by --eps")
        task.one_length("adversary")
        if len(task.splits["validation"]) == 0:
            raise UsageError(
                f"adversary: {task.spec} has no validation samples, by which the best weights are "
                "chosen; take a task that has"
            )
        if config.scheme == "trades" and task.kind is not CLASSES:
            raise UsageError(
                f"adversary: trades compares probabilities of classes, {task.spec} has "
                f"{task.kind.name}; take pgd"
            )
        self.adversary, self.task, self.config, self.passes = adversary, task, config, 0
        self.budget = make_budget(text, {**settings, "eps": config.eps}, adversary, "input")
        self.site = input_site(task)
        adversary.check_length(task.length, replace(self.site, length=task.length))
        self.budget.norm.check_scale(self.site.scale)

    def pgd(self, batch: Batch) -> Tensor:
        """Return the loss of the attacked samples."""
        with Victim(batch.network, len(batch.x), batch.kind) as victim:
            after = self._attacked(victim, batch, batch.targets)
        return batch.loss(batch.answers(after))

    def trades(self, batch: Batch) -> Tensor:
        """Return the clean loss and beta times the divergence; with beta 0 nothing is attacked."""
        if self.config.beta == 0.0:
            return batch.loss(batch.answers(batch.x))
        with Victim(batch.network, len(batch.x), Divergence()) as victim:
            after = self._attacked(victim, batch, victim.logits(batch.x))
        clean, attacked = batch.answers(batch.x), batch.answers(after)
        apart = divergence(clean.float(), attacked.float()).mean()
        return batch.loss(clean) + self.config.beta * apart

    def _attacked(self, victim: Victim, batch: Batch, targets: Tensor) -> Tensor:
        """Return the samples of a batch as attacked, at the strength of the warm-up."""
        warmup, whole = self.config.eps_warmup, self.budget
        share = min(1.0, batch.done / warmup) if warmup else 1.0
        budget = replace(whole, eps=whole.norm.share(whole.eps, share))
        target = Target(victim, batch.x, targets, batch.sample_id, batch.seed, budget, self.site)
        found = self.adversary.attack(target)
        self.passes += found.forwards + found.backwards
        return found.x

    def robust(self, network: Network) -> float:
        """Return the score of a network on the attacked validation samples, at the whole eps."""
        split, device, margins = self.task.splits["validation"], network.mean.device, []
        with Victim(network, _PART, self.task.kind) as victim:
            for start in range(0, len(split), _PART):
                part = split.rows(slice(start, start + _PART))
                x, labels = (torch.from_numpy(v).to(device) for v in (part.inputs, part.labels))
                given = part.sample_id, self.config.seed, self.budget, self.site
                margins.append(self.adversary.attack(Target(victim, x, labels, *given)).margin)
        return float(self.task.kind.level(torch.cat(margins).cpu().numpy()))

    def cost(self, architecture: Architecture) -> str:
        """Return in a line what training costs: passes, and seconds by one batch that is tried."""
        split, config = self.task.splits["train"], self.config
        part, epochs = split.rows(slice(0, config.batch_size)), config.epochs
        network = build_network(architecture, config.seed)
        network.standardise(self.task)
        x, labels = (torch.from_numpy(v).to(config.device) for v in (part.inputs, part.labels))
        labels = labels.float() if labels.is_floating_point() else labels
        network = network.to(config.device)
        batch = Batch(network, x, labels, part.sample_id, self.task.kind, done=1.0)
        with one_thread(), torch.random.fork_rng():
            began, self.passes = time.perf_counter(), 0
            SCHEMES[config.scheme](self, batch).backward()
            seconds = (time.perf_counter() - began) * len(split) / len(x)
        return (
            f"adversarial training: attacks take {self.passes / len(x):g} passes per sample, "
            f"{self.passes / len(x) * len(split):.3g} per epoch; about {seconds:.3g} s per epoch, "
            f"{seconds * epochs:.3g} s for {epochs}, by one batch, and "
            f"{len(self.task.splits['validation'])} validation samples are attacked besides"
        )


SCHEMES = {"pgd": Adversarial.pgd, "trades": Adversarial.trades}


class Divergence(Kind):
    """What `trades` makes large: KL(clean || attacked); targets are the clean answers.

    Margins exp(-KL) are 1 for the clean sample, and no sample is broken.
    """

    def margins(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return exp(-KL) of each sample, (batch,), float64."""
        return self.loss("")(answers, targets).exp()

    def loss(self, name: str) -> Loss:
        """Return minus the divergence, by whatever name."""
        return lambda answers, targets: -divergence(targets.double(), answers.double())


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """Return KL(softmax(clean) || softmax(attacked)) of logits (batch, classes), (batch,)."""
    p, q = clean.log_softmax(-1), attacked.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def objective_of(config: TrainingConfig, task: Task) -> Objective | None:
    """Return what a configuration names for `train`; None for ordinary training."""
    if config.adversary:
        own = Adversarial(config, task)
        return Objective(partial(SCHEMES[config.scheme], own), own.robust)
    return Objective(Augmentation(config.augment, task).loss) if config.augment else None
