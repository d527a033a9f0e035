"""SSM layers as operators on L steps: norms, and bounds of what goes through them.

A convolution on L samples is a block of the circulant matrix of order 2L of its kernel, lags -L + 1
to L - 1, padded with zeros, so that its norm is at most the largest singular value of the kernel's
discrete Fourier transform of length 2L.

Reference: Boettcher and Grudsky, Spectral Properties of Banded Toeplitz Matrices (2005), chapter 1.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustssm.evaluations.certificates.enclosures import TINY
from robustssm.layers import SSMLayer

# Longest sequence for which a channel's Toeplitz matrix is written out.
LONGEST_DENSE = 512
# Distance from 1 to the next float64: two unit roundoffs.
EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class TimeOperator:
    """A time-invariant map on L steps, D included.

    kernel: (K, d) if channels do not mix, else (K, d, d), output channel before input channel, at
    lags -early to L - 1: early is 0 if the map is causal, else L - 1.
    norm: an upper bound of the operator's norm in L2. gains (d,) or (d, d): a matrix G with
    |output| <= |G input| in L2, G applied at every step: diagonal if channels do not mix.
    """

    kernel: Tensor
    norm: float
    gains: Tensor
    early: int = 0

    def _summed(self, K: Tensor) -> Tensor:
        """Return the sums (L, ...) of K (K, ...) over the lags that each step's output meets."""
        total = K[self.early :].cumsum(0)
        if self.early:
            total[:-1] += K[: self.early].flip(0).cumsum(0).flip(0)
        return total

    @cached_property
    def step_reach(self) -> Tensor:
        """A bound of the norm of the rows of all channels at each step, (L,)."""
        if self.kernel.ndim == 2:
            return self.reach.amax(1)
        gram = self._summed(self.kernel @ self.kernel.mT)
        return torch.linalg.eigvalsh(gram)[:, -1].clamp(min=0.0).sqrt()

    @cached_property
    def reach(self) -> Tensor:
        """The l2 norm of each output's row of the operator, (L, d)."""
        square = self.kernel**2 if self.kernel.ndim == 2 else (self.kernel**2).sum(2)
        return self._summed(square).sqrt()

    @property
    def _order(self) -> int:
        """Length of the transforms: a power of two, 2 L at least."""
        return 1 << (2 * len(self.kernel) - 1).bit_length()

    @property
    def _rounding(self) -> float:
        """A bound of a convolution's rounding over |kernel|_1 |input|_2.

        An FFT of order n is off by at most log2(n) eta of the result in l2, eta about 7 unit
        roundoffs u (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 24.1).
        Two transforms and a product of d terms per frequency are off by (2 eta log2(n) + d u + 3 u)
        |kernel|_2 |input|_2 in any entry, the transform back by eta log2(n) |kernel|_1 |input|_2.
        With 32 u for 3 eta other splittings of the FFT than Higham's are covered as well.
        """
        return EPSILON * (16.0 * math.log2(self._order) + self.kernel.shape[-1])

    @cached_property
    def _spectrum(self) -> Tensor:
        return torch.fft.rfft(self.kernel.abs(), n=self._order, dim=0)

    def _convolved(self, spectrum: Tensor, bound: Tensor) -> Tensor:
        """Return the convolution of bounds (L, ...) with a kernel of that spectrum, rounded."""
        forward = torch.fft.rfft(bound, n=self._order, dim=0)
        mixed = spectrum.ndim > forward.ndim
        product = (spectrum @ forward[..., None])[..., 0] if mixed else spectrum * forward
        whole = torch.fft.irfft(product, n=self._order, dim=0)
        return whole[self.early : self.early + len(bound)].clamp(min=0.0)

    def magnitudes(self, bound: Tensor) -> Tensor:
        """Return bounds (L, d) of the outputs' entries, given bounds (L, d) of the inputs'."""
        slack = self._rounding * self.peaks(torch.linalg.vector_norm(bound, dim=0))
        return self._convolved(self._spectrum, bound) + slack

    def shares(self) -> tuple[Tensor, Tensor]:
        """Return an input's reach over its norm |G input|: per output (L, d), per step (L,)."""
        share = self.reach / self.gains.clamp(min=TINY)
        mixed = self.kernel.ndim == 3
        return share, self.step_reach / max(self.norm, TINY) if mixed else share.amax(1)

    @cached_property
    def _lags(self) -> Tensor:
        """The norm of the kernel's matrix at each step, (L,)."""
        K = self.kernel
        return K.abs().amax(1) if K.ndim == 2 else torch.linalg.matrix_norm(K, 2)

    @cached_property
    def _lags_spectrum(self) -> Tensor:
        return torch.fft.rfft(self._lags, n=self._order)

    def steps(self, bound: Tensor) -> Tensor:
        """Return bounds (L,) of the outputs' norms at each step, given those (L,) of the inputs."""
        slack = self._rounding * self._lags.sum() * torch.linalg.vector_norm(bound)
        return self._convolved(self._lags_spectrum, bound) + slack

    def peaks(self, bound: Tensor) -> Tensor:
        """Return bounds (d,) of outputs at any step, given bounds (d,) of inputs at every step."""
        total = self.kernel.abs().sum(0)
        return total * bound if total.ndim == 1 else total @ bound


@torch.no_grad()
def time_operator(layer: SSMLayer, L: int) -> TimeOperator:
    """Return a float64 layer as an operator on L steps; UsageError if l_max cuts its kernel."""
    for way in layer.one_way():
        way.check_causal("time operator", L)
    channels, early = torch.arange(layer.d), L - 1 if layer.bidirectional else 0

    def responses(at: int) -> Tensor:
        impulses = torch.zeros(layer.d, L, layer.d, dtype=torch.float64)
        impulses[channels, at, channels] = 1.0
        return layer(impulses).permute(1, 2, 0)

    kernel = torch.cat([responses(L - 1)[:early], responses(0)]).contiguous()
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    if torch.equal(kernel, torch.diag_embed(diagonal)):
        kernel = diagonal.contiguous()
    spectrum = torch.fft.rfft(kernel, n=2 * L, dim=0)
    if kernel.ndim == 3:
        norm = torch.linalg.matrix_norm(spectrum, 2).max()
        return TimeOperator(kernel, float(norm), norm.expand(layer.d), early)
    gains = spectrum.abs().amax(0)
    if L <= LONGEST_DENSE:
        lag = torch.arange(L)[:, None] - torch.arange(L)
        matrix = kernel.T[:, (lag + early).clamp(min=0)] * (lag >= -early)
        gains = gains.minimum(torch.linalg.matrix_norm(matrix, 2))
    return TimeOperator(kernel, float(gains.max()), gains, early)
