"""Curves with intervals: from cells to one tidy row a (model, seed, mode, eps)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from robustssm.evaluations.cell_digests import CellDigest, digest_cells
from robustssm.evaluations.statistics.intervals import seed_interval, wilson
from robustssm.evaluations.store import RunDirectory

_LABELS = ("model", "train_seed", "task", "noise", "inject", "mode", "eps", "eps_unit")


def summarise(run: RunDirectory, cells: Mapping[str, CellDigest] | None = None) -> pd.DataFrame:
    """Return summary.csv: one row a model, training seed, mode and eps with results.

    cells: digests of the run's cells, read where None. Rows of noise `clean` are the clean
    evaluation. Cells that have no results are left out.
    """
    cells = digest_cells(run) if cells is None else cells
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
    table["in_band_share"] = [cell.in_band_share for cell in found]
    table["cell"] = plan["cell"].to_numpy()
    return table


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

    The worst of several modes is chosen and reported on the same samples: its accuracy is biased
    downwards and has no interval here (`comparison` has it cross-fitted, with one).
    """
    curves = over_seeds(perturbed(summary))
    rows = []
    keys = ["model", "noise", "inject", "eps"]
    for (model, noise, inject, eps), group in curves.groupby(keys, sort=False):
        worst = group.loc[group["accuracy"].idxmin()].copy()
        if len(group) > 1:
            worst[["ci_low", "ci_high", "interval"]] = np.nan, np.nan, ""
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
