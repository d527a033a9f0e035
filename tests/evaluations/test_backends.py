"""Kills: of the sweep, of its workers, of a Dask worker. Nothing is lost, nothing done twice."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from robustssm.attacks import Fourier
from robustssm.attacks.base import Site, family
from robustssm.checkpoints.model_names import resolve
from robustssm.errors import UsageError
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep import cluster
from robustssm.evaluations.sweep.cluster import ClusterError
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from tests.watching import Listener

ROOT = Path(__file__).resolve().parents[2]
# Enough cells for twenty kills: about fifty are computed a second.
STRENGTHS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)


def plan_for(models: str, modes: str) -> Plan:
    return make_plan(resolve(models), Noise("fourier", modes=modes, eps=(0.3, 1.0)))


def result(plan: Plan, folder: Path, execution: Execution | None = None) -> dict[str, bytes]:
    run = RunDirectory(folder)
    run.open(plan, [])
    assert run_sweep(plan, run, execution).errors == {}
    finish(run)
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    """Return the files of a run without the manifest, which has the command's own words."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "manifest.json"
    }


def cells(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of every finished cell's file: both change when it is written again."""
    found = {}
    for path in folder.glob("cells/*.parquet"):
        status = path.stat()
        found[path.name] = (status.st_ino, status.st_mtime_ns)
    return found


@pytest.mark.slow
def test_killed_at_twenty_random_moments(models: str, tmp_path: Path) -> None:
    """SIGKILL, wherever the sweep may be: start, cells, tables. Then it goes on from there."""
    draw = random.Random(20)
    command = [
        sys.executable, "-m", "robustssm.cli", "sweep", "--model", models, "--noise", "fourier",
        "--modes", "1-32", "--eps", ",".join(map(str, STRENGTHS)), "--output",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = tmp_path / "killed"
    kills, moments = 0, []
    while kills < 20:
        before = cells(run)
        process = subprocess.Popen(
            [*command, str(run), "--jobs", str(1 + kills % 2)],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # Most time goes into starting; kills before the first new cell are wanted, too, but few.
        if kills % 5:
            while cells(run).keys() == before.keys() and process.poll() is None:
                time.sleep(0.02)
            time.sleep(draw.uniform(0.0, 0.35))
        else:
            time.sleep(draw.uniform(0.0, 3.0))
        assert process.poll() is None, "the sweep ended before its kill: it needs more cells"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        time.sleep(0.3)  # Workers notice within a cell that they are alone.
        after = cells(run)
        assert before.items() <= after.items(), "a finished cell was computed again"
        moments.append(len(after))
    assert len(set(moments)) > 10, moments
    before = cells(run)
    for folder in (run, tmp_path / "straight"):
        subprocess.run([*command, str(folder)], env=environment, check=True, capture_output=True)
    assert before.items() <= cells(run).items()
    assert len(before) < len(cells(run)) == 2 * (1 + 32 * len(STRENGTHS))
    assert files(run) == files(tmp_path / "straight")
    assert not list(run.rglob("*.part"))


def kill_workers(folder: Path, done: threading.Event, enough: int, most: int = 1) -> None:
    """Kill worker processes of this one, once some cells are there."""
    while not done.wait(0.02):
        workers = [
            child
            for child in psutil.Process().children(recursive=True)
            if any(word in " ".join(child.cmdline()) for word in ("LokyProcess", "spawn_main"))
        ]
        if len(cells(folder)) >= enough and workers:
            for worker in workers[:most]:
                worker.kill()
            return


@pytest.mark.parametrize(
    "execution",
    [Execution(jobs=2), pytest.param(Execution(cluster="local:2"), marks=pytest.mark.slow)],
    ids=["joblib", "dask"],
)
def test_a_killed_worker_is_replaced(models: str, tmp_path: Path, execution: Execution) -> None:
    if execution.cluster:
        pytest.importorskip("distributed", reason="Dask is not installed: extra [dask]")
    plan = plan_for(models, "1-24")
    straight = result(plan, tmp_path / "straight")
    run = RunDirectory(tmp_path / "killed")
    run.open(plan, [])
    done = threading.Event()
    killer = threading.Thread(target=kill_workers, args=(run.path, done, 10))
    killer.start()
    listener = Listener()
    errors = run_sweep(plan, run, execution, watcher=listener).errors
    done.set()
    killer.join()
    assert errors == {} and sorted(listener.seen) == sorted(plan.unique), "each cell is told once"
    assert execution.cluster or "a worker process died" in listener.notes[0]
    finish(run)
    assert files(run.path) == straight


@pytest.mark.slow
def test_workers_that_dask_gives_up_are_started_anew(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: extra [dask]")
    # Shorter than any start of a process: every worker that dies is given up.
    monkeypatch.setattr(cluster, "_LOST", "10ms")
    monkeypatch.setattr(cluster, "_CHECK", 1.0)
    plan = plan_for(models, "1-24")
    straight = result(plan, tmp_path / "straight")
    run = RunDirectory(tmp_path / "killed")
    run.open(plan, [])
    done = threading.Event()
    killer = threading.Thread(target=kill_workers, args=(run.path, done, 5, 2))
    killer.start()
    assert run_sweep(plan, run, Execution(cluster="local:2")).errors == {}
    done.set()
    killer.join()
    finish(run)
    assert files(run.path) == straight


@pytest.mark.slow
@pytest.mark.parametrize("execution", [Execution(jobs=2), Execution(cluster="local:2")])
def test_a_cell_that_kills_its_workers_fails_and_the_others_go_on(
    models: str, tmp_path: Path, execution: Execution
) -> None:
    if execution.cluster:
        pytest.importorskip("distributed", reason="Dask is not installed: extra [dask]")

    # Defined here, so that it is sent to workers with its code.
    @family
    class Deadly(Fourier):
        def direction(self, x: object, sample_id: object, seed: int, site: Site) -> torch.Tensor:
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    plan = plan_for(models, "1-3")
    cell = plan.cells[4]
    assert cell.condition is not None
    deadly = replace(cell, condition=replace(cell.condition, attack=Deadly(1)))
    plan = replace(plan, cells=(*plan.cells[:4], deadly, *plan.cells[5:]))
    run = RunDirectory(tmp_path)
    run.open(plan, [])
    errors = run_sweep(plan, run, execution).errors
    assert list(errors) == [deadly.id], errors
    assert run.state(plan.unique).to_compute(True) == [deadly.id]
    assert run.error_path(deadly.id).is_file()


@pytest.mark.slow
def test_dask_gives_the_same_bytes(models: str, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: extra [dask]")
    plan = plan_for(models, "1-4")
    straight = result(plan, tmp_path / "straight")
    assert result(plan, tmp_path / "dask", Execution(cluster="local:2")) == straight


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("local:none", UsageError, "expected as in local:2"),
        ("nonsense", UsageError, "expected as in local:2 or tcp"),
        ("local:²", UsageError, "expected as in local:2"),
        ("tcp://127.0.0.1:1", ClusterError, "no scheduler with workers answers"),
    ],
)
def test_no_such_cluster(
    models: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    error: type[Exception],
    words: str,
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: extra [dask]")
    monkeypatch.setattr("robustssm.evaluations.sweep.cluster._PATIENCE", "1s")
    plan, run = plan_for(models, "1"), RunDirectory(tmp_path)
    run.open(plan, [])
    with pytest.raises(error, match=words):
        run_sweep(plan, run, Execution(cluster=address))


def test_orphans_end(models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose sweep is gone computes nothing more: another may be at its cells."""
    from robustssm.evaluations.sweep import worker

    plan, run = plan_for(models, "1"), RunDirectory(tmp_path)
    run.open(plan, [])

    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    leave: Callable[[], int] = os.getppid
    options = worker.WorkOptions(64, directory=run.path, parent=leave() + 1)
    with pytest.raises(Ended):
        worker.run_chunk(list(plan.cells), options)
    assert cells(run.path) == {}
