"""`robustssm theory converge`: strong and weak convergence to HiPPO against the state size."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import common, terminal
from robustssm.commands.common import SharedOptions, output, shared


@click.command()
@common.init_option(
    default="s4d,s4ptd-rank1,s4ptd",
    help="Initialisations, with parameters where they have some: s4ptd-rank1:tau=0.05.",
)
@common.state_size(
    "sizes", default="4-4096", metavar="SIZES", help="Powers of two, or a list: 4,6,9."
)
@common.readout_option(
    help="C in HiPPO coordinates: e0, e1, .., ones, random:SEED, numbers, or a .npy file."
)
@click.option(
    "--input",
    "inputs",
    metavar="INPUT[,INPUT]",
    help="Inputs of weak convergence: impulse, exp, box, decay:Q, mode:W, spike. Default: all.",
)
@output(help="Folder of figures and tables. Default: runs/converge-<readout>.")
@shared("figures", "style", "progress")
def converge(
    inits: str,
    sizes: str,
    readout: str,
    inputs: str | None,
    output: Path | None,
    figures: bool,
    **options: Any,
) -> None:
    """Measure how fast initialisations converge to HiPPO.

    Strong: the sup over all frequencies of |G_init - G_HiPPO|, certified, rounding included.
    Weak: the L2 error of the output for one input, by quadrature, not enclosed. Rates are slopes of
    log error against log n; what theory predicts stands beside them. Frequencies in rad per unit of
    the system's own time.

    \b
    Examples:
      robustssm theory converge --init s4d,s4ptd-rank1,s4ptd --n 4-65536
      robustssm theory converge --init s4d --readout 1.7320508075688772,-1
    """
    from robustssm.evaluations.initializations import convergence
    from robustssm.evaluations.initializations.inputs import DEFAULT

    asked = SharedOptions(**options)
    names = inits.split(",")
    wanted = inputs.split(",") if inputs else list(DEFAULT)
    orders = convergence.parse_sizes(sizes)
    with asked.steps(len(names) * len(orders), "converge") as advance:
        result = convergence.converge(names, orders, wanted, readout, advance)
    if figures:
        from robustssm.figures import convergence as drawing

        label = Path(readout).stem.replace(":", "-")
        folder = output or Path("runs") / f"converge-{label}"
        drawing.draw_all(result, folder)
        terminal.note(f"figures and their data: {folder}")
    terminal.note(*(f"{name}: {reason}" for name, reason in result.unavailable.items()))
    table = terminal.Table(f"Convergence to HiPPO, readout {readout}", result.fits, _COLUMNS)
    content = {
        "readout": readout,
        "fits": result.fits.to_dict("records"),
        "errors": result.errors.to_dict("records"),
        "unavailable": result.unavailable,
    }
    terminal.show(asked.style, table, content=content, rows=result.errors)


def _rate(record: dict[str, Any]) -> str:
    """Return the slope with its interval, without negative zeros."""
    rate, low, high = (round(record[key], 3) + 0.0 for key in ("rate", "rate_low", "rate_high"))
    return f"{rate:.3f}" + ("" if low != low else f" [{low:.3f}, {high:.3f}]")


def _predicted(record: dict[str, Any]) -> str:
    return f"{record['predicted_rate']:g} ({record['status']})" if record["status"] else "-"


def _ratio(record: dict[str, Any]) -> str:
    relation = "<= 1: " if record["bound"] else ""
    return f"{relation}{record['ratio']:.4f}" if record["status"] else "-"


_COLUMNS: tuple[terminal.Column, ...] = (
    ("init", "init", ""),
    ("error of", lambda r: "sup over omega" if r["quantity"] == "sup" else r["quantity"], ""),
    ("n", "largest_n", ""),
    ("error", "error", ".6g"),
    ("rate [95% of the fit]", _rate, ""),
    ("predicted rate", _predicted, ""),
    ("error / predicted", _ratio, ""),
)
