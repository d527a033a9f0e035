"""Kills: of the sweep, of its workers, of a Dask worker. Nothing is lost, nothing done twice."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch import Tensor

from robustssm.attacks import Fourier
from robustssm.attacks.base import Site, family
from robustssm.checkpoints.model_names import resolve
from robustssm.errors import UsageError
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep import backends, cluster, worker
from robustssm.evaluations.sweep import run as run_module
from robustssm.evaluations.sweep.cluster import ClusterError
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Cell, Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.worker import CellEnd
from robustssm.typing import IntArray
from tests.evaluations.forks import Forks, forks
from tests.watching import Listener

ROOT = Path(__file__).resolve().parents[2]
FEW = ("--limit", "20", "--eps", "1")


def plan_for(models: str, modes: str) -> Plan:
    return make_plan(resolve(models), Noise("fourier", modes=modes, eps=(0.3, 1.0)))


def whole_plan(models: str) -> Plan:
    """Return the plan of `sweep` for 16 modes."""
    return make_plan(resolve(models), Noise("fourier", modes="1-16", eps=(0.1, 0.3, 1.0, 3.0)))


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


@pytest.fixture(scope="module")
def forking(
    checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Forks]:
    """A process to fork that has done a sweep."""
    with forks() as process:
        output = tmp_path_factory.mktemp("first") / "run"
        assert process.command(sweep(f"s4d={checkpoints['s4d']}", output, "1", *FEW)) == 0
        yield process


def sweep(models: str, output: Path, modes: str, *more: str) -> list[str]:
    return ["sweep", "--model", models, "--noise", "fourier", "--modes", modes, "--eps",
            "0.1,0.3,1,3", "--no-figures", "-j", "1", "--output", str(output), *more]  # fmt: skip


def test_killed_at_every_step(forking: Forks, models: str, tmp_path: Path) -> None:
    """SIGKILL before each change of the run directory, files half written; then it goes on."""
    straight = tmp_path / "straight"
    assert forking.command(sweep(models, straight, "1", *FEW)) == 0
    expected = files(straight)
    for step in range(1, 200):
        run = tmp_path / f"killed at {step}"
        command = sweep(models, run, "1", *FEW)
        status = forking.command(command, run, step)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        before = cells(run)
        assert forking.command(command) == 0, step
        assert before.items() <= cells(run).items(), "a finished cell was computed again"
        assert files(run) == expected, step
    # Four folders, a lock, and eight files that are written and moved: four cells, plan, manifest,
    # summary, tests.
    assert 20 < step < 60


def test_killed_at_random_moments(forking: Forks, models: str, tmp_path: Path) -> None:
    """SIGKILL of a sweep alone and of one with worker processes; then it goes on from there."""
    draw = random.Random(20)
    run, straight = tmp_path / "killed", tmp_path / "straight"
    assert forking.command(sweep(models, straight, "1-12")) == 0
    for jobs in (1, 1, 2, 1, 1):
        before = cells(run)
        process = forking.start(sweep(models, run, "1-12", "--jobs", str(jobs)))
        while cells(run).keys() == before.keys():
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.1))
        os.kill(process, signal.SIGSTOP)
        workers = psutil.Process(process).children(recursive=True)
        os.kill(process, signal.SIGKILL)
        assert forking.end() == -signal.SIGKILL, "the sweep ended before its kill"
        # Workers notice within a cell that they are alone; the first of a worker loads its model.
        assert not psutil.wait_procs(workers, timeout=60)[1]
        assert before.items() < cells(run).items(), "a finished cell was computed again"
    before = cells(run)
    assert forking.command(sweep(models, run, "1-12")) == 0
    assert before.items() <= cells(run).items()
    assert len(before) < len(cells(run)) == 2 * (1 + 12 * 4)
    assert files(run) == files(straight)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(
    forking: Forks, models: str, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "stopped"
    process = forking.start(sweep(models, run, "1-12"))
    while not cells(run):
        time.sleep(0.01)
    os.kill(process, number)
    assert forking.end() == 130
    assert 0 < len(cells(run)) < 2 * (1 + 12 * 4)
    assert not list(run.rglob("*.part"))


def with_deaths(plan: Plan, folder: Path) -> tuple[Plan, Cell]:
    """Return the plan with a cell that kills its first worker and one that kills each, the latter.

    Those that died leave a file in the folder.
    """

    # Defined here, so that it is sent to workers with its code.
    @family
    class Deadly(Fourier):
        def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
            died = folder / f"{self.mode:g}"
            # The cell that kills each waits for the other: a pool that breaks before would count
            # against a cell that has not had its death.
            while self.mode == 2 and not (folder / "1").exists():
                time.sleep(0.01)
            if self.mode == 2 or not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return Fourier.direction(self, x, sample_id, seed, site)

    cells = list(plan.cells)
    places = [place for place, cell in enumerate(cells) if cell.condition is not None][:2]
    for place, mode in zip(places, (1, 2), strict=True):
        condition = cells[place].condition
        assert condition is not None
        cells[place] = replace(cells[place], condition=replace(condition, attack=Deadly(mode)))
    return replace(plan, cells=tuple(cells)), cells[places[1]]


@pytest.mark.parametrize(
    ("execution", "lost"),
    [
        pytest.param(Execution(jobs=2), "", id="joblib"),
        pytest.param(Execution(cluster="local:2"), "", id="dask"),
        # Shorter than any start of a process: every worker that dies is given up. The cell that
        # kills its first worker alone has had it.
        pytest.param(Execution(cluster="local:2"), "10ms", id="dask gives up"),
    ],
)
def test_killed_workers_are_replaced_and_a_deadly_cell_fails(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, execution: Execution, lost: str
) -> None:
    """Each cell is told once, with the bytes that it has without any death."""
    # A cell whose worker died is tried alone after one death, not two: fewer processes to start.
    monkeypatch.setattr("robustssm.evaluations.sweep.run._STRIKES", 1)
    plan, deadly = with_deaths(plan_for(models, "1-2"), tmp_path)
    survivors = replace(plan, cells=tuple(cell for cell in plan.cells if cell is not deadly))
    (tmp_path / "1").touch()
    straight = result(survivors, tmp_path / "straight")
    if not lost:
        (tmp_path / "1").unlink()
    if execution.cluster:
        # Its import gives dask the configuration of the scheduler.
        pytest.importorskip("distributed", reason="Dask is not installed: extra [dask]")
        dask = pytest.importorskip("dask")
        if not lost:
            plan = survivors
        else:
            monkeypatch.setattr(cluster, "_LOST", lost)
            monkeypatch.setattr(cluster, "_CHECK", 1.0)
            # By default a task is tried by four workers, and each is a process to start. Two, so
            # that a cell given to a worker that is ending is not lost with it.
            scheduler = dask.config.get("distributed.scheduler")
            monkeypatch.setitem(scheduler, "allowed-failures", 1)
    run = RunDirectory(tmp_path / "killed")
    run.open(plan, [])
    listener = Listener()
    errors = run_sweep(plan, run, execution, watcher=listener).errors
    fails = [deadly.id] if deadly in plan.cells else []
    assert (tmp_path / "1").exists() and (tmp_path / "2").exists() == bool(fails)
    assert list(errors) == fails == run.state(plan.unique).to_compute(True), errors
    assert [run.error_path(cell).is_file() for cell in fails] == [True] * len(fails)
    assert sorted(listener.seen) == sorted(plan.unique)
    assert execution.cluster or "a worker process died" in listener.notes[0]
    written = {name: data for name, data in files(run.path).items() if name.startswith("cells")}
    assert written == {name: straight[name] for name in straight if name.startswith("cells")}


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


@pytest.mark.slow
def test_a_lost_scheduler_is_one_line_and_loses_no_cell(models: str, tmp_path: Path) -> None:
    """The scheduler is killed in the sweep; the command goes on by itself on this machine."""
    pytest.importorskip("distributed", reason="Dask is not installed: extra [dask]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    python = [sys.executable, "-m"]
    place = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    run, log = tmp_path / "run", tmp_path / "log"
    argv = sweep(models, run, "1-16")
    commands = [
        ["distributed.cli.dask_scheduler", *place, "--dashboard-address", ":0"],
        ["distributed.cli.dask_worker", address, "--nworkers", "1", "--nthreads", "1"],
    ]
    started = [subprocess.Popen([*python, *words], **quiet) for words in commands]  # type: ignore[call-overload]
    try:
        with log.open("w") as stderr:
            words = [*python, "robustssm.cli", *argv, "--cluster", address]
            process = subprocess.Popen(words, cwd=ROOT, stdout=stderr, stderr=stderr)
        started.append(process)
        while process.poll() is None and len(cells(run)) < 2:
            time.sleep(0.05)
        started[0].kill()
        assert process.wait(300) == 1
    finally:
        for one in started:
            one.kill()
            one.wait()
    *_, resume, last = log.read_text().strip().splitlines()
    assert "Traceback" not in log.read_text() and last.startswith("Error: cluster tcp://")
    assert "its scheduler was lost" in last and "sweep" in resume
    before = cells(run)
    assert before and result(whole_plan(models), run) == result(whole_plan(models), tmp_path / "s")
    assert before.items() <= cells(run).items()


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


@pytest.mark.parametrize(("seconds", "alone"), [(60.0, 5), (0.0, 0)])
def test_a_small_sweep_begins_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, alone: int
) -> None:
    """Workers are given what is left when its time is over, and all of it where they are wanted."""
    plan = plan_for("s4d", "1,2")
    given: list[int] = []

    def noted(chunks: Iterable[Sequence[Cell]], *rest: Any) -> Iterator[CellEnd]:
        for chunk in chunks:
            given.append(len(chunk))
            yield from worker.run_chunk(chunk, rest[0])

    monkeypatch.setattr(run_module, "_ALONE", seconds)
    monkeypatch.setattr(backends, "processes", noted)
    first = result(plan, tmp_path / "first", Execution(jobs=2, alone_first=True))
    assert sum(given) == 5 - alone
    given.clear()
    assert result(plan, tmp_path / "second", Execution(jobs=2)) == first
    assert sum(given) == 5


def test_code_of_others_and_large_batches_have_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for("s4d", "1")
    given: list[Cell] = []

    def noted(chunks: Iterable[Sequence[Cell]], *_: Any) -> Iterator[CellEnd]:
        given.extend(cell for chunk in chunks for cell in chunk)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(backends, "processes", noted)
    (model,) = plan.models
    foreign = replace(model, ref=replace(model.ref, function="make"))
    for k, (other, limit) in enumerate(((replace(plan, models=(foreign,)), 1 << 30), (plan, 1))):
        monkeypatch.setattr(run_module, "_SMALL", limit)
        given.clear()
        with pytest.raises(KeyboardInterrupt):
            run_sweep(other, RunDirectory(tmp_path / str(k)), Execution(jobs=2, alone_first=True))
        assert len(given) == 3
