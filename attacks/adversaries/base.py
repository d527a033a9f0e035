"""What adversaries share: a victim that counts its passes, its samples, the final outer call."""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from robustssm.attacks.adversaries.victim import Victim
from robustssm.attacks.base import Attack, Site, family, input_site
from robustssm.attacks.budget import Budget
from robustssm.errors import UsageError, require, require_count
from robustssm.networks.inference import input_std
from robustssm.tasks import Task
from robustssm.typing import IntArray


@dataclass(frozen=True)
class Target:
    """What an adversary attacks: samples, the victim that answers for them, and what is allowed.

    Parameters
    ----------
    victim : Victim
        The network, in evaluation mode.
    x : Tensor
        Samples, (batch, length, channels), real numbers.
    labels : Tensor
        Right answers, (batch,), or values (batch, outputs) or (batch, length, outputs).
    sample_id : array of int
        Names of the samples that draws depend on, (batch,).
    seed : int
        Seed of the draws.
    budget : Budget
        Strength of the perturbation and range of the perturbed values.
    site : Site
        The input: standard deviation per channel, (channels,), sampling rate.
    around : tuple of Tensor
        Steps before and after x that the victim sees as well, each (batch, steps, channels).
    aims : Tensor, optional
        Classes that the losses are targeted at, (batch,).
    passes : int
        Passes of which margins, losses and gradients are the means: of a network that is random.
    """

    victim: Victim
    x: Tensor
    labels: Tensor
    sample_id: IntArray
    seed: int
    budget: Budget
    site: Site = field(default_factory=Site)
    around: tuple[Tensor, ...] = ()
    aims: Tensor | None = None
    passes: int = 1

    @classmethod
    def of(
        cls, victim: Victim, task: Task, budget: Budget, seed: int = 0, limit: int | None = None
    ) -> "Target":
        """Return the first `limit` test samples, of one length, as a target; tokens embedded."""
        task.one_length("search")
        split = task.splits["test"].first(limit)
        x, labels = torch.from_numpy(split.inputs), torch.from_numpy(split.labels)
        site = replace(input_site(task), scale=input_std(victim.network, task))
        if task.tokens is not None:
            with torch.no_grad():
                x = victim.network.embed(x)
        return cls(victim, x, labels, split.sample_id, seed, budget, site)

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: Tensor) -> "Target":
        """Return some of the samples; rows: indices or a mask, (batch,)."""
        ids = np.asarray(self.sample_id)[rows.cpu().numpy()]
        around = tuple(steps[rows] for steps in self.around)
        aims = None if self.aims is None else self.aims[rows]
        chosen = {"x": self.x[rows], "labels": self.labels[rows], "sample_id": ids}
        return replace(self, **chosen, around=around, aims=aims)

    def part(self, steps: slice) -> "Target":
        """Return some steps of the samples as samples; the victim sees the others as they are."""
        around = self.x[:, : steps.start], self.x[:, steps.stop :]
        return replace(self, x=self.x[:, steps], around=around)

    def embedded(self, x: Tensor) -> Tensor:
        """Return perturbed samples x as the victim sees them, in their own dtype."""
        x = x.to(self.x.dtype)
        return torch.cat([self.around[0], x, self.around[1]], dim=1) if self.around else x

    def logits(self, x: Tensor) -> Tensor:
        """Return the answers (batch, ...) to perturbed samples x."""
        return self.victim.logits(self.embedded(x))

    def margins(self, x: Tensor) -> Tensor:
        """Return the margins (batch,) of perturbed samples x, in their own dtype."""
        whole = self.embedded(x)
        every = [self.victim.margins(whole, self.labels) for _ in range(self.passes)]
        return torch.stack(every).mean(0)

    def slopes(self, x: Tensor, loss: str = "margin") -> tuple[Tensor, Tensor, Tensor]:
        """Return margins (batch,), losses (batch,) and the losses' gradients at perturbed x."""
        given = (self.embedded(x), self.labels, loss, self.aims)
        every = [self.victim.slopes(*given) for _ in range(self.passes)]
        margins, losses, slopes = (torch.stack(each).mean(0) for each in zip(*every, strict=True))
        first = self.around[0].shape[1] if self.around else 0
        return margins, losses, slopes[:, first : first + x.shape[1]]


@dataclass
class Found:
    """The end of an attack.

    Parameters
    ----------
    x : Tensor
        Perturbed inputs, (batch, length, channels).
    margin : Tensor
        Their margins, (batch,).
    flags : dict
        What a reader must know, per attack or per sample.
    forwards, backwards : int
        Passes used, in samples.
    """

    x: Tensor
    margin: Tensor
    flags: dict[str, object] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0

    @property
    def success(self) -> Tensor:
        """Whether each sample is broken: misclassified, or its error too large, (batch,)."""
        return self.margin <= 0.0


@family
class Adversary(Attack):
    """Looks, within DFT bins low..high and a budget, for what harms most.

    Subclasses are made by `attacks.base.family` and write `search`. joint: whether what is found
    for a sample depends on the others, so that all have to be given at once.

    Parameters
    ----------
    low, high : int
        First and last DFT bin of the input's whole length L, 0 to L / 2.
    """

    sites: ClassVar[tuple[str, ...]] = ("input",)
    joint: ClassVar[bool] = False

    low: int
    high: int

    def check_counts(self, *names: str) -> None:
        """Raise UsageError unless fields are whole numbers of 1 or more."""
        for name in names:
            require_count(f"{self.who}: {name}", getattr(self, name))

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a band that does not exist at length L."""
        exists = 0 <= self.low <= self.high <= L // 2
        require(exists, f"{self.who}: band", f"{self.low}-{self.high}", f"bins within 0-{L // 2}")

    def check_budget(self, budget: Budget, site: str) -> None:
        """Raise UsageError for a budget that is no ball around a sample."""
        super().check_budget(budget, site)
        if budget.norm.of_family or budget.clip == "rescale":
            raise UsageError(
                f"{self.who}: the budget is a norm ball; give eps in std, rms, l2, linf or snr-db, "
                "and clip none or hard (rescale belongs to perturbations)"
            )

    @final
    def attack(self, target: Target) -> Found:
        """Return perturbed inputs for a target, graded and counted; deterministic given its seed.

        What is found for a sample does not depend on its batch, unless the adversary is `joint`.
        The input itself is returned for a budget of nothing. Raises UsageError for a target that
        this adversary cannot attack.
        """
        self.check_input(target.x, None, target.site)
        self.check_budget(target.budget, target.site.name)
        victim, x = target.victim, target.x
        forwards, backwards = victim.forwards, victim.backwards
        found = Found(x, target.margins(x)) if target.budget.nothing else self.search(target)
        return replace(
            found, forwards=victim.forwards - forwards, backwards=victim.backwards - backwards
        )

    @abstractmethod
    def search(self, target: Target) -> Found:
        """Return the worst perturbed inputs met, and their margins; passes are counted outside."""
