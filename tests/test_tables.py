"""No number of a table in the documentation is typed: pages and docs/data agree."""

import re
import shutil
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from docs.tables import BLOCK, main
from tests.source_tree import ROOT

PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
# Heads of tables whose decimal numbers are no measurements: a p that three seeds can reach,
# and identifiers of papers.
NOT_MEASURED = ("| assumption | if it is wrong |", "| task | what | as published | own |")
# Decimal numbers in sentences that no script writes: settings, theory, sections, identifiers.
SAID = {
    "README.md": {"3.11", "325.43", "2.0"},
    "docs/theory.md": {"2310.01698"},
    "docs/commands.md": {"0.2"},
    "docs/results.md": {"4.2", "0.01", "325.426", "0.3", "2310.01698", "87.6"},
    "docs/claims.md": {"0.05", "0.1", "0.4", "0.148", "0.105", "0.067"},
    "docs/proved-measured-assumed.md": {"0.25"},
    "docs/speed.md": set(),
    "docs/tutorial.md": set(),
}
DATA = sorted((ROOT / "docs" / "data").glob("*.csv"))
TABLES = tomllib.loads((ROOT / "docs" / "tables.toml").read_text())
PLACED = [(page, name) for page in PAGES for _, name, _ in BLOCK.findall((ROOT / page).read_text())]


def run(root: Path, *options: str) -> Result:
    return CliRunner().invoke(main, [*options, str(root)])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the pages and of what their tables are made from."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def test_pages_hold_what_the_data_say() -> None:
    result = run(ROOT, "--check")
    assert (result.output, result.exit_code) == ("", 0)


@pytest.mark.parametrize("page", PAGES)
def test_tables_with_decimal_numbers_are_made(page: str) -> None:
    outside = BLOCK.sub("", (ROOT / page).read_text())
    tables = re.findall(r"^(\|.*)\n\|[-| ]+$\n((?:\|.*\n?)*)", outside, re.MULTILINE)
    typed = [head for head, rows in tables if re.search(r"\d\.\d", rows)]
    assert set(typed) <= set(NOT_MEASURED)


def test_exceptions_are_in_use() -> None:
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    assert all(head in text for head in NOT_MEASURED)


@pytest.mark.parametrize("page", SAID)
def test_no_sentence_holds_a_typed_measurement(page: str) -> None:
    """Outside of what is written by a script, of code and of links."""
    outside = BLOCK.sub("", (ROOT / page).read_text())
    code = re.compile(r"^ {4}.*$|`[^`]*`|\]\([^)]*\)", re.MULTILINE)
    assert set(re.findall(r"\d+\.\d+", code.sub("", outside))) == SAID[page]


def test_every_specification_has_its_place() -> None:
    assert sorted(name for _, name in PLACED) == sorted(TABLES)


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_data_name_the_command_that_made_them(path: Path) -> None:
    comment = path.read_text().splitlines()[0]
    assert re.match(r"# .*(robustssm \w+|python benchmarks/|pytest )", comment)


@pytest.mark.parametrize(("page", "name"), PLACED)
def test_a_changed_digit_in_a_page_is_noticed_and_mended(copy: Path, page: str, name: str) -> None:
    path, text = copy / page, (copy / page).read_text()
    (block,) = (found for found in BLOCK.finditer(text) if found[2] == name)
    digit = list(re.finditer(r"\d", block[0]))[-1].start() + block.start()
    path.write_text(text[:digit] + str(9 - int(text[digit])) + text[digit + 1 :])
    result = run(copy, "--check")
    assert (result.output, result.exit_code) == (f"{page}: {name}: differs\n", 1)
    assert run(copy).output == f"{page}: {name}: written\n"
    assert path.read_text() == text


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_changed_data_are_noticed(copy: Path, path: Path) -> None:
    frame = pd.read_csv(path, skiprows=1)
    numbers = frame.select_dtypes("float").columns.drop("eps", errors="ignore")
    frame[numbers] = 1.5 * frame[numbers] + 1
    if not len(numbers):  # texts, of which the last is a verdict
        frame.iloc[:, -1] += "?"
    changed = copy / "docs" / "data" / path.name
    changed.write_text(f"# no command\n{frame.to_csv(index=False)}")
    result = run(copy, "--check")
    assert result.exit_code == 1
    assert path.stem not in TABLES or f": {path.stem}: differs\n" in result.output


def test_one_changed_digit_of_the_data_is_noticed(copy: Path) -> None:
    path = copy / "docs" / "data" / "resonance.csv"
    text = path.read_text()
    assert text.count("0.16388") == 1
    path.write_text(text.replace("0.16388", "0.16488"))
    pages = (
        "docs/proved-measured-assumed.md: measured",
        "docs/results.md: found",
        "docs/results.md: resonance",
    )
    assert run(copy, "--check").output == "".join(f"{page}: differs\n" for page in pages)


def test_a_table_without_specification_is_named(copy: Path) -> None:
    readme = copy / "README.md"
    readme.write_text("<!-- table: nowhere -->\n<!-- end -->\n" + readme.read_text())
    result = run(copy, "--check")
    assert (result.output, result.exit_code) == ("Error: tables.toml has no [nowhere]\n", 1)


def test_a_second_number_for_a_cell_is_refused(copy: Path) -> None:
    path = copy / "docs" / "data" / "adversaries.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    result = run(copy, "--check")
    assert (result.output.count("\n"), result.exit_code) == (1, 1)
    assert result.output.startswith("Error: adversaries.csv: two rows for one cell: ('`BandPGD`")
