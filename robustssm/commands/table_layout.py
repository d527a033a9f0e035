"""Tables in a terminal of any width: what identifies a row, and every cell, is printed whole."""

import textwrap
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from robustssm.plain_text import visible

# Columns of a terminal that every command is made for.
WIDTH = 80


def print_table(
    console: Console,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    prose: bool,
    upright: bool,
) -> None:
    """Print a table as wide as the console allows, or its rows as blocks of lines.

    prose: cells hold sentences, which are broken into lines. upright: each row is a name and a
    value. Headings are broken into lines first, then columns that are the same in every row go
    below the table; cells are neither broken nor left out.
    """
    title, headings = visible(title), [visible(one) for one in headings]
    rows = [[visible(cell) for cell in row] for row in rows]
    whole = list(range(len(headings)))
    fitted = (headings, whole, False) if prose else _fitted(headings, rows, console.width)
    if fitted is not None:
        names, kept, light = fitted
        lines = None if light else box.HEAVY_HEAD
        wide = min(len(title) + 2, WIDTH, console.width)
        table = Table(title=Text(title), title_justify="left", box=lines, min_width=wide)
        for k in kept:
            side: JustifyMethod = "left" if prose or k == 0 else "right"
            table.add_column(Text(names[k]), justify=side, no_wrap=k == 0 or not prose)
        for row in rows:
            # As text: a name in brackets is no markup.
            table.add_row(*(Text(row[k]) for k in kept))
        console.print(table)
    else:
        kept = whole if upright else _varying(headings, rows)
        console.print(Text(title))
        for line in _blocks(headings, rows, kept, upright):
            console.print(Text(line), soft_wrap=True)
    same = [f"{headings[k]} {rows[0][k]}" for k in whole if k not in kept]
    if same:
        console.print(Text(f"All rows: {', '.join(same)}."))


def _varying(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns that tell rows apart, the first one in any case."""
    return [k for k in range(len(headings)) if k == 0 or len({row[k] for row in rows}) != 1]


def _fitted(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], list[int], bool] | None:
    """Return headings, the columns that stay, and whether lines are left out, so that all fits."""
    whole = list(range(len(headings)))
    widths = [max((cell_len(row[k]) for row in rows), default=0) for k in whole]
    broken = [
        "\n".join(textwrap.wrap(name, max(size, 4), break_long_words=False))
        for name, size in zip(headings, widths, strict=True)
    ]
    varying = _varying(headings, rows)
    for names, kept, light in (
        (headings, whole, False),
        (broken, whole, True),
        (broken, varying, True),
    ):
        needed = [max([widths[k], *map(cell_len, names[k].split("\n"))]) for k in kept]
        # A column has a space on each side, and a line before or behind.
        if sum(needed) + (2 * len(kept) if light else 3 * len(kept) + 1) <= width:
            return names, kept, light
    return None


def _blocks(
    headings: Sequence[str], rows: Sequence[Sequence[str]], kept: Sequence[int], upright: bool
) -> Iterator[str]:
    """Yield the lines of a table one below the other: names and values, a block for each row."""
    pad = max(map(len, [row[0] for row in rows] if upright else headings))
    for row in rows:
        if upright:
            yield f"{row[0]:{pad}}  {row[1]}"
            continue
        yield row[0]
        for k in kept[1:]:
            yield f"  {headings[k]:{pad}}  {row[k]}"
