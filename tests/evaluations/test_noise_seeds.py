"""Replicates of the noise: several seeds of it crossed with the training seeds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robustssm.checkpoints.model_names import resolve
from robustssm.errors import UsageError
from robustssm.evaluations.baselines.baseline import make_baseline
from robustssm.evaluations.comparison.comparable import gather
from robustssm.evaluations.comparison.comparison import Comparison, compare
from robustssm.evaluations.comparison.variance_components import _rows
from robustssm.evaluations.results.cell_reader import digest_cells
from robustssm.evaluations.results.inspection import inspect
from robustssm.evaluations.results.summary import over_seeds, perturbed, summarise
from robustssm.evaluations.results.tables import Tables, finish, read_tables, tidy
from robustssm.evaluations.statistics.intervals import in_words, student, wilson
from robustssm.evaluations.statistics.replicates import crossed_interval, from_words, spread
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory

DRAWS = 3
N = 60


def swept(path: Path, names: str, seed: int = 0, noise_seeds: int = 1) -> RunDirectory:
    noise = Noise("fourier", "1,2", eps=(0.3, 1.0))
    plan = make_plan(resolve(names), noise, seed=seed, noise_seeds=noise_seeds, limit=N)
    run = RunDirectory(path)
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    finish(run)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunDirectory]:
    """A run of three seeds of the noise, and a run of each of them."""
    folder, names = tmp_path_factory.mktemp("draws"), "s4d/*,s4ptd/*"
    whole = swept(folder / "whole", names, noise_seeds=DRAWS)
    return [whole, *(swept(folder / f"{k}", names, seed=k) for k in range(DRAWS))]


@pytest.fixture(scope="module")
def tables(runs: list[RunDirectory]) -> list[Tables]:
    return [read_tables(inspect(run.path)) for run in runs]


@pytest.fixture(scope="module")
def compared(runs: list[RunDirectory]) -> list[Comparison]:
    return [compare(gather([run]), resamples=50) for run in runs]


def mean_of(parts: Sequence[pd.DataFrame], column: str) -> pd.Series:
    return sum(part[column] for part in parts) / len(parts)


def test_a_replicate_is_the_run_of_its_seed(runs: list[RunDirectory]) -> None:
    """The same cells under the same ids, to the byte; the clean evaluation is made once."""
    whole, *single = runs
    cells = {run.path.name: set(run.plan()["cell"]) for run in runs}
    assert set().union(*(cells[run.path.name] for run in single)) == cells["whole"]
    for run in single:
        for cell in run.plan()["cell"]:
            name = f"cells/{cell}.parquet"
            assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert whole.plan()["noise"].eq("clean").sum() == 6


def test_more_replicates_go_on_in_the_same_directory(tmp_path: Path) -> None:
    run = swept(tmp_path / "run", "s4d")
    before = {path: path.stat().st_mtime_ns for path in (run.path / "cells").glob("*.parquet")}
    swept(run.path, "s4d", noise_seeds=2)
    assert len(RunDirectory(run.path).plan()) == 1 + 4 * 2
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    with pytest.raises(UsageError, match="number of noise seeds: 2 -> none"):
        swept(run.path, "s4d")


def test_the_summary_is_the_mean_over_draws(tables: list[Tables]) -> None:
    whole, *single = (table.summary for table in tables)
    assert whole["accuracy"].to_numpy() == pytest.approx(mean_of(single, "accuracy"), abs=1e-15)
    noisy = whole["noise"] != "clean"
    assert set(whole.loc[noisy, "noise_seeds"]) == {DRAWS}
    assert set(whole.loc[~noisy, "noise_seeds"]) == {1}
    for place in np.flatnonzero(noisy):
        assert whole["by_noise_seed"][place] == in_words(s["accuracy"][place] for s in single)
    assert not {"noise_seeds", "by_noise_seed"} & set(single[0])


def test_the_interval_over_seeds_is_crossed(tables: list[Tables]) -> None:
    whole, *single = (perturbed(table.summary) for table in tables)
    row = over_seeds(whole).iloc[0]
    own = [s[(s["model"] == "s4d") & (s["mode"] == 1.0) & (s["eps"] == 0.3)] for s in single]
    values = np.stack([part["accuracy"].to_numpy() for part in own], axis=1)
    low, high = crossed_interval(values)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-14)
    assert row["interval"] == "seeds of training and noise (Student)"
    assert row["noise_seeds"] == DRAWS


def test_a_missing_draw_leaves_its_place_empty(runs: list[RunDirectory]) -> None:
    """Draws of other training seeds keep theirs; what lacks one has no interval over draws."""
    run = runs[0]
    plan, cells = run.plan(), digest_cells(run)
    one = plan[(plan["model"] == "s4d") & (plan["mode"] == 1.0) & (plan["eps"] == 0.3)]
    gone = one[(one["train_seed"] == 1) & (one["seed"] == 1)]["cell"].item()
    before = perturbed(summarise(run, cells))
    after = perturbed(summarise(run, {c: found for c, found in cells.items() if c != gone}))
    changed = (before["by_noise_seed"] != after["by_noise_seed"]).to_numpy()
    assert changed.sum() == 1
    was, now = (from_words(table.loc[changed, "by_noise_seed"])[0] for table in (before, after))
    assert np.isnan(now[1])
    assert np.array_equal(np.delete(now, 1), np.delete(was, 1))
    assert over_seeds(after).iloc[0][["interval"]].tolist() == [""]
    assert over_seeds(after).iloc[1]["interval"] == over_seeds(before).iloc[1]["interval"]


def test_what_stands_in_a_run_is_read_back(runs: list[RunDirectory], tables: list[Tables]) -> None:
    assert not tables[0].stale
    found = tidy(runs[0], tables[0].summary)
    assert list(found["cell"]) == list(tables[0].summary["cell"]) and found["seed"].eq(0).all()


def test_each_draw_has_its_own_paired_test(tables: list[Tables]) -> None:
    whole, *single = (table.tests for table in tables)
    names = ["model_a", "seed_a", "model_b", "seed_b", "noise", "mode", "eps"]
    for seed, tests in enumerate(single):
        noisy = tests[tests["noise"] != "clean"]
        own = whole[(whole["noise_seed"] == seed) & (whole["noise"] != "clean")]
        both = noisy.merge(own, on=names, suffixes=("", "_whole"), validate="one_to_one")
        assert len(both) == len(noisy) == len(own)
        assert (both["p"] == both["p_whole"]).all()
    said = tables[0].verdicts()
    assert "in every pair of training seeds and draws of the noise" in said[0]


def test_a_comparison_is_of_the_mean_over_draws(compared: list[Comparison]) -> None:
    whole, *single = compared
    for name in ("models", "differences"):
        table, parts = getattr(whole, name), [getattr(one, name) for one in single]
        for quantity in ("acc_mean_over_modes", "auc_log_eps_mean_over_modes", "acc_clean"):
            rows = (table["quantity"] == quantity) & (table["train_seed"] != "all")
            own = table[rows]
            each = [part[rows] for part in parts]
            assert own["value"].to_numpy() == pytest.approx(mean_of(each, "value"), abs=1e-12)
            draws = from_words(own["by_noise_seed"])
            expected = np.stack([part["value"].to_numpy() for part in each], axis=1)
            assert draws == pytest.approx(expected, abs=1e-12)


def test_components_are_those_of_the_table(compared: list[Comparison]) -> None:
    whole = compared[0]
    models = whole.models[whole.models["quantity"] == "acc_mean_over_modes"]
    for (model, eps), rows in whole.components.groupby(["model", "eps"]):
        own = models[(models["model"] == model) & (models["eps"] == eps)]
        draws = from_words(own.loc[own["train_seed"] != "all", "by_noise_seed"])
        alone = rows[rows["reference"] == ""].set_index("varies")
        assert alone.loc["training seed", "sd"] == pytest.approx(
            np.sqrt(np.mean([np.var(column, ddof=1) for column in draws.T])), rel=1e-9
        )
        assert alone.loc["noise seed", "sd"] == pytest.approx(
            np.sqrt(np.mean([np.var(row, ddof=1) for row in draws])), rel=1e-9
        )
    assert set(whole.components["reference"]) == {"", "s4d"}
    assert compared[1].components.empty


def test_samples_and_noise_make_up_the_variance_of_a_run() -> None:
    """Shares of draws are drawn; a run's accuracy varies as a binomial does, whatever the split."""
    rng, n, draws = np.random.default_rng(5), 300, 4
    total = []
    for _ in range(400):
        chance = rng.beta(0.8, 0.4, n)
        right = rng.random((draws, n)) < chance
        table = right.mean(1)[None, None]
        rows = pd.DataFrame(_rows("a", "", np.ones(1), table, right.mean(0)[None, None]))
        squares = rows.set_index("varies")["sd"] ** 2
        total.append(squares["noise seed"] + squares["samples"])
    # The mean of 400 variances, each within some 40 %: 5 standard errors are a tenth.
    assert np.mean(total) == pytest.approx((2 / 3) * (1 / 3) / n, rel=0.1)


