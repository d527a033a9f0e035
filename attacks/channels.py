"""How a perturbation treats the channels of a signal, its band and the phases of its sinusoids."""

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from robustssm import philox
from robustssm.attacks.bands import (
    NOTHING,
    Sum,
    band_energy,
    combine,
    span,
    span_energy,
    unit_rms,
)
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

    def channel_draws(self, count: int, x: Tensor, ids: IntArray, seed: int, site: Site) -> Tensor:
        """Return draws as `draws` does, (batch, count, channels or 1)."""
        k = x.shape[2] if self.channels == "independent" else 1
        return self.draws(count * k, x, ids, seed, site).view(len(x), count, k)

    def dense_draws(
        self, count: int, x: Tensor, ids: IntArray, seed: int, site: Site, normal: bool = False
    ) -> Tensor:
        """Return draws for noise with about as many of them as values, uniform or normal.

        (batch, channels or 1, count), of x's dtype; an even count if normal. At layers, where they
        are many, they are `philox.dense_tensor`'s.
        """
        if site.layer is None:
            draws = self.channel_draws(count, x, ids, seed, site)
            flat = philox.normal(draws.flatten(1)).view_as(draws) if normal else draws
            return flat.mT.contiguous()
        k = x.shape[2] if self.channels == "independent" else 1
        draws = philox.dense_tensor(f"{seed}|{self!r}|{site.layer}", ids, count * k, x.device)
        return (philox.normal(draws) if normal else draws).view(len(x), k, count).to(x.dtype)

    def spread(self, wave: Tensor, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return wave (batch, valid, channels or 1) on the channels that the policy names."""
        carries = self._carries(x, sample_id, seed, site)
        return wave if carries is None else (wave.mT * carries[..., None]).mT

    def _carries(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor | None:
        """Return which channels carry the wave, (batch, channels); None for all."""
        if self.channels != "one" or x.shape[2] == 1:
            return None
        stream = f"{seed}|{self._carrier()!r}|{site.layer}|channel"
        chosen = (philox.uniform_tensor(stream, sample_id, 1, x.device) * x.shape[2]).long()
        return torch.arange(x.shape[2], device=x.device) == chosen


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


class Waves(Phased):
    """A sum of waves cos(angle + phase); subclasses write `pair`, and may weigh the waves."""

    free: ClassVar[bool] = True
    confined: ClassVar[bool] = True

    @abstractmethod
    def pair(self, valid: int, site: Site, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the waves at phase 0 and their quadratures, each (valid, waves), float64."""

    def weights(self, phase: Tensor, means: Tensor) -> Tensor:
        """Return weights of waves and quadratures, (batch, 2 waves, channels), given the phases.

        Here each wave gets root mean square 1. means: the mean squares of waves and of
        quadratures, and of their products, (3, waves).
        """
        return torch.cat(_unit(torch.cos(phase), -torch.sin(phase), means), dim=1)

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the sum with root mean square 1 in every channel that has it."""
        kept = _kept(self, x, site)
        phase = self.phases(kept.means.shape[1], x, sample_id, seed, site)
        wave = unit_rms(combine(kept.rows, self.weights(phase, kept.means)))
        return self.spread(wave, x, sample_id, seed, site)

    def sums(self, x: Tensor, ids: IntArray, seed: int, site: Site) -> Sum | None:
        """Return the directions as sums, of a single wave without an envelope."""
        kept = _kept(self, x, site)
        if kept.angles is None:
            return None
        weights = self.weights(self.phases(1, x, ids, seed, site), kept.means)
        parts = _unit(weights[:, :1], weights[:, 1:], kept.means)
        carries = self._carries(x, ids, seed, site)
        shape = len(ids), x.shape[2]
        a, b = (
            (part[:, 0] if carries is None else part[:, 0] * carries).expand(shape)
            for part in parts
        )
        energies = x.shape[1] * ((a != 0.0) | (b != 0.0)).double()
        # a cos t + b sin t is largest in modulus at the angle t that is nearest to that of (a, b).
        angle = torch.remainder(torch.atan2(b, a), math.pi)
        above = torch.searchsorted(kept.angles, angle).clamp(1, len(kept.angles) - 1)
        gap = torch.minimum(kept.angles[above] - angle, angle - kept.angles[above - 1])
        peaks = torch.hypot(a, b) * torch.cos(gap)
        return Sum(kept.rows[:, None], torch.stack([a, b]), energies.sum(1).sqrt(), peaks.amax(1))

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in the span of the waves and their quadratures."""
        return span_energy(delta, _kept(self, delta, site).span)


def _unit(a: Tensor, b: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """Return a and b (batch, waves, channels) at which a cosine + b sine has root mean square 1.

    Zeros where it vanishes.
    """
    cc, ss, cs = means[..., None]
    square = a.square() * cc + b.square() * ss + 2.0 * a * b * cs
    size = torch.where(square > NOTHING**2, square, torch.inf).sqrt()
    return a / size, b / size


@dataclass(frozen=True)
class _Kept:
    """Waves and quadratures as rows (2 waves, valid), their means as in `weights`, their span.

    angles: of a single wave without an envelope, ascending modulo pi, and one more at each end.
    """

    rows: Tensor
    means: Tensor
    span: Tensor
    angles: Tensor | None


def _kept(waves: Waves, x: Tensor, site: Site) -> _Kept:
    # Nothing else of a site matters, and there are no tensors in it.
    shape = Site(length=site.length, rate=site.rate)
    return _made(waves, x.shape[1], shape, x.dtype, x.device)


@lru_cache(maxsize=2)
def _made(waves: Waves, valid: int, site: Site, dtype: torch.dtype, device: torch.device) -> _Kept:
    cosine, sine = waves.pair(valid, site, device)
    columns, angles = torch.cat([cosine, sine], dim=1), None
    means = torch.stack([cosine.square(), sine.square(), cosine * sine]).mean(1)
    level = bool(((cosine.square() + sine.square() - 1.0).abs() < NOTHING).all())
    if level and cosine.shape[1] == 1:
        inner = torch.remainder(torch.atan2(sine, cosine), math.pi).flatten().sort().values
        angles = torch.cat([inner[-1:] - math.pi, inner, inner[:1] + math.pi])
    return _Kept(columns.T.to(dtype).contiguous(), means, span(columns).to(dtype), angles)
