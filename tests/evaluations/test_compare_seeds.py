"""Comparisons over training seeds and at odd strengths: what is said, and what cannot be said."""

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
from robustssm.evaluations.comparison.strength_grid import strength_grids
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import write_parquet
from tests.evaluations.written_runs import flat, share, write_run

AUC, EPS50 = "auc_log_eps_mean_over_modes", "eps50_mean_over_modes"


def call(run: RunDirectory, *arguments: str) -> Result:
    group = Commands("robustssm")
    group.add_command(command)
    return CliRunner().invoke(group, ["compare", str(run.path), *arguments])


def value(table: pd.DataFrame, quantity: str, model: str, **where: Any) -> pd.Series:
    """Return the only row of a quantity; over all seeds where no seed is named."""
    table = table[(table["quantity"] == quantity) & (table["model"] == model)]
    for name, wanted in {"train_seed": "all", **where}.items():
        table = table[table[name] == wanted]
    assert len(table) == 1
    return table.iloc[0]


def seeds(model: str, *middles: float) -> dict[Any, Any]:
    """Curves of a model that differ at eps 1 from seed to seed."""
    return {(model, seed): flat(0.9, v, 0.3) for seed, v in enumerate(middles)}


def two(path: Path, a: tuple[float, ...], b: tuple[float, ...]) -> Comparison:
    return compare(gather([write_run(path, {**seeds("a", *a), **seeds("b", *b)})]))


def test_rows_over_seeds_say_what_errors_are_divided_by(tmp_path: Path) -> None:
    found = two(tmp_path / "run", (0.5, 0.6, 0.7), (0.6, 0.6, 0.9))
    for quantity in ("mce", "relative_mce"):
        for model in "ab":
            detail = value(found.models, quantity, model)["detail"]
            assert "of a, same training seed; 2 of 2 modes have a ratio" in detail
    assert value(found.models, "mce", "a")["detail"].endswith("the same in every seed")


def test_notes_count_the_pairs_that_are_compared(tmp_path: Path) -> None:
    """Four seeds of one model and three of the other make three pairs: p is at least 2 / 8."""
    text = "\n".join(notes(two(tmp_path / "run", (0.5, 0.6, 0.7, 0.5), (0.6, 0.6, 0.9))))
    assert "4 training seeds: mean" in text and "3 training seeds: mean" in text
    assert "3 pairs of training seeds" in text and "sign-flip p is 0.25" in text
    assert "4 pairs" not in text and "0.125" not in text
    # No seed shared but one: a single pair, and nothing over pairs.
    run = write_run(tmp_path / "one", {**seeds("a", 0.5, 0.6), ("b", 1): flat(0.9, 0.8, 0.7)})
    assert "pairs of training seeds" not in "\n".join(notes(compare(gather([run]))))


def test_notes_say_the_resamples_that_were_used(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {**seeds("a", 0.5), **seeds("b", 0.8)})
    text = "\n".join(notes(compare(gather([run]), resamples=150)))
    assert "150 paired bootstrap resamples (seed 20260101)" in text and "2000" not in text
    assert "sign flips (seed 20260101)" in text


def test_seeds_that_agree_leave_no_interval_but_a_p(tmp_path: Path) -> None:
    """b is better by 0.1 in each of three seeds: sign flips say 2 / 8, a width of 0 would lie."""
    found = two(tmp_path / "run", (0.5, 0.6, 0.7), (0.6, 0.7, 0.8))
    row = value(found.differences, "acc_mean_over_modes", "b", eps=1.0)
    assert row["value"] == pytest.approx(0.1) and row["p"] == 0.25
    assert np.isnan([row["ci_low"], row["ci_high"]]).all() and row["interval"] == ""
    assert row["detail"] == "the same in every seed"
    same = value(found.differences, "acc_mean_over_modes", "b", eps=10.0)
    assert same["value"] == 0.0 and same["p"] == 1.0 and np.isnan(same["ci_low"])
    ceiling = value(found.models, "acc_clean", "a")
    assert ceiling["value"] == 1.0 and np.isnan(ceiling["ci_low"]) and ceiling["interval"] == ""


