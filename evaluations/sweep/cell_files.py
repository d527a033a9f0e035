"""The file of a cell: written with its counts and a seal; read back, or why it is none."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from robustssm.evaluations.statistics.cross_fit import halves
from robustssm.evaluations.table_files import sealed, sealed_bytes
from robustssm.storage.opening import read_bytes
from robustssm.targets import CLASSES, Kind, of_table
from robustssm.typing import Right

# Bytes of the largest file that is read: some ten million samples.
MOST_BYTES = 1 << 30
# Key of a cell file's metadata: whose rows it holds.
CELL = b"cell"
# Key of its counts, and how the footer of a Parquet file spells that before a text.
_COUNTS = "robustssm.counts"
_BEFORE = _COUNTS.encode() + b"\x18"
# Bytes of the length of a text in a footer, at most.
_LENGTH = 5
# Columns of few different values.
_FEW = ("label", "prediction", "judged", "forwards", "backwards")
# What Arrow calls columns, by the letters of numpy's kinds; those of no kind of target float.
_TYPES = {"i": pa.types.is_signed_integer, "b": pa.types.is_boolean, "f": pa.types.is_floating}
# What every file of every version has, but the outcome.
_NEEDED = ("sample_id", "delivered_rms", "in_band_share")


@dataclass(frozen=True)
class CellDigest:
    """Counts and means of a cell's rows.

    n: samples; right: how many are classified as labelled; samples: hash of the sample ids in
    their order; bits: which samples are right, packed eight to a byte; half: which samples are in
    the first half of a cross-fit, packed, one object for all cells of the same samples; kind: of
    target; means: of the kind. Of errors: bits are these as float64; none is right.
    """

    n: int
    right: int
    delivered_rms: float
    in_band_share: float
    samples: bytes
    bits: bytes
    half: bytes
    kind: Kind = CLASSES
    means: Mapping[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The accuracy, or the mean error."""
        if self.kind is CLASSES:
            return self.right / self.n
        return -float(self.outcomes().mean())

    def outcomes(self) -> Right:
        """Return which samples are right, shape (n,); of errors minus these."""
        if self.kind is CLASSES:
            return _unpacked(self.bits, self.n)
        return -np.frombuffer(self.bits, np.float64)

    def first_half(self) -> npt.NDArray[np.bool_]:
        """Return which samples are in the first half, shape (n,), as `halves` of their ids."""
        return _unpacked(self.half, self.n)


def _unpacked(bits: bytes, n: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=n).astype(np.bool_)


def cell_bytes(cell_id: str, columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the file of a cell: its columns, its id, its counts, and the seal of all of it."""
    table = pa.table(dict(columns)).replace_schema_metadata({CELL: cell_id.encode()})
    few = [name for name in _FEW if name in columns]
    # Counts say nothing of errors, nor of further columns.
    if of_table(columns) is not CLASSES or {*columns} > {*CLASSES.columns}:
        return sealed_bytes(table, use_dictionary=few)
    n, right, rms, share, samples, bits = _counts(
        *(columns[name] for name in ("correct", *_NEEDED))
    )
    counts = {"cell": cell_id, "n": n, "right": right, "rms": rms, "share": share,
              "samples": samples.hex(), "bits": bits.hex()}  # fmt: skip
    return sealed_bytes(table, {_COUNTS: json.dumps(counts)}, use_dictionary=few)


def _counts(
    outcome: npt.NDArray[Any],
    ids: npt.NDArray[Any],
    rms: npt.NDArray[Any],
    share: npt.NDArray[Any],
) -> tuple[int, int, float, float, bytes, bytes]:
    """Return the fields of a CellDigest up to `bits`, from a cell's columns."""
    with np.errstate(all="ignore"):
        means = float(np.sqrt(np.mean(rms**2))), float(share.mean())
    samples = hashlib.sha256(np.ascontiguousarray(ids).tobytes()).digest()
    if outcome.dtype != np.bool_:
        return len(ids), 0, *means, samples, outcome.astype(np.float64).tobytes()
    right = int(np.count_nonzero(outcome))
    return len(ids), right, *means, samples, np.packbits(outcome).tobytes()


def read_cell(path: str | Path) -> bytes:
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
    names = schema.names
    kind = of_table(names)
    strange = sorted(name for name in {*names} - {*kind.columns} if not name.startswith(kind.extra))
    if strange or len({*names}) < len(names):
        raise ValueError(f"its columns are not those of a cell: {', '.join(strange or names)}")
    needed = (*_NEEDED, kind.outcome) if kind is CLASSES else kind.columns
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise ValueError(f"it lacks the columns {', '.join(lacking)}")
    for name, found in zip(names, schema.types, strict=True):
        if not _TYPES["i" if name == "sample_id" else kind.rows.get(name, "f")](found):
            raise ValueError(f"its column {name} is of type {found}")


def digest(data: bytes, cell_id: str, split: dict[bytes, bytes]) -> CellDigest:
    """Return the digest of a cell's file from its bytes; raises as `table`.

    Where the file has a seal and its counts, these are taken: no column is read. split: the packed
    halves of the samples seen so far, by the hash of their ids; more are added.
    """
    counts = _stated(data, cell_id) if sealed(data) else None
    means: Mapping[str, float] = {}
    kind = CLASSES
    if counts is None:
        whole = table(data, cell_id)
        kind = of_table(whole.column_names)
        columns = {name: whole.column(name).to_numpy() for name in (kind.outcome, *_NEEDED)}
        counts = _counts(*columns.values())
        own = [n for n in whole.column_names if n in kind.rows or n.startswith(kind.extra)]
        means = kind.means({name: whole.column(name).to_numpy() for name in own})
        if not np.isfinite(np.append(columns[kind.outcome], [*means.values()])).all():
            raise ValueError("its errors are not always finite")
    samples = counts[4]
    if samples not in split:
        ids = table(data, cell_id, ["sample_id"]).column(0).to_numpy()
        if hashlib.sha256(ids.tobytes()).digest() != samples:
            raise ValueError("its counts are not those of its rows")
        split[samples] = np.packbits(halves(ids)).tobytes()
    return CellDigest(*counts, split[samples], kind, means)


def _stated(data: bytes, cell_id: str) -> tuple[int, int, float, float, bytes, bytes] | None:
    """Return the counts in a file with a seal; None if it has none, as some older ones."""
    found = data.rfind(_BEFORE)
    start = data.find(b"{", found, found + len(_BEFORE) + _LENGTH)
    if found < 0 or start < 0:
        return None
    counts = json.loads(data[start : data.index(b"}", start) + 1])
    if counts["cell"] != cell_id:
        raise ValueError(f"it holds cell {counts['cell']}")
    n, right, rms, share = (counts[name] for name in ("n", "right", "rms", "share"))
    samples, bits = bytes.fromhex(counts["samples"]), bytes.fromhex(counts["bits"])
    if (
        not (isinstance(n, int) and 1 <= n <= 8 * len(bits) < n + 8)
        or int.from_bytes(bits, "big").bit_count() != right
        or not all(isinstance(value, float) for value in (rms, share))
    ):
        raise ValueError("its counts contradict each other")
    return n, right, rms, share, samples, bits
