"""`robustssm converge`: strong and weak convergence to HiPPO against the state size."""

from pathlib import Path

import click

from robustssm.commands.common import FORMATS, PROGRESS


@click.command()
@click.option(
    "--init",
    "inits",
    default="s4d,s4ptd-rank1,s4ptd",
    show_default=True,
    help="Initialisations, with parameters where they have some: s4ptd-rank1:tau=0.05.",
)
@click.option(
    "-n",
    "--state-size",
    "--n",
    "sizes",
    default="4-4096",
    show_default=True,
    help="State sizes: LOW-HIGH takes the powers of two between, or a list: 4,6,9.",
)
@click.option(
    "--readout",
    default="e0",
    show_default=True,
    help="C in HiPPO coordinates: e0, e1, .., ones, random:SEED, numbers with commas, a .npy file.",
)
@click.option(
    "--input",
    "inputs",
    help="Inputs of weak convergence: impulse, exp, box, decay:Q, mode:W, spike. Default: all.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of figures and tables. Default: runs/converge-<readout>.",
)
@click.option("--figures/--no-figures", default=True, show_default=True)
@click.option("--format", "style", type=FORMATS, default="table", show_default=True)
@click.option("--progress", type=PROGRESS, default="auto", show_default=True)
def converge(
    inits: str,
    sizes: str,
    readout: str,
    inputs: str | None,
    output: Path | None,
    figures: bool,
    style: str,
    progress: str,
) -> None:
    """Measure how fast each initialisation's transfer function and outputs approach HiPPO's.

    Strong: the sup over all frequencies of |G_init - G_HiPPO|, with a certificate. Weak: the L2
    error of the output for one input, in the time and in the frequency domain. Rates are slopes
    of log error against log n; what theory predicts stands beside them. Frequencies in rad per
    unit of the system's own time.

    \b
    Examples:
      robustssm converge --init s4d,s4ptd-rank1,s4ptd --n 4-65536
      robustssm converge --init s4d --readout 1.7320508075688772,-1
    """
    from robustssm.commands import terminal
    from robustssm.evaluations.initializations import convergence
    from robustssm.evaluations.initializations.inputs import DEFAULT

    names = inits.split(",")
    wanted = inputs.split(",") if inputs else list(DEFAULT)
    orders = convergence.parse_sizes(sizes)
    with terminal.progress(len(names) * len(orders), "converge", progress) as advance:
        result = convergence.converge(names, orders, wanted, readout, advance)
    if figures:
        from robustssm.figures import convergence as drawing

        label = Path(readout).stem.replace(":", "-")
        folder = output or Path("runs") / f"converge-{label}"
        drawing.draw_all(result, folder)
        terminal.note(f"figures and their data: {folder}")
    for name, reason in result.unavailable.items():
        terminal.note(f"{name}: {reason}")
    if style == "json":
        terminal.emit_json(
            {
                "readout": readout,
                "fits": result.fits.to_dict("records"),
                "errors": result.errors.to_dict("records"),
                "unavailable": result.unavailable,
            }
        )
    elif style == "csv":
        click.echo(result.errors.to_csv(index=False), nl=False)
    else:
        rows = [_row(record) for record in result.fits.to_dict("records")]
        terminal.emit_table(f"Convergence to HiPPO, readout {readout}", _COLUMNS, rows, style)


_COLUMNS = [
    "init",
    "error of",
    "n",
    "error",
    "rate [95% of the fit]",
    "predicted rate",
    "error / predicted",
    "two routes differ by",
]


def _row(record: dict[str, float | str | bool]) -> list[str]:
    """Return one line of the table."""
    # No negative zeros.
    rate, low, high = (
        round(float(record[key]), 3) + 0.0 for key in ("rate", "rate_low", "rate_high")
    )
    interval = "" if low != low else f" [{low:.3f}, {high:.3f}]"
    known = record["status"]
    relation = "<= 1: " if record["bound"] else ""
    strong = record["quantity"] == "sup"
    agreement = float(record["agreement"])
    return [
        str(record["init"]),
        "sup over omega" if strong else str(record["quantity"]),
        str(record["largest_n"]),
        f"{record['error']:.6g}",
        f"{rate:.3f}{interval}",
        f"{record['predicted_rate']:g} ({known})" if known else "-",
        f"{relation}{record['ratio']:.4f}" if known else "-",
        ("bracket " if strong else "") + (f"{agreement:.0e}" if agreement == agreement else "-"),
    ]
