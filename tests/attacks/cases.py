"""Every family of perturbations, one line a case: a new family enters by one line."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from robustssm.attacks import Attack, BandNoise, Fourier, MultiTone, Perturbation, Site
from robustssm.attacks.adversaries import Adversary, Guided
from robustssm.attacks.expressions import parse_expression


@dataclass(frozen=True)
class Case:
    """A perturbation as a user writes it, and what may be asked of it.

    lengths: L at which it is tried; share: the least share of energy in its named band (1: it
    names none, so that all of it counts); varies: whether two seeds differ; least_valid: the
    shortest valid part it is tried with; image: whether it needs a two-dimensional layout.
    """

    text: str
    share: float = 0.999
    lengths: tuple[int, ...] = (64, 63)
    varies: bool = True
    least_valid: int = 40
    image: bool = False

    @property
    def perturbation(self) -> Perturbation:
        """The perturbation."""
        found = parse_expression(self.text)[0]
        assert isinstance(found, Perturbation)
        return found

    def site(self, L: int, dtype: torch.dtype = torch.float64) -> Site:
        """Return the site it is tried at; three channels, the input where that is allowed."""
        image = {64: (8, 8), 63: (7, 9)}[L] if self.image else None
        if self.perturbation.sites[0] == "layers":
            return Site(layer=1, dt=torch.tensor([0.003, 0.02, 0.1], dtype=torch.float64))
        scale = torch.tensor([0.25, 2.0, 1.0], dtype=torch.float64)
        return Site(scale=scale, rate=100.0, image=image)


CASES = (
    Case("Fourier(5)"),
    Case("Fourier(0)"),
    Case("Fourier(32)", lengths=(64,)),
    Case("Fourier(31)"),
    Case("Fourier(5, phase='cosine', channels='same')", varies=False),
    Case("Fourier(5, phase='sine', channels='one')"),
    Case("Fourier(5, phase=0.3)", varies=False),
    Case("Fourier(0.0721, frequency_unit='cycles')"),
    Case("Fourier(12.5, frequency_unit='hz')"),
    Case("Resonance(325.426)"),
    Case("LowPass(9)", varies=False),
    Case("LowPass(0)", varies=False),
    # A smooth filter takes something from the band that it keeps as well.
    Case("LowPass(9.5, order=4, frequency_unit='hz')", share=0.5, varies=False),
    Case("HighPass(9)", varies=False),
    Case("HighPass(0.2, order=2, frequency_unit='cycles')", share=0.5, varies=False),
    Case("BandPass(3, 20)", varies=False),
    Case("BandPass(5, 20, order=3)", share=0.5, varies=False),
    Case("BandStop(0, 12)", varies=False),
    Case("BandStop(5, 20, order=3)", share=0.5, varies=False),
    Case("PhaseScramble()"),
    Case("PhaseScramble(3, 20, channels='same')"),
    Case("PhaseScramble(5, 32, channels='one', frequency_unit='hz')"),
    Case("Resample(1.3)", varies=False),
    Case("Resample(0.37, fill='zero')", varies=False),
    Case("TimeShift(5)", varies=False),
    Case("TimeShift(-7, fill='wrap', draw='random')"),
    Case("TimeShift(30, fill='zero', draw='random')"),
    Case("Quantise(3, -1, 2)", varies=False),
    Case("NoisePadding(17)", least_valid=64),
    Case("NoisePadding(40, centred=True, channels='one')", least_valid=64),
    Case("NoisePadding(3, channels='same')", least_valid=64),
    Case("MultiTone((3, 7, 12))"),
    Case("MultiTone((0, 5, 32), channels='same')", lengths=(64,)),
    Case("MultiTone((0.05, 0.0721), frequency_unit='cycles', phase=0.3)", varies=False),
    Case("MultiTone((1, 31), channels='one', phase='sine')"),
    Case("Hum(4)"),
    Case("Hum(12.5, frequency_unit='hz', channels='one')"),
    Case("Hum(16, harmonics=9, decay=2.0, channels='same')", lengths=(64,)),
    Case("Chirp(2, 20)"),
    Case("Chirp(0, 31, phase='sine', channels='one')"),
    Case("Chirp(1, 31, law='log', channels='same')"),
    Case("Chirp(5, 40, phase='cosine', frequency_unit='hz')", varies=False),
    Case("Gabor(5)"),
    Case("Gabor(0, centre=0, width=0.01)"),
    Case("Gabor(32, centre=1, width=1, channels='same')", lengths=(64,)),
    Case("Gabor(0.13, width=0.2, channels='one', frequency_unit='cycles')"),
    Case("BandNoise(4, 12)"),
    Case("BandNoise(0, 31, channels='same')"),
    Case("BandNoise(20, 32, channels='one')", lengths=(64,)),
    Case("BandNoise(10, 20, frequency_unit='hz')"),
    Case("ColouredNoise(0)"),
    Case("ColouredNoise(1, channels='same')"),
    Case("ColouredNoise(-1.5, channels='one')"),
    Case("Fourier2D(2, -3)", image=True, least_valid=64),
    Case("Fourier2D(0, 0, channels='one')", image=True, least_valid=64),
    Case("Fourier2D(-4, 4)", image=True, least_valid=64, lengths=(64,)),
    Case("Fourier2D(-1, 3, 'equal', channels='same')", image=True, least_valid=64),
    Case("Impulses()"),
    Case("Impulses(40, channels='same')"),
    Case("Impulses(3, channels='one')"),
    Case("Dropout()"),
    Case("Dropout(0.3, 'mean', 'independent')"),
    Case("Dropout(0.5, 'hold')"),
    Case("Dropout(0.02, 'hold', 'one')"),
)


def named_bins(attack: Attack, L: int) -> Sequence[int]:
    """Return the DFT bins of length L that an attack's parameters confine it to; all else.

    Nothing is added outside them before clipping. A wave of Guided between two bins leaks.
    """
    if isinstance(attack, Adversary) and not isinstance(attack, Guided):
        return range(attack.low, attack.high + 1)
    if getattr(attack, "frequency_unit", "") == "bin":
        if isinstance(attack, BandNoise):
            return range(int(attack.low), int(attack.high) + 1)
        if isinstance(attack, Fourier):
            return [int(attack.mode)]
        if isinstance(attack, MultiTone):
            return [int(mode) for mode in attack.modes]
    return range(L // 2 + 1)


def signal(batch: int, L: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return varied signals (batch, L, 3) with mean, trend and detail, none of them silent."""
    t = torch.linspace(0.0, 1.0, L, dtype=torch.float64)
    row = torch.arange(1, batch + 1, dtype=torch.float64)[:, None, None]
    channel = torch.arange(1, 4, dtype=torch.float64)
    wave = torch.sin(40.0 * row * t[:, None] * channel) + torch.cos(row + 7.0 * t[:, None])
    return (0.5 + 0.2 * wave + 0.1 * t[:, None] * channel).to(dtype)


DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
