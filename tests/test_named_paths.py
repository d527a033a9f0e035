"""Every path of this project that a page names is there."""

import re
from pathlib import Path

import pytest

from tests.source_tree import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
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
