"""What a run directory holds: what is finished, failed, missing or damaged, and how to go on.

Nothing here needs the checkpoints, and nothing is written: a sweep may be at work meanwhile.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.sweep import records
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.run_state import RunState
from robustssm.targets import CLASSES, TOKENS, of_table

T = TypeVar("T")

# What makes a directory one of a sweep, be the rest of it lost.
_MARKS = ("plan.parquet", "cells")


@dataclass(frozen=True)
class Inspection(RunState):
    """The state of a run directory; manifest: {} if unreadable; writing: None if not known."""

    run: RunDirectory
    manifest: dict[str, Any]
    writing: bool | None = None

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

    @property
    def _argv(self) -> list[str]:
        return [str(word) for word in self.manifest.get("argv") or []]

    @property
    def command(self) -> str:
        """The command of the run; empty if none is on record."""
        return shlex.join(["robustssm", *self._argv]) if self._argv else ""

    def resume(self, output: Path | None = None) -> str:
        """Return the command that goes on with the run; empty if none is on record.

        It never discards results: `--overwrite` is left out. output: the run directory to name in
        it instead of the one on record.
        """
        argv = [word for word in self._argv if word != "--overwrite"]
        if not self._argv:
            return ""
        if output is not None:
            argv = _with_output(argv, output)
        if self.failed and "--retry-failed" not in argv:
            argv.append("--retry-failed")
        return shlex.join(["robustssm", *argv])


def _with_output(argv: list[str], output: Path) -> list[str]:
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word in ("-o", "--output"):
            next(words, None)
        elif not word.startswith("--output=") and not (word[:2] == "-o" and len(word) > 2):
            kept.append(word)
    return [*kept, "--output", str(output)]


def inspect(path: Path, verify: bool = False) -> Inspection:
    """Return what the run directory holds.

    A cell counts as done where its file is whole and holds the numbers that were written: each page
    of it carries a checksum, and all are compared. verify compares the columns, samples and margins
    of cells as well, which no checksum covers. Raises UsageError if `path` is no run directory.
    """
    if not any((path / mark).exists() for mark in _MARKS):
        raise UsageError(
            f"run {path}: holds no plan.parquet and no cells; name the directory of a sweep, as "
            "`robustssm ls runs` lists them"
        )
    run = RunDirectory(path)
    damaged: dict[str, str] = {}
    manifest = _read("manifest.json", run, damaged, records.read_manifest) or {}
    cells = _read("plan.parquet", run, damaged, lambda path: run.read_plan()["cell"].tolist())
    planned = tuple(dict.fromkeys(cells or ()))
    if verify:
        there = [cell for cell in planned if run.has(cell)]
        damaged |= {f"cells/{c}.parquet": reason for c, reason in _unreadable(run, there)}
    state = run.state(planned)
    done = {cell for cell in state.done if f"cells/{cell}.parquet" not in damaged}
    damaged |= state.damaged
    return Inspection(
        state.planned, frozenset(done), state.failed, damaged, run, manifest, _written_now(run)
    )


def _read(
    name: str, run: RunDirectory, damaged: dict[str, str], read: Callable[[Path], T]
) -> T | None:
    try:
        return read(run.path / name)
    except records.UNREADABLE as error:
        there = (run.path / name).exists()
        damaged[name] = records.reason(error) if there else "not there"
        return None


def _unreadable(run: RunDirectory, cells: list[str]) -> Iterator[tuple[str, str]]:
    for cell in cells:
        try:
            rows = run.rows(cell)
        except RejectedInputError as error:
            yield cell, str(error)
            continue
        kind = of_table(rows)
        lacking = [name for name in ("sample_id", *kind.rows) if name not in rows]
        if lacking:
            yield cell, f"lacks the columns {', '.join(lacking)}"
            continue
        if kind is TOKENS:
            if (rows["right"] > rows["judged"]).any():
                yield cell, "it has more right tokens than judged ones"
        elif kind is not CLASSES:
            if (rows["squared_error"] < rows["absolute_error"] ** 2 * (1 - 1e-9)).any():
                yield cell, "its squared errors contradict the absolute ones"
        elif ((rows["margin"] > 0.0) != rows["correct"]).any():
            yield cell, "its margins contradict what is marked as correct"
        elif not np.array_equal(run.digest(cell).outcomes(), rows["correct"].to_numpy()):
            yield cell, "its counts are not those of its rows"


def _written_now(run: RunDirectory) -> bool | None:
    """Return whether a process holds the lock of the directory; None if that is not known.

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
    return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())


def runs_below(folder: Path) -> list[Path]:
    """Return the runs in a folder, sorted, or itself if it is one; UsageError if it is missing."""
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
