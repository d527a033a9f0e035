"""Scrambled phases: amplitudes and cross-spectra stay, the phases are uniform."""

import math

import numpy as np
import pytest
import torch

from robustssm.attacks import Budget, PhaseScramble, Site
from robustssm.errors import UsageError
from tests.attacks.cases import signal

WHOLE = Budget(1.0, "mix")
# Transforms round values of order 10 by 1e-15.
ROUNDING = 1e-13


def scrambled(p: PhaseScramble, x: torch.Tensor) -> torch.Tensor:
    return p.perturb(x, None, np.arange(len(x)), 0, budget=WHOLE, site=Site())


def spectra(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(x, dim=1)


@pytest.mark.parametrize("L", [64, 63])
@pytest.mark.parametrize("channels", ["independent", "same", "one"])
def test_the_amplitude_spectrum_stays(L: int, channels: str) -> None:
    x = signal(4, L)
    before, after = spectra(x), spectra(scrambled(PhaseScramble(channels=channels), x))
    torch.testing.assert_close(after.abs(), before.abs(), rtol=0.0, atol=ROUNDING)
    special = [0, 32] if L == 64 else [0]
    torch.testing.assert_close(after[:, special], before[:, special], rtol=0.0, atol=ROUNDING)


def test_the_same_turn_for_all_channels_keeps_cross_spectra() -> None:
    x = signal(4, 64)

    def cross(channels: str) -> torch.Tensor:
        X = spectra(scrambled(PhaseScramble(channels=channels), x))
        return X[:, :, 0] * X[:, :, 1].conj()

    X = spectra(x)
    wanted = X[:, :, 0] * X[:, :, 1].conj()
    # Products of amplitudes up to 100.
    torch.testing.assert_close(cross("same"), wanted, rtol=0.0, atol=100.0 * ROUNDING)
    assert (cross("independent") - wanted).abs().max() > 0.1


def test_one_channel_alone_is_scrambled() -> None:
    x = signal(4, 64)
    changed = (scrambled(PhaseScramble(channels="one"), x) != x).any(1)
    assert changed.sum(1).tolist() == [1, 1, 1, 1]


def test_bins_outside_the_band_stay() -> None:
    x = signal(4, 64)
    change = (spectra(scrambled(PhaseScramble(5, 9), x)) - spectra(x)).abs()
    assert change[:, 5:10].amin() > 1e-6
    change[:, 5:10] = 0.0
    assert change.max() < ROUNDING


def test_turns_are_uniform() -> None:
    x = signal(1, 64).expand(500, 64, 3)
    turn = (spectra(scrambled(PhaseScramble(), x)) / spectra(x))[:, 1:32]
    # The mean of 46,500 unit vectors at random is below 4 / sqrt(46500) but once in 10^7; so is
    # that of their squares.
    assert turn.mean().abs() < 4.0 / math.sqrt(46500)
    assert turn.square().mean().abs() < 4.0 / math.sqrt(46500)


def test_a_constant_signal_stays() -> None:
    x = torch.full((2, 64, 1), 0.7, dtype=torch.float64)
    assert torch.equal(scrambled(PhaseScramble(), x), x)


def test_bands_that_do_not_exist_are_refused() -> None:
    for p in (
        PhaseScramble(0, 0),
        PhaseScramble(32),
        PhaseScramble(0.101, 0.105, "same", "cycles"),
    ):
        with pytest.raises(UsageError, match="no bin with a phase"):
            scrambled(p, signal(2, 64))
    with pytest.raises(UsageError, match="Nyquist"):
        scrambled(PhaseScramble(0, 33), signal(2, 64))
    with pytest.raises(UsageError, match="low is 9, expected at most high, 5"):
        PhaseScramble(9, 5)
    assert repr(PhaseScramble(3.0, 9.0)) == "PhaseScramble(low=3, high=9)"
