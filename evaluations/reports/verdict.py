"""What a run found, in a few sentences, from its tables alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from robustssm.evaluations.reports.markdown import numbers
from robustssm.evaluations.reports.report_rows import at_mode, interval, noise_name, share
from robustssm.evaluations.results.paired_tests import verdicts
from robustssm.evaluations.results.summary import perturbed
from robustssm.evaluations.results.tables import ALPHA, Tables
from robustssm.evaluations.sweep.conditions import CONDITION

# Models of which every number is given; of more the lowest and the highest are named.
MOST_MODELS = 4
# Pairs of models, and conditions without a result, that are named.
_NAMED = 3
_UNKNOWN = "not known"
_TESTS = f"of this noise and eps (McNemar, Holm-adjusted, p < {ALPHA:g})"
_KEYS = [name for name in CONDITION if name != "mode"]

Key = tuple[Any, ...]


def verdict(plan: pd.DataFrame, tables: Tables) -> list[str]:
    """Return the verdict, a paragraph each: accuracies, paired tests, what is not there.

    It is of the first noise of the plan that has results, at the strongest of its eps that has
    (largest; of decibels smallest). plan: the run's, empty where it has none.
    """
    noisy = perturbed(tables.summary)
    if noisy.empty:
        return ["No perturbed condition has results yet."]
    planned = perturbed(plan) if len(plan) else noisy
    keys = [name for name in _KEYS if name in planned and name in noisy]
    ranked = _ranked(planned, keys)
    there = set(noisy[keys].itertuples(index=False, name=None))
    place = next((k for k, values in enumerate(ranked) if values in there), None)
    if place is None:
        return ["No condition of the plan has results yet."]
    chosen = dict(zip(keys, ranked[place], strict=True))
    wanted, known = _where(planned, chosen), _where(noisy, chosen)
    known = known[known["accuracy"].notna()]
    own = [values for values in ranked if _but_eps(keys, values) == _but_eps(keys, ranked[place])]
    rank = f" (the strongest of {len(own)})" * (len(own) > 1 and own[0] == ranked[place])
    return [
        _accuracies(chosen, rank, wanted, known, _where(tables.overview, chosen)),
        _comparison(tables, chosen, planned),
        *_gaps([dict(zip(keys, values, strict=True)) for values in ranked[:place]], wanted, known),
    ]


def _ranked(planned: pd.DataFrame, keys: Sequence[str]) -> list[Key]:
    """Return the conditions, modes apart: noises as planned, of each the strongest eps first."""
    found: list[Key] = []
    others = [name for name in keys if name != "eps"]
    for _, group in planned.groupby(others, sort=False, dropna=False):
        decibels = "eps_unit" in group and group["eps_unit"].iloc[0] == "snr-db"
        ordered = group.sort_values("eps", ascending=decibels, kind="stable")
        found += ordered[[*keys]].drop_duplicates().itertuples(index=False, name=None)
    return found


def _but_eps(keys: Sequence[str], values: Key) -> Key:
    return tuple(value for name, value in zip(keys, values, strict=True) if name != "eps")


def _where(frame: pd.DataFrame, chosen: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of a condition; a table that lacks one of its columns is taken without it."""
    there = pd.Series(True, index=frame.index)
    for name, value in chosen.items():
        if name in frame:
            there &= frame[name] == value
    return frame[there]


def _words(chosen: Mapping[str, Any]) -> str:
    """Return a condition in words, without its modes."""
    name = noise_name(str(chosen["noise"]), str(chosen.get("clip", "")))
    place = f" at {chosen['inject']}" if chosen.get("inject") else ""
    return f"{name}{place}, eps {chosen['eps']:g} {chosen['eps_unit']}"


def _accuracies(
    chosen: Mapping[str, Any],
    rank: str,
    wanted: pd.DataFrame,
    known: pd.DataFrame,
    overview: pd.DataFrame,
) -> str:
    """Return clean accuracy, mean over modes and worst mode of the models, n and seeds."""
    models = list(dict.fromkeys(map(str, wanted["model"])))
    modes = sorted(set(wanted["mode"]))
    unit = str(chosen.get("mode_unit", ""))
    over = f", {len(modes)} modes" if len(modes) > 1 else ""
    over = f", mode {at_mode(modes[0], unit)}" if unit and len(modes) == 1 else over
    rows = {str(row["model"]): row for row in overview.to_dict("records")}
    finished = {str(model): len(set(own["mode"])) for model, own in known.groupby("model")}
    said = {
        model: _model(model, rows[model], finished[model], len(modes))
        if finished.get(model) and model in rows
        else f"{model} {_UNKNOWN}"
        for model in models
    }
    means = {m: rows[m]["acc_mean_over_modes"] for m in models if m in finished and m in rows}
    body = "; ".join(said.values()) if len(models) <= MOST_MODELS else _extremes(said, means)
    return f"Accuracy under {_words(chosen)}{rank}{over}: {body}.{_samples(known, overview)}"


