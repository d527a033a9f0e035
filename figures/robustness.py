"""Robustness curves: accuracy against the mode, one panel per strength; or against the strength."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from robustssm.evaluations.results.cell_reader import MODE_LABEL
from robustssm.evaluations.results.summary import over_seeds, perturbed
from robustssm.figures.style import (
    footnote,
    legend,
    look,
    new_figure,
    save,
    seed_dots,
    style,
)
from robustssm.plain_text import figure_label

AT = {
    "": "",
    "bin": " at Fourier mode {:g}",
    "spike": " at spike {:g}",
    "omega": " at omega = {:g}",
    "cycles": " at {:g} cycles per sample",
    "hz": " at {:g} Hz",
    "value": " at mode = {:g}",
}
# Line styles of models without a look of their own, as on and off lengths.
SPARE_DASHES = tuple(
    (0, on_off)
    for on_off in [(1, 1), (6, 2), (4, 1, 1, 1), (2, 1), (8, 1), (3, 3), (5, 1, 2, 1), (1, 3)]
)
SPARE_MARKERS = "PpH*8<>^"
# Ribbons of more models than this hide each other; the CSV beside the figure has them all.
MOST_RIBBONS = 6
DOTTED: dict[str, Any] = {"color": "0.3", "linewidth": 0.8, "linestyle": (0, (1, 2))}


def data(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the curves: one row per model, mode and eps, with interval and clean accuracy."""
    return over_seeds(perturbed(summary))


