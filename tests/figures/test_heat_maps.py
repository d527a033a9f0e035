"""Heat maps: one scale for all panels, and which cells carry a dot."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from robustssm.figures import heat_maps
from tests.source_tree import ROOT


def frame() -> pd.DataFrame:
    rows = [
        {"model": model, "noise": "fourier", "inject": "input", "mode": float(mode),
         "mode_unit": "bin", "eps": eps, "eps_unit": "std", "clip": "none", "n": 50,
         "accuracy": 0.5 + 0.1 * mode * (model == "b") - 0.1 * eps}
        for model in "ab" for mode in (1, 2, 3) for eps in (0.5, 1.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def paired(found: pd.DataFrame, first: str, second: str, sign: float) -> pd.DataFrame:
    """Return tests in which mode 3 alone tells the two apart."""
    own = found[found["model"] == "a"].drop(columns=["model", "accuracy"])
    p = np.where(own["mode"] == 3.0, 0.001, 0.5)
    return own.assign(model_a=first, model_b=second, difference=-sign * 0.1, p_holm=p)


def test_differences_are_accuracies_minus_the_references() -> None:
    found = heat_maps.differences(frame(), pd.DataFrame(), "a")
    assert set(found["model"]) == {"b"} and not found["told_apart"].any()
    # One subtraction of numbers of size one.
    assert np.allclose(found["difference"], 0.1 * found["mode"], atol=1e-15)


def test_cells_are_told_apart_whichever_model_a_test_names_first() -> None:
    for first, second, sign in (("a", "b", 1.0), ("b", "a", -1.0)):
        tests = paired(frame(), first, second, sign)
        found = heat_maps.differences(frame(), tests, "a")
        assert (found["told_apart"] == (found["mode"] == 3.0)).all()


def test_pairs_of_seeds_that_disagree_tell_nothing() -> None:
    tests = [paired(frame(), "a", "b", sign) for sign in (1.0, -1.0)]
    found = heat_maps.differences(frame(), pd.concat(tests), "a")
    assert not found["told_apart"].any()


def test_dots_mark_the_lack_of_a_difference_and_all_texts_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = heat_maps.differences(frame(), paired(frame(), "a", "b", 1.0), "a")
    panel = Figure().subplots()
    heat_maps.draw(found, [panel], "difference", (-1.0, 1.0), "PuOr")
    dots = np.asarray(panel.collections[1].get_offsets())
    unclear = found[found["mode"] < 3.0]
    # Columns are modes 1 to 3, rows eps 0.5 and 1; a dot lies in the middle of its cell.
    middle = zip(unclear["mode"] - 0.5, unclear["eps"] * 2.0 - 0.5, strict=True)
    assert {tuple(dot) for dot in dots.tolist()} == set(middle)
    said: list[str] = []
    monkeypatch.setattr(heat_maps, "footnote", lambda _, words: said.append(words))
    heat_maps.draw_differences(found, tmp_path / "difference", noise="fourier", task="digits")
    assert "dots: not told apart" in said[0] and "p >= 0.05" in said[0] and "p <" not in said[0]
    gallery = (ROOT / "docs" / "gallery.toml").read_text()
    assert "dots where the paired tests do not tell the two apart" in gallery


def test_panels_share_a_scale_and_hold_the_values() -> None:
    table = frame()
    axes = list(Figure().subplots(1, 2))
    heat_maps.draw(table, axes, "accuracy", (0.0, 1.0), "viridis")
    for panel, (_, part) in zip(axes, table.groupby("model", sort=False), strict=True):
        mesh = panel.collections[0]
        assert mesh.get_clim() == (0.0, 1.0)
        grid = part.pivot_table("accuracy", "eps", "mode")
        assert np.array_equal(np.asarray(mesh.get_array()).reshape(2, 3), grid.to_numpy())
