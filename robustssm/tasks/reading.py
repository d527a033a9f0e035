"""What tasks from files share: bounded reads, refusals in one line, padding, and fixed splits."""

import importlib.util
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from robustssm.errors import RejectedInputError, UsageError, require
from robustssm.storage.opening import read_bytes
from robustssm.tasks.base import SPLITS
from robustssm.typing import IntArray

Array = npt.NDArray[Any]
# Largest file that is read at once, bytes.
LARGEST_FILE = 8 << 30
# Largest number of classes, and of different tokens: a network has a row of weights for each.
CLASSES = TOKENS = 1 << 20
# The words for splits, by the place of each in SPLITS.
ALIASES = {"train": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2}
# Samples that are padded at a time.
_CHUNK = 1024


def check_flag(who: str, name: str, value: int) -> bool:
    """Return whether a parameter is set; raises UsageError if it is neither 0 nor 1."""
    require(value in (0, 1), f"{who}: {name}", value, "0 or 1")
    return value == 1


def check_limit(who: str, limit: int) -> int | None:
    """Return how many samples of each split are kept; None if all are, which 0 stands for."""
    require(limit >= 0, f"{who}: limit", limit, "0 (all) or a number of samples")
    return limit or None


def memory() -> int:
    """Return the bytes of memory that this process may have: the machine's, or its own limit."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        import resource
    except ImportError:  # Windows
        return there
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return there if limit == resource.RLIM_INFINITY else min(there, limit)


# Bytes of a task's samples where nobody has named the task.
_allowed: ContextVar[int | None] = ContextVar("allowed", default=None)


@contextmanager
def within(most: int) -> Iterator[None]:
    """Let the tasks of the body take `most` bytes at most."""
    token = _allowed.set(most)
    try:
        yield
    finally:
        _allowed.reset(token)


def room() -> int:
    """Return the bytes that the samples of a task may take: half of the memory, or `within`."""
    allowed = _allowed.get()
    return memory() // 2 if allowed is None else min(memory() // 2, allowed)


def check_room(who: str, shape: Sequence[int], itemsize: int, advice: str) -> None:
    """Raise UsageError if an array of this shape takes over half of the machine's memory."""
    needed = itemsize * math.prod(map(int, shape))
    if needed > room():
        most = f"half of this machine's {memory() / 2**30:.1f} GiB"
        if room() < memory() // 2:
            most = f"{room() / 2**30:.1f} GiB"
        raise UsageError(
            f"{who}: the samples take {needed / 2**30:.1f} GiB, expected at most {most}; {advice}"
        )


@dataclass(frozen=True)
class Source:
    """A file or folder that a task reads; every refusal of it is one line, a RejectedInputError.

    who: the task, which every message names first.
    """

    who: str
    path: Path

    def rejected(self, problem: object) -> RejectedInputError:
        """Return the refusal of this file."""
        return RejectedInputError(" ".join(f"{self.who} {self.path}: {problem}".split()))

    def at(self, name: str) -> "Source":
        """Return what is called `name` in this folder, whether it exists or not."""
        return Source(self.who, self.path / name)

    def folder(self, inside: str = "") -> "Source":
        """Return this folder, or the one called `inside` in it if there is one."""
        if not self.path.is_dir():
            problem = "is a file" if self.path.exists() else "no such folder"
            raise self.rejected(f"{problem}, expected the folder of the published files")
        return self.at(inside) if inside and (self.path / inside).is_dir() else self

    def find(self, *names: str) -> "Source":
        """Return the first of these files that exists in this folder."""
        for name in names:
            if (self.path / name).is_file():
                return self.at(name)
        raise self.rejected(f"lacks {names[0]}; fetch the published files again")

    def content(self, largest: int = LARGEST_FILE) -> bytes:
        """Return the bytes of a file: at most `largest`, and at most a quarter of the memory."""
        try:
            return read_bytes(self.path, min(largest, memory() // 4))
        except FileNotFoundError:
            raise self.rejected("no such file; fetch the published files again") from None
        except OSError as error:
            raise self.rejected(f"cannot be read ({error.strerror})") from None

    def text(self, largest: int = LARGEST_FILE, ended: bool = True) -> str:
        """Return the text of a UTF-8 file without its byte order mark, if it has one.

        ended: refuse a last line without end, which may be cut.
        """
        try:
            text = self.content(largest).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.rejected(f"is not UTF-8 text (byte {error.start})") from None
        if ended and text and not text.endswith("\n"):
            raise self.rejected(
                "its last line has no end; fetch it again, or end it if it is whole"
            )
        return text

    def labels(self, labels: npt.ArrayLike, classes: int) -> IntArray:
        """Return labels (N,) as int64, refusing none at all and those out of range."""
        values = np.asarray(labels)
        if not len(values):
            raise self.rejected("has no samples")
        if values.min() < 0 or values.max() >= classes:
            raise self.rejected(
                f"labels run from {values.min()} to {values.max()}, expected 0 to {classes - 1}"
            )
        return np.asarray(values, dtype=np.int64)


def places_of(source: Source, words: npt.ArrayLike) -> IntArray:
    """Return the place in SPLITS that each word names; RejectedInputError without test samples."""
    names, index = np.unique(np.asarray(words, dtype=str), return_inverse=True)
    unknown = [name for name in names if name not in ALIASES]
    if unknown or "test" not in names:
        found = f"has the split {str(unknown[0])!r}" if unknown else "has no test samples"
        raise source.rejected(f"{found}, expected {', '.join(ALIASES)}")
    places: IntArray = np.array([ALIASES[name] for name in names])[index]
    return places


def shuffled(count: int) -> IntArray:
    """Return 0 to count - 1 in the order in which state-spaces/s4 splits samples.

    That is torch.utils.data.random_split under a generator of seed 42, so that networks trained
    there have seen no sample of a validation or test split here.
    Reference: state-spaces/s4, src/dataloaders/lra.py and base.py.
    """
    generator = torch.Generator().manual_seed(42)
    order: IntArray = torch.randperm(count, generator=generator).numpy()
    return order


def packaged(*names: str) -> Iterator[Path]:
    """Yield the folders of those of these packages that are installed; none is imported."""
    for name in names:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            yield Path(found.origin).parent


def held_out(count: int, share: float = 0.1) -> tuple[IntArray, IntArray]:
    """Return the samples kept for training and those for validation, each ascending."""
    order = shuffled(count)
    train = int(count * (1.0 - share))
    return np.sort(order[:train]), np.sort(order[train:])


def published_splits(train: int, test: int, limit: int | None) -> list[tuple[str, int, IntArray]]:
    """Return the places of training, validation and test samples in a training and a test file.

    train, test: samples of the two files; limit: samples of each split, None for all. A tenth of
    the training file is for validation. Each entry is (split; 0 or 1, the file; places in it,
    ascending).
    """
    kept, validation = held_out(train)
    places = ((0, kept), (0, validation), (1, np.arange(test)))
    return [(name, file, part[:limit]) for name, (file, part) in zip(SPLITS, places, strict=True)]


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