def _model(model: str, row: Mapping[str, Any], finished: int, planned: int) -> str:
    """Return the accuracies of a model: clean, mean over modes, worst mode with interval."""
    clean = share(row["clean_accuracy"]) if row["clean_accuracy"] == row["clean_accuracy"] else ""
    ends = interval(row["ci_low"], row["ci_high"]) if row["interval"] else "(no interval)"
    text = f"{model} {clean or _UNKNOWN} clean, {share(row['acc_mean_over_modes'])} "
    if planned == 1:
        return f"{text}{ends} perturbed"
    if finished == 1:
        # The interval of a cell without an accuracy would be of another choice.
        alone = ends if row["modes"] == 1 else "(no interval)"
        return f"{text}{alone} at the only finished mode"
    some = f"{finished} of the" if finished < planned else "the"
    worst = row["acc_worst_crossfit"]
    number = f"{share(worst)} {ends}" if worst == worst else _UNKNOWN
    return f"{text}in the mean over {some} modes, {number} at the worst mode, cross-fitted"


def _extremes(said: Mapping[str, str], means: Mapping[str, float]) -> str:
    """Return the models of the lowest and the highest mean, and how many are not known."""
    if not means:
        return f"{_UNKNOWN} of any of {len(said)} models"
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    if means[low] == means[high]:
        text = f"{share(means[low])} of each of {len(means)} models, such as {said[low]}"
    else:
        text = f"lowest of {len(means)} models: {said[low]}; highest: {said[high]}"
    gone = len(said) - len(means)
    return f"{text}; {_UNKNOWN} of {gone} more" if gone else text


def _samples(known: pd.DataFrame, overview: pd.DataFrame) -> str:
    """Return n, training seeds and the kind of interval, in a sentence; empty without results."""
    if known.empty:
        return ""
    count = sorted(set(known.groupby("model")["train_seed"].nunique()))
    kinds = [kind for kind in dict.fromkeys(overview["interval"]) if kind]
    over = dict.fromkeys("training seeds" if "seeds" in kind else "samples" for kind in kinds)
    brackets = f"; brackets: 95% intervals over {' or '.join(over)}" if over else ""
    return (
        f" n = {numbers(known['n'])} {'sample' if set(known['n']) == {1} else 'samples'}, "
        f"{numbers(count)} training {'seed' if count == [1] else 'seeds'}{brackets}."
    )


def _comparison(tables: Tables, chosen: Mapping[str, Any], planned: pd.DataFrame) -> str:
    """Return which models the paired tests of a condition tell apart, and in which direction."""
    models = list(dict.fromkeys(map(str, planned["model"])))
    if len(models) < 2:
        return "There is one model, and none to compare it with."
    if tables.stale:
        return "tests.csv is not there or behind the cells: no paired test is quoted."
    tests = _where(tables.tests, chosen)
    if tests.empty:
        return f"No paired test of {_words(chosen)} is there."
    found = verdicts(tests, ALPHA)
    whole = found[found["conditions"] > 0]
    if whole.empty:
        return f"No paired test {_TESTS} is complete over the training seeds."
    seeds = bool((found["pairs"] > 1).any())
    several = len(set(_where(planned, chosen)["mode"])) > 1
    apart = whole[whole["a_better"] + whole["b_better"] > 0]
    # Clear directions first.
    clear = (
        (apart["a_better"] - apart["b_better"]).abs().sort_values(ascending=False, kind="stable")
    )
    told = [_pair(row, several) for row in apart.loc[clear.index].itertuples()]
    total = len(models) * (len(models) - 1) // 2
    which = f"{models[0]} and {models[1]}" if total == 1 else f"any two of {len(models)} models"
    if told:
        more = f"; {len(told) - _NAMED} more pairs are told apart" if len(told) > _NAMED else ""
        every = ", where every pair of training seeds agrees" if seeds else ""
        text = f"Paired tests {_TESTS}{every}: {'; '.join(told[:_NAMED])}{more}."
        rest = len(whole) - len(told)
        text += f" {rest} of {total} pairs are not told apart." if rest else ""
    else:
        every = " in every pair of training seeds" if seeds else ""
        text = f"No paired test {_TESTS} tells {which} apart{every}."
    contrary = int(whole["opposite"].sum())
    if contrary:
        times = "1 comparison" if contrary == 1 else f"{contrary} comparisons"
        text += f" In {times} two pairs of training seeds contradict each other."
    gone = total - len(whole)
    return text + (f" {gone} of {total} pairs have no complete test." if gone else "")


def _pair(row: Any, several: bool) -> str:
    """Return which of two models is right more often; of several modes, at how many."""
    names, counts = [row.model_a, row.model_b], [row.a_better, row.b_better]
    if counts[1] > counts[0]:
        names, counts = names[::-1], counts[::-1]
    text = f"{names[0]} is right more often than {names[1]}"
    if several:
        text += f" at {counts[0]} of {row.conditions} tested modes"
        text += f", less often at {counts[1]}" if counts[1] else ""
    return text


def _gaps(
    without: Sequence[Mapping[str, Any]], wanted: pd.DataFrame, known: pd.DataFrame
) -> list[str]:
    """Return what of the plan has no accuracy, in sentences."""
    found = []
    if without:
        named = "; ".join(_words(chosen) for chosen in without[:_NAMED])
        more = f"; {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        found.append(f"Planned, and without any result: {named}{more}.")
    lacking = len(wanted) - len(known)
    if lacking:
        cells = "1 cell" if len(wanted) == 1 else f"{len(wanted)} cells"
        found.append(
            f"{lacking} of the {cells} of this condition {'has' if lacking == 1 else 'have'} no "
            "accuracy (not finished, or not known): the numbers are of the others."
        )
    return [" ".join(found)] if found else []
