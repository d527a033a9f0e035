"""How strong a perturbation is: eps in a unit, delivered exactly, and what a valid range does.

Sizes are per sample, over the valid steps and all channels:

    std      root mean square after division by the task's input standard deviation per channel
    rms      root mean square          l2   Euclidean norm          linf   largest absolute value
    snr-db   20 log10(|x|_2 / |delta|_2), the signal's mean included; inf adds nothing
    mix      x + eps (T(x) - x) for a transform T, eps in [0, 1]

Changes of the model have a unit of their own: `octaves`, factors of two.

References: Yin et al. (arXiv 1906.08988), section 2, for l2; Rauber and Bethge, Fast
Differentiable Clipping-Aware Normalization and Rescaling (arXiv 2007.07677) for `rescale`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.typing import IntArray

UNITS = ("std", "rms", "l2", "linf", "snr-db", "mix")
MODEL_UNITS = ("octaves",)
CLIPS = ("none", "hard", "rescale")
# Ratios beyond this many dB are no ratios in float64 arithmetic of squares.
_DECIBELS = 1000
# Bisection steps of `rescale`: a factor 2^-60, below float64.
_STEPS = 60


def check_eps(eps: float, unit: str = "std") -> float:
    """Return eps, or raise UsageError where it is no strength in `unit`."""
    if unit not in UNITS + MODEL_UNITS:
        raise UsageError(f"eps: unit {unit!r} is unknown, expected one of {', '.join(UNITS)}")
    if unit == "snr-db":
        if math.isnan(eps) or eps == -math.inf:
            raise UsageError(f"eps: {eps:g} dB is not a ratio, expected a number or inf")
        if abs(eps) > _DECIBELS and eps != math.inf:
            raise UsageError(
                f"eps: {eps:g} dB is out of range, expected -{_DECIBELS} to {_DECIBELS}"
            )
    elif not (math.isfinite(eps) and eps >= 0.0):
        raise UsageError(f"eps: {eps:g} is not a strength, expected a finite number >= 0")
    elif unit == "mix" and eps > 1.0:
        raise UsageError(f"eps: {eps:g} is not a share, expected 0 to 1 for unit mix")
    return eps


@dataclass(frozen=True)
class Budget:
    """eps in `unit`; values of the result stay in [low, high] as `clip` says.

    hard: values beyond are cut, which weakens the perturbation and spreads its spectrum (what is
    delivered is on record). rescale: it is made stronger first, so that what is delivered after
    cutting is eps again where that is possible at all; with mix it is the same as hard.
    """

    eps: float
    unit: str = "std"
    clip: str = "none"
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        check_eps(self.eps, self.unit)
        if self.clip not in CLIPS:
            raise UsageError(f"clip: {self.clip!r} is unknown, expected one of {', '.join(CLIPS)}")
        if self.clip == "none" and (self.low, self.high) != (-math.inf, math.inf):
            raise UsageError("clip: a range is given but clip is none; use hard or rescale")
        if not self.low < self.high:
            raise UsageError(f"clip: range {self.low:g} to {self.high:g} is empty")
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
        return self.eps == (math.inf if self.unit == "snr-db" else 0.0)

    def size(self, delta: Tensor, scale: Tensor | None) -> Tensor:
        """Return the size of delta (batch, length, channels) per sample, in `unit`'s norm.

        scale: standard deviation per channel, (channels,), for std. snr-db is measured as rms.
        """
        if self.unit in MODEL_UNITS:
            raise UsageError(f"eps: unit {self.unit} is for changes of the model, not of a signal")
        if self.unit == "linf":
            return delta.abs().amax((1, 2))
        if self.unit == "l2":
            return torch.linalg.vector_norm(delta, dim=(1, 2))
        if self.unit == "std":
            delta = delta / _scale(scale)
        return torch.linalg.vector_norm(delta, dim=(1, 2)) / math.sqrt(
            delta.shape[1] * delta.shape[2]
        )

    def target(self, x: Tensor, who: str, ids: IntArray | None = None) -> Tensor:
        """Return the size that is wanted for each sample of x, (batch,); ids for messages."""
        if self.unit != "snr-db":
            return torch.full((len(x),), self.eps, dtype=x.dtype, device=x.device)
        power = torch.linalg.vector_norm(x, dim=(1, 2)) / math.sqrt(x.shape[1] * x.shape[2])
        if bool((power == 0.0).any()):
            raise UsageError(
                f"{who}: {_which(power, ids)} is silent, so that no snr-db exists; give eps in "
                "rms, l2 or linf"
            )
        return power * 10.0 ** (-self.eps / 20.0)

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
        size = self.size(direction, scale)
        if bool((size == 0.0).any()):
            raise UsageError(
                f"{who}: is the zero vector for {_which(size, ids)}, which no eps in {self.unit} "
                "can scale; change its parameters"
            )
        return direction * (self.target(x, who, ids) / size)[:, None, None]

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
            delta = delta * self._factor(x, delta, scale)[:, None, None]
        return (x + delta).clamp(self.low, self.high)

    def _factor(self, x: Tensor, delta: Tensor, scale: Tensor | None) -> Tensor:
        """Return the factor >= 1 at which what survives clipping has the size wanted.

        Wanted is delta's own size, which is the budget's or, where a perturbation only stays
        below eps, less. Bisection: the size after clipping grows with the factor. Where even the
        largest factor falls short, that one is returned, and the record of what was delivered
        says so.
        """
        target = self.size(delta, scale)
        low = torch.ones_like(target)
        # At this factor every value that the direction moves noticeably is at an end of the range.
        high = low * 2.0**20

        def delivered(factor: Tensor) -> Tensor:
            moved = (x + delta * factor[:, None, None]).clamp(self.low, self.high) - x
            return self.size(moved, scale)

        for _ in range(_STEPS):
            middle = torch.sqrt(low * high)
            short = delivered(middle) < target
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        return torch.where(delivered(torch.ones_like(target)) >= target, 1.0, high)


def _which(size: Tensor, ids: IntArray | None) -> str:
    """Return the name of the first sample whose size is zero."""
    row = int(torch.argmin(size))
    return f"row {row} of the batch" if ids is None else f"sample {ids[row]}"


def _scale(scale: Tensor | None) -> Tensor:
    if scale is None:
        raise UsageError(
            "eps: unit std is the task's input standard deviation, which exists at the input only; "
            "use rms, l2, linf or snr-db at layers"
        )
    return scale
