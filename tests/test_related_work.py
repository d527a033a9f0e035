"""The page on related work: every command that it names runs."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from robustssm.cli import main
from tests.source_tree import ROOT

PAGE = ROOT / "docs" / "related-work.md"
COMMANDS = [
    line.strip()
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("    robustssm ")
]


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    # Drawing takes longer than the rest; test_sweep_command.py holds what is drawn.
    words += ["--no-figures"] if words[0] == "sweep" else []
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
