"""What reviewers asked for: frequencies, equal energies, paired tests, poles; small and real."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from robustssm.attacks import Budget, Resonance, perturbed_logits
from robustssm.attacks.base import input_site
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.evaluations.paper import reviewers, running
from robustssm.evaluations.paper.fig3_accuracy import CLEAN
from robustssm.evaluations.paper.reviewers_findings import bands, drops, findings, judged
from robustssm.evaluations.paper.reviewers_sweep import (
    RMS,
    SINUSOID,
    WHITE,
    bits,
    by_frequency,
    frequencies,
    paired,
)
from robustssm.evaluations.sweep import worker
from robustssm.hippo.spectrum import spikes
from robustssm.tasks import load_task
from robustssm.typing import ComplexArray

N = 24
# n = 8 for the small trainings; the bundled networks do not mind at which omega they are asked.
SMALL: dict[str, object] = {
    **reviewers.REPRODUCTION.quick,
    "models": ["s4d", "s5", "s5ptd"],
    "s5_pairs": [["s5ptd", "s5"]],
    "random_pairs": [["s4d", "s5"]],
    "seeds": [0, 1],
    "limit": N,
    "n": 8,
    "count": 1,
    "spikes": 1,
    "octave": 1,
    "eps": [1.0],
    "energies": [1.0],
    "d_model": 4,
    "layers": 2,
    "training_task": "digits:side=8",
    "trainings": {"s4d": {"epochs": 2, "ssm_lr": 1e-2}, "s4": {"epochs": 1, "ssm_lr": 1e-3}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the small run lies."""
    return tmp_path_factory.mktemp("reviewers")


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables at small settings."""
    (recipe,) = running.chosen("reviewers")
    return running.run(recipe, SMALL, folder)


@given(count=st.integers(1, 40), octave=st.sampled_from([1, 3, 9]), around=st.integers(0, 4))
@settings(deadline=None, max_examples=30)
def test_frequencies_hold_every_spike_and_its_octave(count: int, octave: int, around: int) -> None:
    settings_ = {"n": 32, "low": 1.0, "high": 2000.0, "count": count, "spikes": 4}
    frame = frequencies({**settings_, "octave": octave, "around": around})
    omega = frame["omega"].to_numpy()
    assert (np.diff(omega) > 0.0).all() and len(frame) == count + 4 + around * (octave - 1)
    peaks = frame[frame["kind"] == "spike"].sort_values("number")
    # Twelve digits are kept.
    np.testing.assert_allclose(peaks["omega"], spikes(32, 4), rtol=1e-11)
    near = frame.loc[frame["kind"] == "octave", "omega"].to_numpy()
    if around and octave > 1:
        ratio = near[:, None] / spikes(32, around)
        assert np.isclose(ratio, 0.5).any(0).all() and np.isclose(ratio, 2.0).any(0).all()
        # Frequencies are rounded to 12 digits.
        assert (np.abs(np.log2(ratio)).min(1) <= 1.0 + 1e-11).all()


def test_swept_accuracy_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    frame = tables["sweep"]
    assert len(frame) == 3 * 2 * 3 and set(frame["n"]) == {N}
    row = frame[(frame["model"] == "s4d") & (frame["seed"] == 1) & (frame["number"] == 1)].iloc[0]
    task = load_task("digits")
    network, part = load_checkpoint(zoo_path("s4d", 1)).network, task.splits["test"].first(N)
    found, _ = perturbed_logits(
        network,
        torch.from_numpy(part.inputs),
        Resonance(row["omega"]),
        Budget(1.0, "linf"),
        part.sample_id,
        0,
        inject="layers",
        site=input_site(task),
    )
    right = (found.argmax(1).numpy() == part.labels)[np.argsort(part.sample_id)]
    assert row["correct"] == right.sum() and row["accuracy"] == right.mean()
    np.testing.assert_array_equal(bits(frame.loc[[row.name], "right"], N)[0], right)


def test_every_noise_brings_the_same_energy_to_every_sample(
    tables: dict[str, pd.DataFrame],
) -> None:
    noisy = tables["energy"][tables["energy"]["noise"] != CLEAN]
    assert set(noisy["noise"]) == {SINUSOID, WHITE} and len(noisy) == 3 * 2 * 3
    # Three layers of 32 channels and 256 steps.
    wanted = RMS * np.sqrt(3 * 32 * 256)
    for end in ("delivered_low", "delivered_high", "delivered_l2"):
        # What is added is rounded with the float32 input that it is added to, 6e-8 a value.
        np.testing.assert_allclose(noisy[end], wanted, rtol=1e-6)
    assert set(noisy["amplitude"]) == {1.0}
    # In the sweep the amplitude is bounded and the energy random: over all samples its mean
    # square is the same. r^2 cos^2 has relative spread 1.6; of 96 channels times 24 samples that
    # is 3.4 % at one standard error, so 5 % of the root holds at three.
    swept = tables["sweep"][tables["sweep"]["number"] == 1]
    np.testing.assert_allclose(swept["delivered_l2"], wanted, rtol=0.05)


def test_paired_tests_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    tests, frame = tables["s5"], tables["sweep"]
    assert len(tests) == 2 * 2 and set(tests["a"]) == {"s5ptd"}
    for row in tests.itertuples():
        same = (frame["seed"] == row.seed) & (frame["omega"] == row.omega)
        first = bits(frame.loc[same & (frame["model"] == row.a), "right"], N)[0]
        second = bits(frame.loc[same & (frame["model"] == row.b), "right"], N)[0]
        assert row.a_only == (first & ~second).sum() and row.b_only == (second & ~first).sum()
        # The difference of two shares of 24.
        assert row.difference == pytest.approx(first.mean() - second.mean(), abs=1e-15)
        total = int(row.a_only + row.b_only)
        p = binomtest(int(row.a_only), total).pvalue if total else 1.0
        assert row.p == pytest.approx(p, rel=1e-12)
        assert row.p_holm >= row.p


@given(right=arrays(bool, (2, 3, 2, 50)))
@settings(deadline=None, max_examples=10)
def test_exchanged_models_exchange_the_verdict(right: np.ndarray) -> None:
    rows = [
        {
            "model": model,
            "noise": SINUSOID,
            "seed": seed,
            "eps": 1.0,
            "omega": omega,
            "kind": "grid",
        }
        | {"n": 50, "right": np.packbits(right[m, seed, k]).tobytes()}
        for m, model in enumerate("ab")
        for seed in range(3)
        for k, omega in enumerate((1.0, 2.0))
    ]
    frame = pd.DataFrame(rows)
    one, other = paired(frame, [("a", "b")]), paired(frame, [("b", "a")])
    np.testing.assert_array_equal(one["difference"], -other["difference"])
    np.testing.assert_array_equal(one["p_holm"], other["p_holm"])
    first, second = by_frequency(one), by_frequency(other)
    assert list(first["says"]) == list(-second["says"]) and len(first) == 2
    assert list(first["opposite"]) == list(second["opposite"])
    share = right.mean(axis=3)
    # Means of at most six numbers in [-1, 1].
    wanted = (share[0] - share[1]).mean()
    assert first["difference"].mean() == pytest.approx(wanted, abs=1e-12)


def test_bands_and_dips() -> None:
    assert bands([1.0, 2.0, 3.0, 4.0, 5.0], [True, True, False, False, True]) == "1 to 2, 5"
    assert bands([1.0, 2.0], [False, False]) == "none"
    rows = [
        {"model": "s4d", "seed": seed, "noise": noise, "eps": eps, "omega": omega, "kind": "grid"}
        | {"accuracy": accuracy, "n": 100, "number": 0}
        for seed in range(3)
        for noise, eps, omega, accuracy in (
            (CLEAN, 0.0, np.nan, 0.95),
            (SINUSOID, 1.0, 1.0, 0.94),
            (SINUSOID, 1.0, 5.0, 0.3 + 0.01 * seed),
            (SINUSOID, 1.0, 9.0, 0.5),
            # A fall that another seed does not confirm.
            (SINUSOID, 1.0, 12.0, 0.95 if seed else 0.3),
        )
    ]
    found = drops(pd.DataFrame(rows)).set_index("omega")
    assert list(found["dip"]) == [False, True, True, False]
    # 0.95 - 0.31: decimals in binary.
    assert found.loc[5.0, "drop"] == pytest.approx(0.64, abs=1e-12)
    assert np.isnan(found.loc[9.0, "ci_low"])


def test_seeds_that_are_alike_decide_and_a_single_one_does_not() -> None:
    assert judged([0.2, 0.2, 0.2], 0.1) == "agrees"
    assert judged([0.0, 0.0, 0.0], 0.1) == "differs"
    assert judged([0.9], 0.1) == "open"
    assert judged([0.0, 0.4], 0.1) == "open"


def plane(shape: tuple[int, ...]) -> st.SearchStrategy[ComplexArray]:
    """Return complex arrays of moderate size."""
    part = arrays(np.float64, shape, elements=st.floats(-100.0, 100.0, width=32))
    return st.builds(lambda a, b: a + 1j * b, part, part)


@given(start=plane((5, 4)), shift=plane(()), omega=st.floats(1.0, 90.0))
@settings(deadline=None)
def test_poles_that_move_alike(start: ComplexArray, shift: complex, omega: float) -> None:
    shift = complex(shift)
    now = reviewers.row(start + shift, start, omega)
    # Rounding of numbers up to 300.
    assert now["moved_most"] == pytest.approx(abs(shift), abs=1e-12)
    assert now["moved_mean"] == pytest.approx(abs(shift), abs=1e-12)
    before = reviewers.row(start, start, omega)
    assert before["moved_most"] == 0.0 and before["channels"] == 5
    assert now["imag_median"] - before["imag_median"] == pytest.approx(shift.imag, abs=1e-12)
    gap = np.abs(start.imag - omega).min(1)
    assert before["within"] == (gap <= 0.5).sum() and before["gap_median"] == np.median(gap)


def test_trajectories_begin_at_the_spike(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    frame = tables["trajectories"]
    assert len(frame) == 2 * 2 * (3 + 2) and set(frame["channels"]) == {4}
    start = frame[frame["epoch"] == 0]
    assert (start["moved_most"] == 0.0).all() and (start["within"] == 4).all()
    # Parameters are float32: 6e-8 of 20.
    np.testing.assert_allclose(start["imag_median"], spikes(8, 1)[0], atol=2e-6)
    np.testing.assert_allclose(start["damping_median"], 0.5, rtol=1e-6)
    last = frame[(frame["init"] == "s4d") & (frame["epoch"] == 2)]
    assert (last["moved_mean"] > 0.0).all() and (last["moved_mean"] <= last["moved_most"]).all()
    # By another route: the parameters in the file themselves.
    (path,) = (folder / "shared" / "trainings").glob("s4d-0-*/epoch-002.safetensors")
    untrained = load_checkpoint(path.with_name("epoch-000.safetensors")).network.ssm_layers()
    trained = load_checkpoint(path).network.ssm_layers()
    row = last[(last["seed"] == 0) & (last["layer"] == 1)].iloc[0]
    a, b = untrained[1].state_dict(), trained[1].state_dict()
    place = (a["imag"] - spikes(8, 1)[0]).abs().argmin(1, keepdim=True)
    shift = (b["imag"] - a["imag"]).gather(1, place).double()
    damping = torch.exp(b["log_neg_real"].double()) - torch.exp(a["log_neg_real"].double())
    moved = torch.hypot(shift, damping.gather(1, place))
    # Differences of float32 numbers near 20 are exact in float64 and 2e-6 apart in float32.
    assert row["moved_most"] == pytest.approx(float(moved.max()), abs=4e-6)


def test_recipe_resumes_by_cell_and_processes_change_nothing(
    tables: dict[str, pd.DataFrame], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recipe,) = running.chosen("reviewers")
    path = running.stored_path(recipe, recipe.step("sweep"), SMALL, folder)
    # All cells but two, as a killed step leaves them.
    path.unlink()
    cells = sorted((path.with_suffix("") / "cells").iterdir())
    assert len(cells) == len(tables["sweep"])
    for cell in cells[3:5]:
        cell.unlink()
    calls = []
    compute = worker.compute

    def counted(cell: object, options: object) -> bytes:
        calls.append(cell)
        return compute(cell, options)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "compute", counted)
    again = running.run(recipe, SMALL, folder)
    assert len(calls) == 2
    pd.testing.assert_frame_equal(again["sweep"], tables["sweep"])
    # Other pairs are other tests of the same cells.
    running.run(recipe, {**SMALL, "s5_pairs": [["s5", "s5ptd"]]}, folder)
    assert len(calls) == 2
    monkeypatch.undo()
    # Fewer networks, in two processes: their rows are the same.
    fewer: dict[str, object] = {"models": ["s5", "s5ptd"], "seeds": [1]}
    fewer["random_pairs"] = [["s5", "s5ptd"]]
    fewer["trainings"] = {"s4": {"epochs": 1, "ssm_lr": 1e-3}}
    two = running.run(recipe, {**SMALL, **fewer}, tmp_path, jobs=2)
    for name in ("sweep", "energy", "trajectories"):
        whole = tables[name]
        who = whole["init"] == "s4" if name == "trajectories" else whole["model"] != "s4d"
        mine = whole[who & (whole["seed"] == 1)].reset_index(drop=True)
        pd.testing.assert_frame_equal(two[name], mine)


def test_findings_answer_every_question(tables: dict[str, pd.DataFrame]) -> None:
    found = findings(tables)
    said = " ".join(f"{one.quantity}: {one.found}" for one in found)
    for word in ("loses more than", "s5ptd minus s5", "nearest the spike", "white noise"):
        assert word in said, word
    assert "nan" not in said
    assert {one.verdict for one in found} <= {"agrees", "differs", "open", "measured"}
    assert all(one.quantity and one.paper and one.found for one in found)
