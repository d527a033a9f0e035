"""Names that others chose stay text, on a terminal, in Markdown, CSV, HTML and figures."""

import csv
import io
import itertools
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from robustssm.checkpoints.model_names import resolve
from robustssm.cli import Commands
from robustssm.commands.baseline import baseline
from robustssm.commands.compare import compare
from robustssm.commands.draw import draw
from robustssm.commands.show import report, show
from robustssm.errors import UsageError
from robustssm.evaluations.baselines.files import read_baseline
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.plain_text import figure_label, markdown, one_line, visible
from tests.evaluations.written_runs import EPS, flat, share, write_run

HOSTILE = [
    "[/red]", "run[a]", "run[b]", "[bold]x", "<b>b</b>", "<script>alert(1)</script>",
    "# heading", "- item", "1. one", "> quote", "---", "| a | b |", "a|b", "`code`", "*x*", "_x_",
    "__init__", "![x](http://x/y.png)", "[x](javascript:y)", "[x]: http://y", "&lt;", "&amp;",
    "$x^2$", "$\\frac{$", "a$b", r"\alpha", "=cmd()", "+1", "@a", "_hidden", "%{y}", "{{ 7 * 7 }}",
    "a\x1b[2Jb", "a\nb", "a\rb", "\u202eabc", "\x00", "na\u00efve", "\u6a21\u578b", "a b",
    "~~x~~", "http://x.y/z", "NaN", "None", "NA", "-", "C:\\x",
]  # fmt: skip
names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec="utf-8"), min_size=1,
                                                    max_size=12))  # fmt: skip
parser = MarkdownIt("commonmark").enable("table").enable("strikethrough")
OURS = {"Models", "Overview", "Worst modes", "Curves", "Figures", "Paired comparison",
        "What was run", "What is not known", "How to go on"}  # fmt: skip


def invoke(*arguments: object) -> Result:
    group = Commands("robustssm")
    for command in (baseline, compare, draw, report, show):
        group.add_command(command)
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def tokens(text: str) -> list[Any]:
    whole = parser.parse(text)
    return [*whole, *itertools.chain.from_iterable(token.children or () for token in whole)]


def check_markdown(text: str, headings: set[str] | None = None) -> None:
    """No HTML, link, picture, code, emphasis or heading but those of the project itself."""
    found = tokens(text)
    kinds = {token.type for token in found}
    assert kinds.isdisjoint({"html_inline", "html_block", "link_open", "image", "code_inline",
                             "em_open", "strong_open", "s_open", "blockquote_open", "hr",
                             "ordered_list_open"})  # fmt: skip
    if headings is not None:
        places = [k for k, token in enumerate(found) if token.type == "heading_open"]
        assert {found[k + 1].content for k in places[1:]} <= headings


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names, names)
@example("[/red]", "run[a]")
@example("run[a]", "run[b]")
@example("<b>b</b>", "# heading")
@example("a\x1b[2Jb", "\u202eabc")
def test_a_name_is_text_everywhere(first: str, second: str) -> None:
    if first == second:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        write_run(path, {(first, 0): flat(0.9, 0.5, 0.2), (second, 0): flat(0.8, 0.4, 0.2)},
                        perturbation="Fourier(mode=1)", noise=f"n {first}")  # fmt: skip
        results = {style: invoke("show", path, "--format", style)
                   for style in ("table", "md", "csv", "json")}  # fmt: skip
        results["compare"] = invoke("compare", path)
        results["compare md"] = invoke("compare", path, "--format", "md")
        results["report"] = invoke("report", path)
        for how, result in results.items():
            assert result.exception is None or isinstance(result.exception, SystemExit), how
            shown = result.output if how not in ("csv", "json") else result.stderr
            assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown) is None, how
        if not (one_line(first) and one_line(second)):
            assert all(result.exit_code in (2, 4) for result in results.values())
            return
        assert all(result.exit_code == 0 for result in results.values()), results
        for name in (first, second):
            assert name in results["table"].stdout and name in results["compare"].stdout
        rows = list(csv.DictReader(io.StringIO(results["csv"].stdout)))
        assert {row["model"] for row in rows} == {first, second}
        overview = json.loads(results["json"].stdout)["overview"]
        assert {row["model"] for row in overview} == {first, second}
        check_markdown((path / "report.md").read_text(), OURS)
        check_markdown(results["md"].stdout)
        check_markdown(results["compare md"].stdout)


