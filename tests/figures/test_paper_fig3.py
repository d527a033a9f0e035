"""Figures fig3ab and fig3c: four files each, everything inside the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from robustssm.figures.paper import fig3ab, fig3c, saving
from robustssm.figures.style import PAGE, new_figure, style
from robustssm.hippo.initializations import NAMES

pytestmark = pytest.mark.usefixtures("pdf_only")


def over_training(inits: tuple[str, ...], seeds: int) -> dict[str, pd.DataFrame]:
    """Return a table in the layout of fig3ab, numbers drawn."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "init": init,
            "seed": seed,
            "epoch": epoch,
            "condition": f"eps {eps:g}" if eps else "clean",
            "eps": eps,
            "omega": 325.426,
            "task": "digits",
            "chance": 0.1,
            "n": 539,
            "accuracy": rng.uniform(0.1, 1.0),
        }
        for init in inits
        for seed in range(seeds)
        for epoch in range(5)
        for eps in (0.0, 0.1, 1.0)
    ]
    return {"accuracies": pd.DataFrame(rows)}


def ablation(unstable: bool) -> dict[str, pd.DataFrame]:
    """Return tables in the layout of fig3c, numbers drawn."""
    rng = np.random.default_rng(0)
    cases = [("rank1", tau, 0.785 * 2 * tau / (1 + tau), True) for tau in (0.01, 0.1, 1.0)]
    cases += [("random", 1e-3, 1e-3, True), ("optimized", np.nan, 0.027, True)]
    cases += [("random", 0.1, 0.1, False)] if unstable else []
    quality, rows = [], []
    for method, parameter, norm, trained in cases:
        for seed in range(3):
            init = f"{method}-{parameter}-{seed if method == 'random' else ''}"
            quality.append(
                {
                    "init": init,
                    "method": method,
                    "parameter": parameter,
                    "seed": seed,
                    "relative_norm": norm,
                    "kappa": 1.0 / norm,
                    "status": "trained" if trained else "unstable",
                }
            )
            for eps in (0.0, 1.0) if trained else ():
                row = {"init": init, "seed": seed, "eps": eps, "task": "digits", "chance": 0.1}
                row |= {"condition": f"eps {eps:g}" if eps else "clean", "n": 539}
                rows.append(row | {"accuracy": rng.uniform(0.1, 1.0)})
    return {"quality": pd.DataFrame(quality), "accuracies": pd.DataFrame(rows)}


CASES = {
    "fig3ab": (over_training(("s4d", "s4ptd"), 3), over_training(NAMES, 1)),
    "fig3c": (ablation(unstable=True), ablation(unstable=False)),
}


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("name", sorted(CASES))
def test_files_are_complete(name: str, case: int, tmp_path: Path) -> None:
    tables = CASES[name][case]
    first = saving.draw_all(name, tables, tmp_path / "a")
    assert {path.suffix for path in first} == {".pdf", ".png", ".csv", ".svg"}
    command = f"robustssm reproduce {name}"
    assert set(pd.read_csv(tmp_path / "a" / f"{name}.csv")["command"]) == {command}
    assert command in (tmp_path / "a" / f"{name}.svg").read_text()


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("case", [0, 1])
def test_nothing_leaves_the_page(
    name: str, case: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def kept(figure: Figure, *given: object) -> list[Path]:
        drawn.append(figure)
        return []

    monkeypatch.setattr(saving, "save", kept)
    saving.draw_all(name, CASES[name][case], tmp_path)
    (figure,) = drawn
    with style():
        figure.canvas.draw()
        box = figure.get_tightbbox()
    # Inches; a hundredth is a pixel of the screen.
    assert box.x0 >= -0.01 and box.y0 >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01 and box.y1 <= figure.get_figheight() + 0.01
    assert figure.get_figwidth() == PAGE


def test_means_and_missing_intervals() -> None:
    tables = over_training(("s4d",), 1)
    frame = fig3ab.data(tables)
    values = tables["accuracies"].set_index(["condition", "epoch"])["accuracy"]
    mean = frame.set_index(["condition", "epoch"])["accuracy"]
    pd.testing.assert_series_equal(mean, values.loc[mean.index])
    assert frame["ci_low"].isna().all(), "one seed has no interval"
    assert "mean of 1 training seeds" in fig3ab.caption(frame).replace("\n", " ")


def test_unstable_sizes_are_drawn_without_accuracy() -> None:
    frame = fig3c.data(ablation(unstable=True))
    bad = frame[frame["condition"] == "unstable"]
    assert len(bad) == 1 and bad["accuracy"].isna().all() and bad["kappa"].notna().all()
    with style():
        _, axes = new_figure(columns=3)
        fig3c.draw(frame, axes)
    assert "unstable, not trained" in axes[0].get_legend_handles_labels()[1]
