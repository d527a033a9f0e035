"""How strong a perturbation is: eps in a unit, delivered exactly, and what a valid range does.

References: Yin et al. (arXiv 1906.08988), section 2, for l2; Rauber and Bethge, Fast
Differentiable Clipping-Aware Normalization and Rescaling (arXiv 2007.07677) for `rescale`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.attacks.units import UNITS, Unit, which
from robustssm.errors import UsageError, require, require_one_of
from robustssm.typing import IntArray

CLIPS = ("none", "hard", "rescale")
# Bisection steps of `rescale`: a factor 2^-60, below float64.
_STEPS = 60


def check_eps(eps: float, unit: str = "std") -> float:
    """Return a strength as it was given; UsageError if its unit is unknown, or it is none in it.

    Parameters
    ----------
    eps : float
        The strength.
    unit : str
        Its unit, a name in `attacks.units.UNITS`.
    """
    require_one_of("eps: unit", unit, UNITS)
    UNITS[unit].check(eps)
    return eps


@dataclass(frozen=True)
class Budget:
    """A strength in a unit, and the range in which perturbed values stay.

    Parameters
    ----------
    eps : float
        The strength.
    unit : str
        Its unit, a name in `attacks.units.UNITS`.
    clip : str
        `none`; `hard`: values beyond the range are cut, which weakens the perturbation and spreads
        its spectrum; `rescale`: it is made stronger first, so that what is delivered after cutting
        is eps again if that is possible at all. With unit mix the last two are the same.
    low, high : float
        The range, in the signal's units.
    """

    eps: float
    unit: str = "std"
    clip: str = "none"
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        check_eps(self.eps, self.unit)
        require_one_of("clip", self.clip, CLIPS)
        if self.clip == "none" and (self.low, self.high) != (-math.inf, math.inf):
            raise UsageError("clip: a range is given but clip is none; use hard or rescale")
        require(self.low < self.high, "clip: range", (self.low, self.high), "low < high")
        if self.clip != "none" and math.isinf(self.low) and math.isinf(self.high):
            raise UsageError(f"clip: {self.clip} needs a range, as in --range 0,1")

    @property
    def range(self) -> str:
        """`none`, or how values are kept where, as in `hard 0..1`; exact to the last bit."""
        if self.clip == "none":
            return "none"
        low, high = (f"{v:g}" if float(f"{v:g}") == v else repr(v) for v in (self.low, self.high))
        return f"{self.clip} {low}..{high}"

    @property
    def nothing(self) -> bool:
        """Whether this budget leaves the input as it is."""
        return self.eps == self.norm.nothing

    @property
    def norm(self) -> Unit:
        """The unit, which measures and scales."""
        return UNITS[self.unit]

    def target(self, x: Tensor, who: str, ids: IntArray | None = None) -> Tensor:
        """Return the size that is wanted for each sample of x, (batch,); ids for messages."""
        return self.norm.target(self.eps, x, who, ids)

    def scaled(
        self,
        x: Tensor,
        direction: Tensor,
        scale: Tensor | None,
        who: str,
        ids: IntArray | None = None,
    ) -> Tensor:
        """Return direction (batch, length, channels) with each sample at the size wanted for x."""
        if self.unit == "mix":
            return self.eps * direction
        factor = self.factor(x, self.norm.size(direction, scale), who, ids)
        return direction * factor.to(direction.dtype)[:, None, None]

    def factor(self, x: Tensor, size: Tensor, who: str, ids: IntArray | None = None) -> Tensor:
        """Return what brings directions of given sizes (batch,) to the size wanted for x."""
        if self.unit == "mix":
            return torch.full_like(size, self.eps)
        if bool((size == 0.0).any()):
            raise UsageError(
                f"{who}: is the zero vector for {which(size, ids)}, which no eps in {self.unit} "
                "can scale; change its parameters"
            )
        return self.target(x, who, ids) / size

    def clipped(self, x: Tensor, delta: Tensor, scale: Tensor | None, who: str) -> Tensor:
        """Return x + delta, kept in [low, high] as `clip` says; x (batch, length, channels)."""
        if self.clip == "none":
            return x + delta
        # The data may be float32, and so rounded beyond a limit that is written in decimals.
        slack = 1e-6 * max(1.0, *(abs(v) for v in (self.low, self.high) if math.isfinite(v)))
        outside = (x < self.low - slack) | (x > self.high + slack)
        if bool(outside.any()):
            raise UsageError(
                f"{who}: the input has values outside {self.low:g} to {self.high:g}; give the "
                "data's own range"
            )
        if self.clip == "rescale" and self.unit != "mix":
            delta = delta * self._factor(x, delta, scale).to(x.dtype)[:, None, None]
        return (x + delta).clamp(self.low, self.high)

    def _factor(self, x: Tensor, delta: Tensor, scale: Tensor | None) -> Tensor:
        """Return the factor >= 1 at which what survives clipping has the size wanted.

        Wanted is delta's own size, which is the budget's or, where a perturbation only stays
        below eps, less. Bisection: the size after clipping grows with the factor. Where even the
        largest factor falls short, that one is returned, and the record of what was delivered
        says so.
        """
        target = self.norm.size(delta, scale)
        low = torch.ones_like(target)
        # At this factor every value that the direction moves noticeably is at an end of the range.
        high = low * 2.0**20

        def delivered(factor: Tensor) -> Tensor:
            changed = x + delta * factor.to(x.dtype)[:, None, None]
            moved = changed.clamp(self.low, self.high) - x
            return self.norm.size(moved, scale)

        for _ in range(_STEPS):
            middle = torch.sqrt(low * high)
            short = delivered(middle) < target
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        return torch.where(delivered(torch.ones_like(target)) >= target, 1.0, high)
