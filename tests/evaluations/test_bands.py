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
    Seeds,
    adjusted,
    fall_p,
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
    np.testing.assert_allclose(adjusted(p, 0.5), [0.06, 0.16, 1.0], rtol=1e-14)


def test_students_bound_by_hand() -> None:
    shares = np.array([[0.81], [0.9], [0.85]])
    angles = np.arcsin(np.sqrt(shares[:, 0]))
    half = stats.t.ppf(0.95, 2) * angles.std(ddof=1) * np.sqrt(4 / 3)
    band = Seeds.of(shares, 10**6).students_band(0.05)
    # Rounding of sines and square roots of numbers near 1.
    np.testing.assert_allclose(band.low, np.sin(angles.mean() - half) ** 2, rtol=1e-12)
    np.testing.assert_allclose(band.high, np.sin(angles.mean() + half) ** 2, rtol=1e-12)


def test_seeds_that_agree_by_chance_leave_the_samplings_variance() -> None:
    seeds = Seeds.of(np.full((2, 3), 0.9), 500)
    # Normal with the variance of the sampling is the least that a bound can be.
    least = stats.norm.isf(0.05 / 3) * np.sqrt(1.5 / (4 * 500))
    angle = np.arcsin(np.sqrt(0.9))
    assert (seeds.band(0.05).low <= np.sin(angle - least) ** 2 + 1e-12).all()
    student = stats.t.isf(0.05, 1) * np.sqrt(1.5 / (4 * 500))
    expected = np.sin(max(angle - student, 0.0)) ** 2
    np.testing.assert_allclose(seeds.students_band(0.05).low, expected, rtol=1e-12)


def test_many_seeds_keep_their_own_variances() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    spread = np.array([0.002, 0.05])
    angles = 1.1 + spread * rng.standard_normal((2000, 2))
    band = Seeds.of(np.sin(angles) ** 2, 10**8).band(0.05)
    fall = np.arcsin(np.sqrt(band.expected)) - np.arcsin(np.sqrt(band.low))
    expected = stats.norm.isf(0.025) * angles.std(0, ddof=1) * np.sqrt(1 + 1 / 2000)
    # Variances of the mixture are 12 % apart, deviations 6 %; both neighbours weigh in.
    np.testing.assert_allclose(fall, expected, rtol=0.04)


def test_the_others_tell_a_conditions_variance() -> None:
    """Two seeds at 200 conditions of one spread: nearly the bound of a known variance."""
    rng = np.random.Generator(np.random.Philox(2))
    angles = 1.0 + 0.05 * rng.standard_normal((2, 200))
    band = Seeds.of(np.sin(angles) ** 2, 10**6).band(0.05)
    fall = np.arcsin(np.sqrt(band.expected)) - np.arcsin(np.sqrt(band.low))
    known = stats.norm.isf(0.05 / 200) * 0.05 * np.sqrt(1.5)
    # The median, by the condition of unknown scale and the estimate of 200 variances.
    assert known < np.median(fall) < 2.0 * known
    student = stats.t.isf(0.05 / 200, 1) * 0.05 * np.sqrt(1.5)
    assert np.median(fall) < 0.01 * student


@given(SHARES, st.floats(0.001, 0.2))
@settings(max_examples=50, deadline=None)
def test_a_band_holds_its_middle_and_grows_with_confidence(
    shares: np.ndarray, level: float
) -> None:  # fmt: skip
    seeds = Seeds.of(shares, 200)
    band, wider = seeds.band(level), seeds.band(level / 2)
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
    """Seeds with a normal deviation of their own at each condition, in common at pairs of them.

    The conditions have a quarter of the level of a check.
    """
    rng = np.random.Generator(np.random.Philox(seeds))
    runs, conditions, level = 600, 10, 0.05
    deviations = np.repeat(rng.standard_normal((runs, seeds + 1, conditions // 2)), 2, axis=2)
    shares = np.sin(1.2 + 0.05 * deviations) ** 2
    alarms = 0
    for one in shares:
        band = Seeds.of(one[:-1], 10_000).band(level / 4)
        alarms += bool((one[-1] < band.low).any())
    # Three standard errors of a share of 0.05.
    assert alarms / runs <= level + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_one_seed_has_no_band_over_seeds() -> None:
    with pytest.raises(UsageError, match="1 training seed, expected at least 2"):
        Seeds.of(np.ones((1, 3)), 100)