def model_looks(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return each model's line properties, no two alike among 64; colours are #rrggbb.

    A bundled name has the same look in every figure; a name without one, or whose look another
    model of this figure has already (another training seed), takes the next free look.
    """
    colours = sns.color_palette("dark", len(SPARE_DASHES)).as_hex()
    looks: dict[str, dict[str, Any]] = {}
    taken_spares = 0
    for model in dict.fromkeys(frame["model"]):
        chosen = look(model)
        taken = any(chosen.items() == other.items() for other in looks.values())
        if "color" not in chosen or taken:
            turn, k = divmod(taken_spares, len(colours))
            other = (k + turn) % len(colours)
            spare = {"linestyle": SPARE_DASHES[other], "marker": SPARE_MARKERS[other]}
            chosen = {**chosen, "color": colours[k], **spare}
            taken_spares += 1
        looks[model] = chosen
    return looks


def draw_modes(frame: pd.DataFrame, axes: list[Axes], chance: float, length: int) -> None:
    """Draw accuracy against the mode, one panel per eps; thin horizontal lines are clean.

    Ribbons are intervals, dots single training seeds; of many models there are neither.
    """
    unit = frame["mode_unit"].iloc[0]
    looks = model_looks(frame)
    modes = np.sort(frame["mode"].unique())
    panels = list(frame.groupby("eps"))
    if frame["eps_unit"].iloc[0] == "snr-db":
        panels.reverse()
    for panel, (eps, part) in zip(axes, panels, strict=True):
        for model, line in looks.items():
            # All modes of the figure, so that one without a result interrupts its curve.
            group = part[part["model"] == model].set_index("mode").reindex(modes)
            fine = {"markersize": 3.5, "markeredgewidth": 0}
            panel.plot(
                modes, group["accuracy"].to_numpy(), label=figure_label(model), **(line | fine)
            )
        for model, group in part.sort_values("mode").groupby("model", sort=False):
            colour = looks[str(model)]["color"]
            if np.isfinite(group["clean_accuracy"].iloc[0]):
                panel.axhline(group["clean_accuracy"].iloc[0], color=colour, linewidth=0.5)
            if len(looks) <= MOST_RIBBONS:
                ends = group.set_index("mode").reindex(modes)[["ci_low", "ci_high"]].to_numpy().T
                panel.fill_between(modes, *ends, color=colour, alpha=0.2, lw=0)
                seed_dots(panel, group["mode"], group["by_seed"], colour)
        panel.axhline(chance, **DOTTED)
        panel.set(ylim=(0, 1.02), ylabel="accuracy")
        if part["accuracy"].isna().all():
            panel.set_xlim(modes[0] - 0.5, modes[-1] + 0.5)
            panel.text(0.5, 0.5, "no accuracy is known", ha="center", transform=panel.transAxes)
        label = figure_label(f"eps = {eps:g} {part['eps_unit'].iloc[0]}")
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.0}
        place = panel.transAxes
        panel.text(0.995, 0.17, label, ha="right", transform=place, fontsize=8.5, bbox=paper)
    axes[-1].set_xlabel(MODE_LABEL[unit])
    if unit == "bin":
        nyquist = length // 2
        if frame["mode"].max() > 0.5 * nyquist:
            for panel in axes:
                panel.axvline(nyquist, color="0.5", linewidth=0.8)
        top = axes[0].secondary_xaxis("top", functions=(_over(length), _over(1.0 / length)))
        top.set_xlabel("cycles per sample")


def _over(length: float) -> Callable[[Any], Any]:
    """Return k -> k / length, for numbers and arrays."""
    return lambda k: np.asarray(k) / length


def draw_strengths(frame: pd.DataFrame, axes: Axes, chance: float) -> None:
    """Draw accuracy against eps at one mode; the clean accuracy stands at the left end."""
    looks = model_looks(frame)
    decibels = frame["eps_unit"].iloc[0] == "snr-db"
    weakest = float(frame["eps"].max() if decibels else frame["eps"].min())
    clean = weakest + 6.0 if decibels else weakest / 2.5
    for number, (model, line) in enumerate(looks.items()):
        group = frame[frame["model"] == model].sort_values("eps")
        # Intervals that nearly coincide are told apart by a shift.
        place = number - (len(looks) - 1) / 2
        factor, step = (1.0, 0.12 * place) if decibels else (1.0 + 0.03 * place, 0.0)
        accuracy = group["accuracy"].to_numpy()
        bars = np.abs(group[["ci_low", "ci_high"]].to_numpy().T - accuracy)
        label = figure_label(model)
        axes.errorbar(group["eps"] * factor + step, accuracy, bars, capsize=2, label=label, **line)
        seed_dots(axes, group["eps"] * factor + step, group["by_seed"], line["color"])
        axes.plot(clean * factor + step, group["clean_accuracy"].iloc[0], **line)
    axes.axhline(chance, **DOTTED)
    if decibels:
        axes.invert_xaxis()
    else:
        axes.set_xscale("log")
    strengths = sorted(frame["eps"].unique())
    axes.set_xticks([clean, *strengths], ["clean", *(f"{eps:g}" for eps in strengths)])
    axes.minorticks_off()
    unit = figure_label(f"eps ({frame['eps_unit'].iloc[0]})")
    axes.set(ylim=(0, 1.02), ylabel="accuracy", xlabel=unit)


def caption(frame: pd.DataFrame, noise: str, task: str, partial: bool) -> str:
    """Return what is shown: samples, seeds, interval."""
    seeds = sorted(frame["seeds"].unique())
    replicates = (
        "1 training seed" if seeds == [1] else f"{'/'.join(map(str, seeds))} training seeds"
    )
    kind = {
        "samples (Wilson)": "95% Wilson intervals",
        "seeds (Student)": "mean and 95% Student intervals over seeds, dots: single seeds",
        "": "no interval where the seeds agree",
    }
    intervals = ", ".join(kind[name] for name in frame["interval"].unique())
    clean = "; thin lines: clean accuracy" if len(frame["mode"].unique()) > 1 else ""
    many = len(frame["mode"].unique()) > 1 and len(frame["model"].unique()) > MOST_RIBBONS
    intervals += " (too many to draw: see the CSV)" if many else ""
    limited = "; PARTIAL: --limit was set" if partial else ""
    return (
        f"{noise} noise on {task}, n = {frame['n'].iloc[0]} test samples, {replicates}, "
        f"{intervals}{clean}; dotted: chance{limited}"
    )


def draw_all(
    summary: pd.DataFrame, folder: Path, *, chance: float, length: int, partial: bool
) -> list[Path]:
    """Draw a robustness figure a noise into `folder` (PDF, PNG, SVG, CSV); return the files."""
    frame = data(summary)
    files = []
    for noise, name in figure_names(
        [str(noise) for noise in dict.fromkeys(frame["noise"])]
    ).items():
        part = frame[frame["noise"] == noise]
        note = caption(part, noise, str(summary["task"].iloc[0]), partial)
        with style():
            if len(part["mode"].unique()) > 1:
                rows = part["eps"].nunique()
                figure, axes = new_figure(height=1.2 + 1.75 * rows, rows=rows, sharex=True)
                draw_modes(part, axes, chance, length)
            else:
                figure, axes = new_figure(height=3.8)
                draw_strengths(part, axes[0], chance)
                unit, mode = part["mode_unit"].iloc[0], part["mode"].iloc[0]
                title = figure_label(f"{noise}{AT[unit].format(mode)}")
                axes[0].set_title(title, loc="left")
            legend(figure, axes[:1], 4, loc="outside upper center")
            footnote(figure, note)
            files += save(figure, part, folder / name, note)
    return files


def figure_names(noises: Iterable[object]) -> dict[str, str]:
    """Return the file name of each noise's figure, without suffix, no two alike.

    Letters, digits, points and dashes; a number where two noises differ in other signs only.
    """
    different = list(dict.fromkeys(map(str, noises)))
    if len(different) == 1:
        return {different[0]: "robustness"}
    names: dict[str, str] = {}
    for noise in different:
        name = "robustness-" + re.sub(r"[^a-z0-9.]+", "-", noise.lower()).strip("-")
        taken = sum(other == name or other.startswith(f"{name}--") for other in names.values())
        names[noise] = f"{name}--{taken + 1}" if taken else name
    return names
