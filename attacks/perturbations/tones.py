"""Several sinusoids at once: chosen modes, or the harmonics of a hum."""

import math

import torch
from torch import Tensor

from robustssm.attacks.bands import NOTHING, combine, tone_energy, unit_rms, waves, written
from robustssm.attacks.base import Site, family
from robustssm.attacks.channels import Phased
from robustssm.attacks.frequencies import cycles_per_sample
from robustssm.typing import IntArray

# The columns of so many sinusoids fit into memory: 2 x 1024 x L values.
_MOST = 1024
# Rounding of h f must not lose the harmonic at Nyquist.
_SLACK = 1e-9


@family
class MultiTone(Phased):
    """Several modes, each of the same root mean square, in every channel at the same total.

    If the sequence ends before L the frequencies stay, and the scale is that of the valid part.

    Parameters
    ----------
    modes : tuple of float
        Distinct frequencies, in `frequency_unit`; their order plays no part.
    phase, channels, frequency_unit
        As for `Fourier`, without `worst:P`.
    """

    modes: tuple[float, ...]
    phase: str | float = "random"
    channels: str = "independent"
    frequency_unit: str = "bin"

    def __post_init__(self) -> None:
        self.check_phase()
        modes = sorted(map(written, self.modes))
        distinct = 1 <= len(modes) <= _MOST and len(set(modes)) == len(modes)
        self.check(distinct, "modes", f"1 to {_MOST} distinct modes")
        object.__setattr__(self, "modes", tuple(modes))

    def _cycles(self, L: int, site: Site) -> tuple[float, ...]:
        unit, rate = self.frequency_unit, site.rate
        return tuple(cycles_per_sample(mode, unit, L, rate, self.who) for mode in self.modes)

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a mode beyond Nyquist, or one that vanishes at every sample."""
        for mode, f in zip(self.modes, self._cycles(L, site), strict=True):
            self.check_sine(f, f"mode {mode:g}", L)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the sum of the modes with root mean square 1 in every channel that has it."""
        cosine, sine = waves(self._cycles(site.length, site), x.shape[1], x.device)
        phase = self.phases(len(self.modes), x, sample_id, seed, site)
        a, b = torch.cos(phase), -torch.sin(phase)
        # The mean square of a cosine + b sine, from those of its parts.
        cc, ss, cs = cosine.square().mean(0), sine.square().mean(0), (cosine * sine).mean(0)
        square = a.square() * cc[:, None] + b.square() * ss[:, None] + 2.0 * a * b * cs[:, None]
        size = torch.where(square > NOTHING**2, square, torch.inf).sqrt()
        wave = combine(torch.cat([cosine, sine], dim=1), torch.cat([a / size, b / size], dim=1))
        return self.spread(unit_rms(wave), x, sample_id, seed, site)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in sinusoids of the modes' frequencies."""
        return tone_energy(delta, self._cycles(site.length, site))


@family
class Hum(Phased):
    """A fundamental and its harmonics h = 1..H, amplitudes h^-decay: mains hum, in hertz.

    Harmonics beyond Nyquist are left out. Every channel has the same root mean square, over the
    valid part.

    Parameters
    ----------
    frequency : float
        Of the fundamental, above 0, in `frequency_unit`.
    harmonics : int
        Their number H, the fundamental included.
    decay : float
        1 as of a sawtooth, whose Fourier series is the sum of sin(h x) / h; 2 as of a triangle; 0
        for equal amplitudes.
    phase, channels, frequency_unit
        As for `Fourier`, without `worst:P`.
    """

    frequency: float
    harmonics: int = 5
    decay: float = 1.0
    phase: str | float = "random"
    channels: str = "independent"
    frequency_unit: str = "bin"

    def __post_init__(self) -> None:
        self.check_phase()
        object.__setattr__(self, "frequency", written(self.frequency))
        object.__setattr__(self, "decay", float(self.decay))
        held = self.harmonics in range(1, _MOST + 1)
        self.check(held, "harmonics", f"a whole number from 1 to {_MOST}")
        self.check(math.isfinite(self.decay), "decay", "a finite number")

    def _fundamental(self, L: int, site: Site) -> float:
        f = cycles_per_sample(self.frequency, self.frequency_unit, L, site.rate, self.who)
        self.check(f > 0.0, "frequency", "above 0: it has no harmonics")
        return f

    def cycles(self, site: Site) -> tuple[float, ...]:
        """Return the frequencies up to Nyquist, in cycles per sample."""
        f = self._fundamental(site.length, site)
        count = min(self.harmonics, math.floor((0.5 + _SLACK) / f))
        return tuple(0.5 if abs(h * f - 0.5) <= _SLACK else h * f for h in range(1, count + 1))

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a fundamental at 0, beyond Nyquist, or zero at every sample."""
        self.check_sine(self._fundamental(L, site), f"frequency {self.frequency:g}", L)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the hum with root mean square 1 in every channel that has it."""
        cycles = self.cycles(site)
        cosine, sine = waves(cycles, x.shape[1], x.device)
        phase = self.phases(len(cycles), x, sample_id, seed, site)
        h = torch.arange(1, len(cycles) + 1, dtype=torch.float64, device=x.device)
        # The largest amplitude is 1, whatever the sign of decay.
        largest = 0.0 if self.decay >= 0.0 else -self.decay * math.log(len(cycles))
        amplitude = torch.exp(-self.decay * torch.log(h) - largest)[:, None]
        weights = torch.cat([amplitude * torch.cos(phase), -amplitude * torch.sin(phase)], dim=1)
        wave = unit_rms(combine(torch.cat([cosine, sine], dim=1), weights))
        return self.spread(wave, x, sample_id, seed, site)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in sinusoids of the fundamental's and the harmonics' frequencies."""
        return tone_energy(delta, self.cycles(site))
