"""Files, folders and variables as others leave them: read, or refused in one line."""

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import pytest
from click.testing import CliRunner, Result

from robustssm.cli import Commands, main
from robustssm.commands.config import read_configuration
from robustssm.commands.export import export
from robustssm.commands.ls import ls
from robustssm.commands.show import show
from robustssm.commands.sweep import sweep
from robustssm.errors import UsageError
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.source_date import source_date
from tests.evaluations.written_runs import flat, write_run

ROOT = Path(__file__).resolve().parents[2]


def invoke(*arguments: str) -> Result:
    group = Commands("robustssm")
    for command in (export, ls, show, sweep):
        group.add_command(command)
    return CliRunner().invoke(group, arguments)


def one_line(result: Result, code: int, said: str) -> None:
    assert result.exit_code == code and "Traceback" not in result.output
    assert said in result.stderr and len(result.stderr.strip().splitlines()) == 1


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of one model, its manifest as a sweep writes it."""
    made = write_run(tmp_path / "runs" / "good", {("a", 0): flat(0.9, 0.5)})
    content = made.manifest() | {"noise": ["fourier"], "models": [{"name": "a/0"}], "limit": None}
    (made.path / "manifest.json").write_text(json.dumps(content))
    return made


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    text = b'model = "s4d"\nnoise = "fourier"\nmodes = 1\neps = 1\nlimit = 20\n'
    path.write_bytes(b"\xef\xbb\xbf" + text)
    assert invoke("sweep", "-C", str(path), "--dry-run").exit_code == 0
    marked = read_configuration(path, sweep)
    path.write_bytes(text)
    assert read_configuration(path, sweep) == marked


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"eps = 1\n\x00", "is no TOML"),
        (b'eps = "1\x00"', "is no TOML: Illegal character '\\x00'"),
        (b'output = "a\\u0000b"', "has a NUL character in it"),
        (b'model = "x=a\\u0000b"', "has a NUL character in it"),
        (b'[checkpoints]\nmine = "a\\u0000b"', "has a NUL character in it"),
        (b'[checkpoints]\n"m\\u0000" = "b"', "has a NUL character in it"),
        (b"eps = " + b"[" * 5000 + b"1" + b"]" * 5000, "brackets are nested too deeply"),
        (b"eps = " + b"{a = " * 5000 + b"1" + b"}" * 5000, "brackets are nested too deeply"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    one_line(invoke("sweep", "-C", str(path), "--dry-run"), 2, said)


@pytest.mark.parametrize(
    "change",
    [
        {"models": ["a/0"]},
        {"models": 3},
        {"models": {"name": "a/0"}},
        {"noise": 3},
        {"noise": "fourier"},
        {"task": ["t"]},
        {"limit": "40"},
    ],
)
def test_a_manifest_of_another_shape_hides_no_run(
    run: RunDirectory, tmp_path: Path, change: dict[str, Any]
) -> None:
    odd = write_run(tmp_path / "runs" / "odd", {("b", 0): flat(0.9, 0.5)})
    content = run.manifest() | change
    (odd.path / "manifest.json").write_text(json.dumps(content))
    result = invoke("ls", "runs", str(tmp_path / "runs"), "--format", "json")
    assert result.exit_code == 0, result.output
    rows = {Path(row["run"]).name: row for row in json.loads(result.stdout)["rows"]}
    assert (rows["good"]["state"], rows["odd"]["state"]) == ("complete", "damaged")
    assert rows["odd"].keys() == rows["good"].keys() and rows["odd"]["done"] == 5
    words = invoke("ls", "runs", str(tmp_path / "runs")).stdout
    assert "odd: damaged, 5 of 5 cells" in words and "good: complete" in words


@pytest.mark.parametrize("content", [[], ["a"], "text", 3, None, {}])
def test_a_manifest_that_is_none_hides_no_run(
    run: RunDirectory, tmp_path: Path, content: object
) -> None:
    odd = write_run(tmp_path / "runs" / "odd", {("b", 0): flat(0.9, 0.5)})
    (odd.path / "manifest.json").write_text(json.dumps(content))
    result = invoke("ls", "runs", str(tmp_path / "runs"), "--format", "json")
    rows = {Path(row["run"]).name: row for row in json.loads(result.stdout)["rows"]}
    assert (rows["good"]["state"], rows["odd"]["state"]) == ("complete", "damaged")
    assert invoke("show", str(odd.path)).exit_code == 4


def test_the_default_folder_need_not_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("ls", "runs")
    one_line(result, 0, "no run directory below runs")
    assert json.loads(invoke("ls", "runs", "--format", "json").stdout)["rows"] == []
    one_line(invoke("ls", "runs", "elsewhere"), 2, "no such folder")


def test_the_time_of_files_is_a_number(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert source_date() == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert source_date() == 1_700_000_000
    for wrong in ("abc", "", "-1", "1.5", "1 000", "\u0661"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(UsageError, match="expected whole seconds since 1970"):
            source_date()


def main_to(stream: TextIO, *arguments: str) -> int:
    """Run a command in this process, its standard output being `stream`; return its exit code."""
    with redirect_stdout(stream), pytest.raises(SystemExit) as end:
        main(arguments)
    code = end.value.code
    assert isinstance(code, int)
    return code


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="where there is a full device")
@pytest.mark.parametrize("what", [["ls", "noises"], ["show", "RUN"], ["compare", "RUN"]])
def test_a_full_disk_is_one_line(
    run: RunDirectory, what: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(run.path) if word == "RUN" else word for word in what]
    # Every write goes to the device, and nothing is left to fail where the file is closed.
    with FULL.open("wb", buffering=0) as full:
        stream = TextIOWrapper(full, write_through=True)
        assert main_to(stream, *words) == 1
    said = capsys.readouterr().err
    assert "No space left on device" in said and len(said.strip().splitlines()) == 1


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "robustssm.cli", *arguments]


@pytest.mark.skipif(not FULL.exists(), reason="where there is a full device")
def test_a_full_disk_is_found_when_the_process_ends(run: RunDirectory) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(command("show", str(run.path)), cwd=ROOT, stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
def test_a_reader_that_leaves_is_no_error_of_ours(run: RunDirectory) -> None:
    """As `| head -1`: the pipe is closed before anything is written to it."""
    with subprocess.Popen(
        command("show", str(run.path), "--format", "csv"), cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
