"""`robustssm theory pseudospectrum`: how far from singular zI - M is, over the complex plane."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import common, terminal
from robustssm.commands.common import SharedOptions, names_in, output, shared
from robustssm.errors import UsageError, require
from robustssm.plain_text import is_count


@click.command()
@common.state_size("n", default=64, metavar="SIZE", help="State size of every M.")
@common.init_option(
    default="hippo,s4d,s4ptd-rank1",
    help="Initialisations: hippo (= s4), s4d, s4ptd-rank1:tau=0.1, s4ptd, s4ptd-random.",
)
@click.option(
    "--window",
    metavar="WINDOW",
    default="low",
    help="low: eigenvalues -1..-n of HiPPO and the imaginary axis; whole: all numerical ranges; "
    "or LEFT,RIGHT,BOTTOM,TOP.",
)
@click.option("--grid", default="100x100", metavar="POINTS", help="Points: 100x100, or 100.")
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="RE,IM",
    help="Print sigma_min at this point instead of a grid; may be repeated.",
)
@output(help="Folder of the figure and its data. Default: runs/pseudospectrum-n<n>.")
@shared("figures", "style", "progress")
def pseudospectrum(
    n: int,
    inits: str,
    window: str,
    grid: str,
    points: tuple[str, ...],
    output: Path | None,
    figures: bool,
    **options: Any,
) -> None:
    """Compute pseudospectra of HiPPO and its stand-ins.

    In decimal logarithms. sigma_min(zI - M) is the size of the smallest perturbation that makes z
    an eigenvalue. For hippo, s4d and s4ptd-rank1 it has full relative accuracy, 1e-190 included;
    for s4ptd and s4ptd-random, dense matrices, values at or below eps |M| are that floor.
    Abscissae: rightmost real part of the eigenvalues, of the numerical range, and of the
    eps-pseudospectrum (attained, a lower bound). Kreiss constant: a lower bound from the grid.

    \b
    Examples:
      robustssm theory pseudospectrum --n 64 --init hippo,s4d,s4ptd-rank1
      robustssm theory pseudospectrum --n 256 --window -1.5,0.5,-2,2 --grid 101
      robustssm theory pseudospectrum --n 64 --init hippo --point -43.96,0
    """
    import numpy as np

    from robustssm.evaluations.initializations import pseudospectrum as evaluation

    asked = SharedOptions(**options)
    names = tuple(dict.fromkeys(names_in([inits])))
    if not names:
        raise UsageError("pseudospectrum: --init is empty, expected names such as hippo,s4d")
    if points:
        z = np.array([complex(*_numbers(point, "--point", 2)) for point in points])
        table = evaluation.at_points(n, names, z)
        title = f"sigma_min(zI - M), n = {n}"
        shown = terminal.Table(title, table, terminal.spaced(table), digits=".11g")
        terminal.show(asked.style, shown, content={"n": n, "points": table.to_dict("records")})
        return
    chosen = window if window in ("low", "whole") else _numbers(window, "--window", 4)
    with asked.steps(len(names) + figures, "pseudospectrum") as advance:
        result = evaluation.pseudospectrum(n, names, chosen, _grid(grid), advance)
        if figures:
            from robustssm.figures import pseudospectrum as drawing

            folder = output or Path("runs") / f"pseudospectrum-n{n}"
            drawing.draw_all(result, folder)
            advance()
            terminal.note(f"figure and its data: {folder}")
    limits = ", ".join(f"{value:g}" for value in result.window)
    title = f"n = {n}, window {limits}, grid {grid}; abscissae in rad per unit time"
    table = result.table()
    shown = terminal.Table(title, table, terminal.spaced(table), digits=".11g")
    terminal.show(asked.style, shown, content=result.to_json())


def _numbers(text: str, option: str, count: int) -> tuple[float, ...]:
    expected = {2: "RE,IM", 4: "low, whole or LEFT,RIGHT,BOTTOM,TOP"}[count]
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    fits = len(numbers) == count and all(abs(value) < float("inf") for value in numbers)
    require(fits, f"pseudospectrum: {option}", text, f"{expected}, all finite")
    return numbers


def _grid(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    fits = len(parts) <= 2 and all(is_count(part.strip()) for part in parts)
    require(fits, "pseudospectrum: --grid", text, "100x100 or one number")
    return int(parts[0]), int(parts[-1])
