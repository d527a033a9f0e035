"""A card held to its model: what follows from its cells made again, some of them computed anew."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError
from robustssm.evaluations.baselines.files import unpack
from robustssm.evaluations.benchmark.card import Outcomes, card, facts, outcome
from robustssm.evaluations.benchmark.suite import REFERENCE, Bench, plan_suite, read_suite
from robustssm.evaluations.sweep.plan import Cell
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.philox import uniform
from robustssm.plain_text import visible
from robustssm.storage.json_files import TEXT, WHOLE, checked, or_none, table_all
from robustssm.tasks import recorded_task

# What a card has to hold before the rest of it can be compared, and each cell of it.
FORMS = {
    **dict.fromkeys(("suite", "task", "device"), TEXT),
    **dict.fromkeys(("names", "software"), table_all(TEXT)),
    "limit": or_none(WHOLE),
    "cells": table_all(table_all()),
}
_OUTCOME = dict.fromkeys(("correct", "predictions"), TEXT)
# Characters of a value in a message.
_SHOWN = 40


def plan_card(
    content: Mapping[str, Any],
    model: ModelRef,
    reference: ModelRef | None = None,
    task: str | None = None,
) -> Bench:
    """Return the plan of a card; UsageError for what has to be named.

    task: the data, unless they are generated. reference: unless it is bundled.
    """
    data = task or recorded_task(content["task"], "card")
    how = {key: content[key] for key in ("limit", "device")}
    bench = plan_suite(read_suite(content["suite"]), model, reference, data, **how)
    if (over := content["names"].get(REFERENCE)) and REFERENCE not in bench.cells:
        raise UsageError(f"card: its ratios are over {over}; name that model by --reference")
    return bench


def contradiction(content: Mapping[str, Any], bench: Bench) -> str:
    """Return the first thing on a card that its plan or its own cells contradict, or nothing."""
    known = facts(bench) | {key: content[key] for key in ("names", "software", "task")}
    if found := difference({key: content[key] for key in known if key in content}, known):
        return found
    outcomes: Outcomes = {}
    for role, planned in bench.cells.items():
        for name, cell in planned.items():
            try:
                said = checked(content["cells"][role][name], _OUTCOME, {*_OUTCOME})
                correct = unpack(said["correct"], bench.plan.samples)
            except (KeyError, ValueError) as error:
                return f"cells.{role}.{name} is damaged ({visible(str(error))[:200]})"
            again = {"cell": cell.id, "right": int(correct.sum())}
            again |= {key: said[key] for key in _OUTCOME}
            outcomes.setdefault(role, {})[name] = again
    return difference(content, card(bench, known, outcomes))


def difference(said: Any, again: Any, where: str = "") -> str:
    """Return the first place where a card is not what it has to be, in words; else nothing."""
    if isinstance(said, dict) and isinstance(again, dict):
        for key in {**again, **said}:
            place = f"{where}.{key}" if where else key
            if key not in said or key not in again:
                lacks = "is missing" if key not in said else "does not belong there"
                return f"{visible(place[:100])} {lacks}"
            if found := difference(said[key], again[key], place):
                return found
        return ""
    if type(said) is type(again) and said == again:
        return ""
    return f"{where} is {_shown(said)} on the card, expected {_shown(again)}"


def _shown(value: object) -> str:
    text = "a table" if isinstance(value, dict | list) else visible(str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def drawn(bench: Bench, key: str, fraction: float) -> list[tuple[str, str, Cell]]:
    """Return a share of the cells, one at least, drawn by a key; one of each family before others.

    Whoever makes a card knows its digest: a key of one's own draws cells that nobody foresaw.
    """
    every = [(role, *one) for role, of in bench.cells.items() for one in of.items()]
    order = np.argsort(uniform(f"card|{key}", np.arange(len(every)), 1)[:, 0], kind="stable")
    families = [every[k][1].partition(" ")[0] for k in order]
    later = np.array([family in families[:k] for k, family in enumerate(families)])
    ranked = [every[k] for k in order[np.argsort(later, kind="stable")]]
    return ranked[: max(1, math.ceil(fraction * len(every)))]


def altered(
    content: dict[str, Any], run: RunDirectory, places: Sequence[tuple[str, str, Cell]], most: int
) -> str:
    """Return the first cell that is not on the card as a run computed it, in words; else nothing.

    most: samples of a cell that may have another outcome, as on another kind of processor.
    """
    for role, name, cell in places:
        said, again = content["cells"][role][name], outcome(run, cell)
        flipped = int(said["correct"], 16) ^ int(again["correct"], 16)
        if flipped.bit_count() > most or not (most or said == again):
            return difference(said, again, f"cells.{role}.{name}")
    return ""