@given(names)
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    for text in (markdown(name), f"x {markdown(name)} y", f"- {markdown(name)}"):
        check_markdown(text)
    words = " ".join(visible(name, keep="\n\t").split())
    (line,) = [t for t in parser.parse(f"x {markdown(name)}") if t.type == "inline"]
    assert "".join(child.content for child in line.children or ()).split() == ["x", *words.split()]


def test_figures_and_baselines_take_any_name(tmp_path: Path) -> None:
    kept = [name for name in HOSTILE if one_line(name)]
    curves = {(name, 0): {(mode, eps): share(0.9) for mode in (1.0, 2.0) for eps in EPS[:2]}
              for name in kept}  # fmt: skip
    run = write_run(tmp_path / "run", curves, noise="$n_ <b>", perturbation="Fourier(mode=1)")
    content = json.loads((run.path / "manifest.json").read_text()) | {"length": 64}
    (run.path / "manifest.json").write_text(json.dumps(content))
    result = invoke("draw", run.path, "--figures", "robustness,worst-case")
    assert result.exit_code == 0, result.output
    svg = next((run.path / "figures").glob("robustness*.svg")).read_text()
    assert "&lt;script&gt;alert(1)" in svg and "$x^2$" in svg and "_hidden" in svg
    assert invoke("report", run.path).exit_code == 0
    one = write_run(tmp_path / "one", {("[/red] <b>", 0): {(1.0, 0.1): share(0.5)}},
                    perturbation="Fourier(mode=1)")  # fmt: skip
    result = invoke("baseline", one.path, "-o", tmp_path / "b.json")
    assert result.exit_code == 0, result.output
    assert read_baseline(tmp_path / "b.json").models == ["[/red] <b>"]


@pytest.mark.parametrize("name", ["$x$", "a$b", "_x", "$\\frac{$"])
def test_a_label_of_a_figure_is_drawn_as_it_is(name: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], label=figure_label(name))
    (text,) = axes.legend().get_texts()
    figure.canvas.draw()
    drawn, is_formula = text._preprocess_math(text.get_text())  # type: ignore[attr-defined]
    assert drawn.strip() == name and not is_formula


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "\u202eb"])
def test_a_model_is_not_named_by_control_characters(name: str) -> None:
    with pytest.raises(UsageError, match="control character"):
        resolve(f"{name}=model.safetensors")


def test_errors_of_others_move_no_cursor(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9, 0.5)})
    cell = RunDirectory(run.path).plan()["cell"].iloc[-1]
    run.cell_path(cell).unlink()
    run.error_path(cell).parent.mkdir()
    record = {"error": "\x1b[2J<b>boom</b> [/red] \udcff", "traceback": "\x1b]0;title\x07"}
    run.error_path(cell).write_text(json.dumps(record))
    content = json.loads((run.path / "manifest.json").read_text())
    argv = ["sweep", "--model", "\udcff\n# x", "--noise", "`a`"]
    (run.path / "manifest.json").write_text(json.dumps(content | {"argv": argv}))
    for words in (["show"], ["show", "--errors"], ["show", "--format", "md"], ["report"],
                  ["report", "--html"]):  # fmt: skip
        result = invoke(*words, run.path)
        assert result.exit_code == 0 and "\x1b" not in result.output, result.output
    text = (run.path / "report.md").read_text()
    assert "\x1b" not in text
    check_markdown(text, OURS)
