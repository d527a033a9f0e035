"""Parquet files, opened: what their columns take in memory is looked at before any is read."""

import errno
import faulthandler
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow.parquet as pq

from robustssm.storage.opening import opened

# Bytes of the columns that are read from a table of this project: cells, plans, radii.
LARGEST_TABLE = 2 << 30
# Bytes of a number, as it is held at most.
_NUMBER = 8


@contextmanager
def opened_parquet(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    largest: int = LARGEST_TABLE,
) -> Iterator[pq.ParquetFile]:
    """Yield a Parquet file, whose check sums are verified; columns: what will be read, or all.

    A few bytes can stand for any number of equal values, so that the file's own size is no bound.
    Raises OSError if it is no regular file, or its columns take more than `largest` bytes;
    pyarrow's errors, which are built-in ones too, if it is damaged.
    """
    with opened(path) as data, pq.ParquetFile(data, page_checksum_verification=True) as file:
        if not _can_be_walked(file.metadata):
            raise OSError(errno.EINVAL, "its footer is damaged", str(path))
        size = _size(file.metadata, columns)
        if size > largest:
            problem = f"its columns take {size} bytes in memory, expected at most {largest}"
            raise OSError(errno.EFBIG, problem, str(path))
        yield file


def _can_be_walked(metadata: pq.FileMetaData) -> bool:
    """Return whether what a footer says of each column can be looked at, tried in a fork.

    pyarrow lets an exception of C++ through there, which ends the process: statistics of the wrong
    length do, for example.
    """
    if not hasattr(os, "fork"):  # Windows
        return True
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            faulthandler.disable()
            _size(metadata, None)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _size(metadata: pq.FileMetaData, columns: Sequence[str] | None) -> int:
    """Return the bytes of columns in memory, at least."""
    total = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            part = group.column(place)
            if columns is None or part.path_in_schema.partition(".")[0] in columns:
                total += max(part.total_uncompressed_size, _NUMBER * part.num_values)
    return total
