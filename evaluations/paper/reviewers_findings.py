"""What was found where reviewers asked: dips, pairs, poles, and the energy of the noise."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.evaluations.paper.fig3_accuracy import CLEAN, interval, over_seeds, seed_means
from robustssm.evaluations.paper.reproduction import Finding, Tables, finding, interval_agrees
from robustssm.evaluations.paper.reviewers_sweep import (
    ALPHA,
    SINUSOID,
    SPIKE,
    WHITE,
    by_frequency,
)

# A dip: accuracy falls by more, on the mean over seeds, and Student's interval excludes 0.
DIP = 0.1
# Columns that `bounds` and `shown` take, of a fall and of a difference.
_DROP = ["seeds", "drop", "ci_low", "ci_high"]
_SEEDS = ["seeds", "difference", "ci_low", "ci_high"]
NONE = "not in the paper; asked for in review"


def bounds(seeds: int, mean: float, low: float, high: float) -> tuple[float, float]:
    """Return the interval's ends; twice the mean if several seeds are alike, NaN of one seed.

    An interval without a width has none: that seeds are alike is all that is known.
    """
    return (mean, mean) if seeds > 1 and np.isnan(low) else (low, high)


def judged(values: npt.ArrayLike, threshold: float) -> str:
    """Return whether the interval of `bounds` is above the threshold (agrees), below or across."""
    return interval_agrees(*bounds(*over_seeds(values)), above=threshold)


def shown(seeds: int, mean: float, low: float, high: float) -> str:
    """Return `0.10 [0.05, 0.15]`; the number alone if there is one seed, or the seeds are alike."""
    alone = "" if not np.isnan(low) else " (seeds alike)" if seeds > 1 else " (one seed)"
    return interval(mean, low, high) + alone


def seeds_of(values: npt.ArrayLike) -> str:
    """Return the mean over seeds as `shown`."""
    return shown(*over_seeds(values))


def drops(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the fall of accuracy from clean: model, eps, omega, kind, drop, its interval, dip.

    frame: rows of `reviewers_sweep.sweep`; paired by training seed; columns as of `seed_means`.
    """
    clean = frame[frame["noise"] == CLEAN].set_index(["model", "seed"])["accuracy"]
    noisy = frame[frame["noise"] == SINUSOID]
    keys = pd.MultiIndex.from_frame(noisy[["model", "seed"]])
    noisy = noisy.assign(drop=clean.loc[keys].to_numpy() - noisy["accuracy"].to_numpy())
    rows = seed_means(noisy, ["model", "eps", "omega", "kind"], "drop")
    least = [bounds(*row)[0] for row in rows[_DROP].itertuples(index=False)]
    return rows.assign(dip=(rows["drop"] > DIP) & (np.array(least) > 0.0))


def bands(omega: Sequence[float], chosen: Sequence[bool]) -> str:
    """Return runs of chosen neighbours in ascending `omega`, as in `2.1 to 8.6, 325`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(chosen), [False]])))
    runs = [(omega[first], omega[end - 1]) for first, end in edges.reshape(-1, 2)]
    said = [f"{a:.4g}" if a == b else f"{a:.4g} to {b:.4g}" for a, b in runs]
    return ", ".join(said) or "none"


def _sweep(frame: pd.DataFrame) -> Iterator[Finding]:
    """Yield each model's dips, what happens at the spike, and who is worst where."""
    found = drops(frame)
    n = int(frame["n"].iloc[0])
    top = frame.loc[(frame["kind"] == SPIKE) & (frame["number"] == 1), "omega"].iloc[0]
    strongest = found[found["eps"] == found["eps"].max()]
    eps = f"eps = {strongest['eps'].iloc[0]:g}"
    for model, rows in strongest.groupby("model", sort=False):
        rows = rows.sort_values("omega")
        most = rows.loc[rows["drop"].idxmax()]
        text = f"{bands(list(rows['omega']), list(rows['dip']))}; largest "
        text += f"{_drop(most)} at omega {most['omega']:.4g}; at the spike "
        text += f"{_drop(rows[rows['omega'] == top].iloc[0])}"
        name = f"frequencies where {model} loses more than {DIP:g}, {eps}, n = {n}"
        yield finding(name, text, without=NONE)
    at = strongest[strongest["omega"] == top].set_index("model")
    if "s4d" in at.index:
        there, elsewhere = at.loc["s4d"], strongest[strongest["model"] == "s4d"]
        others = elsewhere[(elsewhere["omega"] < top / 2.0) & elsewhere["dip"]]
        ends = bounds(*there[_DROP])
        text = f"{_drop(there)}; dips below half of it: {len(others)} frequencies"
        name = f"fall of s4d's accuracy at its highest spike, omega {top:.2f}, {eps}"
        yield finding(name, text, ("S4D fails there [s]", interval_agrees(*ends, above=DIP)))
    wide = strongest.pivot_table(index="omega", columns="model", values="drop").sort_index()
    worst = wide.idxmax(axis=1).where(wide.max(axis=1) > DIP, "nobody")
    change = np.flatnonzero(worst.to_numpy()[1:] != worst.to_numpy()[:-1]) + 1
    parts = [
        f"{worst.iloc[a]} {bands(list(worst.index[a:b]), [True] * (b - a))}"
        for a, b in pairwise([0, *change, len(worst)])
    ]
    name = f"model that loses most (and more than {DIP:g}), by omega, {eps}"
    yield finding(name, "; ".join(parts), without=NONE)


