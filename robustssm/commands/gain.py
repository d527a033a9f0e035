"""`robustssm gain`: the transfer functions of trained layers."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustssm.commands.common import FORMATS, PROGRESS, shared
from robustssm.errors import UsageError

if TYPE_CHECKING:
    from robustssm.evaluations.trained_layers.gain import GainResult


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...")
@shared("settings")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    type=click.IntRange(0),
    help="Layers, counted from 0; may be repeated. Default: all.",
)
@click.option(
    "--length",
    type=click.IntRange(1),
    help="Samples of the finite-length gain. Default: the task's.",
)
@click.option(
    "--rtol",
    default=1e-3,
    show_default=True,
    type=click.FloatRange(1e-9, 0.5),
    help="Relative width of the certified peak gain.",
)
@click.option(
    "--per",
    type=click.Choice(["channel", "layer", "model"]),
    default="layer",
    show_default=True,
    help="What a row of the table is.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of figures and tables. Default: runs/gain-<first model>.",
)
@click.option("--figures/--no-figures", default=True, show_default=True)
@click.option("--format", "style", type=FORMATS, default="table", show_default=True)
@click.option("--progress", type=PROGRESS, default="auto", show_default=True)
def gain(
    checkpoints: tuple[str, ...],
    settings: tuple[str, ...],
    layers: tuple[int, ...],
    length: int | None,
    rtol: float,
    per: str,
    output: Path | None,
    figures: bool,
    style: str,
    progress: str,
) -> None:
    """Measure what the layers of trained checkpoints amplify, and at which frequency.

    CHECKPOINT is a bundled model (s4d, s4d/1, 's4d/*'), name=path, or the path of a file. The
    peak gain is certified, the gain over the task's length a lower bound. omega in rad per unit
    of a layer's own time, relative to the spike of HiPPO's normal part (325.4 at n = 32);
    --per channel and csv or json show every measure.

    \b
    Examples:
      robustssm gain s4d s4d/1
      robustssm gain 's4d/*' 's4/*' --per model --no-figures --format md
      robustssm gain s4d --layer 0 --per channel --format csv
    """
    from robustssm.checkpoints.model_names import references as named
    from robustssm.commands import terminal
    from robustssm.evaluations.trained_layers.gain import GainResult, model_gain

    references = named(checkpoints, settings)
    models = []
    drawn = len(references) + 1 if figures else 0
    with terminal.progress(len(references) + drawn, "gain", progress) as advance:
        for ref in references:
            checkpoint = ref.load()
            measured = model_gain(
                str(ref),
                checkpoint,
                length=length or _length(checkpoint.card.task, str(ref)),
                layers=layers,
                rtol=rtol,
                name=ref.label,
            )
            models.append(measured)
            advance()
        result = GainResult(tuple(models))
        if figures:
            from robustssm.figures import gain as drawing

            folder = output or Path("runs") / f"gain-{str(references[0]).replace('/', '-')}"
            drawing.draw_all(result, folder, report=advance)
            terminal.note(f"figures and their data: {folder}")
    _show(result, per, style)
    notes: dict[str, list[str]] = {}
    for model in models:
        for note in model.notes:
            notes.setdefault(note, []).append(model.label)
    for note, labels in notes.items():
        terminal.note(f"{', '.join(labels)}: {note}")


def _length(task: str, label: str) -> int:
    """Return the length of the task that a model was trained on; UsageError where not known."""
    from robustssm.tasks import load_task

    if not task:
        raise UsageError(f"gain: {label} does not say what it was trained on; give --length")
    return load_task(task).length


LEGEND = """\
peak, <=, at omega: the largest certified gain of a system. ratio: omega_peak / omega_spike.
Shares of systems: at spike: peak within 10% of the spike; resolved: the same of those with
dt omega_spike < pi; spike pole: the pole nearest to the peak is within 10% of the spike, aliased
or not; pole kept: some pole is within the spike's half-width 1/2. Medians: peak / median gain;
gain at the resonance perturbation's frequency / peak; gain over the finite length / peak; Hankel
rank at 1e-3."""


# Columns of the table of layers or models: heading, column of the summary, format.
SUMMARY = (
    ("systems", "systems", "d"),
    ("peak", "gain_low", ".4g"),
    ("<=", "gain_high", ".4g"),
    ("at omega", "omega", ".4g"),
    ("ratio q25", "ratio_q25", ".3g"),
    ("median", "ratio_median", ".3g"),
    ("q75", "ratio_q75", ".3g"),
    ("at spike", "near_spike", ".0%"),
    ("resolved", "near_spike_resolved", ".0%"),
    ("spike pole", "peak_of_spike_pole", ".0%"),
    ("pole kept", "pole_within_half_width", ".0%"),
    ("peak/median", "peak_over_median", ".3g"),
    ("resonance", "resonance_over_peak", ".3g"),
    ("finite", "finite_over_peak", ".3g"),
    ("rank", "hankel_rank", ".0f"),
)
CHANNEL = (
    ("channel", "channel", "d"),
    ("dt", "dt", ".3g"),
    ("peak gain", "gain_low", ".5g"),
    ("<=", "gain_high", ".5g"),
    ("theta", "theta", ".4g"),
    ("omega", "omega", ".4g"),
    ("omega/spike", "omega_over_spike", ".3g"),
    ("pole", "pole", ".4g"),
    ("aliased", "pole_aliased", ""),
    ("Q", "q_pole", ".3g"),
    ("dc", "dc_gain", ".3g"),
    ("resonance", "resonance_gain", ".3g"),
    ("spike pole", "spike_pole", ".4g"),
    ("finite", "finite_gain", ".4g"),
    ("hankel", "hankel", ".3g"),
    ("rank", "hankel_rank", "d"),
)


def _show(result: "GainResult", per: str, style: str) -> None:
    from robustssm.commands import terminal

    if style == "json":
        terminal.emit_json(result.to_json(per))
        return
    table = result.table(per)
    if style == "csv":
        click.echo(table.to_csv(index=False), nl=False)
        return
    columns = CHANNEL if per == "channel" else SUMMARY
    keys = ["model"] if per == "model" else ["model", "layer"]
    rows = [
        [str(row[key]) for key in keys] + [_cell(row[name], form) for _, name, form in columns]
        for row in table.to_dict("records")
    ]
    spikes = sorted({model.spike for model in result.models})
    lengths = sorted({model.length for model in result.models})
    title = (
        f"spike: omega = {', '.join(f'{w:.6g}' for w in spikes)} rad per unit time; finite: "
        f"{', '.join(map(str, lengths))} samples"
    )
    terminal.emit_table(title, [*keys, *(heading for heading, _, _ in columns)], rows, style)
    if per != "channel":
        click.echo(LEGEND)
    for line in result.verdicts():
        click.echo(line)


def _cell(value: object, form: str) -> str:
    if isinstance(value, float) and value != value:
        return "-"
    if not form:
        return "yes" if value else "no"
    return format(value, form)
