"""Curves with intervals: from cells to one tidy row a (model, seed, mode, eps)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.results.cell_reader import CellDigest
from robustssm.evaluations.statistics.cross_fit import worst_condition
from robustssm.evaluations.statistics.intervals import in_words, seed_interval, wilson
from robustssm.evaluations.sweep.conditions import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory

_LABELS = ("model", "train_seed", "task", "noise", "inject", "mode", "eps", "eps_unit")
_CROSSFIT = ("acc_worst_crossfit", "ci_low", "ci_high", "lowest_seed", "highest_seed")
_OVERVIEW = (
    *("model", "noise", "inject", "seeds", "n", "clean_accuracy", "eps", "eps_unit", "clip"),
    *("modes", "acc_mean_over_modes", "acc_worst_over_modes", "worst_modes", "mode_unit"),
    *("acc_worst_crossfit", "ci_low", "ci_high", "interval", "lowest_seed", "highest_seed"),
    "by_seed",
)


def summarise(run: RunDirectory, cells: Mapping[str, CellDigest]) -> pd.DataFrame:
    """Return summary.csv: one row per model, training seed, mode and eps with results.

    cells: digests of those. Rows of noise `clean` are the clean evaluation.
    """
    plan = run.plan()
    plan = plan[plan["cell"].isin(cells.keys())]
    if plan.empty:
        return pd.DataFrame()
    found = [cells[cell] for cell in plan["cell"]]
    table = plan[[*_LABELS]].reset_index(drop=True)
    table["n"] = [cell.n for cell in found]
    right = pd.Series([cell.right for cell in found])
    table["accuracy"] = right / table["n"]
    table["ci_low"], table["ci_high"] = wilson(right, table["n"])
    clean = table[table["noise"] == "clean"].set_index(["model", "train_seed"])["accuracy"]
    names = pd.MultiIndex.from_frame(table[["model", "train_seed"]])
    table["clean_accuracy"] = clean.reindex(names).to_numpy()
    table["delivered_rms"] = [cell.delivered_rms for cell in found]
    table["mode_unit"] = plan["mode_unit"].to_numpy()
    table["clip"] = plan["clip"].to_numpy()
    table["in_band_share"] = [cell.in_band_share for cell in found]
    table["cell"] = plan["cell"].to_numpy()
    return table


def perturbed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that are not the clean evaluation."""
    return table[table["noise"] != "clean"] if len(table) else table


