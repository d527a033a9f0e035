"""Rows over training seeds: the seeds are the replicates."""

import numpy as np
import pandas as pd

from robustssm.evaluations.curve_quantities import EPS50, MCE, RELATIVE_MCE, WORST
from robustssm.evaluations.statistics.intervals import seed_interval, student
from robustssm.evaluations.statistics.over_seeds import compare_seeds

_OF = ["noise", "inject", "clip", "mode_unit", "eps_unit", "model", "reference", "eps", "quantity"]
# Means of a ratio or a strength are taken of its logarithm.
_GEOMETRIC = (EPS50, "eps50_ratio")


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, and one of train_seed `all` for what has several training seeds.

    It is the mean over seeds with Student's interval; differences have the exact sign-flip p of
    the seed-wise differences. Never pooled over samples. A strength outside those tried, or a
    ratio that is undefined, in any seed leaves no mean.
    """
    tables = [rows]
    for _, group in rows.groupby(_OF, sort=False, dropna=False):
        if len(group) > 1:
            tables.append(pd.DataFrame([_mean(group)], columns=rows.columns))
    return pd.concat(tables, ignore_index=True).astype(rows.dtypes) if len(tables) > 1 else rows


def _mean(group: pd.DataFrame) -> dict[str, object]:
    quantity = str(group["quantity"].iloc[0])
    row = dict(group.iloc[0])
    row |= {"train_seed": "all", "seeds": len(group), "detail": "", "p": np.nan, "p_test": ""}
    row |= {"reference_seed": "all"} if row["reference"] else {}
    values = group["value"].to_numpy(dtype=np.float64)
    decibels = row["eps_unit"] == "snr-db" and quantity == EPS50
    geometric = quantity in _GEOMETRIC and not decibels
    censored = set(group["censored"])
    if np.isnan(values).any() or censored != {""}:
        everywhere = len(censored) == 1 and "" not in censored
        count = int((np.isnan(values) | (group["censored"] != "").to_numpy()).sum())
        return row | {
            "value": values[0] if everywhere else np.nan,
            "ci_low": np.nan,
            "ci_high": np.nan,
            "interval": "",
            "censored": censored.pop() if everywhere else "",
            "detail": "in every seed"
            if everywhere
            else f"no mean: {count} of {len(group)} seeds have no value",
        }
    if quantity.startswith("conditions_"):
        return row | {"value": values.mean(), "detail": "mean over seeds", "interval": ""}
    if (values == values[0]).all():
        none = {"ci_low": np.nan, "ci_high": np.nan, "interval": ""}
        return row | {"value": values[0], "detail": "the same in every seed", **none}
    if quantity == WORST:
        none = {"ci_low": np.nan, "ci_high": np.nan, "interval": ""}
        row["detail"] = "same samples chose it, biased down"
        return row | {"value": values.mean(), **none}
    used = np.log(values) if geometric else values
    interval = (
        seed_interval if quantity.startswith(("acc_", "auc_")) and not row["reference"] else student
    )
    low, high = interval(used)
    mean = used.mean()
    if row["reference"] and quantity not in (MCE, RELATIVE_MCE):
        # Means of ratios are not centred where two models are equal: their signs mean nothing.
        found = compare_seeds(used)
        row |= {"p": found.p, "p_test": f"sign flips of seeds, at least {found.smallest_p:g}"}
    if geometric:
        mean, low, high = (float(np.exp(x)) for x in (mean, low, high))
        row["detail"] = "geometric mean"
    return row | {"value": mean, "ci_low": low, "ci_high": high, "interval": "seeds (Student)"}
