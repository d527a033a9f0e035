"""Two or more models on the same perturbed samples: what each does, and how they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.comparison import rows
from robustssm.evaluations.comparison.comparable import Comparable
from robustssm.evaluations.comparison.curve_quantities import CROSSFIT, WORST, CurveQuantities
from robustssm.evaluations.comparison.seed_rows import with_means_over_seeds
from robustssm.evaluations.comparison.strength_grid import StrengthGrid, strength_grids
from robustssm.evaluations.comparison.variance_components import components
from robustssm.evaluations.statistics.bootstrap import RESAMPLES, paired_bootstrap
from robustssm.evaluations.statistics.cross_fit import halves, worst_condition, worst_difference
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.statistics.paired import paired_mean_interval
from robustssm.targets import CLASSES


@dataclass(frozen=True)
class Comparison:
    """The tables of a comparison, tidy.

    models: one row per noise, model, training seed (and one over the seeds) and quantity;
    differences: the same for model minus reference, with p; modes: one row per noise, pair,
    training seed, mode and eps; components: what an accuracy varies with. grids: the outcomes they
    are of; resamples: of the bootstrap.
    """

    compared: Comparable
    reference: str
    models: pd.DataFrame
    differences: pd.DataFrame
    modes: pd.DataFrame
    components: pd.DataFrame
    grids: tuple[StrengthGrid, ...]
    resamples: int = RESAMPLES


def compare(
    compared: Comparable, reference: str | None = None, resamples: int = RESAMPLES
) -> Comparison:
    """Return the comparison of models with a reference, the first of them where None.

    resamples: of the bootstrap. Differences are model minus reference, paired by training seed (in
    ascending order if the two share none). Raises UsageError if the reference is not among the
    models, or no noise has a mode that all models have.
    """
    models = compared.models
    reference = models[0] if reference is None else reference
    if reference not in models:
        raise UsageError(f"reference: {reference!r} is not compared, expected {', '.join(models)}")
    grids, of = strength_grids(compared), compared.kind
    limits = (0.0, 1.0) if of is CLASSES else (-np.inf, 0.0)
    tables: list[pd.DataFrame] = []
    modes: list[pd.DataFrame] = []
    for grid in grids:
        pairs = tuple(chain(*grid.pairs(reference).values()))
        known = reference if reference in grid.places else ""
        quantities = CurveQuantities(grid, of.sign * compared.chance, known, pairs)
        found, by_mode = _of_grid(quantities, resamples)
        tables.append(found)
        modes += by_mode
    whole = pd.concat(tables, ignore_index=True)
    of_pairs = whole["reference"] != ""
    return Comparison(
        compared,
        reference,
        rows.shown(with_means_over_seeds(whole[~of_pairs].reset_index(drop=True), limits), of),
        rows.shown(with_means_over_seeds(whole[of_pairs].reset_index(drop=True), limits), of),
        rows.shown(pd.concat(modes, ignore_index=True) if modes else pd.DataFrame(), of),
        pd.concat([components(grid, reference) for grid in grids], ignore_index=True),
        tuple(grids),
        resamples,
    )


def _of_grid(
    quantities: CurveQuantities, resamples: int
) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    grid, names, pairs = quantities.grid, quantities.names, quantities.pairs
    resampled = paired_bootstrap(quantities.rows(), quantities.of, resamples)
    by_draw = quantities.by_draw()
    members = len(grid.members)
    found: rows.Rows = {}
    modes = []
    for k in range(members):
        found |= rows.bootstrapped(grid, (k, None), names, resampled, by_draw, k * len(names))
        rows.single_shares(grid, k, found)
    if quantities.reference:
        rows.corruptions(quantities, found)
    for p, pair in enumerate(pairs, members):
        found |= rows.bootstrapped(grid, pair, names, resampled, by_draw, p * len(names))
        linear, per_sample = quantities.contributions(pair)
        for name, value in zip(linear, sign_flip(per_sample), strict=True):
            found[pair, name].test(value, "sign flips of samples")
        exact = linear if grid.kind is CLASSES else []  # differences in [-1, 1]
        for name, low, high in zip(exact, *paired_mean_interval(per_sample), strict=False):
            found[pair, name].bound(low, high, "adjusted Wald")
        rows.paired_shares(grid, pair, found)
        modes.append(rows.mode_differences(grid, pair))
        found |= rows.any_mode(pair, modes[-1])
    if len(grid.modes) > 1:
        found |= _worst(grid, pairs)
    return rows.table(grid, found), modes


def _worst(grid: StrengthGrid, pairs: Sequence[tuple[int, int]]) -> rows.Rows:
    """Return the worst mode at each eps: naive, and chosen and read on different samples."""
    first = halves(grid.sample_id)
    found: rows.Rows = {}
    for e, eps in enumerate(grid.eps.tolist()):
        exact = grid.kind is CLASSES
        worst = [worst_condition(correct[:, e], first, exact) for correct in grid.correct]
        for k, one in enumerate(worst):
            side = "down" if exact else "up"
            at = f"at {grid.modes[one.naive_at]:g}; same samples chose it, biased {side}"
            found[(k, None), (WORST, eps)] = rows.Row(one.naive, detail=at)
            chosen = dict.fromkeys(f"{grid.modes[place]:g}" for place in one.at)
            found[(k, None), (CROSSFIT, eps)] = rows.Row(
                *(one.accuracy, one.low, one.high),
                interval=f"samples ({'exact' if exact else 'Student'}, all modes)",
                detail=f"at {' and '.join(chosen)}",
            )
        for pair in pairs:
            a, b = (grid.correct[k][:, e] for k in pair)
            value, low, high = worst_difference(
                *(a, b, worst[pair[0]], worst[pair[1]], first, exact)
            )
            of = f"samples ({'Agresti-Min' if exact else 'Student'} of halves)"
            found[pair, (CROSSFIT, eps)] = rows.Row(value, low, high, of)
    return found
