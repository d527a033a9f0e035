"""The tables of results that a report of a run shows, as text, whatever it is written in."""

from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import pandas as pd

from robustssm.evaluations.reports.parts import Table
from robustssm.evaluations.results.paired_tests import verdicts
from robustssm.evaluations.results.tables import ALPHA
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.targets import CLASSES, TOKENS, Kind, of_table

# Single tests that are listed; tests.csv has all of them.
MOST_TESTS = 30
# Modes listed a model, noise and strength.
MOST_MODES = 5
DASH = "-"


def numbers(values: Iterable[float]) -> str:
    """Return numbers in words: runs of whole ones as `1-64`, many others by their ends."""
    different = sorted(set(values))
    if len(different) > 1 and all(float(v).is_integer() for v in different):
        starts = [v for v in different if v - 1 not in different]
        ends = [v for v in different if v + 1 not in different]
        parts = [
            f"{a:g}" if a == b else f"{a:.0f}-{b:.0f}" for a, b in zip(starts, ends, strict=True)
        ]
        if len(parts) <= 8:
            return ", ".join(parts)
    if len(different) > 8:
        return f"{len(different)} values from {different[0]:g} to {different[-1]:g}"
    return ", ".join(f"{v:g}" for v in different)


def share(value: object, digits: str = ".3f") -> str:
    """Return a share to three digits, or another format; a dash if it is not known."""
    return f"{value:{digits}}" if isinstance(value, Real) and value == value else DASH


def interval(low: float, high: float, digits: str = ".3f") -> str:
    """Return an interval of shares; a dash if there is none."""
    return f"[{share(low, digits)}, {share(high, digits)}]" if low == low and high == high else DASH


def noise_name(noise: str, clip: str) -> str:
    """Return the name of a noise with its clipping ("" in old runs, which had none)."""
    return noise if clip in ("", "none") else f"{noise}, clip {clip}"


# What stands under a heading, from a row of `summary.overview` or `summary.over_seeds`: of values
# with the names of accuracies, and `digits`.
Cells = dict[str, Callable[[Any], str]]
_CELLS: Cells = {
    "model": lambda row: str(row.model),
    "noise": lambda row: noise_name(row.noise, getattr(row, "clip", "")),
    "at": lambda row: str(row.inject),
    "eps": lambda row: f"{row.eps:g} {row.eps_unit}",
    "mode": lambda row: (
        f"{row.mode:g} ({row.mode_unit})" if row.mode_unit and row.mode == row.mode else DASH
    ),
    "seeds": lambda row: str(row.seeds),
    "n": lambda row: str(row.n),
    "modes": lambda row: str(row.modes),
    "clean": lambda row: share(row.clean_accuracy, row.digits),
    "accuracy": lambda row: share(row.accuracy, row.digits),
    "clean - accuracy": lambda row: share(row.clean_accuracy - row.accuracy, row.digits),
    "mean over modes": lambda row: share(row.acc_mean_over_modes, row.digits),
    "worst (naive)": lambda row: share(row.acc_worst_over_modes, row.digits),
    "at mode": lambda row: (
        f"{row.worst_modes} ({row.mode_unit})" if row.worst_modes and row.mode_unit else DASH
    ),
    "worst, cross-fitted": lambda row: share(row.acc_worst_crossfit, row.digits),
    "perplexity": lambda row: TOKENS.readings(row.clean_accuracy, row.acc_worst_crossfit),
    "95% interval": lambda row: interval(row.ci_low, row.ci_high, row.digits),
    "interval of": lambda row: str(row.interval) or DASH,
    "range of seeds": lambda row: (
        f"{share(row.lowest, row.digits)}..{share(row.highest, row.digits)}"
        if row.seeds > 1
        else DASH
    ),
}
# The same of a row of the paired tests.
_TESTED: Cells = _CELLS | {
    "a": lambda row: f"{row.model_a}/{row.seed_a}",
    "b": lambda row: f"{row.model_b}/{row.seed_b}",
    "noise": lambda row: str(row.noise),
    "eps": lambda row: f"{row.eps:g}",
    "noise seed": lambda row: str(row.noise_seed),
    "a alone right": lambda row: str(row.a_only),
    "b alone right": lambda row: str(row.b_only),
    "difference a - b": lambda row: f"{row.difference:+{row.digits}}",
    "p": lambda row: f"{row.p:.3g}",
    "p, Holm": lambda row: f"{row.p_holm:.3g}",
}


def _table(
    caption: str, frame: pd.DataFrame, columns: str, note: str = "", cells: Cells = _CELLS
) -> Table:
    """Return the rows of a frame as a table; columns: headings of `cells`, by semicolons."""
    headings, of = columns.split("; "), of_table(frame)
    names = {getattr(of, one): getattr(CLASSES, one) for one in _OWN}
    names |= dict(zip(of.wins, CLASSES.wins, strict=True))
    plain = frame.rename(columns=names).assign(digits=of.digits)
    rows = [[cells[name](row) for name in headings] for row in plain.itertuples()]
    caption, note, *headings = _said(of, caption, note, *headings)
    return Table(caption, headings, rows, note=note)


# Columns whose names are of the kind of target.
_OWN = ("score", "clean", "mean", "worst", "crossfit")
# What texts on accuracies say of errors.
_ERRORS = {
    "Accuracies are shares of": "{Words} is the {meaning} over",
    "accuracy downwards": "{words} upwards",
    "the lowest accuracy": "the largest {words}",
    "exact bounds": "{interval}'s bounds",
    "alone right": "{closer}",
    "McNemar's exact test": "Sign flips of samples",
    "Accuracy": "{Words}",
    "accuracy": "{words}",
}


