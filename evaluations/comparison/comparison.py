"""Two or more models on the same perturbed samples: what each does, and how they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.comparison.comparable import Comparable
from robustssm.evaluations.comparison.curve_quantities import (
    CLEAN,
    CROSSFIT,
    WORST,
    CurveQuantities,
)
from robustssm.evaluations.comparison.mode_differences import mode_differences
from robustssm.evaluations.comparison.rows import Rows
from robustssm.evaluations.comparison.seed_rows import over_seeds
from robustssm.evaluations.comparison.strength_grid import StrengthGrid, strength_grids
from robustssm.evaluations.results.paired_tests import match_seeds
from robustssm.evaluations.statistics.bootstrap import RESAMPLES, SEED, paired_bootstrap
from robustssm.evaluations.statistics.cross_fit import halves, worst_condition, worst_difference
from robustssm.evaluations.statistics.intervals import wilson
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.statistics.paired import paired_mean_interval


@dataclass(frozen=True)
class Comparison:
    """The tables of a comparison, tidy.

    models: one row a noise, model, training seed (and one over the seeds) and quantity;
    differences: the same for model minus reference, with p; modes: one row a noise, pair, training
    seed, mode and eps. grids: the outcomes they are of. resamples, seed: of the bootstrap; the
    seed of the sign flips as well.
    """

    compared: Comparable
    reference: str
    models: pd.DataFrame
    differences: pd.DataFrame
    modes: pd.DataFrame
    grids: tuple[StrengthGrid, ...]
    resamples: int = RESAMPLES
    seed: int = SEED


def compare(
    compared: Comparable,
    reference: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Return the comparison of models with a reference, the first of them where None.

    resamples: of the bootstrap; seed: of bootstrap and sign flips. Differences are model minus
    reference, paired by training seed (in ascending order where the two share none). Raises
    UsageError where the reference is not among the models, or no noise has a mode that all models
    have.
    """
    models = compared.models
    reference = models[0] if reference is None else reference
    if reference not in models:
        raise UsageError(f"reference: {reference!r} is not compared, expected {', '.join(models)}")
    grids = strength_grids(compared)
    rows = Rows()
    modes: list[pd.DataFrame] = []
    for grid in grids:
        _of_grid(grid, compared.chance, reference, rows, modes, resamples, seed)
    found, differences = over_seeds(rows.models()), over_seeds(rows.differences())
    return Comparison(
        compared, reference, found, differences,
        pd.concat(modes, ignore_index=True) if modes else pd.DataFrame(), tuple(grids),
        resamples, seed,
    )  # fmt: skip


def seed_pairs(members: Sequence[tuple[str, int]], reference: str) -> list[tuple[int, int]]:
    """Return places of (model, reference) that are compared, seeds by `match_seeds`."""
    places: dict[str, dict[int, int]] = {}
    for k, (model, seed) in enumerate(members):
        places.setdefault(model, {})[seed] = k
    base = places.get(reference, {})
    return [
        (of_model[a], base[b])
        for model, of_model in places.items()
        if model != reference
        for a, b in match_seeds(of_model, base)
    ]


def _of_grid(
    grid: StrengthGrid,
    chance: float,
    reference: str,
    rows: Rows,
    modes: list[pd.DataFrame],
    resamples: int,
    seed: int,
) -> None:
    """Add what one noise says."""
    known = reference in {model for model, _ in grid.members}
    pairs = seed_pairs(grid.members, reference) if known else []
    quantities = CurveQuantities(grid, chance, reference if known else "", tuple(pairs))
    found = paired_bootstrap(quantities.rows(), quantities.of, resamples, seed)
    members, names = len(grid.members), quantities.names
    for k in range(members):
        for q, name in enumerate(names):
            rows.bootstrapped(grid, (k, None), name, found, k * len(names) + q)
        if len(grid.modes) == 1:
            rows.single_mode(grid, k)
        low, high = wilson(grid.clean[k].sum(), grid.n)
        rows.interval(grid, (k, None), (CLEAN, np.nan), (float(low), float(high)), "Wilson")
    if known:
        rows.corruptions(quantities)
    for p, pair in enumerate(pairs):
        for q, name in enumerate(names):
            rows.bootstrapped(grid, pair, name, found, (members + p) * len(names) + q)
        linear, per_sample = quantities.contributions(pair)
        for name, value in zip(linear, sign_flip(per_sample, seed=seed), strict=True):
            rows.p(grid, pair, name, float(value), "sign flips of samples")
        for name, low, high in zip(linear, *paired_mean_interval(per_sample), strict=True):
            rows.interval(grid, pair, name, (float(low), float(high)), "adjusted Wald")
        rows.paired_shares(grid, pair)
        table, p_any = mode_differences(grid, pair, seed)
        modes.append(table)
        rows.any_mode(grid, pair, table, p_any)
    if len(grid.modes) > 1:
        _worst(grid, pairs, rows)


def _worst(grid: StrengthGrid, pairs: Sequence[tuple[int, int]], rows: Rows) -> None:
    """Add the worst mode at each eps: naive, and chosen and read on different samples."""
    first = halves(grid.sample_id)
    for e, eps in enumerate(grid.eps):
        found = [worst_condition(correct[:, e], first) for correct in grid.correct]
        for k, worst in enumerate(found):
            rows.add(
                grid, (k, None), (WORST, float(eps)), worst.naive,
                detail=f"at {grid.modes[worst.naive_at]:g}; same samples chose it, biased down",
            )  # fmt: skip
            chosen = dict.fromkeys(f"{grid.modes[place]:g}" for place in worst.at)
            rows.add(
                grid, (k, None), (CROSSFIT, float(eps)), worst.accuracy, worst.low, worst.high,
                "samples (Wilson of both halves)", f"at {' and '.join(chosen)}",
            )  # fmt: skip
        for pair in pairs:
            a, b = (grid.correct[k][:, e] for k in pair)
            value, low, high = worst_difference(a, b, found[pair[0]], found[pair[1]], first)
            of = "samples (Agresti-Min of halves)"
            rows.add(grid, pair, (CROSSFIT, float(eps)), value, low, high, of)
