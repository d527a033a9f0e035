"""The transfer figures: their frames, their artists and their files; no pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams

from robustssm.errors import UsageError
from robustssm.evaluations.initializations.transfer import TransferResult, transfer
from robustssm.figures import style
from robustssm.figures.looks import look
from robustssm.figures.transfer import FIGURES, data, draw, draw_all
from robustssm.hippo import legs

pytestmark = pytest.mark.usefixtures("pdf_only")


@pytest.fixture(scope="module")
def result() -> TransferResult:
    return transfer(16, "random:0")


def test_transfer_frame_holds_hippo_itself(result: TransferResult) -> None:
    rows = data(result)
    rows = rows[rows["system"] == "hippo"]
    omega = rows["omega"].to_numpy()
    exact = np.abs(legs.transfer(result.C, 1j * omega))
    np.testing.assert_array_equal(rows["magnitude"].to_numpy(), exact)
    assert rows["label"].iloc[0] == "hippo (= s4, s4d-real)"


def test_error_frame_reaches_the_spike(result: TransferResult) -> None:
    frame = data(result, "error")
    assert "hippo" not in set(frame["system"])
    for _, rows in frame.groupby("system"):
        # The grid point beside the refined maximum lies within a quarter half-width of it.
        assert 0.9 * rows["sup_error"].iloc[0] <= rows["error"].max()
        assert rows["error"].max() <= rows["sup_error"].iloc[0]


def test_thinning_keeps_both_extremes(result: TransferResult) -> None:
    full = result.curves
    full = full[(full["omega"] >= 1e-2) & (full["omega"] <= 10.0 * result.n**2)]
    for column, figure in (("magnitude", "transfer"), ("error", "error")):
        thin = data(result, figure).groupby("system")[column].agg(["min", "max"])
        whole = full.groupby("system")[column].agg(["min", "max"]).loc[thin.index]
        pd.testing.assert_frame_equal(thin, whole)


@pytest.mark.parametrize("figure", FIGURES)
def test_drawing_shows_the_frame(result: TransferResult, figure: str) -> None:
    frame = data(result, figure)
    before = frame.copy()
    with style.style():
        _, axes = style.new_figure()
        draw(frame, axes[0])
    pd.testing.assert_frame_equal(frame, before)
    lines = {line.get_label(): line for line in axes[0].get_lines()}
    column = {"transfer": "magnitude", "error": "error"}[figure]
    for system, rows in frame.groupby("system"):
        name = rows["label"].iloc[0]
        short = name.partition(" (=")[0]
        (label,) = [k for k in lines if k == name or str(k).startswith(f"{short}: ")]
        np.testing.assert_array_equal(
            lines[label].get_ydata(), rows[column].to_numpy(), str(system)
        )
    assert axes[0].get_xscale() == "log" and axes[0].get_yscale() == "log"
    looks = [(line.get_color(), line.get_linestyle()) for line in lines.values()]
    assert len(set(looks)) >= frame["system"].nunique()


def test_files_are_complete(result: TransferResult, tmp_path: Path) -> None:
    first = draw_all(result, tmp_path / "a")
    names = [f"{figure}.{kind}" for figure in FIGURES for kind in ("pdf", "png", "svg", "csv")]
    assert [path.name for path in first] == names
    stored = pd.read_csv(tmp_path / "a" / "error.csv")
    pd.testing.assert_frame_equal(stored, data(result, "error"), check_dtype=False)


def test_style_is_local_and_embeds_text() -> None:
    before = rcParams["pdf.fonttype"], rcParams["font.size"]
    with style.style():
        assert rcParams["pdf.fonttype"] == 42
    assert (rcParams["pdf.fonttype"], rcParams["font.size"]) == before


def test_looks_of_one_name_differ_by_their_dash() -> None:
    first, second = look("s4ptd-rank1:tau=0.5"), look("s4ptd-rank1:tau=0.1", 1)
    assert first["color"] == second["color"] and first["linestyle"] != second["linestyle"]


@pytest.mark.parametrize(
    ("value", "text"), [(1e-3, "10⁻³"), (1.0, "10⁰"), (1e12, "10¹²"), (2.0, "")]
)
def test_power_of_ten(value: float, text: str) -> None:
    assert style.power_of_ten(value) == text


def test_nothing_but_hippo_draws_one_figure(tmp_path: Path) -> None:
    paths = draw_all(transfer(8, "e0", names=("s4",)), tmp_path)
    assert [path.stem for path in paths] == ["transfer"] * 4


def test_unknown_figure(result: TransferResult) -> None:
    with pytest.raises(UsageError, match="expected one of transfer, error"):
        data(result, "bode")
