"""From a run's cells to its tables: summary.csv, tests.csv and the overview that is shown."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from robustssm.evaluations.cell_digests import digest_cells
from robustssm.evaluations.metrics import overview, perturbed, summarise
from robustssm.evaluations.significance import paired_tests
from robustssm.evaluations.store import RunDirectory, write_csv


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
        """Return one line a pair of models: at how many conditions they differ, corrected."""
        lines = []
        for (a, b), group in perturbed(self.tests).groupby(["model_a", "model_b"], sort=False):
            found = group[group["p_holm"] < 0.05]
            better_a = int((found["difference"] > 0).sum())
            lines.append(
                f"{a} against {b}: {better_a} conditions where {a} is better, "
                f"{len(found) - better_a} where {b} is, of {len(group)} "
                "(McNemar exact, Holm-adjusted p < 0.05)"
            )
        return lines


def finish(run: RunDirectory) -> Results:
    """Write summary.csv and tests.csv of what the run holds so far, and return the tables."""
    cells = digest_cells(run)
    summary = summarise(run, cells)
    tests = paired_tests(run, cells)
    write_csv(run.path / "summary.csv", summary)
    write_csv(run.path / "tests.csv", tests)
    shown = pd.DataFrame() if perturbed(summary).empty else overview(summary)
    return Results(summary, tests, shown)
