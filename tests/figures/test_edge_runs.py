"""Figures of odd runs: one of everything, twelve models, failed cells, unknown accuracies."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from robustssm.evaluations.results.summary import overview
from robustssm.evaluations.results.tables import Tables
from robustssm.figures import heat_maps, robustness, sweep_figures, worst_case
from robustssm.figures.style import wrapped

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("pdf_only")]
FACTS = {"chance": 0.1, "length": 64, "partial": True}


def summary(models: int, modes: int, strengths: int, n: int = 50) -> pd.DataFrame:
    """Return a table with the columns of summary.csv; accuracies fall with eps and mode."""
    rows = [
        {
            "model": f"model-{model}", "train_seed": 0, "task": "digits:side=8",
            "noise": "fourier", "inject": "input", "mode": 1.0 + mode, "mode_unit": "bin",
            "eps": 0.1 * 3.0**eps, "eps_unit": "std", "n": n, "clip": "none",
            "accuracy": max(0.0, 0.9 - 0.1 * eps - 0.01 * mode - 0.01 * model), "ci_low": 0.1,
            "ci_high": 0.95, "clean_accuracy": 0.95, "cell": f"{model}-{mode}-{eps}",
        }
        for model in range(models) for mode in range(modes) for eps in range(strengths)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def drawn(table: pd.DataFrame, folder: Path) -> set[str]:
    files = sweep_figures.draw_tables(
        Tables(table, pd.DataFrame(), overview(table)), folder, chance=0.1, length=64, partial=True
    )
    assert all(path.stat().st_size > 0 for path in files)
    return {path.name for path in files if path.suffix == ".png"}


def test_one_of_everything(tmp_path: Path) -> None:
    assert drawn(summary(1, 1, 1, n=1), tmp_path) == {"robustness.png"}


def test_twelve_models(tmp_path: Path) -> None:
    expected = {"robustness.png", "heat-map.png", "difference.png", "worst-case.png"}
    assert drawn(summary(12, 4, 3), tmp_path) == expected


@pytest.mark.parametrize("unknown", ["one", "a model", "all", "missing"])
def test_unknown_accuracies(unknown: str, tmp_path: Path) -> None:
    table = summary(3, 5, 2)
    names = ["accuracy", "ci_low", "ci_high"]
    if unknown == "one":
        table.loc[3, names] = np.nan
    elif unknown == "a model":
        table.loc[table["model"] == "model-1", [*names, "clean_accuracy"]] = np.nan
    elif unknown == "all":
        table[[*names, "clean_accuracy"]] = np.nan
    else:
        table = table.drop(index=[3, 4]).reset_index(drop=True)
    assert len(drawn(table, tmp_path)) == 4


def test_a_missing_mode_interrupts_its_curve() -> None:
    table = summary(2, 5, 1)
    gone = (table["model"] == "model-0") & (table["mode"] == 3.0)
    axes = list(Figure().subplots(1, 1, squeeze=False)[:, 0])
    robustness.draw_modes(robustness.data(table[~gone]), axes, chance=0.1, length=64)
    curve = next(line for line in axes[0].lines if line.get_label() == "model-0")
    assert list(np.isnan(np.asarray(curve.get_ydata(), float))) == [0, 0, 1, 0, 0]


def test_lines_of_captions_fit_the_page() -> None:
    figure = Figure(figsize=(4, 2))
    text = "many words of a caption that is far too long for one line of this page " * 3
    lines = wrapped(text, figure, 6.5).splitlines()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for line in lines:
        label = figure.text(0, 0, line, fontsize=6.5)
        assert label.get_window_extent(renderer).width <= figure.bbox.width
    assert " ".join(lines) == text.strip()


def test_frames_are_what_is_drawn() -> None:
    table = summary(2, 3, 2)
    frame = robustness.data(table)
    assert len(frame) == 12 and heat_maps.drawable(frame)
    assert len(worst_case.data(overview(table))) == 4
