"""What generated tasks share: sizes, streams of draws, numbers of samples, and disjoint splits."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from robustssm.errors import require
from robustssm.philox import uniform
from robustssm.tasks.base import SPLITS, Split
from robustssm.tasks.reading import check_room
from robustssm.typing import Array, FloatArray, IntArray

# Sample i of a split is number FIRST[split] + i, whatever the sizes of the splits.
LARGEST = 1_000_000_000
FIRST = {name: k * LARGEST for k, name in enumerate(SPLITS)}
# Values of random sequences are multiples of this: coarse enough that the last bits of log and
# cos, in which machines differ, decide no value but with probability 2^-36.
GRID = 2.0**-16
# Values that are worked on at a time.
_CHUNK = 1 << 20
_QUARTERS = {"train": (0, 1), "validation": (2, 2), "test": (3, 3)}


def check(who: str, name: str, value: float, low: float, high: float) -> None:
    """Raise UsageError unless low <= value <= high."""
    require(low <= value <= high, f"{who}: {name}", value, f"{low:g} to {high:g}")


def check_sizes(who: str, seed: int, **sizes: int) -> None:
    """Raise UsageError for a seed below 0 or a split without samples."""
    for name, size in sizes.items():
        check(who, name, size, 1, LARGEST)
    require(0 <= seed < 2**63, f"{who}: seed", seed, "0 to 2^63 - 1")


def check_memory(who: str, size: int, *counts: int) -> None:
    """Raise UsageError if samples of `size` bytes take more memory than they may."""
    check_room(who, (sum(counts), size), 1, "take fewer or shorter samples")


def splits_of(
    make: Callable[[str, IntArray], tuple[Array, ...]], width: int, *sizes: int
) -> dict[str, Split]:
    """Return the splits of these sizes, made by parts; width: values that a sample takes meanwhile.

    make(split, index (N,)) returns inputs, labels and, if any, lengths of these samples.
    """
    splits, rows = {}, max(1, _CHUNK // width)
    for name, size in zip(SPLITS, sizes, strict=True):
        index, arrays = np.arange(size), list[Array]()
        for start in range(0, size, rows):
            part = slice(start, start + rows)
            made = make(name, index[part])
            arrays = arrays or [np.empty((size, *one.shape[1:]), one.dtype) for one in made]
            for whole, one in zip(arrays, made, strict=True):
                whole[part] = one
        inputs, labels, *lengths = arrays
        splits[name] = Split(inputs, labels, FIRST[name] + index, *lengths)
    return splits


def below(draw: FloatArray, bound: int | IntArray) -> IntArray:
    """Return integers 0 to bound - 1 that uniform draws stand for, each equally likely."""
    return (draw * bound).astype(np.int64)


def normals(stream: str, split: str, index: IntArray, count: int) -> FloatArray:
    """Return standard normal draws (len(index), count).

    Reference: Box and Muller, Ann. Math. Stat. 29 (1958), equation (1).
    """
    pairs = -(-count // 2)
    uniforms = uniform(f"{stream}|{split}", index, 2 * pairs)
    radius = np.sqrt(-2.0 * np.log1p(-uniforms[:, :pairs]))
    angle = 2.0 * np.pi * uniforms[:, pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]


def on_grid(values: FloatArray) -> npt.NDArray[np.float32]:
    """Return values rounded to multiples of GRID, as float32."""
    return (np.rint(values / GRID) * GRID).astype(np.float32)


def at_home(split: str, contents: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which contents (N,), given as hashes, may be samples of this split.

    The two upper bits name the split: half of all contents are for training, a quarter each for
    validation and test. A candidate for another split is drawn again. So no two splits share a
    sample, and no sample depends on the size of any split.
    """
    low, high = _QUARTERS[split]
    quarter = contents >> np.uint64(62)
    return (quarter >= low) & (quarter <= high)


def multipliers(stream: str, count: int) -> npt.NDArray[np.uint64]:
    """Return odd 64-bit numbers m (count,): sum_j c_j m_j modulo 2^64 hashes integers c."""
    uniforms = uniform(f"{stream}|hash", np.arange(count), 2)
    words = (uniforms * 2.0**32).astype(np.uint64)
    return (words[:, 0] << np.uint64(32)) | words[:, 1] | np.uint64(1)
