"""A Markdown report of a run that stands alone; equal runs give equal bytes."""

import os
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from robustssm.evaluations.reports.markdown import markdown_table
from robustssm.evaluations.reports.report_facts import (
    cards,
    command,
    counts,
    facts,
    going_on,
    no_pairs,
    noises,
    question,
    title,
    unknown,
)
from robustssm.evaluations.reports.report_rows import Table, overview, pairs, worst_modes
from robustssm.evaluations.reports.verdict import verdict
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.summary import over_seeds, perturbed
from robustssm.evaluations.results.tables import Tables, read_tables


def report(state: Inspection, output: Path) -> str:
    """Return the report of a run as Markdown, ending in a newline.

    output: where it will lie; figures are named relative to it. There is no time and no name of a
    machine in it.
    """
    tables = read_tables(state)
    plan = state.run.plan() if state.planned else pd.DataFrame()
    sections = [
        f"# {title(state, plan)}",
        question(state, plan),
        *verdict(plan, tables),
        counts(state),
        _what_was_run(state, plan, tables),
        "## Overview",
        _table(overview(tables.overview)) or "No perturbed condition has results.",
        _curves(tables.summary),
        "## Paired comparison",
        no_pairs(plan, tables) or _table(pairs(tables.tests)),
        _figures(state, output),
        _not_known(state),
        _going_on(state),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _table(found: Table) -> str:
    """Return a table and its note; empty where it has no row."""
    if not found.rows:
        return ""
    parts = [markdown_table(found.columns, found.rows)]
    parts += [f"{found.rest} more rows are left out here."] * bool(found.rest)
    return "\n\n".join([*parts, *[found.note] * bool(found.note)])


def _what_was_run(state: Inspection, plan: pd.DataFrame, tables: Tables) -> str:
    on_record = facts(state, plan)
    line = command(state)
    rows = [("command", f"`{line}`" if line else "none on record"), *on_record.rows]
    parts = [
        markdown_table(on_record.columns, rows),
        _table(cards(state, plan, tables.summary)),
        _table(noises(plan)),
    ]
    return "\n\n".join(["## What was run", *(part for part in parts if part)])


def _curves(summary: pd.DataFrame) -> str:
    """Return a table a model: the modes of the lowest accuracy, noise by noise, eps by eps."""
    noisy = perturbed(summary)
    if noisy.empty:
        return ""
    found = worst_modes(over_seeds(noisy))
    parts = ["## Worst modes of each model"]
    for model, rows in groupby(found.rows, key=lambda row: row[0]):
        parts += [f"### {model}", markdown_table(found.columns[1:], [row[1:] for row in rows])]
    return "\n\n".join([*parts, found.note])


def _figures(state: Inspection, output: Path) -> str:
    base = output.parent.resolve()
    lines = []
    for path in sorted((state.run.path / "figures").glob("*.png")):
        links = {
            other.suffix[1:]: quote(Path(os.path.relpath(other.resolve(), base)).as_posix())
            for other in (path, path.with_suffix(".pdf"), path.with_suffix(".csv"))
            if other.is_file()
        }
        others = ", ".join(f"[{kind}]({link})" for kind, link in links.items() if kind != "png")
        lines.append(f"![{path.stem}]({links['png']})" + (f"\n\n{others}" if others else ""))
    return "\n\n".join(["## Figures", *lines]) if lines else ""


def _not_known(state: Inspection) -> str:
    lines = [f"- {line}" for line in unknown(state)]
    said = "\n".join(lines) or "Every planned cell is there; nothing was left out."
    return f"## What is not known\n\n{said}"


def _going_on(state: Inspection) -> str:
    line = state.resume()
    return f"## How to go on\n\n{going_on(state)}\n\n    {line}" if line else ""
