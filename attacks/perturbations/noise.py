"""Gaussian noise with a given spectrum, made from normal draws of its Fourier coefficients."""

import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from robustssm.attacks.bands import inside, signal, written
from robustssm.attacks.base import Site, family
from robustssm.attacks.channels import Banded, Channelled
from robustssm.errors import UsageError, require
from robustssm.typing import IntArray


class GaussianNoise(Channelled):
    """Stationary Gaussian noise, periodic in the valid part, with independent DFT coefficients.

    Brought to its budget it is, where the spectrum is flat, uniform on the sphere of all signals
    in the band; the channels share the budget as their draws fall.
    """

    dense: ClassVar[bool] = True
    free: ClassVar[bool] = True

    def coloured(
        self, weights: Tensor, first: int, x: Tensor, sample_id: IntArray, seed: int, site: Site
    ) -> Tensor:
        """Return noise (batch, valid, channels) with amplitude weights[k] at bin first + k.

        Two draws per bin. The real bins 0 and valid/2 have all of their power in one of the two.
        """
        valid, count = x.shape[1], len(weights)
        draws = self.dense_draws(2 * count, x, sample_id, seed, site, normal=True)
        k = torch.arange(first, first + count, device=x.device)
        real = (2 * k % valid == 0).double()
        # White noise of variance 1 for weights 1: every bin then has |X|^2 = valid on average.
        weights = weights * math.sqrt(valid / 2.0)
        both = torch.stack([torch.sqrt(1.0 + real) * weights, (1.0 - real) * weights], dim=1)
        band = torch.view_as_complex(draws.unflatten(2, (count, 2)) * both.to(x.dtype))
        behind = valid // 2 + 1 - first - count
        noise = signal(torch.nn.functional.pad(band, (first, behind)), valid)
        return self.spread(noise, x, sample_id, seed, site)


@family
class BandNoise(GaussianNoise, Banded):
    """Gaussian noise in the DFT bins low..high, both ends included; zero outside.

    If the sequence ends before L the band stays in cycles per sample, and the noise lies in those
    bins of the valid part's DFT that are inside it.

    Parameters
    ----------
    low, high : float
        The band's ends, in `frequency_unit`.
    channels, frequency_unit
        As for `Fourier`.
    """

    low: float
    high: float
    channels: str = "independent"
    frequency_unit: str = "bin"

    confined: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_channels()
        for name in ("low", "high"):
            object.__setattr__(self, name, written(getattr(self, name)))
        self.check(self.low <= self.high, "low", f"at most high, {self.high:g}")

    def _bins(self, valid: int, site: Site) -> tuple[int, int]:
        """Return the first DFT bin of the band and their number."""
        edges = self.band(site)
        bins = torch.nonzero(inside(valid, *edges, torch.empty(0)))[:, 0]
        if len(bins) == 0:
            raise UsageError(
                f"{self.who}: no DFT bin of {valid} valid steps lies in the band from "
                f"{edges[0]:g} to {edges[1]:g} cycles per sample; widen it, or leave out "
                "sequences that short"
            )
        return int(bins[0]), len(bins)

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a band beyond Nyquist, or without any bin."""
        self._bins(L, replace(site, length=L))

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the noise, of equal mean power in every bin."""
        first, count = self._bins(x.shape[1], site)
        weights = torch.ones(count, dtype=torch.float64, device=x.device)
        return self.coloured(weights, first, x, sample_id, seed, site)


@family
class ColouredNoise(GaussianNoise):
    """Gaussian noise of power 1 / f^alpha; bin 0 is empty.

    The power follows the law exactly, on average, at every DFT bin of the valid part.

    Parameters
    ----------
    alpha : float
        Exponent: white 0, pink 1, brown 2, blue -1.
    channels : str
        `independent` (draws per channel), `same`, or `one` channel, drawn per sample.

    References
    ----------
    Timmer and Koenig, On Generating Power Law Noise (Astronomy and Astrophysics 300, 1995), pages
    707-710.
    """

    alpha: float
    channels: str = "independent"

    def __post_init__(self) -> None:
        self.check_channels()
        object.__setattr__(self, "alpha", written(self.alpha))
        self.check(math.isfinite(self.alpha), "alpha", "a finite number")

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError if bin 0 is the only one."""
        require(
            L >= 2, f"{self.who}: number of valid steps", L, "2 or more, for a frequency above 0"
        )

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the noise, amplitude 1 at the strongest bin."""
        self.check_length(x.shape[1], site)
        k = torch.arange(1, x.shape[1] // 2 + 1, dtype=torch.float64, device=x.device)
        strongest = 1.0 if self.alpha >= 0.0 else float(len(k))
        weights = (k / strongest) ** (-self.alpha / 2.0)
        return self.coloured(weights, 1, x, sample_id, seed, site)
