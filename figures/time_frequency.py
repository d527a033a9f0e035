"""Time-frequency map of a sample: clean, perturbed, and what was added, on one scale.

With a Gaussian window w around step t, |sum_k x_k w_{k-t} e^{-2 pi i f k}|^2 / sum_k w_k^2: white
noise of variance s^2 has expectation s^2 everywhere.

Reference: Cohen, Time-Frequency Analysis (1995), chapter 7; scipy.signal.ShortTimeFFT.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import gaussian

from robustssm.attacks import Budget, Perturbation
from robustssm.attacks.base import input_site
from robustssm.errors import UsageError, require
from robustssm.figures.style import Look, footnote, new_figure, save, style
from robustssm.tasks import Task
from robustssm.typing import FloatArray

# Slices of a spectrogram at most, and standard deviations of the window in half its width.
_SLICES = 256
_DEVIATIONS = 3.0
# Decibels below the largest power that are told apart.
_RANGE = 60.0


@dataclass(frozen=True)
class ShortTimeSpectra:
    """Powers (frequencies, slices) of one channel: clean, perturbed, and of what was added.

    steps (slices,): centres of the windows; cycles (frequencies,): 0 to 1/2 per sample; width:
    samples of the window. Where a sample ends, or steps are appended, both are taken as zero.
    """

    steps: FloatArray
    cycles: FloatArray
    powers: dict[str, FloatArray]
    width: int


def short_time_power(x: FloatArray, width: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return centres, frequencies and powers (frequencies, slices) of x (L,).

    width: samples of the window, 1 to L; beyond the ends x is zero.
    """
    window = gaussian(width, std=max(width / (2.0 * _DEVIATIONS), 1e-9))
    hop = max(1, len(x) // _SLICES)
    # The transform needs half a window of samples, at least.
    transform = ShortTimeFFT(window, hop, fs=1.0, mfft=max(2 * width, 64), phase_shift=None)
    last = -(-len(x) // hop)
    window_energy = float(np.square(window).sum())
    power: FloatArray = np.abs(transform.stft(x, p0=0, p1=last)) ** 2 / window_energy
    steps = hop * np.arange(last, dtype=np.float64)
    return steps, np.asarray(transform.f, dtype=np.float64), power


def short_time_spectra(
    task: Task, perturbation: Perturbation, budget: Budget, *, sample: int = 0, seed: int = 0
) -> ShortTimeSpectra:
    """Return the spectra of the first channel of a test sample (its place in the split).

    The window is an eighth of the sequence. Raises UsageError if the task has tokens, the
    perturbation does not act at the input, or there is no such sample.
    """
    who = "time-frequency"
    task.values(who)
    if "input" not in perturbation.sites:
        raise UsageError(f"{who}: {perturbation.who} does not act at the input; name one that does")
    count, width = len(task.splits["test"]), max(1, task.length // 8)
    require(0 <= sample < count, f"{who}: sample", sample, f"0 to {count - 1}")
    part = task.splits["test"].rows(slice(sample, sample + 1))
    x = torch.from_numpy(part.inputs)
    lengths = None if part.lengths is None else torch.from_numpy(part.lengths)
    site = input_site(task)
    after = perturbation.perturb(x, lengths, part.sample_id, seed, budget=budget, site=site)
    clean = perturbation.extended(x)[0, :, 0].double().numpy().copy()
    perturbed = after[0, :, 0].double().numpy().copy()
    if part.lengths is not None:
        clean[part.lengths[0] :] = perturbed[part.lengths[0] :] = 0.0
    signals = {"clean": clean, "perturbed": perturbed, "added": perturbed - clean}
    powers = {name: short_time_power(signal, width)[2] for name, signal in signals.items()}
    return ShortTimeSpectra(*short_time_power(clean, width)[:2], powers, width)


def table(spectra: ShortTimeSpectra) -> pd.DataFrame:
    """Return one row per step and frequency, with the three powers."""
    step, cycles = np.meshgrid(spectra.steps, spectra.cycles, indexing="ij")
    powers = {name: power.T.ravel() for name, power in spectra.powers.items()}
    return pd.DataFrame({"step": step.ravel(), "cycles": cycles.ravel(), **powers})


def draw_time_frequency(spectra: ShortTimeSpectra, folder: Path, about: str) -> list[Path]:
    """Draw the three maps side by side into `folder`; return the files. about: what they show."""
    top = max(float(power.max()) for power in spectra.powers.values())
    reference = top if top > 0.0 else 1.0
    caption = (
        f"{about}. Short-time spectra, Gaussian window of {spectra.width} samples; decibels below "
        f"the largest power of the three, {top:.3g} (squared units of the data)"
    )
    with style():
        figure, axes = new_figure(height=2.6, columns=3, sharex=True, sharey=True)
        shades: Look = {"vmin": -_RANGE, "vmax": 0.0, "cmap": "viridis", "shading": "nearest"}
        for (name, power), panel in zip(spectra.powers.items(), axes, strict=True):
            level = 10.0 * np.log10(np.maximum(power / reference, 10.0 ** (-_RANGE / 10.0)))
            mesh = panel.pcolormesh(spectra.steps, spectra.cycles, level, rasterized=True, **shades)
            panel.set(title="what was added" if name == "added" else name, xlabel="step")
        axes[0].set_ylabel("cycles per step")
        figure.colorbar(mesh, ax=axes, label="dB", pad=0.01)
        footnote(figure, caption)
        return save(figure, table(spectra), folder / "time-frequency", caption)
