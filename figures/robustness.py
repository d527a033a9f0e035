"""Robustness curves: accuracy against the mode, one panel per strength; or against the strength.

Frequencies on a grid are a curve; spikes are points, for nothing is known of what lies between.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from robustssm.evaluations.results.cell_reader import MODE_LABEL
from robustssm.evaluations.results.summary import over_seeds, perturbed
from robustssm.figures.looks import model_looks, seed_dots
from robustssm.figures.style import (
    OMEGA,
    Look,
    fitting,
    footnote,
    legend,
    new_figure,
    save,
    style,
)
from robustssm.plain_text import figure_label
from robustssm.targets import CLASSES, of_table

AT = {
    "": "",
    "bin": " at Fourier mode {:g}",
    "spike": " at spike {:g}",
    "omega": " at omega = {:g}",
    "cycles": " at {:g} cycles per step",
    "hz": " at {:g} Hz",
    "value": " at mode = {:g}",
}
# Ribbons of more models than this hide each other; the CSV beside the figure has them all.
MOST_RIBBONS = 6
# Markers of a curve; those of models that coincide take turns.
MOST_MARKERS = 16
# Inches of an accuracy of 1, of what stands between panels and of the rest of a figure.
SCALE, BETWEEN, REST = 1.5, 0.3, 1.0
# A panel shows at least this range of accuracies.
LEAST_RANGE = 0.3
DOTTED: dict[str, Any] = {"color": "0.3", "linewidth": 0.8, "linestyle": (0, (1, 2))}


def data(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the curves: one row per model, mode and eps, with interval and clean accuracy."""
    return over_seeds(perturbed(summary))


def draw_modes(
    frame: pd.DataFrame,
    axes: list[Axes],
    chance: float,
    length: int,
    spikes: Mapping[float, float] | None = None,
) -> None:
    """Draw accuracy against the mode, one panel per eps; the clean accuracy stands at the left.

    Frequencies are lines with ribbons, spikes points with bars; both are intervals, and dots single
    training seeds; of many models ribbons and their dots are left out. spikes: omega by number.
    """
    unit, of = frame["mode_unit"].iloc[0], of_table(frame)
    modes = np.sort(frame["mode"].unique())
    for panel, (eps, part) in zip(axes, strengths(frame), strict=True):
        if unit == "spike":
            draw_points(part, panel, "mode", {mode: -k for k, mode in enumerate(modes)}, clean=True)
        else:
            _draw_curves(part, panel, modes, model_looks(frame))
        scale(panel, part, chance)
        if part[of.score].isna().all():
            panel.set_xlim(modes[0] - 0.5, modes[-1] + 0.5)
            panel.text(0.5, 0.5, f"no {of.words} is known", ha="center", transform=panel.transAxes)
        panel.set_title(figure_label(f"eps = {eps:g} {part['eps_unit'].iloc[0]}"))
    if unit == "spike":
        _label_spikes(axes[-1], modes, spikes or {})
        return
    axes[-1].set_xlabel(MODE_LABEL[unit])
    if unit == "bin":
        nyquist = length // 2
        if frame["mode"].max() > 0.5 * nyquist:
            for panel in axes:
                panel.axvline(nyquist, color="0.5", linewidth=0.8)
        top = axes[0].secondary_xaxis("top", functions=(_over(length), _over(1.0 / length)))
        top.set_xlabel("cycles per step")


