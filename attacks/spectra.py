"""Real DFTs along the steps of a signal, the same bits for a sample whatever its batch."""

import torch
from torch import Tensor

# What a DFT and its inverse leave behind, relative to the signal: 1e-16 log2 L, with room.
_ROUNDING = 1e-13


def pairwise(rows: Tensor) -> Tensor:
    """Return rows (batch, channels, n), contiguous, a single one twice.

    A lone transform runs through another algorithm than one of many when threads are free.
    """
    rows = rows.contiguous()
    return torch.cat([rows, rows]) if rows.shape[0] * rows.shape[1] == 1 else rows


def spectrum(x: Tensor) -> Tensor:
    """Return the real DFT of x (batch, valid, channels), (batch, channels, valid // 2 + 1)."""
    return torch.fft.rfft(pairwise(x.transpose(1, 2)))[: len(x)]


def signal(X: Tensor, valid: int) -> Tensor:
    """Return the signal (batch, valid, channels) of a spectrum (batch, channels, bins)."""
    return torch.fft.irfft(pairwise(X), n=valid)[: len(X)].transpose(1, 2)


def above_rounding(part: Tensor, x: Tensor) -> Tensor:
    """Return a part of x (batch, valid, channels), exactly zero in samples whose part is rounding.

    No budget then scales rounding up to a perturbation.
    """
    size, whole = (torch.linalg.vector_norm(a, dim=(1, 2), keepdim=True) for a in (part, x))
    return part * (size > _ROUNDING * whole)
