"""Units of eps: how each measures a signal, and how strengths are ordered in it.

    std      root mean square after division by the task's input standard deviation per channel
    rms      root mean square          l2   Euclidean norm          linf   largest absolute value
    snr-db   20 log10(|x|_2 / |delta|_2), the signal's mean included; inf adds nothing
    mix      x + eps (T(x) - x) for a transform T, eps in [0, 1]

Sizes are per sample, over the valid steps and all channels. Changes of the model have a unit of
their own: `octaves`, factors of two.
"""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robustssm.errors import UsageError, require
from robustssm.typing import IntArray

# Ratios beyond this many dB are no ratios in float64 arithmetic of squares.
_DECIBELS = 1000


class Unit:
    """Root mean square; a unit that measures or orders otherwise overrides what differs.

    name: as users write it. of_family: whether only attacks whose own unit it is can take it.
    nothing: the strength that changes nothing; endless: beyond all strengths. box: whether the
    size is the largest modulus, so that a bound of it is a box and not a ball. relative: whether
    the size that is wanted depends on the signal.
    """

    name: ClassVar[str] = "rms"
    of_family: ClassVar[bool] = False
    nothing: ClassVar[float] = 0.0
    endless: ClassVar[float] = math.inf
    box: ClassVar[bool] = False
    relative: ClassVar[bool] = False

    def check(self, eps: float) -> None:
        """Raise UsageError if eps is no strength."""
        require(math.isfinite(eps) and eps >= 0.0, "eps", eps, "a finite number >= 0")

    def check_scale(self, scale: Tensor | None) -> None:
        """Raise UsageError if sizes cannot be had from these standard deviations."""

    def scale(self, x: Tensor, scale: Tensor | None) -> Tensor:
        """Return what each channel is divided by, (channels,), given the standard deviations."""
        return torch.ones(x.shape[2], dtype=torch.float64, device=x.device)

    def values(self, x: Tensor) -> int:
        """Return the number of values of a sample that squares are averaged over."""
        return x.shape[1] * x.shape[2]

    def size(self, delta: Tensor, scale: Tensor | None) -> Tensor:
        """Return the size of each sample of delta (batch, length, channels); scale: as `scale`."""
        return norms(delta) / math.sqrt(self.values(delta))

    def of(self, norm: Tensor, largest: Tensor, values: int) -> Tensor:
        """Return sizes at which nothing is divided by, from Euclidean norms and largest moduli."""
        return largest if self.box else norm / math.sqrt(values)

    def target(self, eps: float, x: Tensor, who: str, ids: IntArray | None = None) -> Tensor:
        """Return the size that eps stands for in each sample of x, (batch,); ids for messages."""
        return torch.full((len(x),), float(eps), dtype=torch.float64, device=x.device)

    def ladder(self, first: float, last: float, count: int) -> tuple[float, ...]:
        """Return strengths from `first` to `last`, both included, in equal steps of loudness."""
        return tuple(float(eps) for eps in np.geomspace(first, last, count))

    def share(self, eps: float, share: float) -> float:
        """Return the strength of a share, 0 to 1, of what a strength adds."""
        return share * eps

    def grows(self, first: float, last: float) -> bool:
        """Return whether strength grows from `first`, which is not nothing, to `last`."""
        return last > first > 0.0

    def between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return strengths halfway; half the higher one if the lower one is nothing."""
        return torch.where(low == 0.0, high / 2.0, torch.sqrt(low * high))


class _Std(Unit):
    name = "std"

    def check_scale(self, scale: Tensor | None) -> None:
        """Raise UsageError if there are none, or a channel is constant."""
        if scale is None:
            raise UsageError(
                "eps: unit std is the task's input standard deviation, which exists at the input "
                "only; use rms, l2, linf or snr-db at layers"
            )
        constant = torch.nonzero(scale == 0.0).flatten().tolist()
        if constant:
            named = ", ".join(map(str, constant[:3]))
            more = f" and {len(constant) - 3} more" if len(constant) > 3 else ""
            raise UsageError(
                f"eps: channel {named}{more} of the data is constant, so that its standard "
                "deviation is 0 and no eps in std can be had; give --eps-unit rms, l2, linf or "
                "snr-db, or leave the channel out of the data"
            )

    def scale(self, x: Tensor, scale: Tensor | None) -> Tensor:
        """Return the standard deviations; UsageError as `check_scale`."""
        self.check_scale(scale)
        assert scale is not None
        return scale.to(x.device)

    def size(self, delta: Tensor, scale: Tensor | None) -> Tensor:
        """Return the root mean square in standard deviations."""
        return super().size(delta / self.scale(delta, scale), None)


class _L2(Unit):
    name = "l2"

    def values(self, x: Tensor) -> int:
        """Return 1: squares are summed."""
        return 1

    def of(self, norm: Tensor, largest: Tensor, values: int) -> Tensor:
        """Return the norms."""
        return norm


class _LInf(Unit):
    name = "linf"
    box = True

    def size(self, delta: Tensor, scale: Tensor | None) -> Tensor:
        """Return the largest modulus."""
        return largest(delta)


class _Decibels(Unit):
    """Ratios of the signal to the perturbation, which is measured as rms: they fall as it grows."""

    name = "snr-db"
    nothing = math.inf
    endless = -math.inf
    relative = True

    def check(self, eps: float) -> None:
        """Raise UsageError if eps is no ratio, or out of the range of float64 squares."""
        held = abs(eps) <= _DECIBELS or eps == math.inf
        require(held, "eps in snr-db", eps, f"a ratio from -{_DECIBELS} to {_DECIBELS}, or inf")

    def target(self, eps: float, x: Tensor, who: str, ids: IntArray | None = None) -> Tensor:
        """Return the root mean square; UsageError if a sample is silent."""
        power = super().size(x, None)
        if bool((power == 0.0).any()):
            raise UsageError(
                f"{who}: {which(power, ids)} is silent, so that no snr-db exists; give eps in "
                "rms, l2 or linf"
            )
        return power * 10.0 ** (-eps / 20.0)

    def ladder(self, first: float, last: float, count: int) -> tuple[float, ...]:
        """Return equally spaced ratios."""
        return tuple(float(eps) for eps in np.linspace(first, last, count))

    def share(self, eps: float, share: float) -> float:
        """Return the ratio that is as much higher."""
        return eps - 20.0 * math.log10(share) if share else math.inf

    def grows(self, first: float, last: float) -> bool:
        """Return whether the ratio falls."""
        return last < first < math.inf

    def between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the means; 6 dB less than the stronger one if the weaker one is nothing."""
        return torch.where(torch.isinf(low), high + 6.0, (low + high) / 2.0)


