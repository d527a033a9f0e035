"""Worst-case curves: naive and cross-fitted values of the overview, as they stand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from robustssm.figures import worst_case


def overview() -> pd.DataFrame:
    rows = [
        {"model": model, "noise": "fourier", "n": 50, "eps": eps, "eps_unit": "std", "modes": 3,
         "seeds": 2, "acc_worst_over_modes": 0.5, "acc_worst_crossfit": 0.55, "ci_low": 0.4,
         "ci_high": 0.7, "by_seed": "0.5 0.6"}
        for model in ("s4d", "s4ptd") for eps in (0.1, 1.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_single_mode_is_no_worst_case() -> None:
    assert worst_case.data(overview().assign(modes=1)).empty
    assert len(worst_case.data(overview())) == 4


def test_both_curves_of_every_model() -> None:
    axes = Figure().subplots()
    worst_case.draw(overview(), axes, chance=0.1)
    values = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    for expected in (0.5, 0.55):
        assert sum(len(v) == 2 and bool((v == expected).all()) for v in values) == 2
    assert len(axes.containers) == 2  # error bars, one set a model
    dots = [shown.get_offsets() for shown in axes.collections if isinstance(shown, PathCollection)]
    assert [sorted(np.asarray(own)[:, 1]) for own in dots] == [[0.5, 0.5, 0.6, 0.6]] * 2


def test_the_note_counts_the_seeds(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"chance": 0.1, "noise": "fourier", "task": "t"}
    worst_case.draw_worst(overview(), tmp_path / "several", **facts)
    single = overview().assign(seeds=1, by_seed="0.55")
    worst_case.draw_worst(single, tmp_path / "single", **facts)
    several, one = ((tmp_path / f"{name}.svg").read_text() for name in ("several", "single"))
    assert "2 training seeds (dots)" in several
    assert "1 training seed;" in one and "dots" not in one
    assert "cross-fitted</" in one and "naive</" in one  # lines of the key
