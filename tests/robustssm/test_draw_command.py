"""`robustssm draw`: figures of a run again, and what is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from robustssm.commands.draw import FIGURES, draw
from robustssm.commands.sweep import sweep
from robustssm.errors import RobustssmError
from robustssm.figures.sweep_figures import KINDS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("draw") / "run"
    words = "--model s4d/0,s4ptd/0 --noise fourier --modes 1-4 --eps 0.3,1 -L 20 -j 1"
    result = CliRunner().invoke(sweep, [*words.split(), "-o", str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return path


def test_the_same_figures_again(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(draw, [str(run), "-o", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    drawn = {path.name for path in tmp_path.iterdir()}
    assert {
        f"{name}.svg" for name in ("robustness", "heat-map", "difference", "worst-case")
    } < drawn
    for path in tmp_path.iterdir():
        if path.suffix != ".csv":  # tables read back may print a number in another way
            assert path.read_bytes() == (run / "figures" / path.name).read_bytes(), path.name


def test_the_overlay_reads_the_checkpoints(run: Path, tmp_path: Path) -> None:
    words = [str(run), "--figures", "layer-response", "-o", str(tmp_path)]
    assert CliRunner().invoke(draw, words, catch_exceptions=False).exit_code == 0
    assert (tmp_path / "layer-response.csv").is_file()


def test_figures_for_a_column_have_its_width_and_their_captions_beside(
    run: Path, tmp_path: Path
) -> None:
    words = "--figures worst-case --width 3.3 --style paper --format svg --format pdf -o"
    result = CliRunner().invoke(
        draw, [str(run), *words.split(), str(tmp_path)], catch_exceptions=False
    )
    assert result.exit_code == 0
    names = {f"worst-case.{kind}" for kind in ("svg", "pdf", "csv", "txt")}
    assert {path.name for path in tmp_path.iterdir()} == names
    picture = (tmp_path / "worst-case.svg").read_text()
    assert 'width="237.6pt"' in picture  # 3.3 inches of 72 points
    caption = (tmp_path / "worst-case.txt").read_text()
    assert "n = 20 test samples" in caption and "n = 20" not in picture.partition("</metadata>")[2]


@pytest.mark.parametrize("words", [["--figures", "pie"], ["--reference", "nobody"]])
def test_refusals_name_what_was_expected(words: list[str], run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(draw, [str(run), "-o", str(tmp_path), *words])
    assert result.exit_code != 0
    said = result.output + str(result.exception)
    assert isinstance(result.exception, (RobustssmError, SystemExit)) and "expected" in said


def test_the_names_of_figures_agree() -> None:
    assert FIGURES[:4] == KINDS
