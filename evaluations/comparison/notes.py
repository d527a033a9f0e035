"""What a comparison assumes, and how far its numbers go: one line each."""

import numpy as np
import pandas as pd

from robustssm.evaluations.comparison.comparison import Comparison
from robustssm.evaluations.comparison.strength_grid import StrengthGrid
from robustssm.evaluations.statistics.max_statistic import RESAMPLES as FLIPS
from robustssm.evaluations.statistics.max_statistic import SEED
from robustssm.evaluations.statistics.seed_comparison import smallest_p
from robustssm.targets import CLASSES


def caveats(comparison: Comparison) -> list[str]:
    """Return the lines that a reader has to know whichever numbers are shown."""
    compared, grids = comparison.compared, comparison.grids
    lines = []
    if compared.partial:
        lines.append(f"PARTIAL: --limit was set, the first {compared.n} samples only")
    if compared.missing:
        lines.append(f"{compared.missing} planned conditions have no results; they are left out")
    lines += [
        f"{grid.title}: {grid.left_out} of {grid.left_out + grid.modes.size * grid.eps.size} "
        "conditions are left out, their modes not having results of every model at every strength"
        for grid in grids
        if grid.left_out
    ]
    for grid in grids:
        members = {f"{model}/{seed}" for model, seed in grid.members}
        absent = [member.name for member in compared.members if member.name not in members]
        if absent:
            lines.append(f"{grid.title}: {', '.join(absent)} has no result of this noise")
    lines += compared.notes
    counts = {model: sum(m.model == model for m in compared.members) for model in compared.models}
    single = [model for model, count in counts.items() if count == 1]
    if single:
        lines.append(
            f"{', '.join(single)}: one training seed; intervals are over the {compared.n} samples "
            "and say nothing about retraining"
        )
    return lines


def notes(comparison: Comparison) -> list[str]:
    """Return the lines that belong beside the tables of a comparison."""
    compared, reference, grids = comparison.compared, comparison.reference, comparison.grids
    lines, of = caveats(comparison), compared.kind
    exact = of is CLASSES
    side = "below" if exact else "above"
    bounds, whose = ("exact bounds", "Clopper-Pearson") if exact else ("bounds", of.interval)
    lines += [
        f"{k} training seeds: mean and Student's interval over seeds, normal values assumed; none "
        "where the seeds agree"
        for k in _counts(comparison.models)
    ]
    lines += [
        f"{k} pairs of training seeds: differences seed by seed, Student's interval; the smallest "
        f"two-sided sign-flip p is {smallest_p(k):g}"
        for k in _counts(comparison.differences)
    ]
    lines.append(
        f"samples: {comparison.resamples} paired bootstrap resamples (seed {SEED}), BCa "
        "or percentile, for these checkpoints; samples are taken to be independent"
    )
    draws = sorted({grid.draws.shape[-1] for grid in grids if grid.draws.shape[-1] > 1})
    for k in draws:
        lines.append(
            f"{k} seeds of the noise: accuracies are means over them; with several training seeds "
            "intervals are over both (crossed, Banerjee), but of eps50, and of worst modes, "
            "which hold the draws fixed; standard deviations by chi-square, normal values assumed"
        )
    if len(compared.models) > 1:
        lines.append(
            f"p of modes: max-T over all modes and eps of a noise, {FLIPS} sign flips (seed "
            f"{SEED}) that keep the dependence of modes; not corrected over models, "
            "training seeds and noises"
        )
        lines.append(
            f"differences are model minus {reference}; mCE: a mode is a corruption, its errors "
            f"summed over eps and divided by those of {reference}, then the mean; 1 is "
            f"{reference}; a mean of ratios: of two equal models each tends to exceed 1 of "
            "the other"
        )
    if any(grid.modes.size > 1 for grid in grids):
        lines.append(
            "worst mode: each training seed has its own, several seeds the mean of the accuracies "
            "there; naive: chosen and read on the same samples"
        )
        lines.append(
            "worst mode, cross-fitted: chosen on half of the samples, read on the other, both "
            f"ways, so its mean is never {side} the true worst; interval of one seed: of the true "
            f"worst, {bounds} of all modes together ({whose}, Bonferroni); of a "
            "difference: of the modes chosen (Bonferroni of both halves)"
        )
    curves = [grid for grid in grids if grid.log_eps() is not None]
    if curves:
        ends = [(grid.eps[grid.on_curve], grid.eps_unit) for grid in curves]
        ranges = dict.fromkeys(f"{eps[0]:g} to {eps[-1]:g} {unit}" for eps, unit in ends)
        lines.append(
            f"AUC: mean {of.words} over log eps, trapezoids, {' and '.join(ranges)}, of the mean "
            f"over modes; eps50: where that curve first falls halfway from clean to {of.guess} "
            f"({compared.chance:.3g}), linear in log eps"
        )
    lines += [line for grid in grids for line in _off_curve(grid)]
    return lines


def _off_curve(grid: StrengthGrid) -> list[str]:
    off = grid.eps[~grid.on_curve]
    none = grid.log_eps() is None
    if not len(off):
        return [f"{grid.title}: one strength, so no AUC and no eps50"] if none else []
    left = "" if not none else ", which leaves fewer than two, so none of these"
    return [
        f"{grid.title}: eps {off[0]:g} {grid.eps_unit} is the clean point and has no logarithm: it "
        f"is left out of AUC and eps50{left}"
    ]


def _counts(table: pd.DataFrame) -> list[int]:
    """Return the numbers of training seeds that rows over several seeds are of."""
    seeds = table.loc[table["train_seed"] == "all", "seeds"]
    return [int(k) for k in np.unique(seeds)]