def _drop(row: "pd.Series[float]") -> str:
    return interval(*row[_DROP[1:]])


def _pairs(tests: pd.DataFrame, frame: pd.DataFrame) -> Iterator[Finding]:
    """Yield how each pair compares, at every strength, and at the spike."""
    top = frame.loc[(frame["kind"] == SPIKE) & (frame["number"] == 1), "omega"].iloc[0]
    for (a, b, eps), rows in tests.groupby(["a", "b", "eps"], sort=False):
        found = by_frequency(rows).set_index("omega")
        best, worst = found["difference"].idxmax(), found["difference"].idxmin()
        text = (
            f"{seeds_of(rows.groupby('seed')['difference'].mean())} over omega; {a} better at "
            f"{(found['says'] > 0).sum()}, {b} at {(found['says'] < 0).sum()} of {len(found)} "
            f"(every seed, Holm {ALPHA:g}); extremes {shown(*found.loc[best, _SEEDS])} at "
            f"{best:.4g}, {shown(*found.loc[worst, _SEEDS])} at {worst:.4g}"
        )
        if top in found.index:
            text += f"; at the spike {shown(*found.loc[top, _SEEDS])}"
        seeds = rows["seed"].nunique()
        name = f"accuracy of {a} minus {b}, eps = {eps:g}, same samples, {seeds} seeds"
        yield finding(name, text, without=NONE)


def _poles(frame: pd.DataFrame) -> Iterator[Finding]:
    """Yield how far the pole nearest the spike goes, and how many channels keep one there."""
    for init, rows in frame.groupby("init", sort=False):
        last = int(rows["epoch"].max())
        ends = rows[rows["epoch"] == last]
        moved = seeds_of(ends.groupby("seed")["moved_mean"].mean())
        sums = ends.groupby("seed")[["within", "channels"]].sum()
        share = seeds_of(sums["within"] / sums["channels"])
        start = rows[rows["epoch"] == 0]
        text = (
            f"{moved} on the mean, at most {ends['moved_most'].max():.3g}; share of "
            f"channels with a pole within 1/2 of it {share}, "
            f"{start['within'].sum() / start['channels'].sum():.3g} untrained; median gap from it "
            f"{ends['gap_median'].median():.3g} ({start['gap_median'].median():.3g}), damping "
            f"{ends['damping_median'].median():.3g} ({start['damping_median'].median():.3g})"
        )
        name = f"{init}: way of the eigenvalue nearest the spike in {last} epochs"
        yield finding(name, text, without=NONE)


def _energy(frame: pd.DataFrame) -> Iterator[Finding]:
    """Yield accuracy under white noise minus that under the sinusoid of the same energy."""
    noisy = frame[frame["noise"] != CLEAN]
    top = noisy["omega"].max()
    chosen = noisy[noisy["amplitude"] == 1.0] if (noisy["amplitude"] == 1.0).any() else noisy
    for model, rows in chosen.groupby("model", sort=False):
        white = rows[rows["noise"] == WHITE].set_index("seed")["accuracy"]
        line = rows[rows["omega"] == top].set_index("seed")["accuracy"]
        below = rows[rows["omega"] < top].set_index("seed")["accuracy"]
        claim = "the frequency matters, not the energy [s]", judged(white - line, 0.0)
        text = (
            f"{seeds_of(white - line)}; white {white.mean():.3f}, sinusoid at the spike "
            f"{line.mean():.3f}, two octaves below {below.mean():.3f}"
        )
        name = f"{model}: accuracy, white noise minus sinusoid at the spike, equal energy, eps = 1"
        yield finding(name, text, claim if model == "s4d" else None, NONE)


def findings(tables: Tables) -> list[Finding]:
    """Return what was found, in the order of the questions."""
    return [
        *_sweep(tables["sweep"]),
        *_pairs(tables["s5"], tables["sweep"]),
        *_poles(tables["trajectories"]),
        *_pairs(tables["random"], tables["sweep"]),
        *_energy(tables["energy"]),
    ]
