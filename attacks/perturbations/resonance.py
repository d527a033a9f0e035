"""The robustness test of the PTD paper: a sinusoid at a spike of S4D, at every layer's input.

The released script adds 0.1 r cos(325.4 dt_h t), r uniform in [0, 1), to channel h of every SSM
layer's input; 325.4 rad per unit time is the highest eigenfrequency of S4D-LegS at n = 32. Here
the frequency is exact and the draws are counter-based.

Reference: arXiv 2310.01698, section 5.2, and the authors' released robustness script.
"""

import math
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from robustssm.attacks.bands import Sum
from robustssm.attacks.base import Perturbation, Site, family
from robustssm.typing import IntArray

# The draws are keyed by the frequency's digits: so many are the same on every machine, and
# rounding moves a frequency by far less than a spike's half width of 1/2.
DIGITS = 12


@family
class Resonance(Perturbation):
    """r cos(omega dt_h t), r uniform in [0, 1) per sample, channel and layer.

    For a layer whose step sizes belong to states (S5), dt is their geometric mean. omega dt may
    exceed pi: the mode then aliases, as the layer's own poles do. In `linf`, as released, eps
    bounds the amplitude; in other units it is delivered exactly.

    Parameters
    ----------
    omega : float
        Angular frequency, radians per unit of the system's own time, kept to 12 digits.
    """

    omega: float

    unit: ClassVar[str] = "linf"
    sites: ClassVar[tuple[str, ...]] = ("layers",)
    fills: ClassVar[bool] = False
    free: ClassVar[bool] = True
    confined: ClassVar[bool] = True

    def __post_init__(self) -> None:
        held = math.isfinite(self.omega) and self.omega >= 0.0
        self.check(held, "omega", "a finite frequency >= 0")
        object.__setattr__(self, "omega", float(f"{self.omega:.{DIGITS}g}"))

    def _wave(self, like: Tensor, site: Site) -> tuple[Tensor, Tensor, Tensor]:
        """Return cos(omega dt_h t), its energies and its peaks, for signals like (batch, valid, _).

        (channels, valid) and twice (channels,), in float64.
        """
        assert site.dt is not None
        dt = tuple(site.dt.tolist())
        return _kept_wave(self.omega, dt, like.shape[1], like.dtype, like.device)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return r cos(omega dt_h t)."""
        r = self.draws(x.shape[2], x, sample_id, seed, site).to(x.dtype)
        return (r[..., None] * self._wave(x, site)[0]).mT

    def sums(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Sum:
        """Return the directions as sums of one wave in each channel."""
        r = self.draws(x.shape[2], x, ids, seed, site)
        wave, square, peak = self._wave(x, site)
        return Sum(wave[None], r[None], (r.square() * square).sum(1).sqrt(), (r * peak).amax(1))

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy of the projection on each channel's sinusoid."""
        wave, square, _ = self._wave(delta, site)
        coefficient = (delta.mT * wave).sum(2).double()
        return (coefficient.square() / square).sum(1)


@lru_cache(maxsize=16)
def _kept_wave(
    omega: float, dt: tuple[float, ...], valid: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    t = torch.arange(valid, dtype=torch.float64, device=device)
    steps = torch.tensor(dt, dtype=torch.float64, device=device)
    wave = torch.cos(omega * torch.outer(steps, t)).to(dtype)
    return wave, wave.double().square().sum(1), wave.abs().amax(1).double()
