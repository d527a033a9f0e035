"""A delay: the test of whether a model minds when things happen."""

import torch
from torch import Tensor

from robustssm.attacks.base import Site, Transform, family
from robustssm.errors import UsageError
from robustssm.typing import IntArray

FILLS = ("edge", "zero", "wrap")
DRAWS = ("fixed", "random")


@family
class TimeShift(Transform):
    """x(t - steps), all channels alike; negative steps advance.

    draw: `random` delays each sample by 1 to |steps|, uniform, in the direction of `steps`. Where
    nothing is there to be read, fill `edge` repeats the first (or last) value, `zero` gives zeros,
    `wrap` continues at the other end of the valid part.
    """

    steps: int
    fill: str = "edge"
    draw: str = "fixed"

    def __post_init__(self) -> None:
        if type(self.steps) is not int:
            raise UsageError(f"{self.who}: steps is {self.steps!r}, expected a whole number")
        for key, allowed in (("fill", FILLS), ("draw", DRAWS)):
            if getattr(self, key) not in allowed:
                raise UsageError(
                    f"{self.who}: {key} {getattr(self, key)!r} is unknown, expected one of "
                    f"{', '.join(allowed)}"
                )

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError where nothing of the sequence would be left."""
        if abs(self.steps) >= L:
            raise UsageError(
                f"{self.who}: {self.steps} steps leave nothing of length {L}, expected "
                f"{1 - L} to {L - 1}"
            )

    def transform(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return x delayed."""
        batch, valid, channels = x.shape
        delay = torch.full((batch, 1), self.steps, device=x.device)
        if self.draw == "random" and self.steps:
            sign = 1 if self.steps > 0 else -1
            draws = self.draws(sample_id, 1, seed, site, x)
            delay = sign * (1 + (draws * abs(self.steps)).long())
        t = torch.arange(valid, device=x.device) - delay
        inside = (t >= 0) & (t < valid)
        t = t.remainder(valid) if self.fill == "wrap" else t.clamp(0, valid - 1)
        y = x.gather(1, t[..., None].expand(batch, valid, channels))
        return y * inside[..., None] if self.fill == "zero" else y
