"""kappa against error, drawn: every row, the front, the unstable ones apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.errors import UsageError
from robustssm.figures.style import new_figure, style
from robustssm.figures.trade_off import LABELS, LOOKS, STEM, data, draw, draw_all

pytestmark = pytest.mark.usefixtures("pdf_only")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Return a study of two sizes, with what a study can miss."""
    nan = float("nan")
    columns = ["n", "method", "settings", "kappa", "relative_norm", "worst_error", "stable"]
    values = [
        (16, "rank1", "tau=0.1", 9.0, 0.1, 0.05, True, True),
        (16, "rank1", "tau=0.1, B kept", 9.0, 0.1, 0.13, True, False),
        (16, "rank1", "tau=1e-9", nan, nan, nan, nan, False),
        (16, "clipped", "tau=0.1", 8.0, 0.1, 0.06, True, True),
        (16, "random", "|E|/|A|=1", 20.0, 1.0, nan, False, False),
        (32, "given", "theirs", 8.0, 0.03, 1.3, True, True),
        (32, "corner", "|E|=1", 300.0, 0.01, 0.04, True, True),
        (32, "optimized", "", 9.0, 0.03, 0.3, True, False),
    ]
    return pd.DataFrame(values, columns=[*columns, "pareto"])


def test_data_keeps_what_has_a_condition(rows: pd.DataFrame) -> None:
    frame = data(rows)
    assert len(frame) == len(rows) - 1 and frame["stable"].dtype == bool
    assert list(frame[frame["settings"].str.contains("kept")]["method"]) == ["rank1-kept"]
    assert set(frame["method"]) <= set(LABELS)
    with pytest.raises(UsageError, match="no row"):
        data(rows[rows["kappa"].isna()])


def test_every_row_is_drawn_once(rows: pd.DataFrame) -> None:
    frame = data(rows)
    with style():
        _, axes = new_figure(columns=2)
        draw(frame, axes)
    for panel, (n, group) in zip(axes, frame.groupby("n"), strict=True):
        front, *points = panel.get_lines()
        best = group[group["pareto"]].sort_values("kappa")
        np.testing.assert_array_equal(front.get_xdata(), best["kappa"])
        np.testing.assert_array_equal(front.get_ydata(), best["worst_error"])
        drawn = np.concatenate([np.asarray(line.get_xdata()) for line in points])
        np.testing.assert_array_equal(np.sort(drawn), np.sort(group["kappa"]))
        hollow = [line for line in points if line.get_markerfacecolor() == "none"]
        assert len(hollow) == (1 if n == 16 else 0)
        assert panel.get_xscale() == panel.get_yscale() == "log"
        assert panel.get_title(loc="left") + panel.get_title() == f"n = {n}"


def test_one_marker_a_method() -> None:
    markers = [look["marker"] for look in LOOKS.values()]
    assert len(set(markers)) == len(markers)


def test_files_are_complete(rows: pd.DataFrame, tmp_path: Path) -> None:
    first = draw_all(rows, tmp_path / "a")
    names = [f"{STEM}.pdf", f"{STEM}.png", f"{STEM}.svg", f"{STEM}.csv", "study.csv"]
    assert [path.name for path in first] == names
    assert len(pd.read_csv(first[4])) == len(rows)


def test_more_sizes_than_panels(rows: pd.DataFrame, tmp_path: Path) -> None:
    many = pd.concat([rows.assign(n=n) for n in (8, 16, 32, 64)])
    assert all(path.is_file() for path in draw_all(many, tmp_path))


def test_nothing_stable(rows: pd.DataFrame, tmp_path: Path) -> None:
    assert draw_all(rows[rows["stable"].eq(False)], tmp_path)
