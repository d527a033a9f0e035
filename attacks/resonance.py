"""The robustness test of the PTD paper: a sinusoid at a spike of S4D, at every layer's input.

The released script adds 0.1 r cos(325.4 dt_h t), r uniform in [0, 1), to channel h of every SSM
layer's input; 325.4 rad per unit time is the highest eigenfrequency of S4D-LegS at n = 32. Here
the frequency is exact and the draws are counter-based.

Reference: arXiv 2310.01698, section 5.2, and the authors' released robustness script.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from robustssm.attacks.base import Perturbation, Site
from robustssm.errors import UsageError
from robustssm.typing import FloatArray, IntArray

# The draws are keyed by the frequency's digits: so many are the same on every machine, and
# rounding moves a frequency by far less than a spike's half width of 1/2.
DIGITS = 12


@dataclass(frozen=True)
class Resonance(Perturbation):
    """r cos(omega dt_h t), r uniform in [0, 1) per sample, channel and layer; |.| <= eps.

    omega: rad per unit of the system's own time, kept to 12 digits. For a layer whose step sizes
    belong to states (S5), dt is their geometric mean. omega dt may exceed pi: the mode then
    aliases, as the layer's own poles do.
    """

    omega: float

    unit: ClassVar[str] = "linf"
    injection: ClassVar[str] = "layers"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.omega) and self.omega >= 0.0):
            raise UsageError(
                f"resonance: omega is {self.omega:g}, expected a finite frequency >= 0"
            )
        object.__setattr__(self, "omega", float(f"{self.omega:.{DIGITS}g}"))

    def _wave(self, L: int, site: Site) -> FloatArray:
        """Return cos(omega dt_h t), shape (L, channels)."""
        assert site.dt is not None
        wave: FloatArray = np.cos(self.omega * np.outer(np.arange(L), site.dt))
        return wave

    def direction(
        self,
        valid: IntArray,
        shape: tuple[int, ...],
        sample_id: IntArray,
        seed: int,
        site: Site,
    ) -> FloatArray:
        """Return r cos(omega dt_h t)."""
        _, L, channels = shape
        r = self.draws(sample_id, channels, seed, site)
        return r[:, None, :] * self._wave(L, site)

    def in_band(self, delta: FloatArray, site: Site) -> FloatArray:
        """Return the energy of the projection on each channel's sinusoid."""
        wave = self._wave(delta.shape[1], site)
        norm = np.sum(wave**2, axis=0)
        coefficient = np.einsum("btc,tc->bc", delta, wave)
        result: FloatArray = np.sum(coefficient**2 / norm, axis=1)
        return result
