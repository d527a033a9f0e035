"""Thresholds that a comparison must not cross: `worst < 0.5` and the like."""

import operator
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.comparison import curve_quantities
from robustssm.evaluations.comparison.comparison import Comparison
from robustssm.evaluations.sweep.condition_names import NOISE

# What each name means: a quantity of models, or of differences to the reference.
MODEL_NAMES = {
    "clean": curve_quantities.CLEAN,
    "mean": curve_quantities.MEAN,
    "worst": curve_quantities.WORST,
    "worst_crossfit": curve_quantities.CROSSFIT,
    "auc": curve_quantities.AUC,
    "eps50": curve_quantities.EPS50,
    "mce": curve_quantities.MCE,
    "relative_mce": curve_quantities.RELATIVE_MCE,
}
DIFFERENCE_NAMES = {
    "difference": curve_quantities.MEAN,
    "conditions_differ": "conditions_differ",
    "conditions_better": "conditions_better",
    "conditions_worse": "conditions_worse",
}
_OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_GRAMMAR = re.compile(rf"\s*([a-z_0-9]+)\s*(<=|>=|<|>)\s*({_NUMBER})\s*")


@dataclass(frozen=True)
class Threshold:
    """NAME OP NUMBER, which fails if it is true of any model, noise and strength."""

    name: str
    symbol: str
    number: float

    def judge(self, comparison: Comparison) -> tuple[list[str], list[str]]:
        """Return lines of the values that fail, and of those that may or may not.

        An undefined value fails, too. Of models with several training seeds the mean over seeds
        is judged. An eps50 outside the strengths tried is known to lie beyond them, no more: where
        the number lies beyond them as well, it is undecided; so is a mean over seeds, if some
        of them are known so. Raises UsageError if the comparison has no such quantity.
        """
        table = self._values(comparison)
        failed: list[str] = []
        undecided: list[str] = []
        for row in table.to_dict("records"):
            low, high = _between(row, comparison.models)
            ends = [_OPERATORS[self.symbol](end, self.number) for end in (low, high)]
            if not np.isnan(low) and not any(ends):
                continue
            names = f"{row['model']} - {row['reference']}" if row["reference"] else row["model"]
            at = "" if np.isnan(row["eps"]) else f", eps {row['eps']:g} {row['eps_unit']}"
            shown = _shown(low, high, row["eps_unit"] if self.name == "eps50" else "")
            line = f"{names}: {self.name} is {shown} ({row['noise']}{at})"
            (failed if np.isnan(low) or all(ends) else undecided).append(line)
        return failed, undecided

    def _values(self, comparison: Comparison) -> pd.DataFrame:
        of_pairs = self.name in DIFFERENCE_NAMES
        table = comparison.differences if of_pairs else comparison.models
        wanted = {**MODEL_NAMES, **DIFFERENCE_NAMES}[self.name]
        of = comparison.compared.kind
        rows = table["quantity"] == of.named(wanted)
        if wanted in (curve_quantities.WORST, curve_quantities.CROSSFIT):
            # Where there is one mode it is the worst.
            rows |= (table["quantity"] == of.named(curve_quantities.MEAN)) & (table["modes"] == 1)
        table = table[rows]
        if table.empty:
            raise UsageError(
                f"threshold {self.name}: this comparison has none (auc and eps50 need two "
                "strengths, differences two models); leave it out"
            )
        keys = [*NOISE, "model", "reference"]
        mean = table["train_seed"] == "all"
        several = mean.groupby([table[key] for key in keys]).transform("any")
        return table[~several | mean]


def parse_threshold(text: str) -> Threshold:
    """Return a threshold; UsageError, with the names that there are, if it is none."""
    names = ", ".join([*MODEL_NAMES, *DIFFERENCE_NAMES])
    match = _GRAMMAR.fullmatch(text.lower())
    if match is None or match[1] not in MODEL_NAMES | DIFFERENCE_NAMES:
        raise UsageError(
            f"threshold: {text!r} is not understood, expected NAME OP NUMBER as in "
            f"'worst < 0.5'; names: {names}; operators: {', '.join(_OPERATORS)}"
        )
    return Threshold(match[1], match[2], float(match[3]))


def _between(row: dict[str, Any], models: pd.DataFrame) -> tuple[float, float]:
    """Return what a row's value lies between, both ends it if it is known; NaN: undefined."""
    value = float(row["value"])
    if row["quantity"] != curve_quantities.EPS50 or not (row["censored"] or np.isnan(value)):
        return value, value
    if row["train_seed"] != "all" or row["censored"]:
        return _beyond(value, row["censored"], row["eps_unit"])
    of_seeds = models[models["train_seed"] != "all"]
    for name in (*NOISE, "model", "quantity"):
        of_seeds = of_seeds[of_seeds[name] == row[name]]
    columns = of_seeds[["value", "censored", "eps_unit"]]
    ends = np.array([_beyond(*seed) for seed in columns.to_numpy()])
    if row["eps_unit"] == "snr-db":
        low, high = ends.mean(0)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):  # 0 and infinity have limits
            low, high = np.exp(np.log(ends).mean(0))
    return float(low), float(high)


def _beyond(value: float, censored: str, unit: str) -> tuple[float, float]:
    """Return what an eps50 lies between: beyond the strength `value` if it is censored.

    At the weakest strength a curve may be exactly halfway, at the strongest it is above that.
    """
    if not censored:
        return value, value
    decibels = unit == "snr-db"
    if censored == "weaker":
        return (value, np.inf) if decibels else (0.0, value)
    if decibels:
        return -np.inf, float(np.nextafter(value, -np.inf))
    return float(np.nextafter(value, np.inf)), np.inf


def _shown(low: float, high: float, unit: str) -> str:
    if np.isnan(low):
        return "undefined"
    if low == high:
        return f"{low:.4g}"
    below, above = low <= (-np.inf if unit == "snr-db" else 0.0), high == np.inf
    if below and above:
        return "beyond the strengths tried, above them in one seed and below in another"
    if above:
        return f"above {low:.4g} {unit}"
    return f"below {high:.4g} {unit}" if below else f"{low:.4g} to {high:.4g} {unit}"
