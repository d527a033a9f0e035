"""The file of a cell read back: whole, that cell's, its columns typed; or why it is none."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from robustssm.evaluations.statistics.cross_fit import halves
from robustssm.evaluations.table_files import CELL, COLUMNS, sealed
from robustssm.opening import read_bytes

# Bytes of the largest file that is read: some ten million samples.
MOST_BYTES = 1 << 30
_WHOLE = frozenset({"sample_id", "label", "prediction"})
# What every file of every version has.
_NEEDED = ("sample_id", "correct", "delivered_rms", "in_band_share")


@dataclass(frozen=True)
class CellDigest:
    """Counts and means of a cell's rows.

    n: samples; right: how many are classified as labelled; samples: hash of the sample ids in
    their order; bits: which samples are right, packed eight to a byte; half: which samples are in
    the first half of a cross-fit, packed, one object for all cells of the same samples.
    """

    n: int
    right: int
    delivered_rms: float
    in_band_share: float
    samples: bytes
    bits: bytes
    half: bytes

    def correct(self) -> npt.NDArray[np.bool_]:
        """Return which samples are right, shape (n,)."""
        return _unpacked(self.bits, self.n)

    def first_half(self) -> npt.NDArray[np.bool_]:
        """Return which samples are in the first half, shape (n,), as `halves` of their ids."""
        return _unpacked(self.half, self.n)


def _unpacked(bits: bytes, n: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=n).astype(np.bool_)


def read_cell(path: Path) -> bytes:
    """Return the bytes of a cell's file; OSError or ValueError if it cannot be one."""
    return read_bytes(path, MOST_BYTES)


def table(data: bytes, cell_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return columns of a cell's file from its bytes, all of them by default.

    Raises OSError, ValueError, KeyError or an error of Arrow where the file is not as a sweep wrote
    it: its seal is broken (that of older files: a page's checksum), it is another cell's, or its
    columns are not those of a cell.
    """
    seal = sealed(data)
    if seal is False:
        raise ValueError("its digest is not of its bytes")
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        named = (schema.metadata or {}).get(CELL, cell_id.encode())
        if named != cell_id.encode():
            raise ValueError(f"it holds cell {named.decode(errors='replace')}")
        _check_columns(schema)
        if not 1 <= rows <= len(data):  # a row takes a byte at least, whatever packs it
            raise ValueError(f"it claims {rows} rows in {len(data)} bytes")
        # Only reading them compares the checksums of the pages, where there is no seal.
        chosen = None if columns is None or not seal else list(columns)
        found = file.read(columns=chosen, use_threads=False)
    if len(found) != rows or any(column.null_count for column in found.columns):
        raise ValueError(f"its columns do not have {rows} values each")
    return found if columns is None else found.select(list(columns))


def _check_columns(schema: pa.Schema) -> None:
    """Raise ValueError if the columns of a file are not those of a cell."""
    names = schema.names
    strange = sorted({*names} - {*COLUMNS})
    if strange or len({*names}) < len(names):
        raise ValueError(f"its columns are not those of a cell: {', '.join(strange or names)}")
    lacking = [name for name in _NEEDED if name not in names]
    if lacking:
        raise ValueError(f"it lacks the columns {', '.join(lacking)}")
    for name, kind in zip(names, schema.types, strict=True):
        fits = (
            pa.types.is_boolean(kind)
            if name == "correct"
            else pa.types.is_integer(kind) or (name not in _WHOLE and pa.types.is_floating(kind))
        )
        if not fits:
            raise ValueError(f"its column {name} is of type {kind}")


def digest(data: bytes, cell_id: str, split: dict[bytes, bytes]) -> CellDigest:
    """Return the digest of a cell's file from its bytes; raises as `table`.

    split: the packed halves of the samples seen so far, by the hash of their ids; more are added.
    """
    columns = table(data, cell_id, _NEEDED).columns
    ids, correct, rms, share = (column.to_numpy() for column in columns)
    samples = hashlib.sha256(ids.tobytes()).digest()
    if samples not in split:
        split[samples] = np.packbits(halves(ids)).tobytes()
    with np.errstate(all="ignore"):
        mean_rms, mean_share = float(np.sqrt(np.mean(rms**2))), float(share.mean())
    return CellDigest(
        len(ids),
        int(np.count_nonzero(correct)),
        mean_rms,
        mean_share,
        samples,
        np.packbits(correct).tobytes(),
        split[samples],
    )
