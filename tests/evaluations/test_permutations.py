"""Permutations and resamples: exact counts of ties, memory in parts, what p can be at least."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from robustssm.errors import UsageError
from robustssm.evaluations.statistics import bootstrap, max_statistic
from robustssm.evaluations.statistics.bootstrap import paired_bootstrap
from robustssm.evaluations.statistics.intervals import seed_interval, student
from robustssm.evaluations.statistics.max_statistic import max_t, sign_flip
from robustssm.evaluations.statistics.paired import benjamini_hochberg, holm
from robustssm.evaluations.statistics.seed_comparison import sign_flip_p, smallest_p
from robustssm.typing import FloatArray

# Tenths: sums of the same ones in another order differ by an ulp.
TENTHS = st.lists(st.integers(-9, 9).map(lambda k: k / 10), min_size=2, max_size=8)


def flips(difference: FloatArray) -> float:
    """The exact p: share of all sign patterns whose sum is as far from zero, in whole tenths."""
    whole = np.rint(10 * difference).astype(np.int64)
    signs = np.array(list(itertools.product((-1, 1), repeat=len(whole))))
    return float((np.abs(signs @ whole) >= abs(whole.sum())).mean())


@given(values=TENTHS)
@example(values=[-0.1, -0.3, 0.4])  # sums to 6e-17
@settings(max_examples=60, deadline=None)
def test_seeds_are_compared_by_all_flips(values: list[float]) -> None:
    difference = np.array(values)
    p = sign_flip_p(difference)
    # Twice the smaller tail, cut at 1; the same count of patterns, ties among them.
    assert p == pytest.approx(flips(difference), rel=1e-12)
    assert p >= smallest_p(len(values)) == 2 / 2 ** len(values)


@pytest.mark.parametrize("k", [2, 3, 13, 14, 20, 40])
def test_equal_differences_have_the_smallest_p(k: int) -> None:
    """All signs agree: two of the 2^k patterns are as far, of those that are tried."""
    p = sign_flip_p(np.full(k, 0.1))
    assert smallest_p(k) == max(2 / 2**k, 2 / 10_000)
    if k <= 13:
        assert p == pytest.approx(smallest_p(k), rel=1e-12)
    else:
        # Of 9999 patterns drawn, 0.6 are of one sign at k = 14: more than nine are beyond chance.
        assert smallest_p(k) <= p <= 2 * 10 / 10_000
    assert np.isnan(student(np.full(k, 0.1))).all()


def test_rounding_is_no_difference() -> None:
    assert sign_flip_p(np.full(10, 1e-16)) == 1.0


def test_replicates_that_agree_have_no_interval() -> None:
    for values in ([1.0] * 3, [0.1 + 0.2, 0.3, 0.3], [0.0, 1e-17]):
        assert np.isnan(student(values)).all() and np.isnan(seed_interval(values)).all()
    low, high = student([0.3, 0.3, 0.3 + 1 / 5000])  # one sample of 5000
    assert low < high


@given(values=TENTHS, power=st.integers(-40, 40))
@settings(max_examples=20, deadline=None)
def test_ties_of_sign_flips_are_relative(values: list[float], power: int) -> None:
    """A scale changes no tie: with powers of two every rounding is the same."""
    rows = np.array([values, values[::-1]])
    found = sign_flip(rows, 499)
    assert (sign_flip(2.0**power * rows, 499) == found).all()
    # 499 flips of the exact share: five binomial standard errors, and the observed one.
    exact = flips(rows[0])
    assert found == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 499) + 2 / 500)


def test_memory_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((7, 50)) < 0.6 for _ in range(2))
    rows: FloatArray = a - b.astype(np.float64)
    whole, signs = max_t(a, b, 300), sign_flip(rows, 300)
    monkeypatch.setattr(max_statistic, "_CHUNK", 120)  # two flips, two tests at a time
    parts = max_t(a, b, 300)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(sign_flip(rows, 300), signs)


def test_bca_of_a_mean_is_scipys_with_a_closed_jackknife(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving a sample out is a subtraction here, a mean of the others there."""
    right = np.arange(60) < 41
    monkeypatch.setattr(bootstrap, "_CHUNK", 600)  # ten resamples at a time
    found = paired_bootstrap(right[None], lambda a: a, 999)
    expected = stats.bootstrap(
        (right.astype(np.float64),), np.mean, n_resamples=999, batch=10, method="BCa",
        random_state=np.random.Generator(np.random.Philox(bootstrap.SEED)),
    ).confidence_interval  # fmt: skip
    # The same resamples; percentiles interpolated between neighbours, which differ by ulps.
    assert [found.bca_low[0], found.bca_high[0]] == pytest.approx([*expected], abs=1e-12)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_probability_is_refused(correct: object, wrong: float) -> None:
    assert callable(correct)
    with pytest.raises(UsageError, match=r"1 of 3 p-values are like .*, expected numbers from 0"):
        correct(np.array([0.1, wrong, 0.5]))
