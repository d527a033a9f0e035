"""The options that say what is done to the inputs of a sweep, and the noises they make."""

from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import completion
from robustssm.commands.common import UNITS, choice, with_options
from robustssm.commands.parameter_types import Expression, Numbers, Range

if TYPE_CHECKING:
    from robustssm.evaluations.sweep.noises import Noise

# They arrive as keyword arguments of `read_noises`.
noise_options = with_options(
    click.option(
        "--noise",
        "noises",
        type=Expression(),
        required=True,
        multiple=True,
        help="fourier: one DFT mode of the input; resonance: the PTD paper's test; any "
        "perturbation or adversary, as in 'BandNoise(1, 16)', 'BandPGD(1, 64)' or, over --modes, "
        "'Gabor(mode, 0.5, 0.1)'; in a part of time, 'Window(0.75, 1, Fourier(3))' (`robustssm ls "
        "noises`). May be given several times.",
        shell_complete=completion.noises,
    ),
    click.option(
        "--modes",
        metavar="MODES",
        help="As in 1-64, 1,2,4, 1:128:8, log:1:128:16 or all: DFT bins, or spikes of S4D "
        "(resonance). Default: 1-64, or to the Nyquist bin (fourier), 1 (resonance).",
    ),
    choice(
        "--mode-unit",
        of=("bin", "cycles", "hz"),
        help="What --modes counts: DFT bins, cycles per sample or hertz.",
    ),
    click.option(
        "--phase",
        metavar="PHASE",
        help="Fourier only: random (default), cosine, sine, radians, or worst:P, for each sample "
        "the worst of P phases.",
    ),
    click.option(
        "--channels",
        type=click.Choice(["independent", "same", "one"]),
        help="Fourier only: how channels are sampled. Default: independent.",
    ),
    click.option(
        "--omega",
        type=Numbers("omega"),
        help="Resonance only: frequencies in rad per unit time, such as 162.7,325.4.",
    ),
    click.option(
        "--eps",
        type=Numbers("eps"),
        default="0.1,0.3,1",
        help="Strengths; the clean accuracy is measured as well.",
    ),
    click.option(
        "--eps-unit",
        type=click.Choice(UNITS),
        help="Unit of eps. Default: std (root mean square in standard deviations of the input) "
        "for noise, linf for resonance, mix (the share of the way) for transforms, octaves for "
        "StepSize.",
    ),
    click.option(
        "--inject",
        type=click.Choice(["input", "layers", "model"]),
        help="Where: the input, the input of every SSM layer, or the model itself. Default: where "
        "the noise usually acts.",
    ),
    choice(
        "--clip",
        of=("none", "hard", "rescale"),
        help="Keep inputs within --range: hard clips; rescale first scales up, so that the "
        "delivered strength stays eps.",
    ),
    click.option(
        "--range", "limits", type=Range(), help="Valid range of the input for --clip, such as 0,1."
    ),
)


def read_noises(
    noises: tuple[str, ...],
    omega: tuple[float, ...] | None,
    limits: tuple[float, float] | None,
    **options: Any,
) -> "list[Noise]":
    """Return the noises that `noise_options` describe; UsageError if an option does not fit."""
    from robustssm.evaluations.sweep.noises import Noise

    if limits:
        options["limits"] = limits
    return [Noise(name, omega=omega or (), **options) for name in noises]
