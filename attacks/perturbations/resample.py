"""A signal read at another rate: what a sensor that samples faster or slower would deliver.

The signal between its samples is the trigonometric interpolant of its even extension (the
interpolant of the type-II cosine transform), which has no jump at the ends. It is evaluated
exactly at any rate by the chirp transform; the many signals of a layer by the matrix of it, as far
as that is faster.

Reference: Bluestein, IEEE Trans. Audio Electroacoust. 18 (1970); Rabiner, Schafer and Rader, Bell
Syst. Tech. J. 48 (1969), section III.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from robustssm.attacks.bands import pairwise, spectrum
from robustssm.attacks.base import Site, Transform, family
from robustssm.typing import IntArray

FILLS = ("edge", "zero")
# Complex numbers worked on at a time: 16 MiB.
_BLOCK = 1 << 20
# Up to so many steps a matrix is faster.
_DENSE = 1024


@family
class Resample(Transform):
    """x(factor t) at t = 0, 1, ..: above 1 it runs faster; below 1 slower, and its end is not read.

    Above 1 frequencies that would alias are removed first. A factor of 1 changes nothing.

    Parameters
    ----------
    factor : float
        Steps of the signal per step of the result, above 0.
    fill : str
        Past the last sample `edge` holds the last value read, `zero` gives zeros.
    """

    factor: float
    fill: str = "edge"

    def __post_init__(self) -> None:
        held = math.isfinite(self.factor) and self.factor > 0.0
        self.check(held, "factor", "a number > 0")
        self.check_word("fill", FILLS)

    def transform(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return x read at times factor t."""
        L = x.shape[1]
        if self.factor == 1.0:
            return x
        if site.layer is None or L > _DENSE:
            return self.read(x)
        matrix = _matrix(self, L, x.dtype, x.device)
        # One product per sample: rounded alike in every batch.
        return torch.bmm(x.mT, matrix.expand(len(x), L, L)).mT

    def read(self, x: Tensor) -> Tensor:
        """Return x read at times factor t, by the chirp transform."""
        batch, L, channels = x.shape
        signals = x.mT
        rows = spectrum(torch.cat([signals, signals.flip(2)], dim=2).mT)[..., :L].flatten(0, 1)
        k = torch.arange(L, dtype=torch.float64, device=x.device)
        weight = torch.where(k == 0, 0.5, 1.0).double() / L
        # Frequency k / 2L becomes factor k / 2L, at most 1/2.
        rows = rows * (weight * (k * self.factor <= L * (1.0 + 1e-12))).to(x.dtype)
        y = torch.cat([self._read(part, L) for part in rows.split(max(2, _BLOCK // (2 * L)))])
        y = y.view(batch, channels, L)
        last = min(L - 1, math.floor((L - 1) / self.factor * (1.0 + 1e-12)))
        if self.fill == "edge":
            return y[..., torch.arange(L, device=x.device).clamp(max=last)].mT
        return (y * (k <= last)).mT

    def _read(self, rows: Tensor, L: int) -> Tensor:
        """Return Re sum_k rows[:, k] exp(i pi factor k t / L) for t < L; rows (n, L) complex.

        k t = (k^2 + t^2 - (t - k)^2) / 2 makes the sum a convolution.
        """
        k = torch.arange(L, dtype=torch.float64, device=rows.device)
        half = 0.5 * math.pi * torch.remainder(k.square() * (self.factor / L), 4.0)
        chirp = torch.polar(torch.ones_like(half), half).to(rows.dtype)
        kernel = torch.cat([chirp.conj(), chirp.new_zeros(1), chirp.conj()[1:].flip(0)])
        padded = pairwise((rows * chirp)[:, None])
        product = torch.fft.fft(padded, n=2 * L) * torch.fft.fft(kernel)
        y = torch.fft.ifft(product)[: len(rows), 0, :L] * chirp
        return y.real


@lru_cache(maxsize=2)
def _matrix(of: Resample, L: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what becomes of an impulse at each step, (L, L)."""
    impulses = torch.eye(L, dtype=torch.float64, device=device)
    return of.read(impulses[:, :, None])[:, :, 0].to(dtype).contiguous()
