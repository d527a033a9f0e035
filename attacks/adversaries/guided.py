"""One sinusoid per sample, chosen by the sample's linearisation and refined in a few passes.

x + delta with delta_c(t) = a s_c cos(2 pi f (t - (L - 1) / 2) + p_c), s_c the channel's scale:
frequency f, off the DFT grid as well, phases p_c and amplitude a are refined by descent of the
margin, whose gradient in x goes through the wave to the parameters. Time is counted from the
middle, where frequency and phase are nearly uncoupled.

References: Croce and Hein (arXiv 2003.01690), section 3, for gradient steps that keep the best
point seen; Riedmiller and Braun, Rprop (ICNN 1993), for a step size per parameter that depends
on the gradient's sign alone, so that a margin's scale does not matter.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from robustssm.attacks.adversaries.ball import Ball
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.adversaries.victim import cleaned
from robustssm.attacks.bands import band_energy
from robustssm.attacks.base import Site, family
from robustssm.errors import UsageError, require

# First steps: frequency in bins, phases in radians, share of the budget; and Rprop's factors.
_FIRST = (0.1, 0.4, 0.1)
_LARGEST = (0.5, 1.0, 0.3)
_FASTER, _SLOWER = 1.2, 0.5
# The least share of the budget that a wave is refined to.
_LEAST_SHARE = 0.05


class _Waves(NamedTuple):
    """Parameters of one wave per sample.

    bins: frequency in bins of length L, (batch, 1); phase: at the middle, (batch, channels);
    share: of the budget, (batch, 1).
    """

    bins: Tensor
    phase: Tensor
    share: Tensor

    def amplitude(self, ball: Ball, L: int) -> Tensor:
        """Return each channel's amplitude, (batch, channels), within the ball's radius."""
        wave = self.unit(L)
        # Where the wave vanishes at every sample there is nothing to scale.
        size = ball.size(wave).clamp_min(1e-6)
        return self.share * (ball.radius / size)[:, None] * ball.scale

    def unit(self, L: int) -> Tensor:
        """Return cos(2 pi f (t - (L - 1) / 2) + phase), (batch, L, channels)."""
        t = torch.arange(L, dtype=torch.float64, device=self.bins.device) - 0.5 * (L - 1)
        return torch.cos(
            2.0 * math.pi / L * self.bins[..., None] * t[:, None] + self.phase[:, None]
        )

    def where(self, rows: Tensor, other: "_Waves") -> "_Waves":
        """Return these waves in the chosen rows (batch,), the other's elsewhere."""
        pairs = zip(self, other, strict=True)
        return _Waves(*(torch.where(rows[:, None], mine, theirs) for mine, theirs in pairs))


