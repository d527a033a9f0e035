"""`robustssm reproduce`: make the figures of the PTD paper again, and set the numbers beside it."""

from functools import partial
from pathlib import Path

import click

from robustssm.commands.common import cores, shared
from robustssm.errors import UsageError


def _tell(name: str, progress: str, step: str) -> None:
    """Say in a log that a step begins; some take minutes."""
    from robustssm.commands import terminal

    terminal.log(f"reproduce: {name}, {step}", progress)


@click.command()
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="What can be reproduced, and its steps.")
@click.option("--quick", is_flag=True, help="Fewer and smaller settings, seconds to a minute.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/reproduce"),
    show_default=True,
    help="Folder: each recipe has its own folder in it.",
)
@click.option(
    "-d",
    "--data",
    "task",
    help="Task of recipes that train, instead of digits; `ls tasks` names them.",
)
@click.option("--figures/--no-figures", default=True, show_default=True)
@shared("jobs", "style", "progress")
def reproduce(
    name: str | None,
    listed: bool,
    quick: bool,
    output: Path,
    task: str | None,
    jobs: int | None,
    figures: bool,
    style: str,
    progress: str,
) -> None:
    """Reproduce one figure of arXiv 2310.01698, or `all`, and say where the numbers differ.

    A step that is finished is not run again: after an interruption the same command goes on, and
    a changed setting makes another step. Figures are drawn from the stored tables alone.

    \b
    Examples:
      robustssm reproduce --list
      robustssm reproduce fig1 --quick
      robustssm reproduce fig3ab --quick --data digits:side=8
      robustssm reproduce all --quick -o runs/paper
    """
    from robustssm.commands import terminal
    from robustssm.evaluations.paper import running
    from robustssm.evaluations.paper.trainings import other_data
    from robustssm.evaluations.table_files import write_csv

    if listed:
        if name is not None:
            raise UsageError(f"reproduce: {name!r} and --list exclude one another; keep one")
        terminal.emit_records(
            "Recipes",
            [
                {"name": r.name, "shows": r.shows, "steps": ", ".join(r.step_names())}
                for r in running.reproductions().values()
            ],
            style,
            prose=True,
        )
        return
    if name is None:
        known = ", ".join(running.reproductions())
        raise UsageError(f"reproduce: no NAME, expected one of {known}, all; or use --list")
    chosen = running.chosen(name)
    changes = {} if task is None else other_data(chosen, task)
    import pandas as pd

    parts = []
    with terminal.progress(sum(len(r.steps) for r in chosen), "reproduce", progress) as advance:
        for one in chosen:
            settings = {**one.settings(quick), **changes}
            tables = running.run(
                one,
                settings,
                output,
                advance,
                jobs=jobs or cores(),
                started=partial(_tell, one.name, progress),
            )
            found = running.compare(one, tables)
            write_csv(output / one.name / "findings.csv", found)
            parts.append(found)
            if figures:
                from robustssm.figures.paper import saving

                saving.draw_all(one.name, tables, output / one.name / "figures")
    terminal.note(f"tables{' and figures' if figures else ''}: {output}")
    rows = [
        {str(key): value for key, value in row.items()}
        for row in pd.concat(parts, ignore_index=True).to_dict("records")
    ]
    kind = "quick settings" if quick else "full settings"
    terminal.emit_records(
        f"What was found beside what the paper says ({kind})", rows, style, prose=True
    )
