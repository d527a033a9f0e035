"""Several sinusoids at once: chosen modes, or the harmonics of a hum."""

import math

import torch
from torch import Tensor

from robustssm.attacks.bands import waves, written
from robustssm.attacks.base import Site, family
from robustssm.attacks.channels import Waves
from robustssm.attacks.frequencies import cycles_per_sample

# The columns of so many sinusoids fit into memory: 2 x 1024 x L values.
_MOST = 1024
# Rounding of h f must not lose the harmonic at Nyquist.
_SLACK = 1e-9


@family
class MultiTone(Waves):
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

    def pair(self, valid: int, site: Site, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of the modes."""
        return waves(self._cycles(site.length, site), valid, device)


@family
class Hum(Waves):
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

    def pair(self, valid: int, site: Site, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of the fundamental and the harmonics."""
        return waves(self.cycles(site), valid, device)

    def weights(self, phase: Tensor, means: Tensor) -> Tensor:
        """Return weights with the harmonics' amplitudes, of which the largest is 1."""
        count = phase.shape[1]
        h = torch.arange(1, count + 1, dtype=torch.float64, device=phase.device)
        largest = 0.0 if self.decay >= 0.0 else -self.decay * math.log(count)
        amplitude = torch.exp(-self.decay * torch.log(h) - largest)[:, None]
        return torch.cat([amplitude * torch.cos(phase), -amplitude * torch.sin(phase)], dim=1)
