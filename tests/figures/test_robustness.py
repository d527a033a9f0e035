"""Robustness figures: the frame that is drawn, and what the picture says of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from robustssm.figures import robustness
from robustssm.hippo.initializations import NAMES

pytestmark = pytest.mark.usefixtures("pdf_only")


def summary(modes: tuple[int, ...], seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    rows = [
        {
            "model": model, "train_seed": seed, "task": "digits:side=8",
            "noise": "fourier" if eps else "clean", "inject": "input", "mode": float(mode),
            "mode_unit": "bin", "eps": eps, "eps_unit": "std", "n": 539,
            "accuracy": 0.9 - 0.01 * mode - eps / 5, "ci_low": 0.5, "ci_high": 0.95,
            "clean_accuracy": 0.97,
        }
        for model in ("s4d", "s4ptd") for seed in seeds for mode in modes for eps in (0, 0.1, 1.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_frame_leaves_out_the_clean_rows() -> None:
    frame = robustness.data(summary((1, 2, 3)))
    assert (frame["eps"] > 0).all() and len(frame) == 2 * 3 * 2
    assert {"accuracy", "ci_low", "ci_high", "clean_accuracy", "seeds"} <= set(frame)


def test_one_panel_a_strength_one_line_a_model() -> None:
    frame = robustness.data(summary((1, 2, 3)))
    axes = list(Figure().subplots(2, 1))
    robustness.draw_modes(frame, axes, chance=0.1, length=64)
    for panel, eps in zip(axes, (0.1, 1.0), strict=True):
        assert [text.get_text() for text in panel.texts] == [f"eps = {eps:g} std"]
        assert panel.get_ylim() == (0, 1.02)
        curves = [line for line in panel.lines if len(line.get_xdata()) == 3]
        assert len(curves) == 2 and len(panel.collections) == 2  # ribbons
        assert curves[0].get_linestyle() != curves[1].get_linestyle()
        drawn = frame[(frame["eps"] == eps) & (frame["model"] == "s4d")]["accuracy"]
        assert list(curves[0].get_ydata()) == list(drawn)
    assert "cycles per sequence" in axes[-1].get_xlabel()


def spread(modes: tuple[int, ...]) -> pd.DataFrame:
    """Three seeds that differ, in one figure."""
    table = summary(modes, seeds=(0, 1, 2))
    return table.assign(accuracy=table["accuracy"] - 0.01 * table["train_seed"])


def dots(panel: Axes) -> list[float]:
    """Heights of the dots of a panel."""
    shown = [found for found in panel.collections if isinstance(found, PathCollection)]
    return sorted(float(y) for found in shown for _, y in np.asarray(found.get_offsets()))


def test_every_training_seed_is_a_dot_where_there_are_several() -> None:
    for modes in ((1, 2, 3), (1,)):
        table = spread(modes)
        axes = list(Figure().subplots(2, 1))
        if len(modes) > 1:
            robustness.draw_modes(robustness.data(table), axes, chance=0.1, length=64)
        else:
            robustness.draw_strengths(robustness.data(table), axes[0], chance=0.1)
        found = sorted([*dots(axes[0]), *dots(axes[1])])
        assert found == sorted(table.loc[table["noise"] != "clean", "accuracy"])
    robustness.draw_modes(robustness.data(summary((1, 2))), axes, chance=0.1, length=64)
    assert not dots(axes[1])  # one seed


def test_no_two_models_look_alike(tmp_path: Path) -> None:
    """Every bundled name and some of a user's own in one figure."""
    table = summary((1, 2, 3))
    models = [*NAMES, "mine", "yours", "theirs"]
    table = pd.concat([table[table["model"] == "s4d"].assign(model=name) for name in models])
    axes = list(Figure().subplots(2, 1))
    robustness.draw_modes(robustness.data(table), axes, chance=0.1, length=64)
    curves = axes[0].lines[: len(models)]
    looks = {(str(c.get_color()), c.get_marker(), str(c._dash_pattern)) for c in curves}
    assert len(looks) == len(models)
    assert len(robustness.draw_all(table, tmp_path, chance=0.1, length=64, partial=False)) == 4


def test_the_caption_says_n_seeds_and_interval() -> None:
    table = summary((1,), seeds=(0, 1, 2))
    same = robustness.data(table)
    assert "no interval where the seeds agree" in robustness.caption(same, "fourier", "t", False)
    frame = robustness.data(table.assign(accuracy=table["accuracy"] - 0.01 * table["train_seed"]))
    text = robustness.caption(frame, "fourier", "digits:side=8", partial=True)
    for part in (
        "n = 539",
        "3 training seeds",
        "Student",
        "dots: single seeds",
        "PARTIAL",
        "chance",
    ):
        assert part in text


@pytest.mark.parametrize("modes", [(1,), (1, 2, 5)])
def test_files_and_their_data(modes: tuple[int, ...], tmp_path: Path) -> None:
    files = robustness.draw_all(summary(modes), tmp_path, chance=0.1, length=64, partial=False)
    assert {p.suffix for p in files} == {".pdf", ".png", ".svg", ".csv"}
    stored = pd.read_csv(tmp_path / "robustness.csv")
    assert len(stored) == 2 * 2 * len(modes)
