"""Several sinusoids: equal strengths, harmonics, what does not exist at a length."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import Budget, Fourier, Hum, MultiTone, Perturbation, Site
from robustssm.attacks.bands import combine
from robustssm.errors import UsageError

IDS = np.arange(6) * 11


def wave(p: Perturbation, valid: int, L: int = 64, channels: int = 2) -> np.ndarray:
    """Return directions for six samples, (6, valid, channels)."""
    x = torch.zeros(6, valid, channels, dtype=torch.float64)
    site = Site(length=L, rate=100.0)
    return p.direction(x, IDS, 0, site).expand_as(x).numpy()


@settings(deadline=None)
@given(st.integers(8, 65), st.data())
def test_modes_share_the_energy_of_every_channel_equally(L: int, data: st.DataObject) -> None:
    modes = data.draw(st.sets(st.integers(0, L // 2), min_size=1, max_size=4))
    delta = wave(MultiTone(tuple(modes)), L, L)
    np.testing.assert_allclose((delta**2).mean(1), 1.0, rtol=1e-12)
    power = np.abs(np.fft.fft(delta, axis=1)) ** 2 / L**2
    folded = [power[:, k] + (power[:, -k] if 2 * k % L else 0.0) for k in sorted(modes)]
    # The draw of a phase at bins 0 and L/2 may leave a cosine near zero: rounding grows there.
    np.testing.assert_allclose(folded, 1.0 / len(modes), rtol=1e-9)


def test_modes_are_equally_strong_on_a_valid_part_on_which_they_are_not_orthogonal() -> None:
    valid, modes = 41, (3, 7, 12)
    delta = wave(MultiTone(modes), valid)
    angle = 2.0 * np.pi * np.outer(np.arange(valid), modes) / 64.0
    columns = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    c = np.linalg.lstsq(columns, delta.transpose(1, 0, 2).reshape(valid, -1), rcond=None)[0]
    parts = [columns[:, [k, k + 3]] @ c[[k, k + 3]] for k in range(3)]
    rms = np.sqrt(np.square(parts).mean(1))
    # The columns' condition number is below 10.
    np.testing.assert_allclose(rms, np.broadcast_to(rms[0], rms.shape), rtol=1e-12)


def test_one_tone_is_fourier() -> None:
    for phase in (0.3, "cosine", "sine"):
        expected = wave(Fourier(5, phase=phase), 40)
        # Rounding of angles below 2 pi.
        np.testing.assert_allclose(wave(MultiTone((5,), phase), 40), expected, atol=1e-14)
        np.testing.assert_allclose(wave(Hum(5, 1, phase=phase), 40), expected, atol=1e-14)


def test_the_order_of_modes_plays_no_part() -> None:
    assert MultiTone((7, 3.0)) == MultiTone((3, 7))
    assert repr(MultiTone((7, 3.0))) == "MultiTone(modes=(3, 7))"


def test_phases_of_two_modes_are_independent() -> None:
    x = torch.zeros(4000, 16, 1, dtype=torch.float64)
    delta = MultiTone((2, 5)).direction(x, np.arange(4000), 0, Site(length=16)).numpy()
    X = np.fft.rfft(delta[:, :, 0], axis=1)
    a, b = X[:, 2] / np.abs(X[:, 2]), X[:, 5] / np.abs(X[:, 5])
    # Means of 4000 unit vectors: standard error 0.016.
    for mean in (a.mean(), b.mean(), (a * b).mean(), (a * b.conj()).mean()):
        assert abs(mean) < 0.08


def test_a_hum_is_the_partial_sum_of_a_sawtooth() -> None:
    delta = wave(Hum(3, harmonics=6, phase="sine"), 64)[0, :, 0]
    t = 2.0 * np.pi * 3.0 * np.arange(64) / 64.0
    expected = -sum(-np.sin(h * t) / h for h in range(1, 7))
    expected /= np.sqrt((expected**2).mean())
    np.testing.assert_allclose(delta, expected, atol=1e-13)


@settings(deadline=None)
@given(st.integers(1, 32), st.integers(1, 40), st.floats(-3.0, 3.0))
def test_harmonics_fall_as_the_law_says_and_end_at_nyquist(f: int, H: int, decay: float) -> None:
    delta = wave(Hum(f, H, decay, phase="cosine"), 64)[0, :, 0]
    amplitude = np.fft.rfft(delta).real / 32.0
    amplitude[[0, 32]] /= 2.0
    kept = [h for h in range(1, H + 1) if h * f <= 32]
    expected = np.zeros(33)
    expected[[h * f for h in kept]] = np.array(kept, dtype=float) ** -decay
    # Up to a factor: the root mean square is 1.
    factor = amplitude[f] / expected[f]
    np.testing.assert_allclose(amplitude, factor * expected, atol=1e-12 * np.abs(amplitude).max())


def test_a_hum_in_hertz_is_the_one_in_bins() -> None:
    # 12.5 Hz at 100 samples per second is bin 8 of 64.
    hz = wave(Hum(12.5, phase=1.0, frequency_unit="hz"), 64)
    np.testing.assert_allclose(hz, wave(Hum(8, phase=1.0), 64), atol=1e-13)


@pytest.mark.parametrize("p", [MultiTone((3, 7, 12, 20)), Hum(5), Fourier(5)], ids=repr)
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_bits_do_not_depend_on_the_size_of_the_batch(p: Perturbation, channels: int) -> None:
    x = torch.zeros(50, 63, channels, dtype=torch.float64)
    ids, site = np.arange(50), Site(length=63)
    whole = p.direction(x, ids, 0, site)
    for n in (1, 7, 16, 33):
        parts = [p.direction(x[i : i + n], ids[i : i + n], 0, site) for i in range(0, 50, n)]
        assert torch.equal(torch.cat(parts), whole)


def test_combine_is_a_matrix_product() -> None:
    rng = np.random.default_rng(0)
    columns, weights = rng.standard_normal((9, 5)), rng.standard_normal((4, 5, 3))
    found = combine(torch.from_numpy(columns.T), torch.from_numpy(weights)).numpy()
    np.testing.assert_allclose(found, columns @ weights, atol=1e-14)


@pytest.mark.parametrize(
    "p", [Fourier(5, phase="sine"), MultiTone((5,), "sine"), Hum(5, phase="sine")], ids=repr
)
def test_a_sine_on_one_valid_step_is_refused_and_not_nan(p: Perturbation) -> None:
    x, lengths = torch.ones(2, 64, 1, dtype=torch.float64), torch.tensor([1, 64])
    with pytest.raises(UsageError, match="zero vector"):
        p.perturb(x, lengths, np.arange(2), 0, budget=Budget(0.1, "rms"), site=Site())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiTone(()), "1 to 1024 distinct"),
        (lambda: MultiTone((3, 3)), "distinct"),
        (lambda: MultiTone(range(2000)), "distinct"),  # type: ignore[arg-type]
        (lambda: MultiTone(3), "expected a list"),  # type: ignore[arg-type]
        (lambda: MultiTone("37"), "expected a list"),  # type: ignore[arg-type]
        (lambda: MultiTone(("a",)), "modes is .'a',., expected a list"),  # type: ignore[arg-type]
        (lambda: MultiTone((3,), "cosin"), "phase is 'cosin', expected random"),
        (lambda: MultiTone((3,), float("nan")), "phase is nan, expected random"),
        (lambda: MultiTone((3,), channels="all"), "channels 'all' is unknown"),
        (lambda: wave(MultiTone((3, 33)), 64), "mode 33 is beyond the Nyquist bin 32"),
        (lambda: MultiTone((3, 32), "sine").check_length(64, Site()), "sine of mode 32 is zero"),
        (lambda: Hum(3, harmonics=0), "harmonics is 0, expected a whole number from 1 to 1024"),
        (lambda: Hum(3, harmonics=2.5), "harmonics is 2.5"),  # type: ignore[arg-type]
        (lambda: Hum(3, decay=float("inf")), "decay is inf"),
        (lambda: Hum(0).check_length(64, Site()), "frequency is 0"),
        (lambda: Hum(33).check_length(64, Site()), "beyond the Nyquist bin 32"),
        (lambda: Hum(32, phase="sine").check_length(64, Site()), "zero at every sample"),
        (lambda: Hum(60, frequency_unit="hz").check_length(64, Site()), "needs a sampling rate"),
        (
            lambda: Hum(60, frequency_unit="hz").check_length(64, Site(rate=100.0)),
            "beyond the Nyquist frequency, expected 0 to 50 Hz",
        ),
    ],
)
def test_what_does_not_exist_is_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
