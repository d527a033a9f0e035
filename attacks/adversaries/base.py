"""What adversaries share: a victim that counts its passes, the margin, the ball of a budget."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from robustssm.attacks.base import Attack, Site
from robustssm.attacks.budget import Budget
from robustssm.errors import UsageError
from robustssm.networks.classifier import Classifier
from robustssm.networks.inference import padded
from robustssm.typing import IntArray

# Inputs of a network are float32 at least, and are squared.
_LARGEST = 1e15


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the label's logit minus the largest other one, (batch,), float64.

    logits: (batch, classes); negative where the sample is misclassified.
    """
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def difference_of_logits_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the margin over the distance of the largest logit from the third, (batch,), float64.

    At most 1, unchanged by scaling and shifting the logits; needs three classes. Reference: Croce
    and Hein (arXiv 2003.01690), equation (6), with the sign of what an adversary makes small.
    """
    if logits.shape[1] < 3:
        raise UsageError(f"loss: dlr needs 3 classes, got {logits.shape[1]}; use margin or ce")
    top = logits.double().topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logarithm of p / (1 - p), p the label's probability, (batch,), float64.

    It rises and falls with minus the cross entropy log p, so that normalised steps on one are
    steps on the other; but its gradient does not vanish where the network is certain.
    """
    logits = logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)


# What an adversary makes small.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "margin": margin,
    "ce": log_odds,
    "dlr": difference_of_logits_ratio,
}


