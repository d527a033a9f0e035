"""`robustssm report RUN --html`: one page that stands alone, whatever the run holds."""

import base64
import io
import json
import re
import sys
import zlib
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

pytest.importorskip("plotly", reason="the page needs plotly: pip install 'robustssm[html]'")

from robustssm.attacks import Fourier
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.cli import main
from robustssm.commands.show import report
from robustssm.errors import UsageError
from robustssm.evaluations.reports import html_page
from robustssm.evaluations.reports.html_curves import curve_figures, web_look
from robustssm.evaluations.results.cell_reader import digest_cells
from robustssm.evaluations.results.inspection import Inspection, inspect
from robustssm.evaluations.results.paired_tests import paired_tests
from robustssm.evaluations.results.summary import over_seeds, perturbed, summarise
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import write_parquet
from robustssm.figures.looks import look, model_looks
from robustssm.figures.robustness import draw_modes
from robustssm.hippo.initializations import NAMES
from tests.evaluations.written_runs import flat, write_run

HOSTILE = "</script><script>boom()</script><b a='\"&"
VOID = {"meta", "link", "img", "br", "input", "line"}


class Document(HTMLParser):
    """What a page holds: tags with attributes, the texts of each tag; unclosed tags are found."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    def said(self, *within: str) -> list[str]:
        return [text for tag, text in self.texts if tag in within]

    def words(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style"))

    def data(self) -> Any:
        (text,) = [t for tag, t in self.texts if tag == "script" and t.startswith('[{"data"')]
        return json.loads(text)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of all models in all panels of all figures."""
        return [trace for figure in self.data() for trace in figure["data"] if "text" in trace]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date that stands still, and a short library: its text is the same in every page."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "/* plotly </script> */")


def page(state: Inspection) -> str:
    return html_page.page(state, model_looks, state.run.path)


def document(run: RunDirectory) -> Document:
    """Return the page of a run; what holds for every page is asserted here."""
    found = Document(page(inspect(run.path)))
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(a.get("scope") in ("col", "row") for a in found.all("th"))
    assert all(image.get("alt") for image in found.all("img"))
    ids = [a["id"] for _, a in found.tags if "id" in a]
    for _, attributes in found.tags:
        assert (attributes.get("src") or "data:").startswith("data:")
        link = attributes.get("href") or "data:"
        inside = link.startswith("data:") or link[1:] in ids
        assert inside or (run.path / unquote(link)).is_file()
    assert len(ids) == len(set(ids))
    assert not re.search(r"\bnan\b", found.words(), re.IGNORECASE)
    return found


def relabel(run: RunDirectory, old: str, new: str) -> None:
    """Call a model of a written run by a name that no file could have."""
    plan = run.plan()
    write_parquet(run.path / "plan.parquet", plan.replace({"model": {old: new}}))


