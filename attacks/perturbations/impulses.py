"""What happens at single steps: impulses, and values that are lost."""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robustssm.attacks.base import Site, Transform, family
from robustssm.attacks.channels import Channelled
from robustssm.attacks.kept import kept
from robustssm.errors import UsageError
from robustssm.typing import IntArray

_FILLS = ("mean", "hold")


def lowest(draws: Tensor, count: int) -> Tensor:
    """Return where the `count` lowest of draws (batch, channels, steps) are, the first if equal."""
    if draws.device.type == "cpu":
        ordered = torch.from_numpy(np.partition(draws.numpy(), count - 1, axis=2))
        bound = ordered[..., count - 1 : count]
    else:
        # Torch's kthvalue is not repeatable on a GPU, where there are equal ones.
        bound = draws.sort(dim=2).values[..., count - 1 : count]
    below = draws <= bound
    if bool((below.sum(2) > count).any()):
        equal = draws == bound
        left = count - (draws < bound).sum(2, keepdim=True)
        below &= ~equal | (equal.cumsum(2) <= left)
    return below


@family
class Impulses(Channelled):
    """Impulses of equal size and random sign at distinct random steps of the valid part.

    Steps and signs are drawn per sample and channel. The spectrum of one impulse is flat; no band
    is named.

    Parameters
    ----------
    count : int
        Number of impulses.
    channels : str
        `independent` (draws per channel), `same`, or `one` channel, drawn per sample.
    """

    dense: ClassVar[bool] = True
    free: ClassVar[bool] = True

    count: int = 1
    channels: str = "independent"

    def __post_init__(self) -> None:
        self.check_channels()
        self.check(self.count >= 1, "count", "a whole number, 1 or more")

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for more impulses than steps."""
        self.check(self.count <= L, "count", f"1-{L}, the number of valid steps")

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return impulses of height 1: at the steps whose draws rank lowest."""
        self.check_length(x.shape[1], site)
        draws = self.dense_draws(x.shape[1], x, sample_id, seed, site)
        # The first bit of a draw is the sign, the others rank.
        sign = torch.sign(draws - 0.5)
        hit = lowest(torch.frac(2.0 * draws), self.count)
        return self.spread((sign * hit).mT, x, sample_id, seed, site)


@family
class Dropout(Transform, Channelled):
    """Random steps of the valid part lose their values.

    Parameters
    ----------
    share : float
        Of the valid steps, above 0 and up to 1; the nearest whole number of them, at least one.
    fill : str or float
        What replaces them: a number in the signal's own units, `mean` (of the sample's valid part,
        per channel) or `hold` (the last value kept; before the first one kept, that one).
    channels : str
        `same` loses all channels at one step, `independent` each at its own, `one` a single
        channel.
    """

    dense: ClassVar[bool] = True

    share: float = 0.1
    fill: str | float = 0.0
    channels: str = "same"

    def __post_init__(self) -> None:
        self.check_channels()
        object.__setattr__(self, "share", float(self.share))
        self.check(0.0 < self.share <= 1.0, "share", "above 0 and up to 1")
        if not isinstance(self.fill, str):
            object.__setattr__(self, "fill", float(self.fill))
        held = self.fill in _FILLS if isinstance(self.fill, str) else math.isfinite(self.fill)
        self.check(held, "fill", f"a finite number, {' or '.join(_FILLS)}")

    def _lost(self, valid: int) -> int:
        return max(1, round(self.share * valid))

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError if there is no value to hold."""
        if self.fill == "hold" and self._lost(L) == L:
            raise UsageError(
                f"{self.who}: all of {L} valid steps are lost, so that no value is left to hold; "
                "lower share, or give another fill"
            )

    def transform(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return x with the steps whose draws rank lowest replaced."""
        self.check_length(x.shape[1], site)
        lost = kept(self, x, sample_id, seed, site, self._which)
        rows = x.mT
        if self.fill == "mean":
            return torch.where(lost, rows.mean(2, keepdim=True), rows).mT
        if self.fill == "hold":
            t = torch.arange(x.shape[1], device=x.device)
            last = torch.where(lost, -1, t).cummax(2).values
            first = (~lost).byte().argmax(2, keepdim=True)
            return rows.gather(2, torch.where(last < 0, first, last).expand_as(rows)).mT
        return torch.where(lost, float(self.fill), rows).mT

    def _which(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return where the draws rank lowest, (batch, channels or 1, valid)."""
        draws = self.dense_draws(x.shape[1], x, sample_id, seed, site)
        lost = lowest(draws, self._lost(x.shape[1]))
        return self.spread(lost.mT, x, sample_id, seed, site).mT
