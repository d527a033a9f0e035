"""The outcomes of a noise as one array over models, modes, strengths and samples."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.comparison.comparable import Comparable
from robustssm.evaluations.results.paired_tests import match_seeds
from robustssm.evaluations.statistics.strength_curves import log_strength
from robustssm.evaluations.sweep.condition_names import NOISE
from robustssm.targets import CLASSES, Kind
from robustssm.typing import FloatArray, IntArray, Right


@dataclass(frozen=True)
class StrengthGrid:
    """What several models did under one noise, in the conditions that all of them have.

    members: (model, training seed); modes: (modes,); eps: (strengths,), the weakest first;
    correct: (members, modes, strengths, samples), which are right, or in which share of the noise's
    draws; draws: (members, modes, strengths, noise seeds), the accuracy of each draw; clean:
    (members, samples), all as of `Outcomes`. left_out: conditions that one of the members has and
    the grid has not.
    """

    noise: str
    inject: str
    mode_unit: str
    eps_unit: str
    clip: str
    members: tuple[tuple[str, int], ...]
    modes: FloatArray
    eps: FloatArray
    sample_id: IntArray = field(repr=False)
    correct: Right = field(repr=False)
    draws: FloatArray = field(repr=False)
    clean: Right = field(repr=False)
    left_out: int = 0
    kind: Kind = CLASSES

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.sample_id)

    @property
    def title(self) -> str:
        """The noise and where it acts."""
        clip = "" if self.clip in ("", "none") else f", clip {self.clip}"
        return f"{self.noise} at {self.inject}{clip}"

    @cached_property
    def places(self) -> dict[str, dict[int, int]]:
        """The place of each member, by model, then by training seed."""
        found: dict[str, dict[int, int]] = {}
        for place, (model, seed) in enumerate(self.members):
            found.setdefault(model, {})[seed] = place
        return found

    def pairs(self, reference: str) -> dict[str, list[tuple[int, int]]]:
        """Return by model the places of (model, reference) to compare, seeds by `match_seeds`."""
        base = self.places.get(reference, {})
        return {
            model: [(own[a], base[b]) for a, b in match_seeds(own, base)]
            for model, own in self.places.items()
            if model != reference
        }

    def about(self) -> dict[str, Any]:
        """Return the columns that every table of the grid has."""
        names = {name: getattr(self, name) for name in NOISE}
        return {**names, "n": self.n, "modes": len(self.modes)}

    @property
    def on_curve(self) -> npt.NDArray[np.bool_]:
        """Which strengths have a logarithm, (strengths,): 0, or infinitely many decibels, not."""
        return np.isfinite(self.eps) if self.eps_unit == "snr-db" else self.eps > 0

    def log_eps(self) -> FloatArray | None:
        """Return the logarithms of the strengths `on_curve`; None if these are not two."""
        if self.on_curve.sum() < 2:
            return None
        return log_strength(self.eps[self.on_curve], self.eps_unit)


def strength_grids(compared: Comparable) -> list[StrengthGrid]:
    """Return a grid for each noise; a mode counts where every model has it at every strength.

    Models without any result of a noise are not members of its grid. Raises UsageError if no
    noise has a mode that all its models have at all strengths.
    """
    tables = [
        member.conditions.assign(member=place, row=np.arange(len(member.conditions)))
        for place, member in enumerate(compared.members)
    ]
    whole = pd.concat(tables, ignore_index=True)
    if whole.empty:
        raise UsageError(
            "compare: the runs hold no finished perturbed condition of these models; finish the "
            "sweeps first, or sweep with --noise"
        )
    grids = [
        grid
        for noise, table in whole.groupby(NOISE, sort=False)
        if (grid := _grid(compared, noise, table)) is not None
    ]
    if not grids:
        raise UsageError(
            "compare: no mode has results of every model at every strength; finish the sweeps, or "
            "name models that share conditions by --models"
        )
    return grids


def _grid(compared: Comparable, noise: tuple[str, ...], table: pd.DataFrame) -> StrengthGrid | None:
    places = sorted(set(table["member"]))
    shared = table.groupby(["mode", "eps"])["member"].nunique()
    shared = shared[shared == len(places)]
    pairs = shared.index.to_frame(index=False)
    strengths = np.sort(pairs["eps"].unique())
    if noise[NOISE.index("eps_unit")] == "snr-db":
        strengths = strengths[::-1]
    count = pairs.groupby("mode")["eps"].nunique()
    modes = np.sort(count.index[count == len(strengths)].to_numpy(dtype=np.float64))
    if not len(modes):
        return None
    members = [compared.members[k] for k in places]
    shape = (len(places), len(modes), len(strengths), compared.n)
    correct = np.empty(shape, dtype=members[0].correct.dtype)
    draws = np.empty((*shape[:-1], members[0].draws.shape[1]))
    wanted = pd.MultiIndex.from_product([modes, strengths])
    for k, place in enumerate(places):
        rows = table[table["member"] == place].set_index(["mode", "eps"])["row"]
        chosen = rows.reindex(wanted).to_numpy(np.int64)
        correct[k] = members[k].correct[chosen].reshape(shape[1:])
        draws[k] = members[k].draws[chosen].reshape(draws.shape[1:])
    conditions = table.drop_duplicates(["mode", "eps"])
    return StrengthGrid(
        **dict(zip(NOISE, noise, strict=True)),
        members=tuple((member.model, member.train_seed) for member in members),
        modes=modes,
        eps=strengths.astype(np.float64),
        sample_id=members[0].sample_id,
        correct=correct,
        draws=draws,
        clean=np.stack([member.clean for member in members]),
        left_out=len(conditions) - len(wanted),
        kind=members[0].kind,
    )
