"""Curves with intervals: from rows per sample to one tidy row a (model, seed, mode, eps)."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from robustssm.evaluations.store import RunDirectory
from robustssm.typing import FloatArray

CONFIDENCE = 0.95
_LABELS = ("model", "train_seed", "task", "noise", "inject", "mode", "eps", "eps_unit")


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's interval for a share of n; it never has zero width.

    Reference: Wilson, J. Am. Stat. Assoc. 22 (1927), p. 209.
    """
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def seed_interval(values: Iterable[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Student's interval of the mean over training seeds, inside [0, 1].

    Seeds are the replicates, never the samples. NaN where there is a single seed.
    """
    array: FloatArray = np.asarray(list(values), dtype=np.float64)
    if len(array) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.5 + confidence / 2, len(array) - 1) * stats.sem(array)
    return max(0.0, float(array.mean() - half)), min(1.0, float(array.mean() + half))


def summarise(run: RunDirectory) -> pd.DataFrame:
    """Return summary.csv: one row a model, training seed, mode and eps with results.

    Rows of noise `clean` are the clean evaluation. Cells that have no results are left out.
    """
    clean: dict[tuple[str, int], float] = {}
    rows = []
    for cell in run.plan().to_dict("records"):
        if not run.cell_path(cell["cell"]).is_file():
            continue
        result = run.rows(cell["cell"], ["correct", "delivered_rms", "in_band_share"])
        n, right = len(result), int(result["correct"].sum())
        key = (cell["model"], cell["train_seed"])
        if cell["noise"] == "clean":
            clean[key] = right / n
        low, high = wilson(right, n)
        rows.append(
            {name: cell[name] for name in _LABELS}
            | {
                "n": n,
                "accuracy": right / n,
                "ci_low": low,
                "ci_high": high,
                "clean_accuracy": clean.get(key, float("nan")),
                "delivered_rms": float(np.sqrt(np.mean(result["delivered_rms"] ** 2))),
                "mode_unit": cell["mode_unit"],
                "in_band_share": float(result["in_band_share"].mean()),
                "cell": cell["cell"],
            }
        )
    return pd.DataFrame(rows)


def perturbed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that are not the clean evaluation."""
    return table[table["noise"] != "clean"] if len(table) else table


def over_seeds(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row a model, mode and eps: accuracy, interval and the number of seeds.

    One seed: Wilson's interval over its samples. More: the mean over seeds and Student's
    interval of that mean (column `interval` says which).
    """
    rows = []
    keys = ["model", "noise", "inject", "mode", "mode_unit", "eps", "eps_unit"]
    for values, group in summary.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, values, strict=True))
        row["accuracy"] = group["accuracy"].mean()
        row["seeds"], row["n"] = len(group), int(group["n"].iloc[0])
        row["clean_accuracy"] = group["clean_accuracy"].mean()
        row["lowest"], row["highest"] = group["accuracy"].min(), group["accuracy"].max()
        if len(group) == 1:
            row["ci_low"], row["ci_high"] = group["ci_low"].iloc[0], group["ci_high"].iloc[0]
            row["interval"] = "samples (Wilson)"
        else:
            row["ci_low"], row["ci_high"] = seed_interval(group["accuracy"])
            row["interval"] = "seeds (Student)"
        rows.append(row)
    return pd.DataFrame(rows)


def overview(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row a model, noise and eps: mean over modes, and the worst mode with its interval.

    The worst mode is chosen and reported on the same samples, so its accuracy is biased
    downwards a little where many modes were tried.
    """
    curves = over_seeds(perturbed(summary))
    rows = []
    keys = ["model", "noise", "inject", "eps"]
    for (model, noise, inject, eps), group in curves.groupby(keys, sort=False):
        worst = group.loc[group["accuracy"].idxmin()]
        rows.append(
            {
                "model": model,
                "noise": noise,
                "inject": inject,
                "seeds": int(worst["seeds"]),
                "n": int(worst["n"]),
                "clean_accuracy": worst["clean_accuracy"],
                "eps": eps,
                "eps_unit": worst["eps_unit"],
                "modes": len(group),
                "acc_mean_over_modes": group["accuracy"].mean(),
                "acc_worst_over_modes": worst["accuracy"],
                "worst_mode": worst["mode"],
                "mode_unit": worst["mode_unit"],
                "ci_low": worst["ci_low"],
                "ci_high": worst["ci_high"],
                "interval": worst["interval"],
                "lowest_seed": worst["lowest"],
                "highest_seed": worst["highest"],
            }
        )
    return pd.DataFrame(rows)
