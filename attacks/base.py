"""The contract of a perturbation: pure, budgeted, the same for a sample wherever it is drawn."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, replace
from typing import ClassVar, TypeVar, dataclass_transform, final

import numpy as np
import torch
from torch import Tensor

from robustssm import philox
from robustssm.arguments import with_checked_fields
from robustssm.attacks.bands import Direction, Sum
from robustssm.attacks.blocks import blocks, finite
from robustssm.attacks.budget import Budget
from robustssm.attacks.kept import kept
from robustssm.attacks.units import energies
from robustssm.errors import UsageError, require, require_one_of
from robustssm.tasks import Task
from robustssm.typing import IntArray

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """Where a perturbation acts: the input, or the input of an SSM layer.

    Parameters
    ----------
    layer : int, optional
        Number of the layer; None at the input.
    scale : Tensor, optional
        Standard deviation per channel at the input, (channels,).
    dt : Tensor, optional
        Step sizes of the layer, (channels,).
    length : int
        Steps L that DFT bins count for; filled in by `perturb`.
    rate : float, optional
        Samples per second.
    image : tuple of int, optional
        Rows and columns, if a sequence is an image that is read row by row.
    """

    layer: int | None = None
    scale: Tensor | None = None
    dt: Tensor | None = None
    length: int = 0
    rate: float | None = None
    image: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """`input` or `layers`."""
        return "input" if self.layer is None else "layers"


def input_site(task: Task) -> Site:
    """Return the site of a task's input; tokens have none, but their embeddings (`embedded`)."""
    return Site(scale=torch.from_numpy(task.std), rate=task.rate, image=task.image)


@dataclass_transform(frozen_default=True)
def family(cls: type[T]) -> type[T]:
    """Make a perturbation a frozen dataclass whose repr shows what differs from the defaults.

    Its constructor checks the types of its fields.
    """
    return with_checked_fields(dataclass(frozen=True, repr=False)(cls))


def misfit(name: str, value: object, kind: type) -> str:
    """Return what a plug-in should be; empty if `value` is a class of that kind and name."""
    fits = isinstance(value, type) and issubclass(value, kind) and dataclasses.is_dataclass(value)
    if fits and value.__name__ == name:  # type: ignore[attr-defined]
        return ""
    return f"a subclass of {kind.__name__} called {name}, decorated with `family`"


