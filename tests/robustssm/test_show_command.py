"""`show`, `report`, `export`, `ls`: a run read back in any state, and said so."""

import csv
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from robustssm.attacks.frequencies import parse_modes
from robustssm.checkpoints.bundled import BUNDLED, every
from robustssm.cli import Commands
from robustssm.commands.export import FORMATS, export
from robustssm.commands.ls import ls
from robustssm.commands.perturb import perturb
from robustssm.commands.show import report, show
from robustssm.commands.sweep import sweep
from robustssm.evaluations.exports.formats import WRITERS
from robustssm.evaluations.reports.report_rows import numbers
from robustssm.evaluations.results.inspection import Inspection, inspect
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.tasks import TASKS

Call = Callable[..., Result]
ALL = ["table", "csv", "json", "md"]


def invoke(*arguments: str) -> Result:
    group = Commands("robustssm")
    for command in (export, ls, perturb, report, show, sweep):
        group.add_command(command)
    before = sys.argv
    sys.argv = ["robustssm", *arguments]  # what a sweep puts on record
    try:
        return CliRunner().invoke(group, arguments)
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def made(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two models: ten cells of 40 samples."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    models = ",".join(f"{k.replace('-', '_')}={path}" for k, path in checkpoints.items())
    result = invoke(
        *("sweep", "--model", models, "--noise", "fourier", "--modes", "1,3", "--eps", "0.3,1"),
        *("--limit", "40", "--jobs", "1", "--overwrite", "--no-figures", "-o", str(folder)),
    )
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "small"))


def cells(run: Path) -> list[Path]:
    return sorted((run / "cells").iterdir())


def fail_cell(run: Path) -> str:
    """Put a failure in the place of a cell; return its id."""
    path = cells(run)[0]
    path.unlink()
    record = {"cell": path.stem, "error": "boom\nmore", "traceback": "Traceback\n  boom"}
    RunDirectory(run).error_path(path.stem).write_text(json.dumps(record))
    return path.stem


@pytest.mark.parametrize("style", ALL)
def test_a_whole_run_is_shown(run: Path, style: str) -> None:
    result = invoke("show", str(run), "--verify", "--format", style)
    assert result.exit_code == 0, result.output
    if style == "json":
        found = json.loads(result.stdout)
        assert found["state"] == "complete" and found["partial"]
        assert found["cells"] == {"cells": 10, "done": 10, "failed": 0, "missing": 0}
        assert len(found["overview"]) == 4 and found["damaged"] == []
    elif style == "csv":
        assert len(list(csv.DictReader(io.StringIO(result.stdout)))) == 4
    else:
        assert "10 of 10 done" in result.stdout and "PARTIAL" in result.stdout


def test_no_checkpoint_and_no_byte_is_needed_or_changed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are never opened; nothing below the run changes."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("a checkpoint was opened")

    monkeypatch.setattr(safetensors, "safe_open", refuse)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    fail = fail_cell(run)
    assert invoke("show", str(run), "--errors").exit_code == 0
    assert invoke("ls", "runs", str(run.parent)).exit_code == 0
    after = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    changed = {p.name for p in before.keys() ^ after.keys()}
    assert changed == {f"{fail}.parquet", f"{fail}.json"}


def test_the_resume_command_finishes_the_run(made: Path, run: Path) -> None:
    """It names this directory, discards nothing, and gives the cells that were lost."""
    failed = fail_cell(run)
    cells(run)[3].unlink()
    (run / "summary.csv").unlink()
    found = json.loads(invoke("show", str(run), "--format", "json").stdout)
    assert found["cells"] == {"cells": 10, "done": 8, "failed": 1, "missing": 1}
    assert [f["cell"] for f in found["failed"]] == [failed]
    assert len(found["overview"]) > 0  # of what is there, without summary.csv
    words = shlex.split(found["resume"])
    assert words[0] == "robustssm" and "--overwrite" not in words
    assert "--retry-failed" in words and words[words.index("--output") + 1] == str(run)
    stamps = {p: p.stat().st_mtime_ns for p in cells(run)}
    assert invoke(*words[1:]).exit_code == 0
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())
    assert [p.read_bytes() for p in cells(run)] == [p.read_bytes() for p in cells(made)]
    assert inspect(run).word == "complete"


