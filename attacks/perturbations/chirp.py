"""A sweep of frequency. Phase as in scipy.signal.chirp."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustssm.attacks.bands import waves, written
from robustssm.attacks.base import Site, family
from robustssm.attacks.channels import Banded, Waves

_LAWS = ("linear", "log")


@family
class Chirp(Waves, Banded):
    """A sinusoid whose frequency runs from low at the first valid step to high at the last.

    Every channel has the same root mean square. T is the last valid step.

    Parameters
    ----------
    low, high : float
        Frequencies at the ends, in `frequency_unit`.
    law : str
        `linear`, f = low + (high - low) t / T, or `log`, f = low (high / low)^(t / T).
    phase, channels, frequency_unit
        As for `Fourier`, without `worst:P`; the phase is that at the first step.
    """

    low: float
    high: float
    law: str = "linear"
    phase: str | float = "random"
    channels: str = "independent"
    frequency_unit: str = "bin"

    def __post_init__(self) -> None:
        self.check_phase()
        for name in ("low", "high"):
            object.__setattr__(self, name, written(getattr(self, name)))
        self.check_word("law", _LAWS)
        self.check(self.low <= self.high, "low", f"at most high, {self.high:g}")
        starts = self.law != "log" or self.low > 0.0
        self.check(starts, "low", "above 0, where a log sweep can start, or law='linear'")

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a sweep beyond Nyquist, or one that vanishes at every sample."""
        low, high = self.band(replace(site, length=L))
        if low == high:
            self.check_sine(low, f"frequency {self.low:g}", L)

    def pair(self, valid: int, site: Site, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of the sweep's angle, each (valid, 1)."""
        low, high = self.band(site)
        if low == high:
            return waves((low,), valid, device)
        t = torch.arange(valid, dtype=torch.float64, device=device)[:, None]
        T = max(valid - 1, 1)
        if self.law == "linear":
            turns = t * (low + 0.5 * (high - low) * t / T)
        else:
            r = math.log(high / low)
            turns = low * T / r * torch.expm1(r * t / T)
        angle = 2.0 * math.pi * torch.remainder(turns, 1.0)
        return torch.cos(angle), torch.sin(angle)
