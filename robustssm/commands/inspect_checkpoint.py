"""`robustssm inspect`: what a checkpoint is."""

from typing import TYPE_CHECKING, Any

import click

from robustssm.commands.common import shared
from robustssm.errors import UsageError

if TYPE_CHECKING:
    from robustssm.evaluations.trained_layers.examination import Examination

# Columns of the table of layers: heading, key, format.
_COLUMNS = (
    ("layer", "layer", "d"),
    ("kind", "kind", ""),
    ("spectrum nearest to", "nearest", ""),
    ("distance", "distance", ".3f"),
    ("then", "second", ""),
    ("distance", "second_distance", ".3f"),
    ("max Re", "largest_real", ".3g"),
    ("aliased", "aliased", ".1%"),
    ("dt from", "dt_min", ".3g"),
    ("to", "dt_max", ".3g"),
    ("memory from", "fastest", ".3g"),
    ("to", "slowest", ".3g"),
    ("parity", "parity", ".1e"),
)
_LEGEND = """\
distance: of spectra, 0 equal, 1 unlike; it says what a spectrum looks like, not where it came from
(training moves it). max Re: of the poles, per unit time, below 0 where stable. aliased: share of
poles with |Im| dt > pi. memory: time constants in samples. parity: convolution against recurrence
in float64, relative to the largest output."""


@click.command("inspect")
@click.argument("checkpoint")
@shared("settings")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "md", "csv", "json"]),
    default="table",
    show_default=True,
)
def inspect_checkpoint(checkpoint: str, settings: tuple[str, ...], style: str) -> None:
    """Say what a checkpoint is: format, architecture, spectra, stability, aliasing.

    CHECKPOINT: a file or folder of any format that `import` reads, s4d, s4d/2, name=path, or
    name=module.py:function.

    \b
    Examples:
      robustssm inspect s4d
      robustssm inspect run/last.ckpt --format json
      robustssm inspect ckpt.pth --set prenorm=false

    \b
    Exit codes: 0 shown; 2 a setting is missing or wrong; 4 the file is rejected.
    """
    from robustssm.checkpoints.model_names import references
    from robustssm.commands import terminal
    from robustssm.evaluations.trained_layers.examination import examine
    from robustssm.execution import one_thread

    refs = references([checkpoint], settings)
    if len(refs) != 1:
        raise UsageError(f"inspect: {checkpoint!r} names {len(refs)} models, expected one")
    with one_thread():
        found = examine(refs[0].load())
    if style == "json":
        terminal.emit_json({"checkpoint": checkpoint, **found.to_dict()})
        return
    if style == "csv":
        terminal.emit_records("", [layer.to_dict() for layer in found.layers], style)
    else:
        facts = [[key, _shown(value)] for key, value in found.facts.items() if value is not None]
        terminal.emit_table(checkpoint, ["", "value"], facts, style)
        if found.layers:
            columns, rows = _layers(found)
            terminal.emit_table("SSM layers", columns, rows, style)
            terminal.note(_LEGEND)
    for layer in found.layers:
        for reason in layer.refused:
            terminal.note(f"layer {layer.layer}: {reason}")
    for note in found.notes:
        terminal.note(note)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and all(one == value[0] for one in value):
        value = f"{len(value)} x {value[0]}"
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _layers(found: "Examination") -> tuple[list[str], list[list[str]]]:
    rows = []
    for layer in found.layers:
        values = layer.to_dict()
        row = [(values.get(key), style) for _, key, style in _COLUMNS]
        rows.append(["-" if value is None else format(value, style) for value, style in row])
    return [heading for heading, *_ in _COLUMNS], rows
