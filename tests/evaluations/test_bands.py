"""Bands: exact tests by a second route, Student's bound by hand, error rates by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from robustssm.errors import UsageError
from robustssm.evaluations.statistics.paired import mcnemar
from robustssm.evaluations.statistics.seed_bands import (
    POOLED,
    adjusted,
    fall_p,
    mean_band,
    seed_band,
)

SHARES = arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(1, 6)),
                elements=st.integers(0, 100).map(lambda k: k / 100))  # fmt: skip


@given(arrays(np.bool_, (2, 3, 40)))
@settings(max_examples=50, deadline=None)
def test_falls_are_scipys_one_sided_binomial_test(right: np.ndarray) -> None:
    before, after = right
    for found, b, a in zip(fall_p(before, after), before, after, strict=True):
        lost, gained = int((b & ~a).sum()), int((a & ~b).sum())
        if lost + gained:
            test = stats.binomtest(lost, lost + gained, 0.5, alternative="greater")
            # Two routes through the incomplete beta function.
            assert found == pytest.approx(test.pvalue, rel=1e-10)
        else:
            assert found == 1.0
        # The two-sided p is twice the smaller of the two sides.
        sides = 2 * min(found, float(fall_p(a[None], b[None])[0]))
        assert float(mcnemar(lost, gained)) == pytest.approx(min(1.0, sides), rel=1e-10)


def test_two_families_have_half_the_level_each() -> None:
    p = np.array([0.01, 0.04, 0.5])
    np.testing.assert_allclose(adjusted(p), [0.03, 0.08, 0.5], rtol=1e-14)
    np.testing.assert_allclose(adjusted(p, 2), [0.06, 0.16, 1.0], rtol=1e-14)


def test_one_condition_is_students_prediction_bound_by_hand() -> None:
    shares = np.array([[0.81], [0.9], [0.85]])
    angles = np.arcsin(np.sqrt(shares[:, 0]))
    # One condition pools with itself alone: its own variance, POOLED more degrees of freedom.
    half = stats.t.ppf(0.95, 2 + POOLED) * angles.std(ddof=1) * np.sqrt(4 / 3)
    band = seed_band(shares, 10**6, 0.05)
    # Rounding of sines and square roots of numbers near 1.
    np.testing.assert_allclose(band.low, np.sin(angles.mean() - half) ** 2, rtol=1e-12)
    np.testing.assert_allclose(band.high, np.sin(angles.mean() + half) ** 2, rtol=1e-12)
    mean = mean_band(shares[:, 0], 10**6, 0.05)
    half = stats.t.ppf(0.95, 2) * angles.std(ddof=1) * np.sqrt(4 / 3)
    np.testing.assert_allclose(mean.low, np.sin(angles.mean() - half) ** 2, rtol=1e-12)


def test_seeds_that_agree_by_chance_leave_the_samplings_variance() -> None:
    band = seed_band(np.full((2, 3), 0.9), 500, 0.05)
    np.testing.assert_allclose(band.scale, np.sqrt(1.5 / (4 * 500)), rtol=1e-14)
    np.testing.assert_allclose(mean_band(np.full(2, 0.9), 500, 0.05).scale, band.scale[:1])


def test_many_seeds_keep_their_own_variances() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    spread = np.array([0.002, 0.05])
    angles = 1.1 + spread * rng.standard_normal((2000, 2))
    band = seed_band(np.sin(angles) ** 2, 10**8, 0.05)
    # Own variance, with POOLED of 2000 degrees from the mean of both: 30% of the smaller one here.
    expected = (1999 * angles.var(0, ddof=1) + POOLED * angles.var(0, ddof=1).mean()) / 2001
    np.testing.assert_allclose(band.scale**2, expected * (1 + 1 / 2000), rtol=1e-9)


@given(SHARES, st.floats(0.001, 0.2))
@settings(max_examples=50, deadline=None)
def test_a_band_holds_its_middle_and_grows_with_confidence(
    shares: np.ndarray, level: float
) -> None:  # fmt: skip
    band, wider = seed_band(shares, 200, level), seed_band(shares, 200, level / 2)
    assert ((band.low <= band.expected) & (band.expected <= band.high)).all()
    assert ((wider.low <= band.low) & (wider.high >= band.high)).all()
    assert (wider.low >= 0).all() and (wider.high <= 1).all()
    # A seed at the bound has p = level / conditions, unless the bound is cut off at 0.
    inside = band.low > 0
    np.testing.assert_allclose(
        band.p(band.low)[inside], level / shares.shape[1], rtol=1e-5
    )  # arcsine near 1: half of the digits


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_false_alarms_of_seeds_of_one_distribution(seeds: int) -> None:
    """Seeds with a normal deviation of their own at each condition, in common at pairs of them."""
    rng = np.random.Generator(np.random.Philox(seeds))
    runs, conditions, level = 2000, 10, 0.05
    deviations = np.repeat(rng.standard_normal((runs, seeds + 1, conditions // 2)), 2, axis=2)
    shares = np.sin(1.2 + 0.05 * deviations) ** 2
    alarms = 0
    for one in shares:
        band = seed_band(one[:-1], 10_000, level)
        alarms += bool((one[-1] < band.low).any())
    # Three standard errors of a share of 0.05 of 2000.
    assert alarms / runs <= level + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_one_seed_has_no_band_over_seeds() -> None:
    with pytest.raises(UsageError, match="1 training seed, expected at least 2"):
        seed_band(np.ones((1, 3)), 100, 0.05)
    with pytest.raises(UsageError, match="1 training seed, expected at least 2"):
        mean_band(np.ones(1), 100, 0.05)
