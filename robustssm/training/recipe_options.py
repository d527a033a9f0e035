"""What a training is made with: the command line before a recipe, a recipe before the defaults."""

import inspect
import math
from collections.abc import Collection, Mapping
from typing import Any

from robustssm.errors import UsageError
from robustssm.tasks import load_task
from robustssm.tasks.registry import FILE, TASKS, maker
from robustssm.training.recipe_files import FOLDER, Recipe

# Values that a scale multiplies, at least 1.
_SCALED = ("d_model", "epochs")


def resolve(
    init: str,
    task: str,
    options: Mapping[str, Any],
    given: Collection[str],
    recipe: Recipe | None = None,
    scale: float = 1.0,
) -> tuple[str, dict[str, Any]]:
    """Return the task and the settings by key that a training is made with.

    options: values of KEYS without warmup_epochs; given: those of them, or `task`, that were asked
    for, which stand before the recipe's and are not scaled. scale multiplies d_model, epochs and
    the training samples, and the warm-up as many times as it shortens the run, so that it keeps its
    share of it. Raises UsageError.
    """
    values = dict(options)
    samples = None
    if recipe is not None:
        published = recipe.settings(init).values
        values |= {key: value for key, value in published.items() if key not in given}
        if "warmup_steps" in given:
            values.pop("warmup_epochs", None)
        samples = recipe.samples
        if "task" not in given:
            task = recipe.task
            if recipe.needs_files:
                raise UsageError(
                    f"recipe {recipe.name}: its task needs files, give --data {task}, {FOLDER} the "
                    "folder that holds them"
                )
        elif task.partition(":")[0] != recipe.task.partition(":")[0]:
            samples = None
    epochs, share = values["epochs"], 1.0
    if scale != 1.0:
        task, share = scaled_task(task, scale, samples, "task" in given)
        for key in _SCALED:
            if key not in given:
                values[key] = max(1, round(scale * values[key]))
    return task, _warmed(values, task, "warmup_steps" in given, scale, epochs, share)


def _warmed(
    values: dict[str, Any], task: str, given: bool, scale: float, epochs: int, share: float
) -> dict[str, Any]:
    """Return the values with the warm-up in steps; epochs and share of samples: before, kept."""
    counted = values.pop("warmup_epochs", 0.0)
    if given or not (counted or values["warmup_steps"]):
        return values
    batches = math.ceil(len(load_task(task).splits["train"]) / values["batch_size"])
    kept = values["epochs"] / epochs
    steps = counted * batches * kept if counted else values["warmup_steps"] * kept * share
    if scale != 1.0:
        steps = min(max(1, round(steps)), values["epochs"] * batches - 1)
    return {**values, "warmup_steps": round(steps)}


def scaled_task(
    spec: str, scale: float, samples: int | None = None, as_given: bool = False
) -> tuple[str, float]:
    """Return a task with a share of its training samples, and that share.

    Of a generated task `train` is multiplied. Of a task that reads files it is `limit`, which cuts
    validation and test samples as well; without a limit, `samples` says how many there are. Any
    other task stays as it is, and one that says its size itself where it stands `as_given`.
    """
    name, *settings = spec.strip().split(":")
    if name == FILE or name not in TASKS:
        return spec, 1.0
    allowed = inspect.signature(maker(name)).parameters
    values = dict(setting.partition("=")[::2] for setting in settings)
    key = "train" if "train" in allowed else "limit" if "limit" in allowed else ""
    if not key or (as_given and key in values):
        return spec, 1.0
    text = values.get(key, str(allowed[key].default))
    size = int(text) if text.isascii() and text.isdecimal() else 0
    size = size or (samples or 0 if key == "limit" else 0)
    if not size:
        return spec, 1.0
    count = max(1, round(scale * size))
    values[key] = str(count)
    return ":".join([name, *(f"{k}={v}" for k, v in values.items())]), count / size