def strengths(frame: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """Return each eps with its rows, the weakest first."""
    found = [(float(eps), part) for eps, part in frame.groupby("eps")]
    return found[::-1] if frame["eps_unit"].iloc[0] == "snr-db" else found


def scale(panel: Axes, part: pd.DataFrame, chance: float, whole: bool = False) -> None:
    """Set and label the axis of scores; whole: whether accuracies begin at 0, as errors do."""
    of = of_table(part)
    if of is CLASSES:
        low, high = 0.0 if whole else lowest(part), 1.02
        if not whole:
            panel.yaxis.set_major_locator(MultipleLocator(0.2))
    else:
        names = [name for name in (of.score, of.worst, of.clean, "ci_high") if name in part]
        low, high = 0.0, 1.05 * float(np.nanmax(part[names].to_numpy(np.float64), initial=1e-9))
    if low <= chance <= high:
        panel.axhline(chance, **DOTTED)
    panel.set(ylim=(low, high), ylabel=of.axis)


def lowest(part: pd.DataFrame) -> float:
    """Return where the axis of a panel's accuracies begins: below all that is drawn."""
    if of_table(part) is not CLASSES:  # panels of errors are all of one height
        return 0.3
    values = part[["accuracy", "ci_low"]].to_numpy(dtype=np.float64)
    low = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
    return max(0.0, min(1.0 - LEAST_RANGE, np.floor(10.0 * low - 0.2) / 10.0))


def _draw_curves(part: pd.DataFrame, panel: Axes, modes: Any, looks: Mapping[str, Any]) -> None:
    of = of_table(part)
    clean = modes[0] - 0.04 * (modes[-1] - modes[0])
    step = 0.012 * (modes[-1] - modes[0])
    for number, (model, line) in enumerate(looks.items()):
        # All modes of the figure, so that one without a result interrupts its curve.
        group = part[part["model"] == model].set_index("mode").reindex(modes)
        every = -(-len(modes) // MOST_MARKERS)
        fine = {"markersize": 3.5, "markeredgewidth": 0, "markevery": (number % every, every)}
        values = group[of.score].to_numpy()
        panel.plot(modes, values, label=figure_label(model), **(line | fine))
        known = group[of.clean].dropna()
        at_left = known.iloc[0] if len(known) else np.nan
        panel.plot(clean - step * number, at_left, **line | {"markersize": 3.5})
        if len(looks) <= MOST_RIBBONS:
            ends = group[["ci_low", "ci_high"]].to_numpy().T
            panel.fill_between(modes, *ends, color=line["color"], alpha=0.2, lw=0)
            seed_dots(panel, modes, group["by_seed"].fillna(""), line["color"])
    panel.axvline(clean + step, color="0.8", linewidth=0.6)


def _label_spikes(panel: Axes, modes: Any, spikes: Mapping[float, float]) -> None:
    """Label the places of spikes by omega and number, or by their numbers alone."""
    room = fitting(16, 0.4)
    shown = list(enumerate(modes))[:: -(-len(modes) // room)]
    labels = [f"{spikes[k]:.4g}\n({k:g})" if k in spikes else f"{k:g}" for _, k in shown]
    panel.set_xticks([-len(modes), *(-place for place, _ in shown)], ["clean", *labels])
    known = all(k in spikes for _, k in shown)
    panel.set_xlabel(f"{OMEGA} of S4D's spike (its number)" if known else MODE_LABEL["spike"])


def _over(length: float) -> Callable[[Any], Any]:
    return lambda k: np.asarray(k) / length


def places(values: Iterable[float], unit: str) -> dict[float, float]:
    """Return where on a linear axis each strength stands: by its logarithm, decibels falling."""
    different = sorted(set(values), reverse=unit == "snr-db")
    if unit == "snr-db":
        return {value: -value / 6.0 for value in different}
    return {value: np.log10(value) if different[0] > 0.0 else value for value in different}


def draw_points(
    frame: pd.DataFrame,
    axes: Axes,
    column: str,
    at: Mapping[float, float],
    *,
    y: str | None = None,
    clean: bool = False,
) -> None:
    """Draw y, the score by default, with its interval at each value; strengths are joined.

    at: the place of each value; clean: whether the clean score stands at the left end.
    """
    looks, order, of = model_looks(frame), sorted(at.values()), of_table(frame)
    gap = float(np.diff(order).min()) if len(order) > 1 else 1.0
    joined = column == "eps"
    apart = min(0.06 if joined else 0.16, 0.7 / len(looks))
    for number, (model, line) in enumerate(looks.items()):
        line = line if joined else line | {"linestyle": ""}
        shift = gap * apart * (number - (len(looks) - 1) / 2)
        group = frame[frame["model"] == model].set_index(column).reindex(list(at))
        where = np.array(list(at.values())) + shift
        values = group[y or of.score].to_numpy(dtype=np.float64)
        bars = np.abs(group[["ci_low", "ci_high"]].to_numpy(dtype=np.float64).T - values)
        thin: Look = {"capsize": 1.5, "elinewidth": 0.9, "label": figure_label(model)}
        axes.errorbar(where, values, bars, **thin, **line)
        seed_dots(axes, where, group["by_seed"].fillna(""), line["color"])
        if clean and len(known := group[of.clean].dropna()):
            axes.plot(order[0] - gap + shift, known.iloc[0], **line)
    if clean:
        axes.axvline(order[0] - 0.5 * gap, color="0.8", linewidth=0.6)


def label_strengths(axes: Axes, at: Mapping[float, float], unit: str, clean: bool) -> None:
    """Label the places of strengths, and that of the clean accuracy before them."""
    order = list(at.values())
    gap = float(np.diff(order).min()) if len(order) > 1 else 1.0
    ticks = {"clean": order[0] - gap} if clean else {}
    ticks |= {f"{eps:g}": place for eps, place in at.items()}
    axes.set_xticks(list(ticks.values()), list(ticks))
    axes.set_xlabel(figure_label(f"eps ({unit})"))


def draw_strengths(frame: pd.DataFrame, axes: Axes, chance: float) -> None:
    """Draw accuracy against eps at one mode; the clean accuracy stands at the left end."""
    unit = frame["eps_unit"].iloc[0]
    at = places(frame["eps"], unit)
    draw_points(frame, axes, "eps", at, clean=True)
    label_strengths(axes, at, unit, clean=True)
    scale(axes, frame, chance, whole=True)


def caption(frame: pd.DataFrame, noise: str, task: str, partial: bool) -> str:
    """Return what is shown: samples, seeds, interval."""
    seeds = sorted(frame["seeds"].unique())
    replicates = (
        "1 training seed" if seeds == [1] else f"{'/'.join(map(str, seeds))} training seeds (dots)"
    )
    kind = {
        "samples (Wilson)": "95% Wilson intervals",
        "samples (Student)": "95% Student intervals over samples",
        "seeds (Student)": "mean and 95% Student interval over seeds",
        "seeds of training and noise (Student)": "mean and 95% Student interval over seeds of "
        "training and noise",
        "": "no interval where the seeds agree",
    }
    intervals = ", ".join(kind[name] for name in frame["interval"].unique())
    curves = len(frame["mode"].unique()) > 1 and frame["mode_unit"].iloc[0] != "spike"
    many = curves and len(frame["model"].unique()) > MOST_RIBBONS
    intervals += " (too many to draw: see the CSV)" if many else ""
    limited = "; PARTIAL: --limit was set" if partial else ""
    return (
        f"{noise} noise on {task}, n = {frame['n'].iloc[0]} test samples, {replicates}; "
        f"{intervals}; left: clean; dotted: {of_table(frame).guess}{limited}"
    )


def draw_all(
    summary: pd.DataFrame,
    folder: Path,
    *,
    chance: float,
    length: int,
    partial: bool,
    spikes: Mapping[float, float] | None = None,
) -> list[Path]:
    """Draw a robustness figure a noise into `folder` (PDF, PNG, SVG, CSV); return the files.

    spikes: omega of each spike by its number, where it is known.
    """
    frame = data(summary)
    files = []
    for noise, name in figure_names(frame["noise"]).items():
        part = frame[frame["noise"] == noise]
        note = caption(part, noise, str(summary["task"].iloc[0]), partial)
        with style():
            if len(part["mode"].unique()) > 1:
                # An accuracy of 0.1 is as high in every panel.
                ranges = [1.02 - lowest(rows) for _, rows in strengths(part)]
                height = REST + BETWEEN * len(ranges) + SCALE * sum(ranges)
                options: dict[str, Any] = {"sharex": True, "height_ratios": ranges}
                figure, axes = new_figure(height=height, rows=len(ranges), **options)
                draw_modes(part, axes, chance, length, spikes)
            else:
                figure, axes = new_figure(height=3.2)
                draw_strengths(part, axes[0], chance)
                unit, mode = part["mode_unit"].iloc[0], part["mode"].iloc[0]
                where = AT[unit].format(mode)
                if unit == "spike" and mode in (spikes or {}):
                    where += f", ω = {(spikes or {})[mode]:.4g} rad per unit time"
                axes[0].set_title(figure_label(f"{noise}{where}"))
            legend(figure, axes[:1], 6)
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
