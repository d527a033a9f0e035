"""Robustness curves: accuracy against the mode, one panel a strength; or against the strength."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustssm.evaluations.metrics import over_seeds
from robustssm.figures.style import save, style

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
MODE_LABEL = {
    "bin": "Fourier mode (cycles per sequence)",
    "spike": "spike of S4D-LegS, counted from the highest frequency",
    "omega": "omega (rad per unit of the layer's time)",
}


def data(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the curves: one row a model, mode and eps, with interval and clean accuracy."""
    return over_seeds(summary[summary["eps"] > 0.0])


def _styles(models: list[str]) -> dict[str, dict[str, object]]:
    colours = sns.color_palette("colorblind", len(models))
    return {
        model: {
            "color": colours[i],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[i % len(LINES)],
        }
        for i, model in enumerate(models)
    }


def _curve(axes: Axes, x: np.ndarray, group: pd.DataFrame, look: dict[str, object]) -> None:
    """Draw one model's curve with its interval as a ribbon."""
    axes.plot(x, group["accuracy"], label=group["model"].iloc[0], markersize=3, **look)
    axes.fill_between(
        x, group["ci_low"], group["ci_high"], color=look["color"], alpha=0.18, linewidth=0
    )


def draw_modes(frame: pd.DataFrame, axes: list[Axes], chance: float, length: int) -> None:
    """Draw accuracy against the mode, one panel for each eps, highest eps last."""
    models = list(dict.fromkeys(frame["model"]))
    looks = _styles(models)
    unit = frame["mode_unit"].iloc[0]
    for panel, (eps, part) in zip(axes, frame.groupby("eps"), strict=True):
        for model in models:
            group = part[part["model"] == model].sort_values("mode")
            clean = group["clean_accuracy"].iloc[0]
            panel.axhline(clean, color=looks[model]["color"], linewidth=0.6, alpha=0.6)
            _curve(panel, group["mode"].to_numpy(), group, looks[model])
        panel.axhline(chance, color="0.3", linewidth=0.8, linestyle=(0, (1, 2)))
        panel.set(ylim=(0, 1.02), ylabel="accuracy")
        panel.set_title(f"eps = {eps:g} {part['eps_unit'].iloc[0]}", loc="left")
    axes[-1].set_xlabel(MODE_LABEL[unit])
    if unit == "bin":
        nyquist = length // 2
        if frame["mode"].max() > 0.5 * nyquist:
            for panel in axes:
                panel.axvline(nyquist, color="0.5", linewidth=0.8)
        top = axes[0].secondary_xaxis("top", functions=(lambda k: k / length, lambda f: f * length))
        top.set_xlabel("cycles per sample")


def draw_strengths(frame: pd.DataFrame, axes: Axes, chance: float) -> None:
    """Draw accuracy against eps at one mode; the clean accuracy stands at the left end."""
    models = list(dict.fromkeys(frame["model"]))
    looks = _styles(models)
    smallest = float(frame["eps"].min())
    # Curves that nearly coincide are told apart by a shift of 2% each.
    for number, model in enumerate(models):
        group = frame[frame["model"] == model].sort_values("eps")
        shift = 1.0 + 0.02 * (number - (len(models) - 1) / 2)
        x = group["eps"].to_numpy() * shift
        error = np.abs(group[["ci_low", "ci_high"]].to_numpy().T - group["accuracy"].to_numpy())
        axes.errorbar(
            x,
            group["accuracy"],
            yerror := np.nan_to_num(error),
            capsize=2,
            label=model,
            markersize=4,
            **looks[model],
        )
        assert yerror.shape[0] == 2
        axes.plot(
            smallest / 2.5 * shift,
            group["clean_accuracy"].iloc[0],
            **{**looks[model], "markersize": 4},
        )
    axes.axhline(chance, color="0.3", linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    ticks = [smallest / 2.5, *sorted(frame["eps"].unique())]
    axes.set_xticks(ticks, ["clean", *(f"{tick:g}" for tick in ticks[1:])])
    axes.minorticks_off()
    axes.set(ylim=(0, 1.02), ylabel="accuracy", xlabel=f"eps ({frame['eps_unit'].iloc[0]})")


def caption(frame: pd.DataFrame, noise: str, task: str, partial: bool) -> str:
    """Return one line that says what is shown: samples, seeds, interval."""
    seeds = sorted(frame["seeds"].unique())
    replicates = (
        "1 training seed" if seeds == [1] else f"{'/'.join(map(str, seeds))} training seeds"
    )
    kind = {
        "wilson": "95% Wilson intervals",
        "student over seeds": "mean and 95% Student intervals over seeds",
    }
    intervals = ", ".join(kind[name] for name in frame["interval"].unique())
    limited = "; PARTIAL: --limit was set" if partial else ""
    return (
        f"{noise} noise on {task}, n = {frame['n'].iloc[0]} test samples, {replicates}, "
        f"{intervals}; dotted: chance{limited}"
    )


def draw_all(
    summary: pd.DataFrame, folder: Path, *, chance: float, length: int, partial: bool
) -> list[Path]:
    """Draw the sweep's robustness figure into `folder` (PDF, PNG, CSV); return the files."""
    frame = data(summary)
    noise = str(frame["noise"].iloc[0])
    note = caption(frame, noise, str(summary["task"].iloc[0]), partial)
    with style():
        if len(frame["mode"].unique()) > 1:
            strengths = frame["eps"].nunique()
            figure, panels = plt.subplots(
                strengths, 1, figsize=(6.75, 1.1 + 1.75 * strengths), sharex=True, squeeze=False
            )
            axes = list(panels[:, 0])
            draw_modes(frame, axes, chance, length)
        else:
            figure, panel = plt.subplots(figsize=(6.75, 3.6))
            axes = [panel]
            draw_strengths(frame, panel, chance)
            unit, mode = frame["mode_unit"].iloc[0], frame["mode"].iloc[0]
            panel.set_title(f"{MODE_LABEL[unit].split(',')[0].split('(')[0].strip()} {mode:g}")
        _finish(figure, axes[0], note)
        files = save(figure, frame, folder / "robustness")
        plt.close(figure)
    return files


def _finish(figure: Figure, axes: Axes, note: str) -> None:
    """Put the legend above and the caption below."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    figure.supxlabel(note, fontsize=6.5, wrap=True)
