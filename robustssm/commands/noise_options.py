"""The options that say what is done to the inputs of a sweep, and the noises they make."""

from typing import TYPE_CHECKING, Any

import click

from robustssm.commands.common import Expression, Numbers, Range, choice, with_options

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
        "'Gabor(mode, 0.5, 0.1)' (`robustssm attack --list`). May be given several times.",
    ),
    click.option(
        "--modes",
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
        help="Of fourier: random (default), cosine, sine, radians, or worst:P, per sample the "
        "worst of P phases.",
    ),
    click.option(
        "--channels",
        type=click.Choice(["independent", "same", "one"]),
        help="Of fourier: how channels are drawn. Default: independent.",
    ),
    click.option(
        "--omega",
        type=Numbers("omega"),
        help="Frequencies of resonance by hand, rad per unit time: 162.7,325.4.",
    ),
    click.option(
        "--eps",
        type=Numbers("eps"),
        default="0.1,0.3,1",
        help="Strengths, beside the clean accuracy.",
    ),
    click.option(
        "--eps-unit",
        type=click.Choice(["std", "rms", "l2", "linf", "snr-db", "mix", "octaves"]),
        help="Unit of eps. Default: std (root mean square in standard deviations of the input) "
        "for noise, linf for resonance, mix (the share of the way) for transforms, octaves for "
        "StepSize.",
    ),
    click.option(
        "--inject",
        type=click.Choice(["input", "layers", "model"]),
        help="Where: the input, the input of every SSM layer, or the model. Default: as the noise "
        "has it.",
    ),
    choice(
        "--clip",
        of=("none", "hard", "rescale"),
        help="Keep inputs in --range: cut; or strengthen first so that eps is still delivered.",
    ),
    click.option(
        "--range", "limits", type=Range(), help="Valid range of the input for --clip, as in 0,1."
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
