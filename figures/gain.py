"""Trained layers as filters: magnitude responses of a model's layers, and where the peaks lie.

Two kinds of figure from a `GainResult`: `response-<model>` (a panel per layer) and `peaks` (all
models).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from robustssm.evaluations.trained_layers.gain import NEAR, GainResult, ModelGain, summarise
from robustssm.evaluations.trained_layers.linear_systems import LayerSystem, Mimo
from robustssm.figures.looks import look
from robustssm.figures.style import Look, footnote, key, label_powers, new_figure, save, style
from robustssm.plain_text import figure_label
from robustssm.typing import FloatArray

# Logarithmic points a curve, where there are many and where there is one, and points on each
# pole's flanks in half-widths; the certified peaks are on the grid, too.
LOG_POINTS, ALONE_POINTS = 160, 1200
OFFSETS = (-2.0, -0.7, 0.0, 0.7, 2.0)
# The highest theta drawn for bilinear, where theta = pi is omega = infinity.
BILINEAR_TOP = 0.95 * np.pi
# The median is drawn where at least this share of channels has omega below pi / dt.
MEDIAN_SHARE = 0.25
MEDIAN_POINTS = 1200
# The lowest omega / omega_spike drawn; peaks below, zero among them, are marked there.
LOWEST_RATIO = 1e-4
PANEL, ROW = 2.1, 0.26
NAMELESS = "#0173B2"
MARK: Look = {"linestyle": "", "marker": "o", "markeredgewidth": 0.4, "clip_on": False}
# Multiples of the golden ratio spread points that coincide.
GOLDEN = 0.5 * (5.0**0.5 - 1.0)
OMEGA = "ω (rad per unit time; θ = ω dt)"
MEAN_OMEGA = "ω (rad per unit time; θ = ω dt, dt the geometric mean over states)"
TANGENT = "ω (rad per unit time; tan(θ/2) = ω dt/2)"


def response_data(model: ModelGain) -> pd.DataFrame:
    """Return the magnitude responses of a model's layers, tidy.

    kind `channel`: layer, channel, omega, gain on the channel's own grid, poles and their flanks
    included; kind `median`: over the channels whose pi / dt lies above omega; kind `peak`: the
    certified peak (its low end) at its omega. systems, spike, length of the model with each row.
    """
    parts = []
    for index, system in model.systems.items():
        whole = GainResult((model,)).whole
        own = whole[whole["layer"] == index]
        theta = _grid(system, LOWEST_RATIO * model.spike, own["theta"].to_numpy())
        omega = system.omega(theta, system.dt[:, None])
        gain = system.gain(theta)
        channel = np.repeat(np.arange(len(theta)), theta.shape[1])
        curves = pd.DataFrame({"channel": channel, "omega": omega.ravel(), "gain": gain.ravel()})
        parts.append(curves.drop_duplicates().assign(layer=index, kind="channel"))
        if len(theta) > 1:
            common, median = _median(system, LOWEST_RATIO * model.spike)
            curve = pd.DataFrame({"channel": -1, "omega": common, "gain": median})
            parts.append(curve.assign(layer=index, kind="median"))
        peaks = own[["layer", "channel", "omega"]].assign(kind="peak", gain=own["gain_low"])
        parts.append(peaks)
    frame = pd.concat(parts, ignore_index=True)
    mimo = any(isinstance(getattr(s, "ahead", s), Mimo) for s in model.systems.values())
    bilinear = next(iter(model.systems.values())).discretization == "bilinear"
    return frame.assign(spike=model.spike, mimo=mimo, bilinear=bilinear, model=model.label)


def _grid(system: LayerSystem, lowest: float, peaks: FloatArray) -> FloatArray:
    """Return theta (c, g) ascending: logarithmic from omega = lowest, peaks, poles, flanks."""
    top = BILINEAR_TOP if system.discretization == "bilinear" else np.pi
    start = np.minimum(lowest * system.dt, 0.1 * top)
    points = LOG_POINTS if len(start) > 1 else ALONE_POINTS
    logarithmic = np.geomspace(start, np.full_like(start, top), points, axis=1)
    width = -np.log(np.abs(system.discrete))
    flanks = system.pole_theta[:, :, None] + width[:, :, None] * np.array(OFFSETS)
    flanks = np.concatenate([flanks.reshape(len(flanks), -1), peaks[:, None]], axis=1)
    flanks = np.clip(flanks, start[:, None], top)
    return np.sort(np.concatenate([logarithmic, flanks], axis=1), axis=1)


def _median(system: LayerSystem, lowest: float) -> tuple[FloatArray, FloatArray]:
    """Return omega and the median gain of the channels that reach it."""
    bilinear = system.discretization == "bilinear"
    top = BILINEAR_TOP if bilinear else np.pi
    ends = system.omega(np.full_like(system.dt, top), system.dt)
    omega = np.geomspace(lowest, np.quantile(ends, 1.0 - MEDIAN_SHARE), MEDIAN_POINTS)
    theta = omega * system.dt[:, None]
    theta = 2.0 * np.arctan(0.5 * theta) if bilinear else theta
    gain = np.where(theta <= top, system.gain(np.minimum(theta, top)), np.nan)
    return omega, np.nanmedian(gain, axis=0)


def draw_response(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw the frame of `response_data`, one axes a layer: channels, median, peaks, spike."""
    spike, mimo = float(frame["spike"].iloc[0]), bool(frame["mimo"].iloc[0])
    curve = frame[frame["kind"] == "channel"]
    low, high = curve["omega"].min(), curve["omega"].max()
    top = curve["gain"].max()
    colour = _colour(str(frame["model"].iloc[0]))
    for panel, (layer, part) in zip(axes, frame.groupby("layer"), strict=True):
        for number, (_, rows) in enumerate(part[part["kind"] == "channel"].groupby("channel")):
            line = {"color": "0.35" if mimo else "0.65", "linewidth": 1.0 if mimo else 0.4}
            label = {} if number else {"label": "the layer" if mimo else "channels"}
            panel.loglog(rows["omega"], rows["gain"], zorder=2.0, **line, **label)
        median = part[part["kind"] == "median"]
        if len(median):
            label = {"label": "median of the channels that reach ω"}
            panel.loglog(median["omega"], median["gain"], color="k", linewidth=1.0, **label)
        peaks = part[part["kind"] == "peak"]
        mark = MARK | {"markersize": 3.2, "color": colour, "markeredgecolor": "k", "zorder": 4.0}
        mark["label"] = "certified peaks (on an edge: beyond it)"
        panel.plot(peaks["omega"].clip(low, high), peaks["gain"], **mark)
        panel.axvline(spike, color="k", linewidth=0.7, linestyle=(0, (4, 2)), zorder=1.8)
        lowest = max(0.5 * curve["gain"].min(), 1e-5 * top)
        panel.set(xlim=(low, high), ylim=(lowest, 3.0 * top))
        label_powers(panel.xaxis, panel.yaxis)
        panel.set_ylabel(r"$\sigma_{max}(H(e^{i\theta}))$" if mimo else r"$|H(e^{i\theta})|$")
        panel.set_title(f"layer {layer}, {len(peaks)} {'system' if mimo else 'channels'}")
    bilinear = bool(frame["bilinear"].iloc[0])
    axes[-1].set_xlabel(TANGENT if bilinear else MEAN_OMEGA if mimo else OMEGA)


