"""Arrays from .npz files; shapes are read, and sizes checked, before memory is taken."""

import math
import tokenize
import zipfile
import zlib
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# Bytes that a number takes at most once it is read: float64, or int64.
_NUMBER = 8
# What a compressed file may unpack to: this many times its bytes, or these bytes if that is more.
EXPANSION, UNPACKED = 64, 1 << 30
# What the readers of zip and npy raise for damaged or hostile bytes.
DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, RuntimeError),
    *(SyntaxError, MemoryError, RecursionError, OverflowError, zipfile.BadZipFile, zlib.error),
    tokenize.TokenError,  # by numpy, of a header that Python 2 might have written
)


class Arrays:
    """The arrays of an open .npz file by name, each read when it is asked for.

    size: the file's bytes. largest: bytes that all arrays may take that are read, 8 per number.
    Every method raises one of DAMAGED for what is no such file, or too large.
    """

    def __init__(self, file: BinaryIO, size: int, largest: int) -> None:
        self._zip = zipfile.ZipFile(file)
        self._most = min(largest, max(UNPACKED, EXPANSION * size))
        self._largest, self._left = largest, self._most
        self._entries = {one.filename.removesuffix(".npy"): one for one in self._zip.infolist()}
        self.names = list(self._entries)

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        with self._zip.open(entry) as file:
            shape, dtype, _ = _header(file)
        needed = math.prod(shape) * max(_NUMBER, dtype.itemsize)
        self._left -= needed
        if self._left < 0:
            way = "save them without compression (np.savez)"
            if self._most == self._largest:
                way = "take fewer samples"
            sizes = [f"{size / 2**30:.1f} GiB" for size in (self._most - self._left, self._most)]
            raise ValueError(
                f"its arrays take {sizes[0]} in memory, expected at most {sizes[1]}; {way}"
            )
        with self._zip.open(entry) as file:
            return read_array(file, entry.file_size, self._largest, name)


def read_array(file: IO[bytes], size: int, largest: int, name: str = "it") -> Array:
    """Return the array of an open .npy file of `size` bytes, which may take `largest` in memory."""
    shape, dtype, start = _header(file)
    held = math.prod(shape) * dtype.itemsize
    if size - start != held:
        raise ValueError(f"{name} has {size - start} bytes, its header says {held}")
    if math.prod(shape) * _NUMBER > largest:
        raise ValueError(f"{name} takes more than {largest / 2**30:.1f} GiB; take fewer samples")
    file.seek(0)
    array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, dtype and where the numbers begin; ValueError for objects and other formats."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its array is of npy version {version}, expected 1.0 or 2.0")
    old = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, expected numbers")
    if any(type(axis) is not int or axis < 0 for axis in shape):
        raise ValueError("its array has an odd shape")
    return shape, dtype, file.tell()
