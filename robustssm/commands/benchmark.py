"""`robustssm benchmark` and `robustssm verify`: the card of a model under a frozen suite."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from robustssm.commands import common, terminal
from robustssm.errors import RejectedInputError

_reference = click.option(
    "--reference",
    metavar="MODEL",
    help="Model over whose errors ratios are taken. Default: the bundled S4 of the same task, if "
    "there is one; else errors are absolute.",
)


@click.command()
@common.shared("names", "models")
@_reference
@click.option("--suite", default="v1", metavar="VERSION", help="Version of the suite.")
@common.output(help="Run directory, which gets card.json and card.md. Default: as of sweep.")
@click.option("--dry-run", is_flag=True, help="Report cells, passes, time and disk, and stop.")
@common.shared("reuse", "device", "task", "limit", "jobs", "style", "progress")
def benchmark(
    reference: str | None,
    suite: str,
    output: Path | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Measure a model under a frozen suite; write its card.

    The suite has families of noise at the input and at layers, and a ladder of adversaries, each
    with five severities, and fixes their seed and the number of samples. A family that cannot act
    on the model or the data is left out, and the card says so. mCE is the mean over families of the
    errors over those of a reference, as in ImageNet-C; the relative one takes errors less the clean
    error. Repeating the command computes only what is missing, and writes the same bytes.

    \b
    Examples:
      robustssm benchmark s4d
      robustssm benchmark s4d --dry-run
      robustssm benchmark own=net.py:make --data file:samples.npz -o runs/own

    Exit codes: 0 done; 2 usage, or the directory holds another sweep; 3 some cells failed;
    4 a checkpoint or the data are rejected; 130 interrupted, what is finished is kept.
    """
    from robustssm.commands.sweep import note_inputs
    from robustssm.commands.sweep_watching import check_errors, measure_watched, say_cost
    from robustssm.evaluations.baselines.files import dump
    from robustssm.evaluations.benchmark.card import card, facts, outcome, page, table
    from robustssm.evaluations.benchmark.suite import plan_suite, read_suite
    from robustssm.evaluations.sweep.plan import default_output
    from robustssm.evaluations.sweep.run_directory import RunDirectory
    from robustssm.execution import resolve_device
    from robustssm.storage.writing import write_atomically

    asked, frozen = common.SharedOptions(**options), read_suite(suite)
    over = common.SharedOptions(models=(reference,)).one_ref("reference") if reference else None
    model = asked.one_ref("benchmark")
    limit, kind = min(asked.limit or frozen.limit, frozen.limit), resolve_device(asked.device).type
    bench = plan_suite(frozen, model, over, asked.task, limit=limit, device=kind)
    run, execution = RunDirectory(output or default_output(bench.plan)), asked.execution()
    run.check(bench.plan)
    note_inputs(bench.plan)
    terminal.note(*(f"{family}: left out: {why}" for family, why in bench.left_out.items()))
    say_cost(bench.plan, run, execution, asked.style if dry_run else None)
    if dry_run:
        return
    others = [RunDirectory(path) for path in asked.reuse]
    swept, _ = measure_watched(
        "benchmark", bench.plan, run, execution, asked.progress, reuse=others
    )
    check_errors("benchmark", swept.errors, "; the same command tries them again")
    outcomes = {
        role: {name: outcome(run, cell) for name, cell in of.items()}
        for role, of in bench.cells.items()
    }
    content = card(bench, facts(bench), outcomes)
    write_atomically(run.path / "card.json", f"{dump(content)}\n".encode())
    write_atomically(run.path / "card.md", page(content).encode())
    terminal.note(f"{swept.computed} cells computed; {run.path / 'card.json'}, card.md beside it")
    shown = terminal.Table(f"{bench.names['model']} on {content['task']}", table(content))
    terminal.show(asked.style, shown, content=content)


@click.command()
@click.argument("path", metavar="CARD", type=click.Path(path_type=Path))
@common.shared("models")
@_reference
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    help="Share of the cells to compute again; at least one.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="SEED",
    help="Draws the cells; one of your own draws cells that the card's author could not foresee. "
    "Default: the card's digest draws them.",
)
@click.option(
    "--allow",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Samples per cell that may differ, as near a tie on another kind of processor.",
)
@common.shared("task", "jobs", "style", "progress")
def verify(
    path: Path,
    reference: str | None,
    fraction: float,
    seed: int | None,
    allow: int,
    **options: Any,
) -> None:
    """Hold the card of a model to the model itself.

    Every number that follows from the cells on the card is made again and compared, as are the
    hashes of weights, data and suite; then a random share of the cells is computed again, one of
    each family before others. Data that are read from files have to be named.

    \b
    Examples:
      robustssm benchmark s4d -o runs/s4d
      robustssm verify runs/s4d/card.json --model s4d --fraction 0.05 --seed 7

    Exit codes: 0 nothing differs; 2 usage; 3 some cells failed; 4 the card is none, contradicts
    itself, or is of another model or data; 5 a cell computed again differs; 130 interrupted.
    """
    from robustssm.commands.sweep_watching import measured_in
    from robustssm.evaluations.benchmark import verification
    from robustssm.execution import versions
    from robustssm.storage.json_files import read_written

    over = common.SharedOptions(models=(reference,)).one_ref("reference") if reference else None
    content = read_written(path, "card", "benchmark", verification.FORMS)
    asked = common.SharedOptions(**options, device=content["device"])
    bench = verification.plan_card(content, asked.one_ref("verify"), over, asked.task)
    if found := verification.contradiction(content, bench):
        raise RejectedInputError(f"card {path}: {found}")
    for name, here in versions().items():
        if (there := content["software"].get(name)) != here:
            terminal.note(f"card {path}: made with {name} {there}, here it is {here}")
    places = verification.drawn(bench, content["digest"] if seed is None else str(seed), fraction)
    plan = replace(bench.plan, cells=tuple(cell for _, _, cell in places))
    with measured_in(None, "verify", plan, asked) as run:
        found = verification.altered(content, run, places, allow)
    if found:
        raise common.CommandError(f"card {path}: {found}", 5)
    record = {
        "verified": True,
        "card": str(path),
        "cells": len(bench.plan.cells),
        "computed again": len(places),
    }
    title = "Every number follows from the cells, and what was computed again is the same."
    terminal.show(asked.style, terminal.Table(title, [record], upright=True))
