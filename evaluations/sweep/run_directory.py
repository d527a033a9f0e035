"""A run directory: manifest, plan, one Parquet file a cell, errors; each file written atomically.

manifest.json  plan.parquet  cells/<id>.parquet  errors/<id>.json  summary.csv  tests.csv  figures/
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from robustssm.errors import StorageError, UsageError
from robustssm.evaluations.sweep import cell_files, records
from robustssm.evaluations.sweep.cell_files import CellDigest
from robustssm.evaluations.sweep.differences import differences
from robustssm.evaluations.sweep.run_state import RunState
from robustssm.evaluations.sweep.stored_cells import NOT_THERE, StoredCells
from robustssm.evaluations.table_files import parquet_bytes
from robustssm.storage.opening import read_text
from robustssm.storage.writing import locked, write_atomically

if TYPE_CHECKING:
    from robustssm.evaluations.sweep.plan import Plan

_FOLDERS = ("cells", "errors", "figures")
# In figures/: what the sweep's figures were drawn from, and their names, one per line.
DRAWN = ".drawn"
_LOCK = ".lock"
# The name of data that were arrays in memory, and the file in which a run directory holds them.
ARRAYS, DATA = "arrays", "data.npz"
# What `write_atomically` leaves where it was killed.
_HALF_WRITTEN = (".plan.parquet.*.part", ".manifest.json.*.part", f".{DATA}.*.part")
_ID = re.compile("[0-9a-f]{16}")
_OTHERS = "holds other samples than the other cells"
_CURE = "name another directory (`robustssm show` says what is left), with --reuse for its cells"


class RunDirectory(StoredCells):
    """Where the results of one sweep lie."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._plan: pd.DataFrame | None = None
        self._locked = False

    def error_path(self, cell_id: str) -> Path:
        """Return the file of a failed cell's traceback."""
        return self.path / "errors" / f"{cell_id}.json"

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; UsageError if the directory holds no readable one."""
        try:
            return records.read_manifest(self.path / "manifest.json")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"output {self.path}: holds no readable manifest.json of a sweep "
                f"({records.reason(error)}); {_CURE}"
            ) from None

    def read_plan(self) -> pd.DataFrame:
        """Return the stored plan, read once; raises `records.UNREADABLE` if it is none."""
        if self._plan is None:
            self._plan = records.read_plan(self.path / "plan.parquet")
        return self._plan

    def plan(self) -> pd.DataFrame:
        """Return the stored plan, one row per cell and label; UsageError if there is none."""
        try:
            return self.read_plan()
        except records.UNREADABLE as error:
            raise UsageError(
                f"run {self.path}: holds no readable plan.parquet of a sweep "
                f"({records.reason(error)}); {_CURE}"
            ) from None

    def state(self, planned: Iterable[str]) -> RunState:
        """Return which of the planned cells have results, failed, or are damaged.

        All cells of a plan are of the same samples: those of others than most are damaged, too.
        """
        planned = tuple(dict.fromkeys(planned))
        found = {cell: self.digest_or_reason(cell) for cell in planned}
        whole = {cell: one for cell, one in found.items() if isinstance(one, CellDigest)}
        samples = Counter(one.samples for one in whole.values()).most_common(1)
        done = frozenset(cell for cell, one in whole.items() if one.samples == samples[0][0])
        damaged = {
            f"cells/{cell}.parquet": one if isinstance(one, str) else _OTHERS
            for cell, one in found.items()
            if cell not in done and one != NOT_THERE
        }
        failures = {}
        recorded = {path.stem for path in (self.path / "errors").glob("*.json")}
        for cell in (c for c in planned if c in recorded and c not in done):
            try:
                failures[cell] = records.read_failure(self.error_path(cell), cell)
            except (OSError, ValueError) as error:
                damaged[f"errors/{cell}.json"] = records.reason(error)
        return RunState(planned, done, failures, damaged)

    @property
    def limit(self) -> int | None:
        """Number of samples of each cell if not all were used, as the stored plan says."""
        limits = self.plan()["limit"]
        return int(limits.iloc[0]) if len(limits) and limits.iloc[0] >= 0 else None

    def check(self, plan: "Plan", overwrite: bool = False) -> bool:
        """Return whether the directory holds anything; UsageError if `plan` may not go there.

        A directory whose cells are all in the plan can go on with it, be files renamed or modes
        added. Where it holds another sweep the message says what differs. Nothing is written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"output {self.path}: is a file, expected a directory")
        if not self.path.is_dir() or all(p.name == _LOCK for p in self.path.iterdir()):
            return False
        if not (self.path / "manifest.json").is_file():
            # A sweep that was stopped while it made the directory leaves these.
            begun = (*_FOLDERS, "plan.parquet", DATA, _LOCK, *_HALF_WRITTEN)
            if all(any(p.match(name) for name in begun) for p in self.path.iterdir()):
                return True
            raise UsageError(
                f"output {self.path}: is not empty and holds no sweep; name an empty directory"
            )
        self.manifest()
        if overwrite:
            return True
        frame = plan.frame()
        if not set(self.plan()["cell"]) <= set(frame["cell"]):
            found = differences(self.manifest(), self.plan(), plan.identity(), frame)
            said = (
                f"output {self.path}: holds another sweep; name another directory (cells in common "
                f"are taken over by --reuse {self.path}), or --overwrite to discard it"
            )
            raise UsageError("\n  ".join([said, *found]))
        return True

    def open(
        self,
        plan: "Plan",
        argv: Sequence[str] = (),
        overwrite: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Create the directory for `plan`, or take it up again, as `check` allows.

        argv, options: of the command, kept in the manifest. Raises as `check`, and StorageError
        where it cannot be written.
        """
        from robustssm.execution import versions

        if self.check(plan, overwrite) and overwrite:
            self._discard()
        manifest = {
            **plan.identity(),
            "argv": list(argv),
            "options": dict(options or {}),
            "versions": versions(),
        }
        try:
            for name in _FOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)
            for folder in (self.path, *(self.path / name for name in _FOLDERS)):
                for partial in folder.glob(".*.part"):
                    partial.unlink(missing_ok=True)
            write_atomically(self.path / "plan.parquet", parquet_bytes(plan.frame()))
            text = json.dumps(manifest, indent=1, sort_keys=True, default=str) + "\n"
            write_atomically(self.path / "manifest.json", text.encode())
        except OSError as error:
            raise self._unwritable(error) from None
        self._plan = None

    def _discard(self) -> None:
        """Remove what sweeps write here, and nothing else."""
        for folder, suffix in (("cells", "parquet"), ("errors", "json")):
            for path in (self.path / folder).glob(f"*.{suffix}"):
                if _ID.fullmatch(path.stem):
                    path.unlink(missing_ok=True)
        for path in drawn_figures(self.path / "figures"):
            path.unlink(missing_ok=True)
        for name in ("summary.csv", "tests.csv"):
            (self.path / name).unlink(missing_ok=True)
        self._digests.clear()

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(
            f"output {self.path}: cannot be written ({error.strerror}); name another directory"
        )

    def reuse(self, cells: Iterable[str], other: "RunDirectory") -> int:
        """Take those cells, named by all that they use, that another run has; return how many."""
        taken = 0
        for cell in cells:
            if other.has(cell):
                write_atomically(self.cell_path(cell), cell_files.read_cell(other.cell_path(cell)))
                taken += 1
        return taken

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other sweeps out of the directory meanwhile; it is made if it is not there.

        Raises UsageError if another sweep is writing there, StorageError if nothing can be written.
        The lock ends with the process, however that ends; whoever holds it may take it again. A
        file system or an operating system without such locks gives none.
        """
        if self._locked:
            yield
            return
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"output {self.path}: is a file, expected a directory")
        busy = (
            f"output {self.path}: another sweep is writing there; wait for its end, or name "
            "another directory"
        )
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.path / _LOCK, busy))
            except OSError as error:
                raise self._unwritable(error) from None
            self._locked = True
            try:
                yield
            finally:
                self._locked = False


def drawn_figures(folder: Path) -> list[Path]:
    """Return the files in a folder of figures that sweeps are on record to have drawn."""
    mark = folder / DRAWN
    names = read_text(mark).splitlines()[1:] if mark.is_file() else []
    return [mark, *(folder / name for name in names if "/" not in name)] if names else []


def check_outside(path: Path, run: Path) -> None:
    """Raise UsageError if `path` is one of a run directory's own files or in its folders."""
    own = ("manifest.json", "plan.parquet", "summary.csv", "tests.csv", *_FOLDERS)
    inside, folder = path.resolve(), run.resolve()
    if inside == folder or any(folder / name in (inside, *inside.parents) for name in own):
        raise UsageError(f"output {path}: belongs to the run itself; choose another place")
