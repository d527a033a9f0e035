"""Sweeps of frequency, against scipy's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import chirp

from robustssm.attacks import Chirp, Fourier, Site
from robustssm.errors import UsageError


def wave(p: Chirp | Fourier, valid: int, L: int = 64) -> np.ndarray:
    """Return the direction of one sample, (valid,)."""
    x = torch.zeros(1, valid, 1, dtype=torch.float64)
    return p.direction(x, np.arange(1), 0, Site(length=L)).numpy()[0, :, 0]


@settings(deadline=None)
@given(
    st.integers(1, 32),
    st.integers(1, 32),
    st.floats(-4.0, 4.0),
    st.integers(8, 64),
    st.sampled_from(["linear", "log"]),
)
def test_the_sweep_is_scipys_on_the_valid_part(
    a: int, b: int, phase: float, valid: int, law: str
) -> None:
    low, high = min(a, b), max(a, b)
    found = wave(Chirp(low, high, law, phase), valid)
    t, method = np.arange(valid), "linear" if law == "linear" else "logarithmic"
    expected = chirp(t, low / 64.0, valid - 1.0, high / 64.0, method, np.degrees(phase))
    rms = np.sqrt((expected**2).mean())
    # Angles below 2 pi 32 round by 3e-14; at bin 32 alone a sine of nearly zero is scaled up.
    if rms > 1e-3:
        np.testing.assert_allclose(found, expected / rms, atol=1e-12 / rms)


def test_a_sweep_without_width_is_a_mode() -> None:
    for law in ("linear", "log"):
        np.testing.assert_array_equal(wave(Chirp(7, 7, law, 0.4), 64), wave(Fourier(7, 0.4), 64))


@pytest.mark.parametrize("law", ["linear", "log"])
def test_frequency_runs_from_low_to_high(law: str) -> None:
    x = torch.zeros(2, 1024, 1, dtype=torch.float64)
    site = Site(length=1024)
    p = [Chirp(20, 200, law, phase) for phase in ("cosine", "sine")]
    cosine, sine = (q.direction(x, np.arange(2), 0, site).numpy()[0, :, 0] for q in p)
    turns = np.unwrap(np.angle(cosine + 1j * sine)) / (2.0 * np.pi)
    f = np.diff(turns) * 1024.0
    u = (np.arange(1023) + 0.5) / 1023.0
    expected = 20.0 + 180.0 * u if law == "linear" else 20.0 * 10.0**u
    # The sine's scale differs from the cosine's by the sweep's ends: about one part in 100.
    np.testing.assert_allclose(f, expected, rtol=0.02)


def test_energy_off_the_sweep_is_not_in_the_band() -> None:
    site = Site(length=256)
    x = torch.zeros(50, 256, 1, dtype=torch.float64)
    up = Chirp(10, 100)
    delta = up.direction(x, np.arange(50), 0, site)
    total = delta.square().sum((1, 2))
    torch.testing.assert_close(up.in_band(delta, site), total, rtol=1e-12, atol=0.0)
    # Reversed in time it has the same spectrum, and hardly any energy in the span.
    assert (up.in_band(delta.flip(1), site) < 0.2 * total).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Chirp(5, 3), "low is 5, expected at most high, 3"),
        (lambda: Chirp(1, 3, "cubic"), "law 'cubic' is unknown, expected one of linear, log"),
        (lambda: Chirp(0, 3, "log"), "low is 0, expected above 0, where a log sweep"),
        (lambda: Chirp(1, 3, phase="worst"), "phase is 'worst', expected random"),
        (lambda: Chirp(1, 33).check_length(64, Site()), "beyond the Nyquist bin 32"),
        (lambda: Chirp(0, 0, phase="sine").check_length(64, Site()), "zero at every sample"),
    ],
)
def test_what_does_not_exist_is_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
