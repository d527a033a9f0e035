"""`robustssm transfer`: the transfer functions of the initialisations."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import common, terminal
from robustssm.commands.common import SharedOptions, choice, output, shared
from robustssm.commands.parameter_types import Numbers


@click.command()
@common.state_size("n", default=64, metavar="SIZE", help="State size of every system.")
@common.readout_option(help="C in HiPPO coordinates: e0, ones, random:SEED, or a .npy file.")
@click.option(
    "--omega",
    type=Numbers("omega", once=False),
    help="Also print G at these frequencies, rad per unit time: 1,20860.2.",
)
@common.init_option(help="Initialisations. Default: all.")
@output(help="Folder of figures and tables. Default: runs/transfer-n<n>-<readout>.")
@click.option(
    "--grid",
    metavar="LOW,HIGH,COUNT",
    help="Also write G on a log grid of frequencies (grid.parquet).",
)
@click.option(
    "--device", default="auto", metavar="DEVICE", help="Of the grid: auto, cpu, cuda, cuda:1."
)
@choice(
    "--dtype",
    of=("complex128", "complex64"),
    help="Of the grid; omega and 1 + tau phi are float64 always.",
)
@shared("figures", "wide", "style", "progress")
def transfer(
    n: int,
    readout: str,
    omega: tuple[float, ...] | None,
    inits: str | None,
    output: Path | None,
    grid: str | None,
    device: str,
    dtype: str,
    figures: bool,
    **options: Any,
) -> None:
    """Compare transfer functions with that of HiPPO.

    Sup error (strong), H2 error, and L2 output error for the input e^-t (weak), by closed
    forms where they exist. Frequencies in rad per unit of the system's own time.

    \b
    Examples:
      robustssm transfer --n 256
      robustssm transfer --n 256 --format json --omega 1,20860.2
      robustssm transfer --n 4096 --init s4,s4d --grid 1e-2,1e8,1e6 --device auto
    """
    from robustssm.evaluations.initializations import transfer as transfers
    from robustssm.hippo.initializations import NAMES

    asked = SharedOptions(**options)
    names = tuple(inits.split(",")) if inits else NAMES
    label = Path(readout).stem.replace(":", "-")
    folder = output or Path("runs") / f"transfer-n{n}-{label}"
    points = None
    if grid:
        from robustssm.evaluations.initializations import transfer_on_grid
        from robustssm.execution import resolve_device

        points, where = transfer_on_grid.parse_grid(grid, n), resolve_device(device)
    with asked.steps(1 + figures + bool(grid), "transfer") as advance:
        result = transfers.transfer(n, readout, omega or (), names)
        advance()
        if points is not None:
            import torch

            from robustssm.evaluations.table_files import write_parquet

            table = transfer_on_grid.grid_table(result, points, str(where), getattr(torch, dtype))
            write_parquet(folder / "grid.parquet", table)
            advance()
            terminal.note(f"{len(points)} frequencies on {where}: {folder / 'grid.parquet'}")
        if figures:
            from robustssm.figures import transfer as drawing

            drawing.draw_all(result, folder)
            advance()
            terminal.note(f"figures and their data: {folder}")
    if asked.style != "json":
        terminal.note(*(f"{name}: {reason}" for name, reason in result.unavailable.items()))
    table = result.table()
    title = f"n = {n}, readout {readout}; omega in rad per unit time"
    aside = ("h2 error", "max real", "relative norm")
    shown = terminal.Table(title, table, terminal.spaced(table), aside=aside)
    terminal.show(asked.style, shown, content=result.to_json())