class Attack(ABC):  # noqa: B024
    """What perturbations and adversaries share: a name to type, the unit of eps, the places.

    unit: of eps, if none is given; sites: where it may act, the usual place first; strengths:
    the only ones that there are, None for any.
    """

    unit: ClassVar[str] = "std"
    sites: ClassVar[tuple[str, ...]] = ("input", "layers")
    strengths: ClassVar[tuple[float, ...] | None] = None

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = []
        for field in fields:
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"{self.who}({', '.join(shown)})"

    @property
    def who(self) -> str:
        """Name in messages."""
        return type(self).__name__

    def check(self, holds: bool, name: str, expected: str) -> None:
        """Raise UsageError, with the field's name and value, unless a condition holds."""
        require(holds, f"{self.who}: {name}", getattr(self, name), expected)

    def check_word(self, name: str, allowed: Iterable[str]) -> None:
        """Raise UsageError unless a field is one of the allowed words."""
        require_one_of(f"{self.who}: {name}", getattr(self, name), allowed)

    def default_unit(self, site: str) -> str:
        """Return the unit of eps at a site, if none is named."""
        return "rms" if site == "layers" and self.unit == "std" else self.unit

    def check_budget(self, budget: Budget, site: str) -> None:
        """Raise UsageError if it cannot take a budget at a site."""
        if budget.unit != self.unit and (site == "model" or budget.norm.of_family):
            raise UsageError(
                f"{self.who}: eps in {budget.unit} is not its own, expected {self.unit}"
            )
        if budget.unit == "std" and site != "input":
            raise UsageError(
                f"{self.who}: eps in std exists at the input only; give rms, l2, linf or snr-db at "
                f"{site}"
            )
        if site == "model" and budget.clip != "none":
            raise UsageError(
                f"{self.who}: changes the model, whose values have no range; drop clip"
            )
        if self.strengths is not None:
            allowed = (0.0, *self.strengths)
            expected = " or ".join(f"{eps:g}" for eps in allowed)
            require(budget.eps in allowed, f"{self.who}: eps", budget.eps, expected)

    def check_length(self, L: int, site: Site) -> None:  # noqa: B027
        """Raise UsageError if this does not exist at sequence length L."""

    @final
    def check_input(self, x: Tensor, lengths: Tensor | None, site: Site) -> None:
        """Raise UsageError if it cannot act on x (batch, length, channels)."""
        if x.ndim != 3:
            raise UsageError(
                f"{self.who}: input has shape {tuple(x.shape)}, expected (batch, length, channels)"
            )
        if not x.is_floating_point():
            raise UsageError(
                f"{self.who}: input is {str(x.dtype).removeprefix('torch.')}: tokens have no "
                "amplitude; perturb embeddings instead, at layers"
            )
        if site.name not in self.sites:
            raise UsageError(f"{self.who}: acts at {' or '.join(self.sites)}, not at {site.name!r}")
        if not finite(x):
            raise UsageError(f"{self.who}: the input holds NaN or infinite values")
        if lengths is not None:
            low, high = int(lengths.min()), int(lengths.max())
            if lengths.shape != (len(x),) or low < 1 or high > x.shape[1]:
                raise UsageError(
                    f"{self.who}: lengths run from {low} to {high}, expected one for each of "
                    f"{len(x)} samples, 1 to {x.shape[1]}"
                )
        self.check_length(x.shape[1], site)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy of delta (batch, valid, channels) in the named band, else all of it."""
        return energies(delta)

    def extended(self, x: Tensor) -> Tensor:
        """Return x with the steps that this appends, still empty; usually x itself."""
        return x


class Perturbation(Attack):
    """What is done to a signal (batch, length, channels), apart from how strongly.

    Subclasses are decorated with `family`, write `direction`, and may narrow `in_band`. They see
    valid steps only. standardised: whether the direction is in standard deviations of each
    channel when eps is; fills: whether a direction is brought to eps exactly, or only bounded by
    it in `unit`; exact: whether it needs float64 inside a network as well; confined: whether a
    direction lies in the named band but for rounding; free: whether it depends on the shape of the
    signal alone; dense: whether its draws at layers are those of `philox.dense_tensor`, which cells
    of other draws are not taken for; whole: whether a program may add `direction` in place.
    """

    standardised: ClassVar[bool] = True
    fills: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    confined: ClassVar[bool] = False
    free: ClassVar[bool] = False
    dense: ClassVar[bool] = False
    whole: ClassVar[bool] = True

    @final
    @torch.no_grad()
    def perturb(
        self,
        x: Tensor,
        lengths: Tensor | None,
        sample_id: IntArray,
        seed: int,
        *,
        budget: Budget,
        site: Site,
    ) -> Tensor:
        """Return x (batch, length, channels) perturbed within the budget; x itself if that is 0.

        lengths: (batch,) valid steps or None; sample_id: (batch,). Padding is never touched;
        arithmetic is float64 at the input, and x's own at layers. The shape stays, unless a
        perturbation appends steps (`extended`). Raises UsageError for what cannot be done.
        """
        self.check_input(x, lengths, site)
        if budget.nothing:
            return x
        x = self.extended(x)
        ids = np.asarray(sample_id)
        site = replace(site, length=x.shape[1])
        after = torch.empty_like(x) if lengths is None else x.clone()
        for rows, real, valid in blocks(lengths, x):
            own = ids[rows.cpu().numpy()]
            result = self.block(x[rows, :valid], own, seed, budget, site)
            after[rows[:real], :valid] = result[:real]
        self.check_result(x, after, budget)
        return after

    @torch.no_grad()
    def block(self, x: Tensor, ids: IntArray, seed: int, budget: Budget, site: Site) -> Tensor:
        """Return samples of one length (batch, valid, channels) perturbed; nothing is checked.

        A sample's bits depend on the shape and the strides of x.
        """
        part = x.double() if self.exact or site.layer is None else x
        delta = self.written(part, ids, seed, site).values
        if budget.unit == "std" and self.standardised and site.scale is not None:
            delta = delta * site.scale
        fills = self.fills or budget.unit != self.unit
        delta = (
            budget.scaled(part, delta, site.scale, self.who, ids) if fills else budget.eps * delta
        )
        return budget.clipped(part, delta, site.scale, self.who).to(x.dtype)

    def written(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Direction:
        """Return the directions written out, in x's dtype; they are not to be written to."""

        def make(x: Tensor, ids: IntArray, seed: int, site: Site) -> Direction:
            part = x.double() if self.exact else x
            return Direction(self.direction(part, ids, seed, site).to(x.dtype).expand_as(x))

        return kept(self, x, ids, seed, site, make) if self.free else make(x, ids, seed, site)

    def sums(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Sum | None:
        """Return the directions as sums of waves, if they are; of what is free and confined."""
        return None

    @final
    def check_result(self, x: Tensor, after: Tensor, budget: Budget) -> None:
        """Raise UsageError if what became of x, or of signals with norms x, is not finite."""
        if finite(after):
            return
        if not finite(x):
            raise UsageError(f"{self.who}: the input holds NaN or infinite values")
        raise UsageError(
            f"{self.who}: eps = {budget.eps:g} {budget.unit} leaves values that "
            f"{str(after.dtype).removeprefix('torch.')} cannot hold; use a smaller one"
        )

    @abstractmethod
    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return a direction of any size, broadcastable to x (batch, valid, channels).

        In float64, or in x's dtype.
        """

    def alternatives(self) -> "tuple[Perturbation, ...]":
        """Return the perturbations of which a sample suffers the worst; usually this one alone."""
        return (self,)

    def draws(self, count: int, x: Tensor, ids: IntArray, seed: int, site: Site) -> Tensor:
        """Return draws (batch, count), uniform in [0, 1), float64, on x's device."""
        return philox.uniform_tensor(f"{seed}|{self!r}|{site.layer}", ids, count, x.device)


class Transform(Perturbation):
    """x -> T(x). eps in `mix` is the share x + eps (T(x) - x); other units scale T(x) - x.

    Subclasses write `transform`, or `direction` itself.
    """

    unit: ClassVar[str] = "mix"
    standardised: ClassVar[bool] = False

    def transform(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return T(x) of x (batch, valid, channels), of the same shape."""
        return x + self.direction(x, sample_id, seed, site)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return T(x) - x."""
        return self.transform(x, sample_id, seed, site) - x