def _said(of: Kind, *texts: str) -> list[str]:
    """Return texts of this module on accuracies, in the words of a kind of target."""
    own = {"words": of.words, "Words": of.words[:1].upper() + of.words[1:], "meaning": of.meaning}
    own |= {"interval": of.interval, "closer": of.wins[0].partition("_")[2]}
    for one, other in _ERRORS.items() if of is not CLASSES else ():
        texts = tuple(text.replace(one, other.format_map(own)) for text in texts)
    return list(texts)


def overview(frame: pd.DataFrame) -> Table:
    """Return one row per model, noise and eps, of `summary.overview`."""
    columns = (
        "model; noise; at; eps; seeds; n; modes; clean; mean over modes; worst (naive); at mode; "
        "worst, cross-fitted; 95% interval; interval of"
    )
    if shown := of_table(frame).shown:
        columns = columns.replace("; 95%", f"; {shown}; 95%")
    note = (
        "Accuracies are shares of the n samples, means over training seeds; worst: each seed at "
        "its own worst mode. The naive one is chosen and read on the same samples, which biases "
        "its accuracy downwards where many modes were tried, and has no interval. Cross-fitted: "
        "each half of the samples chooses the worst mode, the other half is read. The interval of "
        "one seed is of the true worst mode (exact bounds of all modes together), of several it "
        "is Student's of the mean of the cross-fitted values."
    )
    caption = "Accuracy over the modes, one row per model, noise and strength"
    return _table(caption, frame, columns, note)


def worst_modes(curves: pd.DataFrame) -> Table:
    """Return the modes of the lowest accuracy of each model, noise and strength.

    curves: of `summary.over_seeds`, without the clean evaluation. Rows of a model stand together.
    """
    keys = [name for name in CONDITION if name in curves and name not in ("mode", "mode_unit")]
    lowest, of = curves, of_table(curves)
    if len(curves):
        groups = curves.groupby(["model", *keys], sort=False, dropna=False)
        order = {"of_model": pd.factorize(curves["model"])[0], "of_noise": groups.ngroup()}
        order["of_score"] = of.sign * curves[of.score]
        lowest = curves.assign(**order).sort_values([*order, "mode"])
        lowest = lowest.groupby("of_noise").head(MOST_MODES)
    columns = (
        "model; noise; at; eps; mode; accuracy; clean - accuracy; 95% interval; interval of; "
        "range of seeds; seeds; n"
    )
    note = (
        f"At most {MOST_MODES} modes of the lowest accuracy, the mean over training seeds, are "
        "listed. They are chosen and read on the same samples, and the intervals do not allow for "
        "the choice: the cross-fitted worst mode of the overview does."
    )
    caption = "Modes of the lowest accuracy of each model, noise and strength"
    return _table(caption, lowest, columns, note)


def points(curves: pd.DataFrame) -> Table:
    """Return the points of the curves, of `summary.over_seeds`."""
    columns = "model; noise; at; eps; mode; accuracy; 95% interval; interval of; n; seeds"
    return _table("The points of the curves", curves, columns)


def pairs(tests: pd.DataFrame) -> Table:
    """Return one row per pair of models, the clearest first: where each is right more often."""
    drawn = " and draws of the noise" if "noise_seed" in tests else ""
    columns = ["a", "b", f"pairs of checkpoints{drawn}", "conditions", "a better", "b better"]
    columns += ["opposite signs", "largest difference a - b"]
    noisy = tests[tests["noise"] != "clean"] if len(tests) else tests
    counts, of = verdicts(noisy, ALPHA), of_table(tests)
    if counts.empty:
        return Table("", columns, ())
    clear = (counts["a_better"] - counts["b_better"]).abs()
    order = clear.sort_values(ascending=False, kind="stable").index
    rows = []
    for row in counts.loc[order].drop(columns="of").itertuples(index=False):
        group = noisy[(noisy["model_a"] == row.model_a) & (noisy["model_b"] == row.model_b)]
        most = group.loc[group["difference"].abs().idxmax()]
        names = ("noise", "mode", "mode_unit", "eps", "eps_unit")
        words = condition(*(most.get(name, "") for name in names))
        largest = f"{most['difference']:+{of.digits}} ({words}, n = {most['n']})"
        rows.append((*map(str, row), largest))
    note = (
        "McNemar's exact test on the same perturbed samples, Holm-adjusted over all tests of the "
        f"run, p < {ALPHA:g}. A condition counts as better if every pair of checkpoints says "
        f"so{drawn and ', in every draw'}. It compares these checkpoints, not ways of training."
    )
    caption = "Paired tests, one row per pair of models"
    return Table(caption, columns, rows, note=_said(of, note)[0])


def single_tests(tests: pd.DataFrame) -> Table:
    """Return the paired tests of the smallest adjusted p, one row per pair and condition."""
    columns = (
        "a; b; noise; eps; mode; n; a alone right; b alone right; difference a - b; p; p, Holm"
    )
    noisy = tests[tests["noise"] != "clean"] if len(tests) else tests
    if "noise_seed" in noisy:
        columns = columns.replace("; mode", "; mode; noise seed")
    if len(noisy):
        size = -noisy["difference"].abs()
        noisy = noisy.assign(size=size).sort_values(["p_holm", "p", "size"], kind="stable")
    caption = "Single tests, the smallest adjusted p first"
    return _table(caption, noisy, columns, cells=_TESTED).first(MOST_TESTS)


def condition(noise: str, mode: float, mode_unit: str, eps: float, eps_unit: str) -> str:
    """Return a condition in words."""
    if noise == "clean":
        return "clean"
    where = f", mode {mode:g} ({mode_unit})" if mode_unit else ""
    return f"{noise}{where}, eps {eps:g} {eps_unit}"
