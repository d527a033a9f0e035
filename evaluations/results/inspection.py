"""What a run directory holds: what is finished, failed, missing or damaged, and how to go on.

Nothing here needs the checkpoints, and nothing is written: a sweep may be at work meanwhile.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from robustssm.errors import UsageError
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.typing import IntArray

# What makes a directory one of a sweep, be the rest of it lost.
_MARKS = ("plan.parquet", "cells")
# What every schema of a cell has.
_NEEDED = ("sample_id", "label", "prediction", "margin", "loss", "correct")
_READ_ERRORS = (OSError, pa.ArrowException, ValueError, KeyError)


@dataclass(frozen=True)
class Failure:
    """A cell that failed: error is what was said, traceback the whole of it."""

    cell: str
    error: str
    traceback: str

    @property
    def line(self) -> str:
        """First line of the error."""
        return (self.error.splitlines() or ["(nothing was said)"])[0]


@dataclass(frozen=True)
class Inspection:
    """The state of a run directory.

    planned: ids of its cells, in the plan's order, each once; done: those with a whole file;
    failed: those without, by id; damaged: file relative to the run, and what is wrong with it;
    writing: whether a sweep holds the directory's lock (None where that cannot be known).
    """

    run: RunDirectory
    manifest: dict[str, Any]
    planned: tuple[str, ...]
    done: frozenset[str]
    failed: dict[str, Failure]
    damaged: dict[str, str]
    writing: bool | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Cells without a result that did not fail, damaged ones included."""
        return tuple(c for c in self.planned if c not in self.done and c not in self.failed)

    @property
    def complete(self) -> bool:
        """Whether every planned cell has its result."""
        return bool(self.planned) and len(self.done) == len(self.planned)

    @property
    def partial(self) -> bool:
        """Whether the sweep was limited to the first samples."""
        return bool(self.manifest.get("partial"))

    @property
    def word(self) -> str:
        """`damaged`, `complete`, `in progress`, `with failures` or `unfinished`."""
        if self.damaged:
            return "damaged"
        if self.complete:
            return "complete"
        if self.writing:
            return "in progress"
        return "with failures" if self.failed and not self.missing else "unfinished"

    @property
    def counts(self) -> dict[str, int]:
        """Number of cells planned, done, failed and missing."""
        return {
            "cells": len(self.planned),
            "done": len(self.done),
            "failed": len(self.failed),
            "missing": len(self.missing),
        }

    def resume(self, output: Path | None = None) -> str:
        """Return the command that goes on with the run; empty where none is on record.

        It never discards results: `--overwrite` is left out. output: the run directory to name in
        it instead of the one on record.
        """
        argv = [str(word) for word in self.manifest.get("argv") or []]
        if not argv:
            return ""
        argv = [word for word in argv if word != "--overwrite"]
        if output is not None:
            argv = _with_output(argv, output)
        if self.failed and "--retry-failed" not in argv:
            argv.append("--retry-failed")
        return shlex.join(["robustssm", *argv])