def test_two_perturbations_of_one_condition_are_refused(tmp_path: Path) -> None:
    """Spikes lie elsewhere for each state size, but one model has one set of them."""
    options = {"noise": "resonance", "mode_unit": "spike"}
    runs = [
        write_run(tmp_path / text, {("a", 0): flat(0.9, 0.5)}, perturbation=text, **options)  # type: ignore[arg-type]
        for text in ("Resonance(3.0)", "Resonance(9.0)")
    ]
    with pytest.raises(UsageError, match=r"of a/0 is Resonance\(3\.0\) and Resonance\(9\.0\)"):
        gather(runs)
    # One plan that names a condition twice: the same cell counts once, another is refused.
    plan = runs[0].plan()
    write_parquet(runs[0].path / "plan.parquet", pd.concat([plan, plan], ignore_index=True))
    (twice,) = gather([RunDirectory(runs[0].path)]).members
    assert len(twice.conditions) == len(plan) - 1
    strength_grids(gather([RunDirectory(runs[0].path)]))
    other = plan[plan["noise"] != "clean"].assign(perturbation="Resonance(4.0)")
    for cell in other["cell"]:
        runs[0].cell_path(f"{cell}x").write_bytes(runs[0].cell_path(cell).read_bytes())
    other["cell"] += "x"
    write_parquet(runs[0].path / "plan.parquet", pd.concat([plan, other], ignore_index=True))
    result = call(RunDirectory(runs[0].path))
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1
    assert "noise resonance at spike 1, eps 0.1 std, of a/0 is" in result.stderr


def test_how_many_differ_has_the_p_of_any_difference(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", {("a", 0): flat(0.9, 0.7, 0.3), ("b", 0): flat(0.9, 0.7, 0.8)}
    )
    found = compare(gather([run]))
    rows = {
        name: value(found.differences, f"conditions_{name}", "b", train_seed="0")
        for name in ("differ", "better", "worse")
    }
    assert [row["value"] for row in rows.values()] == [2.0, 2.0, 0.0]
    # Of any difference, of either sign: it says nothing of how many, nor of one sign.
    assert rows["differ"]["p"] == found.modes["p_max_t"].min() < 0.05
    assert np.isnan(rows["better"]["p"]) and np.isnan(rows["worse"]["p"])
    assert rows["better"]["p_test"] == rows["worse"]["p_test"] == ""
    assert "conditions that differ" in call(run).stdout


def test_eps_0_is_left_out_of_the_curve_and_said(tmp_path: Path) -> None:
    """The clean point has no logarithm; AUC and eps50 are those of the other strengths."""
    curve = flat(0.9, 0.7, 0.3)
    without = write_run(tmp_path / "1", {("a", 0): curve})
    zero = {(mode, 0.0): share(1.0) for mode in (1.0, 2.0)}
    run = write_run(tmp_path / "2", {("a", 0): {**zero, **curve}})
    found, expected = compare(gather([run])), compare(gather([without]))
    columns = ["value", "ci_low", "ci_high", "interval", "censored"]
    for quantity in (AUC, EPS50):
        own = value(found.models, quantity, "a", train_seed="0")[columns]
        assert own.equals(value(expected.models, quantity, "a", train_seed="0")[columns])
    text = "\n".join(notes(found))
    assert "eps 0 std is the clean point and has no logarithm: it is left out" in text
    assert "trapezoids, 0.1 to 10 std" in text
    # Fallen to half at the weakest strength already: below 0.1, not below 0.
    low = {("a", 0): {**zero, **flat(0.3, 0.2, 0.1)}}
    weak = value(compare(gather([write_run(tmp_path / "3", low)])).models, EPS50, "a",
                 train_seed="0")  # fmt: skip
    assert (weak["value"], weak["censored"]) == (0.1, "weaker")
    one = {("a", 0): {**zero, **{(m, 1.0): share(0.5) for m in (1.0, 2.0)}}}
    lone = compare(gather([write_run(tmp_path / "4", one)]))
    assert AUC not in set(lone.models["quantity"])
    assert "fewer than two, so none of these" in "\n".join(notes(lone))


