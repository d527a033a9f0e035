"""From a run's cells to its tables, and back: summary.csv, tests.csv and the overview."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from robustssm.errors import RobustssmError, UsageError
from robustssm.evaluations.results.cell_reader import digest_cells
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.paired_tests import paired_tests, verdicts
from robustssm.evaluations.results.summary import overview, summarise
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import write_csv
from robustssm.storage.opening import LARGEST_TEXT, read_bytes
from robustssm.targets import KINDS, of_table

# Level of the verdicts.
ALPHA = 0.05

# Columns by their kinds; in those of text an empty field is a text.
_TEXT = (
    *("model", "task", "noise", "inject", "eps_unit", "mode_unit", "cell", "clip", "perturbation"),
    *("model_a", "model_b", "interval", "by_noise_seed", "by_seed"),
)
_WHOLE = (
    "train_seed",
    "seed_a",
    "seed_b",
    "n",
    *(name for kind in KINDS.values() for name in kind.wins),
)
_NUMBERS = (
    *(name for kind in KINDS.values() for name in (kind.score, kind.clean, *kind.more)),
    *("mode", "eps", "ci_low", "ci_high", "delivered_rms"),
    *("in_band_share", "difference", "p", "p_holm", "p_bh"),
)
_TYPES = {name: pa.string() for name in _TEXT} | {name: pa.int64() for name in _WHOLE}
_TYPES |= {name: pa.float64() for name in _NUMBERS}
# What the two tables of a sweep always had.
_SUMMARY = frozenset(
    {"model", "train_seed", "task", "noise", "inject", "mode", "mode_unit", "eps", "eps_unit"}
    | {"n", "ci_low", "ci_high", "cell"}
)
_TESTS = frozenset(
    {"model_a", "seed_a", "model_b", "seed_b", "noise", "inject", "mode", "mode_unit", "eps"}
    | {"eps_unit", "n", "difference", "p", "p_holm"}
)
_ORDER = ["model", "train_seed", *CONDITION]
# What a row of the plan adds to a row of the summary.
_FROM_PLAN = ("checkpoint", "perturbation", "clip", "seed", "limit")


@dataclass(frozen=True)
class Tables:
    """What a run has measured so far.

    Parameters
    ----------
    summary : DataFrame
        One row per model, training seed and finished condition, tidy.
    tests : DataFrame
        Paired tests, one row per pair of models and condition; empty if tests.csv is not up to
        date.
    overview : DataFrame
        One row per model, noise and strength.
    stale : bool
        Whether the run's own summary.csv is behind its cells.
    """

    summary: pd.DataFrame
    tests: pd.DataFrame
    overview: pd.DataFrame
    stale: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the three tables as lists of records."""
        tables = {"summary": self.summary, "tests": self.tests, "overview": self.overview}
        return {name: table.to_dict("records") for name, table in tables.items()}

    def verdicts(self) -> list[str]:
        """Return a line per pair of models: at how many conditions they differ, corrected.

        Lines on rows whose adversaries had signs of misleading gradients come first. With several
        pairs of training seeds, or seeds of the noise, a condition counts if all of them agree.
        """
        known = "suspect" in self.summary
        suspect = self.summary.query("suspect > 0") if known else self.summary[:0]
        lines = [
            f"{row.model}/{row.train_seed}, {row.noise} at eps {row.eps:g} {row.eps_unit}: signs "
            f"at {row.suspect:.1%} of the samples that robustness may be overestimated; robustssm "
            "search diagnose --auto-attack says which"
            for row in suspect.itertuples()
        ]
        for row in verdicts(self.tests, ALPHA).itertuples():
            a, b = row.model_a, row.model_b
            where = f"in every pair of {row.of} " if row.pairs > 1 else ""
            opposite = f", {row.opposite} of opposite signs" if row.pairs > 1 else ""
            lines.append(
                f"{a} against {b}: of {row.conditions} conditions, {row.a_better} where {a} is "
                f"better {where}and {row.b_better} where {b} is{opposite} "
                f"({of_table(self.tests).test}, Holm-adjusted p < {ALPHA:g}; it compares these "
                "checkpoints, not ways of training)"
            )
        return lines


