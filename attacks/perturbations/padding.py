"""The noise-padded task: what was seen has to be remembered while noise goes on.

Reference: HOPE (arXiv 2405.13975), the experiment on sequential CIFAR-10 with padded noise, and
the authors' released script: 1,024 pixels, then 1,024 steps uniform in [0, 1) on each channel.
"""

from typing import ClassVar

import torch
from torch import Tensor

from robustssm.attacks.base import Site, family
from robustssm.attacks.channels import Channelled
from robustssm.errors import UsageError
from robustssm.typing import IntArray

# Longer ones do not fit into memory.
_MOST = 10**6


@family
class NoisePadding(Channelled):
    """`steps` steps of noise after the sequence, which itself stays as it is.

    In `linf`, as in the paper, eps multiplies the draws; other units are delivered exactly, over
    all steps. Without strength nothing is appended. The paper draws after the inputs were
    normalised, and pools over the padded half alone: here the noise is in units of the input, and
    the model pools as it always does.

    Parameters
    ----------
    steps : int
        Steps that are appended, 1 to 10^6.
    centred : bool
        Whether the noise is uniform in [-1, 1) instead of [0, 1).
    channels : str
        `independent` (draws per channel), `same`, or `one` channel, drawn per sample.
    """

    steps: int
    centred: bool = False
    channels: str = "independent"

    unit: ClassVar[str] = "linf"
    sites: ClassVar[tuple[str, ...]] = ("input",)
    fills: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.check_channels()
        self.check(1 <= self.steps <= _MOST, "steps", f"a whole number, 1 to {_MOST}")

    def extended(self, x: Tensor) -> Tensor:
        """Return x with `steps` rows of zeros appended."""
        return torch.cat([x, x.new_zeros((len(x), self.steps, x.shape[2]))], dim=1)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return zeros, then noise; UsageError for sequences with lengths of their own."""
        batch, valid, channels = x.shape
        if valid < site.length:
            raise UsageError(
                f"{self.who}: a sequence ends after {valid} steps of its own, expected whole "
                "sequences without lengths; noise inside the padding would not reach the model"
            )
        noise = self.channel_draws(self.steps, x, sample_id, seed, site)
        noise = 2.0 * noise - 1.0 if self.centred else noise
        noise = self.spread(noise, x, sample_id, seed, site)
        before = noise.new_zeros((batch, valid - self.steps, channels))
        return torch.cat([before, noise.expand(batch, self.steps, channels)], dim=1)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in the appended steps."""
        return delta[:, -self.steps :].square().sum((1, 2))
