"""Sinusoids and bands on a finite grid, frequencies in cycles per sample: waves, energies, DFTs.

A sample's bits do not depend on its batch.
"""

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from robustssm.attacks.units import largest, norms
from robustssm.errors import UsageError

# Frequencies that differ by less are the same DFT bin.
_SLACK = 1e-9
# A wave of amplitude 1 that should vanish keeps less than this of it, by rounding of its angle.
NOTHING = 1e-12
# What a DFT and its inverse leave behind, relative to the signal: eps log2 L, with room.
_ROUNDING = {torch.float64: 1e-13, torch.float32: 5e-6}


@lru_cache(maxsize=2)
def waves(cycles: tuple[float, ...], valid: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cos and sin of 2 pi f t for t < valid, each (valid, frequencies), on a device.

    The sine is exactly zero at f = 0 and f = 1/2. Not to be written to: they are kept.
    """
    f = torch.tensor(cycles, dtype=torch.float64, device=device)
    t = torch.arange(valid, dtype=torch.float64, device=device)
    angle = 2.0 * math.pi * torch.remainder(t[:, None] * f, 1.0)
    special = torch.remainder(2.0 * f, 1.0) == 0.0
    return torch.cos(angle), torch.sin(angle) * ~special


class Direction:
    """Directions written out, (batch, valid, channels).

    inside: their energy in the named band, (batch,), as soon as it is known.
    """

    inside: Tensor | None = None

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @cached_property
    def sizes(self) -> tuple[Tensor, Tensor]:
        """Euclidean norms and largest moduli, each (batch,), float64."""
        return norms(self.values), largest(self.values)

    @property
    def nbytes(self) -> int:
        """What the values take in memory."""
        return self.values.nbytes

    def add_to(self, x: Tensor, factor: Tensor) -> None:
        """Add the directions times factor (batch,) to x, in place."""
        x.addcmul_(self.values.to(x.dtype), factor.to(x.dtype)[:, None, None])


class Sum(Direction):
    """Directions that are sums of k waves, not written out.

    Parameters
    ----------
    rows : Tensor
        The waves, (k, channels or 1, valid).
    weights : Tensor
        (k, batch, channels), float64.
    norms, peaks : Tensor
        Euclidean norms and largest moduli, (batch,), float64.
    """

    def __init__(self, rows: Tensor, weights: Tensor, norms: Tensor, peaks: Tensor) -> None:
        self._rows, self._weights, self.sizes = rows, weights, (norms, peaks)

    def part(self, samples: slice) -> "Sum":
        """Return the sums of some of the samples."""
        norms, peaks = (size[samples] for size in self.sizes)
        return Sum(self._rows, self._weights[:, samples], norms, peaks)

    @property
    def nbytes(self) -> int:
        """What the weights take in memory; waves are shared."""
        return self._weights.nbytes

    def add_to(self, x: Tensor, factor: Tensor) -> None:
        """Add the sums times factor to x, in place, a wave at a time."""
        signal = x.permute(2, 0, 1)
        weights = (self._weights * factor[:, None]).to(x.dtype).mT
        for row, weight in zip(self._rows, weights, strict=True):
            signal.addcmul_(weight[..., None], row[:, None])


def written(value: float) -> float:
    """Return a frequency as a number with one repr, hence one set of draws: 3.0 is 3."""
    number = float(value)
    return int(number) if number.is_integer() else number


def unit_rms(wave: Tensor) -> Tensor:
    """Return wave (batch, valid, channels), of amplitudes around 1, with root mean square 1.

    Channels that are zero up to rounding become zero.
    """
    rms = torch.linalg.vector_norm(wave, dim=1, keepdim=True) / math.sqrt(wave.shape[1])
    return wave / torch.where(rms > NOTHING, rms, torch.inf)


def combine(rows: Tensor, weights: Tensor) -> Tensor:
    """Return the sums of rows (k, valid) with weights (batch, k, channels).

    (batch, valid, channels), steps contiguous. Each product and each sum is rounded by itself: a
    sample's bits do not depend on its batch, as they would in a matrix product.
    """
    columns = weights.to(rows.dtype).mT.unbind(2)
    total = columns[0][..., None] * rows[0]
    for row, column in zip(rows[1:], columns[1:], strict=True):
        total.addcmul_(column[..., None], row)
    return total.mT


def span(columns: Tensor) -> Tensor:
    """Return rows (k, valid) that are orthonormal, or zero, and span columns (valid, k)."""
    U, sigma, _ = torch.linalg.svd(columns, full_matrices=False)
    return (U * (sigma > 1e-9 * sigma[:1])).T.contiguous()


def span_energy(delta: Tensor, basis: Tensor) -> Tensor:
    """Return delta's (batch, valid, channels) energy in the span of orthonormal rows."""
    # One product per sample: rounded alike in every batch.
    return torch.matmul(basis, delta).square().sum((1, 2))


def inside(valid: int, low: float, high: float, like: Tensor) -> Tensor:
    """Return which bins of a real DFT of length `valid` lie in [low, high], (valid // 2 + 1,)."""
    f = torch.arange(valid // 2 + 1, dtype=torch.float64, device=like.device) / valid
    return (f >= low - _SLACK) & (f <= high + _SLACK)


def band_energy(delta: Tensor, low: float, high: float) -> Tensor:
    """Return the energy of delta (batch, valid, channels) in DFT bins in [low, high]."""
    L = delta.shape[1]
    power = torch.fft.rfft(delta, dim=1).abs().square().sum(2) / L
    weight = torch.full((power.shape[1],), 2.0, dtype=power.dtype, device=power.device)
    weight[0] = 1.0
    if L % 2 == 0:
        weight[-1] = 1.0
    return (power * weight * inside(L, low, high, delta)).sum(1)


def fourier_basis(L: int, modes: Sequence[int]) -> Tensor:
    """Return orthonormal signals (L, m) that span the bins `modes` of the DFT of length L.

    Cosine and sine of each bin, one column for bins 0 and L / 2. Raises UsageError for no bins,
    a bin twice or one outside 0 to L / 2.
    """
    bins = torch.tensor(sorted(modes), dtype=torch.int64)
    if len(bins) == 0 or len(bins.unique()) < len(bins) or not 0 <= bins[0] <= bins[-1] <= L // 2:
        raise UsageError(
            f"band: modes are {list(modes)!r}, expected different bins within 0 to {L // 2}"
        )
    # k t mod L keeps the argument of cos and sin small.
    phase = (2.0 * torch.pi / L) * (bins * torch.arange(L)[:, None] % L).double()
    single = (2 * bins) % L == 0
    amplitude = torch.sqrt(2.0 / L / (1.0 + single.double()))
    return torch.cat([phase.cos() * amplitude, (phase.sin() * amplitude)[:, ~single]], dim=1)


def pairwise(rows: Tensor) -> Tensor:
    """Return rows (batch, channels, n), each contiguous, a single one twice.

    A lone transform runs through another algorithm than one of many when threads are free.
    """
    rows = rows if rows.stride(2) == 1 else rows.contiguous()
    return torch.cat([rows, rows]) if rows.shape[0] * rows.shape[1] == 1 else rows


def spectrum(x: Tensor) -> Tensor:
    """Return the real DFT of x (batch, valid, channels), (batch, channels, valid // 2 + 1)."""
    return torch.fft.rfft(pairwise(x.transpose(1, 2)))[: len(x)]


def signal(X: Tensor, valid: int) -> Tensor:
    """Return the signal (batch, valid, channels) of a spectrum (batch, channels, bins).

    Steps are contiguous.
    """
    return torch.fft.irfft(pairwise(X), n=valid)[: len(X)].transpose(1, 2)


def above_rounding(part: Tensor, x: Tensor) -> Tensor:
    """Return a part of x (batch, valid, channels), exactly zero in samples whose part is rounding.

    No budget then scales rounding up to a perturbation.
    """
    size, whole = norms(part), norms(x)
    above = size > _ROUNDING[x.dtype] * whole
    return part if bool(above.all()) else part * above[:, None, None]
