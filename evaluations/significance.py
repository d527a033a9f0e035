"""Paired tests: two models on the same perturbed samples."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations import reading
from robustssm.evaluations.cell_digests import CellDigest, digest_cells
from robustssm.evaluations.statistics.paired import benjamini_hochberg, holm, mcnemar
from robustssm.evaluations.store import RunDirectory

# What two models are compared under.
CONDITION = ("noise", "mode", "mode_unit", "eps")
COLUMNS = (
    *("model_a", "seed_a", "model_b", "seed_b", "noise", "mode", "mode_unit", "eps", "n"),
    *("a_only", "b_only", "difference", "p"),
)


def pairs(models: Sequence[tuple[str, int]]) -> list[tuple[str, int, str, int]]:
    """Return (model, seed, model, seed) to compare: two names, equal training seeds.

    Where two names share no seed: in ascending order of the seeds, as many as both have.
    """
    seeds: dict[str, list[int]] = {}
    for name, seed in models:
        seeds.setdefault(name, []).append(seed)
    found = []
    for a, b in combinations(seeds, 2):
        shared = [seed for seed in seeds[a] if seed in seeds[b]]
        both = list(zip(shared, shared, strict=True)) or list(
            zip(sorted(seeds[a]), sorted(seeds[b]), strict=False)
        )
        found += [(a, x, b, y) for x, y in both]
    return found


def paired_tests(run: RunDirectory, cells: Mapping[str, CellDigest] | None = None) -> pd.DataFrame:
    """Return tests.csv: McNemar's exact test for every pair of models, mode and eps.

    cells: digests of the run's cells, read where None. a_only and b_only count the samples that
    one model alone gets right. Adjusted over all tests of the sweep: p_holm keeps the probability
    of any false claim, p_bh the expected share of false ones. Cells without results are left out.
    Raises UsageError where cells of a condition hold different samples.
    """
    cells = digest_cells(run) if cells is None else cells
    compared = np.array(pairs(reading.models(run)), dtype=object).reshape(-1, 4)
    plan = run.plan()
    tables = []
    conditions = plan[plan["cell"].isin(cells.keys())].groupby([*CONDITION], sort=False)
    for condition, group in conditions:
        names = list(zip(group["model"], group["train_seed"].astype(int), strict=True))
        found = [cells[cell] for cell in group["cell"]]
        if len({cell.samples for cell in found}) > 1:
            raise UsageError(
                f"{run.path}: cells of {condition[0]} at mode {condition[1]:g} hold different "
                "samples; run that sweep again with --overwrite"
            )
        right = np.stack([cell.correct() for cell in found]).astype(np.float64)
        both = np.rint(right @ right.T).astype(np.int64)
        place = {name: k for k, name in enumerate(names)}
        first = [place.get((a, seed), -1) for a, seed, _, _ in compared]
        second = [place.get((b, seed), -1) for _, _, b, seed in compared]
        there = [k for k, ends in enumerate(zip(first, second, strict=True)) if min(ends) >= 0]
        i, j = np.array(first, np.int64)[there], np.array(second, np.int64)[there]
        if not there:
            continue
        table = pd.DataFrame(compared[there], columns=[*COLUMNS[:4]])
        table[[*CONDITION]] = condition
        table["n"] = found[0].n
        table["a_only"] = both[i, i] - both[i, j]
        table["b_only"] = both[j, j] - both[i, j]
        tables.append(table)
    tests = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS])
    integers = ("seed_a", "seed_b", "n", "a_only", "b_only")
    tests = tests.astype(dict.fromkeys(integers, np.int64))
    tests["difference"] = (tests["a_only"] - tests["b_only"]) / tests["n"]
    tests["p"] = mcnemar(tests["a_only"], tests["b_only"])
    p = tests["p"].to_numpy(dtype=np.float64)
    tests["p_holm"], tests["p_bh"] = holm(p), benjamini_hochberg(p)
    return tests[[*COLUMNS, "p_holm", "p_bh"]]
