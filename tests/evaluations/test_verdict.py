"""The verdict of a report: what it says is what the tables hold, in every state of a run."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robustssm.evaluations.reports.markdown import render
from robustssm.evaluations.reports.parts import Part, Table
from robustssm.evaluations.reports.report import assemble
from robustssm.evaluations.reports.report_rows import worst_modes
from robustssm.evaluations.reports.verdict import MOST_ROWS, verdict
from robustssm.evaluations.results import tables
from robustssm.evaluations.results.inspection import inspect
from robustssm.evaluations.results.summary import over_seeds, overview, perturbed
from robustssm.evaluations.results.tables import Tables, finish, read_tables
from robustssm.evaluations.sweep.run_directory import RunDirectory
from tests.evaluations.written_runs import EPS, BoolArray, flat, share, write_run


def parts(run: RunDirectory) -> list[Part]:
    """Return the verdict of a run as it stands."""
    return verdict(run.plan(), read_tables(inspect(run.path)))


def said(run: RunDirectory) -> str:
    """Return its sentences."""
    return " ".join(part for part in parts(run) if isinstance(part, str))


def rows(run: RunDirectory, column: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table that has a column, by their first cell."""
    (table,) = (p for p in parts(run) if isinstance(p, Table) and column in p.columns)
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def accuracies(run: RunDirectory) -> dict[str, tuple[str, ...]]:
    """Return clean accuracy, mean over modes, worst mode and interval of each model."""
    names = ("clean", "mean over modes", "worst, cross-fitted", "95% interval")
    return {model: tuple(row[n] for n in names) for model, row in rows(run, "clean").items()}


def compared(run: RunDirectory) -> tuple[str, ...]:
    """Return conditions, a better, b better and opposite signs of models a and b."""
    row = rows(run, "a better")["a"]
    assert row["b"] == "b"
    return tuple(row[n] for n in ("conditions", "a better", "b better", "opposite signs"))


def both(run: RunDirectory) -> list[str]:
    """Return the Markdown report and, where its libraries are there, the text of the HTML page."""
    state = inspect(run.path)
    found = [render(assemble(state), run.path / "report.md")]
    try:
        import markupsafe
        import plotly  # noqa: F401
    except ImportError:
        return found
    from robustssm.evaluations.reports import html_page
    from robustssm.figures.looks import model_looks

    html = html_page.page(state, model_looks, state.run.path)
    return [*found, str(markupsafe.Markup(html).unescape())]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short library: its text is the same in every page."""
    with suppress(ImportError):
        monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "/* plotly */")


def lose(run: RunDirectory, cell: str, error: str = "") -> None:
    """Take a cell's results away; with an error it has failed."""
    (run.path / "cells" / f"{cell}.parquet").unlink()
    if error:
        run.error_path(cell).parent.mkdir(exist_ok=True)
        record = {"cell": cell, "error": error, "traceback": ""}
        run.error_path(cell).write_text(json.dumps(record))


def cells(run: RunDirectory, query: str) -> list[str]:
    return [str(cell) for cell in run.plan().query(query)["cell"]]


def test_the_numbers_are_those_of_the_overview(tmp_path: Path) -> None:
    """Modes of 0.9 and 0.5: mean 0.7; the worst, cross-fitted, as the overview has it."""
    curves = {(m, 0): {(1.0, 1.0): share(0.9), (2.0, 1.0): share(0.5)} for m in "ab"}
    run = write_run(tmp_path / "run", curves)
    finish(run)
    row = read_tables(inspect(run.path)).overview.iloc[0]
    worst = f"{row['acc_worst_crossfit']:.3f}", f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    assert accuracies(run) == dict.fromkeys("ab", ("1.000", "0.700", *worst))
    first = rows(run, "clean")["a"]
    assert (first["n"], first["seeds"], first["modes"]) == ("40", "1", "2")
    assert compared(run) == ("2", "0", "0", "0")
    assert all(text in page for page in both(run) for text in (said(run), *worst))


def test_it_stands_above_every_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9, 0.8, 0.4)})
    for page in both(run):
        question, line, table = (
            page.index(words) for words in ("How much of", "Accuracy under", "content hash")
        )
        assert question < line < table


