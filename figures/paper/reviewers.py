"""What reviewers of arXiv 2310.01698 asked for: accuracy by frequency, pairs, poles, energy."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from robustssm.evaluations.paper.fig3_accuracy import CLEAN, mean_accuracies
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.paper.reviewers_sweep import SPIKE, WHITE, by_frequency
from robustssm.figures.looks import look
from robustssm.figures.paper.saving import Drawings, Drawn, mean_with_bars
from robustssm.figures.style import OMEGA, Look, label_powers, legend, new_figure, panels


def sweep_data(tables: Tables) -> pd.DataFrame:
    """Return mean accuracy over seeds and its interval by model, eps and omega, clean first."""
    by = ["model", "noise", "eps", "omega", "kind", "number"]
    return mean_accuracies(tables["sweep"], by)


def energy_data(tables: Tables) -> pd.DataFrame:
    """Return mean accuracy over seeds and its interval by model, noise, omega and amplitude."""
    noisy = tables["energy"][tables["energy"]["noise"] != CLEAN]
    return mean_accuracies(noisy, ["model", "noise", "omega", "amplitude"])


def poles_data(tables: Tables) -> pd.DataFrame:
    """Return, by network and epoch, the ends over seeds and layers, and the share of channels."""
    grouped = tables["trajectories"].groupby(["init", "epoch", "omega"], sort=False)
    frame = grouped.agg(
        seeds=("seed", "nunique"),
        layers=("layer", "nunique"),
        imag_low=("imag_low", "min"),
        imag_median=("imag_median", "median"),
        imag_high=("imag_high", "max"),
        moved_mean=("moved_mean", "mean"),
        within=("within", "sum"),
        channels=("channels", "sum"),
    ).reset_index()
    return frame.assign(share=frame["within"] / frame["channels"])


def pairs_data(tables: Tables) -> pd.DataFrame:
    """Return `by_frequency` of all pairs."""
    return by_frequency(pd.concat([tables["s5"], tables["random"]], ignore_index=True))


def draw_sweep(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw accuracy against omega: S4's kin left, S5's right, one row per strength."""
    noisy = frame[frame["noise"] != CLEAN]
    peaks = noisy.loc[noisy["kind"] == SPIKE, "omega"].unique()
    panels = iter(axes)
    for eps, strength in noisy.groupby("eps", sort=False):
        for kin in ("s4", "s5"):
            panel = next(panels)
            for name, rows in strength.groupby("model", sort=False):
                if str(name).startswith(kin):
                    rows = rows.sort_values("omega")
                    mean_with_bars(panel, rows, "omega", look(str(name)), label=str(name))
            for peak in peaks:
                panel.axvline(peak, color="0.7", linewidth=0.6, zorder=1.0)
            panel.set(xscale="log", ylim=(0.0, 1.0), xlabel=OMEGA, ylabel="test accuracy")
            panel.set_title(f"{kin.upper()} and PTD, eps = {eps:g}")
            label_powers(panel.xaxis)


