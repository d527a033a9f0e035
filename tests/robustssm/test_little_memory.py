"""A limit on memory ends commands in one line, whatever they were about to import or to read."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.source_tree import ROOT

COMMANDS = (
    ("sweep", "-m", "s4d", "--noise", "fourier", "--modes", "1", "--eps", "0.1", "-j", "1"),
    ("inspect", "s4d"),
    ("doctor",),
    ("transfer", "--n", "64"),
    ("ls", "tasks", "digits"),
)


def limited(folder: Path, kilobytes: int, *command: str) -> "subprocess.CompletedProcess[str]":
    program = "from robustssm.cli import main; main()"
    limit = kilobytes << 10
    return subprocess.run(
        [sys.executable, "-c", program, *command], cwd=folder, capture_output=True, text=True,
        timeout=120, env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_too_little_for_the_libraries(command: tuple[str, ...], tmp_path: Path) -> None:
    result = limited(tmp_path, 900_000, *command)
    assert result.returncode == 1 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and "ulimit -v" in result.stderr


def test_help_takes_little(tmp_path: Path) -> None:
    assert limited(tmp_path, 900_000, "sweep", "--help").returncode == 0


def test_zeros_that_unpack_to_gigabytes(tmp_path: Path) -> None:
    """A quarter of a gigabyte in a quarter of a megabyte, which would be held as two gigabytes."""
    np.savez_compressed(
        tmp_path / "x.npz",
        inputs=np.zeros((1, 1 << 28), np.uint8), labels=np.zeros(1, np.int64),
    )  # fmt: skip
    assert (tmp_path / "x.npz").stat().st_size < 1 << 20
    result = limited(tmp_path, 2_000_000, "ls", "tasks", "file:x.npz")
    assert result.returncode == 4 and len(result.stderr.splitlines()) == 1, result.stderr
    assert "its arrays take 2.0 GiB in memory" in result.stderr
