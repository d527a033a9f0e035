"""An error that nobody foresaw is one line; its traceback is saved, or shown by --debug."""

import errno
import re
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

from robustssm.cli import Commands, main
from robustssm.commands.failures import UNEXPECTED
from robustssm.errors import UsageError


def call(error: BaseException, *options: str, **variables: str) -> Result:
    """Run a command that raises, in a group with the options of the command line."""

    @click.command()
    def broken() -> None:
        raise error

    settings = main.context_settings
    group = Commands("robustssm", params=main.params, context_settings=settings)
    group.add_command(broken)
    return CliRunner(env=variables).invoke(group, [*options, "broken"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "error",
    [
        TypeError("one\ntwo\x1b[2J"),
        KeyError("name"),
        AssertionError(),
        RecursionError("too deep"),
        RuntimeError("x" * 10_000),
        UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    ],
)
def test_one_line_with_the_path_of_a_report(error: Exception, folder: Path) -> None:
    result = call(error)
    assert result.exit_code == UNEXPECTED == 70
    line = result.stderr.removesuffix("\n")
    assert "\n" not in line and "\x1b" not in line and len(line) < 1000
    assert type(error).__name__ in line and "--debug" in line
    (saved,) = folder.iterdir()
    assert str(saved) in line
    text = saved.read_text()
    assert f"raise error\n{type(error).__name__}" in text and "command: robustssm" in text
    assert re.search(r"^torch \d.*\nnumpy \d", text, re.MULTILINE)


@pytest.mark.parametrize("error", [TypeError("a"), UsageError("a mistake")])
@pytest.mark.parametrize("way", ["option", "variable"])
def test_debug_shows_the_traceback(error: Exception, way: str, folder: Path) -> None:
    result = call(error, "--debug") if way == "option" else call(error, ROBUSTSSM_DEBUG="1")
    assert "Traceback" in result.stderr and "raise error" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert result.exit_code == (2 if isinstance(error, UsageError) else UNEXPECTED)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_ran_out_has_its_own_line(error: Exception, folder: Path) -> None:
    result = call(error)
    assert result.exit_code == 1 and "memory ran out" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and list(folder.iterdir()) == []


def test_a_full_disk_has_its_own_line(folder: Path) -> None:
    result = call(OSError(errno.ENOSPC, "No space left on device", "out.csv"))
    assert result.exit_code == 1 and "file out.csv: No space left on device" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and list(folder.iterdir()) == []


def test_an_interrupt_has_its_own_line(folder: Path) -> None:
    result = call(KeyboardInterrupt())
    assert result.exit_code == 130 and len(result.stderr.splitlines()) == 1
    assert list(folder.iterdir()) == []


def test_a_report_that_cannot_be_saved_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    result = call(TypeError("a"))
    assert result.exit_code == UNEXPECTED and "TypeError: a" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and "cannot be saved" in result.stderr
