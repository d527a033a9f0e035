"""Comparisons: what may be compared, hand-computed tables, the command and its exit codes."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from robustssm.cli import Commands
from robustssm.commands.compare import compare as command
from robustssm.errors import UsageError
from robustssm.evaluations.comparison.comparable import gather
from robustssm.evaluations.comparison.comparison import Comparison, compare
from robustssm.evaluations.comparison.notes import notes
from robustssm.evaluations.comparison.strength_grid import StrengthGrid, strength_grids
from robustssm.evaluations.comparison.thresholds import parse_threshold
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep.run_directory import RunDirectory
from tests.evaluations.written_runs import EPS, N, flat, share, write_run


def value(comparison: Comparison, quantity: str, model: str, **where: Any) -> pd.Series:
    pairs = where.pop("pairs", False)
    table = comparison.differences if pairs else comparison.models
    table = table[(table["quantity"] == quantity) & (table["model"] == model)]
    for name, wanted in where.items():
        table = table[table[name] == wanted]
    assert len(table) == 1
    return table.iloc[0]


def call(*arguments: str) -> Result:
    group = Commands("robustssm")
    group.add_command(command)
    return CliRunner().invoke(group, ["compare", *arguments])


def test_quantities_by_hand(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        {("a", 0): flat(0.9, 0.7, 0.3), ("b", 0): flat(0.9, 0.8, 0.6)},
        {("a", 0): share(0.9), ("b", 0): share(0.9)},
    )
    found = compare(gather([run]))
    assert value(found, "acc_clean", "a")["value"] == 0.9
    assert value(found, "acc_mean_over_modes", "b", eps=1.0)["value"] == pytest.approx(0.8)
    # Two decades of equal width: trapezoids 0.8 and 0.5, 0.85 and 0.7.
    assert value(found, "auc_log_eps_mean_over_modes", "a")["value"] == pytest.approx(0.65)
    assert value(found, "auc_log_eps_mean_over_modes", "b")["value"] == pytest.approx(0.775)
    # Halfway from 0.9 to 0.1 is 0.5, midway between 0.7 at 1 and 0.3 at 10.
    half = value(found, "eps50_mean_over_modes", "a")
    assert half["value"] == pytest.approx(10**0.5) and half["censored"] == ""
    assert half["ci_low"] < half["value"] < half["ci_high"] <= 10.0
    censored = value(found, "eps50_mean_over_modes", "b")
    assert (censored["value"], censored["censored"]) == (10.0, "stronger")
    # Errors sum to 1.1 and 0.7; without the clean 0.1 to 0.8 and 0.4.
    assert value(found, "mce", "b")["value"] == pytest.approx(0.7 / 1.1)
    assert value(found, "relative_mce", "b")["value"] == pytest.approx(0.4 / 0.8)
    assert value(found, "mce", "a")["value"] == 1.0
    difference = value(found, "auc_log_eps_mean_over_modes", "b", pairs=True)
    assert difference["value"] == pytest.approx(0.125) and difference["p"] < 0.01
    assert difference["ci_low"] > 0
    assert np.isnan(value(found, "eps50_ratio", "b", pairs=True)["value"])
    # 12 samples at (each mode, eps 10), all on b's side: 2 / 2^12, in both modes.
    mode = found.modes[(found.modes["eps"] == 10.0) & (found.modes["mode"] == 2.0)].iloc[0]
    assert (mode["a_only"], mode["b_only"]) == (12, 0)
    assert mode["p"] == pytest.approx(2 / 2**12) and mode["p_max_t"] < 0.005
    assert value(found, "conditions_better", "b", pairs=True)["value"] == 2.0


def test_reference_is_what_errors_are_divided_by(tmp_path: Path) -> None:
    curves = {("a", 0): flat(0.9, 0.7, 0.3), ("b", 0): flat(0.9, 0.8, 0.6)}
    found = compare(gather([write_run(tmp_path / "run", curves)]), "b")
    assert value(found, "mce", "a")["value"] == pytest.approx(1.1 / 0.7)
    assert set(found.differences["reference"]) == {"b"}
    with pytest.raises(UsageError, match="'c' is not compared, expected a, b"):
        compare(gather([RunDirectory(tmp_path / "run")]), "c")


def test_seeds_are_the_replicates(tmp_path: Path) -> None:
    first = {("a", s): flat(0.9, v) for s, v in enumerate((0.5, 0.6, 0.7))}
    second = {("b", s): flat(0.9, v) for s, v in enumerate((0.6, 0.6, 0.9))}
    found = compare(gather([write_run(tmp_path / "run", {**first, **second})]))
    row = value(found, "acc_mean_over_modes", "b", eps=1.0, train_seed="all", pairs=True)
    # Differences 0.1, 0, 0.2: mean 0.1, standard deviation 0.1, t(0.975, 2) = 4.302653.
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert row["value"] == pytest.approx(0.1) and row["seeds"] == 3
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-7)
    # Sign flips of 0.1 and 0.2: two of four reach the mean on either side.
    assert row["p"] == pytest.approx(0.5) and "at least 0.25" in row["p_test"]
    assert row["interval"] == "seeds (Student)"
    single = value(found, "acc_mean_over_modes", "b", eps=1.0, train_seed="0", pairs=True)
    assert single["interval"].startswith("samples") and single["seeds"] == 1
    assert any("smallest two-sided sign-flip p is 0.25" in note for note in notes(found))
    one = compare(gather([RunDirectory(tmp_path / "run")], ["a/1", "b/1"]))
    assert "all" not in set(one.models["train_seed"])
    assert any("nothing about retraining" in note for note in notes(one))


def test_pairs_share_seeds_where_they_can() -> None:
    members = (("a", 0), ("a", 1), ("b", 1), ("b", 2), ("c", 5), ("c", 7))
    nothing, ids = np.empty(0), np.empty(0, np.int64)
    grid = StrengthGrid("fourier", "input", "bin", "std", "none", members, nothing, nothing,
                        ids, nothing, nothing, nothing)  # fmt: skip
    assert grid.pairs("a") == {"b": [(2, 1)], "c": [(4, 0), (5, 1)]}
    assert grid.pairs("x") == {"a": [], "b": [], "c": []}


def test_one_model_with_several_seeds(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", s): flat(0.9, 0.6, 0.2) for s in range(3)})
    found = compare(gather([run]))
    assert found.differences.empty and found.modes.empty
    assert value(found, "mce", "a", train_seed="all")["value"] == 1.0
    assert call(str(run.path)).exit_code == 0
    assert len(finish(run).tests) == 0


def test_equal_models_do_not_differ(tmp_path: Path) -> None:
    curve = flat(0.9, 0.6, 0.2)
    found = compare(gather([write_run(tmp_path / "run", {("a", 0): curve, ("b", 0): curve})]))
    linear = found.differences[found.differences["p_test"] == "sign flips of samples"]
    assert len(linear) == 4 and (linear["value"] == 0).all() and (linear["p"] == 1).all()
    assert (found.modes["p_max_t"] == 1).all()


def test_missing_cells_are_counted_and_left_out(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", {("a", 0): flat(0.9, 0.6, 0.2), ("b", 0): flat(0.8, 0.6, 0.2)}
    )
    run.cell_path("b0-four-2.0-1.0").unlink()
    compared = gather([run])
    (grid,) = strength_grids(compared)
    assert compared.missing == 1 and grid.left_out == 3 and grid.modes.tolist() == [1.0]
    text = " ".join(notes(compare(compared)))
    assert "1 planned conditions have no results" in text and "3 of 6 conditions" in text
    # One strength of each mode is left, another one in both.
    for cell in ("1.0-1.0", "1.0-10.0", "2.0-0.1"):
        run.cell_path(f"b0-four-{cell}").unlink()
    with pytest.raises(UsageError, match="no mode has results of every model"):
        strength_grids(gather([run]))


def test_grid_holds_each_cell_in_its_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    curves = {
        (name, 0): {(m, e): rng.random(N) < 0.5 for e in EPS for m in (7.0, 2.0, 5.0)}
        for name in "ab"
    }
    (grid,) = strength_grids(gather([write_run(tmp_path / "run", curves)]))
    assert grid.modes.tolist() == [2.0, 5.0, 7.0] and grid.eps.tolist() == list(EPS)
    for k, (name, seed) in enumerate(grid.members):
        for i, mode in enumerate(grid.modes):
            for j, eps in enumerate(grid.eps):
                assert (grid.correct[k, i, j] == curves[name, seed][mode, eps]).all()


def test_decibels_run_from_weak_to_strong(tmp_path: Path) -> None:
    curve = {(1.0, 20.0): share(0.9), (1.0, 0.0): share(0.7), (1.0, -20.0): share(0.3)}
    run = write_run(
        tmp_path / "run", {("a", 0): curve}, {("a", 0): share(0.9)}, unit="snr-db", mode_unit=""
    )
    (grid,) = strength_grids(gather([run]))
    assert grid.eps.tolist() == [20.0, 0.0, -20.0]
    found = compare(gather([run]))
    assert value(found, "eps50_mean_over_modes", "a")["value"] == pytest.approx(-10.0)
    assert value(found, "auc_log_eps_mean_over_modes", "a")["value"] == pytest.approx(0.65)


def test_one_strength_has_no_curve(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.5), ("b", 0): flat(0.7)}, mode_unit="value")
    found = compare(gather([run]))
    assert not set(found.models["quantity"]) & {"auc_log_eps_mean_over_modes",
                                                "eps50_mean_over_modes"}  # fmt: skip
    assert any("one strength, so no AUC and no eps50" in note for note in notes(found))
    result = call(str(run.path), "--fail-if", "auc < 0.5")
    assert result.exit_code == 2 and "need two strengths" in result.stderr


def test_a_noise_without_modes_has_no_worst_one(tmp_path: Path) -> None:
    curve = {(0.0, 0.1): share(0.9), (0.0, 1.0): share(0.5)}
    run = write_run(tmp_path / "run", {("a", 0): curve, ("b", 0): curve}, noise="BandNoise(1, 3)",
                    mode_unit="", perturbation="BandNoise(1, 3)")  # fmt: skip
    found = compare(gather([run]))
    assert "acc_worst_crossfit" not in set(found.models["quantity"])
    row = value(found, "acc_mean_over_modes", "a", eps=1.0)
    assert row["interval"] == "samples (Wilson)"
    paired = value(found, "acc_mean_over_modes", "b", eps=1.0, pairs=True)
    assert paired["p"] == 1.0 and paired["p_test"] == "McNemar exact"
    assert paired["interval"] == "samples (Agresti-Min)" and paired["ci_low"] < 0
    # The only mode is the worst.
    assert call(str(run.path), "--fail-if", "worst < 0.6").exit_code == 5


def test_several_noises_and_several_runs(tmp_path: Path) -> None:
    first = write_run(tmp_path / "1", {("a", 0): flat(0.9, 0.5), ("b", 0): flat(0.8, 0.6)})
    curve = {(float(k), eps): share(0.5) for k in (1, 2) for eps in EPS[:2]}
    spikes = write_run(tmp_path / "2", {("a", 0): curve}, noise="resonance", mode_unit="spike",
                       perturbation="Resonance(3.0)")  # fmt: skip
    other = write_run(tmp_path / "3", {("c", 0): curve}, noise="resonance", mode_unit="spike",
                      perturbation="Resonance(9.0)")  # fmt: skip
    found = compare(gather([first, spikes, other]))
    assert [(g.noise, len(g.members)) for g in found.grids] == [("fourier", 2), ("resonance", 2)]
    text = " ".join(notes(found))
    assert "c/0 has no result" in text and "b/0 has no result" in text
    assert set(found.differences["model"]) == {"b", "c"}
    # A condition in two runs of one checkpoint counts once.
    again = write_run(tmp_path / "4", {("a", 0): flat(0.9, 0.5)})
    twice = compare(gather([first, again]))
    pd.testing.assert_frame_equal(twice.models, compare(gather([first])).models)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "e"}, r"differ in data \(d, e\)"),
        ({"seed": 3}, r"differ in noise seed \(0, 3\)"),
        ({"limit": 40}, r"differ in limit \(all samples, first 40\)"),
        ({"start": 5}, "c/0 has 40 samples, others than"),
        ({"perturbation": "Fourier(1, phase=0)"}, "noise fourier is Fourier"),
    ],
)
def test_what_is_not_paired_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    first = write_run(tmp_path / "1", {("a", 0): flat(0.9, 0.5)})
    second = write_run(tmp_path / "2", {("c", 0): flat(0.9, 0.5)}, **changes)
    with pytest.raises(UsageError, match=message):
        gather([first, second])
    assert call(str(first.path), str(second.path)).exit_code == 2


def test_names_mean_one_checkpoint(tmp_path: Path) -> None:
    first = write_run(tmp_path / "1", {("a", 0): flat(0.9, 0.5)})
    second = write_run(tmp_path / "2", {("a", 0): flat(0.9, 0.5)}, checkpoint="other")
    with pytest.raises(UsageError, match="a/0 is another checkpoint"):
        gather([first, second])
    with pytest.raises(UsageError, match="'z' is in none of the runs, expected a,"):
        gather([first], ["z"])
    with pytest.raises(UsageError, match="no finished perturbed condition"):
        compare(gather([write_run(tmp_path / "3", {("a", 0): {}})]))


def test_json_is_strict_and_csv_is_one_table(tmp_path: Path) -> None:
    # All right everywhere: errors of zero, no ratios, nothing varies.
    run = write_run(tmp_path / "run", {("a", 0): flat(1.0, 1.0), ("b", 0): flat(1.0, 0.5)},
                    limit=N)  # fmt: skip

    def refuse(word: str) -> None:
        raise AssertionError(word)

    result = call(str(run.path), "--format", "json")
    content = json.loads(result.stdout, parse_constant=refuse)
    assert content["partial"] is True and content["n"] == N and content["notes"]
    mce = next(row for row in content["models"] if row["quantity"] == "mce")
    assert mce["value"] is None and "0 of 2 modes have a ratio" in mce["detail"]
    table = pd.read_csv(StringIO(call(str(run.path), "--format", "csv").stdout))
    assert set(table["table"]) == {"model", "difference", "mode"}
    for style in ("table", "md"):
        shown = call(str(run.path), "--format", style, "--full").stdout
        assert "PARTIAL" in shown and "cross-fitted" in shown and "nan" not in shown


def test_the_digest_says_who_is_better_and_where(tmp_path: Path) -> None:
    """The numbers of the tidy table; better or worse where an interval excludes zero."""
    curves = {("a", 0): flat(0.9, 0.7, 0.3), ("b", 0): flat(0.9, 0.8, 0.9)}
    run = write_run(tmp_path / "run", curves, {key: share(0.9) for key in curves})
    lines = call(str(run.path)).stdout.splitlines()
    assert lines[0] == f"b minus a, fourier at input, n = {N}" and lines[6] == ""
    table = pd.read_csv(StringIO(call(str(run.path), "--format", "csv").stdout))
    table = table[(table["table"] == "difference")]
    for line, eps in zip(lines[2:5], EPS, strict=True):
        (row,) = table[(table["quantity"] == "acc_worst_crossfit") & (table["eps"] == eps)].to_dict(
            "records"
        )
        word = "better" if row["ci_low"] > 0 else "no difference shown"
        ends = f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
        said = [f"worst mode at eps {eps:g} std", f"{row['value']:+.3f} {ends}", word]
        assert re.split(r"  +", line.strip()) == said
    assert lines[4].endswith("better") and lines[1].startswith("  clean accuracy")
    differ = table[table["quantity"] == "conditions_differ"]["value"].iloc[0]
    assert lines[5].startswith("  conditions that differ") and f"{differ:g} of 6" in lines[5]
    swapped = call(str(run.path), "--reference", "b").stdout.splitlines()
    assert swapped[0].startswith("a minus b") and swapped[4].endswith("worse")


def test_thresholds(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.9, 0.7, 0.3), ("b", 0): flat(0.9, 0.8)})
    path = str(run.path)
    assert call(path, "--model", "a", "--fail-if", "worst < 0.2").exit_code == 0
    crossed = call(path, "--model", "a", "--fail-if", "worst<.4")
    assert crossed.exit_code == 5 and "a: worst is 0.3 (fourier, eps 10 std)" in crossed.stderr
    assert "accuracy at each strength" in crossed.stdout
    assert call(path, "--fail-if", "difference < 0").exit_code == 0
    assert call(path, "--fail-if", "difference > 0.05").exit_code == 5
    # b never falls to half: eps50 is above the strongest, no more is known.
    assert call(path, "--model", "b", "--fail-if", "eps50 <= 1").exit_code == 0
    unknown = call(path, "--model", "b", "--fail-if", "eps50 < 1e9")
    assert unknown.exit_code == 3 and "b: eps50 is above 1 std (fourier)" in unknown.stderr
    wrong = call(path, "--fail-if", "__import__('os') < 1")
    assert wrong.exit_code == 2 and "worst_crossfit" in wrong.stderr
    for text in ("worst", "worst < x", "worst == 1", "nothing < 1", "worst < nan"):
        with pytest.raises(UsageError, match="expected NAME OP NUMBER"):
            parse_threshold(text)


def test_a_real_sweep_is_compared(models: str, tmp_path: Path) -> None:
    from robustssm.checkpoints.model_names import resolve
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.planning import make_plan
    from robustssm.evaluations.sweep.run import run_sweep

    noises = [Noise("fourier", modes=(1, 3), eps=(0.3, 1.0)), Noise("BandNoise(1, 8)", eps=(0.5,))]
    plan, run = make_plan(resolve(models), noises, limit=60), RunDirectory(tmp_path / "run")
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    results = finish(run)
    found = compare(gather([run]))
    assert [grid.noise for grid in found.grids] == ["fourier", "BandNoise(1, 8)"]
    # The same accuracies by another route.
    wide = results.summary[results.summary["noise"] == "fourier"]
    expected = wide.groupby(["model", "eps"])["accuracy"].mean()
    rows = found.models[found.models["quantity"] == "acc_mean_over_modes"]
    for row in rows[rows["noise"] == "fourier"].to_dict("records"):
        assert row["value"] == pytest.approx(expected[row["model"], row["eps"]], abs=1e-12)
    # The same McNemar tests.
    tests = results.tests[results.tests["noise"] == "fourier"].sort_values(["mode", "eps"])
    modes = found.modes[found.modes["noise"] == "fourier"].sort_values(["mode", "eps"])
    np.testing.assert_array_equal(tests["p"].to_numpy(), modes["p"].to_numpy())
    assert (tests["p_bh"] <= tests["p_holm"]).all() and (tests["p_bh"] >= tests["p"]).all()


def test_help_ends_in_examples() -> None:
    result = call("--help")
    assert result.exit_code == 0
    assert "robustssm compare runs/mine" in result.stdout.partition("Examples")[2]
