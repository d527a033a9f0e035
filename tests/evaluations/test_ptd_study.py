"""kappa against error: the front, the slopes, what is cached and what is missing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.evaluations.initializations.ptd_study import (
    pareto,
    slopes,
    study,
)
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import perturb, rank_one
from robustssm.hippo.matrix_files import save_initialization


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a stable and an unstable matrix of order 8."""
    folder = tmp_path_factory.mktemp("matrices")
    A, _ = legs.matrices(8)
    save_initialization(folder / "good.npz", rank_one(8, 0.1))
    save_initialization(folder / "bad.npz", perturb(-1.5 * A, stable=False))
    return {"good": folder / "good.npz", "bad": folder / "bad.npz"}


@pytest.fixture(scope="module")
def result(files: dict[str, Path]) -> pd.DataFrame:
    return study([16], matrices=files)


def test_every_row_is_measured_or_says_why(result: pd.DataFrame) -> None:
    rows = result
    assert list(dict.fromkeys(rows["n"])) == [16, 8]
    methods = {"rank1", "clipped", "corner", "random", "optimized", "given"}
    assert set(rows["method"]) == methods
    unmeasured = rows[rows["worst_error"].isna()]
    assert (unmeasured["note"] != "").all()
    unstable = rows[rows["max_real"] >= 0.0]
    assert len(unstable) and unstable["worst_error"].isna().all()
    assert (unstable["note"] == "unstable").all() and not unstable["pareto"].any()
    product = rows["kappa"] * rows["relative_norm"]
    pd.testing.assert_series_equal(rows["kappa_times_relative_norm"], product, check_names=False)


def test_given_matrices_join_at_their_own_size(result: pd.DataFrame) -> None:
    rows = result[result["n"] == 8].set_index("settings")
    assert list(rows.index) == ["good", "bad"] and (rows["method"] == "given").all()
    # The file holds the rank-one matrix at tau = 0.1.
    assert rows.loc["good", "kappa"] == pytest.approx(rank_one(8, 0.1).kappa, rel=1e-9)
    assert rows.loc["good", "ratio"] == pytest.approx(1.0, abs=2e-3)
    assert rows.loc["bad", "note"] == "unstable"


def test_the_rank_one_family_is_level_with_itself(result: pd.DataFrame) -> None:
    rows = result
    own = rows[(rows["method"] == "rank1") & ~rows["settings"].str.contains("kept")]
    # tau is interpolated between 48 points; the guard takes the smallest ones away.
    np.testing.assert_allclose(own["ratio"].dropna(), 1.0, atol=2e-3)
    assert own["note"].str.contains("tau_c").sum() == 3
    kept = rows[rows["settings"] == "tau=0.1, B kept"].iloc[0]
    # The input that is not rescaled costs tau at low frequency.
    assert kept["worst_error"] > 2.0 * kept["rank_one_error"]


def test_of_all_only_the_clipped_family_beats_rank_one(result: pd.DataFrame) -> None:
    ratio = result.groupby("method")["ratio"].min()
    # Of the closed forms the clipped family is the better one, by 0.6 at tau = 0.3 (measured).
    assert ratio["clipped"] < 0.8
    assert min(ratio["optimized"], ratio["random"], ratio["corner"]) > 1.5
    front = result[result["pareto"]]
    assert "clipped" in set(front["method"]) and "optimized" not in set(front["method"])


def test_front_is_not_dominated(result: pd.DataFrame) -> None:
    rows = result[result["stable"].eq(True)]
    for _, group in rows.groupby("n"):
        for _, row in group.iterrows():
            beats = (group["kappa"] <= row["kappa"]) & (group["worst_error"] <= row["worst_error"])
            assert row["pareto"] == (beats.sum() == 1)


def test_slopes_of_known_laws() -> None:
    size = np.geomspace(1e-4, 1.0, 9)
    noise = np.tile([1.1, 1.0, 1.0 / 1.1], 3)
    frame = pd.DataFrame(
        {"n": 4, "method": "random", "relative_norm": size, "kappa": 3.0 * size**-0.5 * noise}
    )
    found = slopes(frame).set_index("range")
    assert list(found.index) == ["all", "0.01 to 1", "up to 0.01"]
    assert list(found["rows"]) == [9, 5, 5]
    inside = found[(found["ci_low"] < -0.5) & (found["ci_high"] > -0.5)]
    assert len(inside) == 3
    exact = slopes(frame.assign(kappa=2.0 / size)).iloc[0]
    # Logarithms carry a few eps.
    assert exact["slope"] == pytest.approx(-1.0, rel=1e-12)
    assert slopes(frame.head(2)).empty


def test_pareto_of_a_frame_without_stable_rows() -> None:
    assert pareto(pd.DataFrame({"n": [1], "stable": [False]})) == [False]
