"""Heat maps: one scale for all strips, which cells are pale, and what the axes say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from robustssm.figures import heat_maps
from robustssm.typing import FloatArray
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


def test_cells_that_are_not_distinguishable_are_pale_and_all_texts_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = heat_maps.differences(frame(), paired(frame(), "a", "b", 1.0), "a")
    panel = Figure().subplots()
    heat_maps.draw(found, [panel], "difference", -1.0, 1.0)
    # Rows are eps 0.5 and 1, columns modes 1 to 3, of which the last is told apart.
    expected = [[heat_maps.PALE, heat_maps.PALE, 1.0]] * 2
    assert np.array_equal(np.asarray(panel.collections[0].get_alpha()), expected)
    said: list[str] = []
    monkeypatch.setattr(heat_maps, "footnote", lambda _, words: said.append(words))
    heat_maps.draw_differences(found, tmp_path / "difference", noise="fourier", task="digits")
    assert "pale: not distinguishable" in said[0]
    assert "p >= 0.05" in said[0] and "p <" not in said[0]
    picture = (tmp_path / "difference.svg").read_text()
    assert ">a better<" in picture and ">b better<" in picture
    assert picture.index(">a better<") < picture.index(">b better<")
    gallery = (ROOT / "docs" / "gallery.md").read_text()
    assert "pale where the paired tests do not distinguish the two" in gallery


def test_the_scale_of_accuracies_marks_chance(tmp_path: Path) -> None:
    heat_maps.draw_maps(frame(), tmp_path / "map", chance=0.1, noise="fourier", task="digits")
    assert ">chance<" in (tmp_path / "map.svg").read_text()


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (np.arange(1.0, 65.0), [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]),
        (np.arange(1.0, 7.0), [1, 2, 3, 4, 5, 6]),
        (np.array([1.0, 2.0, 10.0]), [1, 2, 10]),
    ],
)
def test_labels_are_all_of_a_few_modes_or_round(modes: FloatArray, expected: list[int]) -> None:
    assert list(modes[heat_maps.round_places(modes)]) == expected


def test_modes_without_round_ones_have_even_labels() -> None:
    shown = heat_maps.round_places(np.arange(0.5, 64.5, 0.61))
    assert len(shown) == 6 and shown[0] == 0


def test_panels_share_a_scale_and_hold_the_values() -> None:
    table = frame()
    axes = list(Figure().subplots(1, 2))
    heat_maps.draw(table, axes, "accuracy", 0.0, 1.0)
    for panel, (_, part) in zip(axes, table.groupby("model", sort=False), strict=True):
        mesh = panel.collections[0]
        assert mesh.get_clim() == (0.0, 1.0)
        grid = part.pivot_table("accuracy", "eps", "mode")
        assert np.array_equal(np.asarray(mesh.get_array()).reshape(2, 3), grid.to_numpy())
