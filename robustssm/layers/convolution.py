"""Causal convolutions along the length axis, and the exponential kernels they use."""

from collections.abc import Callable

import torch
from torch import Tensor


def fft_convolution(kernel: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return u -> causal convolution with a complex kernel (k, L), by FFT of length 2L.

    u has shape (batch, L, k) and is complex; so is the result. dtype: the real precision.
    """
    L = kernel.shape[1]
    spectrum = torch.fft.fft(kernel.to(dtype.to_complex()), n=2 * L)

    def convolve(u: Tensor) -> Tensor:
        product = torch.fft.fft(u.transpose(1, 2), n=2 * L) * spectrum
        return torch.fft.ifft(product, n=2 * L)[..., :L].transpose(1, 2)

    return convolve


def exponential_sums(weights: Tensor, rates: Tensor, L: int) -> Tensor:
    """Return sum_m weights[h, m] exp(rates[h, m] l) for l < L, shape (h, L), complex.

    l = a s + b with s about sqrt(L): 2 sqrt(L) exponentials a mode and one matrix product,
    instead of L exponentials.
    """
    s = max(1, int(L**0.5))
    coarse = torch.arange(0, L, s, device=rates.device)
    fine = torch.arange(s, device=rates.device)
    left = (weights[:, None, :]) * torch.exp(rates[:, None, :] * coarse[:, None])
    right = torch.exp(rates[:, :, None] * fine)
    return (left @ right).flatten(1)[:, :L]


def exponentials(rates: Tensor, L: int) -> Tensor:
    """Return exp(rates[m] l) for l < L, shape (m, L)."""
    return torch.exp(rates[:, None] * torch.arange(L, device=rates.device))
