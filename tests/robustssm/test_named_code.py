"""Code that a file names is run only where somebody says so on the command line."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from robustssm.cli import main

CODE = """
from pathlib import Path
import torch

Path({mark!r}).write_text("ran")

class Net(torch.nn.Module):
    d_input, d_output = 1, 10

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 10)

    def forward(self, x):
        return self.linear(x.mean(1))

make = Net
"""
REST = 'noise = "fourier"\nmodes = 1\neps = [0.1]\ndata = "digits:side=8"\n'
NAMED = (
    'model = "own=evil.py:make"\n' + REST,
    'model = ["s4d", "own=evil.py:make"]\n' + REST,
    'model = "s4d,own/3=./evil.py:make"\n' + REST,
    REST + '[checkpoints]\nown = "evil.py:make"\n',
    'model = "a=b,own=evil.py:make"\n' + REST,
)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(CODE.format(mark=str(tmp_path / "ran")))
    return tmp_path / "ran"


@pytest.mark.parametrize("text", NAMED)
@pytest.mark.parametrize(
    "command",
    [
        ["sweep", "-C", "c.toml", "--dry-run"],
        ["sweep", "--config", "c.toml"],
    ],
)
def test_a_configuration_may_not_start_code(text: str, command: list[str], mark: Path) -> None:
    Path("c.toml").write_text(text)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2 and not mark.exists()
    assert "own" in result.stderr and "give --allow-code" in result.stderr
    assert "Traceback" not in result.output


def test_nor_one_that_a_variable_names(mark: Path) -> None:
    Path("c.toml").write_text(NAMED[0])
    variables = {"ROBUSTSSM_SWEEP_CONFIG": "c.toml"}
    result = CliRunner().invoke(main, ["sweep", "--dry-run"], env=variables)
    assert result.exit_code == 2 and "--allow-code" in result.stderr and not mark.exists()


@pytest.mark.parametrize("key", ["allow-code", "allow_code"])
def test_nor_does_it_allow_itself(key: str, mark: Path) -> None:
    Path("c.toml").write_text(f"{key} = true\n{NAMED[0]}")
    result = CliRunner().invoke(main, ["sweep", "-C", "c.toml", "--dry-run"])
    assert result.exit_code == 2 and "is unknown" in result.stderr and not mark.exists()


@pytest.mark.parametrize("text", NAMED[:-1])  # the last one names a file that is not there
@pytest.mark.parametrize(
    "command",
    [
        ["sweep", "-C", "c.toml", "--allow-code", "--dry-run"],
        ["sweep", "--allow-code", "--dry-run", "-C", "c.toml"],
    ],
)
def test_the_command_line_allows_it(text: str, command: list[str], mark: Path) -> None:
    Path("c.toml").write_text(text)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0 and mark.exists(), result.output


def test_the_command_line_names_it(mark: Path) -> None:
    Path("c.toml").write_text(REST)
    command = ["sweep", "-C", "c.toml", "-m", "own=evil.py:make", "--dry-run"]
    assert CliRunner().invoke(main, command).exit_code == 0 and mark.exists()


def test_a_configuration_without_code_needs_no_leave(mark: Path) -> None:
    Path("c.toml").write_text('model = ["s4d", "mine.py=evil.safetensors"]\n' + REST)
    result = CliRunner().invoke(main, ["sweep", "-C", "c.toml", "--dry-run"])
    assert "--allow-code" not in result.output and "no such file" in result.stderr


def test_every_command_with_a_configuration_has_the_option() -> None:
    for name, command in main.commands.items():
        names = {parameter.name for parameter in command.params}
        assert ("config" in names) == ("allow_code" in names), name
        if "config" in names:
            context = click.Context(command, info_name=name)
            assert "--allow-code" in command.get_help(context)
