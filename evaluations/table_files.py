"""Tables as files: the rows of a cell and any frame as Parquet, frames as CSV, the same bytes."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robustssm.storage.parquet_files import opened_parquet
from robustssm.storage.writing import write_atomically

# Key of a file's metadata: the SHA-256 of the file with zeros in the place of its 64 digits.
_SEAL = "robustssm.sha256"
_OPEN = b"0" * 64
# The key as the footer of a Parquet file spells it, before a text of 64 characters.
_BEFORE = _SEAL.encode() + b"\x18\x40"


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return a frame as Parquet with a seal; equal frames give equal bytes."""
    return sealed_bytes(pa.Table.from_pandas(frame, preserve_index=False))


def sealed_bytes(table: pa.Table, facts: Mapping[str, str] | None = None, **options: Any) -> bytes:
    """Return a table as a Parquet file that holds the digest of all its bytes.

    facts: further texts of its footer by their keys; options: of `pyarrow.parquet.ParquetWriter`.
    """
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, write_page_checksum=True, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**(facts or {}), _SEAL: _OPEN.decode()})
    data = buffer.getvalue()
    at = _place(data)
    assert at > 0 and data[at : at + len(_OPEN)] == _OPEN
    return data[:at] + _digest(data, at) + data[at + len(_OPEN) :]


def sealed(data: bytes) -> bool | None:
    """Return whether the seal of a file is of its bytes; None if it has none, as older files."""
    at = _place(data)
    return None if at < 0 else data[at : at + len(_OPEN)] == _digest(data, at)


def _place(data: bytes) -> int:
    """Return where the digits of a file's seal start; -1 if it has none."""
    found = data.rfind(_BEFORE)
    return found + len(_BEFORE) if found >= 0 else -1


def _digest(data: bytes, at: int) -> bytes:
    digest = hashlib.sha256(memoryview(data)[:at])
    digest.update(_OPEN)
    digest.update(memoryview(data)[at + len(_OPEN) :])
    return digest.hexdigest().encode()


def read_parquet(path: Path) -> pd.DataFrame:
    """Return the frame in a Parquet file; OSError or ValueError if it is damaged or too large."""
    with opened_parquet(path) as file:
        return file.read(use_threads=False).to_pandas()


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as Parquet, beside its name first; equal frames give equal bytes."""
    write_atomically(path, parquet_bytes(frame))


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as CSV, beside its name first."""
    write_atomically(path, frame.to_csv(index=False).encode())
