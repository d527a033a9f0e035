"""Layers that run both ways in time: their response on the circle, and its peak.

With F the response of what runs ahead, D included, and K' that of the other direction,

    y_t = sum_j k_j u_{t-j} + sum_j k'_j u_{t+lag+j} + D u_t:  G = F(z) + z^lag K'(1 / z),

lag 1 in state-spaces/s4 (u_t enters through k alone), 0 in S5. On the circle K'(1 / z) is
conj K'(z), since k' is real. sup |G| is the norm of the operator on sequences without an end, which
no finite sequence exceeds and long ones approach. In s = i tan(theta / 2) the step z -> 1 / z is
s -> -s, which takes z^-lag K'(z) to the second term.

Reference: Boettcher and Grudsky, Spectral Properties of Banded Toeplitz Matrices (2005), chapter 1.
"""

from dataclasses import dataclass, fields

import numpy as np

from robustssm.evaluations.suprema import certified
from robustssm.evaluations.trained_layers.linear_systems import LayerSystem
from robustssm.typing import ComplexArray, FloatArray


@dataclass(frozen=True, kw_only=True)
class TwoSided(LayerSystem):
    """Two layers of one kind, the second in reversed time; poles and steps are those of both."""

    ahead: LayerSystem
    behind: LayerSystem
    lag: int

    @classmethod
    def of(cls, ahead: LayerSystem, behind: LayerSystem, lag: int) -> "TwoSided":
        """Return the sum of two directions."""
        shared = {one.name: getattr(ahead, one.name) for one in fields(LayerSystem)}
        poles, step = np.hstack([ahead.poles, behind.poles]), np.hstack([ahead.step, behind.step])
        shared |= {"diagonal": poles, "step": step, "P": None, "Q": None}
        return cls(**shared, ahead=ahead, behind=behind, lag=lag)

    @property
    def directions(self) -> dict[str, LayerSystem]:
        """The two-sided system and both directions."""
        return {"both": self, "forward": self.ahead, "backward": self.behind}

    @property
    def condition(self) -> FloatArray | None:
        """The larger condition of the two directions."""
        one, two = self.ahead.condition, self.behind.condition
        return None if one is None or two is None else np.maximum(one, two)

    def response(self, theta: FloatArray) -> ComplexArray:
        """Return G(e^{i theta}), in the shape of a direction's response."""
        turned = np.exp(1j * self.lag * theta) * self.behind.response(theta).conj()
        return self.ahead.response(theta) + turned

    def family(self, lag: int = 0) -> certified.Family:
        """Return the systems of what runs ahead."""
        return self.ahead.family(lag)

    def peaks(self, rtol: float) -> list[certified.Bracket]:
        """Return the certified peak gain of every system."""
        return certified.brackets(self.family(), rtol, self.behind.family(self.lag))