def _with_output(argv: list[str], output: Path) -> list[str]:
    """Return a sweep's arguments with this output directory."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word in ("-o", "--output"):
            next(words, None)
        elif not word.startswith("--output=") and not (word[:2] == "-o" and len(word) > 2):
            kept.append(word)
    return [*kept, "--output", str(output)]


class FinishedCells(RunDirectory):
    """A run directory whose plan names its finished cells only; statistics read such a one."""

    def __init__(self, path: Path, finished: frozenset[str]) -> None:
        super().__init__(path)
        self._finished = finished

    def plan(self) -> pd.DataFrame:
        """Return the rows of the plan whose cells are finished."""
        whole = super().plan()
        return whole[whole["cell"].isin(self._finished)].reset_index(drop=True)


def is_run(path: Path) -> bool:
    """Return whether a directory looks like that of a sweep."""
    return any((path / mark).exists() for mark in _MARKS)


def inspect(path: Path, verify: bool = False) -> Inspection:
    """Return what the run directory holds.

    A cell counts as done where its file is whole to its last bytes; verify reads every row as
    well, and compares samples and margins. Bits that flipped in a number are found only where they
    make rows contradict each other: cells carry no checksum. Raises UsageError where `path` is
    no run directory.
    """
    if not is_run(path):
        raise UsageError(
            f"run {path}: holds no plan.parquet and no cells; name the directory of a sweep, as "
            "`robustssm ls runs` lists them"
        )
    run = RunDirectory(path)
    damaged: dict[str, str] = {}
    manifest = _manifest(run, damaged)
    planned = _planned(run, damaged)
    files = {path.stem for path in (path / "cells").glob("*.parquet")}
    there = [cell for cell in planned if cell in files]
    done = {cell for cell in there if run.has(cell)}
    for cell in there:
        if cell not in done:
            damaged[f"cells/{cell}.parquet"] = "truncated: its end is missing"
    if verify:
        for cell, reason in _unreadable(run, [c for c in planned if c in done]):
            done.discard(cell)
            damaged[f"cells/{cell}.parquet"] = reason
    failed = dict(_failures(run, [c for c in planned if c not in done], damaged))
    return Inspection(run, manifest, planned, frozenset(done), failed, damaged, _written_now(run))


def _manifest(run: RunDirectory, damaged: dict[str, str]) -> dict[str, Any]:
    try:
        content = run.manifest()
    except (UsageError, ValueError):
        there = (run.path / "manifest.json").is_file()
        damaged["manifest.json"] = "not readable as JSON" if there else "not there"
        return {}
    if not isinstance(content, dict):
        damaged["manifest.json"] = "no JSON object"
        return {}
    return content


def _planned(run: RunDirectory, damaged: dict[str, str]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(run.plan()["cell"].tolist()))
    except (UsageError, *_READ_ERRORS):
        there = (run.path / "plan.parquet").is_file()
        damaged["plan.parquet"] = "not readable as Parquet" if there else "not there"
        return ()


def _failures(
    run: RunDirectory, cells: list[str], damaged: dict[str, str]
) -> Iterator[tuple[str, Failure]]:
    """Yield the failures on record of cells without a result."""
    there = {path.stem for path in (run.path / "errors").glob("*.json")}
    for cell in cells:
        if cell not in there:
            continue
        try:
            record = json.loads(run.error_path(cell).read_text())
            said = str(record["error"]), str(record.get("traceback", ""))
        except (OSError, ValueError, KeyError, TypeError):
            damaged[f"errors/{cell}.json"] = "not readable as JSON"
            said = "its record cannot be read", ""
        yield cell, Failure(cell, *said)


def _unreadable(run: RunDirectory, cells: list[str]) -> Iterator[tuple[str, str]]:
    """Yield cells whose rows cannot be what a sweep wrote, and why."""
    ids: IntArray | None = None
    for cell in cells:
        try:
            rows = run.rows(cell)
        except _READ_ERRORS as error:
            yield cell, f"cannot be read: {(str(error).splitlines() or [repr(error)])[0]}"
            continue
        lacking = [name for name in _NEEDED if name not in rows]
        if lacking:
            yield cell, f"lacks the columns {', '.join(lacking)}"
            continue
        found = rows["sample_id"].to_numpy()
        ids = found if ids is None else ids
        if len(found) != len(ids) or (found != ids).any():
            yield cell, "holds other samples than the run's first cell"
        elif ((rows["margin"] > 0.0) != rows["correct"]).any():
            yield cell, "its margins contradict what is marked as correct"


def _written_now(run: RunDirectory) -> bool | None:
    """Return whether a process holds the lock of the directory; None where that is not known.

    Linux lists locks in /proc/locks. Trying to take the lock could turn a starting sweep away.
    """
    try:
        status = (run.path / ".lock").stat()
    except OSError:
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    return any(device in words for words in held if "->" not in words)


def disk_bytes(path: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(path)
        for name in names
    )


def runs_below(folder: Path) -> list[Path]:
    """Return the run directories below a folder, or the folder itself where it is one, sorted.

    Raises UsageError where there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(
            f"runs {folder}: no such folder; name one, or make a run by `robustssm sweep`"
        )
    found = []
    for name, below, files in os.walk(folder):
        if any(mark in files or mark in below for mark in _MARKS):
            found.append(Path(name))
            below.clear()
    return sorted(found)


def model_names(manifest: Mapping[str, Any]) -> list[str]:
    """Return the models on a manifest as names, the seeds of one together: `s4d/0,1,2`."""
    seeds: dict[str, list[str]] = {}
    for model in manifest.get("models") or []:
        name, slash, seed = str(model.get("name")).rpartition("/")
        if not slash or not seed.isdigit():
            name, seed = str(model.get("name")), ""
        seeds.setdefault(name, []).extend([seed] if seed else [])
    return [f"{name}/{','.join(found)}" if found else name for name, found in seeds.items()]
