"""Robustness figures: the frame that is drawn, and what the picture says of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from robustssm.evaluations.results.cell_reader import spike_frequencies
from robustssm.evaluations.statistics.intervals import in_words
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
        assert panel.get_title() == f"eps = {eps:g} std" and not panel.texts
        lowest = min(frame.loc[frame["eps"] == eps, "ci_low"])
        assert panel.get_ylim()[0] <= lowest and panel.get_ylim()[1] == 1.02
        curves = [line for line in panel.lines if len(line.get_xdata()) == 3]
        assert len(curves) == 2 and len(panel.collections) == 2  # ribbons
        assert curves[0].get_linestyle() != curves[1].get_linestyle()
        drawn = frame[(frame["eps"] == eps) & (frame["model"] == "s4d")]["accuracy"]
        assert list(curves[0].get_ydata()) == list(drawn)
    assert "cycles per sequence" in axes[-1].get_xlabel()


def test_the_clean_accuracy_of_every_model_stands_at_the_left_of_the_first_mode() -> None:
    frame = robustness.data(summary((1, 2, 3)))
    axes = list(Figure().subplots(2, 1))
    robustness.draw_modes(frame, axes, chance=0.1, length=64)
    for panel in axes:
        marks = [line for line in panel.lines if len(line.get_xdata()) == 1]
        assert [float(line.get_ydata()[0]) for line in marks] == [0.97, 0.97]
        assert len({float(line.get_xdata()[0]) for line in marks}) == 2
        assert all(float(line.get_xdata()[0]) < 1.0 for line in marks)


def test_spikes_are_points_at_places_that_omega_and_number_name() -> None:
    frame = robustness.data(summary((1, 2, 7)).assign(mode_unit="spike"))
    axes = list(Figure().subplots(2, 1))
    spikes = {1.0: 325.426, 2.0: 107.08, 7.0: 19.45}
    robustness.draw_modes(frame, axes, chance=0.1, length=64, spikes=spikes)
    labels = [label.get_text() for label in axes[-1].get_xticklabels()]
    assert labels == ["clean", "325.4\n(1)", "107.1\n(2)", "19.45\n(7)"]
    assert list(axes[-1].get_xticks()) == [-3, 0, -1, -2]  # omega rises to the right
    assert "rad per unit time" in axes[-1].get_xlabel()
    for panel in axes:
        assert all(
            line.get_linestyle() == "None" for line in panel.lines if line.get_marker() in "sv"
        )
        assert len(panel.containers) == 2  # bars, one set a model
    robustness.draw_modes(frame, axes, chance=0.1, length=64)
    labels = [label.get_text() for label in axes[-1].get_xticklabels()]
    assert labels == ["clean", "1", "2", "7"]


def test_frequencies_of_spikes_that_models_do_not_share_are_left_out() -> None:
    plan = pd.DataFrame(
        {
            "mode_unit": ["spike", "spike", "spike", "spike", "bin", "spike"],
            "mode": [1.0, 1.0, 2.0, 2.0, 1.0, 3.0],
            "perturbation": ["Resonance(omega=5.5)", "Resonance(omega=5.5)", "Resonance(omega=2)",
                             "Resonance(omega=3)", "Fourier(mode=1)", "Resonance(omega=x)"],
        }
    )  # fmt: skip
    assert spike_frequencies(plan) == {1.0: 5.5} and spike_frequencies(plan.iloc[:0]) == {}


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
    curves = [line for line in axes[0].lines if len(line.get_xdata()) == 3][: len(models)]
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
        "(dots)",
        "PARTIAL",
        "chance",
    ):
        assert part in text


def test_the_caption_knows_intervals_over_seeds_of_training_and_noise() -> None:
    table = summary((1,), seeds=(0, 1, 2))
    draws = [in_words(np.array([0.5, 0.6 + 0.01 * seed])) for seed in table["train_seed"]]
    frame = robustness.data(table.assign(by_noise_seed=draws, noise_seeds=2))
    text = robustness.caption(frame, "fourier", "digits:side=8", partial=False)
    assert "Student interval over seeds of training and noise" in text


@pytest.mark.parametrize("modes", [(1,), (1, 2, 5)])
def test_files_and_their_data(modes: tuple[int, ...], tmp_path: Path) -> None:
    files = robustness.draw_all(summary(modes), tmp_path, chance=0.1, length=64, partial=False)
    assert {p.suffix for p in files} == {".pdf", ".png", ".svg", ".csv"}
    stored = pd.read_csv(tmp_path / "robustness.csv")
    assert len(stored) == 2 * 2 * len(modes)
