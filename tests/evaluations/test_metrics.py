"""Statistics: against statsmodels, by hand, and on simulated nulls."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from robustssm.evaluations.metrics import over_seeds, overview, seed_interval, wilson
from robustssm.evaluations.significance import holm, mcnemar


@given(n=st.integers(1, 2000), data=st.data())
@settings(max_examples=50, deadline=None)
def test_wilson_is_that_of_statsmodels(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    expected = proportion_confint(right, n, method="wilson")
    # Same formula, another order of operations.
    np.testing.assert_allclose(wilson(right, n), np.clip(expected, 0, 1), atol=1e-12)


@given(a=st.integers(0, 60), b=st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_mcnemar_is_that_of_statsmodels(a: int, b: int) -> None:
    expected = reference_mcnemar([[5, a], [b, 5]], exact=True).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-10)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(np.array(p)), multipletests(p, method="holm")[1], atol=1e-12)


def test_holm_keeps_the_family_wise_error_of_a_null() -> None:
    rng = np.random.default_rng(0)
    # 400 families of 20 McNemar tests without any difference, 40 discordant pairs each.
    false = 0
    for _ in range(400):
        counts = rng.binomial(40, 0.5, 20)
        false += bool((holm(np.array([mcnemar(c, 40 - c) for c in counts])) < 0.05).any())
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
    rows = [_row("a", s, m, v) for s, m, v in [(0, 1, 0.9), (1, 1, 0.8), (0, 2, 0.5), (1, 2, 0.7)]]
    rows.append(_row("b", 0, 1, 0.4))
    table = pd.DataFrame(rows)
    curves = over_seeds(table)
    first = curves.iloc[0]
    assert first["accuracy"] == pytest.approx(0.85)
    assert (first["seeds"], first["interval"]) == (2, "seeds (Student)")
    assert curves.iloc[-1]["interval"] == "samples (Wilson)"
    shown = overview(table).set_index("model")
    assert shown.loc["a", "acc_mean_over_modes"] == pytest.approx((0.85 + 0.6) / 2)
    assert shown.loc["a", "acc_worst_over_modes"] == pytest.approx(0.6)
    assert shown.loc["a", "worst_mode"] == 2
    assert shown.loc["b", "acc_mean_over_modes"] == pytest.approx(0.4)
