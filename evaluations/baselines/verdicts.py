"""Did a model's robustness curve fall below a baseline? The same samples, the same noise.

Against one training seed (of the same file, changed a little, or trained again from the same seed)
the samples are paired: a condition has fallen where McNemar's exact one-sided p is below alpha,
corrected over all conditions, and the fall exceeds the margin. Another training seed usually
differs by more than that, so such a baseline does not forgive a retraining. Against two or more
seeds it has fallen where the accuracy is below the prediction bound of one more seed
(`statistics.seed_bands`) and by more than the margin below their mean. The mean over all perturbed
conditions is held against a bound of its own. Each of the two statements has half of alpha, so
that a check of one model is wrong with probability alpha at most, under their assumptions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.baselines.baseline import Baseline, Data, Member
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.statistics.seed_bands import adjusted, fall_p, mean_band, seed_band
from robustssm.evaluations.sweep.conditions import CLEAN, CLEAN_NAMES, CONDITION

MARGIN, ALPHA = 0.02, 0.05
FELL, HELD, ROSE, OPEN = "fell", "held", "rose", "no band"
MEAN = "mean"


@dataclass(frozen=True)
class Check:
    """A model of one training seed held against a baseline.

    table: one row per condition, then one of noise `mean` for the mean over the perturbed ones;
    columns baseline, measured, change, low (below which it has fallen), p (corrected), verdict:
    fell, held, rose (above the band, by more than the margin), or `no band` where the bound is at
    chance or below. seeds: training seeds of the baseline; same: whether the checkpoint is one of
    them.
    """

    model: str
    train_seed: int
    against: str
    seeds: int
    same: bool
    n: int
    table: pd.DataFrame

    @property
    def fallen(self) -> pd.DataFrame:
        """Rows that have fallen, the deepest fall first."""
        return self.table[self.table["verdict"] == FELL].sort_values("change", kind="stable")

    @property
    def passed(self) -> bool:
        """Whether nothing has fallen."""
        return self.fallen.empty

    def headline(self) -> str:
        """Return what was found, in one line."""
        counts = self.table["verdict"].value_counts()
        found = [f"{counts[v]} {v}" for v in (FELL, HELD, ROSE, OPEN) if counts.get(v, 0)]
        seeds = f"{self.seeds} training seed{'s' if self.seeds > 1 else ''}"
        return (
            f"{self.model}/{self.train_seed} against {self.against} ({seeds}, n = {self.n}): "
            f"{', '.join(found)} of {len(self.table)}"
        )

    def report(self, shown: int = 20) -> str:
        """Return the headline and a line for each of the deepest falls."""
        fallen = self.fallen
        lines = [
            self.headline(),
            *(f"  {describe(row)}" for _, row in fallen.head(shown).iterrows()),
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
        unknown = int((self.table["verdict"] == OPEN).sum())
        if unknown:
            lines.append(
                f"{self.against}: no band at {unknown} of {len(self.table)} rows, the bound of "
                f"one more seed is at chance or below there; give the baseline more training "
                f"seeds than {self.seeds}, or fewer conditions"
            )
        return lines


def describe(row: "pd.Series[Any]") -> str:
    """Return a row of a check's table in words."""
    if row["noise"] == CLEAN:
        what = "clean accuracy"
    elif row["noise"] == MEAN:
        what = f"mean over {int(row['mode'])} conditions"
    else:
        mode = f" at {row['mode_unit']} {row['mode']:g}" if row["mode_unit"] else ""
        what = f"{row['noise']}{mode}, eps {row['eps']:g} {row['eps_unit']}"
    return (
        f"{what}: {row['measured']:.3f}, band from {row['low']:.3f} (baseline "
        f"{row['baseline']:.3f}, change {row['change']:+.3f}, p {row['p']:.2g})"
    )


