"""The rows of the tables that a report of a run shows, as text, whatever it is written in."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from robustssm.attacks.adversaries.table import ADVERSARIES
from robustssm.attacks.families import FAMILIES
from robustssm.evaluations.exports.markdown import numbers
from robustssm.evaluations.inspection import Inspection
from robustssm.evaluations.reading import CONDITION
from robustssm.evaluations.results import ALPHA
from robustssm.evaluations.significance import verdicts

# Single tests that are listed, and failed cells; tests.csv and errors/ have all of them.
MOST_TESTS = 30
MOST_FAILURES = 200
DASH = "-"


@dataclass(frozen=True)
class Table:
    """A table of text. The first cell of a row names the row; rest: rows that are left out."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    rest: int = 0


def share(value: object) -> str:
    """Return a share to three digits; a dash where it is not known."""
    known = isinstance(value, float) and value == value
    return f"{value:.3f}" if known else DASH


def interval(low: float, high: float) -> str:
    """Return an interval of shares; a dash where there is none."""
    return f"[{share(low)}, {share(high)}]" if low == low and high == high else DASH


def at_mode(mode: float, unit: str) -> str:
    """Return a mode with its unit; a dash where the noise has none."""
    return f"{mode:g} ({unit})" if unit else DASH


def noise_name(noise: str, clip: str) -> str:
    """Return the name of a noise, with how it is clipped where it is."""
    return noise if clip in ("", "none") else f"{noise}, clip {clip}"


def noises(plan: pd.DataFrame) -> Table:
    """Return a row a noise of a plan: what it is, its place, modes, strengths and clipping."""
    keys = [name for name in CONDITION if name not in ("mode", "eps")]
    rows = []
    for values, group in plan[plan["noise"] != "clean"].groupby(keys, sort=False):
        noise, inject, unit, eps_unit, clip = map(str, values)
        name = str(group["perturbation"].iloc[0]).partition("(")[0]
        kind = FAMILIES.get(name) or ADVERSARIES.get(name)
        words = ((kind.__doc__ if kind else "") or "").partition("\n")[0].rstrip(".")
        modes = f"{numbers(group['mode'])} ({unit})" if unit else DASH
        strengths = f"{numbers(group['eps'])} {eps_unit}"
        rows.append((noise, words or name, inject, modes, strengths, clip))
    return Table("The noises", ("noise", "what it is", "at", "modes", "eps", "clip"), rows)


def overview(frame: pd.DataFrame) -> Table:
    """Return a row a model, noise and eps, of `metrics.overview`."""
    rows = [
        (
            *(str(row.model), noise_name(row.noise, row.clip), row.inject),
            *(f"{row.eps:g} {row.eps_unit}", str(row.seeds), str(row.n)),
            *(share(row.clean_accuracy), share(row.acc_mean_over_modes)),
            *(share(row.acc_worst_over_modes), at_mode(row.worst_mode, row.mode_unit)),
            share(row.acc_worst_crossfit),
            interval(row.ci_low, row.ci_high) if row.interval else DASH,
            str(row.interval) or DASH,
        )
        for row in frame.itertuples()
    ]
    columns = ["model", "noise", "at", "eps", "seeds", "n", "clean", "mean over modes"]
    columns += ["worst (naive)", "its mode", "worst, cross-fitted", "95 % interval", "interval of"]
    return Table("Accuracy over the modes, one row a model, noise and strength", columns, rows)


def points(curves: pd.DataFrame, most: int) -> Table:
    """Return the points of the curves, of `metrics.over_seeds`, the first `most` of them."""
    rows = [
        (
            *(str(row.model), noise_name(row.noise, row.clip), row.inject),
            *(f"{row.eps:g} {row.eps_unit}", at_mode(row.mode, row.mode_unit)),
            *(share(row.accuracy), interval(row.ci_low, row.ci_high)),
            *(str(row.interval) or DASH, str(row.n), str(row.seeds)),
        )
        for row in curves.head(most).itertuples()
    ]
    columns = ("model", "noise", "at", "eps", "mode", "accuracy", "95 % interval", "interval of")
    rest = len(curves) - len(rows)
    return Table("The points of the curves", (*columns, "n", "seeds"), rows, rest)


def pairs(tests: pd.DataFrame) -> Table:
    """Return a row a pair of models: at how many conditions the paired tests tell them apart."""
    columns = ["a", "b", "pairs of checkpoints", "conditions", "a better", "b better"]
    columns += ["opposite signs"]
    if tests.empty:
        return Table("", columns, ())
    found = verdicts(tests, ALPHA)
    rows = [tuple(map(str, row)) for row in found.itertuples(index=False)]
    return Table("Paired tests, one row a pair of models", columns, rows)


def single_tests(tests: pd.DataFrame) -> Table:
    """Return the paired tests of the smallest adjusted p, a row a pair and condition."""
    columns = ["a", "b", "noise", "eps", "mode", "n", "a alone right", "b alone right"]
    columns += ["difference a - b", "p", "p, Holm"]
    noisy = tests[tests["noise"] != "clean"] if len(tests) else tests
    if noisy.empty:
        return Table("", columns, ())
    size = noisy["difference"].abs()
    order = noisy.assign(size=-size).sort_values(["p_holm", "p", "size"], kind="stable")
    rows = [
        (
            *(f"{row.model_a}/{row.seed_a}", f"{row.model_b}/{row.seed_b}"),
            *(str(row.noise), f"{row.eps:g}", at_mode(row.mode, row.mode_unit), str(row.n)),
            *(str(row.a_only), str(row.b_only), f"{row.difference:+.3f}"),
            *(f"{row.p:.3g}", f"{row.p_holm:.3g}"),
        )
        for row in order.head(MOST_TESTS).itertuples()
    ]
    caption = "Single tests, the smallest adjusted p first"
    return Table(caption, columns, rows, len(noisy) - len(rows))


def failures(state: Inspection) -> Table:
    """Return a row a failed cell and model, with the first line of its error."""
    columns = ("model", "condition", "first line of the error", "cell")
    if not state.failed:
        return Table("", columns, ())
    plan = state.run.plan()
    gone = plan[plan["cell"].isin(state.failed.keys())]
    rows = [
        (
            f"{row.model}/{row.train_seed}",
            condition(row.noise, row.mode, row.mode_unit, row.eps, row.eps_unit),
            state.failed[row.cell].line,
            str(row.cell),
        )
        for row in gone.head(MOST_FAILURES).itertuples()
    ]
    return Table("Failed cells", columns, rows, len(gone) - len(rows))


def condition(noise: str, mode: float, mode_unit: str, eps: float, eps_unit: str) -> str:
    """Return a condition in words."""
    if noise == "clean":
        return "clean"
    where = f", mode {mode:g} ({mode_unit})" if mode_unit else ""
    return f"{noise}{where}, eps {eps:g} {eps_unit}"
