"""What a comparison reports of each model, as one function of accuracies."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robustssm.evaluations.comparison.strength_grid import StrengthGrid
from robustssm.evaluations.statistics.strength_curves import (
    area,
    area_weights,
    corruption_error,
    half_strength,
)
from robustssm.typing import FloatArray, Right

CLEAN, MEAN = "acc_clean", "acc_mean_over_modes"
AUC, EPS50 = "auc_log_eps_mean_over_modes", "eps50_mean_over_modes"
# Of two models: of amplitudes a ratio, of decibels a difference.
EPS50_RATIO, EPS50_DIFFERENCE = "eps50_ratio", "eps50_difference_db"
MCE, RELATIVE_MCE = "mce", "relative_mce"
WORST, CROSSFIT = "acc_worst_over_modes", "acc_worst_crossfit"

# A quantity and its eps; None if it is of the whole curve.
Name = tuple[str, float | None]


@dataclass(frozen=True)
class CurveQuantities:
    """The quantities of the models of a grid, and their differences to the reference.

    reference: name of the model that errors are divided by, one of the grid's, or "" for no
    corruption errors; pairs: places of (model, reference) among the members; chance: outcome of the
    best constant answer. eps50 is a natural
    logarithm here, its difference that of a ratio.
    """

    grid: StrengthGrid
    chance: float
    reference: str
    pairs: tuple[tuple[int, int], ...] = ()

    @cached_property
    def names(self) -> list[Name]:
        """The quantities of one member, in the order of `of`."""
        names: list[Name] = [(CLEAN, None), *((MEAN, float(eps)) for eps in self.grid.eps)]
        if self.grid.log_eps() is not None:
            names += [(AUC, None), (EPS50, None)]
        if self.reference:
            names += [(MCE, None), (RELATIVE_MCE, None)]
        return names

    @cached_property
    def reference_weights(self) -> FloatArray:
        """Weights (members, members) of whose errors each member's are divided by.

        The reference's same seed if it has every seed of the model, else the mean over its seeds.
        """
        members, places = self.grid.members, self.grid.places[self.reference]
        weights = np.zeros((len(members), len(members)))
        for k, (model, seed) in enumerate(members):
            if self.same_seeds(model):
                weights[k, places[seed]] = 1.0
            else:
                weights[k, list(places.values())] = 1.0 / len(places)
        return weights

    def same_seeds(self, model: str) -> bool:
        """Return whether the reference has every training seed of the model."""
        return self.grid.places[model].keys() <= self.grid.places[self.reference].keys()

    def rows(self) -> Right:
        """Return the outcomes that `of` is of: (members * (1 + conditions), samples)."""
        grid = self.grid
        noisy = grid.correct.reshape(len(grid.members), -1, grid.n)
        return np.concatenate([grid.clean[:, None], noisy], axis=1).reshape(-1, grid.n)

    def by_draw(self) -> FloatArray:
        """Return what `of` gives of each draw of the noise, (noise seeds, all quantities)."""
        members, *_, draws = self.grid.draws.shape
        noisy = self.grid.draws.reshape(members, -1, draws)
        clean = np.repeat(self.grid.clean.mean(1)[:, None, None], draws, axis=2)
        return self.of(np.concatenate([clean, noisy], axis=1).reshape(-1, draws).T)

    def of(self, accuracy: FloatArray) -> FloatArray:
        """Return members' quantities, then pairs' differences.

        accuracy: (..., rows); the result (..., (members + pairs) * quantities).
        """
        single = self.of_members(accuracy)
        first, second = ([pair[k] for pair in self.pairs] for k in (0, 1))
        with np.errstate(invalid="ignore"):  # two censored eps50 have no ratio
            differences = single[..., first, :] - single[..., second, :]
        both = np.concatenate([single, differences], axis=-2)
        return both.reshape(*accuracy.shape[:-1], -1)

    def of_members(self, accuracy: FloatArray) -> FloatArray:
        """Return the quantities of each member, (..., members, quantities)."""
        grid = self.grid
        split = accuracy.reshape(*accuracy.shape[:-1], len(grid.members), -1)
        clean = split[..., 0]
        noisy = split[..., 1:].reshape(*split.shape[:-1], len(grid.modes), len(grid.eps))
        curve = noisy.mean(-2)
        quantities = [clean[..., None], curve]
        x = grid.log_eps()
        if x is not None:
            target = self.chance + (clean - self.chance) / 2
            curve = curve[..., grid.on_curve]
            quantities += [area(x, curve)[..., None], half_strength(x, curve, target)[..., None]]
        if self.reference:
            quantities += [mean[..., None] for mean, _ in self.corruptions(noisy, clean)]
        return np.concatenate(quantities, axis=-1)

    def corruptions(
        self, noisy: FloatArray, clean: FloatArray
    ) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield mCE, then relative mCE, each with the share of modes that it averages.

        noisy: accuracies (..., members, modes, eps); clean (..., members), as what is yielded.
        """
        best = self.grid.kind.best
        error = best - noisy
        for errors in (error, error - (best - clean)[..., None, None]):
            base = np.einsum("ab,...bme->...ame", self.reference_weights, errors)
            yield corruption_error(errors, base)

    def contributions(self, pair: tuple[int, int]) -> tuple[list[Name], FloatArray]:
        """Return the quantities that are means over samples, and each sample's difference.

        Shape (quantities, samples): mean over modes at each eps, and the area.
        """
        grid = self.grid
        a, b = (grid.correct[k].mean(0) for k in pair)
        rows = a - b
        names: list[Name] = [(MEAN, float(eps)) for eps in grid.eps]
        x = grid.log_eps()
        if x is not None:
            rows = np.concatenate([rows, (area_weights(x) @ rows[grid.on_curve])[None]])
            names.append((AUC, None))
        return names, rows
