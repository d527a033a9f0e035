"""Curves with intervals: from cells to one tidy row a (model, seed, mode, eps)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.results.cell_reader import shares
from robustssm.evaluations.statistics.cross_fit import worst_condition
from robustssm.evaluations.statistics.intervals import (
    in_words,
    mean_interval,
    seed_interval,
    wilson,
)
from robustssm.evaluations.statistics.replicates import interval_over_seeds
from robustssm.evaluations.sweep.cell_files import CellDigest
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.targets import CLASSES, Kind, of_table
from robustssm.typing import IntArray

_LABELS = ("model", "train_seed", "task", "noise", "inject", "mode", "eps", "eps_unit")
_CROSSFIT = ("ci_low", "ci_high", "lowest_seed", "highest_seed")


def _overview_columns(of: Kind) -> tuple[str, ...]:
    return (
        *("model", "noise", "inject", "seeds", "noise_seeds", "n", of.clean),
        *("eps", "eps_unit", "clip", "modes", of.mean, of.worst, "worst_modes", "mode_unit"),
        *(of.crossfit, "ci_low", "ci_high", "interval", "lowest_seed", "highest_seed", "by_seed"),
    )


def summarise(run: RunDirectory, cells: Mapping[str, CellDigest]) -> pd.DataFrame:
    """Return summary.csv: one row per model, training seed, mode and eps with results.

    cells: digests of those. Rows of noise `clean` are the clean evaluation. If the noise was drawn
    with several seeds, accuracy is the mean over them, `noise_seeds` how many had results,
    `by_noise_seed` the accuracy of each (nan: no results) and `cell` all their cells, as text;
    ci_low and ci_high, Wilson's of the mean count, are then rather too wide, as a mean varies less
    than one draw.
    """
    plan = run.plan()
    plan = plan[plan["cell"].isin(cells.keys())]
    if plan.empty:
        return pd.DataFrame()
    found = [cells[cell] for cell in plan["cell"]]
    table = plan[[*_LABELS]].reset_index(drop=True)
    table["n"] = [cell.n for cell in found]
    of = found[0].kind
    table[of.score] = [cell.score for cell in found]
    if of is CLASSES:
        right = pd.Series([cell.right for cell in found])
        table["ci_low"], table["ci_high"] = wilson(right, table["n"])
    else:
        worst, best = np.array([mean_interval(cell.outcomes()) for cell in found]).T
        table["ci_low"], table["ci_high"] = np.maximum(-best, 0.0), np.maximum(-worst, 0.0)
    clean = table[table["noise"] == "clean"].set_index(["model", "train_seed"])[of.score]
    names = pd.MultiIndex.from_frame(table[["model", "train_seed"]])
    table[of.clean] = clean.reindex(names).to_numpy()
    if of is not CLASSES:
        table["degradation"] = table[of.score] / table[of.clean]
    table = table.join(pd.DataFrame([cell.means for cell in found]))
    table["delivered_rms"] = [cell.delivered_rms for cell in found]
    table["mode_unit"] = plan["mode_unit"].to_numpy()
    table["clip"] = plan["clip"].to_numpy()
    table["in_band_share"] = [cell.in_band_share for cell in found]
    table["cell"] = plan["cell"].to_numpy()
    names, draw = np.unique(plan["seed"], return_inverse=True)
    return table if len(names) == 1 else _over_noise_seeds(table, draw)


def _over_noise_seeds(table: pd.DataFrame, draw: IntArray) -> pd.DataFrame:
    """Return one row per model, training seed and condition of rows of single noise seeds.

    draw: the place of each row's noise seed among those of the run.
    """
    of = of_table(table)
    more = [name for name in table if str(name).startswith((*of.more, *of.extra))]
    groups = table.groupby([*_LABELS, "mode_unit", "clip"], sort=False, as_index=False)
    first = {name: (name, "first") for name in ("n", of.clean)}
    mean = {name: (name, "mean") for name in (of.score, "in_band_share", *more)}
    whole = groups.agg(
        **first,
        **mean,
        # A root of a mean square: the mean of the squares is what is averaged.
        delivered_rms=("delivered_rms", lambda values: float(np.sqrt((values**2).mean()))),
        cell=("cell", " ".join),
        noise_seeds=("cell", "size"),
    )
    # A draw has the same place in every row, be some of them missing.
    draws = np.full((len(whole), draw.max() + 1), np.nan)
    draws[groups.ngroup(), draw] = table[of.score]
    whole["by_noise_seed"] = [*map(in_words, draws)]
    clean = whole["noise"] == "clean"
    whole.loc[clean, "by_noise_seed"] = whole.loc[clean, of.score].map(repr)
    if of is CLASSES:
        whole["ci_low"], whole["ci_high"] = wilson(whole["accuracy"] * whole["n"], whole["n"])
    else:  # the mean of the draws' own bounds, which is rather too wide as well
        whole[["ci_low", "ci_high"]] = groups[["ci_low", "ci_high"]].mean()[["ci_low", "ci_high"]]
    for name, (column, function) in of.derived.items():
        whole[name] = function(whole[column])
    return whole[[*table.columns, "noise_seeds", "by_noise_seed"]]


def perturbed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that are not the clean evaluation."""
    return table[table["noise"] != "clean"] if len(table) else table