def read_csv(path: Path, needed: Set[str] = frozenset()) -> pd.DataFrame:
    """Return a table that a sweep wrote, numbers to the last bit; empty if there is none.

    Parameters
    ----------
    path : Path
        The file. Text is taken as it stands: a model may be called `NA`. One whose numbers are none
        is no table of a sweep.
    needed : set of str
        Columns that it has to have.
    """
    # Arrow parses numbers to the last bit in every version; pandas' default did not always.
    try:
        data = read_bytes(path, LARGEST_TEXT)
        table = csv.read_csv(
            pa.BufferReader(data),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=_TYPES),
        )
        whole = all(not table[k].null_count for k in _WHOLE if k in table.column_names)
        known = needed <= {*table.column_names} and len({*table.column_names}) == table.num_columns
        frame: pd.DataFrame = table.to_pandas() if whole and known else pd.DataFrame()
    except (OSError, pa.ArrowException, ValueError):
        return pd.DataFrame()
    return frame


def read_tables(state: Inspection) -> Tables:
    """Return the tables of a run's finished cells; nothing is written.

    Parameters
    ----------
    state : Inspection
        What the run holds. The summary is computed from its cells; if no plan says what these are,
        summary.csv is taken as it stands.
    """
    summary = read_csv(state.run.path / "summary.csv", _SUMMARY)
    # A row names one cell per seed of the noise.
    stale = {cell for row in summary.get("cell", ()) for cell in row.split()} != state.done
    tests = pd.DataFrame() if stale else read_csv(state.run.path / "tests.csv", _TESTS)
    # The cells have digests, the table has none: it is taken where nothing says what they are.
    cells = digest_cells(state.run, state.done) if state.planned else {}
    summary = summarise(state.run, cells) if state.planned else summary
    try:
        found = overview(summary, cells)
    except RobustssmError:  # damaged in a way that only --verify looks for
        found = overview(summary)  # without intervals of worst modes
    return Tables(summary, tests, found, stale)


def tidy(run: RunDirectory, summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary with what the plan knows of each row, so that it stands alone.

    Added are `checkpoint` (content hash), `perturbation`, `clip`, `seed` (of the noise, the first
    one) and `limit` (-1 if all samples were used).

    Parameters
    ----------
    run : RunDirectory
        The run.
    summary : DataFrame
        Its summary.
    """
    if summary.empty:
        return summary
    keys = ["cell", "model", "train_seed"]
    plan = run.plan()
    added = [name for name in _FROM_PLAN if name not in summary]
    first = summary["cell"].str.partition(" ")[0]
    known = plan[[*keys, *added]]
    found = summary.assign(cell=first).merge(known, on=keys, how="left", validate="one_to_one")
    return found.assign(cell=summary["cell"].to_numpy())


def finished(state: Inspection) -> pd.DataFrame:
    """Return the plan's rows with results, sorted by model, training seed, noise, mode and eps.

    Raises UsageError if no cell is finished.

    Parameters
    ----------
    state : Inspection
        What the run holds.
    """
    if not state.done:
        raise UsageError(
            f"run {state.run.path}: has no finished cell to export; let the sweep compute some"
        )
    plan = state.run.plan()
    there = plan[plan["cell"].isin(state.done)]
    return there.sort_values(_ORDER, kind="stable").reset_index(drop=True)


def finish(run: RunDirectory) -> Tables:
    """Write summary.csv and tests.csv of what a run holds so far, and return the tables.

    Parameters
    ----------
    run : RunDirectory
        The run; whoever writes into it holds its lock.
    """
    cells = digest_cells(run)
    summary = summarise(run, cells)
    tests = paired_tests(run, cells)
    write_csv(run.path / "summary.csv", summary)
    write_csv(run.path / "tests.csv", tests)
    return Tables(summary, tests, overview(summary, cells))