def change(run: RunDirectory, **facts: Any) -> None:
    path = run.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def fail(run: RunDirectory, cell: str, error: str) -> None:
    (run.path / "cells" / f"{cell}.parquet").unlink()
    run.error_path(cell).parent.mkdir(exist_ok=True)
    run.error_path(cell).write_text(json.dumps({"cell": cell, "error": error, "traceback": ""}))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Two models of two training seeds, two modes, three strengths."""
    curves = {(m, s): flat(0.9, 0.8, 0.4 + 0.05 * s) for m in ("a", "b") for s in (0, 1)}
    return write_run(tmp_path / "run", curves)


def test_the_curves_are_those_of_the_summary(run: RunDirectory) -> None:
    """Every point, interval and count of `over_seeds` is in the data of the figure, and no more."""
    frame = over_seeds(perturbed(summarise(run, digest_cells(run))))
    found = document(run)
    (figure,) = found.data()
    assert figure["label"] == "fourier, at input"
    names = [note["text"] for note in figure["layout"]["annotations"]]
    assert names == [f"eps {eps:g} std" for eps in sorted(set(frame["eps"]))]
    panels = {f"y{k + 1 if k else ''}": name for k, name in enumerate(names)}
    points = {
        (line["legendgroup"], panels[line["yaxis"]], x): (y, text)
        for line in found.lines()
        for x, y, text in zip(line["x"], line["y"], line["text"], strict=True)
    }
    assert len(points) == len(frame) == 12
    for row in frame.itertuples():
        y, text = points[row.model, f"eps {row.eps:g} {row.eps_unit}", row.mode]
        # The page has six digits.
        assert y == pytest.approx(row.accuracy, rel=1e-5)
        ends = f"[{row.ci_low:.3f}, {row.ci_high:.3f}]" if row.ci_low == row.ci_low else "-"
        kind = ", interval over seeds (Student)" if row.ci_low == row.ci_low else ""
        assert text == f"95% interval {ends}<br>n = {row.n}, seeds: {row.seeds}{kind}"
        levels = [
            trace["y"]
            for trace in figure["data"]
            if "clean accuracy" in trace.get("hovertemplate", "")
            and (trace["legendgroup"], panels[trace["yaxis"]])
            == (row.model, f"eps {row.eps:g} std")
        ]
        assert levels == [[pytest.approx(row.clean_accuracy, rel=1e-5)] * 2]


def test_single_seeds_are_dots_in_the_colour_of_their_model(run: RunDirectory) -> None:
    """As many at each mode as there are seeds, at the accuracies of the cells; n and k are said."""
    found = document(run)
    (figure,), plan = found.data(), run.plan()
    dots = [
        trace for trace in figure["data"] if "one training seed" in trace.get("hovertemplate", "")
    ]
    strengths = sorted(set(plan["eps"]) - {0.0})
    assert [trace["legendgroup"] for trace in dots] == ["a", "b"] * len(strengths)
    for number, trace in enumerate(dots):
        eps = strengths[number // 2]
        cells = plan[(plan["model"] == trace["legendgroup"]) & (plan["eps"] == eps)]
        expected = sorted(
            (row.mode, run.rows(row.cell)["correct"].mean()) for row in cells.itertuples()
        )
        assert len(trace["x"]) == len(expected) == 4
        points = sorted(zip(trace["x"], trace["y"], strict=True))
        np.testing.assert_allclose(points, expected, rtol=1e-5)
    colours = {line["name"]: line["line"]["color"] for line in found.lines()}
    assert all(trace["marker"]["color"] == colours[trace["name"]] for trace in dots)
    assert "Dots: single training seeds." in found.words()
    assert "n = 40 test samples, k = 2 training" in found.words()


def test_the_figures_are_such_that_plotly_knows(tmp_path: Path) -> None:
    """Plotly's own check of names and values; a model stands once in the legend."""
    import plotly.graph_objects as go

    curves = {(m, 0): flat(0.9, 0.8, 0.4) for m in ("a", "b")}
    for unit in ("bin", "spike"):
        run = write_run(tmp_path / unit, curves, mode_unit=unit)
        (figure,) = document(run).data()
        go.Figure({"data": figure["data"], "layout": figure["layout"]})
        legend = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
        assert legend == ["a", "b"]
        ribbons = [trace for trace in figure["data"] if trace.get("fill") == "toself"]
        bars = [trace for trace in figure["data"] if "error_y" in trace]
        assert (len(ribbons), len(bars)) == ((6, 0) if unit == "bin" else (0, 6))


def test_spikes_are_categories_named_by_omega_and_number(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9)}, mode_unit="spike")
    frame = over_seeds(perturbed(summarise(run, digest_cells(run))))
    (figure,) = curve_figures(frame, 0.1, model_looks, {1.0: 325.426, 2.0: 107.08})
    names = ["107.1 (2)", "325.4 (1)"]  # omega rises
    assert figure["layout"]["xaxis"]["categoryarray"] == names
    (line, *_) = [trace for trace in figure["data"] if "text" in trace]
    assert line["x"] == names and line["mode"] == "markers"


