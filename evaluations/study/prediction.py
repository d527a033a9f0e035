"""How well falls of accuracy are predicted, frequency by frequency, and for which networks not."""

import warnings

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import isotonic_regression

from robustssm.evaluations.study import design
from robustssm.typing import FloatArray

# What the weights say, what gradients say, and two guesses: see docs/protocol.md.
PREDICTORS = ("response", "finite", "gradient", "low", "others")
# The strength whose falls are predicted.
STRENGTH = {"input": design.LOW, "layers": design.HIGH}


def falls(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Return the perturbed rows with the column fall: clean accuracy less theirs."""
    keys = ["task", "init", "seed", "variant"]
    share = accuracies.assign(accuracy=accuracies["correct"] / accuracies["n"])
    clean = share[share["place"] == "clean"].set_index(keys)["accuracy"].rename("clean")
    noisy = share[share["place"] != "clean"].join(clean, on=keys)
    return noisy.assign(fall=noisy["clean"] - noisy["accuracy"])


def predicted(accuracies: pd.DataFrame, weights: pd.DataFrame) -> pd.DataFrame:
    """Return falls beside their predictions: task, init, seed, place, at, fall, PREDICTORS."""
    keys = ["task", "init", "seed", "variant", "place", "at"]
    noisy = falls(accuracies)
    noisy = noisy[(noisy["variant"] == "") & (noisy["eps"] == noisy["place"].map(STRENGTH))]
    table = noisy.merge(weights[[*keys, "response", "finite", "gradient"]], on=keys)
    condition = table.groupby(["task", "place", "at"])["fall"]
    own = table.groupby(["task", "place", "at", "init"])["fall"]
    others = condition.transform("sum") - own.transform("sum")
    count = condition.transform("size") - own.transform("size")
    return table.assign(low=-table["at"], others=others / count.where(count > 0))


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return rank correlations: task, init, seed, place and a column for each of PREDICTORS.

    Over the frequencies of one network; NaN where its falls, or the predictions, are all equal.
    """
    rows = []
    for key, part in table.groupby(["task", "init", "seed", "place"], sort=False):
        rows.append([*key, *(spearman(part[name], part["fall"]) for name in PREDICTORS)])
    return pd.DataFrame(rows, columns=["task", "init", "seed", "place", *PREDICTORS])


def spearman(a: pd.Series, b: pd.Series) -> float:
    """Return the rank correlation of the values, NaN if either is constant or has a NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return float(stats.spearmanr(a, b).statistic)


def calibration(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean absolute error of predicted falls on each task, learnt on all the others.

    Columns task, place, mean (the mean fall of the other tasks as the prediction) and one for each
    of response, finite and gradient; NaN where a task or all the others have no such prediction.
    """
    rows = []
    for (task, place), part in table.groupby(["task", "place"], sort=False):
        rest = table[(table["task"] != task) & (table["place"] == place)]
        errors = [np.abs(part["fall"] - rest["fall"].mean()).mean()]
        for name in PREDICTORS[:3]:
            known = rest[rest[name].notna()]
            usable = len(known) > 0 and bool(part[name].notna().all())
            learnt = _isotonic(known[name], known["fall"], part[name]) if usable else np.nan
            errors.append(np.abs(part["fall"] - learnt).mean())
        rows.append([task, place, *errors])
    return pd.DataFrame(rows, columns=["task", "place", "mean", *PREDICTORS[:3]])


def _isotonic(x: pd.Series, y: pd.Series, new: pd.Series) -> FloatArray:
    """Return the rising function that fits (x, y) best in squares, at new places."""
    order = np.argsort(x.to_numpy(), kind="stable")
    fitted = isotonic_regression(y.to_numpy()[order]).x
    return np.interp(new, x.to_numpy()[order], fitted)
