"""Recipes: steps run once, resume, depend on their settings; their numbers by a second route."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.initializations.inputs import parse_input
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import response
from robustssm.evaluations.initializations.trade_off import report
from robustssm.evaluations.paper import appendix_f, bound, fig1, running
from robustssm.evaluations.paper.reproduction import Context, Finding, Reproduction, Step
from robustssm.hippo import legs
from robustssm.hippo.initializations import parse
from robustssm.hippo.ptd_methods import make
from tests.reference import normal_part


class KilledError(Exception):
    """Stands for a kill in the middle of a step."""


def counting(calls: list[str], fail: list[str]) -> Reproduction:
    """Return a recipe of two steps that notes its calls; steps named in `fail` are killed."""

    def first(context: Context) -> pd.DataFrame:
        calls.append("first")
        return pd.DataFrame({"x": np.arange(int(str(context.settings["size"])), dtype=np.float64)})

    def second(context: Context) -> pd.DataFrame:
        calls.append("second")
        if "second" in fail:
            raise KilledError
        return context.tables["first"] * float(str(context.settings["factor"]))

    def findings(tables: object) -> list[Finding]:
        return [Finding("q", "p", "f", "agrees")]

    steps = (
        Step("first", first, uses=("size",)),
        Step("second", second, uses=("factor",), needs=("first",)),
    )
    settings = {"size": 3, "factor": 2.0}
    return Reproduction("counting", "what runs when", steps, settings, settings, findings)


def test_a_finished_step_is_not_run_again(tmp_path: Path) -> None:
    calls: list[str] = []
    recipe = counting(calls, [])
    once = running.run(recipe, recipe.quick, tmp_path)
    again = running.run(recipe, recipe.quick, tmp_path)
    assert calls == ["first", "second"]
    for name in once:
        pd.testing.assert_frame_equal(once[name], again[name])


def test_after_a_kill_only_the_rest_runs(tmp_path: Path) -> None:
    calls: list[str] = []
    fail = ["second"]
    recipe = counting(calls, fail)
    with pytest.raises(KilledError):
        running.run(recipe, recipe.quick, tmp_path)
    fail.clear()
    tables = running.run(recipe, recipe.quick, tmp_path)
    assert calls == ["first", "second", "second"]
    assert list(tables["second"]["x"]) == [0.0, 2.0, 4.0]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("changed", "runs"),
    [({"factor": 5.0}, ["second"]), ({"size": 4}, ["first", "second"])],
)
def test_a_changed_setting_runs_what_depends_on_it(
    tmp_path: Path, changed: dict[str, object], runs: list[str]
) -> None:
    calls: list[str] = []
    recipe = counting(calls, [])
    running.run(recipe, recipe.quick, tmp_path)
    calls.clear()
    running.run(recipe, {**recipe.quick, **changed}, tmp_path)
    assert calls == runs
    calls.clear()
    running.run(recipe, recipe.quick, tmp_path)
    assert not calls, "the first settings' results are kept beside the others"


def test_a_damaged_table_is_rejected_by_name(tmp_path: Path) -> None:
    recipe = counting([], [])
    running.run(recipe, recipe.quick, tmp_path)
    path = running.stored_path(recipe, recipe.steps[0], recipe.quick, tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RejectedInputError, match=path.name):
        running.run(recipe, recipe.quick, tmp_path)


def test_a_recipe_that_cannot_run_is_no_recipe() -> None:
    step = Step("a", lambda context: pd.DataFrame())
    with pytest.raises(UsageError, match="quick and full"):
        Reproduction("r", "", (step,), {"x": 1}, {}, lambda tables: [])
    with pytest.raises(UsageError, match="step a"):
        Reproduction("r", "", (step, step), {}, {}, lambda tables: [])
    with pytest.raises(UsageError, match="later"):
        later = Step("b", step.compute, needs=("later",))
        Reproduction("r", "", (later,), {}, {}, lambda tables: [])
    with pytest.raises(UsageError, match="no step"):
        Reproduction("r", "", (step,), {}, {}, lambda tables: []).step("c")


def test_recipes_are_found_by_name() -> None:
    known = running.reproductions()
    assert {"fig1", "appendix-f", "bound"} <= set(known)
    assert running.chosen("all") == [one for one in known.values() if one.name != "study"]
    assert running.chosen("fig1") == [known["fig1"]]
    with pytest.raises(UsageError, match="fig99"):
        running.chosen("fig99")


def test_spikes_follow_their_closed_forms() -> None:
    settings = {**fig1.REPRODUCTION.quick, "sizes": [64, 256, 1024]}
    rows = fig1.peaks(Context(settings, {}, Path(), Path()))
    for row in rows.itertuples():
        # y_k = n^2 / q - q / 6 + O(n^-2), q = (2k - 1) pi: the next term is below q^3 / n^2.
        q = (2 * row.rank - 1) * np.pi
        assert abs(row.eigenfrequency - row.n**2 / q + q / 6.0) < q**3 / row.n**2
        # The height tends to 2 / q with a relative error of order k^2 / n (0.2 at n = 64, k = 5).
        assert row.height == pytest.approx(2.0 / q, rel=4.0 * row.rank**2 / row.n)
        assert row.hippo == pytest.approx(1.0 / np.hypot(1.0, row.omega), rel=1e-12)
        assert not row.log_height > row.height * (1.0 + 1e-9)
    # A refined maximum is at least the value at the eigenfrequency.
    system = response(parse("s4d"), read_readout("e0", 64))
    mine = rows[rows["n"] == 64]
    there = np.abs(system.transfer(mine["eigenfrequency"].to_numpy()))
    assert (mine["height"].to_numpy() >= there).all()


def test_log_grid_misses_the_last_spike_of_large_n() -> None:
    rows = fig1.peaks(Context({**fig1.REPRODUCTION.quick, "sizes": [16, 256]}, {}, Path(), Path()))
    shown = (rows["log_height"] / rows["height"])[rows["rank"] == 1].to_numpy()
    # Spacing of the grid at the spike is 0.0018 omega: 0.15 at n = 16, 38 at n = 256, against a
    # half-width of 1/2.
    assert shown[0] > 0.9 and shown[1] < 0.5


@pytest.mark.parametrize("text", ["impulse", "exp", "mode:10"])
def test_outputs_solve_the_differential_equation(text: str) -> None:
    n = 8
    signal = parse_input(text, n)
    A, B = normal_part(n), 0.5 * legs.input_vector(n)
    start = B if text == "impulse" else np.zeros(n)

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        u = 0.0 if text == "impulse" else np.exp(-t) * np.cos(signal.value * t)
        return np.asarray(A @ x + B * u)

    t = np.linspace(0.0, 3.0, 31)
    solved = solve_ivp(slope, (0.0, 3.0), start, t_eval=t, rtol=1e-10, atol=1e-12)
    mine = appendix_f.output(response(parse("s4d"), read_readout("e0", n)), signal, t)
    # The solver's tolerance over a few hundred steps.
    np.testing.assert_allclose(mine, solved.y[0], atol=1e-7)


@pytest.mark.parametrize("n", [4, 16, 32])
def test_constant_of_first_order_is_the_sup_of_the_squared_resolvent(n: int) -> None:
    A, _ = legs.matrices(n)
    omega = np.concatenate([[0.0], np.geomspace(1e-3, 1e6, 300)])
    norms = np.linalg.norm(np.linalg.inv(1j * omega[:, None, None] * np.eye(n) - A), 2, (1, 2))
    # Rounding of an inverse of condition below 1e4.
    assert bound.first_order(n) == pytest.approx(float(norms.max()) ** 2, rel=1e-10)
    assert bound.first_order(n) <= 2.0 * np.log(n) + 4.0


def test_no_stable_perturbation_exceeds_the_proved_bound() -> None:
    rows = bound.rows(Context({"sizes": [6]}, {}, Path(), Path()))
    proved = rows.dropna(subset=["sharp", "worst_error"])
    assert len(proved) and (proved["worst_error"] <= proved["sharp"]).all()
    # The norm comes back from |E| / |A|, and unit B is measured: two roundings.
    made = make("corner", 6, size=0.1)
    row = rows[rows["settings"] == "|E|=0.1"].iloc[0]
    result = report(made, {}).bounds[0]
    assert row["eps"] == pytest.approx(0.1, rel=1e-12)
    assert row["paper"] == pytest.approx(result.value, rel=1e-12)
    assert row["measured"] == pytest.approx(result.measured, rel=1e-12)


@pytest.mark.parametrize("text", ["impulse", "exp", "mode:3"])
def test_outputs_differ_by_the_errors_of_converge(text: str) -> None:
    settings = {"sizes": [8, 16], "inputs": [text]}
    rows = appendix_f.errors(Context(settings, {}, Path(), Path())).set_index("n")
    t = np.linspace(0.0, 30.0, 300001)
    signal = parse_input(text, 16)
    mine = appendix_f.output(response(parse("s4d"), read_readout("e0", 16)), signal, t)
    energy = np.trapezoid(np.square(mine - appendix_f.hippo_output(signal, t)), t)
    # Steps of 1e-4 against omega = 81: (omega dt)^2 / 12 = 5e-6; e^-30 is left out.
    assert rows.loc[16, "error"] == pytest.approx(np.sqrt(energy), rel=1e-4)
