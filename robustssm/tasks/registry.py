"""The table of tasks, and the spelling of their parameters."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from robustssm.errors import UsageError
from robustssm.tasks.arrays import arrays
from robustssm.tasks.base import Task
from robustssm.tasks.digits import digits

# name -> (maker, its integer parameters)
TASKS: dict[str, tuple[Callable[..., Task], tuple[str, ...]]] = {"digits": (digits, ("side",))}


@lru_cache(maxsize=4)
def load_task(spec: str) -> Task:
    """Return the task that `spec` names; raise UsageError naming what is allowed."""
    name, *settings = spec.strip().split(":")
    if name == "file":
        return arrays(Path(spec.strip().partition(":")[2]).expanduser())
    if name not in TASKS:
        raise UsageError(
            f"task: {name!r} is unknown, expected one of {', '.join(TASKS)}, or file:samples.npz"
        )
    maker, allowed = TASKS[name]
    arguments: dict[str, int] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in allowed or not value.isdigit():
            raise UsageError(
                f"{name}: parameter {setting!r} is unknown, expected "
                + ", ".join(f"{key}=INTEGER" for key in allowed)
            )
        arguments[key] = int(value)
    return maker(**arguments)
