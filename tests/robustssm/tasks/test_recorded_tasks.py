"""What a file says its data are is somebody's word: nothing is read, fetched or filled unasked."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from robustssm.checkpoints import load_checkpoint, save_checkpoint
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.baselines.files import read_baseline
from robustssm.evaluations.baselines.regression import plan_check
from robustssm.tasks import TASKS, load_task, recorded_task
from robustssm.tasks.registry import GENERATED

UNASKED = (
    *("file:{pipe}", "file:{folder}/x.npz", "hub:path={pipe}:inputs=x", "hub:name=a/b:inputs=x"),
    *("ucr:path={pipe}", "lra-text:folder=/", "cifar10:folder={folder}", "mnist:folder={folder}"),
    *("noise-padded:task=cifar10+folder=/", "noise-padded:task=file+{pipe}"),
    "listops:train=100000000",
    *("delayed-copy:train=100000000", "frequency-discrimination:length=1048576:train=5000"),
    *(
        "noise-padded:pad=1000000",
        "nothing",
        "",
        "digits:side=x",
        "file",
        ":",
        "digits:side=1" * 99,
    ),
)


@pytest.fixture
def named(tmp_path: Path) -> Callable[[str], str]:
    os.mkfifo(tmp_path / "pipe")

    def fill(spec: str) -> str:
        return spec.format(pipe=tmp_path / "pipe", folder=tmp_path)

    return fill


def test_every_task_is_generated_or_read() -> None:
    read = {name for name in TASKS if name not in GENERATED}
    assert read == {"cifar10", "mnist", "fashion-mnist", "lra-text", "mnist1d", "cardio", "bidmc",
                    "forecast", "lm", "lra-pathfinder", "speech-commands", "ucr", "hub",
                    "audio"}  # fmt: skip


@pytest.mark.parametrize("spec", UNASKED)
def test_it_is_asked_for(spec: str, named: Callable[[str], str]) -> None:
    with pytest.raises(UsageError, match=r"^checkpoint x: .* name them by --data$") as caught:
        recorded_task(named(spec), "checkpoint x")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 800


def test_generated_ones_are_made() -> None:
    for name in GENERATED:
        assert recorded_task(name, "checkpoint x") is load_task(name)


def test_a_task_that_is_asked_for_has_a_bound_too() -> None:
    for spec in ("listops:train=900000000", "delayed-copy:train=999999999:symbols=256"):
        with pytest.raises(UsageError, match="half of this machine's"):
            load_task(spec)


@pytest.mark.parametrize(
    "command", ["sweep", "gain", "doctor", "search radius", "search worst-mode"]
)
def test_commands_ask(
    command: str,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    named: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A card that names a pipe, data sets of terabytes, or one on the hub."""
    monkeypatch.chdir(tmp_path)
    original = load_checkpoint(checkpoints["s4d"])
    for spec in ("file:{pipe}", "listops:train=100000000", "hub:name=a/b:inputs=x"):
        path = tmp_path / "m.safetensors"
        save_checkpoint(path, original.network, replace(original.card, task=named(spec)))
        arguments = [*command.split(), "-m", f"mine={path}"]
        if command == "sweep":
            arguments += ["--noise", "fourier", "--modes", "1", "--eps", "0.1"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2, result.output
        assert "--length" in result.stderr or "--data" in result.stderr, result.stderr


def test_a_baseline_asks(tmp_path: Path, checkpoints: dict[str, Path], models: str) -> None:
    run, path = tmp_path / "run", tmp_path / "b.json"
    arguments = ["sweep", "-m", models, "--noise", "fourier", "--modes", "1", "--eps", "0.1"]
    more = ["--no-figures", "-j", "1", "--limit", "20", "-o", str(run)]
    assert CliRunner().invoke(main, [*arguments, *more]).exit_code == 0
    assert CliRunner().invoke(main, ["baseline", str(run), "-o", str(path)]).exit_code == 0
    content = json.loads(path.read_text())
    task, content["data"]["task"] = content["data"]["task"], f"file:{tmp_path}/x.npz"
    path.write_text(json.dumps(content))
    check = ["check", f"s4d={checkpoints['s4d']}", "--baseline", str(path), "-j", "1"]
    result = CliRunner().invoke(main, check)
    assert result.exit_code == 2 and "name them by --data" in result.stderr
    result = CliRunner().invoke(main, [*check, "--data", task])
    assert result.exit_code in (0, 6), result.output
    with pytest.raises(UsageError, match="name them by --data"):
        plan_check(read_baseline(path), [])
