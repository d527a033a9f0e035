"""Tables as files: the rows of a cell and any frame as Parquet, frames as CSV, the same bytes."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robustssm.file_formats.parquet import opened_parquet
from robustssm.files import write_atomically

COLUMNS = (
    "sample_id",
    "label",
    "prediction",
    "margin",
    "loss",
    "correct",
    "delivered_l2",
    "delivered_linf",
    "delivered_rms",
    "delivered_snr_db",
    "in_band_share",
    "forwards",
    "backwards",
)
# Columns of few different values.
_FEW = ("label", "prediction", "forwards", "backwards")
# Key of a cell file's metadata: whose rows it holds.
CELL = b"cell"


def cell_bytes(cell_id: str, columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the file of a cell: its columns, its id, and checksums."""
    table = pa.table(dict(columns)).replace_schema_metadata({CELL: cell_id.encode()})
    return _bytes(table, use_dictionary=[name for name in _FEW if name in columns])


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return a frame as Parquet; equal frames give equal bytes."""
    return _bytes(pa.Table.from_pandas(frame, preserve_index=False))


def _bytes(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True, **options)
    return buffer.getvalue()


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
