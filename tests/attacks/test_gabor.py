"""Sinusoids under an envelope: its place, its width, its energy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import Budget, Gabor, Site
from robustssm.errors import UsageError

FRACTION = st.floats(0.0, 1.0)


def wave(p: Gabor, valid: int, L: int = 64) -> np.ndarray:
    """Return the direction of one sample, (valid,)."""
    x = torch.zeros(1, valid, 1, dtype=torch.float64)
    return p.direction(x, np.arange(1), 0, Site(length=L)).numpy()[0, :, 0]


@settings(deadline=None)
@given(st.integers(0, 31), FRACTION, st.floats(0.02, 1.0), st.integers(16, 64))
def test_the_atom_is_the_formula(mode: int, centre: float, width: float, valid: int) -> None:
    t = np.arange(valid)
    u = (t + 0.5) / valid
    envelope = np.exp(-((u - centre) ** 2) / (2.0 * width**2))
    expected = envelope * np.cos(2.0 * math.pi * mode * t / 64.0 + 0.4)
    found = wave(Gabor(mode, centre, width, phase=0.4), valid)
    rms = np.sqrt((expected**2).mean())
    np.testing.assert_allclose(found, expected / rms, atol=1e-11 / rms)


@pytest.mark.parametrize(("centre", "width"), [(0.5, 0.05), (0.4, 0.03), (0.55, 0.08)])
def test_energy_has_the_centre_and_the_width(centre: float, width: float) -> None:
    found = [wave(Gabor(60, centre, width, phase=phase), 256, 256) for phase in (0.0, -math.pi / 2)]
    energy = found[0] ** 2 + found[1] ** 2
    u = (np.arange(256) + 0.5) / 256.0
    mean = (u * energy).sum() / energy.sum()
    deviation = math.sqrt(((u - mean) ** 2 * energy).sum() / energy.sum())
    # The square of the envelope is sqrt(2) narrower. Sums over a grid of a Gaussian are exact to
    # rounding; cutting at 5 and more of its deviations leaves 1e-5, unequal scales less.
    assert mean == pytest.approx(centre, abs=1e-4)
    assert deviation == pytest.approx(width / math.sqrt(2.0), rel=1e-3)


@settings(deadline=None)
@given(FRACTION, st.floats(0.0, 1.0, exclude_min=True), st.integers(0, 32), st.integers(2, 64))
def test_the_budget_is_delivered_whatever_the_envelope(
    centre: float, width: float, mode: int, valid: int
) -> None:
    x, lengths = torch.zeros(2, 64, 2, dtype=torch.float64), torch.tensor([64, valid])
    p = Gabor(mode, centre, width)
    after = p.perturb(x, lengths, np.arange(2), 0, budget=Budget(3.0, "l2"), site=Site())
    norms = torch.linalg.vector_norm(after, dim=(1, 2))
    torch.testing.assert_close(norms, torch.full_like(norms, 3.0), rtol=1e-12, atol=0.0)
    # Every channel has its share.
    share = after.square().sum(1)
    torch.testing.assert_close(share, torch.full_like(share, 4.5), rtol=1e-12, atol=0.0)


def test_the_narrowest_atom_is_an_impulse() -> None:
    found = wave(Gabor(5, 0.3, 1e-300, phase="cosine"), 64)
    assert np.flatnonzero(found).tolist() == [19]
    assert abs(found[19]) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Gabor(3, centre=1.2), "centre is 1.2, expected a fraction of the length"),
        (lambda: Gabor(3, width=0.0), "width is 0, expected a fraction"),
        (lambda: Gabor(3, width=float("nan")), "width is nan"),
        (lambda: Gabor(33).check_length(64, Site()), "beyond the Nyquist bin 32"),
        (lambda: Gabor(0, phase="sine").check_length(64, Site()), "sine of mode 0 is zero"),
    ],
)
def test_what_does_not_exist_is_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
