"""Two sweeps at once, a disk that is full, a power cut: what is left is whole, and resumed."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from tests.evaluations.forks import Forks, forks
from tests.evaluations.test_backends import cells, files, sweep
from tests.evaluations.test_resume import plan_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def forking(
    checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Forks]:
    """A process to fork that has done a sweep."""
    with forks() as process:
        output = tmp_path_factory.mktemp("first") / "run"
        few = ("--limit", "20", "--eps", "1")
        assert process.command(sweep(f"s4d={checkpoints['s4d']}", output, "1", *few)) == 0
        yield process


def command(arguments: list[str], largest: int = 0) -> "subprocess.Popen[str]":
    """Start a command in a process of its own, whose files may have so many bytes; 0: any."""

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    words = [sys.executable, "-m", "robustssm.cli", *arguments]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True, preexec_fn=bounded if largest else None)  # fmt: skip


def test_two_sweeps_at_once_are_one(forking: Forks, models: str, tmp_path: Path) -> None:
    """The second is turned away in one line, and the first ends as if it had been alone."""
    run, straight = tmp_path / "run", tmp_path / "straight"
    arguments = sweep(models, run, "1-12")
    first = forking.start(arguments)
    while not cells(run):
        time.sleep(0.01)
    os.kill(first, signal.SIGSTOP)
    second = command(arguments)
    said = second.communicate()[1]
    os.kill(first, signal.SIGCONT)
    assert forking.end() == 0
    assert second.returncode == 2 and "another sweep is writing there" in said
    assert said.count("\n") == 1
    assert forking.command(sweep(models, straight, "1-12")) == 0
    assert files(run) == files(straight)


def test_a_disk_without_room_is_the_last_line_and_loses_nothing(
    forking: Forks, models: str, tmp_path: Path
) -> None:
    """The system refuses what would be too large: that is a cell with noise, not what precedes."""
    run, straight = tmp_path / "run", tmp_path / "straight"
    few = ("--limit", "400", "--eps", "1")
    arguments = sweep(models, run, "1", *few)
    process = command(arguments, largest=20_000)
    lines = process.communicate()[1].strip().splitlines()
    assert process.returncode == 1 and "Traceback" not in "".join(lines)
    assert lines[-1].startswith(f"Error: output {run}: cannot be written (File too large)")
    before = cells(run)
    assert len(before) == 1 and not list(run.rglob("*.part"))
    assert forking.command(arguments) == 0
    assert before.items() < cells(run).items()
    assert forking.command(sweep(models, straight, "1", *few)) == 0
    assert files(run) == files(straight)


def test_a_power_cut_leaves_whole_files_or_none(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file has its name before its bytes are on the disk; what else is lost is made again."""
    synced: dict[int, int] = {}
    renamed: list[Path] = []
    sync, replace = os.fsync, Path.replace

    def spy_sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_size
        sync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        found = self.stat()
        assert synced.get(found.st_ino) == found.st_size, f"{target} was not on the disk"
        renamed.append(Path(target))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    plan = plan_for(models, 1, 2, 3)
    run = RunDirectory(tmp_path / "run")
    assert run_sweep(plan, run).errors == {}
    finish(run)
    expected = files(run.path)
    assert {*map(str, renamed)} >= {str(run.path / name) for name in expected if name != ".lock"}
    monkeypatch.undo()
    order = [path.relative_to(run.path).as_posix() for path in renamed]
    rng = np.random.default_rng(0)
    for count in sorted({0, 1, 2, len(order) - 1, *rng.integers(len(order), size=3).tolist()}):
        # The names up to this one are on the disk, the next has a temporary one and lost its end.
        cut = tmp_path / f"cut after {count}"
        for name in ("cells", "errors", "figures"):
            (cut / name).mkdir(parents=True)
        for name in order[:count]:
            (cut / name).write_bytes((run.path / name).read_bytes())
        part = cut / order[count]
        data = (run.path / order[count]).read_bytes()
        part = part.with_name(f".{part.name}.0123456789abcdef.part")
        part.write_bytes(data[: int(rng.integers(len(data)))])
        again = RunDirectory(cut)
        assert run_sweep(plan, again).errors == {}
        finish(again)
        assert files(cut) == expected
