"""A perturbation or an adversary confined to a part of each sample in time."""

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustssm.attacks.adversaries import Adversary, Found, Target
from robustssm.attacks.base import Attack, Perturbation, Site, family
from robustssm.attacks.budget import Budget
from robustssm.errors import UsageError
from robustssm.typing import IntArray

# What is known of a perturbation or an adversary beside its fields.
_TAKEN = ("unit", "sites", "strengths", "standardised", "fills", "exact", "dense", "joint")


@family
class Window(Attack):
    """Another perturbation or adversary, on the part first..last of each sample; nothing outside.

    The part is a whole sample to the other: DFT bins are those of the window's length, draws do
    not depend on where it lies, and eps counts over it, so that an eps in std is the root mean
    square over the window: windows of equal length have equal energy. Steps from
    round(first L) up to, not including, round(last L) are in it; of a sample that ends early L is
    its own length, while frequencies stay those of whole samples.

    Parameters
    ----------
    first, last : float
        Ends of the window as shares of a sample's length, 0 to 1.
    of : Attack
        What is confined, as in `Window(0.75, 1, Fourier(3))`.
    """

    first: float
    last: float
    of: Attack

    def __new__(cls, *positional: Any, **named: Any) -> "Window":
        """Return a window of the kind of what is confined."""
        of = named.get("of", positional[-1] if positional else None)
        kinds = {Perturbation: _OfPerturbation, Adversary: _OfAdversary} if cls is Window else {}
        return object.__new__(next((k for of_, k in kinds.items() if isinstance(of, of_)), cls))

    def __post_init__(self) -> None:
        for name in ("first", "last"):
            object.__setattr__(self, name, float(getattr(self, name)))
        self.check(0.0 <= self.first < self.last <= 1.0, "first", "0 <= first < last <= 1")
        of = self.of
        changes = "model" in of.sites or type(of).extended is not Attack.extended
        if changes or isinstance(of, Window):
            raise UsageError(
                f"{self.who}: {of.who} is no change of given steps, expected a perturbation of a "
                "signal, or an adversary"
            )
        for name in _TAKEN:
            if hasattr(of, name):
                object.__setattr__(self, name, getattr(of, name))

    @property
    def who(self) -> str:
        """Name in messages."""
        return "Window"

    def steps(self, valid: int) -> slice:
        """Return the steps of the window in a sample of some length; UsageError if it has none."""
        first, last = (math.floor(share * valid + 0.5) for share in (self.first, self.last))
        if first == last:
            raise UsageError(
                f"{self.who}: {self.first:g} to {self.last:g} of {valid} steps holds none; widen it"
            )
        return slice(first, last)

    def inside(self, site: Site) -> Site:
        """Return a site as what is confined sees it."""
        steps = self.steps(site.length)
        return replace(site, length=steps.stop - steps.start, image=None)

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError if the window has no step, or what is confined does not fit it."""
        inside = self.inside(replace(site, length=L))
        self.of.check_length(inside.length, inside)

    def check_budget(self, budget: Budget, site: str) -> None:
        """Raise UsageError if what is confined cannot take a budget at a site."""
        self.of.check_budget(budget, site)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in the window and in the named band."""
        return self.of.in_band(delta[:, self.steps(delta.shape[1])], self.inside(site))


class _OfPerturbation(Window, Perturbation):
    """A window of a perturbation."""

    of: Perturbation
    whole: ClassVar[bool] = False

    def block(self, x: Tensor, ids: IntArray, seed: int, budget: Budget, site: Site) -> Tensor:
        """Return the samples with the window perturbed as samples of their own."""
        after, steps = x.clone(), self.steps(x.shape[1])
        after[:, steps] = self.of.block(x[:, steps], ids, seed, budget, self.inside(site))
        return after

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the other's direction, zero outside the window."""
        found, steps = torch.zeros_like(x), self.steps(x.shape[1])
        inside = self.inside(site)
        found[:, steps] = self.of.direction(x[:, steps], sample_id, seed, inside).to(x.dtype)
        return found

    def alternatives(self) -> tuple[Perturbation, ...]:
        """Return windows of the other's alternatives."""
        every = self.of.alternatives()
        return (self,) if len(every) == 1 else tuple(replace(self, of=one) for one in every)


class _OfAdversary(Window, Adversary):
    """A window of an adversary, which is shown the steps in it and searches as it does."""

    of: Adversary

    def search(self, target: Target) -> Found:
        """Return the samples with the window as the other leaves it."""
        part = target.part(self.steps(target.x.shape[1]))
        found = self.of.search(part)
        return replace(found, x=part.embedded(found.x))
