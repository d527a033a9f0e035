"""`robustssm sweep` from the command line: files, streams, exit codes, stops and how to go on."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints.bundled import zoo_path
from robustssm.cli import main
from robustssm.commands import progress
from robustssm.evaluations.statistics.power import smallest_difference
from robustssm.evaluations.sweep import worker
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.run_directory import DRAWN


def sweep(models: str, output: Path, *more: str, figures: bool = False) -> Result:
    arguments = ["sweep", "--model", models, "--noise", "fourier", "--modes", "1,3", "--limit",
                 "40", "--jobs", "1", "--output", str(output), *more]  # fmt: skip
    return CliRunner().invoke(main, arguments if figures else [*arguments, "--no-figures"])


@pytest.mark.usefixtures("pdf_only")
def test_sweep_leaves_the_run_directory_and_repeats_itself(models: str, tmp_path: Path) -> None:
    output = tmp_path / "run"
    first = sweep(models, output, figures=True)
    assert first.exit_code == 0, first.output
    assert "14 cells computed" in first.stderr
    names = {p.name for p in output.iterdir()}
    assert names >= {
        "manifest.json",
        "plan.parquet",
        "cells",
        "summary.csv",
        "tests.csv",
        "figures",
    }
    figures = {p.suffix for p in (output / "figures").iterdir() if p.name[0] != "."}
    assert figures == {".pdf", ".png", ".svg", ".csv"}
    again = sweep(models, output, figures=True)
    assert "0 cells computed, 14 reused" in again.stderr
    assert again.stdout == first.stdout
    assert "PARTIAL" in first.stdout
    header = (output / "summary.csv").read_text().splitlines()[0].split(",")
    contract = (
        "model,train_seed,task,noise,inject,mode,eps,eps_unit,n,accuracy,ci_low,ci_high,"
        "clean_accuracy,delivered_rms"
    )
    assert header[: contract.count(",") + 1] == contract.split(",")


def test_json_on_stdout_parses_while_progress_goes_to_stderr(models: str, tmp_path: Path) -> None:
    result = sweep(models, tmp_path / "run", "--format", "json", "--progress", "plain")
    content = json.loads(result.stdout)
    assert content["partial"] is True and len(content["summary"]) == 14
    assert "sweep: 14/14" in result.stderr
    assert sweep(models, tmp_path / "run", "--format", "csv").stdout.startswith("model,train_seed")
    assert sweep(models, tmp_path / "run", "--format", "md").stdout.startswith("| model |")


def test_dry_run_writes_nothing(models: str, tmp_path: Path) -> None:
    result = sweep(models, tmp_path / "run", "--dry-run")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "run").exists()
    result = sweep(models, tmp_path / "run", "--dry-run", "--format", "json")
    (record,) = json.loads(result.stdout)["rows"]
    assert record["cells"] == record["to compute"] == 14
    assert record["forward passes"] == 14 * 40 and record["seconds"] > 0


def test_dry_run_foresees_passes_and_disk(models: str, tmp_path: Path) -> None:
    """The probe's passes are those of the sweep, and its disk within a tenth of what is written."""
    arguments = ["--noise", "BandPGD(1, 8, steps=3)", "--limit", "160"]
    result = sweep(models, tmp_path / "run", *arguments, "--dry-run", "--format", "json")
    (record,) = json.loads(result.stdout)["rows"]
    assert sweep(models, tmp_path / "run", *arguments).exit_code == 0
    written = list((tmp_path / "run" / "cells").iterdir())
    # Footers hold statistics as text whose length varies.
    assert record["disk bytes"] == pytest.approx(sum(p.stat().st_size for p in written), rel=0.1)
    import pandas as pd

    forwards = sum(pd.read_parquet(path)["forwards"].sum() for path in written)
    assert record["forward passes"] == pytest.approx(forwards, rel=0.01)


