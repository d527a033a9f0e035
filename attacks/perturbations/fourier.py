"""One Fourier mode.

Reference: Yin et al., A Fourier Perspective on Model Robustness (arXiv 1906.08988), section 2,
in one dimension and with the phase drawn instead of the sign.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustssm.attacks.bands import waves, written
from robustssm.attacks.base import Perturbation, Site, family
from robustssm.attacks.channels import Waves
from robustssm.attacks.frequencies import cycles_per_sample
from robustssm.errors import UsageError
from robustssm.plain_text import is_count
from robustssm.typing import IntArray

_MOST_PHASES = 1024


@family
class Fourier(Waves):
    """cos(2 pi f t + phase), every channel at the same root mean square.

    If the sequence ends before L the frequency stays, and the scale is that of the valid part.

    Parameters
    ----------
    mode : float
        The frequency, in `frequency_unit`; a bin is 0 to floor(L/2).
    phase : str or float
        `random` (uniform per sample and channel), `cosine`, `sine`, radians, or `worst:P`, the
        worst for each sample of P equally spaced ones.
    channels : str
        `independent` (draws per channel), `same`, or `one` channel, drawn per sample.
    frequency_unit : str
        Unit of the frequencies: `bin` (of the DFT of length L), `cycles` (per sample) or `hz`.
    """

    mode: float
    phase: str | float = "random"
    channels: str = "independent"
    frequency_unit: str = "bin"

    def __post_init__(self) -> None:
        self.check_channels()
        object.__setattr__(self, "mode", written(self.mode))
        if not (self._tried or self.phase_known):
            raise UsageError(
                f"{self.who}: phase {self.phase!r} is unknown, expected random, cosine, sine, "
                f"a number in radians, or worst:P with P from 1 to {_MOST_PHASES}"
            )

    @property
    def _tried(self) -> int:
        """The number P of phases of `worst:P`; 0 for any other phase."""
        name, _, count = str(self.phase).partition(":")
        held = name == "worst" and is_count(count) and 1 <= int(count) <= _MOST_PHASES
        return int(count) if held else 0

    def cycles(self, site: Site) -> float:
        """Return the frequency in cycles per sample; UsageError beyond Nyquist."""
        return cycles_per_sample(self.mode, self.frequency_unit, site.length, site.rate, self.who)

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError for a mode beyond Nyquist, or one that vanishes at every sample."""
        f = self.cycles(replace(site, length=L))
        if not self._tried:
            self.check_sine(f, f"mode {self.mode:g}", L)
        elif 2.0 * f % 1.0 == 0.0 and self._tried % 4 == 0:
            raise UsageError(
                f"{self.who}: one of the phases of {self.phase} makes mode {self.mode:g} zero at "
                f"every sample of length {L}; leave the mode out, or take worst:2"
            )

    def alternatives(self) -> tuple[Perturbation, ...]:
        """Return the P phases of `worst:P`."""
        P = self._tried
        return tuple(replace(self, phase=2.0 * math.pi * p / P) for p in range(P)) or (self,)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the mode with root mean square 1 in every channel that has it."""
        if self._tried:
            raise UsageError(f"{self.who}: phase {self.phase} needs a model; use its alternatives")
        return super().direction(x, sample_id, seed, site)

    def pair(self, valid: int, site: Site, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of the frequency."""
        return waves((self.cycles(site),), valid, device)
