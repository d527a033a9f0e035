"""The rows of a comparison as they are measured, one per quantity of a model or a pair."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from robustssm.evaluations.comparison.curve_quantities import (
    CLEAN,
    EPS50,
    EPS50_DIFFERENCE,
    EPS50_RATIO,
    MCE,
    MEAN,
    RELATIVE_MCE,
    CurveQuantities,
    Name,
)
from robustssm.evaluations.comparison.strength_grid import StrengthGrid
from robustssm.evaluations.statistics.bootstrap import Bootstrapped
from robustssm.evaluations.statistics.intervals import in_words, wilson
from robustssm.evaluations.statistics.max_statistic import max_t, sign_flip
from robustssm.evaluations.statistics.paired import discordant, mcnemar, paired_interval
from robustssm.targets import CLASSES, Kind
from robustssm.typing import FloatArray, Right

COLUMNS = (
    *("noise", "inject", "clip", "mode_unit", "model", "reference", "train_seed"),
    *("reference_seed", "seeds", "n", "modes", "eps", "eps_unit", "quantity", "value", "ci_low"),
    *("ci_high", "interval", "p", "p_test", "censored", "detail", "by_noise_seed"),
)
# How many conditions differ, of either sign; the p of any difference belongs to it alone.
DIFFER = "conditions_differ"
# Natural logarithm of the amplitude that one decibel is.
_DECIBEL = np.log(10.0) / 20.0
# Places of model and reference in a grid; None if a row is of a model alone.
Pair = tuple[int, int | None]


@dataclass
class Row:
    """A value with its interval, and a p if there is a test of it."""

    value: float
    ci_low: float = np.nan
    ci_high: float = np.nan
    interval: str = ""
    p: float = np.nan
    p_test: str = ""
    censored: str = ""
    detail: str = ""
    by_noise_seed: str = ""

    def bound(self, low: float, high: float, kind: str) -> None:
        """Replace the interval, which is over samples."""
        self.ci_low, self.ci_high = float(low), float(high)
        self.interval, self.detail = f"samples ({kind})", ""

    def test(self, p: float, test: str) -> None:
        """Add a p-value."""
        self.p, self.p_test = float(p), test


# The rows of one noise, by what they are of.
Rows = dict[tuple[Pair, Name], Row]


def table(grid: StrengthGrid, rows: Rows) -> pd.DataFrame:
    """Return the rows of one noise as a frame with COLUMNS."""
    records = []
    for ((place, other), (quantity, eps)), row in rows.items():
        model, seed = grid.members[place]
        reference, reference_seed = ("", "") if other is None else grid.members[other]
        who = {"model": model, "reference": reference, "train_seed": str(seed)}
        who |= {"reference_seed": str(reference_seed), "quantity": quantity}
        records.append(who | {"eps": np.nan if eps is None else eps, **asdict(row)})
    frame = pd.DataFrame(records).assign(**grid.about(), seeds=1)
    return frame[[*COLUMNS]]


def bootstrapped(
    grid: StrengthGrid,
    pair: Pair,
    names: Sequence[Name],
    resampled: Bootstrapped,
    by_draw: FloatArray,
    first: int,
) -> Rows:
    """Return quantities with intervals, BCa or percentile.

    first: their place in `resampled`, and among the columns of by_draw, (noise seeds, quantities);
    what it gives is in the table if there are several draws, but for strengths, which are of the
    mean over them.
    """
    rows: Rows = {}
    for place, name in enumerate(names, first):
        low, high = float(resampled.bca_low[place]), float(resampled.bca_high[place])
        interval, detail = "samples (bootstrap BCa)", ""
        value = float(resampled.value[place])
        if np.isnan(low):
            low, high = float(resampled.low[place]), float(resampled.high[place])
            interval = "samples (bootstrap percentile)"
        undefined = float(resampled.undefined[place])
        if resampled.constant[place] or np.isnan(value):
            low, high, interval = np.nan, np.nan, ""
            detail = "no interval: it does not vary over the samples"
        elif undefined:
            detail = f"undefined in {undefined:.1%} of the resamples"
        row = Row(value, low, high, interval, detail=detail)
        if len(by_draw) > 1 and name[0] != EPS50:
            row.by_noise_seed = in_words(by_draw[:, place])
        if name[0] == EPS50 and pair[1] is None:
            rows[pair, name] = _strength(grid, row)
        elif name[0] == EPS50:
            decibels = grid.eps_unit == "snr-db"
            name = (EPS50_DIFFERENCE if decibels else EPS50_RATIO, name[1])
            rows[pair, name] = _ratio(decibels, row)
        else:
            if np.isnan(value):
                row.detail = "undefined: the reference makes no such errors"
            rows[pair, name] = row
    return rows


def _ratio(decibels: bool, logs: Row) -> Row:
    """Return the ratio of two eps50 (decibels: their difference) from that of logarithms."""
    if not np.isfinite(logs.value):
        return Row(np.nan, detail="undefined: an eps50 lies outside the strengths tried")
    ends = logs.value, logs.ci_low, logs.ci_high
    value, *bounds = (-log / _DECIBEL if decibels else float(np.exp(log)) for log in ends)
    low, high = sorted(bounds)
    if logs.detail or not np.isfinite(ends).all():
        return Row(value, detail="no interval: outside the strengths tried in some resamples")
    return Row(value, low, high, logs.interval)


def _strength(grid: StrengthGrid, logs: Row) -> Row:
    """Return eps50 in its unit from its logarithm."""
    ends = logs.ci_low, logs.ci_high
    detail = "" if np.isinf(logs.value) and not logs.interval else logs.detail
    if np.isinf(ends).any() and logs.interval and not detail:
        detail = "interval reaches beyond the strengths tried"
    low, high = sorted(from_log(log, grid) for log in ends)
    censored = {np.inf: "stronger", -np.inf: "weaker"}.get(logs.value, "")
    value = from_log(logs.value, grid)
    return Row(value, low, high, logs.interval, censored=censored, detail=detail)


def single_shares(grid: StrengthGrid, place: int, rows: Rows) -> None:
    """Give the shares of a model Wilson's interval: clean, and those at the only mode."""
    if grid.kind is not CLASSES:  # the bootstrap's stand
        return
    for name, right in _shares(grid).items():
        low, high = wilson(right[place].sum(), grid.n)
        rows[(place, None), name].bound(float(low), float(high), "Wilson")


