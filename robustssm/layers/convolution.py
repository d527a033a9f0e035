"""The convolution of training: two transforms, and two more for both gradients.

Signals are (batch, length, channels), as everything around wants them, and transforms want the
steps of a channel one after the other: the two copies that this takes are those that add zeros
before a transform and cut them off behind it. A few samples at a time, so that what is made of
them stays in a cache.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Values of a signal that are worked on at a time.
_VALUES = 1 << 17


def convolved(u: Tensor, spectrum: Tensor, n: int) -> Tensor:
    """Return the first steps of the convolution of each channel with a kernel, cyclic in n.

    Parameters
    ----------
    u : tensor (batch, length, k)
        The signals.
    spectrum : tensor (k, n // 2 + 1)
        DFT of the real kernels at length n.
    n : int
        Length of the transforms, at least that of u.
    """
    y: Tensor = _Convolved.apply(u, spectrum, n)
    return y


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, spectrum: Tensor, n: int) -> Tensor:
        """Return the convolution, and keep the transform of u."""
        y, kept, ctx.n = u.new_empty(u.shape), [], n
        for part, U in _transformed(u, n):
            _write(y[part], U * spectrum, n)
            kept.append(U)
        ctx.save_for_backward(spectrum, *kept)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients by u and by the spectrum, the latter as torch defines it."""
        (spectrum, *kept), n = ctx.saved_tensors, ctx.n
        conjugate = spectrum.conj().resolve_conj()
        of_u, of_spectrum = g.new_empty(g.shape), torch.zeros_like(spectrum)
        for (part, G), U in zip(_transformed(g, n), kept, strict=True):
            of_spectrum += (U.conj() * G).sum(0)
            _write(of_u[part], G.mul_(conjugate), n)
        # A bin between 0 and n / 2 stands for its conjugate as well.
        of_spectrum[:, 1 : (n + 1) // 2] *= 2.0
        return of_u, of_spectrum / n, None


def _transformed(x: Tensor, n: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield parts of the samples of x (batch, L, k), and their transforms (part, k, bins)."""
    L, k = x.shape[1:]
    rows = max(1, min(len(x), _VALUES // max(1, L * k)))
    padded = x.new_zeros((rows, k, n))
    for start in range(0, len(x), rows):
        part = slice(start, min(start + rows, len(x)))
        signal = padded[: part.stop - start]
        signal[..., :L] = x[part].mT
        yield part, torch.fft.rfft(signal)


def _write(out: Tensor, X: Tensor, n: int) -> None:
    """Write the first steps of the signals of which X is the transform."""
    out.copy_(torch.fft.irfft(X, n=n)[..., : out.shape[1]].mT)
