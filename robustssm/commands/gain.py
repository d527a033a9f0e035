"""`robustssm gain`: the transfer functions of trained layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, choice, output, shared
from robustssm.commands.loudness import asked
from robustssm.commands.parameter_types import Expression

if TYPE_CHECKING:
    from robustssm.evaluations.trained_layers.gain import GainResult


@click.command()
@shared("names", "models")
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
    type=click.FloatRange(1e-9, 0.5),
    help="Relative width of the certified peak gain.",
)
@click.option(
    "--noise",
    type=Expression(),
    default="",
    show_default=False,
    help="A change of the model, as in 'WeightQuantise(8)': the largest |G - G'| that it makes.",
)
@choice(
    "--per",
    of=("channel", "layer", "model"),
    default="layer",
    help="What a row of the table is.",
)
@output(help="Folder of figures and tables. Default: runs/gain-<first model>.")
@shared("figures", "wide", "style", "progress")
def gain(
    layers: tuple[int, ...],
    length: int | None,
    rtol: float,
    per: str,
    noise: str,
    output: Path | None,
    figures: bool,
    **options: Any,
) -> None:
    """Certify the largest gain of each trained layer.

    What layers amplify, and at which frequency. MODEL is a bundled model (s4d, s4d/1, 's4d/*'),
    name=path, or the path of a file. The peak gain is certified, rounding included, for poles and
    residues in float64; the gain over the task's length is a lower bound. omega in rad per unit of
    a layer's own time, relative to the spike of HiPPO's normal part (325.4 at n = 32); --per
    channel and csv or json show every measure.

    \b
    Examples:
      robustssm gain s4d s4d/1
      robustssm gain 's4d/*' 's4/*' --per model --no-figures --format md
      robustssm gain s4d --layer 0 --per channel --format csv
      robustssm gain s4d s5 --noise "WeightQuantise(8, group='A')" --no-figures
    """
    from robustssm.api.systems import gains

    given = SharedOptions(**options)
    references = given.refs()
    drawn = len(references) + 1 if figures else 0
    with given.steps(len(references) + drawn, "gain") as advance:
        asked_for: dict[str, Any] = {"length": length, "layers": layers, "rtol": rtol}
        result = gains(references, **asked_for, noise=noise, advance=advance)
        if figures:
            from robustssm.figures import gain as drawing

            folder = output or Path("runs") / f"gain-{str(references[0]).replace('/', '-')}"
            drawing.draw_all(result, folder, report=advance)
            terminal.note(f"figures and their data: {folder}")
    _show(result, per, given.style)
    notes: dict[str, list[str]] = {}
    for model in result.models:
        for note in model.notes:
            notes.setdefault(note, []).append(model.label)
    for note, labels in notes.items():
        terminal.note(f"{', '.join(labels)}: {note}")


LEGEND = """\
direction: of a layer that runs both ways in time both, its two-sided convolution, and each alone.
peak, <=, at omega: the largest certified gain of a system. ratio: omega_peak / omega_spike.
Shares of systems: at spike: peak within 10% of the spike; resolved: the same of those with
dt omega_spike < pi; spike pole: the pole nearest to the peak is within 10% of the spike, aliased
or not; pole kept: some pole is within the spike's half-width 1/2. Medians: peak / median gain;
gain at the resonance perturbation's frequency / peak; gain over the finite length / peak; Hankel
rank at 1e-3. |G - G'|: the largest change of a transfer function that --noise makes, attained;
at most: its certified bound."""


# Columns of the table of layers or models.
SUMMARY: tuple[terminal.Column, ...] = (
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
CHANNEL: tuple[terminal.Column, ...] = (
    ("channel", "channel", "d"),
    ("dt", "dt", ".3g"),
    ("peak gain", "gain_low", ".5g"),
    ("<=", "gain_high", ".5g"),
    ("theta", "theta", ".4g"),
    ("omega", "omega", ".4g"),
    ("omega/spike", "omega_over_spike", ".3g"),
    ("pole", "pole", ".4g"),
    ("aliased", lambda row: "yes" if row["pole_aliased"] else "no", ""),
    ("Q", "q_pole", ".3g"),
    ("dc", "dc_gain", ".3g"),
    ("resonance", "resonance_gain", ".3g"),
    ("spike pole", "spike_pole", ".4g"),
    ("finite", "finite_gain", ".4g"),
    ("hankel", "hankel", ".3g"),
    ("rank", "hankel_rank", "d"),
)


# Headings that --wide alone shows: of channels, and of layers or models.
ASIDE = (
    ("dt", "<=", "theta", "aliased", "Q", "dc", "spike pole", "finite", "hankel", "rank"),
    ("systems", "<=", "ratio q25", "median", "q75", "spike pole", "pole kept", "peak/median",
     "resonance", "finite", "rank"),
)  # fmt: skip


def _show(result: "GainResult", per: str, style: str) -> None:
    spikes = sorted({model.spike for model in result.models})
    lengths = sorted({model.length for model in result.models})
    title = (
        f"spike: omega = {', '.join(f'{w:.6g}' for w in spikes)} rad per unit time; finite: "
        f"{', '.join(map(str, lengths))} samples"
    )
    columns, rows = CHANNEL if per == "channel" else SUMMARY, result.table(per)
    if "direction" in rows and (rows["direction"] != "causal").any():
        columns = (("direction", "direction", ""), *columns)
    if per != "model":
        columns = (("layer", "layer", ""), *columns)
    columns = (("model", "model", ""), *columns)
    if "error_low" in rows:
        columns += ("|G - G'|", "error_low", ".4g"), ("at most", "error_high", ".4g")
    table = terminal.Table(title, rows, columns, aside=ASIDE[per != "channel"])
    legend = [LEGEND] if per != "channel" and asked("wide") else []
    terminal.show(style, table, *legend, *result.verdicts(), content=result.to_json(per))
