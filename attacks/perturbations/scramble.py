"""Phases drawn at random, amplitudes kept: what is left when only the spectrum is known.

References: Theiler et al., Testing for nonlinearity in time series, Physica D 58 (1992), section
2.4.1; Prichard and Theiler, Phys. Rev. Lett. 73 (1994), page 951, for several channels.
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from robustssm.attacks.bands import above_rounding, inside, signal, spectrum
from robustssm.attacks.base import Site, Transform, family
from robustssm.attacks.channels import Banded, Channelled
from robustssm.attacks.kept import kept
from robustssm.errors import UsageError
from robustssm.typing import IntArray


@family
class PhaseScramble(Channelled, Banded, Transform):
    """Every DFT bin from `low` to `high` is turned by a uniform random phase.

    Amplitudes stay, as do DC and, at even length, the Nyquist bin.

    Parameters
    ----------
    low, high : float
        The band's ends, in `frequency_unit`; high is the Nyquist frequency by default.
    channels : str
        `independent`; `same` turns all channels alike, which keeps their cross-spectra; `one`
        scrambles one channel alone.
    frequency_unit : str
        As for `Fourier`.
    """

    dense: ClassVar[bool] = True

    low: float = 0
    high: float | None = None
    channels: str = "independent"
    frequency_unit: str = "bin"

    confined: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_channels()
        self.check(self.high is None or self.low <= self.high, "low", f"at most high, {self.high}")
        for key in ("low", "high"):
            value = getattr(self, key)
            if self.frequency_unit == "bin" and value is not None and float(value).is_integer():
                object.__setattr__(self, key, int(value))  # one repr, hence the same draws

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError if no bin of the band has a phase at length L."""
        if not len(self.free_bins(L, replace(site, length=L))):
            raise UsageError(
                f"{self.who}: the band holds no bin with a phase at length {L}, expected one of "
                f"1-{(L - 1) // 2}"
            )

    def free_bins(self, valid: int, site: Site) -> Tensor:
        """Return the bins of the band that have a phase."""
        mask = inside(valid, *self.band(site), torch.empty(0))
        mask[0] = False
        if valid % 2 == 0:
            mask[-1] = False
        return torch.nonzero(mask)[:, 0]

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return what other phases change."""
        first, behind = _ends(self, x.shape[1], Site(length=site.length, rate=site.rate))
        X = spectrum(x)
        X[..., :first] = 0.0
        X[..., first:behind] *= kept(self, x, sample_id, seed, site, self._turns)
        X[..., behind:] = 0.0
        part = signal(X, x.shape[1])
        return above_rounding(self.spread(part, x, sample_id, seed, site), x)

    def _turns(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return what the band's bins are multiplied by, (batch, channels or 1, bins)."""
        first, behind = _ends(self, x.shape[1], Site(length=site.length, rate=site.rate))
        phase = 2.0 * math.pi * self.dense_draws(behind - first, x, sample_id, seed, site)
        return torch.complex(torch.cos(phase) - 1.0, torch.sin(phase))


@lru_cache(maxsize=4)
def _ends(of: PhaseScramble, valid: int, site: Site) -> tuple[int, int]:
    """Return the first bin that is turned, and the first one behind the last."""
    bins = of.free_bins(valid, site)
    return int(bins[0]), int(bins[-1]) + 1
