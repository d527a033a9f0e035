"""How a perturbation treats the channels of a signal, its band and the phases of its sinusoids."""

import dataclasses
import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from robustssm import philox
from robustssm.attacks.bands import band_energy, span_energy, unit_rms
from robustssm.attacks.base import Perturbation, Site
from robustssm.attacks.frequencies import cycles_per_sample
from robustssm.errors import UsageError
from robustssm.typing import IntArray

CHANNELS = ("independent", "same", "one")
PHASES = {"cosine": 0.0, "sine": -math.pi / 2.0}


class Banded(Perturbation):
    """A perturbation of a band, whose frequencies are counted in the field `frequency_unit`.

    ends: the fields that hold the band's ends; None for a side that has none.
    """

    ends: ClassVar[tuple[str | None, str | None]] = ("low", "high")
    frequency_unit: str

    def edges(self) -> tuple[float | None, float | None]:
        """Return the band's ends in `frequency_unit`; None if it has none on that side."""
        low, high = (None if name is None else getattr(self, name) for name in self.ends)
        return low, high

    def band(self, site: Site) -> tuple[float, float]:
        """Return the band in cycles per sample; UsageError beyond Nyquist."""
        unit, L, rate = self.frequency_unit, site.length, site.rate
        low, high = (
            end if edge is None else cycles_per_sample(edge, unit, L, rate, self.who)
            for edge, end in zip(self.edges(), (0.0, 0.5), strict=True)
        )
        return low, high

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in the DFT bins of the valid part that are inside the band."""
        return band_energy(delta, *self.band(site))


class Channelled(Perturbation):
    """A perturbation drawn per channel; subclasses have a field `channels`.

    independent: every channel has draws of its own; same: one waveform for all; one: a single
    channel, drawn per sample, carries the whole budget.
    """

    channels: str

    def check_channels(self) -> None:
        """Raise UsageError if the policy is unknown."""
        self.check_word("channels", CHANNELS)

    def _carrier(self) -> Perturbation:
        """Return what the choice of the one channel depends on."""
        return self

    def channel_draws(
        self, count: int, x: Tensor, ids: IntArray, seed: int, site: Site, normal: bool = False
    ) -> Tensor:
        """Return draws as `draws` does, (batch, count, channels or 1)."""
        k = x.shape[2] if self.channels == "independent" else 1
        return self.draws(count * k, x, ids, seed, site, normal).view(len(x), count, k)

    def spread(self, wave: Tensor, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return wave (batch, valid, channels or 1) on the channels that the policy names."""
        if self.channels != "one" or x.shape[2] == 1:
            return wave
        stream = f"{seed}|{self._carrier()!r}|{site.layer}|channel"
        chosen = (philox.uniform_tensor(stream, sample_id, 1, x.device) * x.shape[2]).long()
        return wave * (torch.arange(x.shape[2], device=x.device) == chosen)[:, None, :]


class Phased(Channelled):
    """A sum of cos(angle + phase); subclasses have the fields `phase` and `channels`.

    phase: `random` (uniform per sample, sinusoid and channel), `cosine`, `sine`, or radians.
    """

    phase: str | float

    def _carrier(self) -> Perturbation:
        """Return this perturbation whatever its phase: all phases act on the same channel."""
        carrier: Perturbation = dataclasses.replace(self, phase="random")  # type: ignore[type-var]
        return carrier

    @property
    def phase_known(self) -> bool:
        """Whether the phase is one of the words, or a finite number."""
        known = self.phase in ("random", *PHASES)
        return known if isinstance(self.phase, str) else math.isfinite(self.phase)

    def check_phase(self) -> None:
        """Raise UsageError if the phase, or the policy of channels, is unknown."""
        self.check_channels()
        self.check(self.phase_known, "phase", "random, cosine, sine, or a number in radians")

    def check_sine(self, cycles: float, name: str, L: int) -> None:
        """Raise UsageError for the sine of a frequency at which it is zero at every step."""
        if self.phase == "random" or 2.0 * cycles % 1.0 != 0.0:
            return
        phase = PHASES[self.phase] if isinstance(self.phase, str) else self.phase
        # The sine is what is left of these frequencies at a phase of a quarter turn.
        if abs(math.cos(phase)) < 1e-9:
            raise UsageError(
                f"{self.who}: the sine of {name} is zero at every sample of length {L}; "
                "use phase cosine or random"
            )

    def phases(self, count: int, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the phases of `count` sinusoids, (batch, count, channels or 1), in radians."""
        if self.phase == "random":
            return 2.0 * math.pi * self.channel_draws(count, x, sample_id, seed, site)
        value = PHASES[self.phase] if isinstance(self.phase, str) else self.phase
        return torch.full((len(x), count, 1), value, dtype=torch.float64, device=x.device)


class Wave(Phased):
    """One wave cos(angle + phase); subclasses write `pair`."""

    @abstractmethod
    def pair(self, valid: int, site: Site, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the one wave at phase 0 and its quadrature, each (valid, 1), on like's device."""

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the wave with root mean square 1 in every channel that has it."""
        cosine, sine = self.pair(x.shape[1], site, x)
        phase = self.phases(1, x, sample_id, seed, site)
        wave = unit_rms(torch.cos(phase) * cosine - torch.sin(phase) * sine)
        return self.spread(wave, x, sample_id, seed, site)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in the span of the wave and its quadrature."""
        return span_energy(delta, torch.cat(self.pair(delta.shape[1], site, delta), dim=1))