def test_a_baseline_is_of_one_draw(runs: list[RunDirectory]) -> None:
    with pytest.raises(UsageError, match=r"draws its noise with 3 seeds, expected one.*--reuse"):
        make_baseline([runs[0]])
    with pytest.raises(UsageError, match=r"noise seed \(0, 1, 2, 0\)"):
        gather(runs[:2])


# Crossed intervals.


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_one_draw_is_student(values: list[float]) -> None:
    column = np.array(values)[:, None]
    assert crossed_interval(column) == pytest.approx(student(values), nan_ok=True)


def test_crossed_by_hand() -> None:
    """Rows 0 and 2, columns equal: the columns say nothing, and Student's interval remains."""
    table = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    half = stats.t.ppf(0.975, 1)
    assert crossed_interval(table) == pytest.approx((1 - half, 1 + half), rel=1e-12)
    assert np.isnan(crossed_interval(np.ones((3, 2)))).all()
    assert np.isnan(crossed_interval(np.array([[0.1, 0.2]]))).all()
    sd, low, high = spread(table, 0)
    assert sd == pytest.approx(np.sqrt(2.0)) and low < sd < high
    assert spread(table, 1)[0] == 0.0 and np.isnan(spread(table[:1], 0)).all()


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (3, 10), (5, 3)])
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0, 3.0])
def test_crossed_intervals_cover(shape: tuple[int, int], noise: float) -> None:
    """Standard deviations 1 of training seeds, `noise` of draws, 0.3 of what belongs to a pair.

    2,000 tables: a coverage of .95 is seen as .932 or more but once in 10,000.
    """
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(2000):
        table = rng.normal(0, 1, (shape[0], 1)) + rng.normal(0, noise, (1, shape[1]))
        low, high = crossed_interval(table + rng.normal(0, 0.3, shape))
        hits += low <= 0.0 <= high
    assert hits >= 0.932 * 2000


def test_wilson_of_a_mean_count_covers() -> None:
    """Samples differ in how often they are right; the mean of draws varies less than one draw."""
    rng, n = np.random.default_rng(3), 200
    hits = 0
    for _ in range(2000):
        right = rng.random((3, n)) < rng.beta(0.6, 0.3, n)
        low, high = wilson(right.mean(0).sum(), n)
        hits += bool(low <= 2 / 3 <= high)
    assert hits >= 0.95 * 2000
