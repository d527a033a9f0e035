"""Did a model's robustness curve fall below a baseline? The same samples, the same noise.

Against one training seed (of the same file, changed a little, or trained again from the same seed)
the samples are paired: a condition has fallen where McNemar's exact one-sided p is below alpha,
corrected over all conditions, and the fall exceeds the margin. Another training seed usually
differs by more than that, so such a baseline does not forgive a retraining. Against two or more
seeds it has fallen where the accuracy is below the prediction bound of one more seed
(`statistics.seed_bands`), or its p, Holm-adjusted, below the level, and by more than the margin
below their mean. The mean over all perturbed conditions has a bound of its own, and so has the
clean accuracy, whose seeds differ less than those of perturbed ones.

The statements share alpha, so that a check of one model is wrong with probability alpha at most,
under their assumptions. A condition whose bound is at chance or below can not fall: it is not
judged, and a check that judges too few conditions has not passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.baselines.baseline import Baseline, Data, Member
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.statistics.seed_bands import SeedBand, Seeds, adjusted, fall_p
from robustssm.evaluations.sweep.condition_names import CLEAN, CLEAN_NAMES, CONDITION
from robustssm.typing import FloatArray

MARGIN, ALPHA = 0.02, 0.05
# Share of the rows that need not be judged.
UNJUDGED = 0.2
# Shares of alpha: the mean over conditions; against seeds, the conditions one by one, with the
# calibration of their bands (benchmarks/check_errors.py), and the clean accuracy.
OF_MEAN, OF_CONDITIONS, OF_CLEAN = 0.5, 0.25, 0.25
FELL, HELD, ROSE, OPEN = "fell", "held", "rose", "no band"
MEAN = "mean"
# Rows without a band that a note names.
NAMED = 8


@dataclass(frozen=True)
class Check:
    """A model of one training seed held against a baseline.

    table: one row per condition, then one of noise `mean` for the mean over the perturbed ones;
    columns baseline, measured, change, low (below which it has fallen), p (corrected), verdict:
    fell, held, rose (above the band, by more than the margin), or `no band` where the bound is at
    chance or below. seeds: training seeds of the baseline; same: whether the checkpoint is one of
    them; unjudged: share of rows without a band that is let pass.
    """

    model: str
    train_seed: int
    against: str
    seeds: int
    same: bool
    n: int
    table: pd.DataFrame
    unjudged: float = UNJUDGED

    @property
    def fallen(self) -> pd.DataFrame:
        """Rows that have fallen, the deepest fall first."""
        return self.table[self.table["verdict"] == FELL].sort_values("change", kind="stable")

    @property
    def open(self) -> int:
        """Rows that no result above chance could fail."""
        return int((self.table["verdict"] == OPEN).sum())

    @property
    def judged(self) -> bool:
        """Whether enough rows have a band."""
        return self.open <= self.unjudged * len(self.table)

    @property
    def passed(self) -> bool:
        """Whether nothing has fallen, of enough that could."""
        return self.fallen.empty and self.judged

    def not_judged(self) -> str:
        """Return that too few rows have a band, and what to do."""
        return (
            f"{self.model}/{self.train_seed} is not judged: no result above chance could fail at "
            f"{self.open} of {len(self.table)} rows, allowed is a share of {self.unjudged:g}; give "
            f"the baseline more training seeds than {self.seeds}, or fewer conditions, or allow "
            "more by --unjudged"
        )

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
        if self.open:
            rows = self.table[self.table["verdict"] == OPEN]
            named = ", ".join(_name(row) for _, row in rows.head(NAMED).iterrows())
            more = f" and {self.open - NAMED} more" if self.open > NAMED else ""
            lines.append(
                f"{self.against}: no band at {self.open} of {len(self.table)} rows, the bound of "
                f"one more seed is at chance or below there ({named}{more}); give the baseline "
                f"more training seeds than {self.seeds}, or fewer conditions"
            )
        return lines


def describe(row: "pd.Series[Any]") -> str:
    """Return a row of a check's table in words."""
    strength = f", eps {row['eps']:g} {row['eps_unit']}" if row["eps_unit"] else ""
    return (
        f"{_name(row)}{strength}: {row['measured']:.3f}, band from {row['low']:.3f} (baseline "
        f"{row['baseline']:.3f}, change {row['change']:+.3f}, p {row['p']:.2g})"
    )


def _name(row: "pd.Series[Any]") -> str:
    """Return what a row is of, without the strength."""
    if row["noise"] == CLEAN:
        return "clean accuracy"
    if row["noise"] == MEAN:
        return f"mean over {int(row['mode'])} conditions"
    mode = f" at {row['mode_unit']} {row['mode']:g}" if row["mode_unit"] else ""
    return f"{row['noise']}{mode}"