def test_decibels_differ_and_have_no_ratio(tmp_path: Path) -> None:
    def at(*curve: float) -> dict[Any, Any]:
        return {(1.0, snr): share(v) for snr, v in zip((20.0, 0.0, -20.0), curve, strict=True)}

    curves = {("a", 0): at(0.9, 0.6, 0.2), ("b", 0): at(0.9, 0.8, 0.2)}
    clean = {key: share(0.9) for key in curves}
    run = write_run(tmp_path / "run", curves, clean, unit="snr-db", mode_unit="")
    found = compare(gather([run]))
    assert "eps50_ratio" not in set(found.differences["quantity"])
    row = value(found.differences, "eps50_difference_db", "b", train_seed="0")
    own = [value(found.models, EPS50, m, train_seed="0")["value"] for m in "ba"]
    # 0.5 lies midway from 0.8 to 0.2, and a quarter from 0.6 to 0.2, of 20 dB.
    assert own == pytest.approx([-10.0, -5.0]) and row["value"] == pytest.approx(-5.0)
    assert row["ci_low"] < -5.0 < row["ci_high"] and row["eps_unit"] == "snr-db"
    assert "eps50, difference in dB" in call(run, "--full").stdout
    # A difference of decibels is 20 log10 of the ratio of amplitudes, with the sign turned.
    amplitudes = {
        key: {(m, float(10 ** (-snr / 20))): right for (m, snr), right in own.items()}
        for key, own in curves.items()
    }
    ratio = compare(gather([write_run(tmp_path / "std", amplitudes, clean, mode_unit="")]))
    expected = value(ratio.differences, "eps50_ratio", "b", train_seed="0")
    for name, other in {"value": "value", "ci_low": "ci_high", "ci_high": "ci_low"}.items():
        assert row[name] == pytest.approx(-20 * np.log10(expected[other]), abs=1e-9)  # ulps of logs


@pytest.mark.parametrize(
    ("third", "threshold", "code", "said"),
    [
        # Seeds at 10^0.5 twice, the third above 10: the mean is above 10^(2/3) = 4.64.
        (0.8, "eps50 < 4", 0, ""),
        (0.8, "eps50 > 4", 5, "a: eps50 is above 4.642 std"),
        (0.8, "eps50 < 6", 3, "a: eps50 is above 4.642 std"),
        (0.8, "eps50 > 6", 3, "undecided by the strengths tried"),
    ],
)
def test_a_mean_eps50_of_censored_seeds_is_bounded(
    tmp_path: Path, third: float, threshold: str, code: int, said: str
) -> None:
    curves = {("a", seed): flat(0.9, 0.7, last) for seed, last in enumerate((0.3, 0.3, third))}
    run = write_run(tmp_path / "run", curves, {key: share(0.9) for key in curves})
    row = value(compare(gather([run])).models, EPS50, "a")
    assert np.isnan(row["value"]) and "no mean: 1 of 3 seeds" in row["detail"]
    result = call(run, "--fail-if", threshold)
    assert result.exit_code == code and said in result.stderr
    assert len(result.stderr.strip().splitlines()) == (1 if code else 0)


def test_an_eps50_below_all_strengths_is_bounded(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {("a", 0): flat(0.3, 0.2, 0.1)}, {("a", 0): share(0.9)})
    assert call(run, "--fail-if", "eps50 < 0.2").exit_code == 5
    assert call(run, "--fail-if", "eps50 > 0.1").exit_code == 0
    unknown = call(run, "--fail-if", "eps50 < 0.01")
    assert unknown.exit_code == 3 and "a: eps50 is below 0.1 std" in unknown.stderr
    both = {("a", 0): flat(0.3, 0.2, 0.1), ("a", 1): flat(0.9, 0.8, 0.7)}
    run = write_run(tmp_path / "both", both, {key: share(0.9) for key in both})
    unknown = call(run, "--fail-if", "eps50 < 1")
    assert unknown.exit_code == 3 and "above them in one seed and below" in unknown.stderr
    # Decibels run the other way: the strongest tried is -20 dB.
    loud = {("a", 0): {(1.0, snr): share(0.9) for snr in (20.0, 0.0, -20.0)}}
    run = write_run(tmp_path / "db", loud, unit="snr-db", mode_unit="")
    assert call(run, "--fail-if", "eps50 >= -20").exit_code == 0
    assert call(run, "--fail-if", "eps50 < 0").exit_code == 5
    assert call(run, "--fail-if", "eps50 < -30").exit_code == 3
