"""One sample under every family of perturbations: the signal, the image, and the spectrum."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from robustssm.attacks import Site, parse_perturbation
from robustssm.attacks.base import input_site
from robustssm.errors import UsageError
from robustssm.figures.style import NOTE, PAGE, new_figure, save, style
from robustssm.tasks import Task, load_task

# One of each family that acts on signals; strengths at which the eye sees what is done.
EXAMPLES = (
    "Fourier(12, eps=1)",
    "Fourier2D(3, 2, eps=1)",
    "MultiTone((5, 23, 71), eps=1)",
    "Hum(16, eps=1)",
    "Chirp(2, 60, eps=1)",
    "Gabor(40, 0.3, 0.06, eps=0.7)",
    "BandNoise(30, 50, eps=1)",
    "ColouredNoise(1, eps=1)",
    "Impulses(5, eps=0.7)",
    "Dropout(0.2)",
    "LowPass(30)",
    "HighPass(8)",
    "BandPass(10, 40)",
    "BandStop(12, 36)",
    "PhaseScramble()",
    "Resample(0.5)",
    "TimeShift(24)",
    "Quantise(1)",
    "NoisePadding(128, eps=1)",
    "Resonance(325.426, eps=0.5)",
)
# Resonance acts at layers; here the step size of one of their channels stands for them.
LAYER_DT = 0.004
STEPS = 96


def data(task: Task, seed: int = 0) -> pd.DataFrame:
    """Return one row per step of the first test sample under each example, and the clean one.

    Columns: example, step, clean, perturbed (NaN if the clean sample has ended), and per DFT
    bin 0..L/2 in the same rows, bin, clean_power, delta_power: |DFT|^2 / L of channel 0.
    """
    part = task.splits["test"].rows(slice(1))
    x = torch.from_numpy(part.inputs)
    frames = []
    for text in EXAMPLES:
        perturbation, budget = parse_perturbation(text)
        site = input_site(task)
        try:
            perturbation.check_length(task.length, site)
        except UsageError:  # a frequency beyond Nyquist: no example of shorter sequences
            continue
        if perturbation.sites[0] == "layers":
            dt = torch.full((task.channels,), LAYER_DT, dtype=torch.float64)
            site = Site(layer=0, dt=dt)
        after = perturbation.perturb(x, None, part.sample_id, seed, budget=budget, site=site)
        clean = perturbation.extended(x)[0, :, 0].double().numpy()
        perturbed = after[0, :, 0].double().numpy()
        length = len(perturbed)
        power = [np.abs(np.fft.rfft(v)) ** 2 / length for v in (clean, perturbed - clean)]
        steps = np.arange(length)
        frame = pd.DataFrame({"example": text, "step": steps, "perturbed": perturbed})
        frame["clean"] = np.where(steps < x.shape[1], clean, np.nan)
        for name, column in zip(("clean_power", "delta_power"), power, strict=True):
            frame[name] = np.pad(column, (0, length - len(column)), constant_values=np.nan)
        frame["cycles"] = np.where(steps <= length // 2, steps / length, np.nan)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def draw(part: pd.DataFrame, axes: Sequence[Axes], image: tuple[int, int] | None) -> None:
    """Draw one example: the first steps (the end, where steps are appended), image, spectrum."""
    curve, picture, spectrum = axes
    ended = part["clean"].isna()
    first = max(0, int((~ended).sum()) - STEPS // 2) if ended.any() else STEPS // 2
    window = part[(part["step"] >= first) & (part["step"] < first + STEPS)]
    curve.plot(window["step"], window["perturbed"], color="C0", linewidth=0.9)
    curve.plot(window["step"], window["clean"], color="0.25", linewidth=0.7, linestyle=(0, (3, 1)))
    curve.set_title(part["example"].iloc[0], loc="left", fontsize=NOTE)
    rows, columns = image or (1, len(part))
    values = part["perturbed"].to_numpy()
    picture.imshow(values[: len(values) // columns * columns].reshape(-1, columns), cmap="gray",
                   vmin=-0.5, vmax=1.5, aspect="auto" if rows == 1 else "equal")  # fmt: skip
    picture.set(xticks=[], yticks=[])
    bins = part.dropna(subset="cycles")
    for name, colour, width in (("clean_power", "0.6", 1.6), ("delta_power", "C0", 0.8)):
        # Below this a power is rounding: float32 data of size one.
        level = np.maximum(bins[name], 1e-10)
        spectrum.semilogy(bins["cycles"], level, color=colour, linewidth=width)
    spectrum.set(xlim=(0, 0.5), ylim=(1e-10, 1e3), yticks=[1e-8, 1e-4, 1])
    spectrum.minorticks_off()
    for panel in (curve, spectrum):
        panel.tick_params(length=2, pad=1)


def draw_all(task_spec: str, folder: Path, seed: int = 0) -> list[Path]:
    """Draw the gallery into `folder` (PDF, PNG, CSV), two families a row; return the files."""
    task = load_task(task_spec)
    frame = data(task, seed)
    examples = list(dict.fromkeys(frame["example"]))
    rows = -(-len(examples) // 2)
    with style():
        ratios = [2.2, 0.9, 1.6] * 2
        figure, axes = new_figure(PAGE * 1.45, 0.98 * rows + 0.7, 6, rows, width_ratios=ratios)
        # The left column of examples from top to bottom, then the right one.
        starts = [6 * row + side for side in (0, 3) for row in range(rows)]
        places = [axes[start : start + 3] for start in starts]
        for number, (text, panels) in enumerate(zip(examples, places, strict=False), 1):
            draw(frame[frame["example"] == text], panels, task.image)
            if number in (rows, len(examples)):
                panels[0].set_xlabel("step", fontsize=NOTE)
                panels[2].set_xlabel("cycles per step", fontsize=NOTE)
        for panel in chain.from_iterable(places[len(examples) :]):
            panel.set_visible(False)
        identity = task.splits["test"].sample_id[0]
        figure.supxlabel(
            f"{task.spec}, sample {identity}, seed {seed}. Left: perturbed (solid) and clean "
            "(dashed) values; middle: all of it as an image, -0.5 to 1.5;\nright: |DFT|^2 / L of "
            "the clean sample (grey, thick) and of what was added (thin). eps in std, or the whole "
            f"transform; Resonance at dt = {LAYER_DT:g}.",
            fontsize=NOTE,
        )
        return save(figure, frame, folder / "perturbations", "robustssm perturb --gallery")
