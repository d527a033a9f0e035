"""What a run found where its models differ most, from its tables alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from robustssm.evaluations.reports.parts import Part
from robustssm.evaluations.reports.report_facts import no_pairs
from robustssm.evaluations.reports.report_rows import (
    DASH,
    interval,
    noise_name,
    numbers,
    overview,
    pairs,
    share,
)
from robustssm.evaluations.results.paired_tests import verdicts
from robustssm.evaluations.results.summary import perturbed
from robustssm.evaluations.results.tables import ALPHA, Tables
from robustssm.evaluations.sweep.condition_names import NOISE
from robustssm.targets import of_table

# Rows of each table: half a page at most, however many models.
MOST_ROWS = 6
# Conditions without a result that are named.
_NAMED = 3
_ACCURACIES = ("model", "seeds", "n", "modes", "clean", "mean over modes", "worst, cross-fitted",
               "95% interval", "interval of")  # fmt: skip
_PAIRS = ("a", "b", "conditions", "a better", "b better", "opposite signs")


def verdict(plan: pd.DataFrame, tables: Tables) -> list[Part]:
    """Return the verdict: who is better, accuracies, paired tests, and what has no result.

    It is of the first noise of the plan that has results, at the eps at which the models differ
    most at their worst modes; of one model, or where all are alike, at the strongest that has
    results (largest; of decibels smallest). plan: the run's, empty if it has none.
    """
    noisy = perturbed(tables.summary)
    if noisy.empty:
        return ["No perturbed condition has results yet."]
    planned = perturbed(plan) if len(plan) else noisy
    keys = [name for name in NOISE if name in planned and name in noisy]
    without: list[dict[str, Any]] = []
    for values, group in planned.groupby(keys, sort=False, dropna=False):
        noise = dict(zip(keys, values, strict=True))
        decibels = noise.get("eps_unit") == "snr-db"
        strengths = [
            noise | {"eps": eps} for eps in sorted(set(group["eps"]), reverse=not decibels)
        ]
        found = [chosen for chosen in strengths if len(_rows_of(noisy, chosen))]
        without += [chosen for chosen in strengths if chosen not in found]
        if not found:
            continue
        # Of equal spreads the first, that of the strongest.
        chosen = max(found, key=lambda one: _spread(_rows_of(tables.overview, one)))
        several = chosen == strengths[0] and len(strengths) > 1
        wanted, unit = _rows_of(planned, chosen), chosen.get("mode_unit")
        words = f" (the strongest of {len(strengths)})" if several else ""
        modes = f", modes {numbers(wanted['mode'])} ({unit})" if unit else ""
        accuracies = _rows_of(tables.overview, chosen)
        of = of_table(accuracies)
        rows = of.sign * accuracies[of.mean]
        accuracies = accuracies.iloc[rows.reset_index(drop=True).sort_values(kind="stable").index]
        known = _rows_of(noisy, chosen)
        return [
            *_answer(accuracies, tables, chosen),
            f"{of.words[0].upper()}{of.words[1:]} under {_words(chosen)}{words}{modes}, the "
            f"{'lowest' if of.sign > 0 else 'largest'} first:",
            overview(accuracies).only(_ACCURACIES).first(MOST_ROWS),
            *_paired(tables, chosen, planned),
            *_gaps(without, wanted, known[known[of.score].notna()]),
        ]
    return ["No condition of the plan has results yet."]


def _spread(accuracies: pd.DataFrame) -> float:
    """Return the range over models of the accuracy at the worst mode; 0 of one, or if unknown."""
    worst = accuracies[of_table(accuracies).crossfit].dropna()
    return round(float(worst.max() - worst.min()), 9) if len(worst) else 0.0


def _answer(accuracies: pd.DataFrame, tables: Tables, chosen: Mapping[str, Any]) -> list[Part]:
    """Return what the best and the worst model keep, and who wins; nothing if all keep as much."""
    of = of_table(accuracies)
    known = accuracies.dropna(subset=[of.crossfit]).sort_values(of.crossfit, ascending=of.sign > 0)
    if _spread(known) == 0.0:
        return []
    low, high = known.iloc[0], known.iloc[-1]
    verb = "keeps" if of.sign > 0 else f"has {of.words}"
    place = "at the worst mode" if low["modes"] > 1 else "there"

    def kept(row: pd.Series) -> str:
        ends = interval(row["ci_low"], row["ci_high"], of.digits)
        clean = f" (clean {share(row[of.clean], of.digits)})"
        return f"{share(row[of.crossfit], of.digits)} {'' if ends == DASH else ends}{clean}"

    lines = [
        f"The models differ most at eps {chosen['eps']:g} {chosen['eps_unit']}: {place} "
        f"{high['model']} {verb} {kept(high)}, {low['model']} {kept(low)}."
    ]
    tests = _rows_of(tables.tests, chosen)
    pair = {high["model"], low["model"]}
    if len(tests):
        tests = tests[tests["model_a"].isin(pair) & tests["model_b"].isin(pair)]
        for row in verdicts(tests, ALPHA).itertuples():
            ends = {row.model_a: row.a_better, row.model_b: row.b_better}
            lines.append(
                f"Paired tests: of {row.conditions} conditions {high['model']} is better at "
                f"{ends[high['model']]}, {low['model']} at {ends[low['model']]}."
            )
    return [" ".join(lines)]


def _rows_of(frame: pd.DataFrame, chosen: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of a condition; a table that lacks one of its columns is taken without it."""
    same = pd.Series(True, index=frame.index)
    for name, value in chosen.items():
        if name in frame:
            same &= frame[name] == value
    return frame[same]


def _words(chosen: Mapping[str, Any]) -> str:
    name = noise_name(str(chosen["noise"]), str(chosen.get("clip", "")))
    place = f" at {chosen['inject']}" if chosen.get("inject") else ""
    return f"{name}{place}, eps {chosen['eps']:g} {chosen['eps_unit']}"


def _paired(tables: Tables, chosen: Mapping[str, Any], planned: pd.DataFrame) -> list[Part]:
    if why := no_pairs(planned, tables):
        return [why]
    table = pairs(_rows_of(tables.tests, chosen))
    if not table.rows:
        return [f"No paired test of {_words(chosen)} has a result."]
    return [table.only(_PAIRS).first(MOST_ROWS)]


def _gaps(
    without: Sequence[Mapping[str, Any]], wanted: pd.DataFrame, known: pd.DataFrame
) -> list[Part]:
    lines = []
    if without:
        named = "; ".join(_words(chosen) for chosen in without[:_NAMED])
        more = f"; {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        lines.append(f"Planned, and without any result: {named}{more}.")
    lacking = len(wanted) - len(known)
    if lacking:
        models = dict.fromkeys(wanted["model"][~wanted["model"].isin(known["model"])])
        names = f" (of {', '.join(models)} all of them)" if models else ""
        cells = "1 cell" if len(wanted) == 1 else f"{len(wanted)} cells"
        lines.append(
            f"{lacking} of the {cells} of this condition {'has' if lacking == 1 else 'have'} no "
            f"{of_table(known).words}{names}: the numbers are of the others."
        )
    return [" ".join(lines)] if lines else []
