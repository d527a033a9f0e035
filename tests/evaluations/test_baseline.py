"""Baselines: files that say everything and nothing else; verdicts by hand and by identities."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import Budget, Fourier, Resonance
from robustssm.checkpoints.model_names import resolve
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.baselines.baseline import (
    Baseline,
    Data,
    Member,
    make_baseline,
)
from robustssm.evaluations.baselines.check import FELL, HELD, MEAN, OPEN, ROSE, UNDECIDED, Check
from robustssm.evaluations.baselines.files import read_baseline, to_text, write_baseline
from robustssm.evaluations.baselines.reach import reach
from robustssm.evaluations.baselines.verdicts import MARGIN, judge
from robustssm.evaluations.statistics.seed_bands import seeds_that_know, unseen
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan, plan_conditions
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory


def sweep(folder: Path, models: str, noise: Noise | None = None, limit: int = 60) -> RunDirectory:
    plan = make_plan(resolve(models), noise or Noise("fourier", modes=(1, 3), eps=(0.3, 1.0)),
                     limit=limit)  # fmt: skip
    run = RunDirectory(folder)
    run.open(plan, [str(folder)])
    assert run_sweep(plan, run).errors == {}
    return run


def test_a_file_says_what_the_cells_say(models: str, tmp_path: Path) -> None:
    run = sweep(tmp_path / "run", models)
    made = make_baseline([run])
    write_baseline(tmp_path / "curve.json", made)
    found = read_baseline(tmp_path / "curve.json")
    assert found.models == ["s4d", "s4ptd_rank1"] and found.data.limit == 60
    assert found.conditions == made.conditions and to_text(found) == to_text(made)
    plan = run.plan()
    for member in found.members:
        own = plan[plan["model"] == member.model].reset_index(drop=True)
        assert set(own["checkpoint"]) == {member.checkpoint}
        assert own.loc[own["noise"] == "clean", "cell"].size == 1
        for row in own.to_dict("records"):
            right = run.rows(row["cell"])["correct"].to_numpy()
            if row["noise"] == "clean":
                assert (member.clean == right).all()
                continue
            (place,) = [k for k, one in enumerate(member.ids)
                        if repr(found.conditions[one].attack) == row["perturbation"]
                        and found.conditions[one].budget.eps == row["eps"]]  # fmt: skip
            assert (member.correct[place] == right).all()


def test_equal_sweeps_give_equal_files(models: str, tmp_path: Path) -> None:
    backwards = ",".join(reversed(models.split(",")))
    noise = Noise("fourier", modes=(3, 1), eps=(1.0, 0.3))
    runs = [sweep(tmp_path / "a", models), sweep(tmp_path / "b", backwards, noise)]
    texts = {to_text(make_baseline([run])) for run in runs}
    assert len(texts) == 1
    content = json.loads(texts.pop())
    assert str(tmp_path) not in json.dumps(content)
    apart = [sweep(tmp_path / "c", models, Noise("fourier", modes=(k,), eps=(0.3, 1.0)))
             for k in (1,)] + [sweep(tmp_path / "d", models, Noise("fourier", modes=(3,),
                                                                   eps=(0.3, 1.0)))]  # fmt: skip
    assert to_text(make_baseline(apart)) == to_text(make_baseline([runs[0]]))


@given(
    eps=st.floats(1e-6, 1e6),
    low=st.floats(-1e6, 0.0) | st.just(-math.inf),
    width=st.floats(1e-3, 1e6),
    omega=st.floats(1e-3, 1e6),
)
@settings(max_examples=50, deadline=None)
def test_conditions_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, eps: float, low: float, width: float, omega: float
) -> None:
    high = max(low, 0.0) + width
    clipped = Budget(eps, "std", "hard", low, high)
    fourier = Condition("f", Fourier(3, phase="cosine"), clipped, "input", 3.0, "bin")
    resonance = Condition("r", Resonance(omega), Budget(eps, "linf"), "layers")
    conditions = {c.id: c for c in (fourier, resonance)}
    data = Data("digits", "0" * 64, 3, None, 0.1, 0)
    right = np.array([True, False, True])
    member = Member("m", 0, "hash", tuple(conditions), right, np.stack([right, ~right]))
    text = to_text(Baseline(data, conditions, (member,)))
    assert "Infinity" not in text and "NaN" not in text
    path = tmp_path_factory.mktemp("baseline") / "curve.json"
    path.write_text(text)
    assert read_baseline(path).conditions == conditions
    # The rows of a stored plan hold a condition exactly, too.
    assert all(Condition.from_row(c.to_row()) == c for c in conditions.values())


def test_unfinished_and_foreign_runs_are_refused(models: str, tmp_path: Path) -> None:
    run = sweep(tmp_path / "run", models)
    plan = run.plan()
    gone = plan[(plan["noise"] == "fourier") & (plan["model"] == "s4d")].iloc[2]
    run.cell_path(gone["cell"]).unlink()
    with pytest.raises(UsageError, match=r"1 of 4 conditions of s4d/0 .*fourier mode 3 eps 0.3"):
        make_baseline([run])
    assert make_baseline([run], ["s4ptd_rank1"]).models == ["s4ptd_rank1"]
    with pytest.raises(UsageError, match="'s4' is in none of the runs"):
        make_baseline([run], ["s4"])
    manifest = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(json.dumps({**manifest, "schema": 1}))
    with pytest.raises(UsageError, match="rows are of schema 1"):
        make_baseline([run], ["s4ptd_rank1"])


def test_damaged_files_are_rejected(models: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    write_baseline(path, make_baseline([sweep(tmp_path / "run", models)]))
    good = path.read_text()
    with pytest.raises(UsageError, match=r"cannot be read .*robustssm baseline"):
        read_baseline(tmp_path / "none.json")
    right = json.loads(good)["models"][0]["outcomes"][0]["right"]
    for bad, message in {
        good[:-20]: "not readable as JSON",
        "{}": "is no robustssm-baseline-1",
        good.replace('"cell_schema": ', '"cell_schema": 9'): "rows are of schema 9",
        good.replace(f'"right": {right}', f'"right": {right + 1}'): "others in its samples",
        good.replace("Fourier(mode=3)", "Fourier(mode=4)", 1): "is damaged",
        good.replace("Fourier(mode=3)", "Nothing(3)"): "is damaged",
        good.replace('"samples": 60', '"samples": 90'): "64 bits for 90 samples",
        good.replace('"noise_seed"', '"seed"'): "is damaged",
    }.items():
        path.write_text(bad)
        with pytest.raises(RejectedInputError, match=message):
            read_baseline(path)


def test_given_conditions_are_planned_as_a_sweep_plans_them(checkpoints: dict[str, Path]) -> None:
    refs = resolve(f"m={checkpoints['s4d']}")
    sweep = make_plan(refs, Noise("fourier", modes=(1, 3), eps=(0.3,)), limit=60)
    found = tuple(cell.condition for cell in sweep.cells if cell.condition)
    given = plan_conditions(refs, found, task="digits:side=8", limit=60)
    assert given.id == sweep.id and given.noises == sweep.noises
    assert given.frame().equals(sweep.frame())


def example(right: np.ndarray, seeds: int = 1) -> tuple[Baseline, list[Member]]:
    """A baseline of `seeds` equal members; right: (1 + conditions, samples), clean first."""
    names = [Condition("fourier", Fourier(k), Budget(0.3), "input", float(k), "bin")
             for k in range(1, len(right))]  # fmt: skip
    conditions = {c.id: c for c in names}
    members = [Member("m", s, f"hash {s}", tuple(conditions), right[0], right[1:])
               for s in range(seeds)]  # fmt: skip
    data = Data("digits", "0" * 64, right.shape[1], None, 0.1, 0)
    return Baseline(data, conditions, tuple(members)), members


def with_outcomes(member: Member, right: np.ndarray) -> Member:
    return replace(member, clean=right[0], correct=right[1:], checkpoint="other")


def verdicts(check: Check) -> list[str]:
    return list(check.table["verdict"])


def test_paired_verdicts_by_hand() -> None:
    right = np.ones((3, 500), dtype=np.bool_)
    baseline, (member,) = example(right)
    after = right.copy()
    after[1, :30] = False  # 6% lost, none gained: p = 2^-30
    after[2, :8] = False  # 1.6%: p = 2^-8, below the margin of 2%
    check = judge(baseline, with_outcomes(member, after), [member])
    assert verdicts(check) == [HELD, FELL, HELD, FELL] and not check.passed
    fourier = check.table.iloc[1]
    # Holm over the clean accuracy and two modes, of two families.
    assert fourier["p"] == pytest.approx(2 * 3 * 2.0**-30, rel=1e-12)
    assert fourier["change"] == pytest.approx(-0.06) and fourier["low"] == pytest.approx(0.98)
    mean = check.table.iloc[3]
    assert mean["noise"] == MEAN and mean["measured"] == pytest.approx(1 - 38 / 1000)
    assert "fourier at bin 1, eps 0.3 std: 0.940, band from 0.980" in check.report()
    # The same fall with a margin beyond it holds; another level needs more samples.
    assert judge(baseline, with_outcomes(member, after), [member], margin=0.07).passed
    assert judge(baseline, with_outcomes(member, after), [member], alpha=1e-9).passed
    # Improvements are told and fail nothing.
    worse, (low,) = example(after)
    better = judge(worse, with_outcomes(low, right), [low])
    assert verdicts(better) == [HELD, ROSE, HELD, ROSE] and better.passed
    for wrong in ({"margin": 1.0}, {"alpha": 0.0}, {"margin": math.nan}):
        with pytest.raises(UsageError, match="expected a margin from 0"):
            judge(baseline, member, [member], **wrong)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_what_is_right_wherever_the_baseline_is_never_falls(seed: int, seeds: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    right = rng.random((4, 100)) < 0.6
    baseline, members = example(right, seeds)
    more = right | (rng.random(right.shape) < 0.3)
    assert judge(baseline, with_outcomes(members[0], more), members).fallen.empty
    check = judge(baseline, members[0], members)
    assert check.same and set(verdicts(check)) <= {HELD, "no band"}
    assert np.isfinite(check.table[["baseline", "measured", "low", "p"]].to_numpy()).all()
    # The order of samples is nothing.
    order = rng.permutation(100)
    less = right & (rng.random(right.shape) < 0.7)
    moved, mixed = example(right[:, order], seeds)
    straight = judge(baseline, with_outcomes(members[0], less), members).table
    shuffled = judge(moved, with_outcomes(mixed[0], less[:, order]), mixed).table
    assert straight["verdict"].equals(shuffled["verdict"])


def test_seeds_make_the_band_wider_than_samples_do() -> None:
    """A fall that pairs of samples make certain is within what seeds of the baseline differ by."""
    right = np.ones((3, 500), dtype=np.bool_)
    baseline, members = example(right, 3)
    for k, member in enumerate(members):
        spread = right.copy()
        spread[1:, : 10 + 20 * k] = False
        members[k] = with_outcomes(member, spread)
    after = right.copy()
    after[1:, :70] = False
    fresh = with_outcomes(members[0], after)
    assert not judge(baseline, fresh, members[:1]).passed
    assert judge(baseline, fresh, members).passed
    after = right.copy()
    after[1, :400] = False
    after[2, :20] = False
    fell = judge(baseline, with_outcomes(members[0], after), members)
    assert verdicts(fell) == [HELD, FELL, HELD, FELL]
    assert (fell.table["low"] <= fell.table["baseline"] - 0.02).all()


def test_two_seeds_far_apart_have_no_band_and_it_says_so() -> None:
    right = np.ones((3, 200), dtype=np.bool_)
    baseline, members = example(right, 2)
    apart = right.copy()
    apart[1:, :150] = False
    members[1] = with_outcomes(members[1], apart)
    check = judge(baseline, with_outcomes(members[0], ~right), members)
    assert verdicts(check).count("no band") >= 2
    assert any("no band at" in line for line in check.notes())


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_the_smallest_fall_that_counts_is_said(seed: int, seeds: int, conditions: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    right = np.ones((1 + conditions, 400), dtype=np.bool_)
    baseline, members = example(right, seeds)
    for k, member in enumerate(members):
        lost = rng.integers(0, 60, len(right))
        members[k] = with_outcomes(member, np.arange(400) >= lost[:, None])
    baseline = replace(baseline, members=tuple(members))
    found = reach(baseline, "m")
    assert len(found.falls) == conditions and found.seeds == seeds
    expected = np.stack([m.correct.mean(1) for m in members]).mean(0)
    for k, fall in enumerate(found.falls):
        for beyond in (-0.02, 0.02):
            after = np.arange(400) >= 400 * (1.0 - np.append(1.0, expected))[:, None]
            # Without a band, chance is no fall.
            least = expected[k] - 0.1 if np.isinf(fall) else fall + beyond
            after[1 + k] = np.arange(400) >= 400 * (1.0 - expected[k] + least)
            table = judge(baseline, with_outcomes(members[0], after), members).table
            verdict = table["verdict"].iloc[1 + k]
            if np.isinf(fall):
                assert verdict == OPEN
            else:
                assert (verdict in (FELL, UNDECIDED)) == (beyond > 0), (fall, beyond)


def test_what_seeds_would_do_is_said() -> None:
    right = np.ones((7, 400), dtype=np.bool_)
    baseline, members = example(right, 2)
    for k, member in enumerate(members):
        members[k] = with_outcomes(member, np.arange(400) >= np.full(7, 40 + 90 * k)[:, None])
    found = reach(replace(baseline, members=tuple(members)), "m")
    assert found.open == 6 and 2 < found.enough < 20
    told = f"so that checks will not pass ({found.enough} seeds of this spread would do)"
    assert "no result above chance could fail at 6; more than a share of 0.2" in str(found)
    assert told in str(found)
    alone = reach(replace(baseline, members=tuple(members[:1])), "m")
    assert "by the samples alone, of one seed" in str(alone) and alone.falls.min() >= MARGIN


def test_names_of_a_baseline(tmp_path: Path) -> None:
    baseline, members = example(np.ones((3, 20), dtype=np.bool_), 2)
    other = replace(members[0], model="n", ids=members[0].ids[:1], correct=members[0].correct[:1])
    both = replace(
        baseline, members=(*members, other, replace(members[0], model="n", train_seed=1))
    )
    assert [m.name for m in both.against("m")] == ["m/0", "m/1"]
    assert [m.name for m in both.against("m/1")] == ["m/1"]
    assert [m.name for m in both.against(None, "m")] == ["m/0", "m/1"]
    assert baseline.against(None, "mine") == tuple(members)
    with pytest.raises(UsageError, match="holds m, n, and 'mine' is none of them"):
        both.against(None, "mine")
    with pytest.raises(UsageError, match="'x' is not in it"):
        both.against("x")
    with pytest.raises(UsageError, match="under different conditions"):
        both.against("n")


@pytest.mark.parametrize(("lower", "seeds", "verdict"), [(20, 3, UNDECIDED), (19, 3, UNDECIDED),
                                                         (17, 3, FELL), (20, 7, FELL)])  # fmt: skip
def test_a_model_below_few_seeds_nearly_everywhere_is_not_judged(
    lower: int, seeds: int, verdict: str
) -> None:
    """It may be a training of another kind, which three seeds have missed, and seven have not."""
    right = np.ones((21, 500), dtype=np.bool_)
    right[:, :50] = False
    baseline, members = example(right, seeds)
    after = right.copy()
    after[1 : 1 + lower, 50:250] = False
    check = judge(baseline, with_outcomes(members[0], after), members)
    (fallen,) = {v for v in verdicts(check) if v in (FELL, UNDECIDED)}
    assert fallen == verdict and not check.passed and check.judged == (verdict == FELL)
    if verdict == UNDECIDED:
        assert check.fallen.empty
        assert "up to 0.105; give the baseline 7 training seeds" in check.not_judged()
        # Of a stricter promise it takes more.
        strict = judge(baseline, with_outcomes(members[0], after), members, alpha=0.01)
        assert f"give the baseline {seeds_that_know(0.01)} training seeds" in strict.not_judged()


def test_the_error_where_trainings_are_of_two_kinds_is_that_of_a_draw() -> None:
    shares, rng = np.linspace(0, 1, 100_001), np.random.default_rng(0)
    for k in (2, 3, 7):
        # The grid is 1e-5 wide, and the function flat at its maximum.
        assert (shares * (1 - shares) ** k).max() == pytest.approx(unseen(k), abs=1e-9)
        other = rng.random((100_000, k + 1)) < 1 / (k + 1)
        share = (~other[:, :k].any(1) & other[:, k]).mean()
        # Four standard deviations of a share of 100,000 draws.
        assert share == pytest.approx(unseen(k), abs=4 * math.sqrt(unseen(k) / 100_000))
        assert seeds_that_know(unseen(k)) == k