def judge(
    baseline: Baseline,
    measured: Member,
    members: Sequence[Member],
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> Check:
    """Return a model held against the members of a baseline, measured under the same conditions.

    margin: of accuracy, below which no fall counts; alpha: probability of a false alarm, over all
    conditions and the mean over them. Raises UsageError for values outside their ranges.
    """
    if not (0 <= margin < 1 and 0 < alpha < 1):
        raise UsageError(
            f"check: margin {margin:g}, alpha {alpha:g}; expected a margin from 0 to below 1 and "
            "alpha between 0 and 1"
        )
    after = np.concatenate([measured.clean[None], measured.correct])
    before = np.stack([np.concatenate([m.clean[None], m.correct]) for m in members])
    names = [CLEAN_NAMES, *(baseline.conditions[one].names for one in measured.ids)]
    table = pd.DataFrame(names).assign(condition=[CLEAN, *measured.ids])
    whole = len(measured.ids) > 1
    level = alpha / 2 if whole else alpha
    share = after.mean(1)
    if len(members) == 1:
        table["baseline"], table["measured"] = before[0].mean(1), share
        families = 2 if whole else 1
        down = adjusted(fall_p(before[0], after), families)
        up = adjusted(fall_p(after, before[0]), families)
        table["low"], table["p"] = table["baseline"] - margin, down
        table["fell"], table["rose"], table["vacuous"] = down < alpha, up < alpha, False
    else:
        band = seed_band(before.mean(2), baseline.data.samples, level)
        table["baseline"], table["measured"] = before.mean((0, 2)), share
        low, high = np.minimum(band.low, table["baseline"] - margin), band.high
        table["low"] = low
        table["p"] = np.minimum(1.0, band.p(share) * len(table) * alpha / level)
        table["fell"], table["rose"] = share < low, share > high
        table["vacuous"] = (low <= baseline.data.chance) & (share < high)
    if whole:
        mean = _mean_row(before[:, 1:], after[1:], baseline.data, margin, alpha)
        table = pd.concat([table, pd.DataFrame([mean])], ignore_index=True)
    change = table["change"] = table["measured"] - table["baseline"]
    fell, rose = table["fell"] & (change < -margin), table["rose"] & (change > margin)
    table["verdict"] = np.select([fell, rose, table["vacuous"]], [FELL, ROSE, OPEN], HELD)
    against = members[0].model if len(members) > 1 else members[0].name
    same = measured.checkpoint in {member.checkpoint for member in members}
    columns = [*CONDITION, "baseline", "measured", "change", "low", "p", "verdict", "condition"]
    return Check(
        measured.model, measured.train_seed, against, len(members), same, baseline.data.samples,
        table[columns],
    )  # fmt: skip


def _mean_row(before: Any, after: Any, data: Data, margin: float, alpha: float) -> dict[str, Any]:
    """Return the row of the mean over perturbed conditions; before: (seeds, conditions, n)."""
    means, share = before.mean((1, 2)), float(after.mean())
    expected = float(means.mean())
    vacuous = False
    if len(means) == 1:
        # Symmetric about zero, so that half of the two-sided p is that of one side.
        (p,) = sign_flip((before[0].mean(0) - after.mean(0))[None]) / 2
        down, up = (p, 1 - p) if share < expected else (1 - p, p)
        low, fell, rose = expected - margin, 2 * down < alpha, 2 * up < alpha
        p = 2 * down
    else:
        band = mean_band(means, data.samples, alpha / 2)
        low, high = min(float(band.low[0]), expected - margin), float(band.high[0])
        fell, rose = share < low, share > high
        p = 2 * float(band.p(np.array([share]))[0])
        vacuous = low <= data.chance and share < high
    names = {**CLEAN_NAMES, "noise": MEAN, "mode": float(before.shape[1]),
             "mode_unit": "conditions", "condition": MEAN}  # fmt: skip
    return {**names, "baseline": expected, "measured": share, "low": low, "p": min(1.0, float(p)),
            "fell": bool(fell), "rose": bool(rose), "vacuous": vacuous}  # fmt: skip
