"""The figure of convergence: its data say what it shows, and nothing is computed while drawing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.evaluations.initializations.convergence import Rates, converge
from robustssm.figures import convergence

pytestmark = pytest.mark.usefixtures("pdf_only")


@pytest.fixture(scope="module")
def result() -> Rates:
    return converge(["s4d", "s4ptd-rank1:tau=0.5"], [4, 8, 16], ["exp", "decay:0.25", "mode:3"])


def test_data_is_tidy(result: Rates) -> None:
    frame = convergence.data(result)
    assert len(frame) == 2 * 4 * 3
    assert frame.notna().loc[:, ["error", "rate", "readout", "n"]].all(axis=None)
    assert not frame.duplicated(["init", "quantity", "n"]).any()


@pytest.mark.parametrize(
    ("quantity", "title"),
    [("decay:0.75", "0·⁷⁵"), ("mode:10", "cos(10 t)"), ("spike", "spike"), ("sup", "strong")],
)
def test_titles(quantity: str, title: str) -> None:
    assert title in convergence.title(quantity).replace("⁰·", "0·")


def test_drawn_lines_are_the_data(result: Rates, tmp_path: Path) -> None:
    paths = convergence.draw_all(result, tmp_path)
    kinds = ("pdf", "png", "svg", "csv")
    assert [path.name for path in paths] == [f"convergence.{kind}" for kind in kinds]
    written = pd.read_csv(tmp_path / "convergence.csv")
    np.testing.assert_allclose(written["error"], convergence.data(result)["error"], rtol=1e-15)


def test_one_size_a_panel_and_missing_sizes() -> None:
    result = converge(["s4ptd", "s4d"], [256, 512], ["exp"])
    frame = convergence.data(result)
    assert set(frame.loc[frame["init"] == "s4ptd", "n"]) == {256}
