"""Write the tables and sentences of the pages with numbers of docs/data, as docs/tables.toml says.

    python docs/tables.py            # rewrites README.md and docs/*.md in place
    python docs/tables.py --check    # names each table that differs, exit 1

In a page a table stands between `<!-- table: NAME -->` and `<!-- end -->`, paragraphs or a list
with numbers between `<!-- text: NAME -->` and `<!-- end -->`. docs/data/NAME.csv holds the numbers
of a table, below a comment with the command that made them; docs/recompute.py writes these files.
Numbers that were copied from a page instead of computed again are marked `page, not recomputed`,
all by the end of this comment or each in a column `source`. The rows of claims.csv get p and
verdict by the rule of docs/claims.md (`judged`). `leaderboard` has the scores of the cards in
docs/data/cards, which `robustssm benchmark` wrote. [NAME] of docs/tables.toml has

    head     the head of the table
    row      templates of `str.format`: one line of the table for each row of the CSV
    file     the CSV, if it is not NAME
    where    a pandas query: which rows of the CSV
    names    other texts for cells that `row` makes
    across   a column of the CSV: rows alike in `row` share a line, which has the cells of `cell`
             for each value of this column, in the order of the CSV; `-` where there is none
    cell     templates of these cells
    cells    templates for single lines, by LINE: the texts of `row`, joined by a space
    bold     LINE, or [LINE, value of `across`], of cells to be set in bold
    rows     instead of all these: templates of every cell, with {NAME[KEY].column} of any CSV;
             KEY: the leading columns that tell its rows apart, joined by a space. With columns
             value, low and high {NAME[KEY]:.2f} is `value [low, high]`, `value`, or `low to high`
    text     of a text, instead of all these: a template of the same kind, broken into lines
"""

import json
import math
import re
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pandas as pd
from scipy import stats

from robustssm.evaluations.statistics.paired import holm

