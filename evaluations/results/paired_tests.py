"""Paired tests: two models on the same perturbed samples."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.results.cell_reader import models
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.statistics.paired import benjamini_hochberg, holm, mcnemar
from robustssm.evaluations.sweep.cell_files import CellDigest
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.targets import CLASSES, Kind, of_table
from robustssm.typing import FloatArray, IntArray

_MODELS = ("model_a", "seed_a", "model_b", "seed_b")


def match_seeds(a: Iterable[int], b: Iterable[int]) -> list[tuple[int, int]]:
    """Return the training seeds of two models that are compared: equal ones.

    Where the two share none: in ascending order, as many as both have; that pairing carries
    nothing, so an interval over it stays valid.
    """
    first, second = sorted(set(a)), sorted(set(b))
    shared = [(seed, seed) for seed in first if seed in second]
    return shared or list(zip(first, second, strict=False))


def pairs(models: Sequence[tuple[str, int]]) -> list[tuple[str, int, str, int]]:
    """Return (model, seed, model, seed) to compare: every two names, seeds by `match_seeds`."""
    seeds: dict[str, list[int]] = {}
    for name, seed in models:
        seeds.setdefault(name, []).append(seed)
    return [
        (a, x, b, y) for a, b in combinations(seeds, 2) for x, y in match_seeds(seeds[a], seeds[b])
    ]


def paired_tests(run: RunDirectory, cells: Mapping[str, CellDigest]) -> pd.DataFrame:
    """Return tests.csv: a paired test for every pair of models, mode and eps.

    Of classes McNemar's exact one; of values sign flips of the samples' differences.

    Of several seeds of the noise each has its own test, and `noise_seed` says which; so has no
    table of a single one. cells: digests of the run's cells. a_only and b_only count the samples
    that one model alone gets right; of values a_closer and b_closer those on which its error is
    smaller. Adjusted over all tests of the sweep: p_holm keeps the probability of any false claim,
    p_bh the expected share of false ones. Cells without results are left out. Raises UsageError if
    cells of a condition hold different samples.
    """
    compared = np.array(pairs(models(run)), dtype=object).reshape(-1, 4)
    plan = run.plan()
    # One frame at the end: a frame a condition would take 30 kB each. Columns of a block: row of
    # `compared`, place in `tested`, n, a_only, b_only.
    tested: list[tuple[object, ...]] = []
    blocks = [np.empty((0, 7))]
    kind = next((cell.kind for cell in cells.values()), CLASSES)
    keys = [*CONDITION, *(("noise_seed",) if len(set(plan["seed"])) > 1 else ())]
    plan = plan.rename(columns={"seed": "noise_seed"})
    conditions = plan[plan["cell"].isin(cells.keys())].groupby(keys, sort=False)
    for condition, group in conditions:
        names = list(zip(group["model"], group["train_seed"].astype(int), strict=True))
        found = [cells[cell] for cell in group["cell"]]
        if len({cell.samples for cell in found}) > 1:
            raise UsageError(
                f"{run.path}: cells of {condition[0]} at mode {condition[2]:g} hold different "
                "samples; run that sweep again with --overwrite"
            )
        right = np.stack([cell.outcomes() for cell in found]).astype(np.float64)
        row = {name: k for k, name in enumerate(names)}
        first = [row.get((a, seed), -1) for a, seed, _, _ in compared]
        second = [row.get((b, seed), -1) for _, _, b, seed in compared]
        there = [k for k, ends in enumerate(zip(first, second, strict=True)) if min(ends) >= 0]
        i, j = np.array(first, np.int64)[there], np.array(second, np.int64)[there]
        block = (there, len(tested), found[0].n, *_compared(kind, right, i, j))
        blocks.append(np.column_stack(np.broadcast_arrays(*block)))
        tested.append(condition)
    rows, place, *counts, difference, p = np.concatenate(blocks).T
    rows, place, *counts = (column.astype(np.int64) for column in (rows, place, *counts))
    tests = pd.DataFrame(compared[rows], columns=[*_MODELS])
    tests = tests.astype({"seed_a": np.int64, "seed_b": np.int64})
    named = pd.DataFrame(tested, columns=keys).take(place).reset_index(drop=True)
    tests = pd.concat([tests, named], axis=1)
    counted = ["n", *kind.wins]
    tests[counted] = np.column_stack(counts)
    tests["difference"], tests["p"] = difference, p
    tests["p_holm"], tests["p_bh"] = holm(p), benjamini_hochberg(p)
    columns = [*_MODELS, *CONDITION, *counted, "difference", "p"]
    return tests[[*columns, *keys[len(CONDITION) :], "p_holm", "p_bh"]]


def _compared(kind: Kind, outcomes: FloatArray, i: IntArray, j: IntArray) -> tuple[Any, ...]:
    """Return of pairs of rows i, j of outcomes: who wins at how many samples, difference, p."""
    if kind is CLASSES:
        both = np.rint(outcomes @ outcomes.T).astype(np.int64)
        wins = both[i, i] - both[i, j], both[j, j] - both[i, j]
        return *wins, (wins[0] - wins[1]) / outcomes.shape[1], mcnemar(*wins)
    apart = outcomes[i] - outcomes[j]
    wins = (apart > 0.0).sum(1), (apart < 0.0).sum(1)
    return *wins, kind.sign * apart.mean(1), sign_flip(apart) if len(apart) else np.empty(0)


def verdicts(tests: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Return one row per pair of names: at how many conditions they differ, Holm-adjusted.

    pairs: of checkpoints, times seeds of the noise, and `of` says which of these are several;
    conditions: distinct ones, in which every such pair was tested; a_better, b_better: those in
    which every pair says so; opposite: in which two pairs contradict each other. The clean
    evaluation is no condition. A table that lacks a column of CONDITION is taken without it.
    """
    rows = []
    keys = [name for name in CONDITION if name in tests]
    noisy = tests[tests["noise"] != "clean"] if len(tests) else tests
    if noisy.empty:
        return pd.DataFrame()
    for (a, b), group in noisy.groupby(["model_a", "model_b"], sort=False):
        count = len(group[["seed_a", "seed_b"]].drop_duplicates())
        of = ["training seeds"] if count > 1 else []
        if "noise_seed" in group:
            count *= group["noise_seed"].nunique()
            of.append("draws of the noise")
        better = of_table(group).sign * np.sign(group["difference"])
        sign = better.where(group["p_holm"] < alpha, 0.0)
        signs = sign.groupby([group[name] for name in keys], dropna=False)
        whole = signs.size() == count
        low, high = signs.min()[whole], signs.max()[whole]
        rows.append(
            {
                "model_a": a,
                "model_b": b,
                "pairs": count,
                "of": " and ".join(of),
                "conditions": len(low),
                "a_better": int((low > 0).sum()),
                "b_better": int((high < 0).sum()),
                "opposite": int(((low < 0) & (high > 0)).sum()),
            }
        )
    return pd.DataFrame(rows)