def draw_pairs(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw one panel per pair, one line per strength; a diamond where all seeds tell them apart."""
    colours = ("0.6", "#0173B2", "0.0")
    groups = frame.groupby(["a", "b"], sort=False)
    for panel, ((a, b), rows) in zip(axes, groups, strict=True):
        for k, (eps, part) in enumerate(rows.groupby("eps", sort=True)):
            part = part.sort_values("omega")
            color = colours[k % len(colours)]
            chosen: Look = {"color": color, "linewidth": 1.0}
            mean_with_bars(panel, part, "omega", chosen, "difference", f"eps = {eps:g}")
            said = part[part["says"] != 0]
            panel.plot(said["omega"], said["difference"], "D", color=color, markersize=4.0)
        panel.axhline(0.0, color="0.3", linewidth=0.7)
        panel.set(xscale="log", ylim=(-1.0, 1.0), xlabel=OMEGA, ylabel="accuracy, difference")
        panel.set_title(f"{a} minus {b}")
        label_powers(panel.xaxis)


def draw_poles(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw the frequency of the tracked pole, its way, and the channels near the spike."""
    for name, rows in frame.groupby("init", sort=False):
        rows = rows.sort_values("epoch")
        chosen = look(str(name))
        start = rows["imag_median"].iloc[0]
        axes[0].plot(rows["epoch"], rows["imag_median"] - start, label=str(name), **chosen)
        color = axes[0].lines[-1].get_color()
        low, high = rows["imag_low"] - start, rows["imag_high"] - start
        axes[0].fill_between(rows["epoch"], low, high, color=color, alpha=0.12, linewidth=0.0)
        axes[1].plot(rows["epoch"], rows["moved_mean"], **chosen)
        axes[2].plot(rows["epoch"], rows["share"], **chosen)
    titles = ("shift of its frequency", "distance moved, mean", "channels within 1/2")
    units = ("rad per unit time", "rad per unit time", "share of channels")
    for panel, title, unit in zip(axes, titles, units, strict=True):
        panel.set(title=title, ylabel=unit, xlabel="epochs of training")
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[2].set_ylim(-0.03, 1.03)


def draw_energy(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw accuracy against amplitude, one panel per noise."""
    top = frame["omega"].max()
    sinusoids = frame[frame["noise"] != WHITE]
    panels = {
        f"sinusoid, ω = {top:.1f} (spike)": sinusoids[sinusoids["omega"] == top],
        f"sinusoid, ω = {sinusoids['omega'].min():.1f}": sinusoids[sinusoids["omega"] < top],
        "white noise": frame[frame["noise"] == WHITE],
    }
    for panel, (title, part) in zip(axes, panels.items(), strict=True):
        for name, rows in part.groupby("model", sort=False):
            rows = rows.sort_values("amplitude")
            mean_with_bars(panel, rows, "amplitude", look(str(name)), label=str(name))
        panel.set(xscale="log", ylim=(0.0, 1.0), title=title, xlabel="eps; rms is 0.41 eps")
        panel.minorticks_off()
        amplitudes = sorted(part["amplitude"].unique())
        panel.set_xticks(amplitudes, [f"{eps:g}" for eps in amplitudes])
    axes[0].set_ylabel("test accuracy")


def drawn(tables: Tables) -> Drawings:
    """Yield reviewers-sweep, -pairs, -poles and -energy; captions say n, seeds and interval."""
    sweep, energy, poles = sweep_data(tables), energy_data(tables), poles_data(tables)
    pairs = pairs_data(tables)
    counted = f"digits, n = {int(sweep['n'].max())} test samples, {int(sweep['seeds'].max())}"
    counted += " training seeds."
    bars = "Bars: 95 % Student intervals, dots: single seeds."
    place = "Added to the input of every SSM layer"

    strengths = sweep.loc[sweep["noise"] != CLEAN, "eps"].nunique()
    figure, axes = new_figure(height=0.8 + 2.4 * strengths, columns=2, rows=strengths)
    draw_sweep(sweep, axes)
    legend(figure, axes)
    text = f"{place}: a sinusoid of amplitude up to eps. Grey: spikes of S4D. {bars} {counted}"
    yield Drawn("reviewers-sweep", figure, sweep, text)

    figure, axes = panels(len(pairs[["a", "b"]].drop_duplicates()), 2, 2.2, 0.9)
    draw_pairs(pairs, axes)
    legend(figure, axes)
    text = (
        f"Difference of accuracies on the same perturbed samples. {bars} Diamonds: every "
        f"seed's McNemar test, Holm-adjusted p < 0.05, finds the same one better. {counted}"
    )
    yield Drawn("reviewers-pairs", figure, pairs, text)

    figure, axes = new_figure(height=3.1, columns=3)
    draw_poles(poles, axes)
    legend(figure, axes)
    text = (
        f"The pole that is nearest to S4D's spike, {poles['omega'].iloc[0]:.2f}, before "
        f"training, of every channel of {int(poles['layers'].max())} layers (S4: of its "
        "diagonal part). Left: median over channels; bands: 5 to 95 % of the channels, "
        f"the widest layer and seed. {int(poles['seeds'].max())} training seeds."
    )
    yield Drawn("reviewers-poles", figure, poles, text)

    figure, axes = new_figure(height=3.3, columns=3)
    draw_energy(energy, axes)
    legend(figure, axes)
    text = f"{place}, every sample at the same root mean square. {bars} {counted}"
    yield Drawn("reviewers-energy", figure, energy, text)