def _colour(name: str) -> str:
    """Return the colour of a model's name; the same one for all names that have none."""
    return str(look(name).get("color", NAMELESS))


def peaks_data(result: GainResult) -> pd.DataFrame:
    """Return one row per channel: model, name, layer, channel, ratio = omega_peak / omega_spike.

    spike, spike_aliased: dt omega_spike > pi; offset in [-0.5, 0.5] that parts seeds, and points
    that coincide; q25, median, q75 and at_spike (share within 10 %) of the name and layer.
    """
    columns = ["model", "name", "layer", "channel", "spike", "spike_aliased"]
    frame = result.whole
    frame = frame[columns].assign(ratio=frame["omega_over_spike"])
    parts = []
    for _, part in frame.groupby(["name", "layer"], sort=False):
        seed = pd.factorize(part["model"])[0]
        spread = (GOLDEN * part["channel"]) % 1.0
        facts = summarise(result.channels.loc[part.index])
        part = part.assign(offset=(seed + spread) / (seed.max() + 1) - 0.5)
        quartiles = {q: facts[f"ratio_{q}"] for q in ("q25", "median", "q75")}
        parts.append(part.assign(**quartiles, at_spike=facts["near_spike"]))
    return pd.concat(parts, ignore_index=True)


def draw_peaks(frame: pd.DataFrame, axes: Axes) -> None:
    """Draw the frame of `peaks_data`: a row per model name and layer, a point a channel."""
    names = []
    for position, ((name, layer), part) in enumerate(frame.groupby(["name", "layer"], sort=False)):
        names.append(f"{name}, layer {layer}")
        for aliased, rows in part.groupby("spike_aliased"):
            mark = MARK | {"markersize": 2.8, "markeredgecolor": "0.2", "zorder": 3.0}
            mark["markerfacecolor"] = "none" if aliased else _colour(str(name))
            height = position + 0.6 * rows["offset"]
            axes.plot(rows["ratio"].clip(LOWEST_RATIO), height, **mark)
        facts = part.iloc[0]
        low, median, high = (max(float(facts[q]), LOWEST_RATIO) for q in ("q25", "median", "q75"))
        # On the row, above its points, with an edge that sets them off.
        edge = [Stroke(linewidth=3.2, foreground="white"), Normal()]
        ends: Look = {"color": "k", "zorder": 4.0, "path_effects": edge}
        axes.plot([low, high], [position] * 2, linewidth=1.4, solid_capstyle="butt", **ends)
        axes.plot(median, position, marker="|", markersize=8, **ends)
        share = f"{facts['at_spike']:.0%}"
        axes.annotate(share, (1.01, position), xycoords=("axes fraction", "data"), va="center")
    axes.annotate("at spike", (1.01, -0.75), xycoords=("axes fraction", "data"), va="bottom")
    axes.axvline(1.0, color="k", linewidth=0.7, linestyle=(0, (4, 2)), zorder=1.8)
    finite = frame["ratio"][np.isfinite(frame["ratio"])]
    right = max(4.0, 1.5 * float(finite.max()))
    axes.set(xscale="log", xlim=(LOWEST_RATIO, right), ylim=(len(names) - 0.4, -0.6))
    axes.set_yticks(range(len(names)), list(map(figure_label, names)))
    axes.set_xlabel("ω of the certified peak / ω of HiPPO's spike")
    label_powers(axes.xaxis)


