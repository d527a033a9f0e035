"""`robustssm show` and `robustssm report`: what a run is, how far it is, what it found."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, output, shared
from robustssm.commands.loudness import asked

if TYPE_CHECKING:
    from collections.abc import Collection

    from pandas import DataFrame

    from robustssm.evaluations.results.inspection import Inspection
    from robustssm.evaluations.results.tables import Tables
    from robustssm.targets import Kind

# Failed cells that are named one by one; --errors names all.
_SHOWN = 5
# What a reader must know of the worst of many modes.
WORST = (
    "Worst, cross-fitted: each training seed's own worst mode, selected on one half of the samples "
    "and evaluated on the other, both ways; --wide adds the naive value, which is biased "
    "{side}. The interval of one seed is of the true worst mode, that of several of the mean"
)


@click.command()
@shared("run")
@click.option("--errors", is_flag=True, help="Print the traceback of every failed cell.")
@click.option("--verify", is_flag=True, help="Compare columns, samples and margins as well.")
@shared("wide", "style")
def show(run: Path, errors: bool, verify: bool, style: str) -> None:
    """Show a run: progress, failures, results.

    And how to resume it. Works while a sweep is writing, and without the checkpoints. Truncated or
    changed cell files are detected; --verify finds rows that contradict each other. csv is the
    overview alone. `seeds
    from..to` and Student's interval of the mean are of the cross-fitted values.

    \b
    Examples:
      robustssm sweep -m s4d --noise fourier --modes 1-2 --eps 1 -o runs/small
      robustssm show runs/small
      robustssm show runs/small --verify --format json

    Exit codes: 0 shown; 2 usage, or no run directory; 4 something in it is damaged, and named.
    """
    from robustssm.evaluations.results.inspection import inspect
    from robustssm.evaluations.results.tables import read_tables

    state = inspect(run, verify)
    tables = read_tables(state)
    parts = _parts(state, tables, errors)
    terminal.show(style, *parts, content=_record(state, tables, errors), rows=tables.overview)
    if tables.stale and not tables.summary.empty and style in ("table", "md"):
        terminal.note(
            "summary.csv is behind the cells; the overview is of the cells that are there"
            if state.planned
            else "the overview is of summary.csv; no plan says what else there is"
        )
    if state.damaged:
        raise CommandError(f"run {run}: damaged: {damage(state)}; {cure(state)}", 4)


@click.command()
@shared("run")
@output(
    dir_okay=False,
    help="File to write, new or replaced. Default: RUN/report.md, RUN/report.html with --html.",
)
@click.option(
    "--html",
    is_flag=True,
    help="Write one HTML page instead, figures and interactive curves in it; so does -o X.html.",
)
def report(run: Path, output: Path | None, html: bool) -> None:
    """Write a report of a run, Markdown or one HTML page.

    It is self-contained.

    What was run, with hashes and versions; overview with intervals; the worst modes of each model;
    paired verdicts; the figures of the run; what is not known; how to go on. Equal runs give equal
    bytes. The HTML page has a date as well, that of SOURCE_DATE_EPOCH or today's; it needs no
    network, and `pip install 'robustssm[html]'` where that is not there yet.

    \b
    Examples:
      robustssm sweep -m s4d --noise fourier --modes 1-2 --eps 1 -o runs/small
      robustssm report runs/small
      robustssm report runs/small -o small.md
      robustssm report runs/small -o small.html

    Exit codes: 0 written; 2 usage, or no run directory; 4 the run is damaged: the report says what
    is left.
    """
    from robustssm.api.results import write_report
    from robustssm.evaluations.results.inspection import inspect

    state = inspect(run)
    output = output or run / ("report.html" if html else "report.md")
    terminal.note(f"{output}: {write_report(state, output, html)} written")
    if state.damaged:
        raise CommandError(f"run {run}: damaged: {damage(state)}; {cure(state)}", 4)


def damage(state: "Inspection") -> str:
    """Return the damaged files and why, the first of many, and how many there are."""
    found = [f"{name}: {why}" for name, why in sorted(state.damaged.items())]
    more = f"; and {len(found) - _SHOWN} more, left out as well" if len(found) > _SHOWN else ""
    return f"{'; '.join(found[:_SHOWN])}{more}"


def cure(state: "Inspection") -> str:
    """Return what to do about the damaged files."""
    kinds = {name.partition("/")[0] for name in state.damaged}
    if "plan.parquet" in kinds or "manifest.json" in kinds:
        return (
            f"run its sweep again with another --output and --reuse {state.run.path}: finished "
            "cells are taken over"
        )
    return "left out here; the same sweep, run again, computes them anew"


def _record(state: "Inspection", tables: "Tables", errors: bool) -> dict[str, Any]:
    return {
        "schema": 1,
        "run": str(state.run.path),
        "state": state.word,
        "partial": state.partial,
        "manifest": state.manifest,
        "cells": state.counts,
        "missing": list(state.missing),
        "failed": [
            {"cell": f.cell, "error": f.error, **({"traceback": f.traceback} if errors else {})}
            for f in state.failed.values()
        ],
        "damaged": [{"file": n, "reason": why} for n, why in sorted(state.damaged.items())],
        "overview": tables.overview.to_dict("records"),
        "resume": state.resume(state.run.path),
    }


def _parts(state: "Inspection", tables: "Tables", errors: bool) -> list[terminal.Table | str]:
    parts = [*terminal.facts(str(state.run.path), _facts(state)), ""]
    if not tables.summary.empty:
        clean = f"Clean {_kind(tables.summary).words}"
        title = clean if tables.overview.empty else "Overview"
        mark = " PARTIAL (--limit)" if state.partial else ""
        parts.append(results_table(tables, title + mark))
    parts += _failures(state, errors)
    command = state.resume(state.run.path)
    if command and not state.complete:
        parts.append(f"Goes on by\n  {command}")
    return parts


def _facts(state: "Inspection") -> dict[str, str]:
    from robustssm.commands.ls import size
    from robustssm.evaluations.results.inspection import disk_bytes

    content, counts = state.manifest, state.counts
    models = [
        f"{m.get('name')} {str(m.get('content_hash'))[:12]}" for m in content.get("models") or []
    ]
    versions = content.get("versions") or {}
    limit = content.get("limit")
    samples = "the whole test split" if content else ""
    facts = {
        "state": state.word,
        "cells": f"{counts['done']} of {counts['cells']} done, {counts['failed']} failed, "
        f"{counts['missing']} missing",
        "on disk": size(disk_bytes(state.run.path)),
        "command": state.command or "none on record",
        "task": content.get("task"),
        "samples": f"PARTIAL: the first {limit}" if limit is not None else samples,
        "noise": ", ".join(map(str, content.get("noise") or [])),
        "noise seed": content.get("seed"),
        "noise seeds": content.get("noise_seeds"),
        "device": content.get("device"),
        "models": ", ".join(models),
    }
    if asked("verbose"):
        facts |= {
            "data hash": str(content.get("task_hash", ""))[:12],
            "plan": content.get("plan"),
            "schema": content.get("schema"),
            "versions": ", ".join(f"{k} {v}" for k, v in sorted(versions.items())),
        }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def _failures(state: "Inspection", errors: bool) -> list[str]:
    """Return one line per failed cell, or every traceback; the lines are cut if there are many."""
    failures = list(state.failed.values())
    if errors:
        return [f"cell {f.cell}: {f.error}\n{f.traceback}" for f in failures]
    lines = [f"failed: cell {f.cell}: {f.line}" for f in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        lines.append(f"failed: {len(failures) - _SHOWN} more; --errors prints all, with tracebacks")
    return lines


def show_sweep(results: "Tables", path: Path, style: str, partial: bool) -> None:
    """Print the tables of a run on stdout, as `style` says."""
    title = f"{path}" + (" PARTIAL (--limit)" if partial else "")
    lines = []
    if not results.overview.empty and bool((results.overview["modes"] > 1).any()):
        side = "downwards" if _kind(results.overview).sign > 0 else "upwards"
        lines = [
            f"{WORST.format(side=side)}. Who is better: robustssm compare {shlex.quote(str(path))}"
        ]
    content = {"schema": 1, "output": str(path), "partial": partial, **results.to_json()}
    table = results_table(results, title)
    lines += results.verdicts()
    terminal.show(style, table, *lines, content=content, rows=results.summary)


def results_table(results: "Tables", title: str) -> terminal.Table:
    """Return the overview of a run; its clean accuracies if it holds nothing else."""
    if results.overview.empty:
        return terminal.Table(title, results.summary, _clean(_kind(results.summary)))
    columns = overview_columns(results.overview)
    return terminal.Table(title, results.overview, columns, aside=("worst (naive)",))


def overview_columns(frame: "DataFrame") -> list[terminal.Column]:
    """Return the columns of an overview that are shown; one mode needs no mean and no worst."""
    single, of = bool((frame["modes"] == 1).all()), _kind(frame)
    columns: list[terminal.Column] = [("model", "model", "")]
    if len(set(frame["noise"])) > 1:
        columns += [("noise", "noise", "")]
    columns += [
        ("seeds", "seeds", ""),
        *([("noise seeds", "noise_seeds", "")] if "noise_seeds" in frame else []),
        ("n", "n", ""),
        ("clean", of.clean, of.digits),
        ("eps", lambda row: f"{row['eps']:g} {row['eps_unit']}", ""),
    ]
    columns += [(of.words, of.worst, of.digits)] if single else _worst(of)
    if of.shown:
        columns += [(of.shown, lambda row: of.readings(row[of.clean], row[of.crossfit]), "")]
    if bool((frame["interval"] != "").any()):
        columns += [("95% interval", _interval, ""), ("of", lambda row: row["interval"] or "-", "")]
    if bool((frame["seeds"] > 1).any()):
        columns += [("seeds from..to", _spread, "")]
    return columns


def _kind(table: "Collection[Any]") -> "Kind":
    from robustssm.targets import of_table  # needs numpy, which help does without

    return of_table(table)


def _interval(row: dict[str, Any]) -> str:
    digits = _kind(row).digits
    return f"[{row['ci_low']:{digits}}, {row['ci_high']:{digits}}]" if row["interval"] else "-"


def _spread(row: dict[str, Any]) -> str:
    low, high = row["lowest_seed"], row["highest_seed"]
    digits = _kind(row).digits
    return f"{low:{digits}}..{high:{digits}}" if low == low else "-"


def _worst(of: "Kind") -> list[terminal.Column]:
    name = f"{of.words}, " if of.name else ""
    return [
        (f"{name}mean over modes", of.mean, of.digits),
        ("worst (naive)", of.worst, of.digits),
        ("worst mode", lambda row: row["worst_modes"] if row["mode_unit"] else "-", ""),
        ("worst, cross-fitted", of.crossfit, of.digits),
    ]


def _clean(of: "Kind") -> list[terminal.Column]:
    columns: list[terminal.Column] = [("model", "model", ""), ("seed", "train_seed", "")]
    columns += [(of.shown, of.shown, of.digits)] if of.shown else []
    return [*columns, ("n", "n", ""), ("clean", of.score, of.digits)]