def judge(
    baseline: Baseline,
    measured: Member,
    members: Sequence[Member],
    margin: float = MARGIN,
    alpha: float = ALPHA,
    unjudged: float = UNJUDGED,
) -> Check:
    """Return a model held against the members of a baseline, measured under the same conditions.

    margin: of accuracy, below which no fall counts; alpha: probability of a false alarm, over all
    conditions and the mean over them; unjudged: share of rows that may have no band. Raises
    UsageError for values outside their ranges.
    """
    if not (0 <= margin < 1 and 0 < alpha < 1 and 0 <= unjudged <= 1):
        raise UsageError(
            f"check: margin {margin:g}, alpha {alpha:g}, unjudged {unjudged:g}; expected a margin "
            "from 0 to below 1, alpha between 0 and 1, and a share"
        )
    after = np.concatenate([measured.clean[None], measured.correct])
    before = np.stack([np.concatenate([m.clean[None], m.correct]) for m in members])
    whole = len(measured.ids) > 1
    if len(members) == 1:
        table = against_one(before[0], after, whole, margin, alpha)
    else:
        table = against_seeds(before.mean(2), after.mean(1), baseline.data, whole, margin, alpha)
    names = [CLEAN_NAMES, *(baseline.conditions[one].names for one in measured.ids)]
    ids = [CLEAN, *measured.ids]
    if whole:
        names.append({**CLEAN_NAMES, "noise": MEAN, "mode": float(len(measured.ids)),
                      "mode_unit": "conditions"})  # fmt: skip
        ids.append(MEAN)
    table = pd.concat([pd.DataFrame(names).assign(condition=ids), table], axis=1)
    change = table["change"] = table["measured"] - table["baseline"]
    fell, rose = table["fell"] & (change < -margin), table["rose"] & (change > margin)
    table["verdict"] = np.select([fell, rose, table["vacuous"]], [FELL, ROSE, OPEN], HELD)
    against = members[0].model if len(members) > 1 else members[0].name
    same = measured.checkpoint in {member.checkpoint for member in members}
    columns = [*CONDITION, "baseline", "measured", "change", "low", "p", "verdict", "condition"]
    return Check(
        measured.model, measured.train_seed, against, len(members), same, baseline.data.samples,
        table[columns], unjudged,
    )  # fmt: skip


def against_one(
    before: npt.NDArray[np.bool_],
    after: npt.NDArray[np.bool_],
    whole: bool,
    margin: float,
    alpha: float,
) -> pd.DataFrame:
    """Return baseline, measured, low, p, fell, rose and vacuous, paired sample by sample.

    before, after: (1 + conditions, samples), which are right, clean first; whole: add a row for the
    mean over the conditions.
    """
    expected, share = before.mean(1), after.mean(1)
    of_single = 1 - OF_MEAN if whole else 1.0
    down, up = (adjusted(p, of_single) for p in (fall_p(before, after), fall_p(after, before)))
    if whole:
        expected, share = _with_mean(expected), _with_mean(share)
        # Symmetric about zero, so that half of the two-sided p is that of one side.
        (p,) = sign_flip((before[1:].mean(0) - after[1:].mean(0))[None]) / 2
        sides = (p, 1 - p) if share[-1] < expected[-1] else (1 - p, p)
        down, up = (
            np.append(single, min(1.0, side / OF_MEAN))
            for single, side in zip((down, up), sides, strict=True)
        )
    return pd.DataFrame(
        {"baseline": expected, "measured": share, "low": expected - margin, "p": down,
         "fell": down < alpha, "rose": up < alpha, "vacuous": False}
    )  # fmt: skip


def against_seeds(
    before: FloatArray, after: FloatArray, data: Data, whole: bool, margin: float, alpha: float
) -> pd.DataFrame:
    """Return baseline, measured, low, p, fell, rose and vacuous, against bands of one more seed.

    before (seeds, 1 + conditions), after (1 + conditions,): accuracies, clean first; whole: add a
    row for the mean over the conditions.
    """
    expected = before.mean(0)
    if whole:
        expected, after = _with_mean(expected), _with_mean(after)
    clean, rest, *mean = bands(before, data.samples, whole, alpha)
    parts = [clean, rest, *mean]
    low = np.minimum(np.concatenate([band.low for band in parts]), expected - margin)
    high = np.concatenate([band.high for band in parts])
    ends = 1, len(expected) - len(mean)
    shares = np.split(after, ends)
    down = [
        adjusted(band.p(part), of)
        for band, part, of in zip(parts, shares, (OF_CLEAN, OF_CONDITIONS, OF_MEAN), strict=False)
    ]
    p = np.concatenate(down)
    return pd.DataFrame(
        {"baseline": expected, "measured": after, "low": low, "p": p, "fell": p < alpha,
         "rose": after > high, "vacuous": (low <= data.chance) & (after < high)}
    )  # fmt: skip


def bands(before: FloatArray, n: int, whole: bool, alpha: float) -> list[SeedBand]:
    """Return the bands of the clean accuracy, of the conditions, and of their mean if `whole`."""
    result = [
        Seeds.of(before[:, :1], n).students_band(OF_CLEAN * alpha),
        Seeds.of(before[:, 1:], n).band(OF_CONDITIONS * alpha),
    ]
    if whole:
        mean = before[:, 1:].mean(1, keepdims=True)
        result.append(Seeds.of(mean, n).students_band(OF_MEAN * alpha))
    return result


def _with_mean(shares: FloatArray) -> FloatArray:
    """Return shares, clean first, and then the mean over the conditions."""
    return np.append(shares, shares[1:].mean())
