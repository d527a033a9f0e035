"""A run directory: manifest, plan, one Parquet file a cell, errors; each file written atomically.

manifest.json  plan.parquet  cells/<id>.parquet  errors/<id>.json  summary.csv  tests.csv  figures/
"""

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robustssm.errors import UsageError
from robustssm.evaluations.plan import SCHEMA, Cell, Plan
from robustssm.execution import versions
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


class RunDirectory:
    """Where the results of one sweep lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._plan: pd.DataFrame | None = None

    def cell_path(self, cell_id: str) -> Path:
        """Return the file of a cell's rows."""
        return self.path / "cells" / f"{cell_id}.parquet"

    def error_path(self, cell_id: str) -> Path:
        """Return the file of a failed cell's traceback."""
        return self.path / "errors" / f"{cell_id}.json"

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; UsageError where the directory holds no readable one."""
        path = self.path / "manifest.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError):
            raise UsageError(f"output {self.path}: holds no readable manifest.json") from None
        return content

    def open(self, plan: Plan, argv: list[str], overwrite: bool = False) -> None:
        """Create the directory for `plan`, or take it up again where it holds that plan.

        Raises UsageError where the directory holds anything else; nothing there is touched.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"output {self.path}: is a file, expected a directory")
        occupied = self.path.is_dir() and any(self.path.iterdir())
        if occupied and not (self.path / "manifest.json").is_file():
            raise UsageError(
                f"output {self.path}: is not empty and holds no sweep; name an empty directory"
            )
        if occupied:
            found = self.manifest().get("plan")
            if found == plan.id and not overwrite:
                return
            if found != plan.id and not overwrite:
                raise UsageError(
                    f"output {self.path}: holds another sweep ({found}, this one is {plan.id}); "
                    "name another directory, or --overwrite to discard it"
                )
            for name in ("cells", "errors", "figures"):
                shutil.rmtree(self.path / name, ignore_errors=True)
        try:
            for name in ("cells", "errors", "figures"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"output {self.path}: cannot be written ({error.strerror})") from None
        write_parquet(self.path / "plan.parquet", plan.frame())
        manifest = {
            "schema": SCHEMA,
            "plan": plan.id,
            "noise": list(plan.noises),
            "argv": argv,
            "task": plan.task.spec,
            "task_hash": plan.task.content_hash,
            "classes": plan.task.classes,
            "chance": plan.task.chance,
            "length": plan.task.length,
            "partial": plan.cells[0].limit is not None,
            "models": [{"name": str(m.ref), "content_hash": m.content_hash} for m in plan.models],
            "cells": len({cell.id for cell in plan.cells}),
            "versions": versions(),
        }
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        write_atomically(self.path / "manifest.json", text.encode())

    def missing(self, plan: Plan) -> list[Cell]:
        """Return the cells without results, each once."""
        unique = {cell.id: cell for cell in plan.cells}
        return [cell for cell in unique.values() if not self.cell_path(cell.id).is_file()]

    def plan(self) -> pd.DataFrame:
        """Return the stored plan, one row a cell and label; UsageError where there is none."""
        if self._plan is None:
            try:
                self._plan = pd.read_parquet(self.path / "plan.parquet")
            except (OSError, pa.ArrowInvalid):
                raise UsageError(
                    f"run {self.path}: holds no readable plan.parquet; name the directory of a "
                    "sweep, as `robustssm ls runs` lists them"
                ) from None
        return self._plan

    def rows(self, cell_id: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a cell's rows, one a sample; all columns where none are named."""
        with pq.ParquetFile(self.cell_path(cell_id)) as file:
            return file.read(columns=columns, use_threads=False).to_pandas()


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as Parquet, beside its name first; equal frames give equal bytes."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer)
    write_atomically(path, buffer.getvalue())


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as CSV, beside its name first."""
    write_atomically(path, frame.to_csv(index=False).encode())