class _Mix(Unit):
    name = "mix"
    of_family = True

    def check(self, eps: float) -> None:
        """Raise UsageError if eps is no share."""
        require(0.0 <= eps <= 1.0, "eps in mix", eps, "a share, 0 to 1")


class _Octaves(Unit):
    name = "octaves"
    of_family = True

    def size(self, delta: Tensor, scale: Tensor | None) -> Tensor:
        """Raise UsageError: octaves measure no signal."""
        raise UsageError("eps: unit octaves is for changes of the model, not of a signal")


UNITS: dict[str, Unit] = {
    unit.name: unit for unit in (_Std(), Unit(), _L2(), _LInf(), _Decibels(), _Mix(), _Octaves())
}


def norms(x: Tensor) -> Tensor:
    """Return the Euclidean norm of each sample of x (batch, length, channels), in float64.

    The channels of float32 are summed in float64.
    """
    if x.dtype == torch.float64:
        return torch.linalg.vector_norm(x, dim=(1, 2))
    return torch.linalg.vector_norm(torch.linalg.vector_norm(x, dim=1).double(), dim=1)


def energies(x: Tensor) -> Tensor:
    """Return the sum of squares of each sample of x (batch, length, channels), in float64."""
    return x.square().sum((1, 2)) if x.dtype == torch.float64 else norms(x).square()


def largest(x: Tensor) -> Tensor:
    """Return the largest modulus of each sample of x (batch, length, channels), in float64."""
    return torch.maximum(x.amax(1), -x.amin(1)).amax(1).double()


def which(size: Tensor, ids: IntArray | None) -> str:
    """Return the name of the first sample whose size is zero."""
    row = int(torch.argmin(size))
    return f"row {row} of the batch" if ids is None else f"sample {ids[row]}"
