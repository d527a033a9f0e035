"""From a run's cells to its tables: summary.csv, tests.csv and the overview that is shown."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from robustssm.evaluations.cell_digests import digest_cells
from robustssm.evaluations.metrics import overview, perturbed, summarise
from robustssm.evaluations.significance import paired_tests, verdicts
from robustssm.evaluations.store import RunDirectory
from robustssm.evaluations.table_files import write_csv

# Level of the verdicts.
ALPHA = 0.05


@dataclass(frozen=True)
class Results:
    """The tables of a run: one row a cell and model, one a test, one a model and eps."""

    summary: pd.DataFrame
    tests: pd.DataFrame
    overview: pd.DataFrame

    def to_json(self) -> dict[str, Any]:
        """Return the three tables as lists of records."""
        return {
            "summary": self.summary.to_dict("records"),
            "tests": self.tests.to_dict("records"),
            "overview": self.overview.to_dict("records"),
        }

    def verdicts(self) -> list[str]:
        """Return one line a pair of models: at how many conditions they differ, corrected.

        With several pairs of training seeds a condition counts where all of them agree.
        """
        lines = []
        for row in verdicts(self.tests, ALPHA).itertuples():
            a, b = row.model_a, row.model_b
            where = "in every pair of training seeds " if row.pairs > 1 else ""
            opposite = f", {row.opposite} of opposite signs" if row.pairs > 1 else ""
            lines.append(
                f"{a} against {b}: of {row.conditions} conditions, {row.a_better} where {a} is "
                f"better {where}and {row.b_better} where {b} is{opposite} (McNemar exact, "
                f"Holm-adjusted p < {ALPHA:g}; it compares these checkpoints, not ways of training)"
            )
        return lines


def finish(run: RunDirectory) -> Results:
    """Write summary.csv and tests.csv of what the run holds so far, and return the tables."""
    cells = digest_cells(run)
    summary = summarise(run, cells)
    tests = paired_tests(run, cells)
    write_csv(run.path / "summary.csv", summary)
    write_csv(run.path / "tests.csv", tests)
    shown = pd.DataFrame() if perturbed(summary).empty else overview(summary, cells)
    return Results(summary, tests, shown)