def over_seeds(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model and condition: accuracy, interval and the number of seeds.

    One seed: Wilson's interval over its samples. More: the mean over seeds and Student's
    interval of that mean (column `interval` says which; empty if the seeds agree to the last
    sample, which leaves no interval); with several noise seeds that of `crossed_interval`.
    by_seed: the accuracy of each training seed, as text.
    """
    rows, of = [], of_table(summary)
    keys = ["model", *(name for name in CONDITION if name in summary)]
    # Columns as arrays, a group as places in them: a frame per group would take a millisecond.
    columns = {str(name): summary[name].to_numpy() for name in summary}
    number = summary.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else ():
        first, accuracy = places[0], columns[of.score][places].astype(np.float64)
        known, clean = accuracy[~np.isnan(accuracy)], columns[of.clean][places]
        clean = clean[~pd.isna(clean)]
        row = {name: columns[name][first] for name in keys}
        row[of.score] = known.mean() if len(known) else np.nan
        row["seeds"], row["n"] = len(places), int(columns["n"][first])
        row[of.clean] = clean.mean() if len(clean) else np.nan
        row["by_seed"] = in_words(accuracy)
        row["lowest"], row["highest"] = (
            (known.min(), known.max()) if len(known) else (np.nan, np.nan)
        )
        if len(places) == 1:
            row["ci_low"], row["ci_high"] = columns["ci_low"][first], columns["ci_high"][first]
            row["interval"] = f"samples ({of.interval})"
        else:
            draws = columns["by_noise_seed"][places] if "by_noise_seed" in columns else None
            low, high, kind = interval_over_seeds(accuracy, draws)
            row["ci_low"], row["ci_high"] = np.clip((low, high), *of.limits)
            row["interval"] = "" if np.isnan(low) else kind
        if "noise_seeds" in columns:
            row["noise_seeds"] = int(columns["noise_seeds"][places].min())
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
    noisy, of = perturbed(summary), of_table(summary)
    if noisy.empty:
        return pd.DataFrame()
    keys = ["model", *(name for name in CONDITION if name in noisy and name != "mode")]
    rows = []
    for values, group in noisy.groupby(keys, sort=False, dropna=False):
        curve = over_seeds(group)
        shared = of.sign * _wide(group, of.score).dropna()
        own = of.sign * shared.min()  # of no mode NaN
        if len(curve) > 1:
            fitted = _cross_fitted(group, cells or {})
        else:
            fitted = dict(curve.iloc[0][[of.score, "ci_low", "ci_high", "interval"]])
            fitted[of.crossfit] = fitted.pop(of.score)
            fitted |= {"lowest_seed": own.min(), "highest_seed": own.max()}
            fitted["by_seed"] = curve.iloc[0]["by_seed"]
        at = sorted(set(shared.idxmin())) if len(shared) else []
        row = dict(zip(keys, values, strict=True))
        row |= {name: curve[name].min() for name in ("noise_seeds",) if name in curve}
        row |= {
            "seeds": group["train_seed"].nunique(),
            "n": int(group["n"].iloc[0]),
            of.clean: curve[of.clean].iloc[0],
            "modes": len(curve),
            of.mean: curve[of.score].mean(),
            of.worst: own.mean(),
            "worst_modes": ", ".join(f"{mode:g}" for mode in at),
        }
        rows.append(row | fitted)
    found = pd.DataFrame(rows)
    return found[[name for name in _overview_columns(of) if name in found]]


def _wide(group: pd.DataFrame, column: str) -> pd.DataFrame:
    once = group.drop_duplicates(["mode", "train_seed"])
    return once.pivot(index="mode", columns="train_seed", values=column)  # noqa: PD010 (quicker)


def _cross_fitted(group: pd.DataFrame, cells: Mapping[str, CellDigest]) -> dict[str, Any]:
    """Return what is cross-fitted of the seeds' own worst modes, of one noise and eps.

    Of the modes that every training seed has; NaN where these are not two, or not in `cells`.
    """
    of = of_table(group)
    nothing = dict.fromkeys((of.crossfit, *_CROSSFIT), np.nan) | {"interval": "", "by_seed": ""}
    if not cells:
        return nothing
    wide = _wide(group, "cell").dropna()
    named = [[cell.split() for cell in wide[seed]] for seed in wide]
    if len(wide) < 2 or not {cell for own in named for mode in own for cell in mode} <= set(cells):
        return nothing
    digests = [[[cells[cell] for cell in mode] for mode in own] for own in named]
    half = digests[0][0][0].first_half()
    if len(half) < 2:
        return nothing
    if len({cell.samples for own in digests for mode in own for cell in mode}) > 1:
        first = group.iloc[0]
        raise UsageError(
            f"overview: cells of {first['noise']} at eps {first['eps']:g} hold different samples; "
            "run that sweep again with --overwrite"
        )
    exact = of is CLASSES
    worst = [worst_condition(np.asarray([*map(shares, own)]), half, exact) for own in digests]
    found = of.sign * np.array([one.accuracy for one in worst])
    if len(worst) == 1:
        low, high = np.clip(sorted((of.sign * worst[0].low, of.sign * worst[0].high)), *of.limits)
        kind = f"samples ({'exact' if exact else of.interval}, all modes)"
    else:
        low, high = seed_interval(found, of.limits)
        kind = "" if np.isnan(low) else "seeds (Student) of cross-fitted"
    numbers = (float(found.mean()), low, high, float(found.min()), float(found.max()))
    return dict(zip((of.crossfit, *_CROSSFIT), numbers, strict=True)) | {
        "interval": kind,
        "by_seed": in_words(found),
    }
