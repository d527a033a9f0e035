"""Thresholds that a comparison must not cross: `worst < 0.5` and the like."""

import operator
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.comparison import Comparison
from robustssm.evaluations.curve_quantities import (
    AUC,
    CLEAN,
    CROSSFIT,
    EPS50,
    MCE,
    MEAN,
    RELATIVE_MCE,
    WORST,
)

# What each name means: a quantity of models, or of differences to the reference.
MODEL_NAMES = {
    "clean": CLEAN,
    "mean": MEAN,
    "worst": WORST,
    "worst_crossfit": CROSSFIT,
    "auc": AUC,
    "eps50": EPS50,
    "mce": MCE,
    "relative_mce": RELATIVE_MCE,
}
DIFFERENCE_NAMES = {
    "difference": MEAN,
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
    """NAME OP NUMBER, which fails where it is true of any model, noise and strength."""

    name: str
    symbol: str
    number: float

    def failures(self, comparison: Comparison) -> list[str]:
        """Return one line a value that fails; an undefined value fails, too.

        Of models with several training seeds the mean over seeds is judged. eps50 outside the
        strengths tried counts as infinitely strong or weak. Raises UsageError where the
        comparison has no such quantity.
        """
        table = self._values(comparison)
        found = []
        for row in table.to_dict("records"):
            value = _judged(row)
            if np.isnan(value) or _OPERATORS[self.symbol](value, self.number):
                shown = "undefined" if np.isnan(value) else f"{value:.4g}"
                names = f"{row['model']} - {row['reference']}" if row["reference"] else row["model"]
                at = "" if np.isnan(row["eps"]) else f", eps {row['eps']:g} {row['eps_unit']}"
                found.append(f"{names}: {self.name} is {shown} ({row['noise']}{at})")
        return found

    def _values(self, comparison: Comparison) -> pd.DataFrame:
        of_pairs = self.name in DIFFERENCE_NAMES
        table = comparison.differences if of_pairs else comparison.models
        wanted = {**MODEL_NAMES, **DIFFERENCE_NAMES}[self.name]
        rows = table["quantity"] == wanted
        if wanted in (WORST, CROSSFIT):
            # Where there is one mode it is the worst.
            rows |= (table["quantity"] == MEAN) & (table["modes"] == 1)
        table = table[rows]
        if table.empty:
            raise UsageError(
                f"threshold {self.name}: this comparison has none (auc and eps50 need two "
                "strengths, differences two models); leave it out"
            )
        keys = ["noise", "inject", "clip", "mode_unit", "eps_unit", "model", "reference"]
        mean = table["train_seed"] == "all"
        several = mean.groupby([table[key] for key in keys]).transform("any")
        return table[~several | mean]


def parse_threshold(text: str) -> Threshold:
    """Return a threshold; UsageError, with the names that there are, where it is none."""
    names = ", ".join([*MODEL_NAMES, *DIFFERENCE_NAMES])
    match = _GRAMMAR.fullmatch(text.lower())
    if match is None or match[1] not in MODEL_NAMES | DIFFERENCE_NAMES:
        raise UsageError(
            f"threshold: {text!r} is not understood, expected NAME OP NUMBER as in "
            f"'worst < 0.5'; names: {names}; operators: {', '.join(_OPERATORS)}"
        )
    return Threshold(match[1], match[2], float(match[3]))


def _judged(row: dict[str, object]) -> float:
    """Return the value that is compared with the number."""
    value = float(str(row["value"]))
    if not row["censored"]:
        return value
    stronger = row["censored"] == "stronger"
    if row["eps_unit"] == "snr-db":
        return -np.inf if stronger else np.inf
    return np.inf if stronger else 0.0
