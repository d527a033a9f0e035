"""`robustssm inspect`: what a checkpoint is."""

from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, shared

# Columns of the table of layers.
_COLUMNS: tuple[terminal.Column, ...] = (
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
@shared("names", "models", "style")
def inspect_checkpoint(**options: Any) -> None:
    """Describe a checkpoint: spectra, stability, aliasing.

    MODEL: s4d, s4d/2, a file or folder of any format that `models import` reads, name=path, or
    module.py:function.

    \b
    Examples:
      robustssm inspect s4d
      robustssm inspect run/last.ckpt --format json
      robustssm inspect ckpt.pth --set script=example.py --set prenorm=false

    Exit codes: 0 shown; 2 a setting is missing or wrong; 4 the file is rejected.
    """
    from robustssm.evaluations.trained_layers.examination import examine
    from robustssm.execution import one_thread

    asked = SharedOptions(**options)
    checkpoint, style = ", ".join((*asked.names, *asked.models)), asked.style
    model = asked.one_ref("inspect")
    with one_thread():
        examined = examine(model.load())
    facts = {key: _shown(v) for key, v in examined.facts.items() if v is not None}
    layers = list(examined.layers)
    parts = terminal.facts(checkpoint, facts)
    if layers:
        parts.append(terminal.Table("SSM layers", layers, _COLUMNS))
    content = {"checkpoint": checkpoint, **examined.to_dict()}
    terminal.show(style, *parts, content=content, rows=layers)
    if style == "json":
        return
    if layers and style != "csv":
        terminal.note(_LEGEND)
    for layer in layers:
        for reason in layer["refused"]:
            terminal.note(f"layer {layer['layer']}: {reason}")
    terminal.note(*examined.notes)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and all(one == value[0] for one in value):
        value = f"{len(value)} x {value[0]}"
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
