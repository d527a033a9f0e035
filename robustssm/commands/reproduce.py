"""`robustssm reproduce`: make the figures of the PTD paper again, and set the numbers beside it."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, cores, output, shared
from robustssm.commands.draw import printing
from robustssm.commands.progress import log
from robustssm.errors import UsageError


@click.command()
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="What can be reproduced, and its steps.")
@click.option("--quick", is_flag=True, help="Fewer and smaller settings, seconds to a minute.")
@output(
    file_okay=False,
    default=Path("runs/reproduce"),
    help="Folder: each recipe has its own folder in it.",
)
@click.option(
    "-d",
    "--data",
    "task",
    help="Task of recipes that train, instead of digits; `ls tasks` names them.",
)
@shared("figures", "jobs", "style", "progress")
@printing
def reproduce(
    name: str | None,
    listed: bool,
    quick: bool,
    output: Path,
    task: str | None,
    figures: bool,
    **options: Any,
) -> None:
    """Reproduce the figures of the PTD paper.

    NAME is a figure of arXiv 2310.01698, or `all` of them; the numbers are set beside the paper's.
    `study` is this project's own (docs/protocol.md): many tasks and seeds, a night on two cores.

    A step that is finished is not run again: after an interruption the same command goes on, and
    a changed setting makes another step. Figures are drawn from the stored tables alone. What the
    paper is said to claim beyond its abstract is quoted at second hand; a mark says from where.

    \b
    Examples:
      robustssm reproduce --list
      robustssm reproduce fig1 --quick
      robustssm reproduce fig3ab --quick --data digits:side=8
      robustssm reproduce all --quick -o runs/paper
      robustssm reproduce study --quick -o runs/paper
    """
    from robustssm.evaluations.paper import running
    from robustssm.evaluations.paper.reproduction import SOURCES
    from robustssm.evaluations.paper.trainings import other_data
    from robustssm.evaluations.table_files import write_csv

    asked = SharedOptions(**options)
    if listed:
        if name is not None:
            raise UsageError(f"reproduce: {name!r} and --list exclude one another; keep one")
        steps = [
            {"name": r.name, "shows": r.shows, "steps": ", ".join(s.name for s in r.steps)}
            for r in running.reproductions().values()
        ]
        terminal.show(asked.style, terminal.Table("Recipes", steps, upright=True, prose=True))
        return
    if name is None:
        known = ", ".join(running.reproductions())
        raise UsageError(f"reproduce: no NAME, expected one of {known}, all; or use --list")
    chosen = running.chosen(name)
    changes = {} if task is None else other_data(chosen, task)
    import pandas as pd

    parts = []
    with asked.steps(sum(len(r.steps) for r in chosen), "reproduce") as advance:
        for one in chosen:

            def started(step: str, who: str = one.name) -> None:
                log(f"reproduce: {who}, {step}", asked.progress)

            settings = {**(one.quick if quick else one.full), **changes}
            tables = running.run(
                one,
                settings,
                output,
                advance,
                jobs=asked.jobs or cores(),
                started=started,
            )
            findings = running.compare(one, tables)
            write_csv(output / one.name / "findings.csv", findings)
            parts.append(findings)
            if figures:
                from robustssm.figures.paper import saving

                saving.draw_all(one.name, tables, output / one.name / "figures")
    terminal.note(f"tables{' and figures' if figures else ''}: {output}")
    title = f"What was found beside what the paper says ({'quick' if quick else 'full'} settings)"
    table = terminal.Table(title, pd.concat(parts, ignore_index=True), upright=True, prose=True)
    marks = "; ".join(f"[{mark}] {where}" for mark, where in SOURCES.items())
    terminal.show(asked.style, table, f"What the paper is said to claim was read in {marks}.")
