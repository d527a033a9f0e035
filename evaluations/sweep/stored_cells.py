"""The cells in a run directory: rows, and counts of them, read once as long as a file stays."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from robustssm.errors import RejectedInputError
from robustssm.evaluations.sweep import cell_files, records
from robustssm.evaluations.sweep.cell_files import CellDigest

NOT_THERE = "not there"


class StoredCells:
    """The files of cells below a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = f"{path / 'cells'}{os.sep}"
        self._digests: dict[str, tuple[tuple[int, int, int], CellDigest | str]] = {}
        self._halves: dict[bytes, bytes] = {}

    def cell_path(self, cell_id: str) -> Path:
        """Return the file of a cell's rows."""
        return self.path / "cells" / f"{cell_id}.parquet"

    def rows(self, cell_id: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a cell's rows; RejectedInputError if its file is damaged or another cell's."""
        return self._read(cell_id, columns).to_pandas()

    def arrays(self, cell_id: str, columns: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Return columns of a cell as arrays, (samples,); quicker than `rows` for many cells."""
        table = self._read(cell_id, columns)
        return {name: table.column(name).to_numpy() for name in columns}

    def _read(self, cell_id: str, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            data = cell_files.read_cell(self.cell_path(cell_id))
            return cell_files.table(data, cell_id, columns)
        except records.UNREADABLE as error:
            raise self._damaged(cell_id, records.reason(error)) from None

    def _damaged(self, cell_id: str, reason: str) -> RejectedInputError:
        return RejectedInputError(
            f"run {self.path}: cell {cell_id} cannot be read ({reason}); the sweep's command, "
            "called again, computes it anew"
        )

    def digest_or_reason(self, cell_id: str) -> CellDigest | str:
        """Return the digest of a cell's file, read once as long as it stays; why there is none."""
        path = f"{self._folder}{cell_id}.parquet"  # a Path would take longer than the rest
        try:
            found = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            return NOT_THERE
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._digests.get(cell_id)
        if known is None or known[0] != state:
            try:
                data = cell_files.read_cell(path)
                known = state, cell_files.digest(data, cell_id, self._halves)
            except records.UNREADABLE as error:
                known = state, records.reason(error)
            self._digests[cell_id] = known
        return known[1]

    def digest(self, cell_id: str) -> CellDigest:
        """Return counts and means of a cell; RejectedInputError if its file is none of that."""
        found = self.digest_or_reason(cell_id)
        if isinstance(found, str):
            raise self._damaged(cell_id, found)
        return found

    def has(self, cell_id: str) -> bool:
        """Return whether a cell's file is there, whole, and that cell's (digests are compared)."""
        return isinstance(self.digest_or_reason(cell_id), CellDigest)
