"""Causal convolutions along the length axis, and the exponential kernels they use."""

from collections.abc import Callable

import torch
from torch import Tensor

# Up to this length the cached operator is the lower-triangular Toeplitz matrix itself: a matrix
# product of 4 L^2 bytes a channel, which a CPU does about 3 times faster than two FFTs.
TOEPLITZ_LIMIT = 512
# Output steps at a time in that product: small enough to leave out the triangle of zeros.
BLOCK = 64


def _real_or_complex(kernel: Tensor, dtype: torch.dtype) -> Tensor:
    return kernel.to(dtype.to_complex() if kernel.is_complex() else dtype)


def fft_convolution(kernel: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return u -> causal convolution with kernel (k, L), by FFT of length 2L.

    u has shape (batch, L, k), real or complex as the kernel is; so has the result.
    """
    kernel = _real_or_complex(kernel, dtype)
    L = kernel.shape[1]
    if kernel.is_complex():
        forward, inverse = torch.fft.fft, torch.fft.ifft
    else:
        forward, inverse = torch.fft.rfft, torch.fft.irfft
    spectrum = forward(kernel, n=2 * L)

    def convolve(u: Tensor) -> Tensor:
        product = forward(u.transpose(1, 2), n=2 * L) * spectrum
        return inverse(product, n=2 * L)[..., :L].transpose(1, 2)

    return convolve


def toeplitz_operator(kernel: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return u -> causal convolution with kernel (k, L), prepared for many calls.

    Up to TOEPLITZ_LIMIT by the Toeplitz matrix, beyond by FFT. Shapes as `fft_convolution`.
    """
    k, L = kernel.shape
    if L > TOEPLITZ_LIMIT:
        return fft_convolution(kernel, dtype)
    kernel = _real_or_complex(kernel, dtype)
    lag = torch.arange(L, device=kernel.device)
    lag = lag[None, :] - lag[:, None]
    # matrix[k, s, t] = kernel[k, t - s]: samples are rows, so that rounding does not depend on
    # how many of them share a batch.
    matrix = torch.where(lag >= 0, kernel[:, lag.clamp(min=0)], kernel.new_zeros(()))

    def convolve(u: Tensor) -> Tensor:
        batch = u.shape[0]
        rows = u.reshape(batch * L, k).t().contiguous().view(k, batch, L)
        result = torch.empty_like(rows)
        for start in range(0, L, BLOCK):
            stop = min(start + BLOCK, L)
            # What comes after `stop` has no part in this block: the matrix is zero there.
            result[..., start:stop] = rows[..., :stop] @ matrix[:, :stop, start:stop]
        return result.view(k, batch * L).t().contiguous().view(batch, L, k)

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