@family
class Guided(Adversary):
    """The sinusoid in bins low..high that harms each sample most, by its own linearisation.

    The worst point met is kept, x itself included. Passes per sample: 2 + 2 (own + shared) + steps
    forward, 1 + steps back; one forward less if steps is 0.

    Flags: ranking (batch, own + shared), modes tried; frequency (batch,), cycles per sample; phase
    (batch, channels), radians at the first step; amplitude (batch, channels), in x's units before
    any clipping, 0 if nothing tried was worse than x; zero_gradients, nonfinite (batch,), how
    often a gradient was zero, or not finite and left out.

    Parameters
    ----------
    own : int
        Modes per sample with the largest linearised drop.
    shared : tuple of int
        Modes that every sample tries besides, such as the first of a `ModeRanking`.
    steps : int
        Gradient steps from the worst of these.
    """

    own: int = 3
    shared: tuple[int, ...] = ()
    steps: int = 5

    def __post_init__(self) -> None:
        # Plain numbers, so that the repr can be typed back.
        object.__setattr__(self, "shared", tuple(int(k) for k in self.shared))
        band = f"{self.low}-{self.high}"
        require(0 <= self.low <= self.high, "Guided: band", band, "0 <= low <= high")
        if self.own < 0 or self.steps < 0 or self.own + len(self.shared) < 1:
            raise UsageError(
                f"Guided: own is {self.own}, shared {self.shared!r} and steps {self.steps}, "
                "expected at least one mode to try, and no negative number"
            )
        outside = [k for k in self.shared if not self.low <= k <= self.high]
        require(not outside, "Guided: shared", outside, f"modes within {band}; widen the band")

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in bins low..high; a wave between two bins leaks beyond them."""
        L = delta.shape[1]
        return band_energy(delta, self.low / L, self.high / L)

    def search(self, target: Target) -> Found:
        """Return the worst sinusoid met for each sample; seed and sample_id play no part."""
        ball, x = Ball.of(target), target.x.double()
        L = x.shape[1]

        def perturbed(waves: _Waves) -> Tensor:
            delta = waves.unit(L) * waves.amplitude(ball, L)[:, None]
            return target.budget.clipped(x, delta, target.site.scale, "Guided")

        value, _, slope = target.slopes(target.x)
        slope, trouble = cleaned(slope)
        modes, candidates = self._candidates(slope, ball)
        first = candidates[0]
        best = _Waves(first.bins, first.phase, 0.0 * first.share)
        worst = torch.where(torch.isnan(value), torch.inf, value)

        def tried(waves: _Waves, value: Tensor) -> tuple[_Waves, Tensor]:
            # False for NaN: such a point is not kept.
            return waves.where(value < worst, best), torch.where(value < worst, value, worst)

        waves, start = first, torch.full_like(worst, torch.inf)
        for candidate in candidates:
            value = target.margins(perturbed(candidate))
            best, worst = tried(candidate, value)
            waves, start = candidate.where(value < start, waves), torch.fmin(value, start)
        steps = _Steps(waves, (self.low, self.high))
        for _ in range(self.steps):
            leaf = _Waves(*(p.clone().requires_grad_(True) for p in waves))
            with torch.enable_grad():
                point = perturbed(leaf)
            value, _, slope = target.slopes(point.detach())
            best, worst = tried(waves, value)
            slope, more = cleaned(slope)
            trouble += more
            gradients = torch.autograd.grad(point, leaf, slope)
            waves = steps.next(waves, gradients)
        if self.steps:
            best, worst = tried(waves, target.margins(perturbed(waves)))
        phase = best.phase - math.pi * (L - 1) / L * best.bins
        flags: dict[str, object] = {
            "ranking": modes,
            "frequency": best.bins[:, 0] / L,
            "phase": torch.remainder(phase + math.pi, 2.0 * math.pi) - math.pi,
            "amplitude": best.amplitude(ball, L),
            "zero_gradients": trouble[0],
            "nonfinite": trouble[1],
        }
        return Found(perturbed(best).to(target.x.dtype), worst, flags)

    def _candidates(self, slope: Tensor, ball: Ball) -> tuple[Tensor, list[_Waves]]:
        """Return the modes that each sample tries (batch, count), and the waves, two per mode.

        The linearised margin falls fastest where p_c + arg G_c = pi, with G the DFT of the
        gradient; the second wave has the opposite sign, which large perturbations may prefer.
        """
        batch, L, channels = slope.shape
        spectrum = torch.fft.rfft(slope, dim=1)[:, self.low : self.high + 1]
        # Waves of equal norm: at bins 0 and L/2 a cosine has twice the energy.
        weight = torch.ones(spectrum.shape[1], dtype=torch.float64, device=slope.device)
        bins = torch.arange(self.low, self.high + 1, device=slope.device)
        weight[(2 * bins) % L == 0] = math.sqrt(0.5)
        drop = (spectrum.abs() * ball.scale).sum(2) * weight
        own = drop.topk(min(self.own, len(bins)), dim=1).indices + self.low
        shared = torch.tensor(self.shared, dtype=torch.int64, device=slope.device)
        modes = torch.cat([own, shared.expand(batch, -1)], dim=1)
        index = (modes - self.low)[..., None].expand(-1, -1, channels)
        chosen = spectrum.gather(1, index)
        middle = math.pi * (L - 1) / L * modes[..., None]
        # arg G belongs to time 0: cos(theta t + p) at the middle has phase p + theta (L - 1) / 2.
        angle = torch.angle(chosen)
        real = ((2 * modes) % L == 0)[..., None]
        steepest = torch.where(real, torch.where(chosen.real > 0.0, math.pi, 0.0), math.pi + angle)
        waves = []
        for number in range(modes.shape[1]):
            start = modes[:, number, None].double()
            full = torch.ones_like(start)
            phase = steepest[:, number] + middle[:, number]
            waves += [_Waves(start, phase, full), _Waves(start, phase + math.pi, full)]
        return modes, waves


class _Steps:
    """Rprop: one step size per parameter and sample, by the signs of successive gradients."""

    def __init__(self, waves: _Waves, band: tuple[float, float]) -> None:
        self.sizes = [torch.full_like(p, s) for p, s in zip(waves, _FIRST, strict=True)]
        self.signs = [torch.zeros_like(p) for p in waves]
        self.band = band

    def next(self, waves: _Waves, gradients: tuple[Tensor, ...]) -> _Waves:
        """Return the waves one step against the gradients, in the band and the budget."""
        moved = []
        for i, (value, slope) in enumerate(zip(waves, gradients, strict=True)):
            sign = torch.sign(slope)
            turn = sign * self.signs[i]
            factor = torch.where(turn > 0.0, _FASTER, torch.where(turn < 0.0, _SLOWER, 1.0))
            self.sizes[i] = (self.sizes[i] * factor).clamp_max(_LARGEST[i])
            self.signs[i] = sign
            moved.append(value - sign * self.sizes[i])
        bins, phase, share = moved
        return _Waves(bins.clamp(*self.band), phase, share.clamp(_LEAST_SHARE, 1.0))
