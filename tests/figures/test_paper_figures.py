"""The paper's figures: drawn from stored tables alone, four files each."""

from pathlib import Path

import pandas as pd
import pytest

from robustssm.errors import UsageError
from robustssm.evaluations.paper import running
from robustssm.figures.paper import fig1, saving

pytestmark = pytest.mark.usefixtures("pdf_only")

# The recipes that train nothing; those that train have tests of their own beside this file.
SMALL: dict[str, dict[str, object]] = {
    "fig1": {"sizes": [8, 16], "ptd_size": 16, "points": 500, "decades": 4},
    "appendix-f": {"sizes": [4, 8, 16], "inputs": ["exp", "spike"], "output_size": 8, "times": 50},
    "bound": {"sizes": [8]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which all recipes share their stored steps."""
    return tmp_path_factory.mktemp("studies")


def stored(name: str, folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a recipe at small settings."""
    (recipe,) = running.chosen(name)
    return running.run(recipe, {**recipe.quick, **SMALL[name]}, folder)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_files_are_complete(name: str, folder: Path, tmp_path: Path) -> None:
    tables = stored(name, folder)
    first = saving.draw_all(name, tables, tmp_path / "a")
    stems = {path.stem for path in first if path.suffix == ".pdf"}
    assert stems
    for stem in stems:
        assert {p.suffix for p in first if p.stem == stem} == {".pdf", ".png", ".csv", ".svg"}
        frame = pd.read_csv(tmp_path / "a" / f"{stem}.csv")
        assert set(frame["command"]) == {f"robustssm reproduce {name}"} and "n" in frame
        assert f"robustssm reproduce {name}" in (tmp_path / "a" / f"{stem}.svg").read_text()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_findings_stand_beside_the_paper(name: str, folder: Path) -> None:
    (recipe,) = running.chosen(name)
    frame = running.compare(recipe, stored(name, folder))
    assert len(frame) and set(frame["verdict"]) <= {"agrees", "differs", "open", "measured"}
    assert frame[["quantity", "paper", "found"]].map(len).gt(0).all(axis=None)
    assert not frame["found"].str.contains("nan").any()


def test_thinning_keeps_the_spikes(folder: Path) -> None:
    tables = stored("fig1", folder)
    drawn = fig1.data(tables)
    full = tables["curves"]
    tops = [f.groupby(["init", "n", "grid"])["magnitude"].max() for f in (drawn, full)]
    pd.testing.assert_series_equal(*tops)
    assert fig1.near(tables)["offset"].abs().max() <= 0.5 * fig1.WINDOW


def test_a_recipe_without_a_figure_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"paper\.no_such"):
        saving.draw_all("no-such", {}, tmp_path)
