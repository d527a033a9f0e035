"""A delay: the test of whether a model minds when things happen."""

import torch
from torch import Tensor

from robustssm.attacks.base import Site, Transform, family
from robustssm.typing import IntArray

FILLS = ("edge", "zero", "wrap")
DRAWS = ("fixed", "random")


@family
class TimeShift(Transform):
    """x(t - steps), all channels alike; negative steps advance.

    Parameters
    ----------
    steps : int
        The delay, in steps.
    fill : str
        Beyond the signal `edge` repeats the first (or last) value, `zero` gives zeros, `wrap`
        continues at the other end of the valid part.
    draw : str
        `fixed`, or `random`: each sample is delayed by 1 to |steps|, uniform, in the direction of
        `steps`.
    """

    steps: int
    fill: str = "edge"
    draw: str = "fixed"

    def __post_init__(self) -> None:
        self.check_word("fill", FILLS)
        self.check_word("draw", DRAWS)

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError if nothing of the sequence would be left."""
        left = abs(self.steps) < L
        self.check(left, "steps", f"{1 - L} to {L - 1}, so that something of length {L} is left")

    def transform(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return x delayed."""
        batch, valid, channels = x.shape
        delay = torch.full((batch, 1), self.steps, device=x.device)
        if self.draw == "random" and self.steps:
            sign = 1 if self.steps > 0 else -1
            draws = self.draws(1, x, sample_id, seed, site)
            delay = sign * (1 + (draws * abs(self.steps)).long())
        t = torch.arange(valid, device=x.device) - delay
        inside = (t >= 0) & (t < valid)
        t = t.remainder(valid) if self.fill == "wrap" else t.clamp(0, valid - 1)
        y = x.mT.gather(2, t[:, None].expand(batch, channels, valid))
        return (y * inside[:, None] if self.fill == "zero" else y).mT
