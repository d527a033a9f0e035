"""A band of DFT bins as a linear space with orthonormal coordinates."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustssm.errors import require
from robustssm.networks.inference import padded


@dataclass(frozen=True)
class Band:
    """Signals of length L whose DFT is supported on the bins low..high, low >= 0.

    Coordinates c (batch, dimension, channels): cosine and sine of each bin, one column for bins
    0 and L/2. |c|_2 = |Q c|_2.
    """

    low: int
    high: int
    length: int

    def __post_init__(self) -> None:
        exists = 0 <= self.low <= self.high <= self.length // 2
        bins, top = f"{self.low}-{self.high}", self.length // 2
        require(exists, f"band at length {self.length}", bins, f"bins within 0-{top}")

    @cached_property
    def _special(self) -> Tensor:
        """Which bins have no sine (0 and L/2)."""
        return 2 * torch.arange(self.low, self.high + 1) % self.length == 0

    @cached_property
    def _amplitude(self) -> Tensor:
        return torch.sqrt(2.0 / self.length / (1.0 + self._special.double()))

    @property
    def dimension(self) -> int:
        """Number of coordinates per channel."""
        return 2 * len(self._special) - int(self._special.sum())

    @property
    def bins(self) -> Tensor:
        """DFT bin of each coordinate, (dimension,)."""
        bins = torch.arange(self.low, self.high + 1)
        return torch.cat([bins, bins[~self._special]])

    def analyse(self, x: Tensor) -> Tensor:
        """Return coordinates of x (batch, length, channels) in the band, the same in any batch."""
        X = torch.fft.rfft(padded(x.double()), dim=1)[: len(x), self.low : self.high + 1]
        X = X * self._amplitude.to(x.device)[:, None]
        return torch.cat([X.real, -X.imag[:, ~self._special.to(x.device)]], dim=1)

    def synthesise(self, c: Tensor) -> Tensor:
        """Return the signal (batch, length, channels) with coordinates c."""
        count, special = self.high - self.low + 1, self._special.to(c.device)
        X = c.new_zeros((len(c), self.length // 2 + 1, c.shape[2]), dtype=torch.complex128)
        X.real[:, self.low : self.high + 1] = c[:, :count]
        # The imaginary part of the bins 0 and L/2 stays zero.
        X.imag[:, self.low : self.high + 1][:, ~special] = -c[:, count:]
        X[:, self.low : self.high + 1] /= self._amplitude.to(c.device)[:, None]
        # irfft counts a bin twice where it stands for a pair; 1 / amplitude is sqrt(L/2) there
        # and sqrt(L) in the others, as its 1/L asks for.
        return torch.fft.irfft(padded(X), n=self.length, dim=1)[: len(c)]


def norm(c: Tensor) -> Tensor:
    """Return the Euclidean norm of each sample of c (batch, ...), whatever its batch."""
    return padded(c).flatten(1).square().sum(1).sqrt()[: len(c)]
