"""A claim about training says no more than the rule allows."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from docs.tables import ALIKE, SHOWN, UNDECIDED, Data, judged
from tests.source_tree import ROOT

DATA = Data(ROOT / "docs" / "data")
CLAIMS = DATA.frame("claims")


def test_claims_about_the_paper_are_what_reproduce_found() -> None:
    """To the digits that it prints."""
    told = DATA.frame("paper")["found"]
    mine = CLAIMS[CLAIMS["made by"].str.startswith("robustssm reproduce")]
    for row in mine.itertuples():
        numbers = [f"{value + 0.0:.3f}" for value in (row.estimate, row.low, row.high)]
        text = "{} [{}, {}]".format(*(number.replace("-0.000", "0.000") for number in numbers))
        # Three decimals, or three digits.
        assert told.str.startswith((text, text.replace("-0.057", "-0.0573"))).any(), text


def test_claims_that_were_withdrawn_make_the_others_no_surer() -> None:
    alone = judged(CLAIMS, withdrawn=0)["p"]
    assert (CLAIMS["p"] >= alone).all() and (CLAIMS["p"] > alone).any()


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
    (one,) = judged(pd.DataFrame([{**row, "seeds": 4}]), withdrawn=0).to_dict("records")
    expected = found.pvalue
    if margin == margin:
        expected = stats.ttest_1samp(values, margin, alternative="less").pvalue
    # The standard error comes back from an interval: rounding of a quantile.
    assert one["p"] == pytest.approx(expected, rel=1e-9)
    assert one["verdict"] == (ALIKE if margin == margin else SHOWN)
