"""Whether a model, the data and what is done to them fit together; found before a sweep."""

from collections.abc import Mapping, Sequence

from robustssm.attacks.adversaries.base import Adversary
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.tasks import Task


def check_fit(
    model: str, architecture: Mapping[str, object], vocabulary: int | None, task: Task
) -> None:
    """Raise RejectedInputError if a model's inputs or classes are not those of the task.

    architecture: as on its card, with d_input and d_output (None if not known); vocabulary:
    how many tokens it embeds, None if it takes values.
    """
    channels, classes = (architecture[key] for key in ("d_input", "d_output"))
    if task.tokens is not None and task.tokens > (vocabulary or 0):
        takes = f"{channels} channels of values" if vocabulary is None else f"{vocabulary} tokens"
        raise RejectedInputError(
            f"checkpoint {model}: takes {takes}, task {task.spec} has tokens 0 to {task.tokens - 1}"
        )
    own = task.channels if task.tokens is None else channels
    if channels not in (None, own) or (classes is not None and not _fits(classes, task)):
        raise RejectedInputError(
            f"checkpoint {model}: maps {channels} channels to {classes} classes, task {task.spec} "
            f"has {task.channels} and {task.classes}"
        )


def _fits(classes: object, task: Task) -> bool:
    """Return whether a number of classes fits; samples of a file need not show all of them."""
    if task.spec.startswith("file:"):
        return isinstance(classes, int) and task.classes <= classes
    return classes == task.classes


def check_sites(
    model: str,
    architecture: Mapping[str, object],
    layers: int,
    task: Task,
    conditions: Sequence[Condition],
) -> None:
    """Raise UsageError if a model or the data lack what a condition acts on.

    layers: how many layers of the model have a step size.
    """
    for condition in conditions:
        if condition.inject == "layers" and not layers:
            raise UsageError(
                f"{condition.noise}: acts at the inputs of SSM layers, and {model} has none with "
                "a step size; give --inject input, or another noise"
            )
        own = "kind" not in architecture and not architecture.get("bidirectional")
        if condition.inject == "model" and not own:
            raise UsageError(
                f"{condition.noise}: changes causal layers of this project's own networks, and "
                f"{model} has none"
            )
        lengths = any(split.lengths is not None for split in task.splits.values())
        if lengths and isinstance(condition.attack, Adversary):
            raise UsageError(
                f"{condition.noise}: attacks samples of one length, and those of {task.spec} have "
                "lengths of their own; take a perturbation"
            )
