"""The rows of a comparison as they are found, one a quantity."""

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
)
from robustssm.evaluations.comparison.strength_grid import StrengthGrid
from robustssm.evaluations.statistics.bootstrap import Bootstrapped
from robustssm.evaluations.statistics.intervals import wilson
from robustssm.evaluations.statistics.paired import mcnemar, paired_interval

COLUMNS = (
    *("noise", "inject", "clip", "mode_unit", "model", "reference", "train_seed"),
    *("reference_seed", "seeds", "n", "modes", "eps", "eps_unit", "quantity", "value", "ci_low"),
    *("ci_high", "interval", "p", "p_test", "censored", "detail"),
)
# How many conditions differ, of either sign; the p of any difference belongs to it alone.
DIFFER = "conditions_differ"
# Natural logarithm of the amplitude that one decibel is.
_DECIBEL = np.log(10.0) / 20.0
# Places of model and reference in a grid; None where a row is of a model alone.
Pair = tuple[int, int | None]
# Quantity and eps; NaN where it is of the whole curve.
Name = tuple[str, float]


class Rows:
    """Rows by what they are of, so that an interval or a p can be added to a value."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], dict[str, Any]] = {}

    def models(self) -> pd.DataFrame:
        """Return the rows of models."""
        return self._frame(pairs=False)

    def differences(self) -> pd.DataFrame:
        """Return the rows of pairs."""
        return self._frame(pairs=True)

    def _frame(self, pairs: bool) -> pd.DataFrame:
        rows = [row for row in self._rows.values() if bool(row["reference"]) == pairs]
        return pd.DataFrame(rows, columns=[*COLUMNS])

    def add(
        self,
        grid: StrengthGrid,
        pair: Pair,
        name: Name,
        value: float,
        low: float = np.nan,
        high: float = np.nan,
        interval: str = "",
        detail: str = "",
        censored: str = "",
    ) -> None:
        """Add a row."""
        model, seed = grid.members[pair[0]]
        reference, other = ("", "") if pair[1] is None else grid.members[pair[1]]
        quantity, eps = name
        self._rows[self._key(grid, pair, name)] = {
            "noise": grid.noise,
            "inject": grid.inject,
            "clip": grid.clip,
            "mode_unit": grid.mode_unit,
            "model": model,
            "reference": reference,
            "train_seed": str(seed),
            "reference_seed": str(other),
            "seeds": 1,
            "n": grid.n,
            "modes": len(grid.modes),
            "eps": eps,
            "eps_unit": grid.eps_unit,
            "quantity": quantity,
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "interval": interval,
            "p": np.nan,
            "p_test": "",
            "censored": censored,
            "detail": detail,
        }

    def bootstrapped(
        self, grid: StrengthGrid, pair: Pair, name: Name, found: Bootstrapped, place: int
    ) -> None:
        """Add a quantity with its bootstrap interval: BCa where it can be had, else percentile."""
        low, high = float(found.bca_low[place]), float(found.bca_high[place])
        interval, detail = "samples (bootstrap BCa)", ""
        value = float(found.value[place])
        if np.isnan(low):
            low, high = float(found.low[place]), float(found.high[place])
            interval = "samples (bootstrap percentile)"
        undefined = float(found.undefined[place])
        if found.constant[place] or np.isnan(value):
            low, high, interval = np.nan, np.nan, ""
            detail = "no interval: it does not vary over the samples"
        elif undefined:
            detail = f"undefined in {undefined:.1%} of the resamples"
        if name[0] == EPS50:
            self._strength(grid, pair, name, (value, low, high), interval, detail)
            return
        if np.isnan(value):
            detail = "undefined: the reference makes no such errors"
        self.add(grid, pair, name, value, low, high, interval, detail)

    def _strength(
        self, grid: StrengthGrid, pair: Pair, name: Name,
        logs: tuple[float, float, float], interval: str, detail: str,
    ) -> None:  # fmt: skip
        """Add eps50 in its unit, or the ratio of two (decibels: their difference).

        logs: value, low, high.
        """
        if pair[1] is not None:
            decibels = grid.eps_unit == "snr-db"
            ratio = (EPS50_DIFFERENCE if decibels else EPS50_RATIO, name[1])
            value, low, high = ((-log / _DECIBEL if decibels else float(np.exp(log)))
                                for log in logs)  # fmt: skip
            low, high = sorted((low, high))
            if not np.isfinite(logs[0]):
                value, low, high, interval = np.nan, np.nan, np.nan, ""
                detail = "undefined: an eps50 lies outside the strengths tried"
            elif detail or not np.isfinite(logs[1:]).all():
                low, high, interval = np.nan, np.nan, ""
                detail = "no interval: outside the strengths tried in some resamples"
            self.add(grid, pair, ratio, value, low, high, interval, detail)
            return
        if np.isinf(logs[0]) and not interval:
            detail = ""
        found = [from_log(log, grid) for log in logs]
        censored = {np.inf: "stronger", -np.inf: "weaker"}.get(logs[0], "")
        beyond = np.isinf(logs[1:]).any() and bool(interval)
        if beyond and not detail:
            detail = "interval reaches beyond the strengths tried"
        low, high = sorted(found[1:])
        self.add(grid, pair, name, found[0], low, high, interval, detail, censored)

    def interval(
        self, grid: StrengthGrid, pair: Pair, name: Name, ends: tuple[float, float], kind: str
    ) -> None:
        """Replace the interval of a row."""
        row = self._rows[self._key(grid, pair, name)]
        row["ci_low"], row["ci_high"] = ends
        row["interval"], row["detail"] = f"samples ({kind})", ""

    def single_mode(self, grid: StrengthGrid, place: int) -> None:
        """Give the accuracy at the only mode Wilson's interval."""
        for e, eps in enumerate(grid.eps):
            low, high = wilson(grid.correct[place, 0, e].sum(), grid.n)
            name = (MEAN, float(eps))
            self.interval(grid, (place, None), name, (float(low), float(high)), "Wilson")

    def paired_shares(self, grid: StrengthGrid, pair: tuple[int, int]) -> None:
        """Give differences of two shares their own interval and McNemar's p."""
        shares = {(CLEAN, float("nan")): grid.clean}
        if len(grid.modes) == 1:
            shares |= {(MEAN, float(eps)): grid.correct[:, 0, e] for e, eps in enumerate(grid.eps)}
        for name, right in shares.items():
            a, b = (right[k] for k in pair)
            counts = int((a & ~b).sum()), int((b & ~a).sum())
            self.interval(grid, pair, name, paired_interval(*counts, grid.n), "Agresti-Min")
            self.p(grid, pair, name, float(mcnemar(*counts)), "McNemar exact")

    def p(self, grid: StrengthGrid, pair: Pair, name: Name, p: float, test: str) -> None:
        """Add a p-value to a row."""
        row = self._rows[self._key(grid, pair, name)]
        row["p"], row["p_test"] = p, test

    def corruptions(self, quantities: CurveQuantities) -> None:
        """Say against which seeds corruption errors are, and where modes were left out."""
        grid = quantities.grid
        shares = dict(zip((MCE, RELATIVE_MCE), quantities.corruptions_used(), strict=True))
        for k, (model, _) in enumerate(grid.members):
            same = quantities.same_seeds(model)
            against = "same training seed" if same else "mean over its seeds"
            for name, share in shares.items():
                row = self._rows[self._key(grid, (k, None), (name, np.nan))]
                used = round(float(share[k]) * len(grid.modes))
                row["detail"] = "; ".join(
                    part
                    for part in (
                        f"of {quantities.reference}, {against}",
                        f"{used} of {len(grid.modes)} modes have a ratio",
                        row["detail"],
                    )
                    if part
                )

    def any_mode(self, grid: StrengthGrid, pair: Pair, table: pd.DataFrame, p_any: float) -> None:
        """Add at how many conditions two models differ, and whether at any."""
        differ = table["p_max_t"] < 0.05
        better = int((differ & (table["difference"] > 0)).sum())
        worse = int((differ & (table["difference"] < 0)).sum())
        detail = f"of {len(table)} (mode, eps), at adjusted p < 0.05"
        found = {DIFFER: better + worse, "conditions_better": better, "conditions_worse": worse}
        for name, value in found.items():
            self.add(grid, pair, (name, np.nan), float(value), detail=detail)
        self.p(grid, pair, (DIFFER, np.nan), p_any, "max-T, any condition, either sign")

    @staticmethod
    def _key(grid: StrengthGrid, pair: Pair, name: Name) -> tuple[object, ...]:
        eps = None if np.isnan(name[1]) else name[1]
        noise = (grid.noise, grid.inject, grid.mode_unit, grid.eps_unit, grid.clip)
        return (*noise, pair, name[0], eps)


def from_log(value: float, grid: StrengthGrid) -> float:
    """Return a log strength in its unit; the outermost one of the curve where it lies beyond."""
    if np.isnan(value):
        return float("nan")
    if np.isinf(value):
        return float(grid.eps[grid.on_curve][-1 if value > 0 else 0])
    return float(-value / _DECIBEL if grid.eps_unit == "snr-db" else np.exp(value))
