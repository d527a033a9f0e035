"""Bootstrap, permutations, cross-fitting, curves, power: by hand, by a second route, simulated."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robustssm.errors import UsageError
from robustssm.evaluations.statistics.bootstrap import paired_bootstrap
from robustssm.evaluations.statistics.cross_fit import halves, worst_condition, worst_difference
from robustssm.evaluations.statistics.intervals import student
from robustssm.evaluations.statistics.max_statistic import max_t, sign_flip
from robustssm.evaluations.statistics.paired import (
    mcnemar,
    paired_interval,
    paired_mean_interval,
)
from robustssm.evaluations.statistics.power import (
    mcnemar_power,
    smallest_difference,
)
from robustssm.evaluations.statistics.seed_comparison import sign_flip_p, smallest_p
from robustssm.evaluations.statistics.strength_curves import (
    area,
    area_weights,
    corruption_error,
    half_strength,
    log_strength,
)
from robustssm.typing import FloatArray


def test_area_by_hand() -> None:
    x = log_strength(np.array([0.1, 1.0, 100.0]), "std")
    # Widths of one and two decades: (1 * 0.9 + 2 * 0.5) / 3 from means 0.9 and 0.5.
    accuracy = np.array([[1.0, 0.8, 0.2], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(area(x, accuracy), [1.9 / 3, 0.5], rtol=1e-14)
    weights = area_weights(x)
    # 1/6, 1/2, 1/3: trapezoids of one and two decades over three.
    np.testing.assert_allclose(weights, [1 / 6, 1 / 2, 1 / 3], rtol=1e-14)
    np.testing.assert_allclose(accuracy @ weights, area(x, accuracy), rtol=1e-14)


def test_decibels_are_amplitudes() -> None:
    amplitude = np.array([0.1, 1.0, 10.0])
    # A ratio of amplitudes r is -20 log10 r dB of signal to noise.
    np.testing.assert_allclose(
        log_strength(np.array([20.0, 0.0, -20.0]), "snr-db"),
        log_strength(amplitude, "std"),
        atol=1e-15,
    )
    for eps, unit in [(0.0, "std"), (math.inf, "snr-db")]:
        with pytest.raises(UsageError, match="no logarithm"):
            log_strength(np.array([eps]), unit)
    with pytest.raises(UsageError, match="at least two"):
        area(np.array([0.0]), np.array([0.5]))


def test_half_strength_by_hand() -> None:
    x = np.log([0.1, 1.0, 10.0])
    curves = np.array(
        [
            [0.9, 0.7, 0.3],  # half way from 0.7 to 0.3 is 0.5: sqrt(10)
            [0.9, 0.4, 0.8],  # not monotone: the first fall, 4/5 of a decade after 0.1
            [0.9, 0.8, 0.7],  # never
            [0.4, 0.8, 0.3],  # at the weakest strength already, though it rises again
            [0.9, 0.5, 0.2],  # touches the target at a strength
        ]
    )
    found = half_strength(x, curves, np.full(5, 0.5))
    assert found[2] == np.inf and found[3] == -np.inf
    expected = [math.sqrt(10), 0.1 * 10**0.8, 1.0]
    np.testing.assert_allclose(np.exp(found[[0, 1, 4]]), expected, rtol=1e-13)


@given(curve=st.lists(st.floats(0, 1), min_size=2, max_size=8), target=st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_half_strength_lies_on_the_curve(curve: list[float], target: float) -> None:
    x, accuracy = np.arange(len(curve), dtype=np.float64), np.array(curve)
    found = float(half_strength(x, accuracy, np.array(target)))
    if found == np.inf:
        assert (accuracy > target).all()
    elif found == -np.inf:
        assert accuracy[0] <= target
    else:
        # Rounding of the place, times a slope of at most 1 a step.
        assert np.interp(found, x, accuracy) == pytest.approx(target, abs=1e-12)
        assert (accuracy[x < found - 1e-9] > target).all()


def test_corruption_error_by_hand() -> None:
    # Two corruptions at two severities; the reference makes no error on the third.
    error = np.array([[0.2, 0.4], [0.1, 0.1], [0.3, 0.3]])
    reference = np.array([[0.1, 0.2], [0.2, 0.2], [0.0, 0.0]])
    mean, share = corruption_error(error, reference)
    # 0.6 / 0.3 and 0.2 / 0.4, the third left out.
    assert mean == pytest.approx((2.0 + 0.5) / 2) and share == pytest.approx(2 / 3)
    same, _ = corruption_error(reference, reference)
    assert same == 1.0
    nothing, share = corruption_error(error, np.zeros((3, 2)))
    assert np.isnan(nothing) and share == 0.0


def _mean(accuracy: FloatArray) -> FloatArray:
    return accuracy.mean(-1, keepdims=True)


def test_bootstrap_is_paired_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(200) < 0.7

    def difference(accuracy: FloatArray) -> FloatArray:
        return np.stack([accuracy[..., 0] - accuracy[..., 1], accuracy[..., 0]], axis=-1)

    found = paired_bootstrap(np.stack([a, a]), difference, 200)
    assert found.constant.tolist() == [True, False]
    assert found.low[0] == found.high[0] == found.value[0] == 0.0
    again = paired_bootstrap(np.stack([a, a]), difference, 200)
    assert (found.bca_low[1], found.low[1]) == (again.bca_low[1], again.low[1])


def test_bootstrap_of_a_share_is_binomial() -> None:
    """Resampled counts are binomial, so the percentiles are its quantiles."""
    right = np.arange(100) < 70
    found = paired_bootstrap(right[None], _mean, 4000)
    expected = stats.binom.ppf([0.025, 0.975], 100, 0.7) / 100
    # Quantiles of 4000 draws: standard error of about 0.002, one count is 0.01.
    np.testing.assert_allclose([found.low[0], found.high[0]], expected, atol=0.0101)


def test_bootstrap_takes_infinities_and_counts_the_undefined() -> None:
    def quantities(accuracy: FloatArray) -> FloatArray:
        share = accuracy[..., 0]
        return np.stack(
            [np.where(share > 0.5, np.inf, share), np.where(share > 0.5, np.nan, share)], axis=-1
        )

    found = paired_bootstrap((np.arange(100) < 50)[None], quantities, 1000)
    assert found.high[0] == np.inf and np.isfinite(found.low[0])
    assert found.undefined[0] == 0.0 and 0.3 < found.undefined[1] < 0.6
    assert np.isfinite([found.low[1], found.high[1]]).all() and np.isnan(found.bca_low).all()


def test_bootstrap_covers_the_area() -> None:
    """Coverage over simulated data sets, samples of different difficulty in all conditions."""
    rng = np.random.default_rng(1)
    x = np.log([0.1, 0.3, 1.0])
    true = np.array([0.9, 0.7, 0.4])
    exact, sets = float(area(x, true)), 300
    inside = np.zeros(2)
    for _ in range(sets):
        # One uniform number a sample: conditions are as dependent as can be.
        correct = rng.random(200) < true[:, None]
        found = paired_bootstrap(correct, lambda a: area(x, a)[..., None], 400)
        inside += [
            found.low[0] <= exact <= found.high[0],
            found.bca_low[0] <= exact <= found.bca_high[0],
        ]
    # Three binomial standard errors (1.3%), and 1% for percentiles of 200 samples.
    assert (inside / sets > 0.95 - 3 * 0.0126 - 0.01).all() and (inside / sets < 0.995).all()


def test_max_t_of_one_condition_is_mcnemar() -> None:
    a = np.arange(60) < 40
    b = np.roll(a, 9)
    b[:4] = False
    expected = float(mcnemar((a & ~b).sum(), (b & ~a).sum()))
    found = max_t(a[None], b[None])
    # Both are exact tests of |a_only - b_only|; 9999 flips have this standard error.
    error = math.sqrt(expected * (1 - expected) / 9999)
    assert found[0] == pytest.approx(expected, abs=4 * error + 2e-4)
    assert sign_flip((a.astype(float) - b)[None])[0] == pytest.approx(
        expected, abs=4 * error + 2e-4
    )


def test_max_t_adjusts_upwards_and_stays_between_bounds() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.random((12, 80)) < 0.7 for _ in range(2))
    b[3] = a[3] & (rng.random(80) < 0.4)
    joint = max_t(a, b, 999)
    alone = np.array([max_t(a[k : k + 1], b[k : k + 1], 999)[0] for k in range(12)])
    # The same flips of fewer samples: two draws with standard errors below 1.6% each.
    assert (joint >= alone - 4 * 0.023).all()
    assert (joint <= np.minimum(1, 12 * alone) + 4 * 0.023).all()
    assert joint.argmin() == 3 and joint[3] == 0.001


def test_max_t_of_equal_models_finds_nothing() -> None:
    a = np.random.default_rng(3).random((4, 30)) < 0.5
    found = max_t(a, a, 99)
    assert (found == 1).all()


def test_max_t_keeps_the_family_wise_error_of_a_null() -> None:
    """Two equal models with independent label noise; modes share the difficulty of a sample."""
    rng = np.random.default_rng(4)
    families, false = 400, 0
    for _ in range(families):
        difficulty = rng.beta(2, 1, 60)
        # Errors at different modes of a sample are dependent within a model as well.
        a, b = ((rng.random((2, 60)).repeat(5, 0) + rng.random((10, 60))) / 2 < difficulty
                for _ in range(2))  # fmt: skip
        false += max_t(a, b, 199).min() <= 0.05
    low, high = stats.binom.ppf([0.001, 0.999], families, 0.05)
    assert low <= false <= high


def test_halves_are_equal_and_of_the_ids_alone() -> None:
    ids = np.arange(1001) * 7
    first = halves(ids)
    assert first.sum() == 500
    order = np.random.default_rng(5).permutation(1001)
    assert (halves(ids[order]) == first[order]).all()
    # The halves say nothing of the order: a hypergeometric count, standard deviation 7.9.
    assert abs(int(first[:500].sum()) - 250) < 4 * 7.9


def test_worst_condition_by_hand() -> None:
    first = np.array([True, True, False, False])
    correct = np.array([[0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
    found = worst_condition(correct, first)
    # The first half chooses row 0 (read on the second: 1), the second row 1 (read: 1/2).
    assert (found.naive, found.naive_at) == (0.5, 0)
    assert found.at == (0, 1) and found.accuracy == 0.75
    # Clopper and Pearson's bounds of 2 of 4, the upper one for three rows, by beta quantiles.
    ends = stats.beta.ppf(0.025, 2, 3), stats.beta.ppf(1 - 0.025 / 3, 3, 2)
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)
    other = np.ones_like(correct)
    value, _, _ = worst_difference(correct, other, found, worst_condition(other, first), first)
    assert value == pytest.approx(-0.25)
    with pytest.raises(UsageError, match="worst mode"):
        worst_condition(correct[:0], first)


@pytest.mark.parametrize("modes", [3, 64])
def test_cross_fitting_takes_the_selection_bias_away(modes: int) -> None:
    """All modes have accuracy 0.8: naive worst is below it, cross-fitted is not."""
    rng = np.random.default_rng(6)
    first = halves(np.arange(200))
    runs = 600
    found = [worst_condition(rng.random((modes, 200)) < 0.8, first) for _ in range(runs)]
    naive = np.array([w.naive for w in found])
    fitted = np.array([w.accuracy for w in found])
    # Expected smallest of 64 means of 200: 0.8 - 2.4 standard errors of 0.028.
    assert naive.mean() < {3: 0.785, 64: 0.745}[modes]
    # Standard error of the mean over the runs.
    assert abs(fitted.mean() - 0.8) < 4 * fitted.std() / math.sqrt(runs)


@pytest.mark.parametrize("above", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("modes", [6, 64])
def test_the_interval_of_the_worst_condition_covers_it(modes: int, above: float) -> None:
    """The true worst is 0.05, the others tie or nearly tie: 0, 2 and 7 standard errors above it.

    Samples have a difficulty of their own in half of the runs.
    """
    rng = np.random.default_rng(8)
    n, runs = 200, 500
    first = halves(np.arange(n))
    rate = np.full((modes, 1), 0.05 + above)
    rate[modes // 2] = 0.05
    found = []
    for run in range(runs):
        share = (0.0, 0.8)[run % 2]
        own = rng.standard_normal((modes, n))
        hard = math.sqrt(share) * rng.standard_normal(n) + math.sqrt(1 - share) * own
        found.append(worst_condition(hard < stats.norm.ppf(rate), first))
    covered = np.mean([w.low <= 0.05 <= w.high for w in found])
    # At least 95%, less three binomial standard errors.
    assert covered > 0.95 - 3 * 0.0097
    assert all(w.low <= w.accuracy <= w.high and w.low <= w.naive <= w.high for w in found)


def test_paired_interval_by_hand_and_covers() -> None:
    # (9 - 1) / 102; variance (11 / 102 - (8 / 102)^2) / 102.
    centre, half = 8 / 102, 1.959964 * np.sqrt((11 / 102 - (8 / 102) ** 2) / 102)
    assert paired_interval(9, 1, 100) == pytest.approx((centre - half, centre + half), abs=1e-8)
    low, high = paired_interval(0, 0, 100)
    assert low < 0 < high
    rng = np.random.default_rng(9)
    draws = rng.multinomial(60, [0.06, 0.01, 0.93], 2000)
    ends = np.array([paired_interval(int(a), int(b), 60) for a, b, _ in draws])
    covered = np.mean((ends[:, 0] <= 0.05) & (ends[:, 1] >= 0.05))
    # 95%, less three binomial standard errors (0.5%) and 2% for four expected discordant samples.
    assert covered > 0.95 - 3 * 0.005 - 0.02


def test_seeds_by_hand() -> None:
    difference = np.array([0.01, 0.02, 0.03])
    # t(0.975, 2) = 4.302653, standard deviation 0.01.
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert student(difference) == pytest.approx((0.02 - half, 0.02 + half), abs=1e-8)
    # All of one sign: 2 of 8 sign patterns are as far.
    assert sign_flip_p(difference) == smallest_p(3) == 0.25
    assert sign_flip_p(np.array([0.01, -0.01, 0.01, 0.01])) == pytest.approx(10 / 16)
    assert sign_flip_p(np.zeros(3)) == 1.0
    single = np.array([0.2])
    assert sign_flip_p(single) == 1.0 and np.isnan(student(single)).all()


@pytest.mark.parametrize(("n", "tests", "discordance"), [(539, 1, 0.1), (539, 129, 0.1),
                                                         (200, 20, 0.02)])  # fmt: skip
def test_smallest_difference_has_the_power_it_says(n: int, tests: int, discordance: float) -> None:
    difference = smallest_difference(n, tests, discordance)
    share = max(discordance, difference)
    rng = np.random.default_rng(7)
    sets = 20_000
    discordant = rng.binomial(n, share, sets)
    a_only = rng.binomial(discordant, min(1.0, 0.5 + difference / (2 * share)))
    power = np.mean(mcnemar(a_only, discordant - a_only) <= 0.05 / tests)
    # Four binomial standard errors; where all discordance is one-sided counts jump by steps.
    assert power == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / sets) + 1e-3)


def test_smallest_difference_moves_as_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    base = smallest_difference(539, 10)
    assert smallest_difference(539, 100) > base > smallest_difference(5000, 10)
    assert smallest_difference(539, 10, 0.3) > base
    with monkeypatch.context() as patch:
        patch.setattr("robustssm.evaluations.statistics.power.POWER", 0.5)
        assert smallest_difference(539, 10) < base
    # Five samples: the smallest p is 2 / 2^5 = 0.0625, which rejects nothing.
    assert smallest_difference(5) == math.inf
    assert mcnemar_power(6, 1.0, 1.0, 0.05) == pytest.approx(1.0, abs=1e-8)
    wrongs: list[dict[str, Any]] = [
        {"n": 0},
        {"n": 10, "tests": 0},
        {"n": 10, "discordance": 2.0},
    ]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="smallest difference"):
            smallest_difference(**wrong)


def test_no_difference_rejects_at_most_at_the_level() -> None:
    for n, discordance in [(30, 0.5), (539, 0.05)]:
        assert mcnemar_power(n, discordance, 0.0, 0.05) <= 0.05


def test_interval_of_paired_means_holds_near_the_ceiling() -> None:
    """Two accuracies of 0.97 over 8 modes, n = 60: at most 5 % of misses, to simulation error."""
    draw = np.random.default_rng(7)
    misses = 0
    for _ in range(600):
        a, b = draw.random((2, 8, 60)) < 0.97
        low, high = paired_mean_interval((a.astype(float) - b).mean(0))
        misses += not low <= 0.0 <= high
    # Binomial: 600 families at 5 %, three standard errors above.
    assert misses <= 600 * (0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5)
    low, high = paired_mean_interval(np.zeros((2, 60)))
    assert (low < 0).all() and (high > 0).all(), "no difference seen is not no uncertainty"


def test_worst_difference_keeps_a_width() -> None:
    right = np.ones((3, 40), dtype=np.bool_)
    first = halves(np.arange(40))
    worst = worst_condition(right, first)
    value, low, high = worst_difference(right, right, worst, worst, first)
    assert value == 0.0 and low < 0.0 < high