def test_a_page_says_what_was_run(run: RunDirectory) -> None:
    argv = ["sweep", "--model", "a,b", "--noise", "fourier(mode)", "-o", "x y"]
    change(run, argv=argv, versions={"torch": "9.9"}, partial=True, limit=40, task="t:1")
    found = document(run)
    words = found.words()
    assert "robustssm sweep --model a,b --noise 'fourier(mode)' -o 'x y'" in found.said("code")
    assert "2023-11-14" in words  # 1700000000 s
    assert found.said("title") == found.said("h1") and "PARTIAL" in found.said("title")[0]
    for text in ("version of torch", "9.9", "first 40", "t:1", "worst (naive)"):
        assert text in words
    plan = run.plan()
    for checkpoint in plan["checkpoint"].unique():
        assert checkpoint[:12] in found.said("td")
    headings = found.said("h2")
    assert headings.index("Curves") == 0 and headings.index("Models") > headings.index("Overview")


def test_the_paired_tests_are_those_of_the_run(run: RunDirectory) -> None:
    """Model b is made wrong where a is right: the smallest p of the page is McNemar's, by hand."""
    cell = run.plan().query("model == 'b' and train_seed == 0 and eps == 0.1")["cell"].iloc[0]
    rows = run.rows(cell)
    write_parquet(run.path / "cells" / f"{cell}.parquet", rows.assign(correct=False))
    summarise(run, digest_cells(run)).to_csv(run.path / "summary.csv", index=False)
    paired_tests(run, digest_cells(run)).to_csv(run.path / "tests.csv", index=False)
    found = document(run)
    assert "p, Holm" in found.said("th") and "a/0" in found.said("th")
    # 36 of 40 samples are right under a alone: p = 2 / 2^36, exact and two-sided.
    start = found.said("td").index("b/0")
    expected = ["36", "+0.900", f"{2 / 2**36:.3g}"]
    assert found.said("td")[start + 3 : start + 6] == expected
    assert "noise fourier; n 40; b alone right 0)" in " ".join(found.said("caption"))


def test_a_run_has_the_architectures_and_noises_on_record(tmp_path: Path) -> None:
    """Both in words, as the sweep wrote them, so that a report needs no checkpoint."""
    output = tmp_path / "run"
    words = "sweep -m s4d/0 --noise fourier --modes 1 --eps 1 --limit 4 --jobs 1 --no-figures -o"
    assert CliRunner().invoke(main, [*words.split(), str(output)]).exit_code == 0
    cells = document(RunDirectory(output)).said("td")
    shape = load_checkpoint(zoo_path("s4d", 0)).card.architecture
    layers, width, n = (shape[name] for name in ("layers", "d_model", "n"))
    assert f"s4d: {layers} layers, width {width}, state size {n}" in cells
    assert (Fourier.__doc__ or "").partition("\n")[0].rstrip(".") in cells


def test_equal_runs_and_dates_give_equal_bytes(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = page(inspect(run.path))
    assert page(inspect(run.path)) == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    assert page(inspect(run.path)) == first.replace("2023-11-14", "2027-01-15")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 30)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        page(inspect(run.path))


def test_the_library_is_in_the_page_deflated(run: RunDirectory) -> None:
    (text,) = re.findall(
        r'<script id="plotly" type="text/plain">(.*?)</script>', page(inspect(run.path))
    )
    assert zlib.decompress(base64.b64decode(text)) == b"/* plotly </script> */"


