"""Noise: its band on every valid part, its Gaussian coefficients, the law of its spectrum."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import BandNoise, ColouredNoise, Perturbation, Site
from robustssm.attacks.bands import band_energy
from robustssm.errors import UsageError

N = 4000


def noise(p: Perturbation, valid: int, L: int, samples: int = N) -> np.ndarray:
    """Return directions of one channel, (samples, valid)."""
    x = torch.zeros(samples, valid, 1, dtype=torch.float64)
    return p.direction(x, np.arange(samples), 0, Site(length=L)).numpy()[:, :, 0]


@pytest.mark.parametrize("L", [64, 63])
def test_the_full_band_is_white(L: int) -> None:
    """Two routes: independent coefficients of equal power are independent values in time."""
    delta = noise(BandNoise(0, L // 2), L, L)
    covariance = delta.T @ delta / N
    # Entries have standard error 1/sqrt(N) = 0.016, sqrt(2) of it on the diagonal; 2080 of them.
    np.testing.assert_allclose(covariance, np.eye(L), atol=5.0 * math.sqrt(2.0 / N))
    # Fourth moment of a Gaussian; standard error sqrt(96 / (N L)).
    assert abs((delta**4).mean() - 3.0) < 5.0 * math.sqrt(96.0 / (N * L))


@pytest.mark.parametrize(("low", "high", "L"), [(3, 9, 64), (0, 2, 64), (30, 32, 64), (28, 31, 63)])
def test_coefficients_are_gaussian_of_equal_power_within_and_zero_outside(
    low: int, high: int, L: int
) -> None:
    X = np.fft.rfft(noise(BandNoise(low, high), L, L), axis=1) / math.sqrt(L)
    inside = X[:, low : high + 1]
    outside = np.delete(X, range(low, high + 1), axis=1)
    # Rounding of a transform of values around 1.
    assert np.abs(outside).max() < 1e-13
    for k, values in enumerate(inside.T, start=low):
        real = 2 * k % L == 0
        # |X|^2 is chi-square of 1 or 2 degrees of freedom, variance 2 or 1; its square likewise.
        assert abs((np.abs(values) ** 2).mean() - 1.0) < 5.0 * math.sqrt((2.0 if real else 1.0) / N)
        fourth = 3.0 if real else 2.0
        assert abs((np.abs(values) ** 4).mean() - fourth) < 5.0 * math.sqrt(96.0 / N)
        assert abs(values.mean()) < 5.0 / math.sqrt(N)
        if not real:
            # Circular: real and imaginary part are independent and equally strong.
            assert abs((values**2).mean()) < 5.0 * math.sqrt(2.0 / N)


@settings(deadline=None)
@given(st.integers(0, 32), st.integers(0, 32), st.integers(1, 64))
def test_on_a_valid_part_the_band_stays_in_cycles(a: int, b: int, valid: int) -> None:
    low, high = min(a, b), max(a, b)
    p = BandNoise(low, high)
    bins = [k for k in range(valid // 2 + 1) if low * valid <= 64 * k <= high * valid]
    if not bins:
        with pytest.raises(UsageError, match=f"no DFT bin of {valid} valid steps"):
            noise(p, valid, 64, 3)
        return
    delta = noise(p, valid, 64, 3)
    X = np.fft.rfft(delta, axis=1)
    energy = np.abs(X) ** 2
    assert np.delete(energy, bins, axis=1).sum() <= 1e-24 * energy.sum()
    assert (energy[:, bins] > 0.0).all()
    total = (delta**2).sum(1)
    in_band = p.in_band(torch.from_numpy(delta)[:, :, None], Site(length=64)).numpy()
    np.testing.assert_allclose(in_band, total, rtol=1e-12)


def test_a_band_in_hertz_is_the_one_in_bins() -> None:
    x = torch.zeros(2, 64, 1, dtype=torch.float64)
    site = Site(length=64, rate=128.0)
    delta = BandNoise(10, 20, frequency_unit="hz").direction(x, np.arange(2), 0, site)
    energy = band_energy(delta, 5.0 / 64.0, 10.0 / 64.0)
    torch.testing.assert_close(energy, delta.square().sum((1, 2)), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("L", [64, 63])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, -1.0, 0.5])
def test_the_spectrum_has_the_slope_that_is_asked_for(alpha: float, L: int) -> None:
    power = np.abs(np.fft.rfft(noise(ColouredNoise(alpha), L, L), axis=1)) ** 2
    assert power[:, 0].max() <= 1e-24 * power.sum()
    mean = power[:, 1:].mean(0)
    f = np.log(np.arange(1, L // 2 + 1))
    centred = f - f.mean()
    slope = (centred * np.log(mean)).sum() / (centred**2).sum()
    # The logarithm of a mean periodogram has variance 1/N, 2/N where the bin is real.
    variance = np.where(2 * np.arange(1, L // 2 + 1) % L == 0, 2.0, 1.0) / N
    error = math.sqrt((centred**2 * variance).sum()) / (centred**2).sum()
    assert abs(slope + alpha) < 4.0 * error
    # The same at every bin, the real ones included: deviations are standard normal.
    deviation = np.log(mean) + alpha * f
    deviation = (deviation - np.average(deviation, weights=1.0 / variance)) / np.sqrt(variance)
    assert np.abs(deviation).max() < 4.5


@pytest.mark.parametrize("alpha", [1e4, -1e4, 300.0, -300.0])
def test_steep_spectra_are_single_modes_and_not_nan(alpha: float) -> None:
    delta = noise(ColouredNoise(alpha), 64, 64, 5)
    mode = 1 if alpha > 0.0 else 32
    power = np.abs(np.fft.rfft(delta, axis=1)) ** 2
    # The neighbour has (31/32)^300 = 7e-5 of the power at least.
    assert (power[:, mode] > 0.9 * power.sum(1)).all()


@pytest.mark.parametrize("p", [BandNoise(3, 20), ColouredNoise(1)], ids=repr)
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_bits_do_not_depend_on_the_size_of_the_batch(p: Perturbation, channels: int) -> None:
    x = torch.zeros(50, 63, channels, dtype=torch.float64)
    ids, site = np.arange(50), Site(length=63)
    whole = p.direction(x, ids, 0, site)
    for n in (1, 7, 16, 33):
        parts = [p.direction(x[i : i + n], ids[i : i + n], 0, site) for i in range(0, 50, n)]
        assert torch.equal(torch.cat(parts), whole)


def test_a_channel_has_its_own_noise_or_that_of_all() -> None:
    x = torch.zeros(3, 64, 4, dtype=torch.float64)
    for channels, rank in (("independent", 4), ("same", 1), ("one", 1)):
        delta = BandNoise(3, 20, channels).direction(x, np.arange(3), 0, Site(length=64))
        assert torch.linalg.matrix_rank(delta.expand_as(x)).tolist() == [rank] * 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BandNoise(5, 3), "low is 5, expected at most high, 3"),
        (lambda: BandNoise(5, "x"), "high is 'x', expected a number"),  # type: ignore[arg-type]
        (lambda: BandNoise(1, 2, "all"), "channels 'all' is unknown"),
        (lambda: BandNoise(1, 33).check_length(64, Site()), "beyond the Nyquist bin 32"),
        (lambda: BandNoise(-1, 3).check_length(64, Site()), "mode -1"),
        (
            lambda: BandNoise(0.051, 0.061, frequency_unit="cycles").check_length(64, Site()),
            "no DFT bin of 64 valid steps lies in the band from 0.051 to 0.061",
        ),
        (lambda: ColouredNoise(float("nan")), "alpha is nan"),
        (lambda: ColouredNoise(1).check_length(1, Site()), "for a frequency above 0"),
    ],
)
def test_what_does_not_exist_is_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