@pytest.mark.parametrize(("unit", "strongest"), [("std", "10"), ("snr-db", "0.1")])
def test_it_is_of_the_strongest_eps(tmp_path: Path, unit: str, strongest: str) -> None:
    """Decibels of the signal over the noise: the fewest are the strongest."""
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9, 0.8, 0.4)}, unit=unit)
    words = f"Accuracy under fourier at input, eps {strongest} {unit} (the strongest of 3), modes "
    assert said(run).startswith(f"{words}1-2 (bin)")


@pytest.mark.parametrize("better", ["a", "b"])
def test_the_direction_of_the_paired_tests(tmp_path: Path, better: str) -> None:
    """All 40 samples against none, at both modes: p = 2^-39 each, whatever the adjustment."""
    right = {model: flat(*[float(model == better)] * 3) for model in "ab"}
    run = write_run(tmp_path / "run", {(m, 0): curve for m, curve in right.items()})
    assert "tests.csv is not up to date with the cells" in said(run)
    finish(run)
    assert compared(run) == ("2", *(("2", "0") if better == "a" else ("0", "2")), "0")


def test_both_directions_are_told(tmp_path: Path) -> None:
    a = {(float(k), 1.0): share(float(k != 3)) for k in (1, 2, 3)}
    b = {(float(k), 1.0): share(float(k == 3)) for k in (1, 2, 3)}
    run = write_run(tmp_path / "run", {("a", 0): a, ("b", 0): b})
    finish(run)
    assert compared(run) == ("3", "2", "1", "0")


def test_training_seeds_that_contradict_each_other(tmp_path: Path) -> None:
    """Seed 0 says a, seed 1 says b: no direction holds for both."""
    curves = {(m, s): {(1.0, 1.0): share(float((m == "a") == (s == 0)))} for m in "ab" for s in (0, 1)}  # fmt: skip  # noqa: E501
    run = write_run(tmp_path / "run", curves)
    finish(run)
    assert compared(run) == ("1", "0", "0", "1")
    # Accuracies of 1 and 0 over two seeds.
    assert accuracies(run)["a"] == ("1.000", "0.500", "0.500", "[0.000, 1.000]")
    assert rows(run, "clean")["a"]["interval of"] == "seeds (Student)"


def test_tests_of_other_conditions_do_not_count(tmp_path: Path) -> None:
    """Told apart at the weakest eps alone, and there the models differ less than at the next."""
    curves = {("a", 0): flat(0.9, 0.9, 0.1), ("b", 0): flat(0.6, 0.5, 0.1)}
    run = write_run(tmp_path / "run", curves)
    finish(run)
    tests = pd.read_csv(run.path / "tests.csv")
    tests["p_holm"] = np.where(tests["eps"] == 0.1, 0.01, 1.0)
    tests.to_csv(run.path / "tests.csv", index=False)
    assert compared(run) == ("2", "0", "0", "0")


@pytest.mark.parametrize("better", ["a", "b"])
def test_the_answer_is_where_the_models_differ_most(tmp_path: Path, better: str) -> None:
    """Near chance both are alike: the middle eps tells, and who wins there is said first."""
    curves = {(m, 0): flat(1.0, 0.9 if m == better else 0.3, 0.1) for m in "ab"}
    run = write_run(tmp_path / "run", curves)
    finish(run)
    other = "b" if better == "a" else "a"
    first = str(parts(run)[0])
    assert first.startswith(
        f"The models differ most at eps 1 std: at the worst mode {better} keeps "
    )
    row = rows(run, "clean")
    for model in (better, other):
        ends = f"{row[model]['worst, cross-fitted']} {row[model]['95% interval']} (clean 1.000)"
        assert f"{model} keeps {ends}" in first or f"{model} {ends}" in first
    assert first.endswith(f"of 2 conditions {better} is better at 2, {other} at 0.")
    assert all(first in page for page in both(run))
    assert "eps 1 std, modes 1-2 (bin), the lowest first:" in said(run)


def test_tests_that_are_lost(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {(m, 0): flat(0.9) for m in "ab"})
    finish(run)
    (run.path / "tests.csv").unlink()
    assert "tests.csv holds no perturbed condition." in said(run)
    assert all("tests.csv holds no perturbed condition." in page for page in both(run))


