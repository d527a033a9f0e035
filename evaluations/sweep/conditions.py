"""A condition of a sweep: one attack at one strength and place, and the row that names it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustssm.attacks import Attack, Budget
from robustssm.attacks.expressions import make_budget, parse_expression
from robustssm.errors import UsageError
from robustssm.evaluations.sweep.condition_names import CONDITION


@dataclass(frozen=True)
class Condition:
    """One attack at one strength and place.

    Parameters
    ----------
    noise : str
        What the user called it.
    attack : Attack
        The perturbation or adversary.
    budget : Budget
        Its strength, and the range of the inputs.
    inject : str
        `input`, `layers` or `model`.
    mode : float
        What the user counted, in `mode_unit`: a frequency, the number of a spike, or omega; 0 if
        nothing is counted.
    mode_unit : str
        `bin`, `cycles`, `hz`, `spike`, `omega` or `value`; empty if nothing is counted.
    """

    noise: str
    attack: Attack
    budget: Budget
    inject: str
    mode: float = 0.0
    mode_unit: str = ""

    @property
    def id(self) -> str:
        """What distinguishes conditions, as in `Fourier(mode=3) eps=0.3 std at input`."""
        clip = "" if self.budget.clip == "none" else f" {self.budget.range}"
        return f"{self.attack!r} eps={self.budget.eps!r} {self.budget.unit} at {self.inject}{clip}"

    @property
    def names(self) -> dict[str, Any]:
        """The values of the columns CONDITION."""
        b = self.budget
        values = (self.noise, self.inject, self.mode, self.mode_unit, b.eps, b.unit, b.range)
        return dict(zip(CONDITION, values, strict=True))

    def to_row(self) -> dict[str, Any]:
        """Return the row of a table that `from_row` reads back: CONDITION and `perturbation`."""
        return {**self.names, "perturbation": repr(self.attack)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Condition":
        """Return the condition of a row as `to_row` writes it; further columns are ignored.

        Raises UsageError if the row describes no condition, or spells its perturbation in another
        way than `to_row` does.
        """
        text, inject, unit = (str(row[name]) for name in ("perturbation", "inject", "eps_unit"))
        attack, settings = parse_expression(text)
        if repr(attack) != text or settings:
            raise UsageError(
                f"perturbation: {text!r} is read as {attack!r}; write that, and eps apart"
            )
        clip, _, limits = str(row["clip"]).partition(" ")
        low, high = map(float, limits.split("..")) if limits else (-math.inf, math.inf)
        parts = {"eps": float(row["eps"]), "unit": unit, "clip": clip, "low": low, "high": high}
        budget = make_budget(text, parts, attack, inject)
        if inject not in attack.sites:
            raise UsageError(
                f"perturbation: {text} acts at {' or '.join(attack.sites)}, not at {inject!r}"
            )
        return cls(
            str(row["noise"]), attack, budget, inject, float(row["mode"]), str(row["mode_unit"])
        )
