"""`robustssm transfer`: the transfer functions of the initialisations."""

from pathlib import Path

import click

from robustssm.commands.common import FORMATS, PROGRESS


@click.command()
@click.option(
    "-n",
    "--state-size",
    "--n",
    "n",
    default=64,
    show_default=True,
    help="State size of every system.",
)
@click.option(
    "--readout",
    default="e0",
    show_default=True,
    help="C in HiPPO coordinates: e0, ones, random:SEED, or a .npy file of n numbers.",
)
@click.option("--omega", help="Also print G at these frequencies, rad per unit time: 1,20860.2.")
@click.option("--init", "inits", help="Initialisations. Default: all.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of figures and tables. Default: runs/transfer-n<n>-<readout>.",
)
@click.option("--grid", "grid", help="LOW,HIGH,COUNT: also write G on a log grid (grid.parquet).")
@click.option(
    "--device", default="auto", show_default=True, help="Of the grid: auto, cpu, cuda, cuda:1."
)
@click.option(
    "--dtype",
    type=click.Choice(["complex128", "complex64"]),
    default="complex128",
    show_default=True,
    help="Of the grid; omega and 1 + tau phi are float64 always.",
)
@click.option("--figures/--no-figures", default=True, show_default=True)
@click.option("--format", "style", type=FORMATS, default="table", show_default=True)
@click.option("--progress", type=PROGRESS, default="auto", show_default=True)
def transfer(
    n: int,
    readout: str,
    omega: str | None,
    inits: str | None,
    output: Path | None,
    grid: str | None,
    device: str,
    dtype: str,
    figures: bool,
    style: str,
    progress: str,
) -> None:
    """Compare the transfer function of every initialisation with HiPPO's.

    Sup error (strong), H2 error, and L2 output error for the input e^-t (weak), by closed
    forms where they exist. Frequencies in rad per unit of the system's own time.

    \b
    Examples:
      robustssm transfer --n 256
      robustssm transfer --n 256 --format json --omega 1,20860.2
      robustssm transfer --n 4096 --init s4,s4d --grid 1e-2,1e8,1000000 --device auto
    """
    from robustssm.commands import terminal
    from robustssm.evaluations.initializations import transfer as transfers
    from robustssm.evaluations.sweep.noises import parse_numbers
    from robustssm.hippo.initializations import NAMES

    names = tuple(inits.split(",")) if inits else NAMES
    frequencies = parse_numbers(omega, "omega") if omega else ()
    label = Path(readout).stem.replace(":", "-")
    folder = output or Path("runs") / f"transfer-n{n}-{label}"
    points = None
    if grid:
        from robustssm.evaluations.initializations import transfer_on_grid
        from robustssm.execution import resolve_device

        points, where = transfer_on_grid.parse_grid(grid, n), resolve_device(device)
    with terminal.progress(1 + figures + bool(grid), "transfer", progress) as advance:
        result = transfers.transfer(n, readout, frequencies, names)
        advance()
        if points is not None:
            import torch

            table = transfer_on_grid.grid_table(result, points, str(where), getattr(torch, dtype))
            folder.mkdir(parents=True, exist_ok=True)
            table.to_parquet(folder / "grid.parquet", index=False)
            advance()
            terminal.note(f"{len(points)} frequencies on {where}: {folder / 'grid.parquet'}")
        if figures:
            from robustssm.figures import transfer as drawing

            drawing.draw_all(result, folder)
            advance()
            terminal.note(f"figures and their data: {folder}")
    if style == "json":
        terminal.emit_json(result.to_json())
        return
    for name, reason in result.unavailable.items():
        terminal.note(f"{name}: {reason}")
    table = result.table()
    if style == "csv":
        click.echo(table.to_csv(index=False), nl=False)
        return
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    terminal.emit_table(
        f"n = {n}, readout {readout}; omega in rad per unit time",
        [str(column).replace("_", " ") for column in table.columns],
        rows,
        style,
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.6g}"
    return str(value)
