"""A claim about training says no more than the rule allows."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from docs.claims import ALIKE, SHOWN, UNDECIDED, WITHDRAWN, judged
from tests.source_tree import ROOT

CLAIMS = pd.read_csv(ROOT / "docs" / "data" / "claims.csv", skiprows=1)


def test_the_verdicts_that_are_told_are_those_of_the_rule() -> None:
    again = judged(CLAIMS.drop(columns=["p", "verdict"]), WITHDRAWN)
    assert list(again["verdict"]) == list(CLAIMS["verdict"])
    # Six digits are stored.
    np.testing.assert_allclose(again["p"], CLAIMS["p"], rtol=1e-5)


def test_what_its_interval_does_not_exclude_is_undecided() -> None:
    inside = (CLAIMS["low"] <= CLAIMS["null"]) & (CLAIMS["null"] <= CLAIMS["high"])
    assert set(CLAIMS.loc[inside & CLAIMS["margin"].isna(), "verdict"]) <= {UNDECIDED}
    wide = (CLAIMS["low"] < -CLAIMS["margin"]) | (CLAIMS["high"] > CLAIMS["margin"])
    assert set(CLAIMS.loc[wide & CLAIMS["margin"].notna(), "verdict"]) <= {UNDECIDED}


@pytest.mark.parametrize("margin", [np.nan, 0.05])
def test_one_claim_is_scipys_test(margin: float) -> None:
    values = np.array([0.01, 0.02, 0.016, 0.013])
    found = stats.ttest_1samp(values, 0.0)
    low, high = found.confidence_interval()
    row = {"estimate": values.mean(), "low": low, "high": high, "null": 0.0, "margin": margin}
    (one,) = judged(pd.DataFrame([{**row, "seeds": 4}])).to_dict("records")
    expected = found.pvalue
    if margin == margin:
        expected = stats.ttest_1samp(values, margin, alternative="less").pvalue
    # The standard error comes back from an interval: rounding of a quantile.
    assert one["p"] == pytest.approx(expected, rel=1e-9)
    assert one["verdict"] == (ALIKE if margin == margin else SHOWN)
