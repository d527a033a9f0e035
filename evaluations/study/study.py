"""The study as `robustssm reproduce study` runs it: steps for each task, findings over all."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from robustssm.evaluations.paper.reproduction import Context, Reproduction, Step
from robustssm.evaluations.study import design, measured, rule

# What trainings and measurements depend on.
TRAINED = ("tasks", "models", "seeds", "variants")
Table = Callable[[Context, str], pd.DataFrame]


def of_task(compute: Table, task: str, context: Context) -> pd.DataFrame:
    """Return the table of a task; an empty one if the settings leave the task out."""
    return compute(context, task) if task in context.settings["tasks"] else pd.DataFrame()


def steps() -> tuple[Step, ...]:
    """Return recipes, accuracies and weights of each task, and the null, in files of their own."""
    made: list[Step] = []
    for task in design.TASKS:
        name = design.label(task)
        first = f"{name}-recipes"
        made.append(Step(first, partial(of_task, measured.recipes, task), TRAINED))
        for what, compute in (("accuracies", measured.accuracies), ("weights", measured.weights)):
            table = partial(of_task, compute, task)
            made.append(Step(f"{name}-{what}", table, TRAINED, needs=(first,)))
    needed = tuple(step.name for step in made if not step.name.endswith("-recipes"))
    return (*made, Step("null", rule.exchanged_labels, needs=needed))


REPRODUCTION = Reproduction(
    name="study",
    shows="what decides that a model breaks: seven models, seven tasks, ten seeds",
    steps=steps(),
    quick={
        "tasks": {"digits:side=8": (2, 64)},
        "models": ["s4d", "s4ptd-rank1", "s5"],
        "seeds": [0, 1, 2],
        "variants": {"n = 16": {"n": 16}},
        "repeats": 20,
    },
    full={
        "tasks": design.TASKS,
        "models": list(design.MODELS),
        "seeds": list(range(10)),
        "variants": design.VARIANTS,
        "repeats": 1000,
    },
    findings=rule.findings,
    of_paper=False,
)
