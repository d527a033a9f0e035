"""The worst mode in the overview of a run: cross-fitted with its interval, beside the naive one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.commands.show import results_table
from robustssm.errors import UsageError
from robustssm.evaluations.reports.markdown import render
from robustssm.evaluations.reports.report import assemble
from robustssm.evaluations.results.cell_reader import digest_cells
from robustssm.evaluations.results.inspection import inspect
from robustssm.evaluations.results.summary import over_seeds, overview, summarise
from robustssm.evaluations.results.tables import read_tables
from robustssm.evaluations.statistics.cross_fit import Worst, halves, worst_condition
from robustssm.evaluations.statistics.intervals import student, wilson
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import write_parquet
from tests.evaluations.written_runs import BoolArray, N, share, write_run

Curves = dict[tuple[str, int], dict[tuple[float, float], BoolArray]]
FITTED = ["acc_worst_crossfit", "ci_low", "ci_high"]


def drawn(seeds: int = 1, modes: int = 4, rate: float = 0.6) -> Curves:
    """Outcomes of model `a` at eps 1, drawn sample by sample."""
    rng = np.random.default_rng(11)
    return {
        ("a", seed): {(m + 1.0, 1.0): rng.random(N) < rate for m in range(modes)}
        for seed in range(seeds)
    }


def fitted(conditions: dict[tuple[float, float], BoolArray]) -> Worst:
    """The worst condition by the statistic itself."""
    return worst_condition(np.stack(list(conditions.values())), halves(np.arange(N)))


def shown(run: RunDirectory) -> pd.DataFrame:
    cells = digest_cells(run)
    return overview(summarise(run, cells), cells)


def test_one_seed_is_worst_condition(tmp_path: Path) -> None:
    curves = drawn()
    (row,) = shown(write_run(tmp_path / "run", curves)).to_dict("records")
    expected = fitted(curves["a", 0])
    assert [row[name] for name in FITTED] == [expected.accuracy, expected.low, expected.high]
    assert row["interval"] == "samples (exact, all modes)"
    assert row["acc_worst_over_modes"] == expected.naive
    assert row["worst_modes"] == f"{expected.naive_at + 1}"


def test_several_seeds_have_students_interval(tmp_path: Path) -> None:
    curves = drawn(seeds=3)
    (row,) = shown(write_run(tmp_path / "run", curves)).to_dict("records")
    values = np.array([fitted(own).accuracy for own in curves.values()])
    low, high = student(values)
    assert np.ptp(values) > 0 and 0 < low < high < 1
    # The same three numbers added in another order.
    assert [row[name] for name in FITTED] == pytest.approx([values.mean(), low, high], abs=1e-15)
    assert row["interval"] == "seeds (Student) of cross-fitted" and row["seeds"] == 3
    assert (row["lowest_seed"], row["highest_seed"]) == (values.min(), values.max())


def test_naive_and_cross_fitted_are_of_the_same_worst_modes(tmp_path: Path) -> None:
    """Two seeds break at different modes, on every sample: whoever chooses finds that mode.

    The worst of the mean curve is 0.5, which is no seed's.
    """
    curves = {("a", seed): {(m, 1.0): share(0.0 if m == seed + 1.0 else 1.0) for m in (1.0, 2.0)}
              for seed in (0, 1)}  # fmt: skip
    (row,) = shown(write_run(tmp_path / "run", curves)).to_dict("records")
    assert row["acc_worst_over_modes"] == row["acc_worst_crossfit"] == 0.0
    assert (row["lowest_seed"], row["highest_seed"], row["worst_modes"]) == (0.0, 0.0, "1, 2")
    assert row["acc_mean_over_modes"] == 0.5


def test_equal_seeds_have_no_interval(tmp_path: Path) -> None:
    """Three seeds that agree by chance do not make the next one certain."""
    one = drawn()["a", 0]
    run = write_run(tmp_path / "run", {("a", seed): one for seed in range(3)})
    (row,) = shown(run).to_dict("records")
    # A mean of three equal numbers is off by an ulp.
    assert row["acc_worst_crossfit"] == pytest.approx(fitted(one).accuracy, abs=1e-15)
    assert np.isnan([row["ci_low"], row["ci_high"]]).all() and row["interval"] == ""
    single = {("a", seed): {(0.0, 1.0): share(1.0)} for seed in range(3)}
    run = write_run(tmp_path / "single", single, mode_unit="")
    for table in (shown(run), over_seeds(summarise(run, digest_cells(run)))):
        for row in table.to_dict("records"):
            assert np.isnan([row["ci_low"], row["ci_high"]]).all() and row["interval"] == ""


def test_a_single_mode_needs_no_choice(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): {(0.0, 1.0): share(0.7)}}, mode_unit="")
    (row,) = shown(run).to_dict("records")
    low, high = map(float, wilson(0.7 * N, N))
    assert [row[name] for name in FITTED] == pytest.approx([0.7, low, high], abs=1e-15)
    assert row["interval"] == "samples (Wilson)" and row["acc_worst_over_modes"] == 0.7


def test_seeds_of_unequal_modes_are_fitted_on_those_they_share(tmp_path: Path) -> None:
    curves = drawn(seeds=2)
    # The worst mode by far, which one seed alone has.
    curves["a", 0][4.0, 1.0] = share(0.1)
    del curves["a", 1][4.0, 1.0]
    (row,) = shown(write_run(tmp_path / "run", curves)).to_dict("records")
    own = curves["a", 0]
    del own[4.0, 1.0]
    values = [fitted(own).accuracy, fitted(curves["a", 1]).accuracy]
    assert row["acc_worst_crossfit"] == pytest.approx(np.mean(values), abs=1e-15)
    naive = [fitted(own).naive, fitted(curves["a", 1]).naive]
    assert row["acc_worst_over_modes"] == pytest.approx(np.mean(naive), abs=1e-15)
    # One mode shared by both: nothing to choose from.
    few = {("a", 0): {(1.0, 1.0): share(0.5), (2.0, 1.0): share(0.4)},
           ("a", 1): {(1.0, 1.0): share(0.6)}}  # fmt: skip
    (row,) = shown(write_run(tmp_path / "few", few)).to_dict("records")
    assert np.isnan([row[name] for name in FITTED]).all() and row["interval"] == ""


def two_clips(path: Path) -> tuple[RunDirectory, Curves]:
    """A run of modes 1 and 2, soft and hard clipped: the last two of four modes drawn."""
    curves = drawn()
    run = write_run(path, curves)
    plan = run.plan().copy()
    hard = plan["mode"] > 2
    plan.loc[hard, "clip"], plan.loc[hard, "mode"] = "hard", plan.loc[hard, "mode"] - 2
    write_parquet(path / "plan.parquet", plan)
    return RunDirectory(path), curves


def test_two_clips_are_two_rows(tmp_path: Path) -> None:
    run, curves = two_clips(tmp_path / "run")
    table = shown(run).set_index("clip")
    conditions = list(curves["a", 0].items())
    for clip, own in {"none": conditions[:2], "hard": conditions[2:]}.items():
        expected = fitted(dict(own))
        found = table.loc[clip, FITTED].tolist()
        assert found == [expected.accuracy, expected.low, expected.high]
        assert table.loc[clip, "modes"] == 2


def test_without_cells_there_is_no_value(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", drawn())
    summary = summarise(run, digest_cells(run))
    (row,) = overview(summary).to_dict("records")
    assert np.isnan([row[name] for name in FITTED]).all() and row["interval"] == ""
    assert row["acc_worst_over_modes"] == summary["accuracy"][summary["noise"] != "clean"].min()


def test_cells_of_other_samples_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", drawn())
    cells = digest_cells(run)
    summary = summarise(run, cells)
    path = run.cell_path("a0-four-2.0-1.0")
    rows = pd.read_parquet(path)
    rows["sample_id"] += 1
    write_parquet(path, rows)
    with pytest.raises(UsageError, match="cells of fourier at eps 1 hold different samples"):
        overview(summary, digest_cells(RunDirectory(run.path)))


def test_table_and_report_show_it(tmp_path: Path) -> None:
    run, _ = two_clips(tmp_path / "run")
    state = inspect(run.path)
    tables = read_tables(state)
    frame = tables.overview
    columns, rows = results_table(tables, "run").texts()
    text = render(assemble(state), run.path / "report.md")
    assert {"worst mode", "worst, cross-fitted", "95% interval", "of"} <= set(columns)
    assert "worst (naive)" not in columns  # --wide shows it
    assert "| worst (naive) | worst, cross-fitted | 95% interval |" in text
    for row, cells in zip(frame.to_dict("records"), rows, strict=True):
        value = f"{row['acc_worst_crossfit']:.3f}"
        interval = f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        assert cells[columns.index("worst, cross-fitted")] == value
        assert cells[columns.index("95% interval")] == interval
        assert f"| {value} | {interval} |" in text


def test_the_report_keeps_clips_apart(tmp_path: Path) -> None:
    """Modes of one noise under two clips are four conditions of one seed, not two of two."""
    run, curves = two_clips(tmp_path / "run")
    text = render(assemble(inspect(run.path)), run.path / "report.md")
    worst = text.partition("## Worst modes\n")[2].partition("\n## ")[0]
    lines = [line for line in worst.splitlines() if line.startswith("| a | fourier")]
    assert len(lines) == 4 and "over seeds" not in worst
    accuracies = {f"{right.mean():.3f}" for right in curves["a", 0].values()}
    assert {line.split(" | ")[3] for line in lines} == accuracies