def paired_shares(grid: StrengthGrid, pair: tuple[int, int], rows: Rows) -> None:
    """Give differences of two shares their own interval and McNemar's p; of values sign flips."""
    for name, right in _shares(grid).items():
        a, b = (right[k] for k in pair)
        if grid.kind is not CLASSES:
            rows[pair, name].test(float(sign_flip((a - b)[None])[0]), grid.kind.test)
            continue
        counts = discordant(a, b)
        rows[pair, name].bound(*paired_interval(*counts, grid.n), "Agresti-Min")
        if a.dtype == np.bool_:  # of shares the test by sign flips stands
            rows[pair, name].test(float(mcnemar(*counts)), "McNemar exact")


def _shares(grid: StrengthGrid) -> dict[Name, Right]:
    """Return the outcomes (members, samples) of the quantities that are shares of the samples."""
    shares: dict[Name, Right] = {(CLEAN, None): grid.clean}
    if len(grid.modes) == 1:
        shares |= {(MEAN, float(eps)): grid.correct[:, 0, e] for e, eps in enumerate(grid.eps)}
    return shares


def corruptions(quantities: CurveQuantities, rows: Rows) -> None:
    """Say against which seeds corruption errors are, and of how many modes they are the mean."""
    grid = quantities.grid
    measured = quantities.corruptions(grid.correct.mean(-1), grid.clean.mean(-1))
    shares = dict(zip((MCE, RELATIVE_MCE), (share for _, share in measured), strict=True))
    for k, (model, _) in enumerate(grid.members):
        same = quantities.same_seeds(model)
        against = "same training seed" if same else "mean over its seeds"
        for name, share in shares.items():
            row = rows[(k, None), (name, None)]
            used = round(float(share[k]) * len(grid.modes))
            said = f"of {quantities.reference}, {against}"
            ratios = f"{used} of {len(grid.modes)} modes have a ratio"
            row.detail = "; ".join(filter(None, [said, ratios, row.detail]))