def over_seeds(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model and condition: accuracy, interval and the number of seeds.

    One seed: Wilson's interval over its samples. More: the mean over seeds and Student's
    interval of that mean (column `interval` says which; empty if the seeds agree to the last
    sample, which leaves no interval). by_seed: the accuracy of each seed, as text.
    """
    rows = []
    keys = ["model", *(name for name in CONDITION if name in summary)]
    for values, group in summary.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, values, strict=True))
        row["accuracy"] = group["accuracy"].mean()
        row["seeds"], row["n"] = len(group), int(group["n"].iloc[0])
        row["clean_accuracy"] = group["clean_accuracy"].mean()
        row["by_seed"] = in_words(group["accuracy"])
        row["lowest"], row["highest"] = group["accuracy"].min(), group["accuracy"].max()
        if len(group) == 1:
            row["ci_low"], row["ci_high"] = group["ci_low"].iloc[0], group["ci_high"].iloc[0]
            row["interval"] = "samples (Wilson)"
        else:
            row["ci_low"], row["ci_high"] = seed_interval(group["accuracy"])
            row["interval"] = "" if np.isnan(row["ci_low"]) else "seeds (Student)"
        rows.append(row)
    return pd.DataFrame(rows)


def overview(summary: pd.DataFrame, cells: Mapping[str, CellDigest] | None = None) -> pd.DataFrame:
    """Return one row per model, noise and eps: mean over modes, and the worst mode.

    Each training seed has a worst mode of its own, among the modes that all of them have; what is
    said of it is the mean over seeds. acc_worst_over_modes: naive, each seed's worst is chosen on
    the samples it is read on, so it is biased downwards; worst_modes: which they are.
    acc_worst_crossfit: each half of the samples chooses, the other is read; lowest_seed and
    highest_seed: its range over seeds; by_seed: its values, as text. ci_low and ci_high are for one
    training seed those of `worst_condition`, of the true worst; for more Student's, of the mean of
    acc_worst_crossfit. A single mode needs no choice: its accuracy is both, the interval that of
    `over_seeds`.

    cells: digests by id, for what is cross-fitted; NaN and no interval where None. Raises
    UsageError if cells of several modes hold different samples.
    """
    noisy = perturbed(summary)
    keys = ["model", *(name for name in CONDITION if name in noisy and name != "mode")]
    rows = []
    for values, group in noisy.groupby(keys, sort=False, dropna=False):
        curve = over_seeds(group)
        wide = group.pivot_table("accuracy", "mode", "train_seed", aggfunc="first", dropna=False)
        shared = wide.dropna()
        own = shared.min()  # of no mode NaN
        if len(curve) > 1:
            fitted = _cross_fitted(group, cells or {})
        else:
            fitted = dict(curve.iloc[0][["accuracy", "ci_low", "ci_high", "interval"]])
            fitted["acc_worst_crossfit"] = fitted.pop("accuracy")
            fitted |= {"lowest_seed": own.min(), "highest_seed": own.max()}
            fitted["by_seed"] = curve.iloc[0]["by_seed"]
        at = sorted(set(shared.idxmin())) if len(shared) else []
        row = dict(zip(keys, values, strict=True))
        row |= {
            "seeds": group["train_seed"].nunique(),
            "n": int(group["n"].iloc[0]),
            "clean_accuracy": curve["clean_accuracy"].iloc[0],
            "modes": len(curve),
            "acc_mean_over_modes": curve["accuracy"].mean(),
            "acc_worst_over_modes": own.mean(),
            "worst_modes": ", ".join(f"{mode:g}" for mode in at),
        }
        rows.append(row | fitted)
    found = pd.DataFrame(rows)
    return found[[name for name in _OVERVIEW if name in found]]


def worst_row(curve: pd.DataFrame) -> pd.Series:
    """Return the row of the smallest accuracy; where none is known, the first with mode NaN."""
    if curve["accuracy"].isna().all():
        first = curve.iloc[0].copy()
        first["mode"] = np.nan
        return first
    return curve.loc[curve["accuracy"].idxmin()]


def _cross_fitted(group: pd.DataFrame, cells: Mapping[str, CellDigest]) -> dict[str, Any]:
    """Return what is cross-fitted of the seeds' own worst modes, of one noise and eps.

    Of the modes that every training seed has; NaN where these are not two, or not in `cells`.
    """
    nothing = dict.fromkeys(_CROSSFIT, np.nan) | {"interval": "", "by_seed": ""}
    if not cells:
        return nothing
    wide = group.pivot_table("cell", "mode", "train_seed", aggfunc="first").dropna()
    digests = [[cells[cell] for cell in wide[seed] if cell in cells] for seed in wide]
    if len(wide) < 2 or min(map(len, digests)) < len(wide) or digests[0][0].n < 2:
        return nothing
    if len({cell.samples for own in digests for cell in own}) > 1:
        first = group.iloc[0]
        raise UsageError(
            f"overview: cells of {first['noise']} at eps {first['eps']:g} hold different samples; "
            "run that sweep again with --overwrite"
        )
    half = digests[0][0].first_half()
    worst = [worst_condition(np.stack([c.correct() for c in own]), half) for own in digests]
    found = np.array([one.accuracy for one in worst])
    if len(worst) == 1:
        low, high, kind = worst[0].low, worst[0].high, "samples (exact, all modes)"
    else:
        low, high = seed_interval(found)
        kind = "" if np.isnan(low) else "seeds (Student) of cross-fitted"
    numbers = (float(found.mean()), low, high, float(found.min()), float(found.max()))
    return dict(zip(_CROSSFIT, numbers, strict=True)) | {
        "interval": kind,
        "by_seed": in_words(found),
    }
