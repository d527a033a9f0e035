"""Every path and command of this project that a page names is there; versions agree."""

import re
import shlex
from pathlib import Path

import click
import pytest

from robustssm._version import __version__
from robustssm.cli import main
from tests.source_tree import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# A path from the root, which ends before `:function` or the point of a sentence.
PATH = re.compile(
    r"(?<![\w./-])(?:robustssm|attacks|evaluations|figures|tests|benchmarks|docs)/[\w./<>-]*[\w/>]"
)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_paths_exist(page: Path) -> None:
    text = page.read_text()
    named = [ROOT / path for path in PATH.findall(text) if "<" not in path]
    named += [page.parent / path for path in LINK.findall(text)]
    assert [str(path) for path in named if not path.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_commands_exist(page: Path) -> None:
    """The words of a command, by no name that it had before, and its options."""
    text = re.sub(r"\\\n *", "", page.read_text())  # a line goes on behind a backslash
    code = re.findall(r"^ {4,}(.*robustssm .*)$|`(robustssm [^`]*)`", text, re.MULTILINE)
    for line in (text for found in code for text in found if text):
        for call in re.findall(r"\brobustssm ([^;&|]*)", line):
            words = shlex.split(call.replace("...", ""), comments=True)
            command: click.Command = main
            while isinstance(command, click.Group) and words and words[0][0] != "-":
                assert words[0].isupper() or words[0] in command.commands, f"{page.name}: {call}"
                if words[0].isupper():  # any command
                    break
                command = command.commands[words.pop(0)]
            known = {text for o in command.params for text in (*o.opts, *o.secondary_opts)}
            given = {word.partition("=")[0] for word in words if re.match("--?[a-zA-Z]", word)}
            assert given <= known | {"--help"}, f"{page.name}: {call}"


def test_one_version() -> None:
    citation, changes = ((ROOT / name).read_text() for name in ("CITATION.cff", "CHANGELOG.md"))
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [__version__]
    assert re.findall(r"^## (.*)$", changes, re.MULTILINE)[0] == __version__
