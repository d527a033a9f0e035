"""What a check has found: verdicts by row, whether it passed, and in words."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from robustssm.evaluations.statistics.seed_bands import seeds_that_know, unseen
from robustssm.evaluations.sweep.condition_names import CLEAN
from robustssm.targets import CLASSES, Kind

ALPHA = 0.05
# Share of the rows that need not be judged.
UNJUDGED = 0.2
# Share of the conditions, below every seed of which a model looks like one of another kind.
APART = 0.9
FELL, HELD, ROSE, OPEN, UNDECIDED = "fell", "held", "rose", "no band", "undecided"
MEAN = "mean"
# Rows without a band that a note names.
NAMED = 8


@dataclass(frozen=True)
class Check:
    """A model of one training seed held against a baseline.

    table: one row per condition, then one of noise `mean` for the mean over the perturbed ones;
    columns baseline, measured, change, low (below which it has fallen), p (corrected), verdict:
    fell, held, rose (above the band, by more than the margin), `no band` where the bound is at
    chance or below, or `undecided` where it would have fallen if trainings were of one kind. seeds:
    training seeds of the baseline; same: whether the checkpoint is one of them; alpha: probability
    of a false alarm; unjudged: share of rows without a band that is let pass.
    """

    model: str
    train_seed: int
    against: str
    seeds: int
    same: bool
    n: int
    table: pd.DataFrame
    alpha: float = ALPHA
    unjudged: float = UNJUDGED
    kind: Kind = CLASSES

    @property
    def fallen(self) -> pd.DataFrame:
        """Rows that have fallen, the deepest fall first."""
        return self._rows(FELL)

    def lowest(self, verdict: str, shown: int = 3) -> str:
        """Return the deepest falls of the rows with a verdict, in words."""
        rows = self._rows(verdict)
        named = "; ".join(describe(row, self.kind) for _, row in rows.head(shown).iterrows())
        return named + (f"; and {len(rows) - shown} more" if len(rows) > shown else "")

    def _rows(self, *verdicts: str) -> pd.DataFrame:
        return self.deepest(self.table[self.table["verdict"].isin(verdicts)])

    def deepest(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows of the table, the deepest fall first."""
        return rows.sort_values("change", kind="stable", key=lambda c: self.kind.sign * c)

    @property
    def open(self) -> int:
        """Rows that no result above chance could fail."""
        return int((self.table["verdict"] == OPEN).sum())

    @property
    def judged(self) -> bool:
        """Whether enough rows have a band, and none is undecided."""
        return self.open <= self.unjudged * len(self.table) and not self.undecided

    @property
    def undecided(self) -> int:
        """Rows that have fallen, unless the model is of a kind that the baseline has not seen."""
        return len(self._rows(UNDECIDED))

    @property
    def passed(self) -> bool:
        """Whether nothing has fallen, of enough that could, nor is undecided."""
        return self.fallen.empty and self.judged

    def not_judged(self) -> str:
        """Return that too few rows have a band, or some are undecided, and what to do."""
        if self.undecided:
            return (
                f"{self.model}/{self.train_seed} is not judged: {self.undecided} of "
                f"{len(self.table)} rows are below the band ({self.lowest(UNDECIDED)}), but it is "
                f"below all {self.seeds} seeds at {APART:.0%} of the conditions or more, as a "
                "training of another kind would be, which they miss with a probability of up to "
                f"{unseen(self.seeds):.3f}; give the baseline {seeds_that_know(self.alpha)} "
                f"training seeds, or hold it against one of them by --against"
            )
        return (
            f"{self.model}/{self.train_seed} is not judged: no result above {self.kind.guess} "
            f"could fail at {self.open} of {len(self.table)} rows, allowed is a share of "
            f"{self.unjudged:g}; give the baseline more training seeds than {self.seeds}, or fewer "
            "conditions, or allow more by --unjudged"
        )

    def headline(self) -> str:
        """Return what was found, in one line."""
        counts = self.table["verdict"].value_counts()
        found = [
            f"{counts[v]} {v}" for v in (FELL, UNDECIDED, HELD, ROSE, OPEN) if counts.get(v, 0)
        ]
        seeds = f"{self.seeds} training seed{'s' if self.seeds > 1 else ''}"
        return (
            f"{self.model}/{self.train_seed} against {self.against} ({seeds}, n = {self.n}): "
            f"{', '.join(found)} of {len(self.table)}"
        )

    def report(self, shown: int = 20) -> str:
        """Return the headline and a line for each of the deepest falls."""
        fallen = self._rows(FELL, UNDECIDED)
        lines = [
            self.headline(),
            *(f"  {describe(row, self.kind)}" for _, row in fallen.head(shown).iterrows()),
        ]
        more = len(fallen) - shown
        return "\n".join([*lines, *([f"  and {more} more"] if more > 0 else [])])

    def notes(self) -> list[str]:
        """Return what the reader must know of the band; one line each."""
        lines = []
        if self.seeds == 1 and not self.same:
            lines.append(
                f"{self.against} has one training seed: the band knows the samples' variation "
                "alone, and another seed of the same training may fall below it; give the "
                "baseline three"
            )
        if self.open:
            rows = self.table[self.table["verdict"] == OPEN]
            named = ", ".join(_name(row, self.kind) for _, row in rows.head(NAMED).iterrows())
            more = f" and {self.open - NAMED} more" if self.open > NAMED else ""
            lines.append(
                f"{self.against}: no band at {self.open} of {len(self.table)} rows, the bound of "
                f"one more seed is at {self.kind.guess} or worse there ({named}{more}); give the "
                f"baseline more training seeds than {self.seeds}, or fewer conditions"
            )
        return lines


def describe(row: "pd.Series[Any]", of: Kind) -> str:
    """Return a row of a check's table in words."""
    strength = f", eps {row['eps']:g} {row['eps_unit']}" if row["eps_unit"] else ""
    measured, low, before = (f"{row[key]:{of.digits}}" for key in ("measured", "low", "baseline"))
    return (
        f"{_name(row, of)}{strength}: {measured}, band from {low} (baseline {before}, change "
        f"{row['change']:+{of.digits}}, p {row['p']:.2g})"
    )


def _name(row: "pd.Series[Any]", of: Kind) -> str:
    """Return what a row is of, without the strength."""
    if row["noise"] == CLEAN:
        return f"clean {of.words}"
    if row["noise"] == MEAN:
        return f"mean over {int(row['mode'])} conditions"
    mode = f" at {row['mode_unit']} {row['mode']:g}" if row["mode_unit"] else ""
    return f"{row['noise']}{mode}"