def test_one_model_one_mode_one_sample(tmp_path: Path) -> None:
    one: dict[Any, BoolArray] = {(1.0, 0.5): np.ones(1, np.bool_)}
    run = write_run(tmp_path / "run", {("m", 0): one})
    finish(run)
    # Wilson's interval of 1 of 1: 1 / (1 + 1.96^2) = 0.207 to 1.
    assert accuracies(run) == {"m": ("1.000", "1.000", "1.000", "[0.207, 1.000]")}
    assert rows(run, "clean")["m"]["n"] == "1"
    line = "Accuracy under fourier at input, eps 0.5 std, modes 1 (bin)"
    assert said(run).startswith(line) and "There are no two models" in said(run)
    assert all(line in page for page in both(run))


def test_two_modes_of_one_sample_have_no_worst(tmp_path: Path) -> None:
    """One sample has no two halves."""
    one: dict[Any, BoolArray] = {(k, 0.5): np.ones(1, np.bool_) for k in (1.0, 2.0)}
    run = write_run(tmp_path / "run", {("m", 0): one})
    assert accuracies(run) == {"m": ("1.000", "1.000", "-", "-")}


def test_a_noise_without_modes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("m", 0): {(0.0, 1.0): share(0.5)}}, mode_unit="")
    assert "eps 1 std, the lowest first:" in said(run)
    assert accuracies(run)["m"][:3] == ("1.000", "0.500", "0.500")


def test_seeds_that_agree_leave_no_interval(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("m", s): {(1.0, 1.0): share(0.5)} for s in (0, 1)})
    assert accuracies(run) == {"m": ("1.000", "0.500", "0.500", "-")}


@pytest.mark.parametrize("models", [MOST_ROWS, MOST_ROWS + 1, 12])
def test_of_many_models_the_lowest(tmp_path: Path, models: int) -> None:
    curves = {(f"m{k:02}", 0): {(1.0, 1.0): share(0.9 - 0.05 * k)} for k in range(models)}
    run = write_run(tmp_path / "run", curves)
    finish(run)
    found = accuracies(run)
    assert list(found) == [f"m{models - 1 - k:02}" for k in range(MOST_ROWS)]
    lowest = f"{0.95 - 0.05 * models:.3f}"
    assert found[f"m{models - 1:02}"][1] == lowest
    rest = [part.rest for part in parts(run) if isinstance(part, Table)]
    assert rest == [models - MOST_ROWS, models * (models - 1) // 2 - MOST_ROWS]
    pages = both(run)
    title = pages[0].splitlines()[0]
    assert ("m01" in title) == (models < 7) and ("12 models" in title) == (models == 12)
    assert all(lowest in page for page in pages)


def test_a_failed_cell(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {(m, 0): flat(0.9, 0.8, 0.5) for m in "ab"})
    (cell,) = cells(run, "model == 'b' and eps == 10 and mode == 2")
    lose(run, cell, "ran out\nof memory")
    finish(run)
    assert accuracies(run)["b"] == ("1.000", "0.500", "0.500", "[0.352, 0.648]")
    assert rows(run, "clean")["b"]["modes"] == "1" and rows(run, "clean")["a"]["modes"] == "2"
    words = "1 of the 4 cells of this condition has no accuracy: the numbers are of the others."
    for page in both(run):
        assert words in page and "Failed, 1 cell: ran out" in page and "UNFINISHED" in page
    # The pair is tested at the mode that both have.
    assert compared(run) == ("1", "0", "0", "0")


def test_a_model_without_a_result(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {(m, 0): flat(0.9, 0.8, 0.5) for m in "abc"})
    for cell in cells(run, "model == 'b' and eps == 10"):
        lose(run, cell)
    assert set(accuracies(run)) == {"a", "c"}
    assert "2 of the 6 cells of this condition have no accuracy (of b all of them)" in said(run)
    finish(run)
    assert list(rows(run, "a better")) == ["a"] and rows(run, "a better")["a"]["b"] == "c"


def test_a_strongest_eps_without_a_result(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9, 0.8, 0.5)})
    for cell in cells(run, "eps == 10"):
        lose(run, cell)
    assert "Accuracy under fourier at input, eps 1 std, modes 1-2 (bin), the" in said(run)
    assert "Planned, and without any result: fourier at input, eps 10 std." in said(run)