def test_truncated_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(zoo_path("s4d", 0).read_bytes()[:1000])
    result = sweep(f"cut={path}", tmp_path / "run")
    assert result.exit_code == 4
    assert "truncated" in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_directory_of_another_sweep(models: str, tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert sweep(models, output).exit_code == 0
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    result = sweep(models, output, "--seed", "1")
    assert result.exit_code == 2 and "holds another sweep" in result.stderr
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == before


def test_altered_weights_are_rejected_before_anything(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    shutil.copy(checkpoints["s4d"], path)
    # The header, and with it the card, stays readable; the weights are another model's.
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    result = sweep(f"bad={path}", tmp_path / "run")
    assert result.exit_code == 4 and "altered" in result.stderr
    assert not (tmp_path / "run").exists()


def test_failed_cells_exit_with_3_until_they_are_retried(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def broken(network: object, cell: object, *rest: object) -> object:
        if "mode=3" in str(cell):
            raise ValueError("three is too much")
        return cell_columns(network, cell, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "cell_columns", broken)
    result = sweep(models, tmp_path / "run")
    assert result.exit_code == 3
    assert "6 cells failed" in result.stderr and "three is too much" in result.stderr
    assert "6 failed" in result.stderr and "8 cells computed" in result.stderr
    monkeypatch.setattr(worker, "cell_columns", cell_columns)
    again = sweep(models, tmp_path / "run")
    assert again.exit_code == 3 and "0 cells computed" in again.stderr
    retried = sweep(models, tmp_path / "run", "--retry-failed")
    assert retried.exit_code == 0 and "6 cells computed" in retried.stderr
    assert sweep(models, tmp_path / "run").exit_code == 0


def test_fail_fast_leaves_the_rest(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(worker, "cell_columns", broken)
    result = sweep(models, tmp_path / "run", "--fail-fast")
    assert result.exit_code == 3 and "1 cells failed" in result.stderr


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_stopped_it_says_how_to_go_on(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A signal in the fourth cell; tests/evaluations/test_backends.py sends one to a process."""
    computed: list[object] = []

    def signalled(network: object, cell: object, *rest: object) -> object:
        computed.append(cell)
        if len(computed) == 4:
            signal.raise_signal(getattr(signal, name))
        return cell_columns(network, cell, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "cell_columns", signalled)
    monkeypatch.setattr(sys, "argv", ["robustssm", "sweep", "--model", models])
    before = signal.getsignal(getattr(signal, name))
    result = sweep(models, tmp_path / "run")
    assert result.exit_code == 130 and result.stdout == "", result.stderr
    assert len(list((tmp_path / "run").glob("cells/*.parquet"))) == 3
    assert "interrupted, 3 of 14 cells saved, 11 left; resume with" in result.stderr
    assert f"robustssm sweep --model {models}" in result.stderr
    assert "Traceback" not in result.stderr
    assert signal.getsignal(getattr(signal, name)) == before
    monkeypatch.setattr(worker, "cell_columns", cell_columns)
    assert "11 cells computed, 3 reused" in sweep(models, tmp_path / "run").stderr


def test_a_log_without_a_terminal_reads_well(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    stderr = sweep(models, tmp_path / "run").stderr
    lines = stderr.splitlines()
    assert len(lines) == 2 + 14 + 1 and not any(c in stderr for c in "\r\x1b")
    assert lines[0].endswith("14 of 14 cells to compute, 1 at a time")
    found = [smallest_difference(40, tests) for tests in (1, 6)]
    about = "with 40 samples, differences below about {:.2g} ({:.2g} after correcting for 6 tests)"
    assert lines[1] == f"{about.format(*found)} will probably be missed"
    for number, line in enumerate(lines[2:-1], start=1):
        assert line.startswith(f"sweep: {number}/14 ({number / 14:.0%}), ")
        # The first cells of a sweep come together: no time is foretold before half of 14.
        assert line.endswith(" s" if number == 14 else " left" if number >= 7 else "/s")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--batch-size", "none"), 2, "expected auto or 1, 2"),
        (("--device", "cuda"), 2, "device: cuda cannot be used"),
        (("--device", "abacus"), 2, "device: abacus cannot be used"),
        (("--cluster", "local:x"), 2, "expected as in local:2"),
        (("--reuse", "nowhere"), 2, "does not exist"),
    ],
)
def test_bad_options_are_one_clear_line(
    models: str, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    import torch

    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = sweep(models, tmp_path / "run", *options)
    assert result.exit_code == code, result.output
    assert words in result.stderr and "Traceback" not in result.output


def test_two_sweeps_at_once(models: str, tmp_path: Path) -> None:
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    with RunDirectory(tmp_path / "run").lock():
        result = sweep(models, tmp_path / "run")
    assert result.exit_code == 2 and "another sweep is writing" in result.stderr


@pytest.mark.usefixtures("pdf_only")
def test_figures_follow_the_summary(models: str, tmp_path: Path) -> None:
    """Another label for the same weights, and a sweep that was killed while it drew."""
    figures = tmp_path / "run" / "figures"
    sweep(models, tmp_path / "run", figures=True)
    drawn = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in figures.iterdir()}
    sweep(models, tmp_path / "run", figures=True)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in figures.iterdir()} == drawn
    _, *names = (figures / ".drawn").read_text().splitlines()
    (figures / ".drawn").write_text("\n".join(["", *names, "robustness-gone.pdf"]))
    (figures / "robustness.csv").write_text("half of it")
    (figures / "robustness-gone.pdf").write_text("of another noise")
    sweep(models.replace("s4d=", "mine="), tmp_path / "run", figures=True)
    assert "mine" in (figures / "robustness.csv").read_text()
    assert not (figures / "robustness-gone.pdf").exists()


@pytest.mark.parametrize("manifest", ['{"manifest_version": 3}', "[]", "no JSON"])
def test_overwrite_leaves_strangers_alone(models: str, tmp_path: Path, manifest: str) -> None:
    mine = {"manifest.json": manifest, "report.md": "mine", "figures/thesis.tex": "mine",
            "cells/hela.tif": "mine"}  # fmt: skip
    for name, text in mine.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    result = sweep(models, tmp_path, "--overwrite")
    assert result.exit_code == 2 and "no readable manifest.json of a sweep" in result.stderr
    assert {name: (tmp_path / name).read_text() for name in mine} == mine


def test_overwrite_removes_only_what_sweeps_write(models: str, tmp_path: Path) -> None:
    assert sweep(models, tmp_path / "run").exit_code == 0
    figures = tmp_path / "run" / "figures"
    (figures / "thesis.tex").write_text("mine")
    (figures / "heat-map.pdf").write_text("of the sweep before")
    (figures / DRAWN).write_text("what it was drawn from\nheat-map.pdf")
    assert sweep(models, tmp_path / "run", "--seed", "1", "--overwrite").exit_code == 0
    assert [path.name for path in figures.iterdir()] == ["thesis.tex"]
    assert (figures / "thesis.tex").read_text() == "mine"
    assert len(list((tmp_path / "run" / "cells").iterdir())) == 14


def test_options_are_checked_before_anything_is_discarded(models: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sweep(models, run)
    for options in (("--cluster", "local:0"), ("--reuse", str(run))):
        result = sweep(models, run, "--seed", "1", "--overwrite", *options)
        assert result.exit_code == 2, result.output
        assert len(list((run / "cells").iterdir())) == 14


def test_a_sweep_stopped_at_its_start_goes_on(models: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sweep(models, run)
    (run / "manifest.json").unlink()
    for name in ("summary.csv", "tests.csv"):
        (run / name).unlink()
    assert "0 cells computed, 14 reused" in sweep(models, run).stderr


@pytest.mark.parametrize("garbage", [b"\xff\xfe", b"[1, 2]", b"{}"])
def test_garbage_among_the_errors_stops_nothing(
    models: str, tmp_path: Path, garbage: bytes
) -> None:
    run = tmp_path / "run"
    sweep(models, run)
    cell = next((run / "cells").iterdir())
    (run / "errors" / f"{cell.stem}.json").write_bytes(garbage)
    cell.unlink()
    assert "1 cells computed" in sweep(models, run).stderr


def test_outputs_inside_a_run_are_refused(models: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sweep(models, run)
    before = (run / "plan.parquet").read_bytes()
    for name in ("plan.parquet", "cells/mine.csv", "manifest.json"):
        arguments = ["export", str(run), "--to", "csv", "-o", str(run / name)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2 and "belongs to the run itself" in result.stderr
    assert (run / "plan.parquet").read_bytes() == before


def test_closed_stderr_stops_nothing(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python has no sys.stderr where it was closed before the start, as by 2>&- in a shell."""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "__stderr__", None)
    command = ["sweep", "--model", models, "--noise", "fourier", "--modes", "1", "-L", "20"]
    output = str(tmp_path / "run")
    main([*command, "-j", "1", "-o", output, "--no-figures"], standalone_mode=False)
    assert "s4d" in capsys.readouterr().out


def of_file(folder: Path, text: str) -> Result:
    """A dry run of a configuration file, whose paths are relative to its folder."""
    path = folder / "sweep.toml"
    path.write_text(text)
    return CliRunner().invoke(main, ["sweep", "-C", str(path), "--dry-run", "-j", "1"])


def listed(result: Result, expected: list[str]) -> None:
    """Each message stands in a line of its own, and there is no other one."""
    assert result.exit_code in (2, 4) and result.stdout == ""
    lines = result.stderr.splitlines()
    for message in expected:
        assert sum(message in line for line in lines) == 1, (message, lines)
    assert len(lines) == len(expected)


def test_a_file_with_mistakes_is_told_all_of_them(tmp_path: Path) -> None:
    """First what no option can take, then what no sweep can be made of."""
    (tmp_path / "cut.safetensors").write_bytes(zoo_path("s4d", 0).read_bytes()[:1000])
    start = "model = ['s4d', 's9', 's5/7']\nnoise = ['fourier', 'hum', 'Gabor(mode, 0.5, 0.1)']\n"
    end = "[checkpoints]\nmine = 'none.safetensors'\ncut = 'cut.safetensors'\n"
    values = "limit = 0\nepss = 3\nbatch-size = 'big'\neps = '0.1,x'\nomega = 'y'\nrange = '0-1'\n"
    expected = ["limit = 0: 0 is not in the range", "did you mean 'eps'?", 'batch-size = "big"']
    expected += ["eps: 'x' is not a number", "omega: 'y' is not a number", "range: '0-1'"]
    listed(of_file(tmp_path, start + values + end), expected)
    plans = "modes = '1-400'\ndevice = 'abacus'\n"
    expected = [
        *("device: abacus", "model: 's9' is unknown", "has no bundled seed '7'"),
        *("'hum' is unknown", "Fourier: mode 129 is beyond", "Gabor: mode 129 is beyond"),
        *("none.safetensors: no such file", "cut.safetensors: truncated"),
    ]
    listed(of_file(tmp_path, start + plans + end), expected)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("noise = 'fourier'", 2, "model: none is named"),
        ("model = ['s4d', 's4d/0']\nnoise = 'fourier'", 2, "is named twice"),
        ("model = 's4d'\nnoise = ['fourier', 'Fourier(mode)']", 2, "repeats"),
        ("model = 's4d'\nnoise = 'BandNoise(1, 2)'\nphase = 'sine'", 2, "belong to fourier"),
        ("model = 's4d'\nnoise = 'fourier'\ndata = 'images'", 2, "task: 'images' is unknown"),
        ("noise = 'fourier'\ncheckpoints = {a = 'none'}", 4, "no such file"),
        ("model = 's4d'\nnoise = 'fourier'\noutput = 'sweep.toml'", 2, "is a file"),
        ("model = 's4d'\nnoise = 'fourier'\noutput = '.'", 2, "holds no sweep"),
        ("model = ", 2, "is no TOML"),
    ],
)
def test_a_file_with_one_mistake(tmp_path: Path, content: str, code: int, message: str) -> None:
    result = of_file(tmp_path, content)
    assert result.exit_code == code
    listed(result, [message])
