"""Arguments as notebooks have them, made into what is used inside."""

import operator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import Task
from robustssm.tasks.arrays import NAMES, task_of
from robustssm.tasks.reading import Array, Source

# Where arrays are that come from no file.
MEMORY = Path("in memory")


def wrong(what: str, given: object, expected: str) -> UsageError:
    """Return the refusal of an argument, in one line."""
    return UsageError(f"{what}: got {' '.join(repr(given).split()):.60}, expected {expected}")


def listed(given: Any) -> list[Any]:
    """Return the entries of a list, a tuple or an array; anything else is one entry."""
    if isinstance(given, str | PathLike | nn.Module):
        return [given]
    try:
        return list(given)
    except TypeError:
        return [given]


def words(what: str, given: object) -> tuple[str, ...]:
    """Return texts: those in a text with commas, or a list of them; else UsageError."""
    parts = given.split(",") if isinstance(given, str) else listed(given)
    if not parts or not all(isinstance(part, str) for part in parts):
        raise wrong(what, given, "a text or a list of texts")
    return tuple(parts)


def numbers(what: str, given: object, count: int | None = None) -> tuple[float, ...]:
    """Return numbers, one or as many as there are, or `count`; else UsageError."""
    try:
        values = tuple(float(value) for value in listed(given))
    except (TypeError, ValueError):
        values = ()
    if not values or isinstance(given, str) or count not in (None, len(values)):
        raise wrong(what, given, "a number" if count == 1 else "numbers")
    return values


def whole(what: str, given: Any, least: int = 1) -> int:
    """Return a whole number, `least` or more; else UsageError."""
    try:
        value = operator.index(given)
    except TypeError:
        value = least - 1
    if value < least or isinstance(given, bool):
        raise wrong(what, given, f"a whole number, {least} or more")
    return value


def array_of(what: str, given: Any, kinds: str = "fiu") -> Array:
    """Return an array of its own, in the machine's byte order; RejectedInputError if it is none."""
    try:
        if isinstance(given, torch.Tensor):
            given = given.detach().cpu()
            given = (given.float() if given.dtype == torch.bfloat16 else given).numpy()
        values = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # ragged, or no array at all
        values = np.empty(0, object)
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind not in kinds:
        raise RejectedInputError(str(wrong(what, given, "an array of numbers")))
    return np.array(values, f"{kind}{min(8, max(4, size))}" if kind in "fiu" else values.dtype)


def samples(source: Source, inputs: Any, spec: str = "", **others: Any) -> Task:
    """Return arrays in memory as the task of a file that holds them; RejectedInputError as there.

    others: further arrays by their names there; None is none. Without labels all are 0.
    """
    content = {"inputs": inputs, **{k: v for k, v in others.items() if v is not None}}
    unknown = [name for name in content if name not in NAMES]
    if unknown:
        raise wrong(source.who, unknown[0], f"{', '.join(NAMES[:-1])} or {NAMES[-1]}")
    arrays = {k: array_of(f"{source.who}: {k}", v, "fiuU") for k, v in content.items()}
    count = len(np.atleast_1d(arrays["inputs"]))
    return task_of(source, {"labels": np.zeros(count, np.int64), **arrays}, spec)
