"""Values kept on few bits, as a converter or an image file does."""

import math
from typing import ClassVar

from torch import Tensor

from robustssm.attacks.base import Site, Transform, family
from robustssm.typing import IntArray

_MOST_BITS = 32


@family
class Quantise(Transform):
    """The nearest of 2^bits equally spaced levels, the first at `low` and the last at `high`.

    Pixels in [0, 1] on 8 bits have 255 steps. Inside the range the error is at most half a step; a
    value half way between two levels goes to the even one, values beyond the range to its ends.

    Parameters
    ----------
    bits : int
        1 to 32.
    low, high : float
        The range, in the signal's units.
    """

    bits: int
    low: float = 0.0
    high: float = 1.0

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        held = 1 <= self.bits <= _MOST_BITS
        self.check(held, "bits", f"a whole number, 1 to {_MOST_BITS}")
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        self.check(finite and self.low < self.high, "low", f"finite and below high, {self.high:g}")

    def transform(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the levels nearest to x."""
        steps = 2**self.bits - 1
        share = (x - self.low).mul_(steps / (self.high - self.low)).round_().clamp_(0, steps)
        share.div_(steps)
        # Exact at both ends.
        low = 0.0 if self.low == 0.0 else self.low * (1.0 - share)
        return share.mul_(self.high).add_(low)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return T(x) - x."""
        return self.transform(x, sample_id, seed, site).sub_(x)
