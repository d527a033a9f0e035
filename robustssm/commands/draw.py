"""`robustssm draw`: the figures of a run again, from its stored results."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, names_in, output, shared, with_options
from robustssm.commands.show import cure, damage

# As in robustssm.figures.sweep_figures.KINDS, which is heavy to import.
FIGURES = ("robustness", "heat-maps", "differences", "worst-case", "layer-response")


def _print_so(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Draw every figure of the command as an option asks, by the name of a field of `Printing`."""
    if value:
        from robustssm.figures.style import printed

        value = value == "screen" if parameter.name == "captions" else value
        context.with_resource(printed(**{str(parameter.name): value}))


# Options that are no parameters of a command, whose figures follow them all the same.
_option = partial(click.option, callback=_print_so, expose_value=False)
printing = with_options(
    _option(
        "--width",
        metavar="INCHES",
        type=click.FloatRange(2.0, 40.0),
        help="Inches of a figure, 3.3 for a column; text keeps its 7 to 8 pt. Default: 6.75.",
    ),
    _option(
        "--style",
        "captions",
        type=click.Choice(["screen", "paper"]),
        help="paper: captions in text files beside the figures, not below them.",
    ),
)


@click.command()
@shared("run")
@click.option(
    "--figures",
    metavar="FIGURE[,FIGURE]",
    default=",".join(FIGURES[:4]),
    help="Which, with commas; layer-response too, which reads the checkpoints.",
)
@click.option(
    "--reference",
    metavar="MODEL",
    help="Model from which differences are taken. Default: the first.",
)
@printing
@_option(
    "--format",
    "kinds",
    type=click.Choice(["pdf", "png", "svg"]),
    multiple=True,
    help="Kind of file, may be repeated. Default: all three.",
)
@output(file_okay=False, help="Folder. Default: figures/ in the run.")
def draw(run: Path, figures: str, reference: str | None, output: Path | None) -> None:
    """Draw the figures of a run again.

    Curves, heat maps, differences, worst cases.

    Nothing is computed but layer-response: each SSM layer's gain at the modes of the sweep, beside
    the loss of accuracy there, with their rank correlation; it is stored as a table first. What
    does not apply (heat maps of one mode, say) is left out. PDF, PNG, SVG and CSV of each.

    \b
    Examples:
      robustssm sweep -m s4d --noise fourier --modes 1-2 --eps 0.3,1 -o runs/small
      robustssm draw runs/small
      robustssm draw runs/small --figures heat-maps,layer-response -o drawn
      robustssm draw runs/small --width 3.3 --style paper --format pdf -o paper

    Exit codes: 0 drawn; 2 usage, or nothing to draw; 4 a checkpoint is not that of the run, or
    something in it is damaged, and named.
    """
    from robustssm.evaluations.results.cell_reader import spike_frequencies
    from robustssm.evaluations.results.inspection import inspect
    from robustssm.evaluations.results.tables import read_tables

    kinds = names_in([figures])
    unknown = [kind for kind in kinds if kind not in FIGURES]
    if unknown or not kinds:
        raise CommandError(
            f"figures: got {figures!r}, expected some of {', '.join(FIGURES)}, with commas", 2
        )
    state = inspect(run)
    tables = read_tables(state)
    if tables.overview.empty:
        raise CommandError(
            f"run {run}: has no finished perturbed cell to draw; finish its sweep", 2
        )
    lacking = {"chance", "length"} - state.manifest.keys()
    if lacking:
        why = state.damaged.get("manifest.json", f"lacks {' and '.join(sorted(lacking))}")
        raise CommandError(f"run {run}: manifest.json: {why}; {cure(state)}", 4)
    from robustssm.figures.sweep_figures import also_drawn, draw_tables

    folder = output or run / "figures"
    files = draw_tables(
        tables,
        folder,
        chance=float(state.manifest["chance"]),
        length=int(state.manifest["length"]),
        partial=state.partial,
        kinds=[kind for kind in kinds if kind != "layer-response"],
        reference=reference,
        spikes=spike_frequencies(state.run.plan()) if state.planned else None,
    )
    if "layer-response" in kinds:
        from robustssm.evaluations.trained_layers.overlay import overlay
        from robustssm.figures.layer_overlay import draw_overlay

        table = overlay(state, tables.summary)
        files += draw_overlay(table, folder / "layer-response", partial=state.partial)
    if not files:
        raise CommandError(
            f"figures {figures}: none applies to {run}; heat maps need two modes and two "
            "strengths, differences two models besides, worst cases two modes",
            2,
        )
    if output is None:
        also_drawn(folder, files)
    terminal.note(f"{folder}: {len(files)} files drawn")
    if state.damaged:
        raise CommandError(f"run {run}: damaged: {damage(state)}; {cure(state)}", 4)
