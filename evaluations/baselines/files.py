"""A baseline as a file: JSON that a person can read and a diff can show.

One line per condition and one a condition's outcome, keys sorted, nothing that changes from one
writing to the next. Which samples are right is packed eight to a byte, as hexadecimal digits; of
values the samples' squared errors are numbers.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robustssm.errors import RejectedInputError, RobustssmError, UsageError
from robustssm.evaluations.baselines.baseline import (
    Baseline,
    Data,
    Member,
)
from robustssm.evaluations.sweep.condition_names import CLEAN
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.plan import SCHEMA
from robustssm.plain_text import visible
from robustssm.storage.json_files import read_written
from robustssm.storage.writing import write_atomically
from robustssm.targets import CLASSES, KINDS
from robustssm.typing import Array

FORMAT = "robustssm-baseline-1"
# Characters of a reason that a message shows.
_SHOWN = 300


def to_text(baseline: Baseline) -> str:
    """Return a baseline as JSON; equal baselines give equal text."""
    data = baseline.data
    content = {
        "format": FORMAT,
        "data": {
            "task": data.task,
            "sha256": data.task_hash,
            "samples": data.samples,
            "limit": data.limit,
            "chance": data.chance,
            **({"target": data.target} if data.target else {}),
        },
        "noise_seed": data.seed,
        "device": data.device,
        "cell_schema": data.cells,
        "versions": data.versions,
        "conditions": [{"id": key, **_parts(c)} for key, c in baseline.conditions.items()],
        "models": [_model(member) for member in baseline.members],
    }
    return dump(content) + "\n"


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline, beside its name first; OSError if that cannot be."""
    write_atomically(path, to_text(baseline).encode())


def read_baseline(path: Path) -> Baseline:
    """Return the baseline in a file.

    Raises UsageError if there is none, RejectedInputError if the file is no baseline, is
    damaged (counts that are not those of the samples), or from a version whose rows mean other
    things.
    """
    content = read_written(path, "baseline", "baseline")
    if content.get("format") != FORMAT:
        raise RejectedInputError(
            f"baseline {path}: is no {FORMAT}; make it again by robustssm baseline"
        )
    if (schema := content.get("cell_schema")) != SCHEMA:
        raise RejectedInputError(
            f"baseline {path}: its rows are of schema {schema!r:.20}, this version has "
            f"{SCHEMA}; sweep again, then make it again by robustssm baseline"
        )
    try:
        return _baseline(content)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        said = visible(str(error) if isinstance(error, RobustssmError) else repr(error))
        reason = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
        raise RejectedInputError(
            f"baseline {path}: is damaged ({reason}); make it again by robustssm baseline"
        ) from None


def _baseline(content: dict[str, Any]) -> Baseline:
    facts = content["data"]
    data = Data(
        task=str(facts["task"]),
        task_hash=str(facts["sha256"]),
        samples=int(facts["samples"]),
        limit=None if facts["limit"] is None else int(facts["limit"]),
        chance=float(facts["chance"]),
        seed=int(content["noise_seed"]),
        device=str(content["device"]),
        cells=int(content["cell_schema"]),
        versions=dict(content["versions"]),
        target=KINDS[facts.get("target", CLASSES.name)].name,
    )
    conditions = {}
    for entry in content["conditions"]:
        known, condition = entry["id"], _condition(entry)
        if condition.id != known:
            raise UsageError(f"condition {known!r} is {condition.id!r}")
        conditions[known] = condition
    if not content["models"]:
        raise UsageError("holds no model")
    return Baseline(
        data, conditions, tuple(_member(m, data, conditions) for m in content["models"])
    )


def _member(content: dict[str, Any], data: Data, conditions: dict[str, Condition]) -> Member:
    name = f"{content['model']}/{content['train_seed']}"
    outcomes = {entry["condition"]: entry for entry in content["outcomes"]}
    rights: dict[str, Array] = {}
    for known, entry in outcomes.items():
        if known != CLEAN and known not in conditions:
            raise UsageError(f"{name}: condition {known!r} is not listed")
        if data.target:
            rights[known] = -np.array(entry["errors"], np.float64).reshape(data.samples)
            if not (np.isfinite(rights[known]) & (rights[known] <= 0.0)).all():
                raise UsageError(f"{name}, {known}: errors are below 0 or not finite")
            continue
        rights[known] = unpack(entry["correct"], data.samples)
        if int(rights[known].sum()) != entry["right"]:
            raise UsageError(f"{name}, {known}: {entry['right']} right, others in its samples")
    ids = tuple(known for known in conditions if known in outcomes)
    shape = (len(ids), data.samples)
    correct = np.array([rights[k] for k in ids], dtype=rights[CLEAN].dtype).reshape(shape)
    return Member(
        str(content["model"]), int(content["train_seed"]), str(content["checkpoint"]), ids,
        rights[CLEAN], correct,
    )  # fmt: skip


def _parts(condition: Condition) -> dict[str, Any]:
    """Return what a file says of a condition; JSON has no infinities, so an open end is absent."""
    row, budget = condition.to_row(), condition.budget
    ends = {"low": budget.low, "high": budget.high}
    row["unit"] = row.pop("eps_unit")
    del row["clip"]
    return {
        **row,
        **({"clip": budget.clip} if budget.clip != "none" else {}),
        **{name: value for name, value in ends.items() if math.isfinite(value)},
    }


def _condition(entry: dict[str, Any]) -> Condition:
    ends = (float(entry.get("low", -math.inf)), float(entry.get("high", math.inf)))
    clip = str(entry.get("clip", "none"))
    text = clip if clip == "none" else f"{clip} {ends[0]!r}..{ends[1]!r}"
    return Condition.from_row({**entry, "eps_unit": entry["unit"], "clip": text})


def _model(member: Member) -> dict[str, Any]:
    rows = [(CLEAN, member.clean), *zip(member.ids, member.correct, strict=True)]
    return {
        "model": member.model,
        "train_seed": member.train_seed,
        "checkpoint": member.checkpoint,
        "outcomes": [{"condition": known, **_outcome(right)} for known, right in rows],
    }


def _outcome(right: Array) -> dict[str, Any]:
    if right.dtype != np.bool_:
        return {"mse": float(f"{-right.mean():.4g}"), "errors": (-right).tolist()}
    return {
        "accuracy": round(float(right.mean()), 4),
        "right": int(right.sum()),
        "correct": np.packbits(right).tobytes().hex(),
    }


def unpack(text: str, samples: int) -> npt.NDArray[np.bool_]:
    """Return which samples are right, (samples,), from hexadecimal digits; ValueError if wrong."""
    packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    if len(packed) != -(-samples // 8):
        raise UsageError(f"{8 * len(packed)} bits for {samples} samples")
    return np.unpackbits(packed, count=samples).astype(np.bool_)


def dump(value: Any, depth: int = 0) -> str:
    """Return JSON, sorted, with everything that holds no further lists or tables on one line."""
    items = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(i, dict | list) for i in items):
        return json.dumps(value, sort_keys=True, allow_nan=False)
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {dump(value[key], depth + 1)}" for key in sorted(value)]
    else:
        lines = [dump(item, depth + 1) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{pad}" + f",\n{pad}".join(lines) + f"\n{' ' * depth}{closing}"
