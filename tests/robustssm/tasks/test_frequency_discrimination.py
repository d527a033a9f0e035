"""Frequency discrimination: the signals that were promised, and the closed forms of the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from robustssm.errors import UsageError
from robustssm.tasks import load_task
from robustssm.tasks.frequency_discrimination import class_bins
from tests.evaluations.calibration.theory import bayes_accuracy, energy_ratio

NAME = "frequency-discrimination"


@pytest.mark.parametrize("phase", ["random", "known"])
def test_without_noise_a_sample_is_one_fourier_mode(phase: str) -> None:
    task = load_task(f"{NAME}:length=64:classes=3:low=4:high=9:noise=0.0:phase={phase}:train=300")
    split = task.splits["train"]
    X = np.fft.rfft(split.inputs[:, :, 0].astype(np.float64)) / 32.0
    bins = np.array([4, 7, 9])[split.labels]
    rows = np.arange(len(split))
    # Values are rounded to 2^-16: a coefficient is off by less than 2 * 2^-17.
    np.testing.assert_allclose(np.abs(X[rows, bins]), 1.0, atol=2.0**-16)
    X[rows, bins] -= X[rows, bins]
    assert np.abs(X).max() < 2.0**-16
    np.testing.assert_array_equal(split.labels, np.arange(300) % 3)
    assert task.chance == 1 / 3 or abs(task.chance - 1 / 3) < 1e-3  # 1,000 is no multiple of 3


def test_phases_are_uniform_or_zero() -> None:
    for phase, expected in (("random", None), ("known", 0.0)):
        task = load_task(f"{NAME}:length=64:low=4:high=8:noise=0.0:phase={phase}:train=1000")
        split = task.splits["train"]
        X = np.fft.rfft(split.inputs[:, :, 0].astype(np.float64))
        angle = np.angle(X[np.arange(1000), np.where(split.labels == 0, 4, 8)])
        if expected is None:
            # A fixed draw; the test would fail for one in a thousand.
            assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
        else:
            np.testing.assert_allclose(angle, expected, atol=2.0**-15)


def test_noise_is_white_and_gaussian() -> None:
    noisy = load_task(f"{NAME}:train=400:noise=3.0").splits["train"].inputs
    clean = load_task(f"{NAME}:train=400:noise=0.0").splits["train"].inputs
    noise = (noisy - clean)[:, :, 0].astype(np.float64) / 3.0
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    power = (np.abs(np.fft.rfft(noise)) ** 2).mean(0) / 256
    # Means of 400 exponential variables (bins 0 and 128: chi^2 of 1): five deviations.
    assert abs(power[1:-1] - 1).max() < 5 / np.sqrt(400)
    assert abs(power[[0, -1]] - 1).max() < 5 * np.sqrt(2 / 400)


@pytest.mark.parametrize("classes", [2, 4, 19, 20, 21, 60])
@pytest.mark.parametrize("ratio", [0.01, 1.0, 4.0, 12.0])
def test_noncoherent_accuracy_is_the_integral_that_defines_it(classes: int, ratio: float) -> None:
    """P(one Rice variable exceeds M - 1 Rayleigh variables), on either side of 20 classes."""
    sigma = np.sqrt(256 / 4 / ratio)
    assert energy_ratio(sigma) == pytest.approx(ratio, rel=1e-12)
    rice, rayleigh = stats.rice(np.sqrt(2 * ratio)), stats.rayleigh()
    expected = integrate.quad(lambda r: rice.pdf(r) * rayleigh.cdf(r) ** (classes - 1), 0, 20)[0]
    # The alternating sum of 20 terms up to 1e5 loses eleven digits of sixteen at most.
    assert bayes_accuracy(sigma, classes=classes) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("classes", [2, 4, 60])
def test_coherent_accuracy(classes: int) -> None:
    for ratio in (0.1, 2.0, 8.0):
        sigma = np.sqrt(256 / 4 / ratio)
        root = np.sqrt(2 * ratio)
        expected = integrate.quad(
            lambda y, root=root: stats.norm.pdf(y - root) * stats.norm.cdf(y) ** (classes - 1),
            -12, root + 12,
        )[0]  # fmt: skip
        found = bayes_accuracy(sigma, classes=classes, phase="known")
        assert found == pytest.approx(expected, abs=1e-8)  # quad's own tolerance
        if classes == 2:
            assert found == pytest.approx(stats.norm.cdf(np.sqrt(ratio)), abs=1e-10)
        # To know the phase is never worth less than nothing.
        assert found >= bayes_accuracy(sigma, classes=classes)


def test_limits_of_accuracy() -> None:
    for phase in ("random", "known"):
        assert bayes_accuracy(0.0, phase=phase) == 1.0
        # At an energy ratio of 6e-9 the gain over chance is below 1e-4.
        assert bayes_accuracy(1e5, classes=5, phase=phase) == pytest.approx(0.2, abs=1e-4)


@given(
    length=st.integers(16, 300), classes=st.integers(2, 6),
    low=st.integers(1, 7), spread=st.integers(0, 100),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_bins_are_distinct_and_evenly_spaced(
    length: int, classes: int, low: int, spread: int
) -> None:
    high = low + classes - 1 + spread
    if high > (length - 1) // 2:
        with pytest.raises(UsageError, match="high is"):
            class_bins(length, classes, low, high)
        return
    found = class_bins(length, classes, low, high)
    assert (found[0], found[-1]) == (low, high) and (np.diff(found) >= 1).all()
    exact = np.linspace(low, high, classes)
    assert abs(found - exact).max() <= 0.5 + 1e-9  # rounded


def test_samples_are_theirs_whatever_the_sizes() -> None:
    more, fewer = (load_task(f"{NAME}:train={n}:test={n}") for n in (90, 40))
    for name in ("train", "test"):
        part = more.splits[name].first(40)
        assert np.array_equal(part.inputs, fewer.splits[name].inputs)
        assert np.array_equal(part.sample_id, fewer.splits[name].sample_id)
    ids = np.concatenate([split.sample_id for split in more.splits.values()])
    rows = np.concatenate([split.inputs for split in more.splits.values()])[:, :, 0]
    assert len(np.unique(ids)) == len(ids) and len(np.unique(rows, axis=0)) == len(rows)
    assert more.content_hash != load_task(f"{NAME}:train=90:test=90:seed=1").content_hash


def test_values_are_on_their_grid() -> None:
    """So that machines which differ in the last bit of log and cos make the same samples."""
    inputs = load_task(NAME).splits["train"].inputs
    assert inputs.dtype == np.float32
    scaled = inputs.astype(np.float64) * 2.0**16
    assert np.array_equal(scaled, np.rint(scaled))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("length=4", "length is 4"),
        ("classes=1", "classes is 1"),
        ("low=0", "low is 0"),
        ("high=128", "high is 128, expected 9 to 127"),
        ("noise=-1", "noise is -1"),
        ("amplitude=0", "amplitude is 0"),
        ("phase=none", "expected one of random, known"),
        ("noise=nan", "noise is nan"),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_task(f"{NAME}:{text}")


def test_content_is_fixed() -> None:
    """The same bytes on every machine and for ever."""
    assert load_task(NAME).content_hash[:16] == "a730bf05d237e0ed"
