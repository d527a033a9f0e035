"""Statistics: against statsmodels, by hand, and on simulated nulls."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from robustssm.errors import UsageError
from robustssm.evaluations.results.paired_tests import pairs
from robustssm.evaluations.results.summary import over_seeds, overview
from robustssm.evaluations.results.tables import Tables
from robustssm.evaluations.statistics.intervals import seed_interval, wilson
from robustssm.evaluations.statistics.paired import benjamini_hochberg, holm, mcnemar

COUNTS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=40)


@given(counts=COUNTS)
@settings(max_examples=50, deadline=None)
def test_wilson_is_that_of_statsmodels(counts: list[tuple[int, int]]) -> None:
    right = np.array([a for a, _ in counts])
    n = right + np.array([b for _, b in counts]) + 1
    low, high = wilson(right, n)
    expected = proportion_confint(right, n, method="wilson")
    # Same formula, another order of operations.
    np.testing.assert_allclose([low, high], np.clip(expected, 0, 1), atol=1e-12)
    assert (high > low).all() and (low >= 0).all() and (high <= 1).all()


def test_wilson_at_the_ends_is_exact() -> None:
    low, high = wilson([0, 200], 200)
    # 200 of 200: n / (n + z^2), z = 1.959964.
    assert low[0] == 0.0 and high[1] == 1.0
    np.testing.assert_allclose([high[0], low[1]], [0.018845, 0.981155], atol=1e-6)
    for wrong in [(3, 2), (-1, 2), (0, 0)]:
        with pytest.raises(UsageError, match="Wilson"):
            wilson(*wrong)


@given(counts=COUNTS)
@settings(max_examples=50, deadline=None)
def test_mcnemar_is_that_of_statsmodels_and_scipy(counts: list[tuple[int, int]]) -> None:
    a, b = np.array(counts).T
    p = mcnemar(a, b)
    for i, j, found in zip(a, b, p, strict=True):
        expected = reference_mcnemar([[5, i], [j, 5]], exact=True).pvalue if i + j else 1.0
        # Two tails of the incomplete beta function added, or one doubled: some ulps each.
        assert found == pytest.approx(expected, rel=1e-12)
        assert found == pytest.approx(
            stats.binomtest(i, i + j, 0.5).pvalue if i + j else 1.0, rel=1e-12
        )


def test_mcnemar_takes_any_shape() -> None:
    assert mcnemar(3, 3).shape == () and mcnemar(3, 3) == 1.0
    assert mcnemar(np.zeros((2, 3), int), np.zeros((2, 3), int)).tolist() == [[1.0] * 3] * 2
    assert mcnemar([], []).shape == (0,)
    # 5 of 5 on one side: 2 / 2^5.
    assert mcnemar([5], [0])[0] == 0.0625


# statsmodels collects garbage after each correction, which takes longer than all the rest.
@patch("gc.collect", lambda: 0)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_corrections_are_those_of_statsmodels(p: list[float]) -> None:
    # Products of the same numbers, another order.
    np.testing.assert_allclose(holm(np.array(p)), multipletests(p, method="holm")[1], atol=1e-12)
    np.testing.assert_allclose(
        benjamini_hochberg(np.array(p)), multipletests(p, method="fdr_bh")[1], atol=1e-12
    )


def test_no_tests_have_no_corrections() -> None:
    assert len(holm(np.empty(0))) == 0 and len(benjamini_hochberg(np.empty(0))) == 0


def test_holm_keeps_the_family_wise_error_of_a_null() -> None:
    rng = np.random.default_rng(0)
    # 400 families of 20 McNemar tests without any difference, 40 discordant pairs each.
    false = 0
    for _ in range(400):
        counts = rng.binomial(40, 0.5, 20)
        false += bool((holm(mcnemar(counts, 40 - counts)) < 0.05).any())
    # At most 5% expected; 400 families have a standard error of 1.1%.
    assert false / 400 <= 0.05 + 3 * 0.011


def test_seed_interval_by_hand() -> None:
    # Mean 0.9, standard deviation 0.02, t(0.975, 2) = 4.302653.
    half = 4.302653 * 0.02 / np.sqrt(3)
    np.testing.assert_allclose(
        seed_interval([0.88, 0.9, 0.92]), (0.9 - half, 0.9 + half), atol=1e-6
    )
    assert np.isnan(seed_interval([0.9])).all()


def _row(model: str, seed: int, mode: float, accuracy: float) -> dict[str, object]:
    low, high = wilson(round(100 * accuracy), 100)
    return {
        "model": model, "train_seed": seed, "task": "t", "noise": "fourier", "inject": "input",
        "mode": mode, "mode_unit": "bin", "eps": 0.1, "eps_unit": "std", "n": 100,
        "accuracy": accuracy, "ci_low": low, "ci_high": high, "clean_accuracy": 0.95,
    }  # fmt: skip


def test_aggregation_by_hand() -> None:
    rows = [_row("a", s, m, v) for s, m, v in [(0, 1, 0.9), (1, 1, 0.6), (0, 2, 0.5), (1, 2, 0.7)]]
    rows.append(_row("b", 0, 1, 0.4))
    table = pd.DataFrame(rows)
    curves = over_seeds(table)
    first = curves.iloc[0]
    assert first["accuracy"] == pytest.approx(0.75)
    assert (first["seeds"], first["interval"]) == (2, "seeds (Student)")
    assert curves.iloc[-1]["interval"] == "samples (Wilson)"
    shown = overview(table).set_index("model")
    assert shown.loc["a", "acc_mean_over_modes"] == pytest.approx((0.75 + 0.6) / 2)
    # Seed 0 is worst at mode 2 (0.5), seed 1 at mode 1 (0.6); of the mean curve it is 0.6.
    assert shown.loc["a", "acc_worst_over_modes"] == pytest.approx((0.5 + 0.6) / 2)
    assert shown.loc["a", "worst_modes"] == "1, 2"
    assert shown.loc["b", "acc_mean_over_modes"] == pytest.approx(0.4)


def test_verdicts_count_conditions_in_which_seeds_agree() -> None:
    rows = [
        {"model_a": "a", "seed_a": seed, "model_b": "b", "seed_b": seed, "noise": "fourier",
         "mode": float(mode), "mode_unit": "bin", "eps": 1.0, "difference": sign * 0.1,
         "p_holm": 0.01 if sign else 1.0}
        for mode, signs in enumerate([(1, 1), (1, -1), (-1, -1), (1, 0)])
        for seed, sign in enumerate(signs)
    ]  # fmt: skip
    results = Tables(pd.DataFrame(), pd.DataFrame(rows), pd.DataFrame())
    (line,) = results.verdicts()
    assert line.startswith(
        "a against b: of 4 conditions, 1 where a is better in every pair of training seeds and 1 "
        "where b is, 1 of opposite signs"
    )
    assert "not ways of training" in line


def test_the_worst_of_several_modes_has_no_interval() -> None:
    """It is read on the samples that chose it: Wilson's would cover 21 % at 64 equal modes."""
    columns = {
        "model": "m", "train_seed": 0, "noise": "fourier", "inject": "input", "mode": [1.0, 2.0],
        "mode_unit": "bin", "eps": 1.0, "eps_unit": "std", "n": 10, "accuracy": [0.5, 0.4],
        "ci_low": 0.2, "ci_high": 0.8, "clean_accuracy": 1.0,
    }  # fmt: skip
    summary = pd.DataFrame(columns)
    both, one = overview(summary), overview(summary.iloc[:1])
    assert both["acc_worst_over_modes"].item() == 0.4 and np.isnan(both["ci_low"].item())
    assert one["ci_low"].item() == 0.2 and one["interval"].item() == "samples (Wilson)"


def test_accuracies_that_are_not_known_stay_unknown() -> None:
    table = pd.DataFrame([_row("a", 0, mode, 0.5) for mode in (1, 2)])
    table.loc[0, "accuracy"] = np.nan
    some = overview(table).iloc[0]
    assert (some["acc_worst_over_modes"], some["worst_modes"]) == (0.5, "2")
    none = overview(table.assign(accuracy=np.nan)).iloc[0]
    assert none[["acc_worst_over_modes", "acc_mean_over_modes"]].isna().all()
    assert none["worst_modes"] == ""
    one = overview(table.head(1)).iloc[0]
    assert np.isnan(one["acc_worst_over_modes"]) and one["modes"] == 1


def test_every_pair_of_names_is_compared() -> None:
    models = [("s4d", 0), ("s4d", 1), ("s4ptd", 0), ("s4ptd", 1), ("mine", 7)]
    assert pairs(models) == [
        ("s4d", 0, "s4ptd", 0), ("s4d", 1, "s4ptd", 1), ("s4d", 0, "mine", 7),
        ("s4ptd", 0, "mine", 7),
    ]  # fmt: skip
