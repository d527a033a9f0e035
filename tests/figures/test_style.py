"""Saving: three pictures and a table, the same bytes for the same figure, text that stays text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from robustssm.figures import robustness
from robustssm.figures.style import new_figure, save, style

FRAME = pd.DataFrame({"x": np.linspace(0.0, 1.0, 5), "y": np.linspace(0.0, 1.0, 5) ** 2 / 3.0})


def drawn() -> Figure:
    """Return a figure with one artist of each kind that the figures here have."""
    with style():
        figure, axes = new_figure(columns=2)
        left, right = axes
        left.plot(FRAME["x"], FRAME["y"], marker="o", label=r"$|G(i\omega)|$")
        left.fill_between(FRAME["x"], FRAME["y"], 1.0, alpha=0.3, hatch="//", label="ribbon")
        left.set_yscale("symlog", linthresh=0.1)
        left.legend()
        figure.colorbar(right.imshow(np.outer(FRAME["x"], FRAME["y"])), ax=right)
        right.contour(np.outer(FRAME["x"], FRAME["x"]))
        figure.suptitle("ω, 10⁻³: text\nof two lines")
    return figure


def test_the_same_figure_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for name, date in (("a", "0"), ("b", "1000000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", date)
        paths = save(drawn(), FRAME, tmp_path / name / "figure", "robustssm draw run")
        files[name] = {path.name: path.read_bytes() for path in paths}
    assert files["a"] == files["b"]
    assert list(files["a"]) == [f"figure.{kind}" for kind in ("pdf", "png", "svg", "csv")]
    starts = {"pdf": b"%PDF-", "png": b"\x89PNG", "svg": b"<?xml", "csv": b"x,y\n"}
    for kind, start in starts.items():
        assert files["a"][f"figure.{kind}"].startswith(start)
    for kind in ("pdf", "png", "svg"):
        assert b"robustssm draw run" in files["a"][f"figure.{kind}"]
    stored = pd.read_csv(tmp_path / "a" / "figure.csv")
    pd.testing.assert_frame_equal(stored, FRAME, check_exact=True)


def test_the_figures_of_a_sweep_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [
        {
            "model": model, "train_seed": 0, "task": "digits:side=8", "noise": "fourier",
            "inject": "input", "mode": mode, "mode_unit": "bin", "eps": 0.1, "eps_unit": "std",
            "n": 539, "accuracy": 0.9 - 0.01 * mode, "ci_low": 0.5, "ci_high": 0.95,
            "clean_accuracy": 0.97,
        }
        for model in ("s4d", "s4ptd") for mode in (1.0, 2.0, 5.0)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    first, second = (
        robustness.draw_all(table, tmp_path / name, chance=0.1, length=64, partial=False)
        for name in ("a", "b")
    )
    for path, other in zip(first, second, strict=True):
        assert path.read_bytes() == other.read_bytes(), path.name
