"""The code of README.md, docs/python.md and the notebooks runs, and shows what it ends with."""

import ast
import json
import re
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))

HTML = ("text/html", "_repr_html_")


def run_cell(code: str, known: dict[str, object]) -> object:
    """Run a cell; return the value of the expression that it ends with, None without one."""
    body = ast.parse(code).body
    last = body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(code, "cell", "exec"), known)
        return None
    exec(compile(ast.Module(body[:-1], []), "cell", "exec"), known)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), known)


def test_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    assert len(blocks) >= 7
    known: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        run_cell(block, known)
    assert Path("page.md").is_file() and "unknown" in capsys.readouterr().out
    names = re.findall(r"`(\w+)`", (DOCS / "python.md").read_text().partition("## Models")[0])
    import robustssm as rs

    assert {*rs.__all__} - {"__version__"} <= {*names}


def test_the_readme(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(checkpoints["s4d"], "mine.safetensors")
    shutil.copy(checkpoints["s4ptd-rank1"], "other.safetensors")
    text = (DOCS.parent / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    known: dict[str, object] = {"__name__": "readme"}
    run_cell(block, known)
    assert Path("robustness.pdf").is_file() and not known["run"].errors  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells run in order; what one ends with has a table or a picture for a notebook."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    known: dict[str, object] = {"__name__": "notebook"}
    settings = dict(mpl.rcParams)
    for cell in code:
        shown = run_cell("".join(cell["source"]), known)
        kinds = [one["output_type"] for one in cell["outputs"]]
        if shown is None:
            assert kinds in ([], ["stream"])
            continue
        assert kinds == ["execute_result"]
        data = cell["outputs"][0]["data"]
        kind, method = ("image/png", "_repr_png_") if "image/png" in data else HTML
        assert kind in data and getattr(shown, method)()
    assert dict(mpl.rcParams) == settings


def test_there_are_two_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["fragile", "transfer"]
