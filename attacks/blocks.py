"""Samples of one length, so many at a time that a sample's bits do not depend on its batch."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Values perturbed at a time: what a processor's cache holds in float64; and rows.
BLOCK_VALUES = 1 << 18
BLOCK_ROWS = 128
# Fewer channels count as so many: few samples of a long signal would be many copies else.
BLOCK_CHANNELS = 8


def finite(x: Tensor) -> bool:
    """Return whether all values are finite: their sum is then, or it overflows."""
    return bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())


def blocks(lengths: Tensor | None, x: Tensor) -> Iterator[tuple[Tensor, int, int]]:
    """Yield (rows, number of real rows, valid steps): samples of one length, a few at a time.

    The last row is repeated to fill a block: arithmetic on constant shapes rounds a sample alike
    whatever its batch is.
    """
    size = min(BLOCK_ROWS, max(1, BLOCK_VALUES // (x.shape[1] * max(x.shape[2], BLOCK_CHANNELS))))
    every = torch.arange(len(x))
    valid = [x.shape[1]] if lengths is None else torch.unique(lengths.cpu()).tolist()
    for length in valid:
        own = every if lengths is None else every[lengths.cpu() == length]
        for rows in own.split(size) if len(own) else ():
            missing = rows[-1:].expand(size - len(rows))
            yield torch.cat([rows, missing]).to(x.device), len(rows), int(length)