class Victim:
    """A network in evaluation mode, whose passes are counted in samples.

    The mode of every part of the network and its parameters' requires_grad are restored by
    `close`, or at the end of a `with` block. forwards: samples sent through; backwards: samples
    whose gradient was taken (each of these is counted in forwards as well). Raises UsageError
    where the network was put into training mode meanwhile.
    """

    def __init__(self, network: Classifier, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise UsageError(f"victim: batch_size is {batch_size}, expected >= 1")
        self.network, self.batch_size = network, batch_size
        self.forwards = 0
        self.backwards = 0
        self._training = {name: part.training for name, part in network.named_modules()}
        self._requires_grad = {name: p.requires_grad for name, p in network.named_parameters()}
        network.eval()
        network.requires_grad_(False)

    @property
    def was_training(self) -> bool:
        """Whether any part of the network was in training mode when it came."""
        return any(self._training.values())

    def close(self) -> None:
        """Give the network back as it was."""
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(self._requires_grad[name])
        for name, part in self.network.named_modules():
            part.training = self._training[name]

    def __enter__(self) -> "Victim":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def check_mode(self) -> None:
        """Raise UsageError where a part of the network is in training mode."""
        training = [name for name, part in self.network.named_modules() if part.training]
        if training:
            raise UsageError(
                f"victim: {training[0] or 'the network'} was put into training mode during the "
                "attack; leave the mode alone until the victim is closed"
            )

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) of x (batch, length, channels), float64."""
        self.check_mode()
        self.forwards += len(x)
        parts = [self.network(padded(p))[: len(p)] for p in x.split(self.batch_size)]
        return torch.cat(parts).double()

    def margins(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the margin of each sample of x, (batch,)."""
        return margin(self.logits(x), labels)

    def gradients(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the margins (batch,) and their gradients in x (batch, length, channels)."""
        value, _, slope = self.slopes(x, labels, "margin")
        return value, slope

    def slopes(self, x: Tensor, labels: Tensor, loss: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return the margins (batch,), the losses (batch,), and the losses' gradients in x.

        loss: a name in LOSSES; all float64, the gradients (batch, length, channels).
        """
        self.check_mode()
        self.forwards += len(x)
        self.backwards += len(x)
        margins, losses, slopes = [], [], []
        for part, own in zip(x.split(self.batch_size), labels.split(self.batch_size), strict=True):
            with torch.enable_grad():
                leaf = part.detach().clone().requires_grad_(True)
                logits = self.network(padded(leaf))[: len(leaf)]
                value = LOSSES[loss](logits, own)
                (slope,) = torch.autograd.grad(value.sum(), leaf)
            margins.append(margin(logits.detach(), own))
            losses.append(value.detach())
            slopes.append(slope.double())
        return torch.cat(margins), torch.cat(losses), torch.cat(slopes)


@dataclass(frozen=True)
class Ball:
    """A budget as a ball per sample: |delta / scale| <= radius in the norm `l2` or `linf`.

    radius: (batch,); scale: (channels,), ones unless the unit is std.
    """

    norm: str
    radius: Tensor
    scale: Tensor

    @classmethod
    def of(cls, budget: Budget, x: Tensor, site: Site) -> "Ball":
        """Return the ball of a budget around x (batch, length, channels) at the input."""
        if budget.unit == "mix" or budget.clip == "rescale":
            raise UsageError(
                "adversary: the budget is a norm ball; give eps in std, rms, l2, linf or snr-db, "
                "and clip none or hard"
            )
        scale = torch.ones(x.shape[2], dtype=torch.float64, device=x.device)
        target = budget.target(x.double(), "adversary")
        if bool((target > _LARGEST).any()):
            raise UsageError(
                f"adversary: eps = {budget.eps:g} {budget.unit} is too large, expected below "
                f"{_LARGEST:g}"
            )
        if budget.unit == "linf":
            return cls("linf", target, scale)
        if budget.unit == "std":
            if site.scale is None:
                raise UsageError("adversary: unit std needs the task's standard deviation")
            scale = site.scale.to(x.device)
        values = 1 if budget.unit == "l2" else x.shape[1] * x.shape[2]
        return cls("l2", target * math.sqrt(values), scale)

    def select(self, rows: Tensor) -> "Ball":
        """Return the balls of some samples."""
        return Ball(self.norm, self.radius[rows], self.scale)


@dataclass
class Found:
    """The end of an attack: perturbed inputs x (batch, length, channels) and their margins.

    forwards, backwards: passes used, in samples; flags: what a reader must know, per attack or
    per sample.
    """

    x: Tensor
    margin: Tensor
    forwards: int
    backwards: int
    flags: dict[str, object] = field(default_factory=dict)

    @property
    def success(self) -> Tensor:
        """Whether each sample is misclassified, (batch,)."""
        return self.margin <= 0.0


class Adversary(Attack):
    """Looks for the perturbation within a budget that harms most; subclasses write `attack`.

    Subclasses are frozen dataclasses made by `attacks.base.family`. joint: whether what is found
    for a sample depends on the others, so that all have to be given at once.
    """

    sites: ClassVar[tuple[str, ...]] = ("input",)
    joint: ClassVar[bool] = False

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a band that does not exist at length L."""
        low, high = getattr(self, "low", 0), getattr(self, "high", 0)
        if not 0 <= low <= high <= L // 2:
            raise UsageError(
                f"{self.who}: bins {low}-{high} do not exist at length {L}, expected within "
                f"0-{L // 2}"
            )

    @abstractmethod
    def attack(
        self,
        victim: Victim,
        x: Tensor,
        labels: Tensor,
        sample_id: IntArray,
        seed: int,
        *,
        budget: Budget,
        site: Site,
    ) -> Found:
        """Return perturbed inputs for x (batch, length, channels); deterministic given seed.

        What is found for a sample does not depend on its batch, except where the adversary says
        so (`universal`).
        """


def worst_of(*found: Found) -> Found:
    """Return, for each sample, what has the lowest margin; the first of several equal ones.

    flags: `source` (batch,), which of them that is. Passes are summed.
    """
    if not found:
        raise UsageError("worst_of: got nothing, expected one result or more")
    shapes = {tuple(f.x.shape) for f in found}
    if len(shapes) > 1:
        raise UsageError(f"worst_of: results of different samples, shapes {sorted(shapes)}")
    margins = torch.stack([f.margin for f in found])
    # NaN is no margin, and never the lowest.
    source = torch.where(torch.isnan(margins), torch.inf, margins).argmin(0)
    rows = torch.arange(len(source), device=source.device)
    return Found(
        torch.stack([f.x for f in found])[source, rows],
        margins[source, rows],
        sum(f.forwards for f in found),
        sum(f.backwards for f in found),
        {"source": source},
    )


def check_choice(who: str, what: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise UsageError where `value` is not among those allowed."""
    if value not in allowed:
        raise UsageError(
            f"{who}: {what} {value!r} is unknown, expected one of {', '.join(allowed)}"
        )


def check_count(who: str, what: str, value: int) -> None:
    """Raise UsageError where `value` is no count of 1 or more."""
    if not (isinstance(value, int) and value >= 1):
        raise UsageError(f"{who}: {what} is {value!r}, expected a whole number >= 1")
