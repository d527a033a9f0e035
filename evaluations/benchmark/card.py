"""The card of a model under a suite: counts of each cell, and the scores that follow from them.

The corruption error of a family is the sum over severities of a model's errors, over that of the
reference's; mCE is its mean over families. The relative ones take errors less the clean error.

Reference: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations (arXiv 1903.12261), section 4.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustssm.evaluations.baselines.files import dump, unpack
from robustssm.evaluations.benchmark.suite import MODEL, REFERENCE, SEVERITIES, Bench
from robustssm.evaluations.reports.markdown import markdown_table
from robustssm.evaluations.statistics.bootstrap import paired_bootstrap
from robustssm.evaluations.sweep.condition_names import CLEAN
from robustssm.evaluations.sweep.plan import SCHEMA, Cell
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.execution import versions
from robustssm.plain_text import markdown
from robustssm.typing import FloatArray

FORMAT = "robustssm-card-1"
ALL = "all"
ERROR, CE, RELATIVE = "error", "corruption error", "relative corruption error"
# Decimals of a score, and digits of the digest of a cell's predictions.
_DECIMALS, _DIGITS = 6, 16

# What a card says of its cells, by model and condition.
Outcomes = dict[str, dict[str, dict[str, Any]]]


def outcome(run: RunDirectory, cell: Cell) -> dict[str, Any]:
    """Return what a card says of a cell that a run holds."""
    found, rows = run.digest(cell.id), run.arrays(cell.id, ["prediction"])
    predictions = hashlib.sha256(rows["prediction"].astype("<i8").tobytes()).hexdigest()[:_DIGITS]
    return {"cell": cell.id, "right": found.right, "correct": found.bits.hex(),
            "predictions": predictions}  # fmt: skip


def facts(bench: Bench) -> dict[str, Any]:
    """Return what a card says before its numbers: what was measured, on what, by which versions."""
    plan, suite = bench.plan, bench.suite
    hashes = (model.content_hash for model in plan.models)
    return {
        "format": FORMAT,
        "suite": suite.version,
        "suite_sha256": suite.sha256,
        "task": re.sub("[^:=,]*/", "", plan.task.spec),  # files without their folders
        "data_sha256": plan.task.content_hash,
        "samples": plan.samples,
        "of": len(plan.task.splits["test"]),
        "limit": plan.limit,
        "names": bench.names,
        "weights": dict(zip(bench.cells, hashes, strict=True)),
        "device": plan.cells[0].device,
        "cell_schema": SCHEMA,
        "software": versions(),
        "left_out": bench.left_out,
    }


def card(bench: Bench, known: Mapping[str, Any], outcomes: Outcomes) -> dict[str, Any]:
    """Return the whole card from its facts and the outcomes of its cells."""
    conditions = {
        name: {"group": bench.suite.groups[cell.condition.noise], **cell.condition.to_row()}
        for name, cell in bench.cells[MODEL].items()
        if cell.condition
    }
    content = {**known, "conditions": conditions, "cells": outcomes}
    content["scores"] = scores(bench, outcomes)
    return {**content, "digest": hashlib.sha256(dump(content).encode()).hexdigest()}


def scores(bench: Bench, outcomes: Outcomes) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return value, low and high of each score, by kind, then by family or group of families.

    Intervals are those of a paired bootstrap over samples, of these checkpoints; null where they
    have no width, or an end is infinite. A family in which the reference errs too little has
    no ratio, and no part in a mean of ratios; a group of which a family was left out has no score.
    """
    every = [outcomes[role][name]["correct"] for role, of in bench.cells.items() for name in of]
    correct = np.stack([unpack(bits, bench.plan.samples) for bits in every])
    families = [family for family in bench.suite.families if family not in bench.left_out]
    groups = {family: {family} for family in families} | {ALL: {*bench.suite.families}}
    for family, group in bench.suite.groups.items():
        groups.setdefault(group, set()).add(family)

    def errors(accuracy: FloatArray) -> FloatArray:
        """Return mean errors, then those less the clean one: (..., 2, models, families)."""
        each = 1.0 - accuracy.reshape(*accuracy.shape[:-1], len(bench.cells), -1)
        shape = (*each.shape[:-1], len(families), SEVERITIES)
        mean = each[..., 1:].reshape(shape).mean(-1)
        return np.stack([mean, mean - each[..., :1]], axis=-3)

    usable = np.insert(errors(correct.mean(1))[:, -1] >= bench.suite.least, 0, True, axis=0)
    kinds = (ERROR, CE, RELATIVE) if REFERENCE in bench.cells else (ERROR,)
    places = {
        (kind, name): [k for k, family in enumerate(families) if family in of and usable[row, k]]
        for row, kind in enumerate(kinds)
        for name, of in groups.items()
        if not of & bench.left_out.keys()
    }
    places = {key: place for key, place in places.items() if place}

    def quantities(accuracy: FloatArray) -> FloatArray:
        mean = errors(accuracy)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = mean[..., 0, :] / mean[..., -1, :]
        of = {ERROR: mean[..., 0, 0, :], CE: ratios[..., 0, :], RELATIVE: ratios[..., 1, :]}
        parts = [of[kind][..., place].mean(-1) for (kind, _), place in places.items()]
        return np.stack([1.0 - accuracy[..., 0], *parts], axis=-1)

    found = paired_bootstrap(correct, quantities)
    ends = np.where(found.low == found.high, np.nan, [found.low, found.high])
    made: dict[str, dict[str, dict[str, float | None]]] = {kind: {} for kind in kinds}
    for k, (kind, name) in enumerate([(ERROR, CLEAN), *places]):
        values = (found.value[k], *ends[:, k])
        rounded = (round(float(x), _DECIMALS) if np.isfinite(x) else None for x in values)
        made[kind][name] = dict(zip(("value", "low", "high"), rounded, strict=True))
    return made


def table(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the scores of a card as a reader sees them, groups of families first."""
    scores, conditions = content["scores"], content["conditions"]
    groups = (ALL, *(condition["group"] for condition in conditions.values()))
    by_severity: dict[str, list[str]] = {of: [] for of in groups}
    for key, condition in conditions.items():
        error = 1 - content["cells"][MODEL][key]["right"] / content["samples"]
        by_severity.setdefault(condition["noise"], []).append(f"{error:.3f}")
    return [
        {"of": of, **{kind: shown(scores[kind].get(of)) for kind in scores}}
        | {"errors by severity": " ".join(errors)}
        for of, errors in by_severity.items()
    ]


def shown(score: Mapping[str, float | None] | None) -> str:
    """Return a score with its interval; a dash where there is none."""
    if score is None:
        return "-"
    low, high = score["low"], score["high"]
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{score['value']:.3f}{interval}"


def page(content: Mapping[str, Any]) -> str:
    """Return a card as Markdown."""
    texts = {key: markdown(str(value)) for key, value in content.items()}
    for key in ("weights", "software"):
        texts[key] = markdown(", ".join(f"{name} {of}" for name, of in content[key].items()))
    lines = (f"- {markdown(f'{name}: {why}')}" for name, why in content["left_out"].items())
    texts["left_out"] = "\n".join(lines) or "Nothing."
    texts["model"], rows = markdown(content["names"][MODEL]), table(content)
    texts["reference"] = markdown(content["names"].get(REFERENCE, "none, so errors are absolute"))
    texts["clean"] = shown(content["scores"][ERROR][CLEAN])
    texts["table"] = markdown_table([*rows[0]], [[*row.values()] for row in rows])
    return (Path(__file__).parent / "page.md").read_text().format(**texts)
