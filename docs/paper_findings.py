"""The numbers of the paper's figures, from the tables that `robustssm reproduce` stores."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from docs.data_files import NAN, Number
from robustssm.evaluations.paper import fig3ab, fig3c
from robustssm.evaluations.paper.fig3_accuracy import HALF_GAP, paired_gap
from robustssm.evaluations.statistics.intervals import student

Numbers = dict[str, float | Number]
Tables = Mapping[str, pd.DataFrame]


def mean(values: Iterable[float]) -> Number:
    """Return the mean over seeds and Student's interval."""
    array = np.array(list(values), dtype=np.float64)
    return float(array.mean()), *student(array)


def span(values: Iterable[float]) -> Number:
    """Return the least and the largest value."""
    array = list(values)
    return NAN, float(min(array)), float(max(array))


def fig1(tables: Tables) -> Numbers:
    """Return the last spikes of S4D."""
    last = tables["peaks"].query("rank == 1").set_index("n")
    return {
        "spike height": span(last["height"]),
        "spike place": span(last["omega"] / last.index**2),
        "spike on a log grid": last.loc[256, "log_height"] / last.loc[256, "height"],
        "last spike at n = 16": last.loc[16, "omega"],
    }


def fig2(tables: Tables) -> Numbers:
    """Return the errors of the sinusoid regression beyond the training range."""
    facts = tables["settings"].iloc[0]
    rows = tables["errors"].query("steps == 'fixed' and band == 'outside'")
    lowest = rows.loc[rows["model"] == "s4d", "lowest_ratio"]
    found: Numbers = {
        "fig2 seeds": len(lowest),
        "fig2 seeds with a negative amplitude": int((lowest < 0).sum()),
        "fig2 lowest amplitude": mean(lowest),
        # The RMS of s - s_max over s_max to s_test.
        "fig2 frequency error of always saying 80": (facts["s_test"] - facts["s_max"]) / 3**0.5,
    }
    for model, part in rows.groupby("model"):
        found[f"fig2 amplitude error {model}"] = mean(part["rms_ratio"])
        found[f"fig2 frequency error {model}"] = part["rms_s"].mean()
    return found


def contaminated(tables: Tables) -> Numbers:
    """Return accuracies and gaps of the last epoch, and from when on there is one."""
    frame = tables["accuracies"]
    found: Numbers = {
        "fig3ab n": frame["n"].iloc[0],
        "fig3ab seeds": frame["seed"].nunique(),
    }
    for eps, rows in fig3ab.last(frame[frame["eps"] > 0]).groupby("eps"):
        for model in ("s4d", "s4ptd"):
            found[f"fig3ab eps {eps:g} {model}"] = rows.query("init == @model")["accuracy"].mean()
        found[f"fig3ab eps {eps:g} gap"] = paired_gap(rows, "s4ptd", "s4d")[1:]
        other = paired_gap(rows, "s5ptd-rank1", "s5")
        found[f"s5ptd-rank1 - s5 at the spike, eps {eps:g}"] = other[1:]
    wide = frame[frame["eps"] == 1].pivot_table("accuracy", "epoch", ["init", "seed"])
    gap = (wide["s4ptd"] - wide["s4d"]).dropna().mean(axis=1)
    found["fig3ab eps 1 epoch of the gap"] = int(gap.index[gap <= HALF_GAP].max()) + 1
    return found


def sizes(tables: Tables) -> Numbers:
    """Return which rank-one E do best, and what random ones do."""
    points, quality = fig3c.points(tables), tables["quality"]
    found: Numbers = {}
    for eps, what in ((0.0, "clean"), (1.0, "noise")):
        rows = points[(points["method"] == "rank1") & (points["eps"] == eps)]
        near = ~(rows["ci_high"] < rows["accuracy"].max())
        found[f"fig3c best rank-one, {what}"] = span(rows.loc[near, "relative_norm"])
    large = quality[(quality["method"] == "random") & (quality["parameter"] >= 0.01)]
    small = points.query("method == 'random' and parameter < 0.01 and eps == 0")
    return found | {
        "fig3c random E of 0.01 or more": len(large),
        "fig3c unstable random E of 0.01 or more": int((large["max_real"] >= 0).sum()),
        "fig3c accuracy with random E below 0.01": span(small["accuracy"]),
    }


def slopes(tables: Tables) -> Numbers:
    """Return the slopes of log kappa at n = 64."""
    rows = tables["slopes"].query("n == 64 and against == '|E|/|A|'")
    found = rows.set_index(["method", "settings"])[["slope", "ci_low", "ci_high"]]
    names = {
        "rank-one": ("rank1", "all"),
        "random": ("random", "all"),
        "random up to 0.01": ("random", "up to 0.01"),
    }
    return {f"kappa slope {name}": tuple(found.loc[key]) for name, key in names.items()}


def bound(tables: Tables) -> Numbers:
    """Return how near the error comes to the paper's bound."""
    known = tables["rows"].dropna(subset=["measured", "paper"])
    return {
        "bound largest share": (known["measured"] / known["paper"]).max(),
        "bound stable E": len(known),
        "bound stable E with a bound above 1 / n": int(known["note"].str.contains("vacuous").sum()),
    }


RECIPES = {
    "fig1": fig1,
    "fig2": fig2,
    "fig3ab": contaminated,
    "fig3c": sizes,
    "appendix-i": slopes,
    "bound": bound,
}