def mode_differences(grid: StrengthGrid, pair: tuple[int, int]) -> pd.DataFrame:
    """Return one row per (mode, eps) of model minus reference.

    pair: places of model and reference; p: McNemar's exact, alone, or by sign flips of samples for
    shares of several draws; p_max_t: adjusted over all rows, of this noise, pair and training seed.
    a is the model, b the reference.
    """
    a, b = (grid.correct[k].reshape(-1, grid.n) for k in pair)
    of = grid.kind
    if of is CLASSES:
        wins: tuple[Any, Any] = discordant(a, b)
        difference = (wins[0] - wins[1]) / grid.n
    else:
        wins, difference = ((a > b).sum(1), (a < b).sum(1)), (a - b).mean(1)
    (model, train_seed), (reference, other) = (grid.members[k] for k in pair)
    return pd.DataFrame(
        {
            "noise": grid.noise,
            "inject": grid.inject,
            "clip": grid.clip,
            "model": model,
            "reference": reference,
            "train_seed": str(train_seed),
            "reference_seed": str(other),
            "mode": np.repeat(grid.modes, len(grid.eps)),
            "mode_unit": grid.mode_unit,
            "eps": np.tile(grid.eps, len(grid.modes)),
            "eps_unit": grid.eps_unit,
            "n": grid.n,
            of.score: a.mean(1),
            f"reference_{of.score}": b.mean(1),
            **dict(zip(of.wins, wins, strict=True)),
            "difference": difference,
            "p": mcnemar(*wins) if a.dtype == np.bool_ else sign_flip(a - b),
            "p_max_t": max_t(a, b),
        }
    )


def any_mode(pair: tuple[int, int], differences: pd.DataFrame) -> Rows:
    """Return at how many conditions two models differ, and whether at any."""
    differ = differences["p_max_t"] < 0.05
    better = int((differ & (differences["difference"] > 0)).sum())
    worse = int((differ & (differences["difference"] < 0)).sum())
    detail = f"of {len(differences)} (mode, eps), at adjusted p < 0.05"
    counts = {DIFFER: better + worse, "conditions_better": better, "conditions_worse": worse}
    rows: Rows = {
        (pair, (name, None)): Row(float(value), detail=detail) for name, value in counts.items()
    }
    any_p = differences["p_max_t"].min()
    rows[pair, (DIFFER, None)].test(any_p, "max-T, any condition, either sign")
    return rows


def shown(frame: pd.DataFrame, of: Kind) -> pd.DataFrame:
    """Return a table of outcomes as scores, under their own names: minus errors as errors."""
    if of is CLASSES or frame.empty:
        return frame
    columns = [name for name in (of.score, f"reference_{of.score}", "difference") if name in frame]
    frame = frame.assign(**{name: of.sign * frame[name] for name in columns})
    if "quantity" not in frame:
        return frame
    levels = frame["quantity"].str.startswith(("acc_", "auc_"))
    low, high = frame["ci_low"].copy(), frame["ci_high"].copy()
    frame.loc[levels, "value"] *= of.sign
    frame.loc[levels, "ci_low"], frame.loc[levels, "ci_high"] = -high[levels], -low[levels]
    texts = frame.loc[levels, "by_noise_seed"]
    frame.loc[levels, "by_noise_seed"] = [
        in_words(of.sign * np.array(text.split(), dtype=np.float64)) for text in texts
    ]
    return frame.assign(quantity=[of.named(one) for one in frame["quantity"]])


def from_log(value: float, grid: StrengthGrid) -> float:
    """Return a log strength in its unit; the outermost one of the curve if it lies beyond."""
    if np.isnan(value):
        return float("nan")
    if np.isinf(value):
        return float(grid.eps[grid.on_curve][-1 if value > 0 else 0])
    return float(-value / _DECIBEL if grid.eps_unit == "snr-db" else np.exp(value))
