"""Figures of what reviewers asked for: from stored tables alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from scipy import stats

from robustssm.evaluations.paper.fig3_accuracy import CLEAN
from robustssm.evaluations.paper.reviewers_sweep import RMS, SINUSOID, WHITE, paired
from robustssm.figures.paper import reviewers, saving
from robustssm.figures.style import new_figure

pytestmark = pytest.mark.usefixtures("pdf_only")

MODELS = ("s4d", "s4ptd-random", "s5", "s5ptd")
OMEGA = (1.0, 40.0, 325.4, 900.0)
N = 60


def row(rng: np.random.Generator, share: float) -> dict[str, object]:
    """Return what a cell of N samples says."""
    right = rng.random(N) < share
    return {"n": N, "correct": int(right.sum()), "accuracy": right.mean()} | {
        "right": np.packbits(right).tobytes()
    }


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Return tables in the recipe's layout: s4d fails at the third frequency."""
    rng = np.random.default_rng(0)
    sweep, energy, poles = [], [], []
    for model in MODELS:
        for seed in range(3):
            who = {"model": model, "seed": seed}
            clean = {"noise": CLEAN, "eps": 0.0, "omega": np.nan, "kind": "", "number": 0}
            sweep.append(who | clean | row(rng, 0.95))
            for eps in (0.3, 1.0):
                for omega in OMEGA:
                    at = omega == OMEGA[2]
                    share = 0.2 if at and eps == 1.0 and model == "s4d" else 0.95
                    where = {"kind": "spike" if at else "grid", "number": int(at)}
                    noisy = {"noise": SINUSOID, "eps": eps, "omega": omega}
                    sweep.append(who | noisy | where | row(rng, share))
                for noise, omega in ((SINUSOID, 325.4), (SINUSOID, 81.35), (WHITE, np.nan)):
                    what = {"noise": noise, "omega": omega, "eps": eps * RMS, "amplitude": eps}
                    energy.append(who | what | row(rng, 0.9))
    for init in ("s4d", "s4ptd"):
        for seed in range(3):
            for epoch in range(4):
                for layer in range(2):
                    moved = 0.1 * epoch * (1 + layer)
                    place = {"imag_low": 325.0, "imag_median": 325.4 + moved, "imag_high": 326.0}
                    within = {"within": 3 - (epoch > 2), "channels": 4, "moved_mean": moved}
                    who = {"init": init, "seed": seed, "epoch": epoch, "layer": layer}
                    poles.append(who | place | within | {"omega": 325.4})
    frame = pd.DataFrame(sweep)
    return {
        "sweep": frame,
        "energy": pd.DataFrame(energy),
        "trajectories": pd.DataFrame(poles),
        "s5": paired(frame, [("s5ptd", "s5")]),
        "random": paired(frame, [("s4ptd-random", "s4d")]),
    }


def test_files_are_complete(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    first = saving.draw_all("reviewers", tables, tmp_path / "a")
    stems = {path.stem for path in first}
    assert stems == {f"reviewers-{part}" for part in ("sweep", "pairs", "poles", "energy")}
    assert len(first) == 16
    for stem in stems:
        frame = pd.read_csv(tmp_path / "a" / f"{stem}.csv")
        assert set(frame["command"]) == {"robustssm reproduce reviewers"}


def test_drawn_accuracies_are_means_with_students_interval(
    tables: dict[str, pd.DataFrame],
) -> None:
    drawn, stored = reviewers.sweep_data(tables), tables["sweep"]

    def at(frame: pd.DataFrame) -> pd.DataFrame:
        same = (frame["model"] == "s4d") & (frame["omega"] == OMEGA[2]) & (frame["eps"] == 1.0)
        return frame[same]

    values = at(stored)["accuracy"]
    (line,) = at(drawn).itertuples()
    # A mean of three numbers, and scipy's own interval.
    assert line.accuracy == pytest.approx(values.mean(), rel=1e-14)
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert [line.ci_low, line.ci_high] == pytest.approx([max(low, 0.0), high], rel=1e-12)
    assert line.seeds == 3 and line.n == N


def test_a_diamond_is_where_every_seed_says_the_same(
    tables: dict[str, pd.DataFrame],
) -> None:
    frame = reviewers.pairs_data(tables)
    said = frame[frame["says"] != 0]
    # 0.95 against 0.2 of 60 samples: a chance of no significant difference is below 1e-6.
    assert list(said["omega"]) == [OMEGA[2]] and set(said["a"]) == {"s4ptd-random"}
    assert set(said["says"]) == {1} and set(said["eps"]) == {1.0}
    _, axes = new_figure(columns=2)
    reviewers.draw_pairs(frame, axes)
    diamonds = [line for panel in axes for line in panel.lines if line.get_marker() == "D"]
    dots = [shown for panel in axes for shown in panel.collections
            if isinstance(shown, PathCollection)]  # fmt: skip
    # 3 seeds at every frequency and strength of two pairs.
    assert sum(len(np.asarray(shown.get_offsets())) for shown in dots) == 3 * len(frame)
    assert sum(np.size(line.get_xdata()) for line in diamonds) == 1


def test_poles_are_counted_over_layers_and_seeds(tables: dict[str, pd.DataFrame]) -> None:
    frame = reviewers.poles_data(tables).set_index(["init", "epoch"])
    assert set(frame["seeds"]) == {3} and set(frame["layers"]) == {2}
    # Ratios of small integers.
    assert frame.loc[("s4d", 0), "share"] == 0.75 and frame.loc[("s4d", 3), "share"] == 0.5
    # 0.1 * 3 * (1 + 2) / 2 in binary.
    assert frame.loc[("s4d", 3), "moved_mean"] == pytest.approx(0.45, abs=1e-12)
