"""Rows over training seeds: the seeds are the replicates."""

import numpy as np
import pandas as pd

from robustssm.evaluations.comparison.curve_quantities import (
    EPS50,
    EPS50_RATIO,
    MCE,
    RELATIVE_MCE,
    WORST,
)
from robustssm.evaluations.statistics.replicates import interval_over_seeds
from robustssm.evaluations.statistics.seed_comparison import sign_flip_p, smallest_p
from robustssm.evaluations.sweep.condition_names import NOISE

_OF = [*NOISE, "eps", "model", "reference", "quantity"]
# Means of a ratio or a strength are taken of its logarithm.
_GEOMETRIC = (EPS50, EPS50_RATIO)
_NONE = {"ci_low": np.nan, "ci_high": np.nan, "interval": ""}


def with_means_over_seeds(rows: pd.DataFrame, limits: tuple[float, float]) -> pd.DataFrame:
    """Return the rows, and one of train_seed `all` for what has several training seeds.

    It is the mean over seeds with Student's interval; differences have the exact sign-flip p of
    the seed-wise differences. With several seeds of the noise the interval is over both kinds of
    seeds. Never pooled over samples. A strength outside those tried, or a
    ratio that is undefined, in any seed leaves no mean. Seeds that agree leave no interval. limits:
    of what a mean outcome can be.
    """
    tables = [rows]
    for _, group in rows.groupby(_OF, sort=False, dropna=False):
        if len(group) > 1:
            tables.append(pd.DataFrame([_mean(group, limits)], columns=rows.columns))
    return pd.concat(tables, ignore_index=True).astype(rows.dtypes) if len(tables) > 1 else rows


def _mean(group: pd.DataFrame, limits: tuple[float, float]) -> dict[str, object]:
    quantity = str(group["quantity"].iloc[0])
    shared = _shared(group["detail"]) if quantity in (MCE, RELATIVE_MCE) else []
    row = dict(group.iloc[0]) | _NONE | {"by_noise_seed": ""}
    row |= {"train_seed": "all", "seeds": len(group), "p": np.nan, "p_test": ""}
    row |= {"reference_seed": "all"} if row["reference"] else {}

    def of(value: float, said: str = "", **more: object) -> dict[str, object]:
        detail = "; ".join(filter(None, [*shared, said]))
        return row | {"value": value, "detail": detail, **more}

    values = group["value"].to_numpy(dtype=np.float64)
    censored = set(group["censored"])
    if np.isnan(values).any() or censored != {""}:
        count = int((np.isnan(values) | (group["censored"] != "").to_numpy()).sum())
        if len(censored) == 1 and "" not in censored:
            return of(values[0], "in every seed")
        return of(np.nan, f"no mean: {count} of {len(group)} seeds have no value", censored="")
    if quantity.startswith("conditions_"):
        return of(values.mean(), "mean over seeds")
    if quantity == WORST:
        side = "down" if limits[0] == 0.0 else "up"
        return of(values.mean(), f"same samples chose it, biased {side}")
    decibels = row["eps_unit"] == "snr-db" and quantity == EPS50
    geometric = quantity in _GEOMETRIC and not decibels
    used = np.log(values) if geometric else values
    if row["reference"] and quantity not in (MCE, RELATIVE_MCE):
        # Means of ratios are not centred where two models are equal: their signs mean nothing.
        least = smallest_p(len(used))
        row |= {"p": sign_flip_p(used), "p_test": f"sign flips of seeds, at least {least:g}"}
    draws = group["by_noise_seed"] if (group["by_noise_seed"] != "").all() else None
    low, high, kind = interval_over_seeds(used, draws)
    if quantity.startswith(("acc_", "auc_")) and not row["reference"]:
        low, high = np.clip((low, high), *limits)
    if np.isnan(low):
        return of(values[0], "the same in every seed")
    mean = used.mean()
    if geometric:
        mean, low, high = (float(np.exp(x)) for x in (mean, low, high))
    said = "geometric mean" if geometric else ""
    return of(mean, said, ci_low=low, ci_high=high, interval=kind)


def _shared(details: pd.Series) -> list[str]:
    """Return the parts of the details that every seed has: the reference, the modes used.

    What a seed says of its own samples (no interval, undefined in some resamples) is left out.
    """
    parts = [text.split("; ") for text in details]
    of_samples = ("no interval", "undefined in")
    return [
        part
        for part in parts[0]
        if part and not part.startswith(of_samples) and all(part in other for other in parts)
    ]
