"""Zero-phase filters: what a channel of limited bandwidth, or an anti-aliasing filter, takes away.

Applied in the DFT of the valid part, whose boundary is periodic: a smooth filter mixes the ends.
Reference for the smooth ones: Butterworth, Wireless Engineer 7 (1930), through the bilinear
transform (as scipy.signal.butter) and run forwards and backwards (as scipy.signal.filtfilt).
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from robustssm.attacks.bands import above_rounding, inside, signal, spectrum
from robustssm.attacks.base import Site, Transform, family
from robustssm.attacks.channels import Banded
from robustssm.attacks.units import energies
from robustssm.errors import UsageError, require
from robustssm.typing import IntArray


class Filter(Banded, Transform):
    """A filter that keeps a band, or removes it.

    order: None removes whole DFT bins, the band's ends being part of it; n applies the squared
    magnitude of the Butterworth filter of order n (per edge), 1/2 at the band's edges. Where the
    sequence ends before L, frequencies stay the same in cycles per sample.
    """

    keeps: ClassVar[bool] = True
    order: int | None

    def __post_init__(self) -> None:
        # What goes of whole bins was there.
        object.__setattr__(self, "confined", self.order is None)
        whole = self.order is None or self.order >= 1
        self.check(whole, "order", "a whole number >= 1, or None for a filter of whole bins")
        low, high = self.edges()
        held = low is None or high is None or low <= high
        require(held, f"{self.who}: band", (low, high), "low <= high")

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a frequency beyond Nyquist, or one that `order` does not allow."""
        band = self.band(replace(site, length=L))
        named = [f for f, edge in zip(band, self.edges(), strict=True) if edge is not None]
        if self.order is not None and not (named[0] > 0.0 and named[-1] < 0.5):
            raise UsageError(
                f"{self.who}: of order {self.order} needs its frequencies between 0 and Nyquist, "
                "both left out; leave order out to remove whole bins"
            )
        narrow = self.order is not None and len(named) == 2 and named[0] == named[1]
        require(
            not narrow, f"{self.who}: band", self.edges(), "low < high for a filter of an order"
        )

    def loss(self, valid: int, site: Site, like: Tensor) -> Tensor:
        """Return the share of each DFT bin that is removed, 0 to 1, shape (valid // 2 + 1,)."""
        low, high = self.band(site)
        if self.order is None:
            return (inside(valid, low, high, like) != self.keeps).double()
        f = torch.arange(valid // 2 + 1, dtype=torch.float64, device=like.device) / valid
        w = torch.tan(math.pi * f)
        a, b = math.tan(math.pi * low), math.tan(math.pi * high)
        if low == 0.0:
            detuning = w / b
        elif high == 0.5:
            detuning = a / w
        else:
            detuning = (w.square() - a * b).abs() / (w * (b - a))
        # detuning^2n / (1 + detuning^2n), without overflow.
        log_power = 2.0 * self.order * torch.log(detuning)
        return torch.sigmoid(log_power if self.keeps else -log_power)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return what is removed, with a minus."""
        place = Site(length=site.length, rate=site.rate)
        gain = _gain(self, x.shape[1], place, x.dtype, x.device)
        return above_rounding(signal(spectrum(x).mul_(gain), x.shape[1]), x)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in the stop band; all of it if whole bins are removed."""
        energy = super().in_band(delta, site)
        return energies(delta) - energy if self.keeps else energy


@lru_cache(maxsize=2)
def _gain(of: Filter, valid: int, site: Site, dtype: torch.dtype, device: torch.device) -> Tensor:
    return -of.loss(valid, site, torch.empty(0, device=device)).to(dtype)


@family
class LowPass(Filter):
    """Frequencies up to `cutoff` stay, DC with them; at the Nyquist frequency nothing changes.

    Parameters
    ----------
    cutoff : float
        The highest frequency that stays, in `frequency_unit`.
    order : int, optional
        Of the Butterworth filter, applied in squared magnitude; by default whole DFT bins are
        removed.
    frequency_unit : str
        As for `Fourier`.
    """

    cutoff: float
    order: int | None = None
    frequency_unit: str = "bin"

    ends: ClassVar[tuple[str | None, str | None]] = (None, "cutoff")


@family
class HighPass(Filter):
    """Frequencies from `cutoff` on stay; DC goes, unless cutoff is 0, which changes nothing.

    Parameters
    ----------
    cutoff : float
        The lowest frequency that stays, in `frequency_unit`.
    order, frequency_unit
        As for `LowPass`.
    """

    cutoff: float
    order: int | None = None
    frequency_unit: str = "bin"

    ends: ClassVar[tuple[str | None, str | None]] = ("cutoff", None)


@family
class BandPass(Filter):
    """Frequencies from `low` to `high` stay; DC goes, unless low is 0.

    Parameters
    ----------
    low, high : float
        The band's ends, in `frequency_unit`.
    order, frequency_unit
        As for `LowPass`.
    """

    low: float
    high: float
    order: int | None = None
    frequency_unit: str = "bin"


@family
class BandStop(BandPass):
    """Frequencies from `low` to `high` go; DC stays, unless low is 0. Fields as of `BandPass`."""

    keeps: ClassVar[bool] = False