def test_nothing_of_a_run_becomes_markup(run: RunDirectory) -> None:
    """A hostile name adds texts but no element, wherever names, errors and commands stand."""
    cell = run.plan()["cell"].iloc[-1]
    fail(run, cell, "boom\nmore")
    change(run, argv=["x"], task="t", noise=["n"], versions={"v": "1"})
    plain = [tag for tag, _ in document(run).tags]
    fail_text = json.dumps({"cell": cell, "error": f"{HOSTILE}\nmore", "traceback": ""})
    run.error_path(cell).write_text(fail_text)
    change(run, argv=[HOSTILE], task=HOSTILE, noise=[HOSTILE], versions={HOSTILE: HOSTILE})
    relabel(run, "a", HOSTILE)
    found = document(run)
    assert [tag for tag, _ in found.tags] == plain
    first = found.lines()[0]
    assert (first["name"], first["legendgroup"]) == (escape(HOSTILE, quote=False), HOSTILE)
    assert [box["value"] for box in found.all("input")] == [HOSTILE, "b"]
    assert HOSTILE in found.said("th")


def test_failed_cells_stand_with_their_first_line(run: RunDirectory) -> None:
    fail(run, run.plan()["cell"].iloc[-1], "ran out of memory\n  at line 2")
    found = document(run)
    assert "ran out of memory" in found.said("td") and "at line 2" not in found.words()
    assert "UNFINISHED" in found.said("h1")[0]


def test_a_run_of_failures_is_a_page_without_curves(run: RunDirectory) -> None:
    for cell in run.plan()["cell"]:
        fail(run, cell, "no")
    found = document(run)
    assert "No perturbed condition has results." in found.words()
    assert len(found.all("script")) == 1 and found.said("td").count("no") == len(run.plan())


@pytest.mark.parametrize("models", [1, 12])
def test_runs_of_one_of_everything_and_of_many(tmp_path: Path, models: int) -> None:
    curves = {(f"m{k}", 0): {(1.0, 0.5): np.ones(1, np.bool_)} for k in range(models)}
    found = document(write_run(tmp_path / "run", curves))
    (figure,) = found.data()
    assert len(found.lines()) == models
    assert not any("one training seed" in t.get("hovertemplate", "") for t in figure["data"])
    for line in found.lines():  # of one point the interval is a bar
        assert line["x"] == [0.5] and line["y"] == [1.0] and line["error_y"]["array"] == [0.0]
    assert figure["layout"]["xaxis"]["title"] == {"text": "eps (std)"}
    assert figure["layout"]["xaxis"]["type"] == "log"