def draw_all(
    result: GainResult, folder: Path, report: Callable[[], None] = lambda: None
) -> list[Path]:
    """Write `response-<model>` for each model and `peaks`, reporting each; return the paths."""
    paths = []
    for model in result.models:
        frame = response_data(model)
        count = len(model.systems)
        with style():
            height = 1.0 + PANEL * count
            figure, axes = new_figure(height=height, rows=count, sharex=True, sharey=True)
            draw_response(frame, axes)
            title = (
                f"responses of the layers of {model.label}, n = {model.n}; dashed: HiPPO's spike, "
                f"ω = {model.spike:.5g}"
            )
            footnote(figure, title)
            handles, labels = axes[0].get_legend_handles_labels()
            key(figure, dict(zip(labels, handles, strict=True)), 3)
            stem = f"response-{model.label.replace('/', '-')}"
            paths += save(figure, frame, Path(folder) / stem, "robustssm gain")
        report()
    frame = peaks_data(result)
    with style():
        rows = len(frame[["name", "layer"]].drop_duplicates())
        figure, (panel,) = new_figure(height=1.2 + ROW * max(rows, 4))
        draw_peaks(frame, panel)
        mark = MARK | {"markersize": 2.8, "markeredgecolor": "0.2"}
        named = {
            "ω dt < π at the spike": Line2D([], [], markerfacecolor="0.5", **mark),
            "ω dt > π at the spike": Line2D([], [], markerfacecolor="none", **mark),
            "quartiles, median": Line2D([], [], color="k", marker="|", linewidth=1.4),
        }
        title = (
            f"certified peaks, {len(result.models)} checkpoints, {len(frame)} systems; at spike: "
            f"share within {NEAR:.0%}"
        )
        footnote(figure, title)
        key(figure, named, 3)
        paths += save(figure, frame, Path(folder) / "peaks", "robustssm gain")
    report()
    return paths