def test_a_missing_clean_evaluation(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9, 0.8, 0.5)})
    lose(run, cells(run, "noise == 'clean'")[0], "no")
    assert accuracies(run)["a"][:2] == ("-", "0.500")


@pytest.mark.parametrize("planned", [False, True])
def test_only_clean_cells(tmp_path: Path, planned: bool) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9) if planned else {}})
    for cell in cells(run, "noise != 'clean'"):
        lose(run, cell)
    assert said(run) == "No perturbed condition has results yet."
    assert all("No perturbed condition has results yet." in page for page in both(run))


@pytest.mark.parametrize("whole", [False, True])
def test_accuracies_that_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    run = write_run(tmp_path / "run", {(m, 0): flat(0.9, 0.8, 0.5) for m in "ab"})
    finish(run)
    summary = pd.read_csv(run.path / "summary.csv")
    chosen = (summary["model"] == "b") & (summary["eps"] == EPS[-1])
    chosen &= whole | (summary["mode"] == 2.0)
    summary.loc[chosen, ["accuracy", "ci_low", "ci_high"]] = np.nan
    monkeypatch.setattr(tables, "summarise", lambda run, cells: summary)
    assert accuracies(run)["b"][1] == ("-" if whole else "0.500")
    for page in both(run):
        assert "nan" not in page.lower().partition("curve-data")[0].split()
    lacking = "2 of the 4 cells of this condition have" if whole else "1 of the 4 cells"
    assert lacking in said(run)


def test_models_of_which_none_is_known(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {(f"m{k}", 0): flat(0.9) for k in range(12)})
    tables = read_tables(inspect(run.path))
    summary = tables.summary.assign(accuracy=np.nan)
    empty = Tables(summary, tables.tests, overview(summary), stale=False)
    (_, table, *_, last) = verdict(run.plan(), empty)
    assert isinstance(table, Table) and {row[5] for row in table.rows} == {"-"}
    assert str(last).startswith("24 of the 24 cells of this condition have no accuracy (of m0, m1")


def test_without_a_plan_the_tables_stand(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {(m, 0): flat(1.0, 0.8, 0.5) for m in "ab"})
    finish(run)
    first = accuracies(run)
    (run.path / "plan.parquet").unlink()
    state = inspect(run.path)
    # Without a plan no cell is known: summary.csv stands, its tests and worst modes do not.
    _, table, why = verdict(pd.DataFrame(), read_tables(state))
    assert isinstance(table, Table) and why == (
        "tests.csv is not up to date with the cells; a sweep writes it when it ends."
    )
    found = {row[0]: tuple(row[4:8]) for row in table.rows}
    assert found == {model: (*row[:2], "-", "-") for model, row in first.items()}
    assert len(both(run)) > 0


def test_the_worst_modes_are_the_lowest_of_the_summary(tmp_path: Path) -> None:
    """Seven modes, two seeds: five rows of each model and eps, ascending."""
    curves = {
        (m, s): {(float(k), e): share((k * 3 % 7) / 10 + 0.1 * s) for k in range(1, 8) for e in EPS}
        for m in "ab"
        for s in (0, 1)
    }
    run = write_run(tmp_path / "run", curves)
    frame = over_seeds(perturbed(read_tables(inspect(run.path)).summary))
    table = worst_modes(frame)
    assert len(table.rows) == 2 * 3 * 5
    listed = pd.DataFrame(list(table.rows), columns=[*table.columns])
    for (model, eps), own in listed.groupby(["model", "eps"]):
        part = frame[(frame["model"] == model) & (frame["eps"] == float(str(eps).split()[0]))]
        lowest = part.sort_values("accuracy").head(5)
        assert list(own["accuracy"]) == [f"{v:.3f}" for v in lowest["accuracy"]]
        assert list(own["mode"]) == [f"{v:g} (bin)" for v in lowest["mode"]]
        assert set(own["interval of"]) == {"seeds (Student)"}
    words = table.rows[0][4]
    assert all(words in page for page in both(run))
