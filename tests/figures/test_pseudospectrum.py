"""The pseudospectrum figure: its frame, its artists and its files; no pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.evaluations.initializations.pseudospectrum import (
    PseudospectrumResult,
    pseudospectrum,
)
from robustssm.figures import style
from robustssm.figures.pseudospectrum import data, draw, draw_all, levels

pytestmark = pytest.mark.usefixtures("pdf_only")

NAMES = ("hippo", "s4d", "s4ptd-rank1", "s4ptd")


@pytest.fixture(scope="module")
def result() -> PseudospectrumResult:
    # Nodes fall on eigenvalues: -inf in the data, drawn at the floor.
    return pseudospectrum(8, NAMES, (-10.0, 2.0, -4.0, 4.0), (13, 9))


def test_frame_holds_the_result(result: PseudospectrumResult) -> None:
    frame = data(result)
    for name, known in result.systems.items():
        rows = frame[frame["init"] == name]
        assert dict(rows["kind"].value_counts()) == {"grid": 117, "eigenvalue": 8, "boundary": 190}
        grid = rows[rows["kind"] == "grid"]
        np.testing.assert_array_equal(grid["log10_sigma"], known.log10_sigma.ravel())
        np.testing.assert_array_equal(grid["re"].unique(), known.real)
        assert set(rows["accuracy"]) == {known.accuracy}
    assert np.isneginf(frame["log10_sigma"]).any()


def test_drawing_shows_the_frame(result: PseudospectrumResult) -> None:
    frame = data(result)
    before = frame.copy()
    with style.style():
        figure, axes = style.new_figure(columns=4)
        draw(frame, axes)
    pd.testing.assert_frame_equal(frame, before)
    for axis, (name, known) in zip(axes, result.systems.items(), strict=True):
        assert axis.get_title(loc="left") == f"{name}\n{known.accuracy}"
        poles = axis.lines[-1]
        np.testing.assert_array_equal(poles.get_xdata(), known.matrix.eigenvalues.real)
    caption = figure.get_supxlabel()
    assert "n = 8" in caption and "13 x 9" in caption


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 1.5), (-47.0, 1.5), (-190.0, 2.0), (0.1, 0.2), (1.0, 1.0)]
)
def test_levels_lie_inside_and_are_few(low: float, high: float) -> None:
    steps, deep = levels(pd.DataFrame({"log10_sigma": [low, high, np.nan, -np.inf]}))
    assert 2 <= len(steps) <= 18
    assert low <= steps[0] and steps[-1] <= max(high, low + 1e-3)
    # Equal steps, whose rounding is that of numbers of size 200; the depths are below.
    for found in (steps, deep):
        gaps = np.diff(found)
        assert np.all(gaps > 0.0) and np.allclose(gaps, gaps[:1], rtol=1e-9)
    assert len(deep) <= 6 and np.all(deep < steps[0]) and np.all(deep > low)


def test_files_are_complete(result: PseudospectrumResult, tmp_path: Path) -> None:
    first = draw_all(result, tmp_path / "a")
    names = [f"pseudospectrum.{kind}" for kind in ("pdf", "png", "svg", "csv")]
    assert [path.name for path in first] == names
