"""`robustssm search radius`: certified radii against spectral perturbations of the input."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, choice, output, shared
from robustssm.errors import UsageError


@click.command()
@shared("names", "models")
@click.option(
    "--modes",
    metavar="MODES",
    default="all",
    help="DFT bins that a perturbation may use, as in sweep.",
)
@choice(
    "--bound",
    of=("local", "global"),
    help="local: bounds around each sample; global: Lipschitz constants, if every block has one.",
)
@click.option(
    "--tolerance",
    default=0.1,
    help="Relative tolerance on the certified radius.",
)
@output(
    default=Path("runs/radii"),
    help="Folder of the results; what is there is not computed again.",
)
@click.option("--notes", is_flag=True, help="List the blocks without a Lipschitz constant.")
@shared("task", "limit", "jobs", "style", "progress")
def radius(
    modes: str,
    bound: str,
    tolerance: float,
    output: Path,
    notes: bool,
    **options: Any,
) -> None:
    """Certify a radius around every test sample.

    No perturbation below it changes the prediction.

    Radii are L2 norms of the perturbation, raw units. About 1 s a sample for 3 layers of width 32.
    They are proved in exact arithmetic: of the rounding in float64 only that of convolutions is
    enclosed.

    \b
    Examples:
      robustssm search radius --model s4d --modes 1-16 --limit 32
      robustssm search radius --model s4d --notes
    """
    from robustssm.attacks.frequencies import parse_modes
    from robustssm.evaluations.certificates.lipschitz import certificate_notes
    from robustssm.evaluations.certificates.radii import Radii, certify, read, summary
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.networks.network import own_network

    asked = SharedOptions(**options)
    plan = asked.plan(Noise("fourier", modes))
    plan.task.values("radius")
    plan.task.one_length("radius")
    listed = parse_modes(modes, top=plan.task.length // 2)
    if notes:
        lines = []
        for model in plan.models:
            network = own_network(model.ref.load().network, f"radius {model.ref}")
            of_model = certificate_notes(network, plan.task.length)
            lines += [{"model": str(model.ref), "note": line} for line in of_model]
        words, title = "{model}: {note}".format_map, "Blocks without a Lipschitz constant"
        terminal.show(asked.style, terminal.Table(title, lines, words=words, upright=True))
        return
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output}: is a file, expected a directory")
    wanted = [Radii(m, plan.task, listed, bound, tolerance, asked.limit) for m in plan.models]
    for one in wanted:  # what cannot be certified is refused before any work
        one.certified(one.model.ref.load().network, plan.task.splits["test"].rows(slice(0)))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"output {output}: cannot be written ({error.strerror})") from None
    pieces = [(one, start, path) for one in wanted for start, path in one.pieces(output).items()]
    missing = [piece for piece in pieces if not piece[2].is_file()]
    asked.each(certify, missing, "pieces of 16 samples")
    rows = [summary(one, read(one, output)) for one in wanted]
    title = f"Certified radii, L2, modes {modes}, {bound} bounds; {plan.task.spec}"
    terminal.show(asked.style, terminal.Table(title, rows, upright=True))
