"""Parquet files, opened: what their columns take in memory is looked at before any is read."""

import errno
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
        size = _size(file.metadata, columns)
        if size > largest:
            problem = f"its columns take {size} bytes in memory, expected at most {largest}"
            raise OSError(errno.EFBIG, problem, str(path))
        yield file


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
