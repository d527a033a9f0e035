"""The overlay of accuracy loss and layer gain: its correlation, and its gains by another route."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from robustssm.checkpoints.model_names import resolve
from robustssm.evaluations.trained_layers.overlay import layer_gains, spearman
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.figures.layer_overlay import draw_overlay, telling

NUMBERS = st.lists(st.integers(-5, 5), min_size=4, max_size=12)


@settings(max_examples=30, deadline=None)
@given(NUMBERS)
def test_the_rank_correlation_is_scipys(values: list[int]) -> None:
    a = np.array(values, dtype=float)
    b = np.roll(a, 1) + 0.5 * np.arange(len(a))
    rho, p = spearman(a, b)
    if np.ptp(a) == 0.0:
        assert np.isnan(rho) and np.isnan(p)
        return
    found = [spearmanr(a, np.roll(b, k)).statistic for k in range(len(a))]
    # Both sum at most 12 products of ranks.
    assert rho == pytest.approx(found[0], abs=1e-12)
    assert p == np.mean(np.abs(found) >= abs(found[0]) - 1e-9)


def test_smooth_curves_are_not_related_by_their_smoothness() -> None:
    """Permutations would give p below 0.001 here; a third of the shifts do as well."""
    t = np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False)
    rho, p = spearman(np.sin(t), np.sin(t + 0.8))
    assert abs(rho) > 0.5 and p > 0.3


def test_gains_are_the_extremes_over_channels() -> None:
    network = resolve("s4d")[0].load().network
    theta = np.array([0.1, 0.5])
    found = layer_gains(network, 256, theta)
    gain = layer_system(network.ssm_layers()[1], 256).gain(theta)
    own = found[found["layer"] == 1].sort_values("place")
    assert np.array_equal(own["gain_max"], gain.max(0))
    assert np.array_equal(own["gain_median"], np.median(gain, 0))


def table() -> pd.DataFrame:
    rows = [
        {"model": "s4d", "train_seed": 0, "task": "t", "noise": "fourier", "mode_unit": "bin",
         "eps": eps, "eps_unit": "std", "n": 50, "mode": float(mode), "layer": layer,
         "loss": 0.1 * mode * (eps == 1.0), "gain_max": 1.0 + mode, "gain_median": 0.5,
         "theta": 0.1 * mode, "rho": 1.0, "p": 0.1, "modes": 4}
        for eps in (0.1, 1.0, 3.0) for layer in (0, 1) for mode in range(1, 5)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_strength_is_where_the_loss_varies_most() -> None:
    assert telling(table()) == 1.0


def test_without_any_loss_the_smallest_strength_is_taken(tmp_path: Path) -> None:
    unknown = table().assign(loss=np.nan)
    assert telling(unknown) == 0.1
    assert len(draw_overlay(unknown, tmp_path / "overlay")) == 4


@pytest.mark.filterwarnings("error")
def test_it_is_drawn_from_the_table_alone(tmp_path: Path) -> None:
    files = draw_overlay(table(), tmp_path / "overlay")
    assert {path.suffix for path in files} == {".pdf", ".png", ".svg", ".csv"}
