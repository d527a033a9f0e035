"""Time-frequency map of a sample: clean, perturbed, and what was added, on one scale."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from robustssm.evaluations.time_frequency import ShortTimeSpectra
from robustssm.figures.style import PAGE, save, style, wrapped

# Decibels below the largest power that are told apart.
_RANGE = 60.0
_PANELS = ("clean", "perturbed", "added")


def table(spectra: ShortTimeSpectra) -> pd.DataFrame:
    """Return one row a step and frequency, with the three powers."""
    step, cycles = np.meshgrid(spectra.steps, spectra.cycles, indexing="ij")
    powers = {name: getattr(spectra, name).T.ravel() for name in _PANELS}
    return pd.DataFrame({"step": step.ravel(), "cycles": cycles.ravel(), **powers})


def draw_time_frequency(spectra: ShortTimeSpectra, folder: Path, about: str) -> list[Path]:
    """Draw the three maps side by side into `folder`; return the files. about: what they show."""
    maps = [getattr(spectra, name) for name in _PANELS]
    top = max(float(power.max()) for power in maps)
    reference = top if top > 0.0 else 1.0
    caption = (
        f"{about}. Short-time spectra, Gaussian window of {spectra.width} samples; decibels below "
        f"the largest power of the three, {top:.3g} (squared units of the data)"
    )
    with style():
        figure = Figure(figsize=(PAGE, 2.6))
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 3, sharex=True, sharey=True, squeeze=False)[0]
        for name, power, panel in zip(_PANELS, maps, axes, strict=True):
            level = 10.0 * np.log10(np.maximum(power / reference, 10.0 ** (-_RANGE / 10.0)))
            mesh = panel.pcolormesh(
                spectra.steps,
                spectra.cycles,
                level,
                vmin=-_RANGE,
                vmax=0.0,
                cmap="viridis",
                shading="nearest",
                rasterized=True,
            )
            panel.set_title("what was added" if name == "added" else name, fontsize=8)
            panel.set_xlabel("step")
        axes[0].set_ylabel("cycles per sample")
        figure.colorbar(mesh, ax=list(axes), label="dB", pad=0.01)
        figure.supxlabel(wrapped(caption, figure, 6.5), fontsize=6.5)
        return save(figure, table(spectra), folder / "time-frequency", caption)
