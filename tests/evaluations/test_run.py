"""Sweeps: the same bytes however they are computed, and rows that are what the network says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import resolve
from robustssm.errors import StorageError
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.networks.inference import logits
from robustssm.targets import CLASSES
from robustssm.tasks import Split
from tests.watching import Listener


def plan_for(models: str, noise: str = "fourier", limit: int = 60) -> Plan:
    modes = (1, 3) if noise in ("fourier", "resonance") else None
    noise_options = Noise(noise, modes=modes, eps=(0.3, 1.0))
    return make_plan(resolve(models), noise_options, limit=limit)


def run_in(folder: Path, plan: Plan, execution: Execution | None = None) -> dict[str, bytes]:
    run = RunDirectory(folder)
    run.open(plan, [])
    assert run_sweep(plan, run, execution).errors == {}
    finish(run)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file()}  # fmt: skip


@pytest.mark.parametrize("noise", ["fourier", "resonance", "BandPGD(1, 8, steps=2)"])
def test_same_bytes_however_it_is_computed(models: str, tmp_path: Path, noise: str) -> None:
    plan = plan_for(models, noise, limit=24)
    whole = run_in(tmp_path / "whole", plan, Execution(batch_size=64))
    conditions = 2 * (2 if noise != "BandPGD(1, 8, steps=2)" else 1)
    assert len([name for name in whole if name.startswith("cells/")]) == 2 * (1 + conditions)
    for number, execution in enumerate(
        [
            Execution(batch_size=1),
            Execution(batch_size=7),
            Execution(jobs=2),
        ]
    ):
        assert run_in(tmp_path / str(number), plan, execution) == whole


def test_the_order_of_samples_changes_nothing(checkpoints: dict[str, Path]) -> None:
    """Rows of a sample from a shuffled test split are those from the split in order, bit by bit."""
    plan = plan_for(f"m={checkpoints['s4d']}")
    network = load_checkpoint(checkpoints["s4d"]).network
    test = plan.task.splits["test"].first(60)
    order = np.random.default_rng(0).permutation(60)
    shuffled = Split(test.inputs[order], test.labels[order], test.sample_id[order])
    other = replace(plan.task, splits={**plan.task.splits, "test": shuffled})
    for cell in plan.cells[:3]:
        straight = pd.DataFrame(cell_columns(network, cell, plan.task, 64))
        pd.testing.assert_frame_equal(
            pd.DataFrame(cell_columns(network, cell, other, 7)), straight, check_exact=True
        )


def test_a_second_call_computes_nothing(models: str, tmp_path: Path) -> None:
    plan, run = plan_for(models), RunDirectory(tmp_path / "a")
    before = run_in(tmp_path / "a", plan)
    listener = Listener()
    assert run_sweep(plan, run, watcher=listener).computed == 0
    assert listener.seen == [] and run.state(plan.unique).to_compute(True) == []
    assert run_in(tmp_path / "a", plan) == before


def test_kept_workers_store_where_this_process_stands(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers outlive a sweep and stay in the directory they began in."""
    plan = plan_for(models)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        stored = run_in(Path("run"), plan, Execution(jobs=2))
        assert len([name for name in stored if name.startswith("cells/")]) == len(plan.unique)


def test_a_cell_that_is_not_where_it_was_stored_is_an_error(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run = plan_for(models), RunDirectory(tmp_path / "run")
    run.open(plan, [])
    monkeypatch.setattr(
        "robustssm.evaluations.sweep.worker.write_atomically", lambda path, data: None
    )
    with pytest.raises(StorageError, match="is not there"):
        run_sweep(plan, run)


def test_rows_are_what_the_network_says(checkpoints: dict[str, Path]) -> None:
    plan = plan_for(f"m={checkpoints['s4d']}")
    network = load_checkpoint(checkpoints["s4d"]).network
    before = {k: v.clone() for k, v in network.state_dict().items()}
    split = plan.task.splits["test"].first(60)
    clean = pd.DataFrame(cell_columns(network, plan.cells[0], plan.task, 64))
    assert tuple(clean.columns) == CLASSES.columns
    expected = logits(network, torch.from_numpy(split.inputs))
    assert clean["prediction"].tolist() == expected.argmax(1).tolist()
    assert (clean["correct"] == (clean["margin"] > 0)).all()
    assert (clean[["delivered_l2", "delivered_linf"]] == 0).all(axis=None)
    noisy = pd.DataFrame(cell_columns(network, plan.cells[2], plan.task, 64))
    # Root mean square eps times the task's standard deviation, to float32 rounding of the input.
    np.testing.assert_allclose(noisy["delivered_rms"], plan.task.std[0], rtol=1e-5)
    np.testing.assert_allclose(noisy["in_band_share"], 1.0, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not network.ssm_layers()[0]._forward_pre_hooks


def test_tests_are_paired_by_seed(models: str, tmp_path: Path) -> None:
    plan, run = plan_for(models), RunDirectory(tmp_path / "a")
    run_in(tmp_path / "a", plan)
    tests = pd.read_csv(run.path / "tests.csv")
    assert len(tests) == 1 + 4  # clean, two modes at two strengths
    assert (tests["n"] == 60).all() and (tests["p_holm"] >= tests["p"]).all()
    summary = pd.read_csv(run.path / "summary.csv")
    wide = summary.pivot_table(index=["mode", "eps"], columns="model", values="accuracy")
    difference = (wide["s4d"] - wide["s4ptd_rank1"]).to_numpy()
    found = tests.sort_values(["mode", "eps"])["difference"].to_numpy()
    np.testing.assert_allclose(found, difference, atol=1e-12)
