"""A report as Markdown."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from robustssm.evaluations.reports.parts import Code, Items, Part, Picture, Report, Table
from robustssm.plain_text import markdown, visible


def render(report: Report, output: Path) -> str:
    """Return a report as Markdown, ending in a newline; figures are named relative to `output`."""
    base = output.parent.resolve()
    blocks = [f"# {markdown(report.title)}", markdown(report.question)]
    blocks += [_block(part, base) for part in report.lead]
    blocks += map(markdown, [*report.marks, report.counts])
    for title, parts in report.sections.items():
        blocks += [f"## {title}", *(_block(part, base) for part in parts)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _block(part: Part, base: Path) -> str:
    """Return a part as Markdown; empty if there is nothing to show, or the part is drawn."""
    match part:
        case str():
            return markdown(part)
        case Code():
            return f"    {visible(part.text)}"
        case Items():
            return "\n".join(f"- {markdown(line)}" for line in part.lines)
        case Table() if part.rows:
            rest = f"{part.rest} more rows are left out here." if part.rest else ""
            rows = markdown_table(part.columns, part.rows)
            blocks = [markdown(part.caption), rows, rest, markdown(part.note)]
            return "\n\n".join(block for block in blocks if block)
        case Picture():
            found = links(part.path, base)
            others = ", ".join(f"[{kind}]({where})" for kind, where in found.items())
            return (
                f"![{markdown(part.name)}]({found.pop('png')})\n\n{markdown(part.name)}: {others}"
            )
        case _:
            return ""


def links(picture: Path, base: Path) -> dict[str, str]:
    """Return the files of a figure that are there, by kind, as links from a folder."""
    files = [picture.with_suffix(end) for end in (".png", ".pdf", ".csv")]
    return {
        file.suffix[1:]: quote(Path(os.path.relpath(file.resolve(), base)).as_posix())
        for file in files
        if file.is_file()
    }


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; what is data in its cells stays text."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(markdown(str(cell)) for cell in cells) + " |"

    return "\n".join([line(columns), "|" + "---|" * len(columns), *(line(row) for row in rows)])