BLOCK = re.compile(r"(<!-- (?:table|text): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Columns of a text's lines.
WIDTH = 118
NOTHING = re.compile(r" \[nan(, nan)?\]")
WHOLE = re.compile(r"`[^`]+`|\[[^]]+\]")
BAR = re.compile(r"(?<!\\)\|")
LEVEL = 0.05
SHOWN, ALIKE, UNDECIDED = "shown", "alike", "undecided"
# Claims that were tested and withdrawn with their study: the others are no surer for it.
WITHDRAWN = 6
# What the leaderboard has of a card, in the order of its columns.
_KINDS = {"error": ("clean",), "corruption error": ("all", "input", "layers", "adversary")}
_KINDS["relative corruption error"] = ("all",)
SCORES = [(kind, f"{kind}, {of}") for kind, every in _KINDS.items() for of in every]


def judged(claims: pd.DataFrame, withdrawn: int = WITHDRAWN) -> pd.DataFrame:
    """Return the claims with p, Holm-adjusted over all of them and those withdrawn, and verdict.

    p of a claim with a margin is that of two one-sided tests (TOST), of the others two-sided
    Student's, both with seeds - 1 degrees of freedom and the standard error of the interval.
    """
    freedom = claims["seeds"] - 1
    error = (claims["high"] - claims["low"]) / (2 * stats.t.ppf(0.975, freedom))
    away = (claims["estimate"] - claims["null"]).abs()
    differs = 2 * stats.t.sf(away / error, freedom)
    alike = stats.t.sf((claims["margin"] - away) / error, freedom)
    p = np.where(claims["margin"].notna(), alike, differs)
    p = holm(np.append(p, np.ones(withdrawn)))[: len(p)]
    kinds = np.where(claims["margin"].notna(), ALIKE, SHOWN)
    return claims.assign(p=p, verdict=np.where(p < LEVEL, kinds, UNDECIDED))


def leaderboard(folder: Path) -> pd.DataFrame:
    """Return one row per score of each card in a folder, the model of the lowest mCE first."""
    cards = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    cards.sort(key=lambda card: float(card["scores"]["corruption error"]["all"]["value"]))
    return pd.DataFrame(
        {"model": card["names"]["model"], "data": card["data_sha256"][:12], "score": of}
        | {"samples": card["samples"], **card["scores"][kind][of.partition(", ")[2]]}
        for card in cards
        for kind, of in SCORES
    )


class Record(SimpleNamespace):
    """A row of a CSV file: its columns are attributes."""

    def __format__(self, form: str) -> str:
        value, low, high = (getattr(self, name) for name in ("value", "low", "high"))
        if math.isnan(value):
            return f"{low:{form}} to {high:{form}}"
        return f"{value:{form}}" + ("" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]")


class Data(dict[str, dict[str, Record]]):
    """The CSV files of a folder by name, each as its rows by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def frame(self, name: str) -> pd.DataFrame:
        """Return a CSV file, its comment left out, or the scores of the cards."""
        if name == "leaderboard":
            return leaderboard(self.folder / "cards")
        frame = pd.read_csv(self.folder / f"{name}.csv", skiprows=1)
        return judged(frame) if name == "claims" else frame

    def __missing__(self, name: str) -> dict[str, Record]:
        frame = self.frame(name)
        leading = (list(frame.columns[:k]) for k in range(1, len(frame.columns) + 1))
        key = next(columns for columns in leading if not frame.duplicated(columns).any())
        keys = (" ".join(map("{}".format, row)) for row in frame[key].itertuples(index=False))
        rows = (Record(**values) for values in frame.to_dict("records"))
        self[name] = dict(zip(keys, rows, strict=True))
        return self[name]


def fill(templates: list[str], values: Mapping[str, Any]) -> list[str]:
    """Return the cells that templates make of named values, without brackets around nothing."""
    made = (NOTHING.sub("", template.format_map(values)) for template in templates)
    return [BAR.sub(r"\|", cell) for cell in made]


def lines(name: str, table: dict[str, Any], frame: pd.DataFrame) -> list[list[str]]:
    """Return the lines of a table, cell by cell."""
    across, names, bold = table.get("across"), table.get("names", {}), table.get("bold", [])
    found: dict[tuple[str, ...], dict[Any, dict[str, Any]]] = {}
    for values in frame.to_dict("records"):
        labels = tuple(names.get(text, text) for text in fill(table["row"], values))
        line, column = found.setdefault(labels, {}), values[across] if across else ""
        if column in line:
            raise click.ClickException(f"{name}.csv: two rows for one cell: {labels}, {column!r}")
        line[column] = values
    if not across:
        return [list(labels) for labels in found]
    made = []
    for labels, here in found.items():
        cells, label = list(labels), " ".join(labels)
        templates = table.get("cells", {}).get(label, table["cell"])
        for value in frame[across].unique():
            new = fill(templates, here[value]) if value in here else ["-"] * len(templates)
            strong = label in bold or [label, value] in bold
            cells += [f"**{text}**" for text in new] if strong else new
        made.append(cells)
    return made


def broken(paragraph: str) -> str:
    """Return a paragraph, or an item of a list, in lines of at most WIDTH columns.

    What stands in brackets or is code is not broken; nor is a line that is code as a whole.
    """
    if paragraph.startswith("    "):
        return paragraph
    kept = WHOLE.sub(lambda part: part[0].replace(" ", "\0"), paragraph)
    indent = "  " if paragraph.startswith("- ") else ""
    lines = textwrap.wrap(
        kept, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace("\0", " ")


def written(name: str, table: dict[str, Any], data: Data) -> str:
    """Return a table, or a text, in Markdown."""
    if "text" in table:
        paragraphs = table["text"].strip("\n").format_map(data).split("\n")
        return "".join(f"{broken(paragraph)}\n" for paragraph in paragraphs)
    if "rows" in table:
        body = [fill(row, data) for row in table["rows"]]
    else:
        frame = data.frame(table.get("file", name)).query(table.get("where", "index >= 0"))
        body = lines(name, table, frame)
    head = table["head"]
    if any(len(line) != len(head) for line in body):
        raise click.ClickException(f"tables.toml: {name}: {len(head)} cells in head, others below")
    rows = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows).replace("|  |", "| |")


def page(text: str, tables: dict[str, Any], data: Data) -> tuple[str, list[str]]:
    """Return a page with its tables written anew, and the names of those that differ."""
    changed = []

    def renew(block: re.Match[str]) -> str:
        begin, name, end = block.groups()
        if name not in tables:
            raise click.ClickException(f"tables.toml has no [{name}]")
        try:
            new = begin + written(name, tables[name], data) + end
        except KeyError as missing:
            reason = f"tables.toml: [{name}] asks for {missing}, which docs/data has not"
            raise click.ClickException(reason) from None
        changed.extend([name] * (new != block[0]))
        return new

    return BLOCK.sub(renew, text), changed


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a table differs.")
@click.argument("root", type=Path, default=Path(__file__).resolve().parents[1])
def main(check: bool, root: Path) -> None:
    """Write the tables of README.md and docs/*.md below ROOT from docs/data."""
    tables = tomllib.loads((root / "docs" / "tables.toml").read_text())
    data = Data(root / "docs" / "data")
    differ = False
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        text, changed = page(path.read_text(), tables, data)
        for name in changed:
            click.echo(f"{path.relative_to(root)}: {name}: {'differs' if check else 'written'}")
        differ = differ or bool(changed)
        if not check and changed:
            path.write_text(text)
    sys.exit(int(check and differ))


if __name__ == "__main__":
    main()
