"""The lists of what there is, as `ls` and `attack --list` print them. Imports stay inside."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


def attacks() -> list[dict[str, object]]:
    """Return a row an attack: fields with defaults, places, unit of eps, what it is."""
    from dataclasses import MISSING, fields

    from robustssm.attacks.adversaries.table import ADVERSARIES
    from robustssm.attacks.perturbations.table import FAMILIES

    rows: list[dict[str, object]] = []
    for name, cls in {**FAMILIES, **ADVERSARIES}.items():
        shown = [
            f.name if f.default is MISSING else f"{f.name}={f.default!r}"
            for f in fields(cls)  # type: ignore[arg-type]
        ]
        rows.append(
            {
                "attack": f"{name}({', '.join(shown)})",
                "at": " or ".join(cls.sites),
                "unit": cls.unit,
                "what": (cls.__doc__ or "").partition("\n")[0].rstrip("."),
            }
        )
    return rows


def show_attacks(style: str) -> None:
    """Print every perturbation and adversary, one or two lines each."""
    rows = attacks()
    if style != "table":
        show_rows("attacks", rows, style)
        return
    for row in rows:
        click.echo(f"{row['attack']}\n    {row['what']}. At: {row['at']}; eps: {row['unit']}.")


def show_rows(title: str, rows: Sequence[Mapping[str, Any]], style: str) -> None:
    """Print rows on stdout as table, csv, json or md; a single row is a row all the same."""
    from robustssm.commands import terminal

    if style in ("csv", "json") or not rows:
        terminal.emit_records(title, [dict(row) for row in rows], style)
        return
    terminal.emit_table(
        title, list(rows[0]), [[text(v) for v in row.values()] for row in rows], style
    )


def text(value: object) -> str:
    """Return a value as tables show it: floats to four digits, a dash for what is not known."""
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"
    return str(value)


def size(count: int) -> str:
    """Return bytes for people, in binary units: 512 B, 3.4 MiB."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024.0:
            break
        value, unit = value / 1024.0, larger
    return f"{value:.3g} {unit}" if unit != "B" else f"{count} B"