@pytest.mark.parametrize("option", [["-o", "x"], ["--output", "x"], ["--output=x"], ["-ox"], []])
def test_an_output_is_replaced_however_it_was_spelt(option: list[str]) -> None:
    argv = ["sweep", "--overwrite", *option, "--eps", "1"]
    state = Inspection((), frozenset(), {}, {}, RunDirectory(Path("y")), {"argv": argv})
    assert state.resume(Path("y")) == "robustssm sweep --eps 1 --output y"
    assert "--overwrite" not in state.resume()


def test_errors_are_first_lines_or_tracebacks(run: Path) -> None:
    cell = fail_cell(run)
    short, whole = invoke("show", str(run)), invoke("show", str(run), "--errors")
    assert f"failed: cell {cell}: boom\n" in short.stdout and "more" not in short.stdout
    assert "more\nTraceback\n  boom" in whole.stdout


def truncate_cell(run: Path) -> str:
    path = cells(run)[2]
    path.write_bytes(path.read_bytes()[:-100])
    return f"cells/{path.name}"


def damage_cell(run: Path) -> str:
    path = cells(run)[2]
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    return f"cells/{path.name}"


def contradict(run: Path) -> str:
    path = cells(run)[2]
    rows = RunDirectory(run).rows(path.stem)
    rows["correct"] = ~rows["correct"]
    rows.to_parquet(path)
    return f"cells/{path.name}"


def other_samples(run: Path) -> str:
    path = cells(run)[-1]
    rows = RunDirectory(run).rows(path.stem)
    rows["sample_id"] += 1
    rows.to_parquet(path)
    return "other samples"


def spoil(name: str) -> Callable[[Path], str]:
    def damage(run: Path) -> str:
        (run / name).write_bytes(b'{"half": ')
        return name

    return damage


def spoil_error(run: Path) -> str:
    cell = fail_cell(run)
    RunDirectory(run).error_path(cell).write_bytes(b"\xff")
    return f"errors/{cell}.json"


@pytest.mark.parametrize(
    ("damage", "options"),
    [
        (truncate_cell, []),
        (truncate_cell, ["--verify"]),
        (damage_cell, []),
        (damage_cell, ["--verify"]),
        (contradict, ["--verify"]),
        (other_samples, ["--verify"]),
        (spoil("manifest.json"), []),
        (spoil("plan.parquet"), []),
        (spoil_error, []),
    ],
)
def test_damage_is_named_and_what_is_left_is_shown(
    run: Path, damage: Callable[[Path], str], options: list[str]
) -> None:
    name = damage(run)
    for style in ALL:
        result = invoke("show", str(run), *options, "--format", style)
        assert result.exit_code == 4, result.output
        assert name in result.stderr and "Traceback" not in result.output
        assert result.stdout
    found = json.loads(invoke("show", str(run), *options, "--format", "json").stdout)
    assert found["state"] == "damaged" and found["overview"]
    assert name in json.dumps(found["damaged"])
    if not options:
        assert invoke("report", str(run)).exit_code == 4
        assert name in (run / "report.md").read_text()
        assert "damaged" in invoke("ls", "runs", str(run)).stdout


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for command in (["show"], ["report"], ["export", "--to", "csv", "-o", "x"]):
        result = invoke(*command, str(tmp_path))
        assert result.exit_code == 2 and "no plan.parquet" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert invoke("ls", "runs", str(tmp_path / "none")).exit_code == 2


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="where Linux lists locks")
def test_a_run_that_is_being_written_is_in_progress(run: Path) -> None:
    cells(run)[0].unlink()
    assert inspect(run).word == "unfinished"
    with RunDirectory(run).lock():
        assert inspect(run).word == "in progress"
        assert invoke("show", str(run)).exit_code == 0
    assert inspect(run).word == "unfinished"