def test_an_accuracy_that_is_not_a_number_is_a_gap(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = summarise(run, digest_cells(run))
    summary.loc[summary.index[-1], ["accuracy", "ci_low", "ci_high"]] = np.nan
    monkeypatch.setattr(
        "robustssm.evaluations.results.tables.summarise", lambda run, cells: summary
    )
    html = page(inspect(run.path))
    assert "NaN" not in html.partition('id="curve-data"')[2].partition("</script>")[0]
    document(run)
    curves = over_seeds(perturbed(summary)).assign(accuracy=np.nan, ci_low=np.nan)
    traces = curve_figures(curves, None, model_looks, {})[0]["data"]
    assert [trace["y"] for trace in traces if "text" in trace] == [[None, None]] * 6
    assert not any(trace.get("fill") for trace in traces)


def test_figures_are_inside_the_page_and_say_what_they_show(run: RunDirectory) -> None:
    folder = run.path / "figures"
    folder.mkdir()
    (folder / "robustness.png").write_bytes(b"png")
    (folder / "other.png").write_bytes(b"png")
    over_seeds(perturbed(summarise(run, digest_cells(run)))).to_csv(
        folder / "robustness.csv", index=False
    )
    images = document(run).all("img")
    assert [image["src"] for image in images] == ["data:image/png;base64,cG5n"] * 2
    assert (images[0]["alt"] or "").startswith("Accuracy; the tables")
    assert (images[1]["alt"] or "").startswith("other; the tables")
    captions = document(run).said("figcaption")
    assert [text.rstrip(": ") for text in captions] == ["Accuracy", "other"]
    assert [text for text in document(run).said("a") if text.isupper()] == ["CSV"]


def test_a_picture_on_the_page_has_the_pixels_of_the_file(run: RunDirectory) -> None:
    (run.path / "figures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (7, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(run.path / "figures" / "robustness.png")
    (image,) = document(run).all("img")
    kind, _, text = (image["src"] or "").partition(";base64,")
    assert kind == "data:image/webp"
    with Image.open(io.BytesIO(base64.b64decode(text))) as found:
        assert np.array_equal(np.asarray(found), pixels)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb: WCAG 2.2, definition of relative luminance."""
    c = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_texts_and_lines_stand_out_from_their_background() -> None:
    """4.5:1 for texts, 3:1 for graphics: WCAG 2.2, 1.4.3 and 1.4.11."""
    css = Path(html_page.__file__).with_suffix(".css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", b)) for b in re.findall(r":root \{.*?\}", css, re.S)]  # fmt: skip  # noqa: E501
    assert len(schemes) == 3  # light, dark, print
    for scheme in schemes:
        for text in ("ink", "soft", "link"):
            assert contrast(scheme[text], scheme["paper"]) >= 4.5
        assert contrast(scheme["ink"], scheme["box"]) >= 4.5
        assert contrast(scheme["warn"], scheme["warnbox"]) >= 4.5
    assert ".curve-plot { background: #fff; }" in css
    many = [*NAMES, *(f"own{k}" for k in range(64))]
    found = [web_look(line) for line in model_looks(pd.DataFrame({"model": many})).values()]
    assert len(set(found)) == len(many)
    assert all(contrast(colour, "#ffffff") >= 3.0 for colour, _, _ in found)


def test_a_model_looks_here_as_in_the_figures(tmp_path: Path) -> None:
    """One colour for one name, whatever the order of models, as drawn by matplotlib."""
    names = ["s4ptd", "mine", "s4d", "s4ptd-rank1", "other"]
    run = write_run(tmp_path / "run", {(m, 0): flat(0.9, 0.8, 0.4) for m in names})
    curves = over_seeds(perturbed(summarise(run, digest_cells(run))))
    axes = list(Figure().subplots(1, curves["eps"].nunique()))
    draw_modes(curves, axes, 0.1, 40)
    drawn = {line.get_label(): line for line in axes[0].lines if line.get_label() in names}
    shown = {line["name"]: line for line in document(run).lines()}
    assert list(shown) == names == list(drawn)
    dashed = {name: trace["line"]["dash"] for name, trace in shown.items()}
    for name, trace in shown.items():
        assert trace["line"]["color"].lower() == to_hex(drawn[name].get_color())
        assert trace["marker"]["color"] == trace["line"]["color"]
        assert (dashed[name] == "solid") == (drawn[name].get_linestyle() == "-")
    # Dashes of (0, (4, 1.2)) line widths.
    assert (shown["s4d"]["line"]["color"], dashed["s4d"]) == (look("s4d")["color"], "solid")
    assert dashed["s4ptd"] == "7.2px,2.16px" and dashed["s4ptd-rank1"] == "dash"


def test_the_command_writes_the_page(run: RunDirectory, tmp_path: Path) -> None:
    result = CliRunner().invoke(report, [str(run.path), "--html"])
    assert result.exit_code == 0, result.output
    text = (run.path / "report.html").read_text(encoding="utf-8")
    assert text == page(inspect(run.path)) and not (run.path / "report.md").exists()
    other = tmp_path / "p.html"
    assert CliRunner().invoke(report, [str(run.path), "-o", str(other)]).exit_code == 0
    assert other.read_text(encoding="utf-8") == text


def test_a_missing_library_is_named(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'robustssm[html]'")):
        page(inspect(run.path))


def test_a_run_without_a_plan_or_manifest_is_still_a_page(run: RunDirectory) -> None:
    (run.path / "manifest.json").write_text("{")
    assert "DAMAGED" in document(run).words()
    (run.path / "plan.parquet").unlink()
    assert "plan.parquet" in document(run).words()
