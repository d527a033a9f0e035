"""Figures at the width of a column: no text below 7 points, none beyond the paper."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from robustssm.evaluations.results.summary import overview
from robustssm.evaluations.results.tables import Tables
from robustssm.figures import sweep_figures
from robustssm.figures.layer_overlay import draw_overlay
from robustssm.figures.style import printed
from tests.figures.test_edge_runs import summary
from tests.figures.test_layer_overlay import table

COLUMN, PAGE = 3.3, 6.75
# Pixels at 100 dpi: glyphs may stand a little beyond their advance.
SLACK = 1.5


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Figure, list[Text]]]:
    """The figures that are saved, each with the texts that are drawn; no picture is written."""
    found: list[tuple[Figure, list[Text]]] = []
    texts: list[Text] = []
    draw = Text.draw

    def drawing(text: Text, renderer: Any) -> None:
        if text.get_text().strip() and text.get_visible():
            texts.append(text)
        draw(text, renderer)

    def savefig(figure: Figure, stream: BytesIO, **options: Any) -> None:
        figure.canvas.draw()
        texts.clear()
        figure.canvas.draw()
        found.append((figure, [*texts]))

    monkeypatch.setattr(Text, "draw", drawing)
    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


def draw_sweep(folder: Path, models: int, modes: int, unit: str) -> None:
    rows = summary(models, modes, 3).assign(mode_unit=unit)
    tables = Tables(rows, pd.DataFrame(), overview(rows))
    sweep_figures.draw_tables(tables, folder, chance=0.1, length=64, partial=True)


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize("unit", ["bin", "spike", "omega"])
def test_texts_of_a_sweep_are_legible_and_on_the_paper(
    drawn: list[tuple[Figure, list[Text]]], tmp_path: Path, width: float, unit: str
) -> None:
    with printed(width=width, kinds=("pdf",)):
        draw_sweep(tmp_path, 4, 12, unit)
        draw_sweep(tmp_path, 1, 1, unit)
        draw_overlay(table(), tmp_path / "overlay")
    assert len(drawn) == 6
    for figure, texts in drawn:
        assert figure.get_figwidth() == width and texts
        for text in texts:
            assert float(text.get_fontsize()) >= 7.0, text
            box = text.get_window_extent()
            assert box.x0 >= -SLACK and box.x1 <= figure.bbox.width + SLACK, text
            assert box.y0 >= -SLACK and box.y1 <= figure.bbox.height + SLACK, text


def test_on_paper_the_caption_is_a_file(
    drawn: list[tuple[Figure, list[Text]]], tmp_path: Path
) -> None:
    draw_sweep(tmp_path / "screen", 2, 1, "bin")
    with printed(captions=False, kinds=("svg",)):
        draw_sweep(tmp_path / "paper", 2, 1, "bin")
    said = [[text for text in map(Text.get_text, texts) if "test samples" in text]
            for _, texts in drawn]  # fmt: skip
    names = {path.name for path in (tmp_path / "paper").iterdir()}
    assert names == {f"robustness.{kind}" for kind in ("svg", "csv", "txt")}
    written = (tmp_path / "paper" / "robustness.txt").read_text()
    assert [" ".join(text.split()) for text in said[0]] == [written.strip()] and not said[-1]
