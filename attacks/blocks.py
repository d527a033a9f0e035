"""Samples of one length, so many at a time that a sample's bits do not depend on its batch.

And what is kept of such blocks from one strength to the next.
"""

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

# Values perturbed at a time: what a processor's cache holds in float64; and rows.
BLOCK_VALUES = 1 << 18
BLOCK_ROWS = 128
# What is kept takes no more memory than this.
KEPT_BYTES = 1 << 28
# (owner, key) -> value and its size.
_kept: dict[tuple[Hashable, Hashable], tuple[Any, int]] = {}


def finite(x: Tensor) -> bool:
    """Return whether all values are finite: their sum is then, or it overflows."""
    return bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())


def blocks(lengths: Tensor | None, x: Tensor) -> Iterator[tuple[Tensor, int, int]]:
    """Yield (rows, number of real rows, valid steps): samples of one length, a few at a time.

    The last row is repeated to fill a block: arithmetic on constant shapes rounds a sample alike
    whatever its batch is.
    """
    size = min(BLOCK_ROWS, max(1, BLOCK_VALUES // (x.shape[1] * x.shape[2])))
    every = torch.arange(len(x))
    valid = [x.shape[1]] if lengths is None else torch.unique(lengths.cpu()).tolist()
    for length in valid:
        own = every if lengths is None else every[lengths.cpu() == length]
        for rows in own.split(size) if len(own) else ():
            missing = rows[-1:].expand(size - len(rows))
            yield torch.cat([rows, missing]).to(x.device), len(rows), int(length)


def kept(owner: Hashable, key: Hashable, make: Callable[[], T]) -> T:
    """Return make(), or what it returned before for the same owner and key. Not to be written to.

    For room, what belongs to other owners goes, the oldest first; then the newest: who comes back
    to the first block after the last one finds at least the first ones.
    """
    if (owner, key) in _kept:
        found: T = _kept[owner, key][0]
        return found
    made = make()
    size = getattr(made, "nbytes", 0)
    room = KEPT_BYTES - size - sum(taken for _, taken in _kept.values())
    while room < 0 and _kept:
        oldest = next(iter(_kept))
        room += (_kept.pop(oldest) if oldest[0] != owner else _kept.popitem()[1])[1]
    if room >= 0:
        _kept[owner, key] = made, size
    return made
