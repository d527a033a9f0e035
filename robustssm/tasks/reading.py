"""What tasks from files share: bounded reads, refusals in one line, padding, and fixed splits."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks.base import SPLITS, Split
from robustssm.typing import IntArray

Array = npt.NDArray[Any]
# Largest file that is read at once, bytes.
LARGEST_FILE = 8 << 30
# Samples that are padded at a time.
_CHUNK = 1024
# The share of training samples that is held out where no validation split is published.
VALIDATION = 0.1
_SEED = 42


def rejected(who: str, path: Path, problem: object) -> RejectedInputError:
    """Return the refusal of a file, in one line."""
    return RejectedInputError(" ".join(f"{who} {path}: {problem}".split()))


def check_flag(who: str, name: str, value: int) -> bool:
    """Return whether a parameter is set; UsageError where it is neither 0 nor 1."""
    if value not in (0, 1):
        raise UsageError(f"{who}: {name} is {value}, expected 0 or 1")
    return value == 1


def check_limit(who: str, limit: int) -> int | None:
    """Return how many samples of each split are kept; None where all are, which 0 says."""
    if limit < 0:
        raise UsageError(f"{who}: limit is {limit}, expected 0 (all) or a number of samples")
    return limit or None


def memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_room(who: str, shape: Sequence[int], itemsize: int, advice: str) -> None:
    """Raise UsageError where an array of this shape takes over half of the machine's memory."""
    needed, there = itemsize, memory()
    for size in shape:
        needed *= int(size)
    if needed > there // 2:
        raise UsageError(
            f"{who}: the samples take {needed / 2**30:.1f} GiB, expected at most half of this "
            f"machine's {there / 2**30:.1f} GiB; {advice}"
        )


def check_folder(who: str, folder: Path, inside: str = "") -> Path:
    """Return the folder, or the one called `inside` in it where it is there."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "no such folder"
        raise rejected(who, folder, f"{problem}, expected the folder of the published files")
    return folder / inside if inside and (folder / inside).is_dir() else folder


def find(who: str, folder: Path, names: Iterable[str]) -> Path:
    """Return the first of these files that is there."""
    wanted = list(names)
    for name in wanted:
        if (folder / name).is_file():
            return folder / name
    raise rejected(who, folder, f"lacks {wanted[0]}; fetch the published files again")


def read_file(who: str, path: Path, largest: int = LARGEST_FILE) -> bytes:
    """Return the bytes of a file: at most `largest`, and at most a quarter of the memory."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise rejected(who, path, "is not a file")
        largest = min(largest, memory() // 4)
        if size > largest:
            raise rejected(who, path, f"has {size} bytes, expected at most {largest}")
        with path.open("rb") as file:
            return file.read(largest)
    except FileNotFoundError:
        raise rejected(who, path, "no such file; fetch the published files again") from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise rejected(who, path, f"cannot be read ({problem})") from None


def read_text(who: str, path: Path, largest: int = LARGEST_FILE) -> str:
    """Return the text of a UTF-8 file."""
    try:
        return read_file(who, path, largest).decode("utf-8")
    except UnicodeDecodeError as error:
        raise rejected(who, path, f"is not UTF-8 text (byte {error.start})") from None


def check_ended(who: str, path: Path, text: str) -> None:
    """Refuse a text whose last line has no end: it may be cut short, and nothing else tells."""
    if text and not text.endswith("\n"):
        raise rejected(
            who, path, "its last line has no end; fetch it again, or end it where it is whole"
        )


def shuffled(count: int) -> IntArray:
    """Return 0 to count - 1 in the order in which state-spaces/s4 splits samples.

    That is torch.utils.data.random_split under a generator of seed 42, so that networks trained
    there have seen no sample of a validation or test split here.
    Reference: state-spaces/s4, src/dataloaders/lra.py and base.py.
    """
    generator = torch.Generator().manual_seed(_SEED)
    order: IntArray = torch.randperm(count, generator=generator).numpy()
    return order


def held_out(count: int, share: float = VALIDATION) -> tuple[IntArray, IntArray]:
    """Return the samples kept for training and those for validation, each ascending."""
    order = shuffled(count)
    train = int(count * (1.0 - share))
    return np.sort(order[:train]), np.sort(order[train:])


def check_labels(who: str, path: Path, labels: IntArray, classes: int) -> IntArray:
    """Return labels (N,) as int64; refuse none at all, and those out of range."""
    if not len(labels):
        raise rejected(who, path, "has no samples")
    if labels.min() < 0 or labels.max() >= classes:
        raise rejected(
            who,
            path,
            f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}",
        )
    return labels.astype(np.int64)


def ragged(values: Array, lengths: IntArray, length: int, dtype: Any) -> Array:
    """Return samples (N, length, ...) padded with 0 at the end.

    values: (sum of lengths, ...), the samples one after another; lengths: (N,), at most `length`.
    """
    out = np.zeros((len(lengths), length, *values.shape[1:]), dtype=dtype)
    ends = np.cumsum(lengths)
    steps = np.arange(length)
    for start in range(0, len(lengths), _CHUNK):
        part = slice(start, start + _CHUNK)
        first = int(ends[start] - lengths[start])
        last = int(ends[part][-1])
        out[part][steps < lengths[part, None]] = values[first:last].astype(dtype)
    return out


def byte_tokens(texts: Sequence[bytes], length: int) -> tuple[IntArray, IntArray]:
    """Return tokens (N, length) and lengths (N,): byte b is b + 1, padding is 0.

    Texts are cut after `length` bytes; the embedding of an empty one would have no steps, so it
    has the length 1, one step of padding. Reference: ByteTextEncoder of tensorflow_datasets, which
    the Long Range Arena uses.
    """
    cut = [text[:length] for text in texts]
    sizes = np.fromiter(map(len, cut), np.int64, len(cut))
    flat = np.frombuffer(b"".join(cut), np.uint8)
    tokens = ragged(flat, sizes, length, np.int64)
    tokens += np.arange(length) < sizes[:, None]
    return tokens, np.maximum(sizes, 1)


def in_splits(parts: Sequence[Split], limit: int | None) -> dict[str, Split]:
    """Return train, validation and test, the first `limit` samples of each."""
    return {name: part.first(limit) for name, part in zip(SPLITS, parts, strict=True)}
