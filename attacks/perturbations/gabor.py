"""A sinusoid under a Gaussian envelope: local in time and in frequency.

Reference: Gabor, Theory of Communication (Journal of the IEE 93, 1946), part 1.
"""

import torch
from torch import Tensor

from robustssm.attacks.bands import waves, written
from robustssm.attacks.base import Site, family
from robustssm.attacks.channels import Waves
from robustssm.attacks.frequencies import cycles_per_sample


@family
class Gabor(Waves):
    """exp(-(u - centre)^2 / (2 width^2)) cos(2 pi f t + phase), u = (t + 1/2) / valid steps.

    Every channel has the same root mean square over the whole valid part: narrow envelopes are
    high.

    Parameters
    ----------
    mode : float
        The frequency f, in `frequency_unit`.
    centre : float
        Of the envelope, from 0, the start of the valid part, to 1, its end.
    width : float
        Standard deviation of the envelope, above 0 and up to 1, as a fraction of the valid part.
    phase, channels, frequency_unit
        As for `Fourier`, without `worst:P`; the phase is that at t = 0.
    """

    mode: float
    centre: float = 0.5
    width: float = 0.1
    phase: str | float = "random"
    channels: str = "independent"
    frequency_unit: str = "bin"

    def __post_init__(self) -> None:
        self.check_phase()
        for name in ("mode", "centre", "width"):
            object.__setattr__(self, name, written(getattr(self, name)))
        expected = "a fraction of the length"
        self.check(0.0 <= self.centre <= 1.0, "centre", f"{expected}, 0 to 1")
        self.check(0.0 < self.width <= 1.0, "width", f"{expected}, above 0 and up to 1")

    def _cycles(self, L: int, site: Site) -> float:
        return cycles_per_sample(self.mode, self.frequency_unit, L, site.rate, self.who)

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a mode beyond Nyquist, or one that vanishes at every sample."""
        self.check_sine(self._cycles(L, site), f"mode {self.mode:g}", L)

    def pair(self, valid: int, site: Site, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the atom at phase 0 and its quadrature, each (valid, 1)."""
        cosine, sine = waves((self._cycles(site.length, site),), valid, device)
        t = torch.arange(valid, dtype=torch.float64, device=device)[:, None]
        distance = ((t + 0.5) / valid - self.centre).abs()
        nearest = distance.min()
        # Relative to the nearest step, so that no envelope underflows as a whole.
        exponent = (distance - nearest) / self.width * ((distance + nearest) / self.width) / 2.0
        envelope = torch.exp(-torch.where(distance > nearest, exponent, 0.0))
        return envelope * cosine, envelope * sine
