"""Sweeps: resume to the same bytes, batches and workers that change nothing, failures kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from robustssm.checkpoints import load_checkpoint
from robustssm.errors import UsageError
from robustssm.evaluations.conditions import Noise
from robustssm.evaluations.outcomes import evaluate
from robustssm.evaluations.plan import Plan, make_plan
from robustssm.evaluations.results import finish
from robustssm.evaluations.run import Execution, run_sweep
from robustssm.evaluations.store import COLUMNS, RunDirectory
from robustssm.inference import logits
from robustssm.zoo import resolve


def plan_for(models: str, noise: str = "fourier") -> Plan:
    noise_options = Noise(noise, modes=(1, 3), eps=(0.3, 1.0))
    return make_plan(resolve(models), noise_options, limit=60)


def run_in(folder: Path, plan: Plan, batch_size: int = 64, jobs: int = 1) -> dict[str, bytes]:
    run = RunDirectory(folder)
    run.open(plan, [])
    assert run_sweep(plan, run, Execution(batch_size=batch_size, jobs=jobs)) == {}
    finish(run)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file()}  # fmt: skip


@pytest.mark.parametrize("noise", ["fourier", "resonance"])
def test_same_bytes_whatever_the_batch_and_the_workers(
    models: str, tmp_path: Path, noise: str
) -> None:
    plan = plan_for(models, noise)
    whole = run_in(tmp_path / "a", plan, batch_size=60)
    assert len([name for name in whole if name.startswith("cells/")]) == 2 + 2 * 2 * 2
    for folder, options in {"b": {"batch_size": 7}, "c": {"jobs": 2}}.items():
        assert run_in(tmp_path / folder, plan, **options) == whole


def test_a_second_call_computes_nothing(models: str, tmp_path: Path) -> None:
    plan, run = plan_for(models), RunDirectory(tmp_path / "a")
    before = run_in(tmp_path / "a", plan)
    seen: list[str] = []
    run.open(plan, [])
    run_sweep(plan, run, report=lambda cell, error: seen.append(cell))
    assert seen == [] and run.missing(plan) == []
    assert run_in(tmp_path / "a", plan) == before


def test_rows_are_what_the_network_says(checkpoints: dict[str, Path]) -> None:
    plan = plan_for(f"m={checkpoints['s4d']}")
    network = load_checkpoint(checkpoints["s4d"]).network
    before = {k: v.clone() for k, v in network.state_dict().items()}
    split = plan.task.splits["test"].first(60)
    clean = evaluate(network, plan.cells[0], plan.task, 64)
    assert tuple(clean.columns) == COLUMNS
    expected = logits(network, torch.from_numpy(split.inputs))
    assert clean["prediction"].tolist() == expected.argmax(1).tolist()
    assert (clean["correct"] == (clean["margin"] > 0)).all()
    assert (clean[["delivered_l2", "delivered_linf"]] == 0).all(axis=None)
    noisy = evaluate(network, plan.cells[2], plan.task, 64)
    # Root mean square eps times the task's standard deviation, to float32 rounding of the input.
    np.testing.assert_allclose(noisy["delivered_rms"], plan.task.std[0], rtol=1e-5)
    np.testing.assert_allclose(noisy["in_band_share"], 1.0, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not network.ssm_layers()[0]._forward_pre_hooks


def test_a_failing_cell_is_stored_and_the_others_go_on(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    doomed = tmp_path / "doomed.safetensors"
    doomed.write_bytes(checkpoints["s4ptd-rank1"].read_bytes())
    plan = plan_for(f"good={checkpoints['s4d']},doomed={doomed}")
    doomed.unlink()
    run = RunDirectory(tmp_path / "run")
    run.open(plan, [])
    errors = run_sweep(plan, run)
    assert len(errors) == 5 and all("no such file" in e for e in errors.values())
    assert "Traceback" in run.error_path(next(iter(errors))).read_text()
    summary = finish(run).summary
    assert set(summary["model"]) == {"good"} and len(summary) == 5
    doomed.write_bytes(checkpoints["s4ptd-rank1"].read_bytes())
    assert run_sweep(plan, run) == {} and list((run.path / "errors").iterdir()) == []


def test_directories_of_others_are_left_alone(models: str, tmp_path: Path) -> None:
    plan = plan_for(models)
    before = run_in(tmp_path / "run", plan)
    other = plan_for(models, "resonance")
    with pytest.raises(UsageError, match="another sweep"):
        RunDirectory(tmp_path / "run").open(other, [])
    assert run_in(tmp_path / "run", plan) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no sweep"):
        RunDirectory(tmp_path / "notes").open(plan, [], overwrite=True)
    RunDirectory(tmp_path / "run").open(other, [], overwrite=True)
    assert list((tmp_path / "run" / "cells").iterdir()) == []


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


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_run(models: str, tmp_path: Path) -> None:
    """SIGKILL in mid-sweep; the resumed directory equals an uninterrupted one, byte by byte."""
    command = [
        sys.executable, "-m", "robustssm.cli", "sweep", "--model", models, "--noise", "fourier",
        "--modes", "1-12", "--eps", "0.1,0.3,1", "--jobs", "1", "--output",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    run = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, str(run)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(run.glob("cells/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(run.glob("cells/*.parquet")))
    assert 0 < done < 74, "the kill came before the first cell or after the last"
    for folder in (run, tmp_path / "straight"):
        subprocess.run([*command, str(folder)], env=environment, check=True, capture_output=True)
    resumed = {p.name: p.read_bytes() for p in run.glob("cells/*.parquet")}
    straight = {p.name: p.read_bytes() for p in (tmp_path / "straight").glob("cells/*.parquet")}
    assert len(straight) == 74 and resumed == straight
    for name in ("summary.csv", "tests.csv"):
        assert (run / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