def test_the_report_stands_alone(run: Path) -> None:
    manifest = RunDirectory(run).manifest()
    for name in ("robustness", "heat-map", "worst-case"):
        for kind in ("png", "svg", "csv"):
            (run / "figures" / f"{name}.{kind}").write_text("a figure")
    assert invoke("report", str(run)).exit_code == 0
    text = (run / "report.md").read_text()
    assert text.splitlines()[0].endswith("(PARTIAL: first 40 samples only)")
    for model in manifest["models"]:
        assert model["content_hash"][:12] in text
    for words in (manifest["task_hash"][:12], manifest["versions"]["torch"], "seed of the noise"):
        assert words in text
    assert f"\n    {shlex.join(['robustssm', *manifest['argv']])}\n" in text
    for link in re.findall(r"\]\((.*?)\)", text):
        assert (run / link).is_file(), link
    assert "nan" not in text.lower().split()
    moved = run.parent / "elsewhere" / "r.md"
    assert invoke("report", str(run), "-o", str(moved)).exit_code == 0
    links = re.findall(r"\]\((.*?)\)", moved.read_text())
    assert len(links) >= 3 and all((moved.parent / link).is_file() for link in links)


def test_the_report_says_what_is_not_known(run: Path) -> None:
    fail_cell(run)
    cells(run)[1].unlink()
    assert invoke("report", str(run)).exit_code == 0
    text = (run / "report.md").read_text()
    assert "UNFINISHED" in text.splitlines()[0]
    assert "- Failed, 1 cell: boom\n" in text and "- Missing, 1 cell: " in text
    assert "--overwrite" not in text.partition("## How to go on")[2]


@given(st.sets(st.integers(0, 200), min_size=1))
def test_numbers_in_words_are_modes_again(modes: set[int]) -> None:
    text = numbers(float(m) for m in modes)
    if "values" in text:
        assert text == f"{len(modes)} values from {min(modes)} to {max(modes)}"
    else:
        assert set(parse_modes(text, top=200)) == modes


def rows_of(*arguments: str) -> list[dict[str, Any]]:
    result = invoke(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
    return found


def test_every_model_noise_and_task_is_listed() -> None:
    models = rows_of("ls", "models")
    assert {row["model"].partition("/")[0] for row in models} == set(BUNDLED)
    assert len({row["hash"] for row in models}) == len(models) == len(every())
    tasks = {row["task"].partition("[")[0].partition(":")[0]: row for row in rows_of("ls", "tasks")}
    assert set(tasks) == set(TASKS)
    assert tasks["digits"]["task"] == "digits[:side=INTEGER]" and tasks["digits"]["what"]


@pytest.mark.parametrize("style", ALL)
@pytest.mark.parametrize("what", ["models", "noises", "tasks"])
def test_lists_come_in_every_format(what: str, style: str) -> None:
    result = invoke("ls", what, "--format", style)
    assert result.exit_code == 0 and result.stdout.strip()
    if style == "csv":
        assert len(list(csv.DictReader(io.StringIO(result.stdout)))) > 0


def test_runs_are_found_below_a_folder(run: Path, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "other"
    shutil.copytree(run, deep)
    fail_cell(deep)
    (tmp_path / "notes").mkdir()
    found = {Path(row["run"]).name: row for row in rows_of("ls", "runs", str(tmp_path))}
    assert set(found) == {"small", "other"}
    assert found["small"]["state"] == "complete" and found["small"]["partial"] == 40
    assert (found["other"]["state"], found["other"]["failed"]) == ("with failures", 1)
    assert found["small"]["noises"] == "fourier"
    sizes = (path.stat().st_size for path in run.rglob("*") if path.is_file())
    assert found["small"]["bytes"] == sum(sizes)
    (tmp_path / "empty").mkdir()
    empty = invoke("ls", "runs", str(tmp_path / "empty"))
    assert empty.exit_code == 0 and "no run directory" in empty.stderr


def test_export_says_what_it_wrote_and_what_is_lacking(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tuple(WRITERS) == FORMATS
    fail_cell(run)
    out = tmp_path / "samples.parquet"
    result = invoke("export", str(run), "--to", "parquet", "-o", str(out))
    assert result.exit_code == 0 and result.stdout == ""
    assert "360 rows written; 1 cell has no result; PARTIAL" in result.stderr
    name = truncate_cell(run)
    result = invoke("export", str(run), "--to", "parquet", "-o", str(out))
    assert result.exit_code == 4 and name in result.stderr and "320 rows" in result.stderr
